from dataclasses import replace
from functools import cache

import mlflow
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import hi_ml
from hi_ml.app.config import build, compose
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.evaluation import explanations, intervals
from hi_ml.evaluation.assessment import Method
from hi_ml.evaluation.training import fit as fit_run
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model, fit
from hi_ml.modeling.out_of_fold import choose_scale
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scale import RAW, TargetScale, log_of
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task
from hi_ml.prediction import package
from hi_ml.reports.screen import summary
from hi_ml.scorer import serving
from hi_ml.scorer.reasons import reasons

ROWS = 1500
COSTS = Task("costs", "costs", "regression", "currency", "admission", "mae")
WORDS = ["", "na"]
COLUMNS = [
    {"role": "age", "source": "Age", "kind": "number", "missing": WORDS},
    {"role": "ward", "source": "Ward", "kind": "category", "missing": WORDS, "spelling": "exact",
     "levels": [f"Ward {k}" for k in range(6)]},
]  # fmt: skip


@cache
def shipped(name):
    return build(Model, compose("train", f"model={name}")["model"])


def table(seed=0, rows=ROWS):
    """Two columns, and what they make of a mean and of noise: ``effect, noise``, each of standard deviation 1."""
    rng = np.random.default_rng(seed)
    age, ward = rng.uniform(18, 90, rows), rng.integers(0, 6, rows)
    raw = pd.DataFrame({"Age": age, "Ward": [f"Ward {k}" for k in ward]})
    effect = (age - 54) / 40 + (ward - 2.5) / 2.2
    specs = {spec["role"]: spec for spec in COLUMNS}
    frame = serving.features(serving.Scorer({"columns": COLUMNS}, None).typed(raw), COLUMNS)
    return raw, Features(frame, specs, {name: name for name in frame}), effect / effect.std(), rng.normal(size=rows)


def lognormal(seed=0, sd=1.0):
    raw, features, effect, noise = table(seed)
    return raw, features, np.exp(8 + effect + sd * noise)


def chosen(target, name="linear", *, task=COSTS, seed=0):
    _, features, _, _ = table(seed)
    rows = np.arange(ROWS)
    return choose_scale(task, shipped(name), features, target, group=rows, train=rows[: ROWS // 2], seed=seed)


def on_log(name, target, features, scale=None):
    rows = np.arange(ROWS)
    scale = scale or choose_scale(
        replace(COSTS, scale="log"), shipped(name), features, target, group=rows, train=rows, seed=0
    )
    return fit(shipped(name), features, target, group=rows, classes=0, seed=0, scale=scale)


@pytest.mark.parametrize(("name", "strength", "most"), [("linear", 1, 0.9), ("linear", 3, 0.7), ("lgbm", 3, 1.02)])
def test_the_logarithm_is_taken_where_it_loses_less(name, strength, most):
    """A line through costs is far from them; trees of medians hardly depend on the scale."""
    _, features, effect, noise = table()
    target = np.exp(8 + strength * effect + noise)
    scale = chosen(target, name)
    assert (scale.is_log, scale.shift) == (True, 0.0)
    assert "log scale" in scale.reason
    rows, test = np.arange(ROWS // 2), np.arange(ROWS // 2, ROWS)
    own, log = (
        fit(shipped(name), features.part(rows), target[rows], group=rows, classes=0, seed=0, scale=one)
        for one in (RAW, scale)
    )
    errors = [np.abs(one.predict(features.frame.iloc[test]) - target[test]).mean() for one in (own, log)]
    assert errors[1] < most * errors[0]


@pytest.mark.parametrize("name", ["linear", "lgbm"])
def test_amounts_that_add_up_keep_their_own_scale(name):
    _, _, effect, noise = table()
    for target in (100 + 10 * effect + 5 * noise, np.rint(30 * (noise > 0) + 40 + 5 * effect)):
        assert chosen(target, name) is RAW


def test_without_a_long_tail_nothing_is_fitted():
    """A learner that could not be made shows that none was."""
    _, features, _, noise = table()
    broken, rows = replace(shipped("lgbm"), regression={"_target_": "nowhere.Learner"}), np.arange(ROWS)
    asked = {"group": rows, "train": rows, "seed": 0}
    for target in (20 + noise, np.random.default_rng(0).uniform(1, 30, ROWS), np.exp(noise) - 1):
        assert choose_scale(COSTS, broken, features, target, **asked) is RAW
    assert choose_scale(replace(COSTS, scale="raw"), broken, features, np.exp(noise), **asked) is RAW
    with pytest.raises(ConfigurationInvalid):
        choose_scale(COSTS, broken, features, np.exp(noise), **asked)


def test_no_row_outside_of_training_decides():
    _, _, target = lognormal()
    other = np.where(np.arange(ROWS) < ROWS // 2, target, 1e6 + np.arange(ROWS))
    assert chosen(other) == chosen(target)


@pytest.mark.parametrize(
    ("target", "expected"),
    [([1.0, 2.5], 0.0), ([0.0, 3.0, 1.0], 1.0), ([0.0, 2.5], None), ([-1.0, 4.0], None), ([-1.0, 2.5], None)],
)
def test_which_logarithm_a_target_has(target, expected):
    target = np.array(target)
    found = log_of(COSTS, target)
    assert (found and found.shift) == expected
    if expected is None:
        with pytest.raises(ConfigurationInvalid, match=r"tasks\.costs\.scale=log expects .* 1 of . targets"):
            log_of(replace(COSTS, scale="log"), target)
    else:
        np.testing.assert_allclose(found.amounts(found.learned(target)), target, atol=1e-12)


def test_classes_have_no_logarithm():
    with pytest.raises(ValidationError, match="no logarithm"):
        build(dict[str, Task], {"a": {**vars(COSTS), "kind": "classification", "score": "log_loss", "scale": "log"}})


def test_a_median_stays_the_median():
    _, features, target = lognormal()
    rows = np.arange(ROWS - 1)  # odd, so that the median is one of them
    scale = TargetScale(is_log=True)
    made = fit(shipped("baseline"), features.part(rows), target[rows], group=rows, classes=0, seed=0, scale=scale)
    np.testing.assert_allclose(made.predict(features.frame), np.median(target[rows]))


@pytest.mark.parametrize("name", ["linear", "random_forest"])
def test_a_mean_stays_a_mean(name):
    """The factor of normal noise on the logarithm is exp(sd² / 2), and the predictions average to the targets."""
    _, features, target = lognormal(sd=0.8)
    made = on_log(name, target, features)
    assert made.scale.factor == pytest.approx(np.exp(0.8**2 / 2), rel=0.15)
    assert made.predict(features.frame).mean() == pytest.approx(target.mean(), rel=0.1)


@pytest.mark.parametrize(("name", "counts"), [("lgbm", True), ("hist_gbm", False)])
def test_every_way_to_serve_gives_the_same_amounts(name, counts, tmp_path):
    raw, features, target = lognormal(sd=0.5)
    made = on_log(name, np.floor(target / 2000) if counts else target, features)
    assert made.scale.shift == counts
    described = package.mapping(COSTS, made, features, labels=[], seen=features.frame)
    package.save(tmp_path / "model", made, described)
    expected = made.predict(features.frame)
    by_hi_ml = serving.load(tmp_path / "model" / "artifacts" / "scorer")
    by_mlflow = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    for answer in (by_hi_ml.predict, by_mlflow.predict):
        np.testing.assert_array_equal(answer(raw)["prediction"], expected)
        np.testing.assert_array_equal(answer(raw.iloc[7:20])["prediction"], expected[7:20])
    assert (expected > -1).all()


def problem(target, features, scale):
    rows = np.arange(ROWS)
    return Problem(
        task=COSTS, features=features, target=target, labels=[], table=features.frame, parts=rows % 3, row=rows,
        content=rows, group=rows, twin=rows, refused={}, units={}, scale=scale,
    )  # fmt: skip


def test_bounds_are_amounts_and_widen_with_them():
    _, features, target = lognormal(sd=0.5)
    run = fit_run(
        problem(target, features, TargetScale(is_log=True)), Method(shipped("lgbm"), Split("grouped", 0.4, 0.3, 0.3), 0)
    )
    made = intervals.measure(run, intervals.Rule(0.9))
    low, high = made.columns["low"], made.columns["high"]
    assert (low <= run.predicted).all()
    assert (run.predicted <= high).all()
    assert 0.85 < made.covered.mean() < 0.95
    assert np.corrcoef(np.log(high - low), np.log(run.predicted))[0, 1] > 0.8  # as wide as the amounts are large


@pytest.mark.parametrize(("name", "counts"), [("lgbm", True), ("linear", False)])
def test_contributions_add_up_to_the_logarithm_and_reasons_multiply_to_the_amount(name, counts):
    raw, features, target = lognormal(sd=0.5)
    target = np.floor(target / 2000) if counts else target
    made = on_log(name, target, features)
    run = fit_run(problem(target, features, made.scale), Method(shipped(name), Split("grouped", 0.4, 0.3, 0.3), 0))
    found = explanations.measure(run, explanations.Explain(200, 1e6))
    assert found.unit == ("log (currency + 1)" if counts else "log currency")
    logs = found.values[0].sum(axis=1) + found.base[0]
    shift, factor = run.fitted.scale.shift, run.fitted.scale.factor
    np.testing.assert_allclose(np.exp(logs) * factor - shift, run.predicted[found.index], rtol=1e-6)
    described = package.mapping(COSTS, made, features, labels=[], seen=features.frame)
    scorer = serving.Scorer(described, made.pipeline)
    matrix = scorer.encode(scorer.numbers(scorer.typed(raw)))
    said = reasons(scorer, matrix, scorer.typed(raw), 2)
    unit = "(currency + 1)" if counts else "currency"
    texts = [text for column in said.values() for text in column.to_pylist() if text]
    assert all(f" {unit})" in text and "(×" in text and "+0" not in text for text in texts)
    factors = [
        [float(text.split("×")[1].split(" ")[0]) for text in row if text]
        for row in zip(*(column.to_pylist() for column in said.values()), strict=True)
    ]
    answered = np.log(scorer.predict(raw)["prediction"] + shift)
    start = answered - np.log([np.prod(row) for row in factors])
    np.testing.assert_allclose(start, start[0], atol=0.1)  # two digits of two factors


def test_the_screen_says_why_a_target_is_learned_on_the_log_scale():
    run = hi_ml.fit(hi_ml.read("simulated", rows=800, scenario="interactions"), "billing", "linear")
    run = replace(run, results=hi_ml.assess(run, "scores"))
    assert run.problem.scale.reason in " ".join(summary(run).split())
