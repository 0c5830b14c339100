"""The leak of a random split, measured on noise: by a memoriser, by a model that is watched, on tables of copies."""

import math
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from hi_ml.app.config import build
from hi_ml.evaluation import leakage
from hi_ml.evaluation.assessment import FittedRun, Method
from hi_ml.evaluation.leakage import Leakage, measure
from hi_ml.modeling.encoding import Encoding
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task

DAYS = Task("days", "days", "regression", "days", "admission", "mae", within=1)
RESULTS = Task("results", "result", "classification", "label", "admission", "log_loss")
MEMORISER = Model(
    name="memoriser",
    regression={"_target_": "sklearn.tree.DecisionTreeRegressor"},
    classification={"_target_": "sklearn.tree.DecisionTreeClassifier"},
    predicts="mean",
    encoding=Encoding("ordinal", "raw"),
)
TASKS = pytest.mark.parametrize("task", [DAYS, RESULTS], ids=["days", "classes"])


def noise(task, *, rows=1200, copies=200, seed=0, pasted=1):
    """Features that identify a row and its twin, and a target that they do not explain; pasted together so often."""
    rng = np.random.default_rng(seed)
    originals = rows - copies
    twin = np.concatenate([np.arange(originals), rng.permutation(originals)[:copies]])
    drawn = rng.integers(1, 31, originals) if task is DAYS else rng.integers(0, 3, originals)
    frame, twin = rng.random((originals, 3))[twin], np.tile(twin, pasted)
    frame = pd.DataFrame(np.tile(frame, (pasted, 1)), columns=["a", "b", "c"])
    return Problem(
        task=task, features=Features(frame, {name: {} for name in frame}, {name: name for name in frame}),
        target=drawn[twin].astype(float), labels=[] if task is DAYS else ["x", "y", "z"], table=frame,
        parts=np.zeros(len(twin), dtype=np.int8), row=np.arange(len(twin)), group=twin, twin=twin, refused={}, units={},
    )  # fmt: skip


def measured(problem, *, repeats=1, seed=0):
    method = Method(MEMORISER, Split("grouped", 0.6, 0.2, 0.2), seed)
    return measure(FittedRun(problem, method, None, None, None), Leakage(test=0.2, repeats=repeats))


class Watched:
    """A model that is right on the rows whose twin it was taught, or on all others, and says what it was asked."""

    def __init__(self, monkeypatch, *, right_on_twins=True):
        self.right_on_twins, self.train, self.test = right_on_twins, [], []
        monkeypatch.setattr(leakage, "fit_rows", self.fit)

    def fit(self, problem, _model, rows, *, seed):
        assert seed == 0
        self.train.append(rows)
        return SimpleNamespace(predict=lambda frame: self.predict(problem, rows, frame.index.to_numpy()))

    def predict(self, problem, train, rows):
        self.test.append(rows)
        right = np.isin(problem.twin[rows], problem.twin[train]) == self.right_on_twins
        target = problem.target[rows]
        if problem.task is DAYS:
            return np.where(right, target, target + 3)
        return np.eye(3)[np.where(right, target, (target + 1) % 3).astype(int)]


@TASKS
def test_a_memoriser_shows_the_gap_that_was_predicted_for_it(task):
    found = measured(noise(task, rows=4000, copies=1000))
    assert found.predicted_gap > 0
    assert found.gap == pytest.approx(found.predicted_gap, rel=0.2)
    assert found.low < found.predicted_gap < found.high
    assert found.low > 0


@TASKS
def test_the_gap_comes_from_the_rows_with_a_twin_and_not_from_the_others(task):
    found = measured(noise(task, rows=4000, copies=1000))
    assert found.gap_with_twin == pytest.approx(found.predicted_gap / found.twin_share, rel=0.2)
    assert abs(found.gap_without_twin) < 0.2 * found.gap_with_twin


@TASKS
def test_a_forgetful_model_shows_no_gap_for_all_its_twins(task, monkeypatch):
    constant = 15.0 if task is DAYS else [0.2, 0.5, 0.3]
    forgetful = SimpleNamespace(predict=lambda frame: np.array([constant] * len(frame)))
    monkeypatch.setattr(leakage, "fit_rows", lambda *_, **__: forgetful)
    found = measured(noise(task))
    assert found.twin_share > 0.1
    assert (found.gap, found.low, found.high) == (0, 0, 0)
    assert found.random_score == found.grouped_score


@TASKS
@pytest.mark.parametrize("repeats", [1, 4])
def test_without_twins_nothing_leaks_exactly(task, repeats):
    found = measured(noise(task, copies=0), repeats=repeats)
    assert (found.gap, found.low, found.high) == (0, 0, 0)
    assert (found.twin_share, found.predicted_gap, found.gap_with_twin) == (0, 0, None)
    assert found.random_score == found.grouped_score
    assert "nothing can leak" in found.sentence


@TASKS
def test_a_gap_is_positive_where_the_random_split_flatters_and_negative_where_it_does_not(task, monkeypatch):
    for right_on_twins in (True, False):
        Watched(monkeypatch, right_on_twins=right_on_twins)
        found = measured(noise(task))
        size = 3 if task is DAYS else 1  # days that a wrong stay is off; a wrong label costs one
        direction = 1 if right_on_twins else -1
        assert found.gap_with_twin == direction * size
        assert found.gap_without_twin == 0
        assert direction * found.gap > 0
        better = found.random_score < found.grouped_score if task is DAYS else found.random_score > found.grouped_score
        assert better == right_on_twins


def test_an_error_is_in_the_unit_and_an_accuracy_in_points():
    days, classes = (measured(noise(task)) for task in (DAYS, RESULTS))
    assert (days.score, classes.score) == ("mae", "accuracy")
    assert " days (95 % interval" in days.sentence
    assert f"by {100 * classes.gap:.3g} points" in classes.sentence
    assert f"{100 * classes.twin_share:.1f} % of its test rows have a twin" in classes.sentence


def test_both_fits_are_asked_of_the_same_fifth_and_the_second_knows_no_twin_of_it(monkeypatch):
    watched, problem = Watched(monkeypatch), noise(DAYS)
    found = measured(problem)
    (leaky, clean), (test, again) = watched.train, watched.test
    np.testing.assert_array_equal(test, again)
    assert len(test) == 240
    np.testing.assert_array_equal(np.sort(np.append(test, leaky)), np.arange(1200))
    twin = problem.twin
    assert not set(twin[clean]) & set(twin[test])
    np.testing.assert_array_equal(clean, leaky[~np.isin(twin[leaky], twin[test])])
    assert found.twin_share == np.isin(twin[test], twin[leaky]).mean()


def gap_by_hand(twin, leaky, test):
    """What `Watched` gains on one draw: three days per test group that has a twin in training."""
    frame = pd.DataFrame({"twin": twin[test], "gained": 3.0 * np.isin(twin[test], twin[leaky])})
    return frame.groupby("twin")["gained"].mean()


def test_one_draw_has_the_interval_of_its_groups(monkeypatch):
    watched, problem = Watched(monkeypatch), noise(DAYS, rows=4000, copies=1000)
    found = measured(problem)
    gained = gap_by_hand(problem.twin, watched.train[0], watched.test[0])
    error = gained.std(ddof=1) / len(gained) ** 0.5
    assert found.gap == pytest.approx(gained.mean())
    assert (found.low, found.high) == pytest.approx((found.gap - 1.96 * error, found.gap + 1.96 * error), abs=error / 4)


def test_repeats_have_the_corrected_resampled_interval(monkeypatch):
    watched, problem = Watched(monkeypatch), noise(DAYS)
    found = measured(problem, repeats=5)
    draws = zip(watched.train[::2], watched.test[::2], strict=True)
    gaps = [gap_by_hand(problem.twin, leaky, test).mean() for leaky, test in draws]
    assert len({tuple(test) for test in watched.test}) == 5
    reach = stats.t.ppf(0.975, 4) * ((1 / 5 + 0.2 / 0.8) * np.var(gaps, ddof=1)) ** 0.5
    assert found.repeats == 5
    assert (found.gap, found.low, found.high) == pytest.approx(
        (np.mean(gaps), np.mean(gaps) - reach, np.mean(gaps) + reach)
    )


@TASKS
@pytest.mark.parametrize("repeats", [1, 3])
def test_where_every_row_has_tested_copies_the_comparison_is_with_the_constant(task, repeats):
    """A file pasted together fifty times: no training row is left that has no twin in the test rows."""
    problem = noise(task, rows=40, copies=0, pasted=50)
    found = measured(problem, repeats=repeats)
    if task is DAYS:
        assert found.random_score == 0
        assert found.grouped_score == pytest.approx(
            np.mean(np.abs(problem.target - np.median(problem.target))), rel=0.1
        )
    else:
        assert found.random_score == 1
        assert found.grouped_score == pytest.approx(np.bincount(problem.target.astype(int)).max() / 2000, rel=0.1)
    assert found.twin_share == 1
    assert found.gap_without_twin is None
    assert found.gap == pytest.approx(found.predicted_gap)
    assert "constant" in found.sentence


@TASKS
def test_every_number_is_finite(task):
    for copies in (0, 1, 500):
        found = measured(noise(task, rows=1000, copies=copies))
        assert all(math.isfinite(value) for value in asdict(found).values() if isinstance(value, float))


@pytest.mark.parametrize("wrong", [{"test": 0.0}, {"test": 0.6}, {"repeats": 0}])
def test_a_measure_without_rows_or_draws_is_refused(wrong):
    with pytest.raises(ValidationError):
        build(Leakage, {"test": 0.2, "repeats": 1, **wrong})
