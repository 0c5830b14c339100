"""What do findings cost where the rows are added up by DuckDB, beside pandas, and do both say the same?

    python benchmarks/aggregates.py [--rows 1000000] [--permutations 999] [--patients] [--engines local sql]

A simulated table is written as Parquet, without names, since names must be compared with all others by either; with
``--patients`` each has a number, and comes again. Each engine runs in a process of its own; the peak of its memory is
the kernel's.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hi_ml.app.config import build, compose
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.claims.remote import ready_remote
from hi_ml.data.read import read
from hi_ml.data.simulation import simulate
from hi_ml.data.sql.engine import open_engine
from hi_ml.data.sql.table import open_table
from hi_ml.findings import FindingsSettings, ready

PRIVATE = ("Name", "Doctor")
A_PATIENT = 1.3  # admissions, on average


def write_table(path: str, rows: int, patients: bool) -> None:
    """Write a simulated table without names."""
    table = simulate("planted", rows, seed=0).table.drop_columns(list(PRIVATE))
    if patients:
        numbers = np.random.default_rng(0).integers(0, int(rows / A_PATIENT), len(table))
        table = table.append_column("Patient", pa.array(numbers))
    pq.write_table(table, path)


def find(engine: str, path: str, patients: bool, permutations: int) -> dict[str, object]:
    """State the five claims, and tell what that took."""
    words = [f"dataset.source={path}", *(f"dataset.columns.{role}.from=null" for role in ("patient_name", "doctor"))]
    claims = ("billing_variation", "emergency_stay", "medication_recovery", "insurance_access")
    words += [f"findings.{claim}.permutations={permutations}" for claim in claims]
    if patients:
        words.append("++dataset.columns.patient_id={from: Patient, kind: identifier, private: true}")
    settings = build(FindingsSettings, compose("findings", "dataset=simulated", *words))
    clock, core = time.perf_counter(), time.process_time()
    if engine == "local":
        rows = ready(read(settings.dataset, lambda _: Path()), seed=0, keep_duplicates=False)
    else:
        table = open_table(open_engine(engine, settings.dataset, []), settings.dataset, lambda _: Path())
        rows = ready_remote(table, seed=0, keep_duplicates=False, smallest_cell=5)
    begun = time.perf_counter() - clock
    findings = state(rows, settings_of(settings.findings))
    return {
        "verdicts": [(finding.finding, finding.verdict, finding.reason) for finding in findings],
        "sentences": [finding.sentences for finding in findings],
        "ready": begun,
        "wall": time.perf_counter() - clock,
        "core": time.process_time() - core,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Measure the engines, and compare what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--permutations", type=int, default=999)
    parser.add_argument("--patients", action="store_true")
    parser.add_argument("--engines", nargs="+", default=["local", "sql"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        path, results = f"{place}/admissions.parquet", {}
        spawn = multiprocessing.get_context("spawn")
        for engine in ("", *asked.engines):
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                if engine:
                    one = results[engine] = pool.submit(find, engine, path, asked.patients, asked.permutations).result()
                    print(f"{engine}: {one['wall']:.1f} s ({one['core']:.1f} s of a core; {one['ready']:.1f} s until "
                          f"ready), peak {one['peak']:,.0f} MB", flush=True)  # fmt: skip
                else:
                    pool.submit(write_table, path, asked.rows, asked.patients).result()
    first, *others = results.values()
    for key in ("verdicts", "sentences"):
        print(f"{key} equal: {all(other[key] == first[key] for other in others)}")


if __name__ == "__main__":
    main()
