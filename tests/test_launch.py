"""How a command starts and how it ends, whichever it is: its exit code, its one sentence, Ctrl-C."""

import gc
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from importlib.metadata import version

import pandas as pd
import pytest
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from hi_ml import findings, train
from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.app.errors import HiMlError

SETTINGS = """
defaults:
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
  - _self_
seed: 0
place: {city: Ulm, street: null}
again: ${seed}
hydra:
  output_subdir: null
  run: {dir: out}
  sweep: {dir: sweep}
"""


@dataclass(frozen=True, config=STRICT)
class Place:
    """A section of the settings."""

    city: str
    street: str | None
    number: int = Field(1, ge=1)


@dataclass(frozen=True, config=STRICT)
class Settings:
    """The keys of the application."""

    seed: int
    place: Place
    again: int


@pytest.fixture
def ends(tmp_path, inside, monkeypatch):
    """Run a command that does something, and return how it ended."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "app.yaml").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.setattr(launch, "conf_dir", lambda: tmp_path / "conf")

    def run(*words, does=lambda: None):
        def app(_settings: Settings, _here: launch.Invocation):
            does()

        return inside(launch.command(app), *words)

    return run


def raises(error):
    def does():
        raise error

    return does


def test_a_command_that_is_done_ends_in_zero(ends):
    assert ends(does=lambda: print("made")) == (0, "made\n", "")


def test_garbage_is_collected_as_soon_as_the_imports_are_done(ends):
    gc.disable()  # as at the start of `python -m hi_ml.<command>`
    collects = []
    ends(does=lambda: collects.append(gc.isenabled()))
    assert collects == [True]


def test_a_refusal_ends_in_one_with_its_sentence_and_leaves_no_empty_folder(tmp_path, ends):
    assert ends(does=raises(HiMlError("No such table."))) == (1, "", "HiMlError: No such table.\n")
    assert not (tmp_path / "out").exists()


def test_what_was_made_before_a_refusal_stands(tmp_path, ends):
    def does():
        (tmp_path / "out" / "rejected.csv").write_text("row", encoding="utf-8")
        raise HiMlError("Too many.")

    assert ends(does=does).code == 1
    assert (tmp_path / "out" / "rejected.csv").exists()


def test_a_failed_write_is_told_with_the_file(ends):
    found = ends(does=lambda: open("conf/no/file.csv", "w", encoding="utf-8"))  # noqa: SIM115, PTH123 -- it fails
    assert found.code == 1
    assert found.stderr.startswith("OutputFailed: Could not write conf/no/file.csv: No such file or directory.")


def test_a_defect_shows_its_traceback_and_asks_for_a_report(tmp_path, ends):
    found = ends(does=raises(ZeroDivisionError("a defect")))
    assert found.code == 1
    assert found.stderr.startswith("Traceback")
    assert "ZeroDivisionError: a defect\nDefect: " in found.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sede=1"], "There is no key 'sede' (did you mean seed?). There are the keys seed, place, again.\n"),
        (
            ["zzzz=1"],
            "There is no key 'zzzz'. There are the keys seed, place, again. One that the YAML files leave out",
        ),
        (["place.cty=X"], "There is no key 'place.cty' (did you mean city?). place has the keys city, street."),
        (["+place.zip=1"], "place.zip: there is no such key (found 1)"),
        (["+place.number=0"], "place.number: expected at least 1 (found 0)"),
        (["+other=1"], "other: "),
        (["seed=x"], "seed: expected a whole number (found 'x')"),
        (["seed=null"], "seed: expected a whole number (found None)"),
        (["place=null"], "place: expected keys of its own, as place.<key>=<value>"),
        (["~place.city"], "place.city: expected a value, found none"),
        (["place.city=[a,b]", "seed=1.5"], "seed: expected a whole number (found 1.5)"),
        (["again=${nothing}"], "again: Interpolation key 'nothing' not found"),
        (["again=${oc.env:NO_SUCH_VARIABLE}"], "NO_SUCH_VARIABLE"),
        (["seed"], "The argument seed cannot be read"),
        (["a=b=c"], "The argument a=b=c cannot be read: mismatched input '='"),
        (["place.city=;"], "Expected key=value; a value with other than letters"),
        (["=5"], "The configuration cannot be composed: "),
        (["hydra/job_logging=nothing"], "Could not find 'hydra/job_logging/nothing' Available options"),
        (["--config-name", "nothing"], "Cannot find primary config 'nothing'"),
        (["--config-dir", "nothing"], "nothing' not found"),
        (["--cfg", "job", "--multirun"], "Only one of --run, --multirun, --cfg"),
        (["hydra.run.dir=conf/app.yaml"], "OutputFailed: Could not write conf/app.yaml: File exists"),
        (["hydra.run.dir=conf/app.yaml/x"], "OutputFailed: Could not write conf/app.yaml/x: Not a directory"),
    ],
    ids=" ".join,
)
def test_a_wrong_configuration_ends_in_one_with_one_sentence(ends, words, said):
    found = ends(*words)
    assert found.code == 1
    assert said in found.stderr
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""
    assert "{" not in found.stderr  # a whole section is not shown


def test_the_shell_cannot_ask_for_tracebacks(ends, monkeypatch):
    for value in ("0", "1"):
        monkeypatch.setenv("HYDRA_FULL_ERROR", value)
        assert ends("sede=1").stderr.count("\n") == 1


def test_an_unknown_flag_ends_in_two(ends):
    found = ends("--nothing")
    assert found.code == 2
    assert "unrecognized arguments: --nothing" in found.stderr
    assert "Settings are key=value, without dashes" in found.stderr


def test_a_sweep_stops_at_the_job_that_fails(tmp_path, ends):
    found = ends("--multirun", "seed=1,x,2", does=lambda: print("ran"))
    assert (found.code, found.stdout) == (1, "ran\n")
    assert sorted(path.name for path in (tmp_path / "sweep").glob("[0-9]")) == ["0"]


ON = {"disable": False, "file": io.StringIO()}  # as on a terminal


@pytest.mark.parametrize(
    ("steps", "told", "shown"),
    [(4, [()] * 3, [1, 2, 3]), (1, [(0.25,), (0.75,), (1.0,)], [0.25, 0.75, 1]), (1, [(0.0,)] * 2, [0, 0])],
    ids=["step by step", "by share", "of unknown length"],
)
def test_the_bar_stands_where_the_work_does(monkeypatch, steps, told, shown):
    bars = []
    monkeypatch.setattr(launch, "tqdm", lambda **how: bars.append(tqdm(**how | ON)) or bars[0])
    found = []
    with launch.progress(steps) as stage:
        for done in told:
            stage("rows", *done)
            found.append(bars[0].n)
    assert found == shown


def test_a_user_may_let_mlflow_talk(ends, monkeypatch):
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    ends()
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


# Ctrl-C

SAID = "\nInterrupted. Nothing half-written was kept.\n"
QUICK = ("dataset.rows=400", "task=length_of_stay", "model=baseline", "explain.rows=0", "tracking=none")


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(10)  # the signal comes first


@pytest.mark.parametrize("words", [[], ["--multirun", "seed=1,2"]])
@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=["heard", "ignored by the shell"])
def test_an_interrupt_ends_in_130_and_leaves_no_empty_folder(tmp_path, ends, words, handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert ends(*words, does=interrupt) == (130, "", SAID)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_termination_ends_as_an_interrupt_does_with_a_code_of_its_own(tmp_path, ends, number, code):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert ends(does=lambda: interrupt(number)) == (code, "", SAID)
    finally:
        signal.signal(number, before)
    assert not (tmp_path / "out").exists()


def test_under_nohup_the_end_of_the_terminal_ends_nothing(ends):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ends(does=lambda: os.kill(os.getpid(), signal.SIGHUP)).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&-"])
def test_a_screen_that_is_closed_stops_nothing_and_is_in_no_file(command, tmp_path, closed):
    ended = command("train", *QUICK, "hydra.run.dir=run", under=f"exec {closed}")
    assert ended.code == 0, ended.stderr
    assert "length of stay" in (tmp_path / "run" / "length_of_stay" / "report.html").read_text(encoding="utf-8")
    assert not [
        path for path in tmp_path.rglob("*.*") if path.is_file() and b"python -m hi_ml.track" in path.read_bytes()
    ]


@pytest.mark.slow
def test_a_screen_that_knows_few_letters_shows_their_numbers(command):
    ended = command("train", *QUICK, PYTHONIOENCODING="ascii")
    assert (ended.code, "R\\xb2" in ended.stdout) == (0, True), ended.stderr


def test_an_interrupt_that_is_lost_in_a_destructor_is_heard_all_the_same(ends):
    class Thing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            sum(range(1_000))  # the signal is heard here, where no exception gets out

    def does():
        Thing()
        time.sleep(10)

    assert ends(does=does) == (130, "", SAID)


@pytest.mark.parametrize(
    "error", [ValueError("half-way"), OmegaConfBaseException("There is no key"), OSError("no file")]
)
def test_an_interrupt_of_which_a_library_made_an_error_is_one_all_the_same(tmp_path, ends, error):
    def does():
        try:
            interrupt()
        except KeyboardInterrupt:
            raise error from None

    assert ends(does=does) == (130, "", SAID)
    assert not (tmp_path / "out").exists()
    assert ends(does=raises(error)).code == 1  # which is no interrupt


def test_an_interrupt_that_a_library_drops_is_heard_at_the_next_stage(ends):
    reached = []

    def does():
        with suppress(KeyboardInterrupt):
            interrupt()
        with launch.progress(1) as stage:
            stage("the next")
        reached.append("what it was to do")

    before = signal.getsignal(signal.SIGINT)
    try:
        assert ends(does=does) == (130, "", SAID)
    finally:
        signal.signal(signal.SIGINT, before)
    with launch.progress(1) as stage:
        stage("of another call in this process")
    assert not reached


@pytest.mark.slow
def test_a_second_interrupt_at_the_very_end_ends_in_130_at_once(tmp_path):
    script = """
import atexit, os, signal, time
from hi_ml import train
from hi_ml.app import launch
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
def track(settings: dict, here: launch.Invocation):
    interrupt()
atexit.register(print, "what a library does at the end")
atexit.register(interrupt)  # the last comes first
launch.command(track)()
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", SAID)


@pytest.mark.slow
@pytest.mark.parametrize("word", ["read", "fit", "run folder", "track"])
def test_an_interrupt_at_any_stage_of_a_run_leaves_what_is_whole(tmp_path, inside, monkeypatch, word):
    def stage(name, _done=None):
        if word in name:
            interrupt()

    monkeypatch.setattr(launch, "progress", lambda _steps: nullcontext(stage))
    tracked = ["tracking=default"] if word == "track" else []  # the interrupt comes before anything is sent
    assert inside(train.main, *QUICK, *tracked)[::2] == (130, SAID)
    whole = {path.parent.name for path in tmp_path.rglob("run.json")}
    assert whole == ({"length_of_stay"} if word == "track" else set())
    assert whole or not [path for path in tmp_path.rglob("*") if path.is_file() or path.parent.name == "train"]


@pytest.mark.parametrize("delay", [0.3, 0.6])  # seconds; the imports take one or two
def test_an_interrupt_while_a_command_still_imports_ends_in_130(tmp_path, delay):
    assert interrupted(tmp_path, delay) == 130
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [3, 6])
def test_an_interrupt_ends_in_its_code_wherever_it_comes(tmp_path, delay, number):
    ended = interrupted(tmp_path, delay, "model=lgbm", *QUICK[:2], number=number)
    assert ended in (128 + number, 0)  # a quick machine may be done
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if "unfinished" in str(path)]
    assert all((run / "length_of_stay" / "data.json").exists() for run in tmp_path.glob("outputs/train/*"))
    if (tmp_path / "mlflow.db").exists():
        with sqlite3.connect(tmp_path / "mlflow.db") as store:
            assert store.execute("select count(*) from experiments").fetchone()[0] >= 1


LATE = """
import atexit, os, signal, sys, time
atexit.register(lambda: (os.kill(os.getpid(), {number}), time.sleep(60)))
sys.argv = ["hi_ml.train", "--version"]
from hi_ml.train import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_when_all_is_done_ends_the_process_with_its_code(number):
    late = [sys.executable, "-c", LATE.format(number=int(number))]
    done = subprocess.run(late, capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout) == (128 + number, f"{version('hi_ml')}\n")


def interrupted(folder, delay, *words, number=signal.SIGINT):
    """Interrupt a training after some seconds, and return its exit code."""
    command = [sys.executable, "-m", "hi_ml.train", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as begun:
        with suppress(subprocess.TimeoutExpired):
            begun.wait(delay)
        begun.send_signal(number)
        said = begun.communicate(timeout=120)[1]
    assert "Traceback" not in said
    return begun.returncode if begun.returncode >= 0 else 128 - begun.returncode  # as a shell says


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=lgmb"], "There is no model=lgmb (did you mean lgbm?). Expected one of baseline, "),
        (["dataset=kagle"], "There is no dataset=kagle (did you mean kaggle?)"),
        (["task=[billing,test_result]"], "There is no task=test_result (did you mean test_results?)"),
        (["+experiment=memorizer"], "There is no experiment=memorizer (did you mean memoriser?)"),
        (["+experimnt=memoriser"], "experimnt: there is no such key (did you mean experiment?)"),
        (["--config-dir", "mine", "dataset=wrad"], "There is no dataset=wrad (did you mean ward?)"),
    ],
    ids=" ".join,
)
def test_an_option_that_is_not_there_is_told_with_the_one_that_was_meant(inside, tmp_path, words, said):
    (tmp_path / "mine" / "dataset").mkdir(parents=True)
    (tmp_path / "mine" / "dataset" / "ward.yaml").write_text("defaults: [kaggle]", encoding="utf-8")
    ended = inside(train.main, *words)
    assert (ended.code, ended.stderr.count("\n")) == (1, 1)
    assert said in ended.stderr


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 1. TiB"), ValueError("Unable to allocate 1. TiB")])
def test_memory_that_does_not_suffice_is_a_sentence_and_no_defect(ends, monkeypatch, error):
    monkeypatch.setattr(launch, "available", lambda: 10**7)
    ended = ends(does=raises(error))
    assert (ended.code, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("MemoryExhausted: There is not enough memory for this: Unable to allocate 1. TiB. ")


def test_what_a_terminal_would_obey_is_shown_as_an_escape(tmp_path, inside, admissions_csv):
    table = pd.read_csv(admissions_csv, dtype=str)
    table["Insurance Provider"] = "\x1b]0;mine\x07 \u202e" + table["Insurance Provider"]
    table.to_csv(tmp_path / "mine.csv", index=False)
    ended = inside(
        findings.main, "dataset=kaggle", "dataset.source=mine.csv", "finding=insurance_access", "tracking=none"
    )
    assert ended.code == 0, ended.stderr
    assert "\\x1b]0;mine\\x07" in ended.stdout
    assert not {"\x1b", "\x07", "\u202e"} & {*ended.stdout, *ended.stderr}
    assert isinstance(sys.stdout, io.TextIOBase)  # whoever calls a command from Python has the screen back
