import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from hi_ml.app.config import build
from hi_ml.evaluation.leakage import Leakage, measure
from hi_ml.modeling.encoding import Encoding
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model, fit
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


class Table:
    """Noise: features that identify a row and its twin, and a target that they do not explain."""

    def __init__(self, task, *, rows=1200, copies=200, seed=0):
        rng = np.random.default_rng(seed)
        originals = rows - copies
        self.twins = np.concatenate([np.arange(originals), rng.permutation(originals)[:copies]])
        drawn = rng.integers(1, 31, originals) if task is DAYS else rng.integers(0, 3, originals)
        self.target = drawn[self.twins].astype(float)
        frame = pd.DataFrame(rng.random((originals, 3))[self.twins], columns=["a", "b", "c"])
        self.features = Features(frame, {name: {} for name in frame}, {name: name for name in frame})
        self.classes = 0 if task is DAYS else 3

    def fit(self, rows):
        chosen = self.features.part(rows, ["a", "b", "c"])
        return fit(MEMORISER, chosen, self.target[rows], group=self.twins[rows], classes=self.classes, seed=0)

    def predict(self, fitted, rows):
        return fitted.predict(self.features.frame.iloc[rows])


def measured(task, table, *, repeats=1, seed=0, model=None):
    fit_, predict = model or (table.fit, table.predict)
    how = Leakage(test=0.2, repeats=repeats)
    return measure(task, table.target, twins=table.twins, fit=fit_, predict=predict, settings=(how, seed))


class Watched:
    """A model that is right on the rows whose twin it was taught, or on all others, and says what it was asked."""

    def __init__(self, table, task, *, right_on_twins=True):
        self.table, self.task, self.right_on_twins = table, task, right_on_twins
        self.taught, self.asked = [], []

    def fit(self, rows):
        self.taught.append(rows)
        return rows

    def predict(self, taught, rows):
        self.asked.append(rows)
        right = np.isin(self.table.twins[rows], self.table.twins[taught]) == self.right_on_twins
        target = self.table.target[rows]
        if self.task is DAYS:
            return np.where(right, target, target + 3)
        return np.eye(3)[np.where(right, target, (target + 1) % 3).astype(int)]


@TASKS
def test_a_memoriser_shows_the_gap_that_was_predicted_for_it(task):
    found = measured(task, Table(task, rows=4000, copies=1000))
    assert found.predicted_gap > 0
    assert found.gap == pytest.approx(found.predicted_gap, rel=0.2)
    assert found.low < found.predicted_gap < found.high
    assert found.low > 0


@TASKS
def test_the_gap_comes_from_the_rows_with_a_twin_and_not_from_the_others(task):
    found = measured(task, Table(task, rows=4000, copies=1000))
    assert found.gap_with_twin == pytest.approx(found.predicted_gap / found.twin_share, rel=0.2)
    assert abs(found.gap_without_twin) < 0.2 * found.gap_with_twin


@TASKS
def test_a_forgetful_model_shows_no_gap_for_all_its_twins(task):
    table = Table(task)
    constant = np.full(len(table.target), 15.0) if task is DAYS else np.tile([0.2, 0.5, 0.3], (len(table.target), 1))
    found = measured(task, table, model=(lambda rows: rows, lambda _, rows: constant[rows]))
    assert found.twin_share > 0.1
    assert (found.gap, found.low, found.high) == (0, 0, 0)
    assert found.random_score == found.grouped_score


@TASKS
@pytest.mark.parametrize("repeats", [1, 4])
def test_without_twins_nothing_leaks_exactly(task, repeats):
    found = measured(task, Table(task, copies=0), repeats=repeats)
    assert (found.gap, found.low, found.high) == (0, 0, 0)
    assert (found.twin_share, found.predicted_gap, found.gap_with_twin) == (0, 0, None)
    assert found.random_score == found.grouped_score
    assert "nothing can leak" in found.sentence


@TASKS
def test_a_gap_is_positive_where_the_random_split_flatters_and_negative_where_it_does_not(task):
    table = Table(task)
    for right_on_twins in (True, False):
        watched = Watched(table, task, right_on_twins=right_on_twins)
        found = measured(task, table, model=(watched.fit, watched.predict))
        size = 3 if task is DAYS else 1  # days that a wrong stay is off; a wrong label costs one
        direction = 1 if right_on_twins else -1
        assert found.gap_with_twin == direction * size
        assert found.gap_without_twin == 0
        assert direction * found.gap > 0
        better = found.random_score < found.grouped_score if task is DAYS else found.random_score > found.grouped_score
        assert better == right_on_twins


def test_an_error_is_in_the_unit_and_an_accuracy_in_points():
    days, classes = (measured(task, Table(task)) for task in (DAYS, RESULTS))
    assert (days.score, classes.score) == ("mae", "accuracy")
    assert " days (95 % interval" in days.sentence
    assert f"by {100 * classes.gap:.3g} points" in classes.sentence
    assert f"{100 * classes.twin_share:.1f} % of its test rows have a twin" in classes.sentence


def test_both_fits_are_asked_of_the_same_fifth_and_the_second_knows_no_twin_of_it():
    table = Table(DAYS)
    watched = Watched(table, DAYS)
    found = measured(DAYS, table, model=(watched.fit, watched.predict))
    (leaky, clean), (test, again) = watched.taught, watched.asked
    np.testing.assert_array_equal(test, again)
    assert len(test) == 240
    np.testing.assert_array_equal(np.sort(np.append(test, leaky)), np.arange(1200))
    twin = table.twins
    assert not set(twin[clean]) & set(twin[test])
    np.testing.assert_array_equal(clean, leaky[~np.isin(twin[leaky], twin[test])])
    assert found.twin_share == np.isin(twin[test], twin[leaky]).mean()


def gap_by_hand(table, leaky, test):
    """What `Watched` gains on one draw: three days per test group that has a twin in training."""
    frame = pd.DataFrame({"twin": table.twins[test], "gained": 3.0 * np.isin(table.twins[test], table.twins[leaky])})
    return frame.groupby("twin")["gained"].mean()


def test_one_draw_has_the_interval_of_its_groups():
    table = Table(DAYS, rows=4000, copies=1000)
    watched = Watched(table, DAYS)
    found = measured(DAYS, table, model=(watched.fit, watched.predict))
    gained = gap_by_hand(table, watched.taught[0], watched.asked[0])
    error = gained.std(ddof=1) / len(gained) ** 0.5
    assert found.gap == pytest.approx(gained.mean())
    assert (found.low, found.high) == pytest.approx((found.gap - 1.96 * error, found.gap + 1.96 * error), abs=error / 4)


def test_repeats_have_the_corrected_resampled_interval():
    table = Table(DAYS)
    watched = Watched(table, DAYS)
    found = measured(DAYS, table, repeats=5, model=(watched.fit, watched.predict))
    gaps = [
        gap_by_hand(table, leaky, test).mean()
        for leaky, test in zip(watched.taught[::2], watched.asked[::2], strict=True)
    ]
    assert len({tuple(test) for test in watched.asked}) == 5
    reach = stats.t.ppf(0.975, 4) * ((1 / 5 + 0.2 / 0.8) * np.var(gaps, ddof=1)) ** 0.5
    assert found.repeats == 5
    assert (found.gap, found.low, found.high) == pytest.approx(
        (np.mean(gaps), np.mean(gaps) - reach, np.mean(gaps) + reach)
    )


def test_the_gap_depends_on_the_seed_alone():
    table = Table(RESULTS)
    first, again, other = (measured(RESULTS, table, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.gap != other.gap


@TASKS
@pytest.mark.parametrize("repeats", [1, 3])
def test_where_every_row_has_tested_copies_the_comparison_is_with_the_constant(task, repeats):
    """A file pasted together fifty times: no training row is left that has no twin in the test rows."""
    table = Table(task, rows=40, copies=0)
    pasted = np.tile(np.arange(40), 50)
    table.twins, table.target = table.twins[pasted], table.target[pasted]
    table.features = table.features.part(pasted, ["a", "b", "c"])
    found = measured(task, table, repeats=repeats)
    if task is DAYS:
        assert found.random_score == 0
        assert found.grouped_score == pytest.approx(np.mean(np.abs(table.target - np.median(table.target))), rel=0.1)
    else:
        assert found.random_score == 1
        assert found.grouped_score == pytest.approx(np.bincount(table.target.astype(int)).max() / 2000, rel=0.1)
    assert found.twin_share == 1
    assert found.gap_without_twin is None
    assert found.gap == pytest.approx(found.predicted_gap)
    assert "constant" in found.sentence


@TASKS
def test_every_number_is_finite(task):
    for copies in (0, 1, 500):
        found = measured(task, Table(task, rows=1000, copies=copies))
        assert all(math.isfinite(value) for value in asdict(found).values() if isinstance(value, float))


@pytest.mark.parametrize("wrong", [{"test": 0.0}, {"test": 0.6}, {"repeats": 0}])
def test_a_measure_without_rows_or_draws_is_refused(wrong):
    with pytest.raises(ValidationError):
        build(Leakage, {"test": 0.2, "repeats": 1, **wrong})
