"""The verdict: five words, what each is said of, and how often wrongly."""

import math
from dataclasses import asdict, fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from hi_ml.evaluation import judgement
from hi_ml.evaluation.judgement import WORDS, Judging, decide, judge, scores
from hi_ml.modeling.encoding import Encoding
from hi_ml.modeling.models import Model
from hi_ml.modeling.scores.score import Baseline, Predictions, score_of
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.estimates import Interval
from hi_ml.statistics.groups import Units

SMALLEST = 0.02
DAYS = Task("stay", "length_of_stay", "regression", "days", "admission", "mae")
RESULTS = Task("result", "test_result", "classification", "label", "stay", "log_loss")


def judged(task, target, predicted, constant, units=None, *, score=None, smallest=SMALLEST):
    units = Units.of(np.arange(len(target))) if units is None else units
    asked = Predictions(task, target, predicted, units, seed=0, draws=0)
    return judge(asked, constant, score_of(task, score or task.score), smallest=smallest)


@pytest.mark.parametrize("task", [DAYS, RESULTS], ids=["amounts", "classes"])
def test_skill_is_one_less_the_loss_over_that_of_the_constant(task):
    rng = np.random.default_rng(1)
    twin = np.sort(rng.integers(0, 100, 200))
    votes = Units.of(twin).votes
    baseline = Baseline.of(task, rng.integers(0, 2, 200).astype(float), votes=votes, classes=2)
    if task is DAYS:
        target = rng.integers(1, 31, 200).astype(float)
        predicted, constant = target / 2 + 8, baseline.predict(200)
        losses = np.abs(target - predicted), np.abs(target - baseline.median)
    else:
        target, predicted = rng.integers(0, 2, 200).astype(float), rng.dirichlet([1, 1], 200)
        constant = baseline.predict(200)
        codes = target.astype(int)
        losses = -np.log(predicted[np.arange(200), codes]), -np.log(baseline.frequencies[codes])
    ours, theirs = (np.average(one, weights=votes) for one in losses)
    assert judged(task, target, predicted, constant, Units.of(twin)).skill == pytest.approx(
        1 - ours / theirs, abs=1e-12
    )


@pytest.mark.parametrize(
    ("value", "reach95", "word"),
    [
        (0.10, 0.05, "signal"),
        (0.021, 0.001, "signal"),
        (0.015, 0.001, "negligible"),  # there for sure, and too small to matter
        (0.015, 0.010, "inconclusive"),  # there, and may matter
        (0.0, 0.01, "no_signal"),
        (-0.01, 0.02, "no_signal"),
        (-0.3, 0.01, "worse"),
        (0.0, 0.05, "inconclusive"),
        (0.10, 0.20, "inconclusive"),  # a real gain, too few admissions
        (-0.05, 0.20, "inconclusive"),
    ],
)
def test_the_words(value, reach95, word):
    wide, narrow = (Interval(value, value - reach, value + reach) for reach in (reach95, reach95 * 1.645 / 1.96))
    assert decide(wide, narrow, SMALLEST) == word


def test_between_the_90_and_the_95_percent_bound_the_narrower_decides_absence():
    """high90 < smallest < high95 is no signal; the rule asks the 90 % interval, a one-sided test at 5 %."""
    assert decide(Interval(0, -0.021, 0.021), Interval(0, -0.0176, 0.0176), SMALLEST) == "no_signal"


def test_between_the_90_and_the_95_percent_bound_the_wider_decides_presence():
    assert decide(Interval(0.03, -0.001, 0.061), Interval(0.03, 0.004, 0.056), SMALLEST) == "inconclusive"


def test_there_is_one_list_of_words_and_each_is_reached():
    assert list(WORDS) == ["signal", "negligible", "no_signal", "worse", "inconclusive"]
    assert judgement.caution("signal") == ""
    for word in [*list(WORDS)[1:], "unknown"]:
        assert "not shown to be better than knowing nothing" in judgement.caution(word)


def amounts(rows, gain, *, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.gamma(2.0, 5.0, rows)
    return target, 8.4 + gain * (target - 8.4), np.full(rows, 8.4)


def test_a_model_equal_to_its_constant_tells_nothing():
    target, _, constant = amounts(200, 0)
    found = judged(DAYS, target, constant, constant)
    assert (found.skill, found.low95, found.high95) == (0, 0, 0)
    assert (found.verdict, found.reason) == ("inconclusive", "it predicts the constant")
    shares = np.tile([0.3, 0.7], (200, 1))
    found = judged(RESULTS, np.repeat([0.0, 1.0], 100), shares, shares)
    assert (found.verdict, found.reason) == ("inconclusive", "it predicts the constant")


def zeros(rows=3000, seed=0):
    """A count with 74 % zeros whose mean goes from .08 to .63 by ward, and whose median is 0 in every ward."""
    rng = np.random.default_rng(seed)
    mean = np.array([0.08, 0.28, 0.63])[rng.integers(3, size=rows)]
    return rng.poisson(mean).astype(float), mean


def test_a_perfect_model_is_a_signal_though_nothing_varies():
    target, _, constant = amounts(50, 0)
    assert judged(DAYS, target, target, constant).verdict == "signal"


def classes(events, rows, *, per_patient=1):
    """Predictions that know of each event, and patients of so many rows."""
    target = (np.arange(rows) < events).astype(float)
    right = 0.02 + 0.4 * target
    return target, np.column_stack([1 - right, right]), Units.of(np.arange(rows), np.arange(rows) // per_patient)


@pytest.mark.parametrize("events", [9, 291])
def test_with_fewer_than_ten_events_or_others_nothing_is_said_of_how_sure_it_is(events):
    target, predicted, units = classes(events, 300)
    constant = np.tile([1 - events / 300, events / 300], (300, 1))
    found = judged(RESULTS, target, predicted, constant, units)
    assert (found.verdict, found.low95, found.high90) == ("inconclusive", None, None)
    assert found.reason == "too few events: fewer than 10 admissions of the test part have the rarest"
    baseline = Baseline(np.nan, np.nan, constant[0])
    table = scores(Predictions(RESULTS, target, predicted, units, seed=0), baseline)
    assert table["value"].notna().all()
    assert table[["low", "high"]].isna().all(axis=None)
    metrics = judgement.ASSESSMENTS[1].metrics(table)
    assert "test_roc_auc" in metrics
    assert not any(map(math.isnan, metrics.values()))
    assert judgement.ASSESSMENTS[0].metrics(asdict(found)) == {"skill": found.skill}


@pytest.mark.parametrize(("events", "smallest", "told"), [(4, 5, 1), (296, 5, 1), (5, 5, 6), (4, 4, 6)])
def test_where_few_have_a_class_no_score_but_the_primary_one_is_told(events, smallest, told):
    target, predicted, units = classes(events, 300)
    baseline = Baseline(np.nan, np.nan, np.array([0.9, 0.1]))
    table = scores(Predictions(RESULTS, target, predicted, units, seed=0), baseline, smallest=smallest)
    assert len(table) == told
    assert table["score"].iloc[0] == RESULTS.score


def test_ten_events_are_enough_and_ten_of_one_patient_are_not():
    constant = np.tile([0.9, 0.1], (300, 1))
    target, predicted, units = classes(10, 300)
    assert judged(RESULTS, target, predicted, constant, units).reason.find("events") < 0
    again = judged(RESULTS, *classes(10, 300, per_patient=5)[:2], constant, classes(10, 300, per_patient=5)[2])
    assert again.reason == "too few events: fewer than 10 patients of the test part have the rarest"


def test_fewer_than_ten_units_are_too_few_for_amounts_too():
    target, predicted, constant = amounts(9, 0.9)
    found = judged(DAYS, target, predicted, constant)
    assert (found.verdict, found.reason) == (
        "inconclusive", "too few admissions: fewer than 10 in the test part",
    )  # fmt: skip


def test_a_patient_who_has_most_admissions_is_one_patient():
    target, predicted, constant = amounts(300, 0.5)
    units = Units.of(np.arange(300), np.maximum(np.arange(300) - 200, 0))
    found = judged(DAYS, target, predicted, constant, units)
    assert (found.verdict, found.low95) == ("inconclusive", None)
    assert found.reason == "too few patients: very few of them have most of the admissions of the test part"


def test_the_skill_of_an_area_is_the_share_of_the_way_to_one():
    rng = np.random.default_rng(0)
    ranks = replace(RESULTS, score="roc_auc")
    target = (rng.random(600) < 0.2).astype(float)
    share = 1 / (1 + np.exp(-rng.normal(target, 1)))
    predicted, constant = np.column_stack([1 - share, share]), np.tile([0.8, 0.2], (600, 1))
    found = judged(ranks, target, predicted, constant)
    table = scores(Predictions(ranks, target, predicted, Units.of(np.arange(600)), 0), Baseline(0, 0, constant[0]))
    area = table.set_index("score").loc["roc_auc"]
    assert table["score"].iloc[0] == "roc_auc"
    assert (found.skill, found.low95, found.high95) == pytest.approx(tuple(2 * area[["value", "low", "high"]] - 1))
    assert found.verdict == "signal"


LEARNER = {"_target_": "sklearn.dummy.DummyRegressor"}
MODEL = Model(
    name="lgbm", regression=LEARNER, classification=LEARNER, predicts="mean", encoding=Encoding("ordinal", "raw")
)


def verdict_of(task, target, predicted, group, *, both=True, model=MODEL, learned=None):
    """The assessment, of a run with these predictions of its test rows; ``learned`` are the units of training."""
    baseline = Baseline.of(task, target, votes=np.ones(len(target)), classes=2)
    units = Units.of(np.arange(len(target)), group)
    problem = SimpleNamespace(task=task, where=lambda _: None, units_of=lambda _: learned or units)
    run = SimpleNamespace(
        problem=problem, method=SimpleNamespace(model=model, seed=0), target=target, predicted=predicted, units=units,
        baseline=baseline,
    )  # fmt: skip
    return judgement.ASSESSMENTS[0].measure(run, Judging(both=both))


def test_a_learner_of_the_mean_is_judged_on_squared_error_too_and_the_sentence_says_which():
    target, mean = zeros()
    found = verdict_of(DAYS, target, mean, np.arange(3000))
    (other,) = found.others
    assert (found.score, found.constant, found.verdict) == ("mae", "median", "worse")
    assert (other.score, other.constant, other.verdict) == ("rmse", "mean", "signal")
    assert "of the absolute error of the constant median on stay: worse than the constant median." in found.headline
    assert "of the squared error of the constant mean: signal." in found.sentence
    assert found.sentence.endswith("This holds for this fitted model on this split: 3,000 admissions.")
    turned = verdict_of(replace(DAYS, score="rmse"), target, mean, np.arange(3000))
    assert (turned.verdict, turned.others[0].score) == ("signal", "mae")
    assert verdict_of(DAYS, target, mean, np.arange(3000), both=False).others == ()


def test_the_sentence_says_admissions_patients_and_the_design_effect():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(300), 4)
    target = 10 + rng.normal(size=300)[patient] + rng.normal(size=1200)
    found = verdict_of(DAYS, target, target - rng.normal(0, 0.5, 1200), patient)
    assert (found.n_admissions, found.n_groups) == (1200, 300)
    assert found.design_effect > 1
    assert f"1,200 admissions of 300 patients, design effect {found.design_effect:.1f}." in found.sentence


@pytest.mark.parametrize("gain", [0.2, 0.0, 0.01, -0.3, 0.0001])
def test_the_verdict_speaks_of_this_model_and_holds_plain_finite_numbers(gain):
    target, predicted, _ = amounts(400, gain)
    found = verdict_of(DAYS, target, predicted, np.arange(400))
    numbers = [value for value in asdict(found).values() if isinstance(value, float)]
    assert len(numbers) == 7
    assert all(map(math.isfinite, numbers))
    assert found.headline.startswith("lgbm removes")
    assert found.verdict.replace("_", " ") in found.headline
    assert {field.name for field in fields(found)} >= {"verdict", "reason", "score", "skill", "n_groups", "sentence"}


def test_the_smallest_skill_is_set_for_a_task_and_a_score():
    target, predicted, _ = amounts(4000, 0.2)
    task = replace(DAYS, smallest_skill={"rmse": 0.5})
    found = verdict_of(task, target, predicted, np.arange(4000))
    assert (found.smallest_skill, found.verdict) == (SMALLEST, "signal")
    assert (found.others[0].smallest_skill, found.others[0].verdict) == (0.5, "negligible")
    assert verdict_of(replace(DAYS, smallest_skill=0.4), target, predicted, np.arange(4000)).verdict == "negligible"


def coverage(repeats, *, groups, truth=0.03, seed=0):
    """Share of simulated test sets whose 95 % interval holds the skill, and of those said to hold a signal."""
    rng = np.random.default_rng(seed)
    held = signal = 0
    for _ in range(repeats):
        constant = rng.gamma(2.0, size=groups)  # skewed, as absolute errors are
        loss = constant * rng.uniform(0, 2 * (1 - truth), size=groups)
        found = judged(DAYS, np.zeros(groups), loss, constant)
        held += found.low95 <= truth <= found.high95
        signal += found.verdict == "signal"
    return held / repeats, signal / repeats


def test_the_interval_of_the_skill_covers():
    assert 0.93 <= coverage(1000, groups=300)[0] <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("groups", [100, 1000])
def test_the_interval_of_the_skill_covers_in_many_simulations(groups):
    assert 0.935 <= coverage(4000, groups=groups, seed=1)[0] <= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("groups", [100, 1000])
def test_a_model_without_skill_is_a_signal_in_at_most_one_of_forty(groups):
    assert coverage(4000, groups=groups, truth=0.0, seed=2)[1] <= 0.025 + 3 * (0.025 * 0.975 / 4000) ** 0.5


def test_a_constant_that_one_patient_gave_is_no_baseline():
    target, predicted, _ = amounts(300, 0.5)
    assert verdict_of(DAYS, target, predicted, np.arange(300)).verdict == "signal"
    learned = Units.of(np.arange(600), np.maximum(np.arange(600) - 499, 0))
    found = verdict_of(DAYS, target, predicted, np.arange(300), learned=learned)
    assert found.verdict == "inconclusive"
    assert found.reason == "too few patients: very few of them have most of the admissions of the training part"
    assert found.low95 is not None  # it is better than that constant, on these rows
