import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hi_ml.statistics.counts import (
    LARGEST,
    convolve,
    crps,
    cumulative_hazards,
    moments,
    negative_binomial,
    poisson_binomial,
    quantile,
    total,
    widen,
)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=70))
def test_the_count_of_independent_events_is_that_of_adding_them_one_by_one(chances):
    law = np.array([1.0])
    for chance in chances:
        law = np.convolve(law, [1 - chance, chance])
    np.testing.assert_allclose(poisson_binomial(np.array(chances)), law, atol=1e-14)


def test_rare_events_are_counted_exactly_where_a_normal_law_is_wrong():
    """The tail keeps its digits as far as sums of products can."""
    law = poisson_binomial(np.full((3, 1000), [[0.001], [0.5], [1.0]]))
    for row, chance in zip(law, (0.001, 0.5, 1.0), strict=True):
        np.testing.assert_allclose(row, stats.binom.pmf(np.arange(1001), 1000, chance), atol=1e-14)


@pytest.mark.parametrize("spread", [0.0, 1e-12, 0.05, 2.0])
def test_a_negative_binomial_has_its_mean_and_what_days_share(spread):
    means = np.array([0.0, 0.3, 27.4])
    law = negative_binomial(means, spread)
    mean, variance = moments(law)
    np.testing.assert_allclose(law.sum(axis=-1), 1, atol=1e-9)
    np.testing.assert_allclose(mean, means, atol=1e-6)
    np.testing.assert_allclose(variance, means + spread * means**2, rtol=1e-6, atol=1e-9)
    both = total(law[1:])
    np.testing.assert_allclose(both, np.convolve(law[1], law[2]), atol=1e-14)
    np.testing.assert_allclose(convolve(law[1], law[2]), both, atol=1e-14)


def test_the_score_of_a_forecast_is_the_error_less_half_the_spread():
    """E|X - y| - E|X - X'| / 2, as Gneiting and Raftery write it, also beyond the last number."""
    rng = np.random.default_rng(0)
    law = rng.dirichlet(np.ones(30), size=4)
    numbers = np.arange(30)
    apart = np.abs(numbers[:, None] - numbers)
    for observed in (0, 7, 29, 44):
        expected = law @ np.abs(numbers - observed) - np.einsum("ni,ij,nj->n", law, apart, law) / 2
        np.testing.assert_allclose(crps(law, np.full(4, observed)), expected)


def test_quantiles_are_the_smallest_numbers_that_are_enough():
    law = stats.binom.pmf(np.arange(41), 40, 0.3)
    for level in (0.01, 0.05, 0.5, 0.95):
        assert quantile(law, level) == stats.binom.ppf(level, 40, 0.3)


def test_an_error_widens_and_moves_nothing_but_what_would_be_below_nobody():
    law = stats.binom.pmf(np.arange(401), 400, 0.5)
    (mean, variance), (wide_mean, wide_variance) = moments(law), moments(widen(law, 60.0))
    assert wide_mean == pytest.approx(mean)
    assert wide_variance == pytest.approx(variance + 60, rel=0.01)
    none = widen(np.array([1.0]), 9.0)
    assert none.sum() == pytest.approx(1)
    assert none[0] == pytest.approx(0.5 + stats.norm.pdf(0, scale=3) / 2, abs=0.01)
    assert widen(law, 0.0) is law


def test_hazards_add_up_to_the_curve_of_kaplan_and_meier():
    rng = np.random.default_rng(0)
    days, over = rng.integers(0, 12, 4000), rng.random(4000) < 0.7
    curve = stats.ecdf(stats.CensoredData.right_censored(days, ~over)).sf
    ours = np.exp(-np.cumsum(cumulative_hazards(days, over, size=11)))
    np.testing.assert_allclose(ours, curve.evaluate(np.arange(11)))
    few = cumulative_hazards(np.array([1] * 50 + [9, 30]), np.ones(52, dtype=bool), size=40)
    assert (few[2:] == few[2]).all()
    assert 0 < few[2] < LARGEST
