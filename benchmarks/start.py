"""How long does one wait for a few predictions?

    python benchmarks/start.py [--rounds 5]

In turns, as whole processes on the same registered model: `mlflow.pyfunc.load_model` alone, and `python -m
hi_ml.predict` of 40 rows. Then, in one process, one row after the other through the row path. Prints wall and CPU
seconds, the ratio of the pairs, and the CPU of a row. Asked: a ratio of at most 1.5, and 1.5 ms of CPU a row.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROWS, EACH = 40, 2_000  # of the file; through the row path
LOAD, PREDICT = "mlflow.pyfunc.load_model", "hi_ml.predict, 40 rows"
MODEL = "models:/kaggle.length_of_stay@champion"
LOADS = f"""
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.pyfunc.load_model({MODEL!r})
"""
ONE_BY_ONE = f"""
import sys, time
import pandas as pd
from hi_ml.prediction.load import load_model
scorer = load_model(sys.argv[1]).scorer
rows = pd.read_csv("few.csv").astype(object).to_dict("records")
for row in rows:
    scorer.predict_row(row)
began = time.process_time()
for number in range({EACH}):
    scorer.predict_row(rows[number % len(rows)])
print(1000 * (time.process_time() - began) / {EACH})
"""


class Times(NamedTuple):
    """Of one process, in seconds."""

    wall: float
    cpu: float


def main() -> None:
    """Train once, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as folder:
        place = Path(folder)
        run(["-m", "hi_ml.simulate", "output=table.csv", "rows=8000"], place)
        run(["-m", "hi_ml.train", "dataset=kaggle", "dataset.source=table.csv", "task=length_of_stay"], place)
        lines = (place / "table.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (place / "few.csv").write_text("".join(lines[: ROWS + 1]), encoding="utf-8")
        predict = ["-m", "hi_ml.predict", "dataset=kaggle", "task=length_of_stay", "input=few.csv"]
        taken: dict[str, list[Times]] = {LOAD: [], PREDICT: []}
        for number in range(rounds + 1):  # the first warms the disk cache, and does not count
            loaded = run(["-c", LOADS], place)
            predicted = run([*predict, f"output=scored-{number}.parquet"], place)
            if number:
                taken[LOAD].append(loaded)
                taken[PREDICT].append(predicted)
        for name, times in taken.items():
            wall, cpu = map(statistics.median, zip(*times, strict=True))
            print(f"{name}: wall {wall:.2f} s, CPU {cpu:.2f} s, median of {rounds}")
        ratios = [predicted.wall / loaded.wall for loaded, predicted in zip(*taken.values(), strict=True)][::-1]
        print(
            f"{PREDICT}, over {LOAD}: wall {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}"
        )
        run_folder = next((place / "outputs" / "train").glob("*/length_of_stay"))
        command = [sys.executable, "-c", ONE_BY_ONE, str(run_folder)]
        each = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True, env=environment())
        print(f"one row through the row path: {float(each.stdout):.2f} ms CPU, mean of {EACH:,}")


def run(arguments: list[str], place: Path) -> Times:
    """Run Python in a folder."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=place, env=environment(), check=False, capture_output=True, text=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    return Times(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def environment() -> dict[str, str]:
    """Return that of this process, but modules are compiled once, and not by each process."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "OMP_NUM_THREADS": "1"}  # fmt: skip


if __name__ == "__main__":
    main()
