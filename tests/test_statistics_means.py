import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.oneway import anova_oneway, equivalence_oneway
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.means import (
    comparable,
    contrast,
    differences,
    largest_gap,
    mean_limits,
    one_way,
    standardised_difference,
)
from hi_ml.statistics.moments import Moments, moments

RNG = np.random.default_rng(3)
SAMPLES = [RNG.normal(10, 1, 40), RNG.gamma(2, 5, 90), RNG.uniform(0, 30, 55)]
GROUPS = moments(np.concatenate(SAMPLES), np.repeat([0, 1, 2], [40, 90, 55]), 3)


def test_a_contrast_of_two_is_welch():
    pair = GROUPS.at([0, 1])
    effect = contrast(pair, [1, -1], margin=Margin(2.0))
    compare = CompareMeans(DescrStatsW(SAMPLES[0]), DescrStatsW(SAMPLES[1]))
    np.testing.assert_allclose([effect.low, effect.high], compare.tconfint_diff(usevar="unequal"), rtol=1e-9)
    np.testing.assert_allclose(
        [effect.low90, effect.high90], compare.tconfint_diff(alpha=0.1, usevar="unequal"), rtol=1e-9
    )
    assert effect.p_zero == pytest.approx(compare.ttest_ind(usevar="unequal")[1], rel=1e-9)
    p_tost, _, below = ttost_ind(SAMPLES[0], SAMPLES[1], -2.0, 2.0, usevar="unequal")
    assert effect.p_outside == pytest.approx(p_tost, rel=1e-9)
    assert effect.p_above == pytest.approx(below[1], rel=1e-9)


def test_a_contrast_of_four_is_the_difference_of_two_differences():
    four = moments(RNG.normal(size=200), np.repeat([0, 1, 2, 3], 50), 4)
    first, second = (contrast(four.at(pair), [1, -1], margin=Margin(1.0)) for pair in ([0, 1], [2, 3]))
    both = contrast(four, [1, -1, -1, 1], margin=Margin(1.0))
    assert both.estimate == pytest.approx(first.estimate - second.estimate)
    errors = [effect.estimate / effect.statistic for effect in (first, second, both)]
    assert errors[2] == pytest.approx(np.hypot(errors[0], errors[1]))


def test_many_differences_are_as_many_contrasts():
    many = differences(GROUPS.at([0, 1]), GROUPS.at([2, 2]))
    low, high = many.limits()
    for place in (0, 1):
        one = contrast(GROUPS.at([place, 2]), [1, -1], margin=Margin(1.0))
        assert (many.estimate[place], low[place], high[place]) == pytest.approx((one.estimate, one.low, one.high))
        assert many.p_value[place] == pytest.approx(one.p_zero)


def test_pairs_are_comparable_when_large_enough_and_varying():
    first = Moments(np.array([5.0, 1.0, 5.0]), np.array([5.0, 1.0, 5.0]), np.array([5.0, 1.0, 9.0]))
    second = Moments(np.array([5.0, 5.0, 5.0]), np.array([5.0, 5.0, 5.0]), np.array([5.0, 9.0, 5.0]))
    assert comparable(first, second, 2).tolist() == [False, False, True]


def test_one_way_is_welchs_and_its_absence_test_is_statsmodels():
    effect = one_way(GROUPS, margin=Margin(0.4))
    assert effect.p_zero == pytest.approx(anova_oneway(SAMPLES, use_var="unequal").pvalue, rel=1e-9)
    oracle = equivalence_oneway(SAMPLES, 0.4**2, use_var="unequal", margin_type="f2")
    assert effect.p_above == pytest.approx(oracle.pvalue, rel=1e-8)


def test_the_largest_gap_is_found_among_all_pairs_with_bonferroni():
    higher, lower, gap = largest_gap(GROUPS)
    means = [sample.mean() for sample in SAMPLES]
    assert (higher, lower) == (int(np.argmax(means)), int(np.argmin(means)))
    interval = stats.ttest_ind(SAMPLES[higher], SAMPLES[lower], equal_var=False).confidence_interval(1 - 0.05 / 3)
    assert (gap.low, gap.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_mean_limits_are_students_and_missing_for_a_single_value():
    groups = moments(np.append(SAMPLES[0], 4.0), np.append(np.zeros(40, int), 1), 2)
    low, high = mean_limits(groups)
    law = stats.t(39, loc=SAMPLES[0].mean(), scale=stats.sem(SAMPLES[0]))
    assert (low[0], high[0]) == pytest.approx(law.interval(0.95))
    assert np.isnan([low[1], high[1]]).all()


def test_the_standardised_difference_divides_by_the_root_mean_variance():
    difference = standardised_difference(GROUPS.at([0]), GROUPS.at([1]))
    spread = np.sqrt((SAMPLES[0].var(ddof=1) + SAMPLES[1].var(ddof=1)) / 2)
    assert difference[0] == pytest.approx((SAMPLES[0].mean() - SAMPLES[1].mean()) / spread)
