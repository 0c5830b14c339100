from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor

from hi_ml.app.config import build, compose, conf_dir
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.evaluation.judgement import judge
from hi_ml.modeling import encoding, models
from hi_ml.modeling.bags import mean_learner
from hi_ml.modeling.encoding import Encoding, usable
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import EarlyStopping, Model, Quantile, fit, fit_quantiles, refuse_unknown_arguments
from hi_ml.modeling.scores.score import Baseline, Predictions, losses, primary
from hi_ml.modeling.splits import hold_out
from hi_ml.modeling.tasks import Task
from hi_ml.scorer.serving import UNSEEN
from hi_ml.statistics.groups import Units

SHIPPED = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
LEARNING = [name for name in SHIPPED if name != "baseline"]
KINDS = {"regression": 0, "two classes": 2, "three classes": 3}
DAYS = Task("days", "days", "regression", "days", "admission", "mae", within=1)


@cache
def shipped(name):
    return build(Model, compose("train", f"model={name}")["model"])


def features(**columns):
    """Make features of arrays; an array of integers is a category that numbers its levels."""
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    specs = {
        name: {"levels": [f"{name} {k}" for k in range(values.max() + 1)]} if values.dtype.kind == "i" else {}
        for name, values in arrays.items()
    }
    return Features(pd.DataFrame(arrays).astype(float), specs, {name: name for name in arrays})


def admissions(rows=600, *, hospitals=40, seed=0):
    """Numbers with holes, few levels, many levels, and groups of one or two rows."""
    rng = np.random.default_rng(seed)
    age = np.where(rng.random(rows) < 0.1, np.nan, rng.uniform(18, 90, rows))
    made = features(age=age, condition=rng.integers(0, 6, rows), hospital=np.arange(rows) % hospitals)
    return made, np.sort(rng.integers(0, rows // 2 + 1, rows))


def outcome(made, classes, *, seed=0):
    """A target that the features explain in part."""
    rng = np.random.default_rng(seed)
    known = made.frame["condition"] + made.frame["age"].fillna(50) / 30 + rng.normal(size=len(made.frame))
    return known.to_numpy() if not classes else (pd.qcut(known, classes, labels=False)).to_numpy(dtype=float)


def fitted(model, made, target, group, *, classes=0, seed=0):
    return fit(model, made, target, group=group, classes=classes, seed=seed)


def cross_fitted(model, made, target, group, *, classes=0):
    """What the learner sees of the training rows."""
    encoder = encoding.encoder(model.encoding, made, target, group, classes=classes, seed=0)
    return encoder.fit_transform(made.frame.to_numpy(), target)


def levels_of(*sizes, scattered=0):
    """A category with levels of the given sizes, and further levels of one row each."""
    filled = np.repeat(np.arange(len(sizes)), sizes)
    return np.append(filled, len(sizes) + np.arange(scattered))


@pytest.mark.parametrize("classes", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_takes_missing_values_and_unseen_categories(name, classes):
    made, group = admissions()
    found = fitted(shipped(name), made, outcome(made, classes), group, classes=classes)
    odd = pd.DataFrame(
        {"age": [np.nan, 40.0, 500.0], "condition": [np.nan, UNSEEN, 99], "hospital": [UNSEEN, np.nan, 0]}
    )
    predicted = found.predict(odd)
    assert predicted.shape == ((3, classes) if classes else (3,))
    assert np.isfinite(predicted).all()
    if classes:
        np.testing.assert_allclose(predicted.sum(axis=1), 1)


@pytest.mark.parametrize("classes", [0, 3], ids=["regression", "classes"])
@pytest.mark.parametrize("name", LEARNING)
def test_every_shipped_learner_learns(name, classes):
    made, group = admissions(1500)
    target = outcome(made, classes)
    predicted = fitted(shipped(name), made, target, group, classes=classes).predict(made.frame)
    task = replace(DAYS, kind="classification", score="log_loss") if classes else DAYS
    constant = Baseline.of(task, target, votes=np.ones(len(target)), classes=classes).predict(len(target))
    assert losses(task, target, predicted).mean() < 0.9 * losses(task, target, constant).mean()


@pytest.mark.parametrize("classes", [0, 3], ids=["regression", "classes"])
@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_seed_gives_the_same_predictions_to_the_last_bit(name, classes):
    made, group = admissions()
    target = outcome(made, classes)
    first, again = (fitted(shipped(name), made, target, group, classes=classes).predict(made.frame) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_seed_reaches_the_learner(name):
    made, group = admissions()
    learner = fitted(shipped(name), made, outcome(made, 0), group, seed=42).pipeline[-1]
    assert learner.get_params().get("random_state", 42) == 42


def test_a_linear_model_learns_from_what_is_missing():
    made = features(age=np.where(np.arange(400) < 200, np.nan, np.arange(400.0)))
    target = np.where(np.arange(400) < 200, 30.0, 5.0)
    predicted = fitted(shipped("linear"), made, target, np.arange(400)).predict(made.frame)
    assert predicted[:200].mean() > predicted[200:].mean() + 20


def test_the_baseline_predicts_the_median_and_the_frequencies():
    made, group = admissions()
    amounts, labels = outcome(made, 0), outcome(made, 3)
    assert set(fitted(shipped("baseline"), made, amounts, group).predict(made.frame)) == {np.median(amounts)}
    shares = fitted(shipped("baseline"), made, labels, group, classes=3).predict(made.frame)
    np.testing.assert_allclose(shares, np.tile(np.bincount(labels.astype(int)) / len(labels), (len(labels), 1)))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_label_that_training_lacks_gets_no_probability(name):
    made, group = admissions()
    target = np.where(outcome(made, 2) == 0, 0.0, 2.0)
    shares = fitted(shipped(name), made, target, group, classes=3).predict(made.frame)
    assert shares.shape == (600, 3)
    assert (shares[:, 1] == 0).all()
    assert (shares[:, [0, 2]] > 0).all()


@pytest.mark.parametrize("part", ["taught", "held out"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_label_of_one_group_stops_no_fit(name, part):
    """Wherever it falls: in a single fold of an encoding, or wholly among the rows held out for early stopping."""
    made, group = admissions()
    inner, outer = hold_out(group, share=shipped("lgbm").early_stopping.share, seed=0)
    target = np.zeros(600)
    target[group == group[(inner if part == "taught" else outer)[0]]] = 1
    shares = fitted(shipped(name), made, target, group, classes=2).predict(made.frame)
    np.testing.assert_allclose(shares.sum(axis=1), 1)


@pytest.mark.parametrize("name", SHIPPED)
def test_rows_of_one_label_teach_a_constant(name):
    """A random split of a table with a rare label may leave none of it to learn from."""
    made, group = admissions()
    found = fitted(shipped(name), made, np.ones(600), group, classes=2)
    np.testing.assert_array_equal(found.predict(made.frame), np.tile([0.0, 1.0], (600, 1)))


def test_early_stopping_ends_long_before_the_last_tree_and_learns_from_the_other_rows_only(monkeypatch):
    taught = []
    plain = LGBMRegressor.fit

    def watched(self, X, y, **options):
        taught.append((len(X), len(options["eval_X"])))
        return plain(self, X, y, **options)

    monkeypatch.setattr(LGBMRegressor, "fit", watched)
    made, group = admissions()
    found = fitted(shipped("lgbm"), made, outcome(made, 0), group)
    assert taught == [tuple(map(len, hold_out(group, share=shipped("lgbm").early_stopping.share, seed=0)))]
    assert 0 < found.pipeline[-1].best_iteration_ < 1000


@pytest.mark.parametrize("classes", KINDS.values(), ids=KINDS)
def test_the_encoding_of_a_row_does_not_know_the_target_of_its_group(classes):
    made, group = admissions()
    target = outcome(made, classes)
    group = np.arange(600) // 40  # a group stands in every hospital, and a fold by rows would tear it
    changed = target.copy()
    changed[group == 3] = target.min() if classes else 1e6
    before, after = (cross_fitted(shipped("lgbm"), made, one, group, classes=classes) for one in (target, changed))
    if classes == 3:  # the last label stays known to the encoder
        assert set(changed) == set(target)
    np.testing.assert_array_equal(before[group == 3], after[group == 3])
    assert (before[group != 3] != after[group != 3]).any()


def test_the_target_encoding_shrinks_small_levels_to_the_mean():
    hospital = levels_of(*[400] * 40, 2)
    target = np.random.default_rng(0).normal(size=len(hospital)) + 5.0 * (hospital >= 39)
    made = features(hospital=hospital)
    found = fitted(shipped("linear"), made, target, np.arange(len(target)))
    encoded = found.encode(pd.DataFrame({"hospital": [39.0, 40.0, UNSEEN]}))[:, 0]
    mean, rows = target.mean(), shipped("linear").encoding.level_rows
    drawn = [(own.sum() + rows * mean) / (len(own) + rows) for own in (target[hospital == 39], target[-2:])]
    np.testing.assert_allclose(encoded, [*drawn, mean])


def test_a_fitted_pipeline_keeps_no_row_numbers():
    made, group = admissions()
    found = fitted(shipped("lgbm"), made, outcome(made, 0), group)
    encoder = found.pipeline[0].named_transformers_["feature_2"]
    assert isinstance(encoder.cv, int)


@pytest.mark.parametrize(("levels", "columns"), [(32, 1), (33, 1)])
def test_a_category_of_more_levels_than_many_is_target_encoded(levels, columns):
    made = features(hospital=levels_of(*[30] * levels))
    target = np.random.default_rng(0).normal(size=30 * levels)
    encoded = cross_fitted(shipped("lgbm"), made, target, np.arange(30 * levels))
    assert encoded.shape[1] == columns
    assert (encoded == made.frame.to_numpy()).all() == (levels == 32)


def skill(name, made, target):
    """The share of the constant's absolute error that a model removes from the last quarter of the rows."""
    train = np.arange(len(target)) < 0.75 * len(target)
    names, left_out = usable(made, train)
    assert (names, left_out) == (list(made.frame), {})
    found = fitted(shipped(name), made.part(train, names), target[train], np.arange(train.sum()))
    predicted, constant = found.predict(made.frame[~train]), np.median(target[train])
    return 1 - np.abs(target[~train] - predicted).mean() / np.abs(target[~train] - constant).mean()


def half_of_the_cells_of(rng):
    """60 codes that decide, known of every second row."""
    code = rng.integers(0, 60, 6000)
    known = rng.random(6000) < 0.48
    return np.where(known, code, np.nan), np.where(known, rng.gamma(2, 2, 60)[code], 4), 60


def more_levels_than_rows_of_most(rng):
    """A long tail: most of 2,000 codes occur once or twice, and the 40 that are common decide."""
    code = np.where(rng.random(6000) < 0.45, rng.integers(0, 40, 6000), rng.integers(40, 2000, 6000))
    return code.astype(float), np.where(code < 40, rng.gamma(2, 2, 2000)[code], 4), 2000


def only_what_is_missing_of(rng):
    """100 codes that decide nothing, but where none is recorded the stay is short."""
    missing = rng.random(6000) < 0.6
    return np.where(missing, np.nan, rng.integers(0, 100, 6000)), np.where(missing, 2, 7), 100


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize(
    "draw",
    [half_of_the_cells_of, more_levels_than_rows_of_most, only_what_is_missing_of],
    ids=lambda draw: draw.__name__,
)
def test_a_code_column_with_holes_or_a_long_tail_teaches_all_that_it_knows(name, draw):
    rng = np.random.default_rng(0)
    code, mean, levels = draw(rng)
    target = mean + rng.normal(size=6000)
    made = Features(pd.DataFrame({"code": code}), {"code": {"levels": [*map(str, range(levels))]}}, {"code": "code"})
    attainable = 1 - np.abs(target - mean).mean() / np.abs(target - np.median(target)).mean()
    assert skill(name, made, target) > 0.75 * attainable > 0.2


@pytest.mark.parametrize("name", LEARNING)
def test_a_column_of_hardly_any_repeated_level_costs_no_skill(name):
    rng = np.random.default_rng(0)
    age, note = rng.uniform(20, 90, 4000), rng.integers(0, 3000, 4000)
    target = age / 10 + rng.normal(size=4000)
    without, with_it = (skill(name, made, target) for made in (features(age=age), features(age=age, note=note)))
    assert with_it > without - 0.02 > 0.3


def test_only_training_rows_decide_what_can_be_learnt():
    train = np.arange(100) < 60
    flat, late = np.where(train, 1.0, 2.0), np.where(train, np.nan, 2.0)
    made = features(flat=flat, late=late, age=np.arange(100.0))
    assert usable(made, train) == (
        ["age"],
        {"flat": "one value in the training rows", "late": "no value in the training rows"},
    )


def test_a_column_with_holes_and_one_value_can_be_learnt_from_and_an_empty_one_cannot():
    made = features(empty=np.full(40, np.nan), marked=np.where(np.arange(40) < 20, 1.0, np.nan))
    names, left_out = usable(made, np.ones(40, dtype=bool))
    assert names == ["marked"]
    assert list(left_out) == ["empty"]


@pytest.mark.parametrize("classes", [0, 3], ids=["regression", "classes"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_column_that_is_empty_in_the_rows_at_hand_stops_no_fit(name, classes):
    """A nearly empty column may be wholly so in a part of the training rows: the held-out ones, or a random split's."""
    made, group = admissions()
    empty = Features(made.frame.assign(age=np.nan, condition=np.nan), made.specs, made.role)
    found = fitted(shipped(name), empty, outcome(made, classes), group, classes=classes)
    np.testing.assert_array_equal(found.predict(made.frame), found.predict(empty.frame))


def test_a_date_stays_if_any_part_of_it_varies():
    frame = pd.DataFrame({"admitted_on": np.arange(20.0), "admitted_on.month": 1.0})
    made = Features(frame, {"admitted_on": {}}, dict.fromkeys(frame, "admitted_on"))
    assert usable(made, np.ones(20, dtype=bool)) == (["admitted_on"], {})


@pytest.mark.parametrize("name", LEARNING)
def test_a_noise_column_of_200_levels_gives_no_signal(name):
    """Encoded on the rows that taught it, it would cost a linear model 2 % of its error."""
    gained, constant = [], []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        hospital = np.arange(6000) % 200
        target, made = rng.integers(1, 31, 6000).astype(float), features(hospital=hospital)
        train = rng.random(6000) < 0.8
        found = fitted(shipped(name), made.part(train, ["hospital"]), target[train], np.arange(train.sum()))
        test = target[~train]
        predicted, median = found.predict(made.frame[~train]), np.full(len(test), np.median(target[train]))
        asked = Predictions(DAYS, test, predicted, Units.of(np.arange(len(test))), seed=0)
        assert judge(asked, median, primary(DAYS), smallest=0.02).verdict in {"no_signal", "worse"}
        loss, base = losses(DAYS, test, predicted), losses(DAYS, test, median)
        gained.append((base - loss).mean())
        constant.append(base.mean())
    assert abs(sum(gained) / sum(constant)) < 0.02  # a forest of small leaves costs the most


def test_scikit_learn_learners_that_stop_early_get_the_held_rows_too():
    model = Model(
        name="hist",
        regression={"_target_": "sklearn.ensemble.HistGradientBoostingRegressor", "early_stopping": True},
        classification={},
        predicts="mean",
        encoding=Encoding("ordinal", "raw"),
        early_stopping=EarlyStopping(rounds=5, share=0.2),
    )
    made, group = admissions()
    learner = fitted(model, made, outcome(made, 0), group).pipeline[-1]
    assert len(learner.validation_score_) == learner.n_iter_ + 1


@pytest.mark.parametrize("name", SHIPPED)
def test_bounds_are_quantiles_where_the_learner_has_some(name):
    made, group = admissions(3000)
    target = outcome(made, 0)
    found = fit_quantiles(shipped(name), made, target, group=group, quantiles=[0.1, 0.9], seed=0)
    if shipped(name).quantile is None:
        assert found is None
        return
    X = fitted(shipped(name), made, target, group).encode(made.frame)
    low, high = (learner.predict(X) for learner in found)
    assert (target < low).mean() == pytest.approx(0.1, abs=0.025)
    assert (target > high).mean() == pytest.approx(0.1, abs=0.025)


@pytest.mark.parametrize("name", ["catboost", "lgbm", "hist_gbm"])
def test_bounds_learn_from_the_rows_of_the_model_and_stop_on_those_it_stops_on(name):
    """Of the median, they are the model itself."""
    made, group = admissions(1500)
    target = outcome(made, 0)
    model = shipped(name)
    median = {**model.regression, **model.quantile.at(0.5)}
    expected = fitted(replace(model, regression=median), made, target, group)
    (learner,) = fit_quantiles(model, made, target, group=group, quantiles=[0.5], seed=0)
    X = expected.encode(made.frame)
    np.testing.assert_allclose(learner.predict(X), expected.predict(made.frame), rtol=1e-9)


def test_what_is_asked_of_the_learner_is_asked_of_its_bounds():
    made, group = admissions()
    model = shipped("lgbm")
    model = replace(model, regression={**model.regression, "num_leaves": 3})
    low, high = fit_quantiles(model, made, outcome(made, 0), group=group, quantiles=[0.05, 0.95], seed=7)
    for learner, level in ((low, 0.05), (high, 0.95)):
        asked = learner.get_params()
        assert (asked["num_leaves"], asked["objective"], asked["random_state"]) == (3, "quantile", 7)
        assert asked["alpha"] == pytest.approx(level)


def test_a_learner_that_refuses_its_quantile_says_so():
    made, group = admissions()
    model = replace(shipped("linear"), quantile=Quantile(level="quantile", arguments={}))
    with pytest.raises(ConfigurationInvalid, match="model=linear refuses its settings"):
        fit_quantiles(model, made, outcome(made, 0), group=group, quantiles=[0.05, 0.95], seed=0)


@pytest.mark.parametrize("classes", KINDS.values(), ids=KINDS)
def test_a_bagged_booster_is_the_mean_of_boosters_and_so_are_its_contributions(classes, monkeypatch):
    """Each stopped for itself; the trees of all are one booster, which is served without a class of its own."""
    alone = []
    monkeypatch.setattr(models, "mean_learner", lambda learners: alone.extend(learners) or mean_learner(learners))
    made, group = admissions(900)
    found = fitted(shipped("lgbm_bagged"), made, outcome(made, classes), group, classes=classes)
    X, learner = found.encode(made.frame[:50]), found.pipeline[-1]
    assert len({one.random_state for one in alone}) == len(alone) == shipped("lgbm_bagged").bags == 5
    mean = np.mean([one.predict(X, raw_score=True) for one in alone], axis=0)
    np.testing.assert_allclose(learner.predict(X, raw_score=True), mean, atol=1e-12)
    shapley = np.mean([one.booster_.predict(X, pred_contrib=True) for one in alone], axis=0)
    np.testing.assert_allclose(learner.booster_.predict(X, pred_contrib=True), shapley, atol=1e-12)
    rounds = [one.best_iteration_ for one in alone]
    assert learner.booster_.num_trees() == sum(rounds) * (3 if classes == 3 else 1)
    assert learner.best_iteration_ == round(np.mean(rounds))


def test_bags_of_a_learner_whose_trees_cannot_be_added_up_are_refused():
    made, group = admissions()
    with pytest.raises(ConfigurationInvalid, match="takes a learner of LightGBM, found Ridge; set bags: 1"):
        fitted(replace(shipped("linear"), bags=2), made, outcome(made, 0), group)


@pytest.mark.parametrize(
    ("kind", "argument", "meant"),
    [
        ("lightgbm.LGBMRegressor", "bagging_fractoin", "bagging_fraction"),
        ("lightgbm.LGBMRegressor", "min_child_sample", "min_child_samples"),
        ("sklearn.ensemble.HistGradientBoostingRegressor", "max_iters", "max_iter"),
        ("sklearn.linear_model.Ridge", "alpah", "alpha"),
    ],
)
def test_an_argument_that_a_learner_does_not_have_is_refused_with_the_one_that_was_meant(kind, argument, meant):
    model = replace(shipped("lgbm"), regression={"_target_": kind, argument: 1}, space={})
    with pytest.raises(
        ConfigurationInvalid, match=rf"no argument '{argument}' \(did you mean {meant}\?\).*model\.regr"
    ):
        refuse_unknown_arguments(model)


LEARNERS = {
    "lightgbm": {"_target_": "lightgbm.LGBMRegressor", "n_estimators": 200, "learning_rate": 0.5, "verbosity": -1},
    "histogram": {"_target_": "sklearn.ensemble.HistGradientBoostingRegressor", "max_iter": 200, "learning_rate": 0.5},
    "plain": {"_target_": "sklearn.ensemble.GradientBoostingRegressor", "n_estimators": 200, "learning_rate": 0.5},
}


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_the_rounds_of_early_stopping_mean_the_same_for_every_learner_that_can_stop(learner):
    """On noise each tree after the first few is one too many: more patience, more trees; without stopping, all."""
    filled = Encoding("ordinal", "scaled")
    stopping = [EarlyStopping(rounds=3, share=0.3), EarlyStopping(rounds=40, share=0.3), None]
    made, group = admissions(400)
    trees = []
    for one in stopping:
        model = Model("x", learner, {}, predicts="mean", encoding=filled, early_stopping=one)
        fit = fitted(model, made, np.random.default_rng(0).normal(size=400), group).pipeline[-1]
        measured = [len(losses) for part in getattr(fit, "evals_result_", {}).values() for losses in part.values()]
        trees.append(measured[0] if measured else getattr(fit, "n_iter_", None) or fit.n_estimators_)
    few, more, every = trees
    assert few < more < every == 200
