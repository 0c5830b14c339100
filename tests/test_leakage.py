"""The leak of a random split, measured on noise: by a memoriser, by a model that is watched, on tables of copies."""

import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hi_ml.evaluation import judgement, leakage, training
from hi_ml.evaluation.assessment import FittedRun, Method
from hi_ml.evaluation.leakage import Leakage, measure
from hi_ml.modeling import splits
from hi_ml.modeling.encoding import Encoding
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import title
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
FOREST = replace(
    MEMORISER,
    name="forest",
    regression={"_target_": "sklearn.ensemble.RandomForestRegressor", "n_estimators": 8, "min_samples_leaf": 2},
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
        parts=np.zeros(len(twin), dtype=np.int8), row=np.arange(len(twin)), content=twin, group=twin, twin=twin,
        refused={}, units={},
    )  # fmt: skip


def measured(problem, *, repeats=1, seed=0, model=MEMORISER):
    method = Method(model, Split("grouped", 0.6, 0.2, 0.2), seed)
    return measure(FittedRun(problem, method, None, None, None), Leakage(test=0.2, repeats=repeats))


class Watched:
    """A model that is right on the rows whose twin it was taught, or on all others, and says what it was asked."""

    def __init__(self, monkeypatch, *, right_on_twins=True, by="twin"):
        self.right_on_twins, self.by, self.train, self.test = right_on_twins, by, [], []
        monkeypatch.setattr(leakage, "fit_rows", self.fit)

    def fit(self, problem, _model, rows, *, seed, copies):
        assert (seed, copies) == (0, True)  # the naive analyst is taught by every row
        self.train.append(rows)
        return SimpleNamespace(predict=lambda frame: self.predict(problem, rows, frame.index.to_numpy()))

    def predict(self, problem, train, rows):
        self.test.append(rows)
        unit = getattr(problem, self.by)
        right = np.isin(unit[rows], unit[train]) == self.right_on_twins
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
        words = "would flatter" if right_on_twins else "would not flatter"
        assert found.sentence.startswith(f"A random split {words} the {title(found.score)} of {task.title}")
        assert ("as far as this table can tell" in found.sentence) == (not right_on_twins)
        better = found.random_score < found.grouped_score if task is DAYS else found.random_score > found.grouped_score
        assert better == right_on_twins


def people(task, *, patients=300, copies=0, seed=0):
    """Patients of one to seven admissions, and near-copies of some rows."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(patients), rng.integers(1, 8, patients))
    problem = noise(task, rows=len(group) + copies, copies=copies, seed=seed)
    return replace(problem, group=group[problem.twin] + 10_000)


@TASKS
def test_where_no_patient_comes_again_his_gap_is_zero_and_no_third_fit_is_made(task, monkeypatch):
    watched = Watched(monkeypatch)
    found = measured(noise(task))
    assert len(watched.train) == 2
    assert (found.patient_share, found.patient_gap, found.patient_low, found.patient_high) == (0, 0, 0, 0)
    assert found.patient_score == found.grouped_score
    assert "patients" not in found.sentence


@TASKS
def test_patients_are_a_leak_of_their_own_beside_copies(task, monkeypatch):
    """Right on every patient it was taught: what copies and patients give adds up to what a grouped split takes."""
    watched, problem = Watched(monkeypatch, by="group"), people(task, copies=300)
    found = measured(problem)
    (leaky, without_twins, clean), test = watched.train, watched.test[0]
    np.testing.assert_array_equal(without_twins, leaky[~np.isin(problem.twin[leaky], problem.twin[test])])
    np.testing.assert_array_equal(clean, leaky[~np.isin(problem.group[leaky], problem.group[test])])
    pairs = set(zip(problem.group[leaky], problem.twin[leaky], strict=True))
    again = [
        any(g == group and t != twin for g, t in pairs)
        for group, twin in zip(problem.group[test], problem.twin[test], strict=True)
    ]
    assert found.patient_share == np.mean(again)
    sign = 1 if task is DAYS else -1
    assert found.gap + found.patient_gap == pytest.approx(sign * (found.patient_score - found.random_score))
    assert found.gap > 0  # patients of whom copies alone were taught
    assert found.patient_low > 0
    assert f"{100 * found.patient_share:.1f} % of the test rows have one in training" in found.sentence
    assert f"{100 * found.twin_share:.1f} % of its test rows have a twin" in found.sentence


@TASKS
def test_a_model_that_exploits_copies_only_owes_nothing_to_patients(task, monkeypatch):
    Watched(monkeypatch)
    found = measured(people(task, copies=300))
    assert found.low > 0
    assert found.patient_share > 0.5
    assert (found.patient_gap, found.patient_low, found.patient_high) == (0, 0, 0)


def test_the_interval_draws_patients_and_not_their_admissions(monkeypatch):
    """Against the linearised variance of a ratio of sums over patients."""
    watched, problem = Watched(monkeypatch, by="group"), people(DAYS, patients=2000)
    found = measured(problem)
    frame = pd.DataFrame({"group": problem.group[watched.test[0]]})
    frame["gained"] = 3.0 * frame["group"].isin(problem.group[watched.train[0]])
    sums = frame.groupby("group")["gained"].agg(["sum", "size"])
    value, n = frame["gained"].mean(), len(sums)
    error = (n / (n - 1) * ((sums["sum"] - value * sums["size"]) ** 2).sum()) ** 0.5 / sums["size"].sum()
    assert found.patient_gap == pytest.approx(value)
    assert found.patient_high - found.patient_low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_gap_of_patients_is_a_metric_where_there_are_some():
    found = [asdict(measured(problem)) for problem in (noise(DAYS), people(DAYS))]
    once, again = (leakage.ASSESSMENTS[0].metrics(one) for one in found)
    assert once == {"leakage_gap": found[0]["gap"]}
    assert again == {"leakage_gap": 0, "leakage_patient_gap": found[1]["patient_gap"]}
    assert leakage.ASSESSMENTS[0].metrics({"gap": 1.0}) == {"leakage_gap": 1.0}  # of an older version


def test_where_every_patient_is_tested_the_comparison_is_with_the_constant():
    group = np.tile(np.arange(20), 60)
    found = measured(replace(noise(DAYS, copies=0), group=group))
    assert found.patient_share == 1
    assert "lack a tested patient" in found.sentence


def test_what_a_patient_effect_flatters_is_measured():
    """No copies, 1,500 patients of four admissions: a random split finds a signal, a grouped one finds none."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(1500), 4)
    frame = pd.DataFrame(rng.random((1500, 3))[group], columns=["a", "b", "c"])
    target = 10 + rng.normal(0, 1, 1500)[group] + rng.normal(0, 1, 6000)
    problem = replace(noise(DAYS, rows=6000, copies=0), group=group, target=target)
    problem = replace(problem, features=replace(problem.features, frame=frame))
    verdicts = {}
    for name in ("random", "grouped"):
        split = Split(name, 0.6, 0.2, 0.2)
        parts = splits.assign(split, group, seed=0, table=problem.table)
        run = training.fit(replace(problem, parts=parts), Method(FOREST, split, 0))
        verdicts[name] = judgement.ASSESSMENTS[0].measure(run, judgement.Judging())
    found = measured(problem, model=FOREST)
    assert verdicts["random"].verdict == "signal"
    assert verdicts["grouped"].verdict in {"no_signal", "worse"}
    assert (found.gap, found.twin_share) == (0, 0)
    flattery = (
        (verdicts["random"].skill - verdicts["grouped"].skill) * found.patient_score / (1 - verdicts["grouped"].skill)
    )
    assert found.patient_gap == pytest.approx(flattery, rel=0.3)
    assert found.patient_low > 0.5 * flattery


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
