"""Charts drawn by another process: the same to the byte, its failures are ours, and it ends with whoever asked."""

import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from hi_ml.app.process import another_process
from hi_ml.reports.charts.style import png
from hi_ml.reports.drawing import Drawing, drawing_here, drawing_process
from hi_ml.train import one_ahead

TABLE = pd.DataFrame({"source": ["Copies", "Patients"], "gap": [1.0, 2.0], "low": [0.5, 1.0], "high": [1.5, 3.0]})
LEAK = Drawing("scores.leak", TABLE, {"title": "What leaks?", "caption": "n = 2 admissions.", "unit": "days"})
ASKED_AND_KILLED = """
import os, psutil, signal
from pathlib import Path
from hi_ml.reports.drawing import Drawing, drawing_here, drawing_process

with drawing_process() as draw:
    draw(Drawing("scores.leak", None, {})).exception()
    (drawing,) = psutil.Process().children()
    drawing.send_signal(signal.SIGINT), drawing.send_signal(signal.SIGTERM)
    wrong = draw(Drawing("scores.leak", None, {})).exception()
    print(type(wrong).__name__, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("drawing", [drawing_here, drawing_process])
def test_either_draws_the_same_bytes_and_what_it_cannot_draw_fails_where_it_is_waited_for(drawing):
    with drawing() as draw:
        wrong, strange, drawn = (
            draw(LEAK._replace(words={})),
            draw(LEAK._replace(words={"title": lambda: 1})),
            draw(LEAK),
        )
        with pytest.raises(RuntimeError, match=r"missing 3 required keyword-only[^$]*scores.leak could not be drawn"):
            wrong.result()
        with pytest.raises(Exception, match=r"pickle|could not be drawn"):
            strange.result()
        assert drawn.result().png == png(LEAK.draw())


def test_a_process_that_was_killed_is_a_lack_of_memory():
    with drawing_process() as draw:
        draw(LEAK).result()
        (process,) = (one for one in psutil.Process().children() if "hi_ml.app.process" in " ".join(one.cmdline()))
        process.kill()
        for _ in range(2):
            with pytest.raises(MemoryError, match="draws charts ended with -9"):
                draw(LEAK).result()


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


def test_a_process_that_is_not_asked_is_not_started():
    before = psutil.Process().children()
    with another_process("sleeps"):
        assert psutil.Process().children() == before
