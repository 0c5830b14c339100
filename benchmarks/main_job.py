"""How much dearer is the main job, three tasks judged, than one task by hand?

    python benchmarks/main_job.py [--rounds 3]

Runs `benchmarks/minimal_script.py` (one task) and `python -m hi_ml.train dataset=kaggle` (three tasks) in turns, on the
same simulated table and with the stores already made, and prints the ratio of the median wall times and where the main
job's time goes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Measure both, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        run([sys.executable, "-m", "hi_ml.simulate", "output=table.csv"], place)
        by_hand = [sys.executable, str(HERE / "minimal_script.py"), "table.csv"]
        main_job = [sys.executable, "-m", "hi_ml.train", "model=lgbm", "dataset=kaggle", "dataset.source=table.csv"]
        for command in (by_hand, main_job):  # makes the stores and warms the disk cache
            run(command, place)
        times: dict[str, list[float]] = {"minimal_script.py, one task": [], "hi_ml.train, three tasks": []}
        for _ in range(rounds):
            for name, command in zip(times, (by_hand, main_job), strict=True):
                times[name].append(run(command, place))
        for name, found in times.items():
            print(f"{name}: median {statistics.median(found):.1f} s of {', '.join(f'{one:.1f}' for one in found)}")
        one, three = (statistics.median(found) for found in times.values())
        print(f"ratio: {three / one:.2f}")
        latest = max((Path(place) / "outputs" / "train").iterdir())
        for path in sorted(latest.glob("*/timings.json")):
            print(path.parent.name, json.dumps(json.loads(path.read_text())))


def run(command: list[str], place: str) -> float:
    """Run a command in a folder and return its seconds."""
    started = time.perf_counter()
    subprocess.run(command, cwd=place, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
