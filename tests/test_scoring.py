import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml
from sklearn import metrics

from hi_ml.app.config import build, conf_dir
from hi_ml.modeling.scores import Baseline, hit_name, judge, losses, scores
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.groups import group_means

NAMES = {
    "length_of_stay": ["mae", "median_ae", "within_1_day", "rmse", "r2"],
    "billing": ["mae", "median_ae", "within_10_percent", "rmse", "r2"],
    "test_results": ["log_loss", "brier", "roc_auc", "macro_f1", "balanced_accuracy", "accuracy"],
}
SMALLEST = 0.02


def shipped(name):
    return build(Task, yaml.safe_load((conf_dir() / "task" / f"{name}.yaml").read_text()))


DAYS, MONEY, RESULTS = (shipped(name) for name in NAMES)


def amounts(seed, *, rows=400, knowledge=0.5):
    """Targets, predictions that know something of them, and groups of one to three rows."""
    rng = np.random.default_rng(seed)
    target = rng.integers(1, 31, rows).astype(float)
    predicted = 15.5 + knowledge * (target - 15.5) + rng.normal(size=rows)
    return target, predicted, np.sort(rng.integers(0, rows // 2, rows))


def labels(seed, *, rows=400, classes=3):
    rng = np.random.default_rng(seed)
    target = rng.integers(classes, size=rows)
    share = rng.gamma(1.0, size=(rows, classes)) + np.eye(classes)[target]
    return target.astype(float), share / share.sum(axis=1, keepdims=True), np.sort(rng.integers(0, rows // 2, rows))


def case(task, seed=0, **options):
    """Everything that `scores` takes, the first half of the rows having taught the baseline."""
    target, predicted, group = amounts(seed, **options) if task.kind == "regression" else labels(seed, **options)
    half = len(target) // 2
    baseline = Baseline.of(task, target[:half], classes=3 if task.kind == "classification" else 0)
    return target[half:], predicted[half:], baseline, group[half:]


def scored(task, *parts, seed=0):
    target, predicted, baseline, group = parts
    return scores(task, target, predicted, baseline=baseline, group=group, seed=seed).set_index("score")


def judged(task, *parts, smallest=SMALLEST):
    target, predicted, baseline, group = parts
    loss, constant = (
        group_means(losses(task, target, made), group) for made in (predicted, baseline.predict(len(target)))
    )
    return judge("lgbm", loss, constant, task=task, smallest=smallest)


def planted(gain, *, groups, noise=1.0, seed=0):
    """The verdict on a model that removes a share of a baseline loss of one, more or less per group."""
    rng = np.random.default_rng(seed)
    around = rng.normal(size=groups)
    loss = 1 - gain + noise * (around - around.mean())
    return judge("lgbm", loss, np.ones(groups), task=DAYS, smallest=SMALLEST)


@pytest.mark.parametrize("name", NAMES)
def test_each_task_has_the_promised_scores_the_primary_first(name):
    task = shipped(name)
    found = scored(task, *case(task))
    assert list(found.index) == NAMES[name]
    assert found.index[0] == task.score
    assert set(found["part"]) == {"test"}


@pytest.mark.parametrize("task", [DAYS, MONEY, RESULTS], ids=NAMES)
def test_every_score_lies_in_its_interval_and_none_is_nan(task):
    found = scored(task, *case(task))
    numbers = found[["value", "low", "high", "baseline"]]
    assert np.isfinite(numbers.to_numpy()).all()
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()


@pytest.mark.parametrize("task", [DAYS, MONEY, RESULTS], ids=NAMES)
def test_skill_is_one_less_the_score_over_its_baseline(task):
    parts = case(task, seed=1)
    primary = scored(task, *parts).loc[task.score]
    assert judged(task, *parts).skill == pytest.approx(1 - primary["value"] / primary["baseline"], abs=1e-12)


def test_without_groups_regression_scores_are_those_of_scikit_learn():
    target, predicted, baseline, _ = case(DAYS, seed=2)
    found = scored(DAYS, target, predicted, baseline, np.arange(len(target)))["value"]
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(target, predicted))
    assert found["median_ae"] == pytest.approx(metrics.median_absolute_error(target, predicted))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, predicted))
    assert found["r2"] == pytest.approx(metrics.r2_score(target, predicted))
    assert found["within_1_day"] == pytest.approx(np.mean(np.abs(target - np.round(predicted)) <= 1))


def test_without_groups_class_scores_are_those_of_scikit_learn():
    target, share, baseline, _ = case(RESULTS, seed=2)
    label = share.argmax(axis=1)
    found = scored(RESULTS, target, share, baseline, np.arange(len(target)))["value"]
    assert found["log_loss"] == pytest.approx(metrics.log_loss(target, share))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, label))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(target, label))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(target, label, average="macro"))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(target, share, multi_class="ovr"))
    assert found["brier"] == pytest.approx(np.mean(np.sum((share - np.eye(3)[target.astype(int)]) ** 2, axis=1)))


@pytest.mark.parametrize("task", [DAYS, RESULTS], ids=["regression", "classes"])
def test_copying_a_row_inside_its_group_changes_no_score(task):
    target, predicted, baseline, _ = case(task, seed=3)
    alone = np.arange(len(target))
    copied = np.append(alone, [0] * 30)
    before = scored(task, target, predicted, baseline, alone)
    after = scored(task, target[copied], predicted[copied], baseline, copied)
    columns = ["value", "low", "high", "baseline"]
    np.testing.assert_allclose(after[columns], before[columns], rtol=1e-9)


def test_a_near_bill_is_within_a_share_of_the_bill_and_a_near_stay_within_days():
    baseline = Baseline(median=0.0, mean=0.0, shares=np.array([]))
    target = np.array([100.0, 1000.0, -100.0, 0.0])
    predicted = np.array([110.0, 1101.0, -95.0, 0.5])
    group = np.arange(4)
    assert scored(MONEY, target, predicted, baseline, group).loc["within_10_percent", "value"] == 0.5
    assert scored(DAYS, target, predicted, baseline, group).loc["within_1_day", "value"] == 0.25


def test_a_prediction_of_whole_days_is_rounded_before_it_is_called_a_hit():
    baseline = Baseline(median=8.5, mean=8.5, shares=np.array([]))
    target, predicted, group = np.full(4, 10.0), np.array([8.6, 11.4, 11.6, 8.4]), np.arange(4)
    whole = scored(DAYS, target, predicted, baseline, group).loc["within_1_day"]
    split = scored(replace(DAYS, whole=False), target, predicted, baseline, group).loc["within_1_day"]
    assert (whole["value"], split["value"]) == (0.5, 0)
    assert (whole["baseline"], split["baseline"]) == (0, 0)  # 8.5 is rounded to the even 8


def test_each_baseline_is_the_best_constant_for_its_score():
    target, predicted, baseline, _ = case(DAYS, seed=4)
    found = scored(DAYS, target, predicted, baseline, np.arange(len(target)))["baseline"]
    train = amounts(4)[0][: len(target)]
    assert (baseline.median, baseline.mean) == (np.median(train), train.mean())
    assert found["mae"] == pytest.approx(np.mean(np.abs(target - np.median(train))))
    assert found["rmse"] == pytest.approx(np.mean((target - train.mean()) ** 2) ** 0.5)
    assert found["r2"] == pytest.approx(metrics.r2_score(target, np.full(len(target), train.mean())))


def test_the_baseline_of_classes_is_their_frequency_and_the_commonest():
    target, share = np.array([0.0, 1.0, 1.0, 2.0]), np.full((4, 3), 1 / 3)
    baseline = Baseline.of(RESULTS, np.array([0.0, 1, 1, 1, 2]), classes=3)
    np.testing.assert_allclose(baseline.predict(2), [[0.2, 0.6, 0.2]] * 2)
    found = scored(RESULTS, target, share, baseline, np.arange(4))["baseline"]
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.mean(np.log([0.2, 0.6, 0.6, 0.2])))
    assert found["roc_auc"] == 0.5


def test_a_class_that_training_never_saw_costs_much_but_no_infinity():
    baseline = Baseline.of(RESULTS, np.array([0.0, 1.0]), classes=3)
    share = np.tile([0.5, 0.5, 0.0], (6, 1))
    found = scored(RESULTS, np.array([0.0, 1, 2, 0, 1, 2]), share, baseline, np.arange(6))
    assert np.isfinite(found[["value", "low", "high", "baseline"]].to_numpy()).all()
    assert found.loc["log_loss", "value"] > 10


def test_where_the_target_does_not_vary_the_share_of_variance_is_left_out():
    baseline = Baseline(median=4.0, mean=4.5, shares=np.array([]))
    found = scored(DAYS, np.full(6, 5.0), np.linspace(4, 6, 6), baseline, np.arange(6))
    assert "r2" not in found.index
    assert np.isfinite(found[["value", "low", "high", "baseline"]].to_numpy()).all()


def test_the_same_seed_gives_the_same_table_and_the_seed_moves_the_bootstrap_only():
    parts = case(RESULTS, seed=5)
    first, again, other = (scored(RESULTS, *parts, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    moved = first.index[(first["low"] != other["low"]).to_numpy()]
    assert set(moved) <= {"roc_auc", "macro_f1", "balanced_accuracy"}
    assert len(moved)


@pytest.mark.parametrize(
    ("gain", "groups", "noise", "verdict"),
    [
        (0.10, 1000, 0.5, "signal"),
        (0.10, 20, 1.0, "inconclusive"),  # a real gain, too few groups
        (0.015, 100_000, 0.5, "no_signal"),  # there for sure, and too small to matter
        (0.021, 1_000_000, 0.5, "signal"),
        (0.0, 10_000, 0.5, "no_signal"),
        (0.0, 20, 0.5, "inconclusive"),
        (-0.3, 1000, 0.5, "no_signal"),  # worse than the baseline
    ],
)
def test_the_verdict_table(gain, groups, noise, verdict):
    found = planted(gain, groups=groups, noise=noise)
    assert found.verdict == verdict
    assert found.skill == pytest.approx(gain)
    assert found.n_groups == groups


def test_between_the_90_and_the_95_percent_bound_the_narrower_decides_absence():
    """high90 < smallest < high95 is no signal; the rule asks the 90 % interval, a one-sided test at 5 %."""
    found = planted(0.0, groups=1000, noise=0.3535)
    assert found.high90 < SMALLEST < found.high95
    assert found.verdict == "no_signal"


def test_between_the_90_and_the_95_percent_bound_the_wider_decides_presence():
    found = planted(0.03, groups=1000, noise=0.5307)
    assert found.low95 < 0 < found.low90
    assert found.verdict == "inconclusive"


def test_a_model_equal_to_its_baseline_has_no_skill_and_no_signal():
    target, _, baseline, group = case(DAYS)
    found = judged(DAYS, target, baseline.predict(len(target)), baseline, group)
    assert (found.skill, found.low95, found.high95) == (0, 0, 0)
    assert found.verdict == "no_signal"


@pytest.mark.parametrize("gain", [0.2, 0.0, 0.015])
def test_the_verdict_speaks_of_this_model_and_holds_plain_finite_numbers(gain):
    found = planted(gain, groups=200)
    numbers = [value for value in asdict(found).values() if isinstance(value, float)]
    assert len(numbers) == 6
    assert all(map(math.isfinite, numbers))
    assert found.sentence.startswith("lgbm removes")
    assert found.verdict.replace("_", " ") in found.sentence


def test_a_hit_is_named_by_its_reach():
    assert hit_name(DAYS) == "within_1_day"
    assert hit_name(replace(DAYS, within=2)) == "within_2_days"
    assert hit_name(MONEY) == "within_10_percent"


def coverage(repeats, *, groups, truth=0.03, seed=0):
    """Share of simulated test sets whose 95 % interval holds the skill, and of those said to hold a signal."""
    rng = np.random.default_rng(seed)
    held = signal = 0
    for _ in range(repeats):
        constant = rng.gamma(2.0, size=groups)  # skewed, as absolute errors are
        loss = constant * rng.normal(1 - truth, 0.6, size=groups)
        found = judge("any", loss, constant, task=DAYS, smallest=SMALLEST)
        held += found.low95 <= truth <= found.high95
        signal += found.verdict == "signal"
    return held / repeats, signal / repeats


def test_the_interval_of_the_skill_covers():
    assert 0.93 <= coverage(1000, groups=300)[0] <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("groups", [100, 1000, 10_000])
def test_the_interval_of_the_skill_covers_in_many_simulations(groups):
    assert 0.94 <= coverage(4000, groups=groups, seed=1)[0] <= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("groups", [100, 1000, 10_000])
def test_a_model_without_skill_is_a_signal_in_at_most_one_of_forty(groups):
    assert coverage(4000, groups=groups, truth=0.0, seed=2)[1] <= 0.025 + 3 * (0.025 * 0.975 / 4000) ** 0.5
