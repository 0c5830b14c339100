"""What do the rules of reading and writing cost: the same command with them and without, in turns?

    python benchmarks/rules.py [--rows 55500] [--scored 1000000] [--rounds 3]

Trains the main job's three tasks on a simulated CSV, and scores another one, with the rules and with them taken out:
what may be doubted, rows that cannot be believed, private names in public columns and in all that is written, files
that change while they are read, references to the environment, other tables than the model's. Prints, of each command,
the ratio of the CPU seconds of the fastest rounds: 1.03 is 3 % dearer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

RULES = {  # where each is called, and what takes its place
    "hi_ml.data.read.doubts": lambda *_: import_module("hi_ml.data.plausibility").Doubts((), ()),
    "hi_ml.data.read.refuse_own_names": lambda *_: None,
    "hi_ml.data.validate.row_faults": lambda *_: [],
    "hi_ml.scorer.serving.row_faults": lambda *_: [],
    "hi_ml.data.privacy.PrivateWords.refuse": lambda *_: None,
    "hi_ml.data.sources.table.Fingerprint.stands": lambda *_: True,
    "hi_ml.app.launch.hold_references": lambda *_: None,
    "hi_ml.prediction.batch.run.drift.another_table": lambda *_: "",
}
TRAIN = ("train", "model=lgbm", "dataset=kaggle", "dataset.source=table.csv", "tracking=none")
PREDICT = ("predict", "dataset=kaggle", "input=scored.csv", "output=out.parquet", "threads=1", "model_uri=model")


def side(without: bool, command: str, *words: str) -> None:
    """Run a command in this process, and print its CPU seconds."""
    main = import_module(f"hi_ml.{command}").main
    for name, instead in RULES.items() if without else ():
        *above, last = name.split(".")
        deepest = next(depth for depth in range(len(above), 0, -1) if _is_module(above[:depth]))
        owner = import_module(".".join(above[:deepest]))
        for part in above[deepest:]:
            owner = getattr(owner, part)
        if not hasattr(owner, last):
            sys.exit(f"there is no {name}")
        setattr(owner, last, instead)
    sys.argv = [command, *words]
    main()
    print(json.dumps(sum(os.times()[:4])))


def _is_module(parts: list[str]) -> bool:
    try:
        import_module(".".join(parts))
    except ImportError:
        return False
    return True


def seconds(place: str, without: bool, words: tuple[str, ...]) -> float:
    """Run one side in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--side", "without" if without else "with", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True, env=environment)
    return float(json.loads(ended.stdout.splitlines()[-1]))


def compare() -> None:
    """Measure both sides of both commands, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rows", 55_500), ("scored", 1_000_000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for output, rows in (("table.csv", asked.rows), ("scored.csv", asked.scored)):
            words = [sys.executable, "-m", "hi_ml.simulate", f"output={output}", f"rows={rows}"]
            subprocess.run(words, cwd=place, check=True, capture_output=True)
        for words in (TRAIN, PREDICT):
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(asked.rounds):
                for without, found in times.items():
                    found.append(seconds(place, without, words))
            if words is TRAIN:
                trained = min(Path(place).glob("outputs/train/*/length_of_stay/model"))
                trained.rename(Path(place) / "model")
            ratio = min(times[False]) / min(times[True])
            listed = {without: ", ".join(f"{one:.1f}" for one in found) for without, found in times.items()}
            print(f"{words[0]}: {ratio:.3f} (with {listed[False]}, without {listed[True]} CPU s)", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        side(sys.argv[2] == "without", *sys.argv[3:])
    else:
        compare()
