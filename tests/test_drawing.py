"""Charts draw by another process: the same to the byte, its failures are ours, and it ends with whoever asked."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from hi_ml.app.process import another_process, this_process
from hi_ml.reports.charts.style import png
from hi_ml.reports.drawing import Drawing, draw
from hi_ml.train import behind

TABLE = pd.DataFrame({"source": ["Copies", "Patients"], "gap": [1.0, 2.0], "low": [0.5, 1.0], "high": [1.5, 3.0]})
LEAK = Drawing("scores.leak", TABLE, {"title": "What leaks?", "caption": "n = 2 admissions.", "unit": "days"})
AS_A_COMMAND = """
import sys  # whoever does not begin like this has a thread of pyarrow, and starts another process anew
sys.argv = ["-m"]  # as Python has it while it looks for the module of python -m
import hi_ml, hi_ml.train
"""
ASKED_AND_KILLED = """
import os, psutil, signal
from hi_ml.app.process import another_process
from hi_ml.reports.drawing import Drawing, draw

with another_process("draws charts", imports=["json"]) as ask:
    ask(draw, Drawing("scores.leak", None, {})).exception()
    (drawing,) = psutil.Process().children()
    drawing.send_signal(signal.SIGINT), drawing.send_signal(signal.SIGTERM)
    wrong = ask(draw, Drawing("scores.leak", None, {})).exception()
    print(type(wrong).__name__, flush=True)
    AT_WORK
    os.kill(os.getpid(), signal.SIGKILL)
"""
SLEEPING = "waiting = ask(__import__('time').sleep, 60)\n    while not waiting.running(): pass"


@pytest.mark.parametrize("process", [this_process, another_process])
def test_either_draws_the_same_bytes_and_what_it_cannot_draw_fails_where_it_is_waited_for(process):
    with process("draws charts") as ask:
        wrong, strange, right = (
            ask(draw, LEAK._replace(words={})),
            ask(draw, LEAK._replace(words={"title": lambda: 1})),
            ask(draw, LEAK),
        )
        with pytest.raises((RuntimeError, TypeError), match="missing 3 required keyword-only") as failed:
            wrong.result()
        said = [str(failed.value), *getattr(failed.value, "__notes__", [])]
        assert "scores.leak could not be drawn" in "".join(said)
        with pytest.raises(Exception, match=r"pickle|could not be drawn"):
            strange.result()
        assert right.result().png == png(LEAK.draw())


def test_what_a_process_owes_that_was_killed_is_done_here_and_said_once(caplog):
    with another_process("draws charts") as ask:
        ask(draw, LEAK).result()
        (process,) = (one for one in psutil.Process().children() if "hi_ml.app.process" in " ".join(one.cmdline()))
        process.kill()
        assert ask(draw, LEAK).result().png == png(LEAK.draw())
        assert ask(os.getpid).result() == os.getpid()
        with pytest.raises(ZeroDivisionError):
            ask(divmod, 1, 0).result()
    assert caplog.messages == ["The process that draws charts ended with -9; this one does the rest."]


def test_where_no_process_can_be_started_this_one_does_it(monkeypatch):
    def full(*_, **__):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    with another_process("draws charts", imports=["json"]) as ask:
        assert [ask(os.getpid).result() for _ in range(2)] == [os.getpid()] * 2


def test_an_error_of_a_file_is_raised_as_it_is(tmp_path):
    with another_process("reads") as ask, pytest.raises(FileNotFoundError, match="nowhere"):
        ask(os.listdir, tmp_path / "nowhere").result()
    with another_process("reads") as ask, pytest.raises(RuntimeError, match="failed there"):
        ask(os.kill, 0, "no number").result()


def test_no_file_of_the_working_folder_is_taken_for_a_module(tmp_path):
    work, place = tmp_path / "work", tmp_path / "place"
    for folder in (work, place):
        folder.mkdir()
    (work / "pickle.py").write_text("open('imported', 'w')\nraise SystemExit('of a user')\n")
    (place / "run.py").write_text(
        "import os\nfrom hi_ml.app.process import another_process\n"
        "with another_process('asks') as ask:\n    print(ask(os.getpid).result() != os.getpid())\n"
    )
    done = subprocess.run([sys.executable, place / "run.py"], cwd=work, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert not (work / "imported").exists()


OF_A_DAEMON = """
import os
from multiprocessing import get_context
from hi_ml.app.process import another_process

def run():
    with another_process("asks", imports=["json"]) as ask:
        print(ask(os.getpid).result() != os.getpid(), flush=True)

daemon = get_context("fork").Process(target=run, daemon=True)
daemon.start()
daemon.join()
print(daemon.exitcode)
"""


@pytest.mark.slow
def test_a_daemon_has_another_process_too():
    done = subprocess.run(
        [sys.executable, "-c", AS_A_COMMAND + OF_A_DAEMON], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n0\n", "")


KILLED = """
import psutil, pyarrow, time
from hi_ml.app.process import another_process

with another_process("sleeps", imports=["json"]) as ask:
    (other,) = psutil.Process().children()
    waiting = ask(time.sleep, 60)
    while not waiting.running():
        time.sleep(0.01)
    other.kill()
    print(waiting.exception(), ask(len, "abc").result())
print(psutil.Process().children())
"""
FITTED_IN_BOTH = """
import os, psutil
import numpy as np
from lightgbm import LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from hi_ml.app.process import another_process

X = np.random.default_rng(0).normal(size=(5_000, 5))

def fitted(learner):
    return float(learner.fit(X, X[:, 0]).predict(X).sum())

with another_process("fits", imports=["json"]) as ask:
    (other,) = psutil.Process().children()
    print(other.cmdline() == psutil.Process().cmdline())
    for learner in LGBMRegressor(n_estimators=50, n_jobs=2, verbose=-1), HistGradientBoostingRegressor(max_iter=50):
        there, here = ask(fitted, learner), fitted(learner)
        print(there.result() == here)
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["", AS_A_COMMAND])
@pytest.mark.parametrize("at_work", ["", SLEEPING])
def test_it_outlives_an_interrupt_and_ends_with_whoever_asked_though_it_is_at_work(start, at_work):
    call = [sys.executable, "-c", start + ASKED_AND_KILLED.replace("AT_WORK", at_work)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=50)  # it holds the pipes, too
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "RuntimeError\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("start", ["", AS_A_COMMAND])
def test_whoever_asked_a_process_that_was_killed_goes_on(start):
    done = subprocess.run(
        [sys.executable, "-c", start + KILLED], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "None 3\n[]\n"), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process is forked on Linux alone")
def test_a_command_has_one_thread_when_it_begins_and_forks_a_process_that_fits_as_it_does():
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    call = [sys.executable, "-c", AS_A_COMMAND + FITTED_IN_BOTH]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert (done.returncode, done.stdout) == (0, "True\n" * 3), done.stderr


def test_who_needs_it_soonest_does_what_nobody_has_begun():
    with another_process("sleeps") as ask:
        there = ask(os.getpid)
        assert there.result() == there.soonest() != os.getpid()
        at_work, waiting = ask(time.sleep, 60), ask(os.getpid)
        while not at_work.running():
            time.sleep(0.01)
        assert waiting.soonest() == os.getpid()
        with pytest.raises(ZeroDivisionError):
            ask(divmod, 1, 0).soonest()


def test_what_is_asked_at_last_is_done_after_the_rest():
    with another_process("sleeps") as ask:
        ask(time.sleep, 0.5)
        last, one, other = (ask(time.monotonic_ns, at_last=at_last) for at_last in (True, False, False))
        assert one.result() < other.result() < last.result()


def test_an_item_is_used_when_the_next_one_is_made_or_cannot_be():
    said = []

    def items():
        for number in range(2):
            said.append(f"made {number}")
            yield number
        raise KeyError("made no more")

    def use():
        for item in behind(items(), 1):
            said.append(f"used {item}")  # noqa: PERF401 -- the order is what is tested

    with pytest.raises(KeyError, match="made no more"):
        use()
    assert said == ["made 0", "made 1", "used 0", "used 1"]


def test_what_is_ready_is_used_when_one_more_is_made():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number

    used = [(item, len(made)) for item in behind(items(), 2, lambda item: item == 0)]
    assert used == [(0, 2), (1, 4), (2, 4), (3, 4)]


def test_a_process_that_is_asked_and_not_waited_for_keeps_nobody():
    started = time.monotonic()
    with another_process("sleeps") as ask:
        assert ask(len, "abc").result() == 3
        waiting = [ask(time.sleep, 60), ask(time.sleep, 60)]
    with another_process("sleeps") as ask:
        waiting.append(ask(time.sleep, 60))
    assert time.monotonic() - started < 30
    assert not [one for one in psutil.Process().children() if "hi_ml.app.process" in " ".join(one.cmdline())]


def note(folder, seconds):
    """Work until it is ended, and leave a note of how."""
    (folder / "begun").touch()
    try:
        time.sleep(60)
    except BaseException as stop:
        (folder / "ended").write_text(type(stop).__name__)
        time.sleep(seconds)
        raise


@pytest.mark.slow
def test_what_is_at_work_at_the_end_hears_of_it_and_has_some_seconds(tmp_path, capfd):
    for number, seconds in enumerate((0, 60)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with another_process("notes") as ask:
            ask(note, folder, seconds)
            while not (folder / "begun").exists():
                time.sleep(0.01)
            started = time.monotonic()
        assert time.monotonic() - started < 30
        assert (folder / "ended").read_text() == "KeyboardInterrupt"
    assert capfd.readouterr().err == ""


def test_this_process_does_what_is_waited_for_then_and_once():
    done = []
    with this_process("anything", imports=["nowhere"]) as ask:
        answer = ask(done.append, 1)
        ask(done.append, 2)
        assert not done
        assert answer.result() is answer.result()
    assert done == [1]


def test_a_process_that_is_not_asked_is_not_started():
    before = psutil.Process().children()
    with another_process("sleeps"):
        assert psutil.Process().children() == before
