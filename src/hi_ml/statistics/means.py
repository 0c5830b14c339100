"""How do means differ between groups? From counts, sums and sums of squares alone, so that parts can be added."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t
from statsmodels.stats.oneway import anova_generic

from hi_ml.statistics.effect import LEVEL, Effect, Floats, Margin, difference_effect
from hi_ml.statistics.interval import Interval
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.noncentral import f_effect


def contrast(groups: Moments, weights: ArrayLike, *, margin: Margin) -> Effect:
    """Estimate a weighted sum of group means without assuming equal variances (Welch).

    Parameters
    ----------
    groups : Moments
        At least two values in each, and some spread in one.
    weights : array of float, shape (k,)
        1, -1 compares two groups; 1, -1, -1, 1 compares two differences.
    margin : Margin
        In the unit of the values.

    Returns
    -------
    Effect
        With Satterthwaite's degrees of freedom.

    Examples
    --------
    >>> from hi_ml.statistics.moments import moments
    >>> groups = moments([3, 5, 4, 1, 2, 3], [0, 0, 0, 1, 1, 1], 2)
    >>> effect = contrast(groups, [1, -1], margin=Margin(1.0))
    >>> round(effect.estimate, 2), round(effect.low, 2), round(effect.high, 2)
    (2.0, -0.27, 4.27)
    """
    weight = np.asarray(weights, dtype=np.float64)
    parts = weight**2 * groups.variance / groups.n
    variance = float(parts.sum())
    df = variance**2 / float((parts**2 / (groups.n - 1)).sum())
    return difference_effect(
        float(weight @ groups.mean), variance**0.5, round(float(groups.n.sum())), margin=margin, df=df
    )


@dataclass(frozen=True)
class Differences:
    """Welch differences of many pairs of groups.

    Attributes
    ----------
    estimate, error, df : ndarray of float64, shape (k,)
        Difference of means, its standard error and degrees of freedom.
    """

    estimate: Floats
    error: Floats
    df: Floats

    @property
    def p_value(self) -> Floats:
        """Two-sided, of no difference."""
        return np.asarray(2 * t.sf(np.abs(self.estimate) / self.error, self.df), dtype=np.float64)

    def limits(self, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Limits of the interval of this error rate."""
        half = t.isf(level / 2, self.df) * self.error
        return self.estimate - half, self.estimate + half


def comparable(first: Moments, second: Moments, smallest: float) -> NDArray[np.bool_]:
    """Mark the pairs of groups of at least so many values, and two, in which something varies.

    Parameters
    ----------
    first, second : Moments
        Of k groups each.
    smallest : float
    """
    return (np.minimum(first.n, second.n) >= max(smallest, 2)) & (first.within + second.within > 0)


def differences(first: Moments, second: Moments) -> Differences:
    """Compare groups pair by pair without assuming equal variances: first less second.

    Parameters
    ----------
    first, second : Moments
        Of k groups each, of two values or more; no pair without any spread.
    """
    parts = np.array([first.variance / first.n, second.variance / second.n])
    variance = parts.sum(axis=0)
    df = variance**2 / (parts**2 / np.array([first.n - 1, second.n - 1])).sum(axis=0)
    return Differences(first.mean - second.mean, np.sqrt(variance), df)


def one_way(groups: Moments, *, margin: Margin) -> Effect:
    """Estimate Cohen's f between groups of unequal variance (Welch's one-way test, noncentral F limits).

    Parameters
    ----------
    groups : Moments
        At least two groups, each with spread.
    margin : Margin
        As f; squared, it is the `margin_type="f2"` of `statsmodels.stats.oneway.equivalence_oneway`, whose p-value is
        `p_above`.
    """
    test = anova_generic(groups.mean, groups.variance, groups.n, use_var="unequal")
    df = float(test.df_num), float(test.df_denom)
    return f_effect(float(test.statistic), df, round(float(groups.n.sum())), margin=margin)


def largest_gap(groups: Moments) -> tuple[int, int, Interval]:
    """Find the two groups whose means differ most, with a Bonferroni interval over all pairs.

    Parameters
    ----------
    groups : Moments
        At least two groups, with spread in each.

    Returns
    -------
    higher, lower : int
        Positions of the two groups.
    gap : Interval
        Mean of the higher less that of the lower; joint 95 % limits (Welch).
    """
    pairs = list(combinations(range(groups.n.size), 2))
    first, second = max(pairs, key=lambda pair: abs(groups.mean[pair[0]] - groups.mean[pair[1]]))
    higher, lower = (first, second) if groups.mean[first] >= groups.mean[second] else (second, first)
    gap = contrast(groups.pooled([[higher], [lower]]), [1, -1], margin=Margin(np.inf))
    half = (gap.high - gap.estimate) * float(t.isf(LEVEL / 2 / len(pairs), gap.df) / t.isf(LEVEL / 2, gap.df))
    return higher, lower, Interval(gap.estimate, gap.estimate - half, gap.estimate + half)


def mean_limits(groups: Moments) -> tuple[Floats, Floats]:
    """Give the 95 % t limits of each group's mean; NaN where a group has fewer than two values.

    Parameters
    ----------
    groups : Moments

    Returns
    -------
    low, high : ndarray of float64, shape (k,)
    """
    several = groups.n > 1
    df = np.where(several, groups.n - 1, 1.0)
    half = np.where(several, t.isf(LEVEL / 2, df) * np.sqrt(groups.within / df / groups.n), np.nan)
    return groups.mean - half, groups.mean + half


def standardised_difference(first: Moments, second: Moments) -> Floats:
    """Difference of means over the root of the mean of the two variances, group by group.

    The SMD of balance tables (Austin 2009); a share is the mean of zeros and ones, up to the divisor n - 1.

    Parameters
    ----------
    first, second : Moments
        Of the same k groups.

    Returns
    -------
    ndarray of float64, shape (k,)
        0 where neither side has any spread.
    """
    spread = np.sqrt((first.variance + second.variance) / 2)
    gap = first.mean - second.mean
    return np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0)
