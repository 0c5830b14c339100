"""How far apart are the scores of several models on the same test rows, and how sure is that?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.app.config import build, leaves
from hi_ml.app.errors import NotComparable
from hi_ml.modeling.scores.score import Predictions, Score, losses, primary, scores_of
from hi_ml.modeling.tasks import Task, check_whole
from hi_ml.statistics.groups import Units
from hi_ml.statistics.multiplicity import holm

_SEED = 0  # of the bootstrap: two comparisons of the same runs are the same
_SAME_ROWS = ["group", "target"]  # in one order, wherever in the source they stood
_MAY_DIFFER = ("horizon", "features", "scores")  # of a task that is the same: what it is predicted from, and told of


@dataclass(frozen=True)
class Run:
    """A finished run of one task, as its files tell it."""

    label: str  # names it among the runs that it is compared with
    id: str  # of the MLflow run, or the path of a run folder
    about: Mapping[str, Any]  # ``run.json`` with the digests, ``verdict.json``, the composed configuration
    verdict: Mapping[str, Any]
    config: Mapping[str, Any]
    scores: pd.DataFrame  # ``score, part, value, low, high, baseline, unit``
    # shape (n_test, any); ``row, group, twin, target, prediction`` and ``p_<label>`` of classes
    predictions: pd.DataFrame

    @property
    def task(self) -> Task:
        """The task as the run had it."""
        task: Task = build(Task, self.config["tasks"][self.about["task"]])
        if task.kind != "regression":
            return task
        return check_whole(task, self.predictions["target"].to_numpy(dtype=float))[0]

    @property
    def units(self) -> Units:
        """The admissions and the units of the test part; a run of old, which kept no copies apart, has the units."""
        twin = self.predictions["twin" if "twin" in self.predictions else "group"]
        return Units.of(twin.to_numpy(), self.predictions["group"].to_numpy())

    def against_truth(self) -> Predictions:
        """The predictions as a score takes them."""
        frame, task = self.predictions, self.task
        if task.kind == "regression":
            target, predicted = (frame[name].to_numpy(dtype=float) for name in ("target", "prediction"))
            return Predictions(task, target, predicted, self.units, _SEED)
        labels = [name.removeprefix("p_") for name in map(str, frame) if name.startswith("p_")]
        codes = pd.Index(labels).get_indexer(pd.Index(frame["target"])).astype(float)
        probabilities = frame[[f"p_{label}" for label in labels]].to_numpy(dtype=float)
        return Predictions(task, codes, probabilities, self.units, _SEED)

    def test_scores(self) -> pd.DataFrame:
        """The scores of the test part, by name."""
        return self.scores[self.scores["part"] == "test"].set_index("score")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, the one with the best primary score first."""

    score: str  # the primary score, on which runs are ordered
    unit: str
    smallest: float  # the difference that would matter: the smallest skill, as a share of the baseline's loss
    # ``run_a, run_b, score, difference, low, high, p, p_holm, unit, better``: every pair and score, a less b,
    # with 95 % intervals; ``p_holm`` for the primary score, over all pairs; whether ``less`` or ``more`` is
    # better
    differences: pd.DataFrame
    runs: pd.DataFrame  # ``run, run_id, score, value, low, high, baseline, unit, verdict, reason, skill``
    configuration: pd.DataFrame  # ``key`` and one column per run: the settings that differ between them, and only those
    identical: tuple[tuple[str, ...], ...]  # runs whose predictions are the same to the last bit
    groups: int  # units of inference in the test part
    tested: str  # how many admissions of whom

    @property
    def labels(self) -> list[str]:
        """The runs, best first."""
        return list(dict.fromkeys(self.runs["run"]))

    def from_best(self) -> pd.DataFrame:
        """The differences of every other run from the best one."""
        return self.differences[self.differences["run_b"] == self.labels[0]]


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Compare runs that were made on the same rows.

    Parameters
    ----------
    runs : sequence of Run
        At least two, of one task, with different labels.

    Raises
    ------
    NotComparable
        If their digests, test rows, targets or the definition of their scores differ, or one lacks any of these.
    """
    try:
        return _compared(runs)
    except (AttributeError, KeyError, TypeError) as error:  # of files that someone changed
        raise NotComparable.damaged([run.label for run in runs], error) from error


def _compared(runs: Sequence[Run]) -> Comparison:
    _refuse_different(runs)
    decides = primary(runs[0].task)
    score, more = decides.name, decides.better == "more"
    ordered = sorted(runs, key=lambda run: float(run.test_scores()["value"][score]), reverse=more)
    values = _values(ordered)
    scores, tested, units = ordered[0].test_scores(), ordered[0].against_truth(), ordered[0].units
    loss = losses(tested.task, tested.target, tested.predicted)
    return Comparison(
        score=score,
        unit=str(scores["unit"][score]),
        smallest=decides.step(float(scores["baseline"][score]), ordered[0].verdict["smallest_skill"]),
        differences=_differences(values, score, tested),
        runs=pd.concat([_scores(run, [one.name for one in values]) for run in ordered], ignore_index=True),
        configuration=differences_in_settings(ordered),
        identical=_identical(ordered),
        groups=len(units),
        tested=units.describe(units.design_effect(loss)),
    )


def differences_in_settings(runs: Sequence[Run]) -> pd.DataFrame:
    """List the settings that are not the same in all runs: ``key`` and one column per label, empty where it has none.

    A run is one task of what was asked for: the settings of the other tasks are not its own.
    """
    by_run = {run.label: leaves(_own(run)) for run in runs}
    keys = dict.fromkeys(key for settings in by_run.values() for key in settings)
    table = {key: [_write(settings[key]) if key in settings else "" for settings in by_run.values()] for key in keys}
    rows = [(key, *values) for key, values in table.items() if len(set(values)) > 1]
    return pd.DataFrame(rows, columns=["key", *by_run])


def _own(run: Run) -> dict[str, Any]:
    name = run.about["task"]
    return {**run.config, "tasks": {name: run.config["tasks"][name]}}


def _write(value: Any) -> str:
    return "null" if value is None else str(value)


def _refuse_different(runs: Sequence[Run]) -> None:
    first = runs[0]
    by_digests: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        by_digests.setdefault((run.about["data_sha256"], run.about["split_sha256"]), []).append(run.label)
    if len(by_digests) > 1:
        raise NotComparable.digests(by_digests)
    for run in runs[1:]:
        if not run.predictions[_SAME_ROWS].equals(first.predictions[_SAME_ROWS]):
            raise NotComparable.differ(first.label, run.label, "the rows, groups or targets of the test part")
        same = replace(run.task, **{name: getattr(first.task, name) for name in _MAY_DIFFER})
        if same != first.task:
            raise NotComparable.differ(first.label, run.label, f"the definition of task {first.task.name}")


def _values(runs: Sequence[Run]) -> dict[Score, dict[str, Any]]:
    """What is paired, by score and run: of the scores that all runs have and that are defined on these rows."""
    predictions = {run.label: run.against_truth() for run in runs}
    shared = set.intersection(*({score.name for score in scores_of(one.task)} for one in predictions.values()))
    table = {}
    for score in scores_of(runs[0].task):
        values = {label: score.values(one) for label, one in predictions.items()}
        defined = {label: value for label, value in values.items() if value is not None}
        if score.name in shared and len(defined) == len(runs):
            table[score] = defined
    return table


def _differences(values: Mapping[Score, Mapping[str, Any]], decides: str, tested: Predictions) -> pd.DataFrame:
    """Every pair, the worse of the two less the better, the pairs with the best run first."""
    rows = []
    for second, first in combinations(next(iter(values.values())), 2):
        for score, of_run in values.items():
            apart = score.difference(tested, of_run[first], of_run[second])
            row = (first, second, score.name, apart.value, apart.low, apart.high, apart.p, score.unit, score.better)
            rows.append(row)
    columns = ["run_a", "run_b", "score", "difference", "low", "high", "p", "unit", "better"]
    table = pd.DataFrame(rows, columns=columns)
    primary_rows = table["score"] == decides
    table.insert(7, "p_holm", np.nan)
    table.loc[primary_rows, "p_holm"] = holm(table.loc[primary_rows, "p"])
    return table


def _scores(run: Run, names: list[str]) -> pd.DataFrame:
    table = run.test_scores().reindex(names)[["value", "low", "high", "baseline", "unit"]].reset_index(names="score")
    table.insert(0, "run", run.label)
    table.insert(1, "run_id", run.id)
    reason = run.verdict.get("reason", "")  # a run of old has none
    return table.assign(verdict=run.verdict["verdict"], reason=reason, skill=run.verdict["skill"])


def _identical(runs: Sequence[Run]) -> tuple[tuple[str, ...], ...]:
    alike: dict[bytes, list[str]] = {}
    for run in runs:
        answers = [name for name in map(str, run.predictions) if name == "prediction" or name.startswith("p_")]
        digests = pd.util.hash_pandas_object(run.predictions[answers]).to_numpy()
        alike.setdefault(digests.tobytes(), []).append(run.label)
    return tuple(tuple(labels) for labels in alike.values() if len(labels) > 1)
