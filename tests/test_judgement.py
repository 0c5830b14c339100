"""The verdict: signal, no signal, or too few groups to tell."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from hi_ml.evaluation.judgement import judge
from hi_ml.modeling.scores.score import Baseline, losses
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.groups import Units

SMALLEST = 0.02
DAYS = Task("stay", "length_of_stay", "regression", "days", "admission", "mae")
RESULTS = Task("result", "test_result", "classification", "label", "stay", "log_loss")


def judged(task, target, predicted, baseline, group):
    units = Units.of(group)
    loss, constant = (units.sums(losses(task, target, made)) for made in (predicted, baseline.predict(len(target))))
    return judge("lgbm", loss, constant, task=task, smallest=SMALLEST)


def planted(gain, *, groups, noise=1.0, seed=0):
    """The verdict on a model that removes a share of a baseline loss of one, more or less per group."""
    rng = np.random.default_rng(seed)
    around = rng.normal(size=groups)
    loss = 1 - gain + noise * (around - around.mean())
    return judge("lgbm", loss, np.ones(groups), task=DAYS, smallest=SMALLEST)


@pytest.mark.parametrize("task", [DAYS, RESULTS], ids=["amounts", "classes"])
def test_skill_is_one_less_the_loss_over_that_of_the_constant(task):
    rng = np.random.default_rng(1)
    group = np.sort(rng.integers(0, 100, 200))
    if task is DAYS:
        target = rng.integers(1, 31, 200).astype(float)
        predicted, loss, constant = target / 2 + 8, np.abs(target / 2 - 8), np.abs(target - np.median(target))
    else:
        target, predicted = rng.integers(0, 2, 200).astype(float), rng.dirichlet([1, 1], 200)
        codes = target.astype(int)
        frequency = np.bincount(codes) / 200
        loss, constant = -np.log(predicted[np.arange(200), codes]), -np.log(frequency[codes])
    ours, theirs = (Units.of(group).mean(one) for one in (loss, constant))
    found = judged(task, target, predicted, Baseline.of(task, target, votes=np.ones(200), classes=2), group)
    assert found.skill == pytest.approx(1 - ours / theirs, abs=1e-12)


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
    target = np.random.default_rng(0).integers(1, 31, 200).astype(float)
    baseline = Baseline.of(DAYS, target[:100], votes=np.ones(100), classes=0)
    found = judged(DAYS, target, baseline.predict(200), baseline, np.arange(200) // 2)
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
