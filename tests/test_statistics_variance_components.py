from itertools import combinations

import numpy as np
import pytest
from scipy import optimize, stats

from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.moments import moments
from hi_ml.statistics.variance_components import between_groups, funnel, gamma_around, pair_icc, shrink, smallest_icc

MARGIN = Margin(0.05)


def draw(sizes, tau, seed, sigma=1.0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(0, tau, len(sizes))[group] + rng.normal(5, sigma, group.size), group


def wald_by_likelihood_of_contrasts(values, group, quantile):
    """Solve the same pivot from raw rows, by generalised least squares of the whole covariance matrix."""
    k = group.max() + 1
    indicator = np.eye(k)[group]
    projector = np.eye(values.size) - indicator @ np.diag(1 / indicator.sum(0)) @ indicator.T
    within = values @ projector @ values / (values.size - k)
    one = np.ones(values.size)

    def pivot(gamma):
        inverse = np.linalg.inv(np.eye(values.size) + gamma * indicator @ indicator.T)
        centred = values - (one @ inverse @ values) / (one @ inverse @ one)
        return (centred @ inverse @ centred - values @ projector @ values) / (k - 1) / within - quantile

    return 0.0 if pivot(0) <= 0 else optimize.brentq(pivot, 0, 100, xtol=1e-13)


@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_walds_interval_from_sums_is_that_of_the_full_covariance_matrix(tau):
    sizes = [2, 3, 5, 9, 2, 14, 4, 7]
    values, group = draw(sizes, tau, seed=1)
    found = between_groups(moments(values, group, len(sizes)), margin=MARGIN)
    law = stats.f(len(sizes) - 1, len(values) - len(sizes))
    expected = [wald_by_likelihood_of_contrasts(values, group, q) for q in (1.0, law.ppf(0.975), law.ppf(0.025))]
    icc = [gamma / (1 + gamma) for gamma in expected]
    np.testing.assert_allclose([found.icc.estimate, found.icc.low, found.icc.high], icc, atol=1e-8)
    assert found.icc.p_zero == pytest.approx(stats.f_oneway(*np.split(values, np.cumsum(sizes)[:-1])).pvalue)


def test_with_equal_sizes_the_limits_have_the_textbook_form():
    values, group = draw([6] * 20, 0.4, seed=2)
    found = between_groups(moments(values, group, 20), margin=MARGIN)
    f = stats.f_oneway(*np.split(values, 20)).statistic
    for quantile, limit in ((0.975, found.icc.low), (0.025, found.icc.high), (0.95, found.icc.low90)):
        ratio = f / stats.f.ppf(quantile, 19, 100)
        assert limit == pytest.approx(max(0.0, (ratio - 1) / (ratio + 5)), abs=1e-9)


def test_absence_and_the_upper_90_percent_limit_agree():
    values, group = draw([8] * 60, 0.0, seed=3)
    groups = moments(values, group, 60)
    high = between_groups(groups, margin=MARGIN).icc.high90
    assert between_groups(groups, margin=Margin(high * 1.001)).icc.p_above < 0.05
    assert between_groups(groups, margin=Margin(high * 0.999)).icc.p_above > 0.05
    assert between_groups(groups, margin=Margin(high)).icc.p_above == pytest.approx(0.05, abs=1e-6)


def test_the_pair_icc_lists_all_pairs():
    values, group = draw([2, 3, 4, 7], 0.8, seed=4)
    mean, variance = values.mean(), values.var(ddof=1)
    pairs = [(i, j) for i, j in combinations(range(len(values)), 2) if group[i] == group[j]]
    expected = np.mean([(values[i] - mean) * (values[j] - mean) for i, j in pairs]) / variance
    groups = moments(values, group, 4)
    assert pair_icc(groups, mean, variance) == pytest.approx(expected)
    assert between_groups(groups, margin=MARGIN).pairs == len(pairs)


def test_the_smallest_icc_is_the_gap_of_two_random_hospitals():
    icc = smallest_icc(0.10, 25_000.0, 14_000.0**2)
    tau = np.sqrt(icc) * 14_000
    draws = np.random.default_rng(5).normal(0, tau, (400_000, 2))
    assert np.abs(np.diff(draws)).mean() == pytest.approx(2_500, rel=0.01)
    assert smallest_icc(0.10, 1_000.0, 1.0) == 0.99


def test_n_needed_gives_about_its_power():
    sizes = np.full(400, 5)
    needed = between_groups(moments(*draw(sizes, 0.0, 9), 400), margin=MARGIN).icc.n_needed
    hospitals = needed // 5
    ruled_out = [
        between_groups(moments(*draw(np.full(hospitals, 5), 0.0, seed), hospitals), margin=MARGIN).icc.p_above < 0.05
        for seed in range(200)
    ]
    assert 0.83 <= np.mean(ruled_out) <= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["normal", "uniform"])
def test_walds_interval_covers(errors):
    rng = np.random.default_rng(10)
    sizes = rng.integers(2, 9, 300)
    group = np.repeat(np.arange(300), sizes)
    true = 0.05
    tau = np.sqrt(true / (1 - true))
    covered = above = 0
    for _ in range(1000):
        noise = rng.normal(size=group.size) if errors == "normal" else rng.uniform(-(3**0.5), 3**0.5, group.size)
        icc = between_groups(moments(rng.normal(0, tau, 300)[group] + noise, group, 300), margin=Margin(true)).icc
        covered += icc.low <= true <= icc.high
        above += icc.p_above < 0.05
    assert 0.93 <= covered / 1000 <= 0.97
    assert above / 1000 <= 0.07


def test_shrinkage_is_the_best_linear_prediction():
    values, group = draw([3, 30, 300], 1.0, seed=6)
    groups, gamma = moments(values, group, 3), 0.4
    effect, low, high = shrink(groups, centre=4.9, within=1.2, gamma=gamma)
    for i, size in enumerate([3, 30, 300]):  # by the covariances of the group's effect and its rows
        rows = 1.2 * (np.eye(size) + gamma)
        weights = np.linalg.solve(rows, np.full(size, 1.2 * gamma))
        assert effect[i] == pytest.approx(weights @ (values[group == i] - 4.9))
        left = 1.2 * gamma * (1 - weights.sum())
        assert (high - low)[i] == pytest.approx(2 * stats.norm.ppf(0.975) * left**0.5)


def test_the_spread_around_the_mean_of_all_is_found_where_volume_goes_with_the_mean():
    rng = np.random.default_rng(7)
    sizes = np.array([300] * 10 + [40] * 40)
    means = rng.normal(np.repeat([110, 30], [10, 40]), 5)
    values, group = rng.normal(np.repeat(means, sizes), 50), np.repeat(np.arange(50), sizes)
    groups, centre = moments(values, group, 50), values.mean()
    found = gamma_around(groups, centre=centre, within=2_500.0)
    assert found * 2_500 == pytest.approx(((means - centre) ** 2).mean(), rel=0.1)
    assert gamma_around(groups, centre=centre, within=1e9) == 0


def test_without_variance_between_every_shrunken_effect_is_zero():
    values, group = draw([5] * 10, 0.0, seed=8)
    values -= np.array([values[group == g].mean() for g in range(10)])[group]
    groups = moments(values, group, 10)
    gamma = gamma_around(groups, centre=float(values.mean()), within=between_groups(groups, margin=MARGIN).within)
    for limit in shrink(groups, centre=0.0, within=1.0, gamma=gamma):
        assert not limit.any()


def test_funnel_limits_hold_a_mean_of_that_size():
    low, high = funnel(np.array([1.0, 100.0]), centre=50.0, within=100.0, level=0.95)
    np.testing.assert_allclose(high - 50, stats.norm.ppf(0.975) * np.array([10.0, 1.0]))
    np.testing.assert_allclose(50 - low, high - 50)
