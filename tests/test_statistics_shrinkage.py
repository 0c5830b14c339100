import numpy as np
from scipy import stats

from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.moments import moments
from hi_ml.statistics.variance_components import between_groups, funnel, shrunken

MARGIN = Margin(0.05)


def draw(sizes, tau, seed, sigma=1.0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(0, tau, len(sizes))[group] + rng.normal(5, sigma, group.size), group


def test_shrinkage_is_the_best_linear_prediction():
    values, group = draw([3, 30, 300], 1.0, seed=6)
    groups = moments(values, group, 3)
    found = between_groups(groups, margin=MARGIN)
    effect, low, high = shrunken(groups, found)
    share = groups.n * found.gamma / (1 + groups.n * found.gamma)
    np.testing.assert_allclose(effect, share * (groups.mean - found.centre))
    assert (np.diff(high - low) < 0).all()
    assert (np.abs(effect) < np.abs(groups.mean - found.centre)).all()


def test_without_variance_between_every_shrunken_effect_is_zero():
    values, group = draw([5] * 10, 0.0, seed=8)
    values -= np.array([values[group == g].mean() for g in range(10)])[group]
    groups = moments(values, group, 10)
    effect, low, high = shrunken(groups, between_groups(groups, margin=MARGIN))
    assert not effect.any()
    assert not low.any()
    assert not high.any()


def test_funnel_limits_hold_a_mean_of_that_size():
    low, high = funnel(np.array([1.0, 100.0]), centre=50.0, within=100.0, level=0.95)
    np.testing.assert_allclose(high - 50, stats.norm.ppf(0.975) * np.array([10.0, 1.0]))
    np.testing.assert_allclose(50 - low, high - 50)
