"""How much dearer is the main job, three tasks judged, than one task by hand?

    python benchmarks/main_job.py [--rounds 3] [--before <clone of an earlier commit>]

Runs `benchmarks/minimal_script.py` (one task) and `python -m hi_ml.train dataset=kaggle` (three tasks) in turns, on the
same simulated table and with the stores already made, and prints wall and CPU times, when the first verdict was on
screen, the ratios to the minimal script and to the earlier commit, and where the main job's time goes.
"""

import argparse
import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


NOW, BEFORE, BY_HAND = "hi_ml.train, three tasks", "the same before", "minimal_script.py, one task"
VERDICT = re.compile(r": (SIGNAL|NEGLIGIBLE|NO SIGNAL|WORSE|INCONCLUSIVE)", re.IGNORECASE)


class Times(NamedTuple):
    """Of one command, in seconds."""

    wall: float
    cpu: float
    verdict: float  # until the first one was on screen; NaN where none was


def main() -> None:
    """Measure all, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="clone of an earlier commit, run in the same environment")
    asked = parser.parse_args()
    train = [sys.executable, "-m", "hi_ml.train", "model=lgbm", "dataset=kaggle", "dataset.source=table.csv"]
    commands = {BY_HAND: ([sys.executable, str(HERE / "minimal_script.py"), "table.csv"], None), NOW: (train, None)}
    if asked.before:
        commands[BEFORE] = (train, asked.before.resolve())
    with TemporaryDirectory() as folder:
        places = {name: Path(folder) / str(number) for number, name in enumerate(commands)}
        for place in places.values():
            place.mkdir()
            run([sys.executable, "-m", "hi_ml.simulate", "output=table.csv"], place)
        for name, (command, clone) in commands.items():  # makes the stores and warms the disk cache
            run(command, places[name], clone)
        taken: dict[str, list[Times]] = {name: [] for name in commands}
        for _ in range(asked.rounds):
            for name, (command, clone) in commands.items():
                taken[name].append(run(command, places[name], clone))
        median = {name: Times(*map(statistics.median, zip(*times, strict=True))) for name, times in taken.items()}
        for name, times in median.items():
            print(f"{name}: wall {times.wall:.1f} s, CPU {times.cpu:.1f} s, first verdict after {times.verdict:.1f} s")
        for name in [name for name in commands if name != NOW]:
            both = list(zip(taken[NOW], taken[name], strict=True))
            pairs = [(now.wall / other.wall, now.cpu / other.cpu) for now, other in both]
            wall, cpu = (statistics.median(ratios) for ratios in zip(*pairs, strict=True))
            print(f"{NOW}, over {name}: wall {wall:.2f}, CPU {cpu:.2f}, median of {asked.rounds} pairs")
        print(f"first verdict, over {BY_HAND}: {median[NOW].verdict / median[BY_HAND].wall:.2f}")
        latest = max((places[NOW] / "outputs" / "train").iterdir())
        for path in sorted(latest.glob("*/timings.json")):
            print(path.parent.name, json.dumps(json.loads(path.read_text())))


def run(command: list[str], place: Path, clone: Path | None = None) -> Times:
    """Run a command in a folder, with the package of a clone where one is given."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each start would compile the package anew
    if clone:
        environment["PYTHONPATH"] = str(clone / "src")
    started, before, verdict = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN), math.nan
    with subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            if math.isnan(verdict) and VERDICT.search(line):
                verdict = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Times(time.perf_counter() - started, cpu, verdict)


if __name__ == "__main__":
    main()
