from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import tost_proportions_2indep

from hi_ml.statistics.estimates import Margin, difference_effect
from hi_ml.statistics.proportions import Share, share_difference, share_trend, wilson

MARGIN = Margin(0.03)


def wilson_by_hand(count, total, level=0.95):
    z = stats.norm.isf((1 - level) / 2)
    centre = (count + z**2 / 2) / (total + z**2)
    half = z * np.sqrt(count * (total - count) / total + z**2 / 4) / (total + z**2)
    return centre - half, centre + half


def newcombe_by_hand(first, second, level):
    (low1, high1), (low2, high2) = (wilson_by_hand(*part, level) for part in (first, second))
    p1, p2 = first[0] / first[1], second[0] / second[1]
    low = p1 - p2 - np.hypot(p1 - low1, high2 - p2)
    return low, p1 - p2 + np.hypot(high1 - p1, p2 - low2)


def test_intervals_are_newcombes_of_both_levels():
    effect = share_difference(Share(60, 300), Share(40, 350), margin=MARGIN)
    np.testing.assert_allclose([effect.low, effect.high], newcombe_by_hand((60, 300), (40, 350), 0.95), rtol=1e-10)
    np.testing.assert_allclose([effect.low90, effect.high90], newcombe_by_hand((60, 300), (40, 350), 0.90), rtol=1e-10)


def test_tests_are_pooled_for_no_difference_and_unpooled_for_the_margin():
    effect = share_difference(Share(60, 300), Share(40, 350), margin=MARGIN)
    p1, p2, pooled = 60 / 300, 40 / 350, 100 / 650
    z = (p1 - p2) / np.sqrt(pooled * (1 - pooled) * (1 / 300 + 1 / 350))
    error = np.sqrt(p1 * (1 - p1) / 300 + p2 * (1 - p2) / 350)
    assert effect.p_zero == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-10)
    assert effect.p_above == pytest.approx(stats.norm.cdf((p1 - p2 - 0.03) / error), rel=1e-10)
    oracle = tost_proportions_2indep(60, 300, 40, 350, -0.03, 0.03, method="wald")
    assert effect.p_above == pytest.approx(oracle.results_smaller.pvalue, rel=1e-10)
    assert effect.p_outside == pytest.approx(oracle.pvalue, rel=1e-10)
    assert (effect.n, effect.statistic) == (650, pytest.approx(z))


def test_a_design_effect_shrinks_both_samples_and_keeps_the_estimate():
    plain = share_difference(Share(60, 300), Share(40, 350), margin=MARGIN)
    clustered = difference_effect(0.0, 1.0, 650, margin=MARGIN)
    clustered = replace(clustered, design_effect=4.0, units=130)
    inflated = share_difference(Share(60, 300), Share(40, 350), margin=MARGIN, clustered=clustered)
    assert inflated.estimate == pytest.approx(plain.estimate)
    assert inflated.statistic == pytest.approx(plain.statistic / 2)
    assert (inflated.n, inflated.units, inflated.design_effect) == (650, 130, 4.0)
    assert inflated.n_needed == pytest.approx(4 * plain.n_needed, abs=4)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_every_possible_pair_of_counts_gives_finite_numbers(total1, total2, data):
    counts = data.draw(st.tuples(st.integers(0, total1), st.integers(0, total2)))
    effect = share_difference(Share(counts[0], total1), Share(counts[1], total2), margin=MARGIN)
    assert np.isfinite([effect.low, effect.high, effect.low90, effect.high90]).all()
    assert effect.low - 1e-12 <= effect.estimate <= effect.high + 1e-12
    assert all(0 <= p <= 1 for p in (effect.p_zero, effect.p_above, effect.p_outside))


def test_wilson_by_hand():
    low, high = wilson([0, 7, 20], [20, 20, 20])
    expected = np.array([wilson_by_hand(count, 20) for count in (0, 7, 20)]).T
    np.testing.assert_allclose([low, high], np.clip(expected, 0, 1), atol=1e-12)


def test_the_trend_is_a_regression_line_with_the_cochran_armitage_test():
    counts, totals, scores = np.array([12, 20, 35]), np.array([100, 90, 110]), np.array([2.0, 3.0, 5.0])
    outcome = np.repeat([0, 1, 0, 1, 0, 1], np.ravel(np.column_stack([totals - counts, counts])))
    score = np.repeat(scores, totals)
    trend = share_trend(counts, totals, scores)
    assert trend.slope.value == pytest.approx(stats.linregress(score, outcome).slope, rel=1e-10)
    # The permutation variance of the test has n - 1 where Cochran and Armitage have n.
    z = np.corrcoef(score, outcome)[0, 1] * np.sqrt(300 - 1)
    assert trend.z == pytest.approx(z, rel=1e-10)
    assert trend.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-10)
    assert trend.slope.low < trend.slope.value < trend.slope.high
