import numpy as np
import pytest
from scipy import stats

from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.noncentral import chi_square_effect, f_effect, noncentrality_needed

MARGIN = Margin(0.05)


@pytest.mark.parametrize("statistic", [60.0, 200.0, 5e4])
def test_chi_square_limits_solve_the_noncentral_distribution(statistic):
    effect = chi_square_effect(statistic, 8, 1000, margin=MARGIN)
    assert stats.ncx2.sf(statistic, 8, 1000 * effect.low**2) == pytest.approx(0.025, rel=1e-6)
    assert stats.ncx2.cdf(statistic, 8, 1000 * effect.high**2) == pytest.approx(0.025, rel=1e-6)
    assert stats.ncx2.cdf(statistic, 8, 1000 * effect.high90**2) == pytest.approx(0.05, rel=1e-6)
    assert effect.estimate == pytest.approx(np.sqrt((statistic - 8) / 1000))
    assert effect.low < effect.low90 < effect.estimate < effect.high90 < effect.high


def test_a_statistic_below_its_expectation_gives_zero_and_limits_that_may_be_zero():
    small = chi_square_effect(0.4, 8, 1000, margin=MARGIN)
    assert (small.estimate, small.low, small.high) == (0.0, 0.0, 0.0)
    usual = chi_square_effect(7.0, 8, 1000, margin=MARGIN)
    assert usual.estimate == usual.low == 0.0 < usual.high


def test_absence_is_the_noncentral_tail_at_the_margin():
    effect = chi_square_effect(5.0, 8, 20_000, margin=MARGIN)
    assert effect.p_above == effect.p_outside == pytest.approx(stats.ncx2.cdf(5.0, 8, 50.0))
    assert effect.p_zero == pytest.approx(stats.chi2.sf(5.0, 8))


def noncentral_f_below(statistic, df1, df2, noncentrality):
    """Add up the Poisson mixture that defines the distribution (statsmodels' inverse is right to 4 digits only)."""
    counts = np.arange(2000)
    weights = stats.poisson.pmf(counts, noncentrality / 2)
    share = df1 * statistic / (df1 * statistic + df2)
    return weights @ stats.beta.cdf(share, df1 / 2 + counts, df2 / 2)


@pytest.mark.parametrize("statistic", [6.0, 30.0])
def test_f_limits_solve_the_noncentral_distribution(statistic):
    effect = f_effect(statistic, (4.0, 900.0), 905, margin=MARGIN)
    assert noncentral_f_below(statistic, 4, 900, 905 * effect.low**2) == pytest.approx(0.975, abs=1e-8)
    assert noncentral_f_below(statistic, 4, 900, 905 * effect.high**2) == pytest.approx(0.025, abs=1e-8)
    assert effect.statistic == statistic


def test_a_tiny_f_has_an_interval_all_the_same():
    effect = f_effect(1e-9, (4.0, 900.0), 905, margin=MARGIN)
    assert (effect.estimate, effect.low, effect.high) == (0.0, 0.0, 0.0)
    assert 0 <= effect.p_above < 1


def test_n_needed_rules_the_margin_out_with_its_power():
    noncentrality = noncentrality_needed(8, power=0.9)
    critical = stats.ncx2.ppf(0.05, 8, noncentrality)
    assert stats.chi2.cdf(critical, 8) == pytest.approx(0.9, abs=1e-6)
    assert chi_square_effect(5.0, 8, 20_000, margin=MARGIN).n_needed == int(np.ceil(noncentrality / 0.05**2))
