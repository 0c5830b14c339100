from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

import hi_ml
from hi_ml.app.config import build, compose
from hi_ml.evaluation import explanations
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.evaluation.calibration import measure
from hi_ml.evaluation.explanations import Explain
from hi_ml.evaluation.explanations import measure as explain
from hi_ml.modeling import models
from hi_ml.modeling import problem as problems
from hi_ml.modeling.out_of_fold import fit_recalibrated
from hi_ml.modeling.scores.score import losses
from hi_ml.scorer import serving
from hi_ml.scorer.contributions import recalibrated as recalibrated_contributions
from hi_ml.statistics.calibration import Recalibration

ROWS = 3000
# A few small steps from the class shares: shares that are far too much alike.
TIMID = {
    "_target_": "lightgbm.LGBMClassifier", "n_estimators": 20, "num_leaves": 8, "learning_rate": 0.03, "n_jobs": 1,
    "verbosity": -1,
}  # fmt: skip


def shipped(name):
    return build(models.Model, compose("train", f"model={name}")["model"])


@pytest.fixture(scope="module")
def timid():
    return replace(shipped("lgbm"), classification=TIMID, early_stopping=None)


def posed(task):
    return hi_ml.pose(hi_ml.read("simulated", rows=ROWS), task)


@pytest.fixture(scope="module")
def problem():
    return posed("test_results")


def fitted(model, problem, *, recalibrate=True):
    return problems.fit_rows(problem, model, np.flatnonzero(problem.where("train")), seed=0, recalibrate=recalibrate)


@pytest.fixture(scope="module")
def repaired(timid, problem):
    return fitted(timid, problem)


def on_test(made, problem):
    return made.predict(problem.features.frame[problem.where("test")])


def slopes(made, problem):
    found = measure(FittedRun(problem, None, made, on_test(made, problem), None))
    return found[found["measure"] == "slope"]


def test_shares_that_are_too_much_alike_are_repaired(timid):
    """On three tables, each class's slope once in each: one of them alone is uncertain by a fifth."""
    before, after = [], []
    for seed in (1, 2, 3):
        problem = hi_ml.pose(hi_ml.read("simulated", rows=ROWS, seed=seed), "test_results")
        plain, repaired = (fitted(timid, problem, recalibrate=asked) for asked in (False, True))
        before += slopes(plain, problem)["value"].tolist()
        after += slopes(repaired, problem)["value"].tolist()
        assert repaired.recalibration.slope > 1.5
    assert min(before) > 1.4
    assert np.mean(after) == pytest.approx(1, abs=0.25)


def test_the_learner_itself_is_the_same(timid, problem, repaired):
    plain = fitted(timid, problem, recalibrate=False)
    assert plain.recalibration is None
    how = repaired.recalibration
    expected = serving.recalibrate(on_test(plain, problem), how.slope, how.intercepts)
    np.testing.assert_array_equal(on_test(repaired, problem), expected)


def test_no_row_is_predicted_by_a_model_that_was_taught_its_group(monkeypatch, timid, problem):
    taught = []
    fit = models.fit

    def watched(*words, group, **keys):
        taught.append(set(group))
        return fit(*words, group=group, **keys)

    monkeypatch.setattr(models, "fit", watched)
    made = fitted(timid, problem)
    whole, *parts = taught
    training = set(problem.group[problem.where("train")])
    assert whole == training
    assert len(parts) == 3
    left_out = [whole - part for part in parts]
    assert set.union(*left_out) == whole
    assert sum(map(len, left_out)) == len(whole)
    assert made.seconds > 0


def test_neither_calibration_nor_test_rows_are_looked_at(timid, problem, repaired):
    other = replace(problem, target=np.where(problem.where("train"), problem.target, 0.0))
    assert fitted(timid, other).recalibration == repaired.recalibration


def test_a_regression_is_fitted_as_it_is(timid):
    problem = posed("length_of_stay")
    made = fitted(timid, problem)
    assert made.recalibration is None
    np.testing.assert_array_equal(on_test(made, problem), on_test(fitted(timid, problem, recalibrate=False), problem))


@pytest.mark.parametrize("name", ["catboost", "lgbm", "lgbm_bagged", "hist_gbm", "linear", "random_forest"])
@pytest.mark.parametrize("labels", [2, 3])
def test_contributions_add_up_to_what_is_served(problem, name, labels):
    target = np.minimum(problem.target, labels - 1)
    problem = replace(problem, target=target, labels=problem.labels[:labels])
    model = shipped(name)
    model = replace(model, classification=model.classification | {"n_estimators": 20}) if "forest" in name else model
    made = fitted(model, problem)
    run = FittedRun(problem, None, made, on_test(made, problem), None)
    found = explain(run, Explain(rows=100, seconds=1e6))
    sums = found.values.sum(axis=2) + found.base[:, None]
    served = run.predicted[found.index].T
    shares = softmax(sums, axis=0) if len(sums) > 1 else np.stack([1 - expit(sums[0]), expit(sums[0])])
    np.testing.assert_allclose(shares, served, rtol=1e-9)
    assert (made.recalibration.slope != 1, found.unit) == (True, "log-odds")


def test_contributions_that_miss_what_is_served_are_an_error(monkeypatch, problem, repaired):
    run = FittedRun(problem, None, repaired, on_test(repaired, problem), None)
    plain = recalibrated_contributions
    off = lambda *given, **how: plain(*given, **how | {"slope": 1.001 * how["slope"]})  # noqa: E731 -- one of a kind
    monkeypatch.setattr(explanations, "recalibrated", off)
    with pytest.raises(ArithmeticError, match="differ from the prediction"):
        explain(run, Explain(rows=100))


def test_a_constant_is_left_as_it_is(problem):
    made, plain = (fitted(shipped("baseline"), problem, recalibrate=asked) for asked in (True, False))
    assert made.recalibration is None
    np.testing.assert_array_equal(on_test(made, problem), on_test(plain, problem))


@pytest.mark.slow
def test_on_noise_a_recalibrated_model_is_no_worse():
    """Of 8 small tables without signal: the mean loss falls, and no table's grows by what would matter."""
    gains, model = [], shipped("lgbm")
    for seed in range(8):
        problem = hi_ml.pose(hi_ml.read("simulated", rows=800, scenario="noise", seed=seed), "test_results", seed=seed)
        test = problem.where("test")
        made = (fitted(model, problem, recalibrate=asked) for asked in (False, True))
        before, after = (losses(problem.task, problem.target[test], on_test(one, problem)).mean() for one in made)
        gains.append(before - after)
    assert np.mean(gains) > 0
    assert min(gains) > -0.02  # nats


def test_two_groups_are_enough_to_fit(timid, problem):
    rows = np.flatnonzero(problem.where("train"))[:100]
    part = problem.features.part(rows, list(problem.features.frame.columns))
    made = fit_recalibrated(timid, part, problem.target[rows], group=np.arange(100) % 2, classes=3, seed=0)
    np.testing.assert_allclose(made.predict(part.frame).sum(axis=1), 1)


@pytest.mark.parametrize("name", ["catboost", "lgbm", "hist_gbm"])
def test_the_models_of_the_folds_stop_where_the_kept_one_did(monkeypatch, problem, name):
    made = []
    fit = models.fit

    def watched(*words, **keys):
        made.append(fit(*words, **keys))
        return made[-1]

    monkeypatch.setattr(models, "fit", watched)
    fitted(shipped(name), problem)
    counted = "tree_count_" if name == "catboost" else "n_iter_"
    rounds = [getattr(made_one.pipeline[-1], counted) for made_one in made]
    kept = made[0].pipeline[-1]
    assert set(rounds[1:]) == {kept.best_iteration_ if name == "lgbm" else rounds[0]}
    assert rounds[1] < 1000


def test_a_model_that_nothing_stops_is_refitted_as_it_is(timid, repaired):
    assert models.as_stopped(timid, repaired) is timid


def test_one_copy_stands_for_its_admission(monkeypatch, timid, problem):
    seen = {}

    def spy(_, truth, shares, weights):
        seen.update(truth=truth, weights=weights)
        return Recalibration(1.0, (0.0,) * shares.shape[1])

    monkeypatch.setattr(Recalibration, "of", classmethod(spy))
    fitted(timid, problem)
    train = np.flatnonzero(problem.where("train"))
    first = train[~pd.Series(problem.twin[train]).duplicated()]
    assert len(first) < len(train)
    np.testing.assert_array_equal(seen["truth"], problem.target[first])
    assert set(seen["weights"]) == {1.0}
