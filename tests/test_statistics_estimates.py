import numpy as np
import pytest
from scipy import stats

from hi_ml.statistics.estimates import LARGEST_N, Margin, difference_effect, joint_power, n_for_difference


def test_limits_and_tests_are_those_of_a_t_statistic():
    effect = difference_effect(0.4, 0.25, 60, margin=Margin(1.0), df=37.0)
    law = stats.t(37, loc=0.4, scale=0.25)
    np.testing.assert_allclose([effect.low, effect.high], law.interval(0.95), rtol=1e-12)
    np.testing.assert_allclose([effect.low90, effect.high90], law.interval(0.90), rtol=1e-12)
    assert effect.p_zero == pytest.approx(2 * stats.t.sf(0.4 / 0.25, 37), rel=1e-12)
    assert effect.p_above == pytest.approx(stats.t.cdf((0.4 - 1) / 0.25, 37), rel=1e-12)
    assert effect.p_outside == pytest.approx(
        max(stats.t.cdf((0.4 - 1) / 0.25, 37), stats.t.sf((0.4 + 1) / 0.25, 37)), rel=1e-12
    )


@pytest.mark.parametrize(("estimate", "excluded"), [(0.0, True), (0.9, False), (-3.0, True)])
def test_the_upper_test_agrees_with_the_upper_90_percent_limit(estimate, excluded):
    effect = difference_effect(estimate, 0.3, 100, margin=Margin(1.0))
    assert (effect.high90 < 1.0) == excluded == (effect.p_above < 0.05)


def test_n_needed_gives_the_power_it_promises():
    n = n_for_difference(200, 0.5, Margin(1.0, power=0.8))
    error = 0.5 * np.sqrt(200 / n)
    power = stats.norm.cdf(1.0 / error - stats.norm.isf(0.05))
    assert 0.80 <= power < 0.802


def test_n_needed_is_capped_where_nothing_would_do():
    assert n_for_difference(200, 0.5, Margin(1e-12)) == LARGEST_N


def test_parts_need_more_power_to_be_absent_together():
    assert joint_power(1) == 0.9
    assert joint_power(4) ** 4 == pytest.approx(0.9)
