"""How much of the variance lies between groups, such as hospitals, and how far is one from the rest, given its size?"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, f, norm

from hi_ml.statistics.estimates import LARGEST_N, LEVEL, Effect, Floats, Margin, rounded_up
from hi_ml.statistics.moments import Moments

GAP_PER_SD = 2 / math.sqrt(math.pi)
"""Mean distance of two draws of a normal distribution, in its standard deviations: 1.128."""
LARGEST_ICC = 0.99
"""A margin beyond it cannot be told from a margin of 1."""


@dataclass(frozen=True)
class BetweenGroups:
    """What a one-way layout says about its groups."""

    # intraclass correlation: share of the variance that lies between groups. `p_zero` is that of the F table,
    # indicative only; `statistic` is F
    icc: Effect
    within: float  # variance of values within groups (mean square), in squared units
    pairs: int  # pairs of observations that share a group


def between_groups(groups: Moments, *, margin: Margin, rows: Moments | None = None) -> BetweenGroups:
    """Estimate the intraclass correlation with Wald's exact interval.

    W(gamma) = sum w_i (m_i - m_w)^2 / (k - 1) / MSW with w_i = n_i / (1 + n_i gamma) follows F(k - 1, N - k) at the
    true gamma and falls in gamma. The limits solve W = F quantile, the estimate solves W = 1 (Paule & Mandel 1982),
    and P(F <= W(margin)) tests the margin. Exact under normality at any group sizes, where intervals from pairs are
    not.

    Parameters
    ----------
    groups : Moments
        At least two groups, more values than groups, and spread within.
    margin : Margin
        Smallest intraclass correlation that matters, below 1.
    rows : Moments, optional
        Where `groups` has one mean of each patient: his single values. The ratio of the variances within groups turns
        the correlation of patients' means, which is estimated, into that of single values, which is returned.

    References
    ----------
    Wald (1940), Annals of Mathematical Statistics 11, 96. Searle, Casella & McCulloch (1992), Variance Components,
    ch. 3. Paule & Mandel (1982), Journal of Research of the NBS 87, 377.
    """
    k, n = groups.n.size, float(groups.n.sum())
    within = float(groups.within.sum()) / (n - k)
    pivot = _pivot(groups, within)
    law = f(k - 1, n - k)
    single = within if rows is None else float(rows.within.sum() / (rows.n.sum() - rows.n.size))
    ratio, each = within / single, 1.0 if rows is None else float(rows.n.sum()) / n  # values of a patient
    low, low90, high90, high = (
        _icc(ratio * _where_equal(pivot, float(law.ppf(q)))) for q in (1 - LEVEL / 2, 1 - LEVEL, LEVEL, LEVEL / 2)
    )
    gamma = _gamma(margin.size) / ratio
    p_above = float(law.cdf(pivot(gamma)))
    icc = Effect(
        estimate=_icc(ratio * _where_equal(pivot, 1.0)),
        low=low,
        high=high,
        low90=low90,
        high90=high90,
        p_zero=float(law.sf(pivot(0.0))),
        p_above=p_above,
        p_outside=p_above,
        n=round(n * each),
        n_needed=rounded_up(_n_needed(groups.n, gamma, margin.power) * each),
        statistic=pivot(0.0),
        df=k - 1,
        units=None if rows is None else round(n),
        design_effect=ratio * each,
    )
    pairs = round(float((groups.n * (groups.n - 1)).sum() / 2))
    return BetweenGroups(icc, single, pairs)


def smallest_icc(share_of_mean: float, mean: float, variance: float) -> float:
    """Say at which intraclass correlation two random groups differ by this share of the mean, on average.

    Two draws of N(0, tau^2) lie 2 tau / sqrt(pi) apart on average (1.128 tau).

    Parameters
    ----------
    share_of_mean : float
        0.10 for 10 % of the mean bill.
    mean, variance : float
        Of all values; the variance is positive.

    Returns
    -------
    float
        At most `LARGEST_ICC`.

    Examples
    --------
    >>> round(smallest_icc(0.10, 25_541.0, 14_211.0**2), 4)
    0.0254
    """
    return min(float((share_of_mean * mean / GAP_PER_SD) ** 2 / variance), LARGEST_ICC)


def fits_logarithm(values: Floats) -> bool:
    """Tell whether a normal law of the logarithm gives values, all above 0, a higher likelihood than one of their own.

    Box & Cox (1964), Journal of the Royal Statistical Society B 26, 211: the power 0 against 1.

    Examples
    --------
    >>> fits_logarithm(np.array([1.0, 2.0, 4.0, 8.0, 16.0])), fits_logarithm(np.array([10.0, 11.0, 12.0, 13.0]))
    (True, False)
    """
    if not len(values) or values.min() <= 0:
        return False
    logarithm = np.log(values)
    return bool(np.log(values.std()) > np.log(logarithm.std()) + logarithm.mean()) if logarithm.std() else False


def pair_icc(groups: Moments, mean: float, variance: float) -> float:
    """Correlate all pairs that share a group: mean product of their deviations over the variance.

    A companion of Wald's estimate that weighs every pair alike; it may be negative.

    Parameters
    ----------
    groups : Moments
        At least one group of two.
    mean, variance : float
        Of all values.
    """
    products = (groups.n * (groups.mean - mean)) ** 2 - groups.within - groups.n * (groups.mean - mean) ** 2
    return float(products.sum() / (groups.n * (groups.n - 1)).sum() / variance)


def _pivot(groups: Moments, within: float, centre: float | None = None) -> Callable[[float], float]:
    """Make W, around the mean that fits the gamma best or around a given one."""
    n, mean = groups.n, groups.mean

    def value(gamma: float) -> float:
        weight = n / (1 + n * gamma)
        middle = weight @ mean / weight.sum() if centre is None else centre
        return float(weight @ (mean - middle) ** 2 / (n.size - 1) / within)

    return value


def _where_equal(pivot: Callable[[float], float], wanted: float) -> float:
    """Find the gamma at which the pivot is `wanted`; 0 where it is lower even there."""
    if pivot(0.0) <= wanted:
        return 0.0
    upper = 1.0
    while pivot(upper) > wanted:
        upper *= 2.0
    return float(brentq(lambda gamma: pivot(gamma) - wanted, 0.0, upper, xtol=1e-14, rtol=1e-12))


def _n_needed(sizes: Floats, gamma: float, power: float) -> int:
    """Say how many observations, in groups of these sizes, would rule a gamma out where no group differs.

    There W(gamma) is a sum of k chi-squares, each over 1 + n_i gamma; a scaled chi-square of equal mean and variance
    stands for it (Satterthwaite), and the number of groups is multiplied until its quantile falls below that of F.
    """
    shrink = 1 / (1 + sizes * gamma)
    scale, df = float((shrink**2).sum() / shrink.sum()), float(shrink.sum() ** 2 / (shrink**2).sum())
    k, n = sizes.size, float(sizes.sum())

    def lacking(times: float) -> float:
        critical = float(f.ppf(LEVEL, max(times * k - 1, 1.0), times * (n - k)))
        return scale * float(chi2.ppf(power, times * df)) / (times * k) - critical

    lower, upper = 2 / k, 2.0
    while lacking(upper) > 0 and upper * n < LARGEST_N:
        lower, upper = upper, 2 * upper
    if lacking(lower) <= 0 or lacking(upper) > 0:
        return rounded_up((lower if lacking(lower) <= 0 else LARGEST_N) * n)
    return rounded_up(n * float(brentq(lacking, lower, upper, rtol=1e-6)))


def _icc(gamma: float) -> float:
    return gamma / (1 + gamma)


def _gamma(icc: float) -> float:
    return min(icc, LARGEST_ICC) / (1 - min(icc, LARGEST_ICC))


def gamma_around(groups: Moments, *, centre: float, within: float) -> float:
    """Estimate how far group means lie around a centre: variance between over variance within, W(gamma) = 1.

    Where large groups differ from small ones the mean of all values is not the mean of a group, and the spread around
    it is wider than that around the mean of the groups.

    Parameters
    ----------
    centre, within : float
        In the unit of the values, and the variance within groups.
    """
    return _where_equal(_pivot(groups, within, centre), 1.0)


def shrink(groups: Moments, *, centre: float, within: float, gamma: float) -> tuple[Floats, Floats, Floats]:
    """Shrink each group's deviation towards 0 by how little it tells: B_i (m_i - m), B_i = n_i gamma / (1 + n_i gamma).

    Parameters
    ----------
    centre : float
        m: effects are distances from it, and are added to nothing else.
    within, gamma : float
        Variance within groups, and the variance around the centre over it; see `gamma_around`.

    Returns
    -------
    effect, low, high : ndarray of float64, shape (k,)
        In the unit of the values; 95 % limits from the variance tau^2 (1 - B_i), gamma taken as known.
    """
    weight = groups.n * gamma / (1 + groups.n * gamma)
    effect = weight * (groups.mean - centre) + 0.0  # so that no effect reads as -0
    half = norm.isf(LEVEL / 2) * np.sqrt(gamma * within * (1 - weight))
    return effect, effect - half, effect + half


def funnel(sizes: Floats, *, centre: float, within: float, level: float) -> tuple[Floats, Floats]:
    """Give the limits between which a group mean falls if no group differs.

    Parameters
    ----------
    sizes : ndarray of float64, shape (k,)
        Observations per group.
    centre, within : float
        Mean of all observations, and their variance within groups.
    level : float
        Probability that a group falls inside: 0.95 and 0.998 by custom.

    References
    ----------
    Spiegelhalter (2005), Statistics in Medicine 24, 1185. https://doi.org/10.1002/sim.1970
    """
    half = norm.isf((1 - level) / 2) * np.sqrt(within / sizes)
    return centre - half, centre + half
