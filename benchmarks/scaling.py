"""Are reading, near-duplicates and fitting linear in the rows?

    python benchmarks/scaling.py [--rows 55500 555000 5550000]

Each size runs in a process of its own on a simulated CSV; printed are seconds per step, the peak memory of the process,
and the ratio of time to rows against the size before (1.0 is linear).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from pyarrow import csv

from hi_ml.data.simulation import simulate

CHILD = """
import json, resource, sys, time
import numpy as np
import hi_ml
from hi_ml.app.config import build, compose
from hi_ml.data import read as reading
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import fit_rows

dataset, model = hi_ml.declare(sys.argv[1]), build(Model, compose("train")["model"])
seconds, inner = {}, reading.near_duplicates

def timed_duplicates(columns):
    started = time.perf_counter()
    twins = inner(columns)
    seconds["near-duplicates"] = time.perf_counter() - started
    return twins

reading.near_duplicates = timed_duplicates
started = time.perf_counter()
admissions = hi_ml.read(dataset)
seconds["read and check"] = time.perf_counter() - started - seconds["near-duplicates"]
started = time.perf_counter()
problem = hi_ml.pose(admissions, "length_of_stay")
seconds["encode and split"] = time.perf_counter() - started
started = time.perf_counter()
fit_rows(problem, model, np.flatnonzero(problem.where("train")), seed=0)
seconds["fit"] = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak_mib": peak}))
"""


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[55_500, 555_000, 5_550_000])
    before: dict[str, float] | None = None
    sizes = parser.parse_args().rows
    for place, rows in enumerate(sizes):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "table.csv"
            csv.write_csv(simulate(rows=rows).table, source)
            child = [sys.executable, "-c", CHILD, str(source)]
            done = subprocess.run(child, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{rows:,} rows: peak {found['peak_mib']:,.0f} MiB")
        for step, seconds in found["seconds"].items():
            against = ""
            if before is not None:
                ratio = seconds / before[step] / (rows / sizes[place - 1])
                against = f", time per row x {ratio:.2f}"
            print(f"  {step}: {seconds:.2f} s{against}")
        before = found["seconds"]


if __name__ == "__main__":
    main()
