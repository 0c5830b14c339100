import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hi_ml.statistics.groups import (
    corrected_interval,
    corrected_p,
    group_means,
    mean_interval,
    ratio_interval,
    root_interval,
    row_weights,
)

LEVELS = (0.90, 0.95)


def clustered(seed, *, groups=40, most=6):
    """Values that share a group effect, and their groups, in mixed order and with gaps in the numbers."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(7 * np.arange(groups), rng.integers(1, most, groups)))
    return rng.normal(size=7 * groups)[group] + rng.gamma(1.0, size=len(group)), group


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_group_means_are_those_of_a_loop(rows):
    group, values = np.array([g for g, _ in rows]), np.array([v for _, v in rows])
    expected = [np.mean([v for g, v in rows if g == one]) for one in sorted(set(group.tolist()))]
    np.testing.assert_allclose(group_means(values, group), expected, atol=1e-6)


def test_row_weights_let_every_group_count_once():
    values, group = clustered(0)
    weights = row_weights(group)
    assert weights.sum() == pytest.approx(len(np.unique(group)))
    assert np.average(values, weights=weights) == pytest.approx(group_means(values, group).mean())


@pytest.mark.parametrize("level", LEVELS)
def test_the_mean_interval_is_the_cluster_robust_one_of_statsmodels(level):
    values, group = clustered(1)
    found = mean_interval(group_means(values, group), level=level)
    fit = sm.WLS(values, np.ones(len(values)), weights=row_weights(group)).fit(
        cov_type="cluster", cov_kwds={"groups": group, "df_correction": True}, use_t=True
    )
    low, high = fit.conf_int(alpha=1 - level)[0]
    # statsmodels' small-sample factor also counts rows, G/(G-1) * (N-1)/(N-1): the same with one parameter
    assert (found.value, found.low, found.high) == pytest.approx((fit.params[0], low, high), rel=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_the_ratio_interval_is_the_robust_regression_of_the_ratios(level):
    rng = np.random.default_rng(2)
    below = rng.gamma(2.0, size=60)
    above = 0.3 * below + rng.normal(size=60)
    found = ratio_interval(above, below, level=level)
    fit = sm.WLS(above / below, np.ones(60), weights=below).fit(cov_type="HC1", use_t=True)
    low, high = fit.conf_int(alpha=1 - level)[0]
    assert (found.value, found.low, found.high) == pytest.approx((fit.params[0], low, high), rel=1e-9)


def test_the_root_interval_is_the_root_of_the_means_interval_and_stops_at_zero():
    squares = np.array([0.0, 0.0, 0.0, 100.0])
    square, root = mean_interval(squares), root_interval(squares)
    assert square.low < 0
    assert (root.value, root.low, root.high) == (5.0, 0.0, pytest.approx(square.high**0.5))


def test_equal_losses_have_a_ratio_of_exactly_zero():
    loss = np.random.default_rng(3).gamma(1.0, size=50)
    found = ratio_interval(loss - loss, loss)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_wider_level_gives_a_wider_interval():
    values, group = clustered(4)
    narrow, wide = (mean_interval(group_means(values, group), level=level) for level in LEVELS)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_the_mean_interval_covers_and_one_over_rows_would_not():
    """Rows of a group share an effect: 95 % is kept over groups and lost over rows."""
    repeats, groups, size = 600, 25, 8
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(groups), size)
    covered, naive = 0, 0
    for _ in range(repeats):
        values = rng.normal(size=groups)[group] + rng.normal(size=len(group))
        found = mean_interval(group_means(values, group))
        rows = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        covered += found.low <= 0 <= found.high
        naive += rows[0] <= 0 <= rows[1]
    assert stats.binomtest(covered, repeats, 0.95).pvalue > 0.001
    assert naive / repeats < 0.75


def test_the_ratio_interval_covers():
    repeats, rng = 600, np.random.default_rng(6)
    covered = 0
    for _ in range(repeats):
        below = rng.gamma(2.0, size=80)  # mean 2
        found = ratio_interval(below * rng.normal(0.1, 0.5, size=80), below)
        covered += found.low <= 0.1 <= found.high
    assert 0.925 <= covered / repeats <= 0.975


DIFFERENCES = st.lists(st.floats(-10, 10), min_size=2, max_size=12).map(np.array)


@given(DIFFERENCES, st.floats(0.05, 1))
def test_without_overlap_it_is_the_t_test_of_one_sample(differences, level):
    level = min(level, 0.99)
    if differences.std() < 1e-6:
        return
    oracle = stats.ttest_1samp(differences, 0)
    found, bounds = corrected_interval(differences, ratio=0.0, level=level), oracle.confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert corrected_p(differences, ratio=0.0) == pytest.approx(oracle.pvalue)


def test_overlap_widens_the_interval_by_the_factor_of_nadeau_and_bengio():
    differences = np.array([0.3, 0.1, 0.2, 0.4, 0.0])
    naive, corrected = (corrected_interval(differences, ratio=ratio) for ratio in (0.0, 0.25))
    assert (corrected.high - corrected.value) / (naive.high - naive.value) == pytest.approx(np.sqrt(1 + 5 * 0.25))
    assert corrected_p(differences, ratio=0.25) > corrected_p(differences, ratio=0.0)


@given(DIFFERENCES)
def test_the_interval_excludes_zero_where_p_is_small(differences):
    found, p = corrected_interval(differences, ratio=0.25), corrected_p(differences, ratio=0.25)
    if abs(p - 0.05) > 1e-9 and differences.std() > 1e-6:
        assert (found.low > 0 or found.high < 0) == (p < 0.05)


def test_two_that_never_differ_and_a_single_fold():
    assert corrected_p(np.zeros(5), ratio=0.25) == 1
    assert corrected_p(np.full(5, 0.1), ratio=0.25) == 0
    same = corrected_interval(np.zeros(5), ratio=0.25)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    single = corrected_interval(np.array([0.1]), ratio=0.25)
    assert (single.low, single.high) == (-np.inf, np.inf)
    assert corrected_p(np.array([0.1]), ratio=0.25) == 1
