import numpy as np
import pytest
import statsmodels.api as sm

from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.moments import moments
from hi_ml.statistics.regression import residuals, within_strata

MARGIN = Margin(0.05)


def draw(seed, n=400, strata=6, groups=4):
    rng = np.random.default_rng(seed)
    stratum, group = rng.integers(0, strata, n), rng.integers(0, groups, n)
    values = 10 + stratum + 0.3 * group + rng.normal(0, 1 + group, n)
    return values, stratum, group


def wald_by_statsmodels(values, stratum, group):
    dummies = [column for codes in (group, stratum) for column in np.eye(codes.max() + 1)[codes].T]
    design = np.column_stack(dummies[1:])
    design = design[:, design.any(axis=0)]
    groups = len(np.unique(group)) - 1
    fit = sm.OLS(values, design).fit(cov_type="HC1")
    return float(fit.wald_test(np.eye(groups, design.shape[1]), use_f=False, scalar=True).statistic)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sums_give_the_robust_wald_statistic_of_the_full_regression(seed):
    values, stratum, group = draw(seed)
    effect = within_strata(moments(values, stratum * 4 + group, 24), 4, margin=MARGIN)
    assert effect.statistic == pytest.approx(wald_by_statsmodels(values, stratum, group), rel=1e-8)
    assert (effect.df, effect.n) == (3, 400)


def test_empty_cells_and_strata_are_left_out():
    values, stratum, group = draw(3)
    kept = ~((stratum == 2) & (group == 1)) & (stratum != 5)
    values, stratum, group = values[kept], stratum[kept], group[kept]
    effect = within_strata(moments(values, stratum * 4 + group, 24), 4, margin=MARGIN)
    assert effect.statistic == pytest.approx(wald_by_statsmodels(values, stratum, group), rel=1e-8)


def test_a_difference_between_strata_is_no_difference_between_groups():
    rng = np.random.default_rng(4)
    stratum = np.repeat([0, 1], 500)
    group = (rng.random(1000) < np.where(stratum, 0.9, 0.1)).astype(int)
    values = 20.0 * stratum + rng.normal(size=1000)
    effect = within_strata(moments(values, stratum * 2 + group, 4), 2, margin=MARGIN)
    assert effect.p_zero > 0.01
    plain = within_strata(moments(values, group, 2), 2, margin=MARGIN)
    assert plain.p_zero < 1e-50


@pytest.mark.parametrize(
    ("values", "stratum", "group"),
    [
        ([1.0, 2.0, 3.0, 5.0], [0, 0, 1, 1], [0, 0, 1, 1]),  # no stratum holds two groups
        ([2.0, 2.0, 2.0, 2.0], [0, 0, 0, 0], [0, 0, 1, 1]),  # nothing varies
        ([2.0, 3.0], [0, 0], [0, 1]),  # nothing left to estimate an error from
    ],
)
def test_what_cannot_be_compared_is_none(values, stratum, group):
    cells = moments(values, np.array(stratum) * 2 + np.array(group), 4)
    assert within_strata(cells, 2, margin=MARGIN) is None


@pytest.mark.parametrize("seed", range(5))
def test_residuals_of_four_sets_of_indicators_are_orthogonal_to_all_of_them(seed):
    """What rounding leaves of the columns that depend on others must not count as a column."""
    rng = np.random.default_rng(seed)
    levels = [np.eye(k)[rng.integers(0, k, 3_000)] for k in (2, 6, 3, 5)]
    design = np.column_stack([np.ones(3_000), rng.integers(18, 86, 3_000) - 51.5, np.ones(3_000), *levels])
    left = residuals(rng.uniform(1_000, 49_000, 3_000), design)
    assert np.abs(design.T @ left).max() < 1e-8 * 49_000 * 3_000


def test_residuals_are_those_of_least_squares_even_with_redundant_columns():
    rng = np.random.default_rng(5)
    design = np.column_stack([np.ones(80), rng.normal(50, 20, 80), np.eye(3)[rng.integers(0, 3, 80)]])
    values = design @ np.array([3.0, 0.2, 1.0, 2.0, 3.0]) + rng.normal(size=80)
    expected = sm.OLS(values, design[:, 1:]).fit().resid  # the constant is the sum of the last three
    np.testing.assert_allclose(residuals(values, design), expected, atol=1e-8)
