"""What is left of a command that is stopped at any moment, and does the next call make it good?

``python experiments/kills.py <signals> [seed]`` stops train, findings, tune, track and predict at random moments by
Ctrl-C, SIGTERM and SIGKILL. After each, what stands is tracked, or the same command called again; then the store has no
run that goes on for ever and no second version of one run, no run folder is without its run, and predict's output is,
to the byte, that of a call that nobody stopped. In the end the commands' next calls remove what the killed ones left.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import pyarrow.csv

from hi_ml.data.simulation import simulate

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TABLE = ("dataset=kaggle", "dataset.source=admissions.csv")
MODEL = ("task=length_of_stay", "model=linear", "explain.rows=5")
CALLS = {
    "train": ("train", *TABLE, *MODEL),
    "findings": ("findings", *TABLE, "finding=emergency_stay"),
    "tune": ("tune", *TABLE, *MODEL, "trials=3", "folds=2"),
    "track": ("track", "run=copy"),
    "predict": ("predict", "input=batch.csv", "output=scored.csv", "model_uri=model", "chunk_rows=500", "threads=1"),
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FINISHED_TWICE = """
    select tags.value, count(*) from tags join runs on runs.run_uuid = tags.run_uuid
    where tags.key = 'hi_ml.sending' and runs.status = 'FINISHED' group by tags.value having count(*) > 1
"""
DAYS_AGO = time.time() - 3 * 86_400


class Trial:
    """A folder in which commands are stopped, and what is wrong with it."""

    def __init__(self, folder, names, *, seed=0):
        self.names = names
        self.folder, self.random, self.wrong = folder, random.Random(seed), []  # noqa: S311
        pyarrow.csv.write_csv(simulate("planted", 300, seed=1, hospitals=5).table, folder / "admissions.csv")
        pyarrow.csv.write_csv(simulate("planted", 20_000, seed=2, hospitals=5).table, folder / "batch.csv")
        self.seconds = {name: self._whole(name) for name in names}
        self.scored = (folder / "scored.csv").read_bytes()

    def stop(self, name, number):
        """Stop a command at a random moment, make good what is left, and look at it."""
        self._prepare(name)
        process = self._begin(name)
        moment = self.random.uniform(0.05, 1.0) * self.seconds[name]
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        said = process.communicate(timeout=120)[1]
        what = f"{name} {number.name} after {moment:.2f} s"
        early = -number  # Python hears of a signal only once it has begun
        expected = {0, -signal.SIGKILL} if number == signal.SIGKILL else {0, 128 + number, early}
        if process.returncode not in expected or "Traceback" in said.split("KeyboardInterrupt")[0][-2000:]:
            self.wrong.append(f"{what}: ended with {process.returncode}: {said[-300:]}")
        self._make_good(name, what)
        self._look(what)
        return process.returncode

    def finish(self):
        """Call every command once more, days later, and look at what is left of the killed ones."""
        for mark in self.folder.rglob(".hi_ml"):
            os.utime(mark, (DAYS_AGO, DAYS_AGO))
        for name in self.names:
            self._prepare(name)
            self._again(name, "the last call")
        if left := [str(path.relative_to(self.folder)) for path in self.folder.rglob("*.unfinished*")]:
            self.wrong.append(f"left behind: {left}")
        self._look("the end")

    def _whole(self, name):
        """Call a command that nobody stops, and say how long it took."""
        self._prepare(name)
        begun = time.monotonic()
        self._again(name, "the first call")
        return time.monotonic() - begun

    def _prepare(self, name):
        if name == "track":
            shutil.rmtree(self.folder / "copy", ignore_errors=True)
            shutil.copytree(self._trained(), self.folder / "copy")
            for note in ("tracked.json", "sending.json"):
                (self.folder / "copy" / note).unlink(missing_ok=True)
        elif name == "predict":
            if not (self.folder / "model").exists():
                shutil.copytree(self._trained() / "model", self.folder / "model")
            for path in self.folder.glob("scored.csv*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _trained(self):
        return min(self.folder.glob("outputs/train/*/length_of_stay/tracked.json")).parent

    def _begin(self, *words):
        words = CALLS[words[0]] if len(words) == 1 else words
        command = [sys.executable, "-m", f"hi_ml.{words[0]}", *words[1:]]
        return subprocess.Popen(  # noqa: S603 -- our own words
            command, cwd=self.folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def _again(self, *words, why=""):
        *words, why = words
        process = self._begin(*words)
        said = process.communicate(timeout=300)[1]
        if process.returncode:
            self.wrong.append(f"{why}: {' '.join(words)} ends with {process.returncode}: {said[-300:]}")

    def _make_good(self, name, what):
        if name in ("track", "predict"):
            self._again(name, what)
        if name == "predict" and (self.folder / "scored.csv").read_bytes() != self.scored:
            self.wrong.append(f"{what}: the output is another")
        for folder in self._untracked():
            self._again("track", f"run={folder}", what)

    def _untracked(self):
        """Run folders that are whole, of which nothing says that the store has them."""
        outputs = self.folder / "outputs"
        folders = [path.parent for depth in ("*/*", "*/*/*") for path in outputs.glob(f"{depth}/run.json")]
        whole = [folder for folder in folders if not folder.name.endswith(".unfinished")]
        return [folder for folder in whole if not (folder / "tracked.json").exists() and "predict" not in folder.parts]

    def _look(self, what):
        if not (self.folder / "mlflow.db").exists():
            return
        with sqlite3.connect(self.folder / "mlflow.db") as store:
            ask = lambda text: store.execute(text).fetchall()  # noqa: E731
            sound = ask("pragma integrity_check")
            running = ask("select run_uuid from runs where status = 'RUNNING'")
            twice = ask("select run_id, count(*) from model_versions group by run_id having count(*) > 1")
            keys = ask(FINISHED_TWICE)
        if sound != [("ok",)] or running or twice or keys:
            self.wrong.append(f"{what}: store {sound}, running {running}, versions {twice}, finished twice {keys}")


def kill(folder, signals, names=tuple(CALLS), *, seed=0, say=lambda _: None):
    """Stop so many commands: how they ended, and what is wrong."""
    trial, ends = Trial(folder, names, seed=seed), Counter()
    pairs = zip(cycle(names), cycle(SIGNALS), strict=False)  # of 5 and 3 every pair comes
    for name, number in islice(pairs, signals):
        ends[name, number.name, trial.stop(name, number)] += 1
        say(f"{name} {number.name} {len(trial.wrong)} wrong")
    trial.finish()
    return ends, trial.wrong


if __name__ == "__main__":
    many, chosen = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0  # noqa: PLR2004 -- a second word
    with tempfile.TemporaryDirectory() as place:
        ends, wrong = kill(Path(place), many, seed=chosen, say=print)
    for (name, number, code), count in sorted(ends.items()):
        print(f"{name:10}{number:10}{code:5}{count:5}")
    print(f"{many} signals, {sum(count for (*_, code), count in ends.items() if code)} in time, {len(wrong)} wrong")
    print("\n".join(wrong))
    sys.exit(bool(wrong))
