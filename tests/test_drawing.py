"""Charts drawn by another process: the same to the byte, its failures are ours, and it ends with whoever asked."""

import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from hi_ml.app.process import another_process, this_process
from hi_ml.reports.charts.style import png
from hi_ml.reports.drawing import Drawing, drawn
from hi_ml.train import one_ahead

TABLE = pd.DataFrame({"source": ["Copies", "Patients"], "gap": [1.0, 2.0], "low": [0.5, 1.0], "high": [1.5, 3.0]})
LEAK = Drawing("scores.leak", TABLE, {"title": "What leaks?", "caption": "n = 2 admissions.", "unit": "days"})
ASKED_AND_KILLED = """
import os, psutil, signal
from hi_ml.app.process import another_process
from hi_ml.reports.drawing import Drawing, drawn

with another_process("draws charts") as ask:
    ask(drawn, Drawing("scores.leak", None, {})).exception()
    (drawing,) = psutil.Process().children()
    drawing.send_signal(signal.SIGINT), drawing.send_signal(signal.SIGTERM)
    wrong = ask(drawn, Drawing("scores.leak", None, {})).exception()
    print(type(wrong).__name__, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("process", [this_process, another_process])
def test_either_draws_the_same_bytes_and_what_it_cannot_draw_fails_where_it_is_waited_for(process):
    with process("draws charts") as ask:
        wrong, strange, right = (
            ask(drawn, LEAK._replace(words={})),
            ask(drawn, LEAK._replace(words={"title": lambda: 1})),
            ask(drawn, LEAK),
        )
        with pytest.raises((RuntimeError, TypeError), match="missing 3 required keyword-only") as failed:
            wrong.result()
        said = [str(failed.value), *getattr(failed.value, "__notes__", [])]
        assert "scores.leak could not be drawn" in "".join(said)
        with pytest.raises(Exception, match=r"pickle|could not be drawn"):
            strange.result()
        assert right.result().png == png(LEAK.draw())


def test_a_process_that_was_killed_is_a_lack_of_memory():
    with another_process("draws charts") as ask:
        ask(drawn, LEAK).result()
        (process,) = (one for one in psutil.Process().children() if "hi_ml.app.process" in " ".join(one.cmdline()))
        process.kill()
        for _ in range(2):
            with pytest.raises(MemoryError, match="draws charts ended with -9"):
                ask(drawn, LEAK).result()


def test_it_outlives_an_interrupt_and_ends_with_whoever_asked():
    call = [sys.executable, "-c", ASKED_AND_KILLED]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=60)  # it holds the pipes, too
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "RuntimeError\n"), done.stderr


def test_an_item_is_used_when_the_next_one_is_made_or_cannot_be():
    said = []

    def items():
        for number in range(2):
            said.append(f"made {number}")
            yield number
        raise KeyError("made no more")

    def use():
        for item in one_ahead(items()):
            said.append(f"used {item}")  # noqa: PERF401 -- the order is what is tested

    with pytest.raises(KeyError, match="made no more"):
        use()
    assert said == ["made 0", "made 1", "used 0", "used 1"]


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
