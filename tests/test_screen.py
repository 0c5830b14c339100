"""The screen of a run: the verdict first, then the scores, then at most a line for each question."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import hi_ml
from hi_ml import train
from hi_ml.app.text import number
from hi_ml.reports.screen import closing, line, summary
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.send import Tracked


@pytest.fixture(scope="module")
def runs():
    """A run of each kind of task, assessed."""
    table = hi_ml.read("simulated", rows=1500)
    made = {}
    for task in ("length_of_stay", "test_results"):
        run = hi_ml.fit(table, task, "linear")
        made[task] = replace(run, results=hi_ml.assess(run))
    return made


@pytest.mark.parametrize("task", ["length_of_stay", "test_results"])
def test_the_verdict_comes_first_and_each_question_has_a_line(runs, task, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    run = runs[task]
    said = summary(run).splitlines()
    first, sentence = said[1:3]
    word = run.results["verdict"].verdict.replace("_", " ").upper()
    assert first == f"{task.replace('_', ' ')} at {run.problem.task.horizon}, linear: {word}"
    assert run.results["verdict"].sentence.startswith(sentence[:150])
    lines = [line for line in said[len(said) - said[::-1].index("") :] if not line.startswith("  ")]
    begins = ("Random split: ", "Sets cover" if run.problem.labels else "Intervals cover", "Calibration: ",
              "Acting on the shares" if run.problem.labels else "Bed-days", "Subgroups: ", "Drivers, in ")  # fmt: skip
    assert [line.startswith(begin) for line, begin in zip(lines, begins, strict=False)] == [True] * 6
    assert len(lines) == 6


@pytest.mark.parametrize("width", [60, 100])
def test_lines_are_wrapped_at_the_width_of_the_terminal(runs, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = summary(runs["length_of_stay"]).splitlines()
    table = [index for index, line in enumerate(lines) if not line][1:3]
    assert max(len(line) for line in lines[: table[0]] + lines[table[1] :]) <= width


def test_a_score_worse_than_knowing_nothing_is_marked(runs):
    run = runs["length_of_stay"]
    scores = run.results["scores"].copy()
    row, constant = scores["score"] == "median_ae", 5.0
    for low, high, words in ((8.0, 10.0, "worse"), (4.0, 10.0, "no better"), (float("nan"),) * 2 + ("no better",)):
        scores.loc[row, ["value", "low", "high", "baseline"]] = 9.0, low, high, constant
        said = summary(replace(run, results=run.results | {"scores": scores})).splitlines()
        (told,) = (line for line in said if line.strip().startswith("median absolute error"))
        assert told.endswith(f"< {words} than knowing nothing")


def test_the_tasks_of_a_command_end_in_one_table_with_verdict_score_and_interval(runs):
    head, *lines = closing([line(run) for run in runs.values()]).strip().splitlines()
    assert head.split()[:3] == ["task", "verdict", "score"]
    for told, run in zip(lines, runs.values(), strict=True):
        first = run.results["scores"].iloc[0]
        assert told.strip().startswith(run.problem.task.name.replace("_", " "))
        assert run.results["verdict"].verdict.replace("_", " ") in told
        assert f"{number(first['low'])} to {number(first['high'])}" in told


def send(folder, failing, uri):
    """Do as a server would that fails once."""
    if folder.name != failing:
        RunFolder(folder).write(tracked={uri: {"experiment_id": "12" if folder.name == "billing" else "34"}})
    return Tracked(uri, folder.name, "1")


@pytest.mark.slow
def test_the_command_that_comes_next_is_of_the_tasks_in_the_order_they_were_asked_for(inside, monkeypatch):
    quick = ["dataset.rows=400", "model=baseline", "explain.rows=0", "task=[length_of_stay,billing]"]
    said = inside(train.main, *quick, "tracking=none", "hydra.run.dir=untracked").stdout
    assert re.findall(r"hi_ml.track run=\S*/(\w+)", said) == ["length_of_stay", "billing"]
    monkeypatch.syspath_prepend(Path(__file__).parents[1])  # where another process finds this module
    uri = "http://mlflow.example:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    for failing, first in (("none", "34"), ("length_of_stay", "12")):
        sending = partial(send, failing=failing, uri=uri)
        monkeypatch.setattr(
            train.TrainSettings, "sending", lambda _, folder, __, sending=sending: partial(sending, folder)
        )
        said = inside(train.main, *quick, "tracking=default", f"hydra.run.dir={failing}").stdout
        assert f"{uri}/#/experiments/{first}/runs?viewStateShareKey=hi_ml shows the runs" in said
