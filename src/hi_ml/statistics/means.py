"""How do means differ between groups, and is a difference the same everywhere?

What takes `Moments` needs counts, sums and sums of squares alone, so that parts can be added. The rest takes rows:
ranks instead of means, and rows of one patient, which tell less than independent ones.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.nonparametric import rank_compare_2indep
from statsmodels.stats.oneway import anova_generic

from hi_ml.statistics.estimates import LEVEL, Effect, Floats, Integers, Interval, Margin, difference_effect
from hi_ml.statistics.groups import group_means
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.noncentral import f_effect

_ROUNDING = 1e-12  # standard error, as a share of the largest value, that is what rounding leaves of zero


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
    """Welch differences of many pairs of groups."""

    estimate: Floats  # float64, shape (k,); difference of means, its standard error and degrees of freedom
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
        Of the same k groups.
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


def design_effect(outcomes: ArrayLike, arms: ArrayLike, clusters: ArrayLike) -> float:
    """Variance of the difference of two shares with clustered rows, over its variance with independent ones.

    Linearised: each row contributes (outcome - share of its arm) / n of its arm, with opposite signs in the two arms;
    rows are added within clusters before squaring.

    Parameters
    ----------
    outcomes : array of 0 and 1, shape (n,)
    arms : array of bool, shape (n,)
        Both must occur.
    clusters : array of int, shape (n,)
        Codes of the patients.

    Returns
    -------
    float
        At least 1: clusters never make rows count for more. 1 where an outcome never varies.
    """
    outcome, first = np.asarray(outcomes, dtype=np.float64), np.asarray(arms, dtype=bool)
    influence = np.empty_like(outcome)
    for arm, sign in ((first, 1.0), (~first, -1.0)):
        influence[arm] = sign * (outcome[arm] - outcome[arm].mean()) / arm.sum()
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    independent = float((influence**2).sum())
    if independent == 0.0:
        return 1.0
    return max(1.0, float((np.bincount(cluster, weights=influence) ** 2).sum()) / independent)


@dataclass(frozen=True)
class Heterogeneity:
    """Cochran's test that several estimates share one value."""

    q: float  # sum of squared standardised deviations from the weighted mean
    df: int  # estimates less one
    p_value: float


def cochran_q(estimates: ArrayLike, errors: ArrayLike) -> Heterogeneity:
    """Test that estimates with their own standard errors agree; unequal variances do no harm.

    Parameters
    ----------
    estimates, errors : array of float, shape (k,)
        k of at least 2; errors positive, in the unit of the estimates.

    References
    ----------
    Cochran (1954), Biometrics 10, 101.

    Examples
    --------
    >>> test = cochran_q([1.0, 3.0], [1.0, 1.0])
    >>> test.q, test.df, round(test.p_value, 4)
    (2.0, 1, 0.1573)
    """
    combined = combine_effects(np.asarray(estimates, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2)
    test = combined.test_homogeneity()
    return Heterogeneity(float(test.statistic), int(test.df), float(test.pvalue))


def probability_of_exceeding(first: ArrayLike, second: ArrayLike) -> Interval:
    """Estimate P(X > Y) + P(X = Y) / 2 with the interval of Brunner & Munzel.

    Parameters
    ----------
    first, second : array of float, shapes (n,) and (m,)
        At least two values each.

    Returns
    -------
    Interval
        Probabilities, 0 to 1; the limits equal the estimate where the samples do not overlap.

    References
    ----------
    Brunner & Munzel (2000), Biometrical Journal 42, 17.

    Examples
    --------
    >>> probability_of_exceeding([3, 4, 5, 6], [1, 2, 3, 4]).value
    0.875
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # samples that do not overlap have no variance
        test = rank_compare_2indep(x, y, use_t=True)
        low, high = test.conf_int()
    estimate = float(test.prob1)
    if not np.isfinite(low):
        return Interval(estimate, estimate, estimate)
    return Interval(estimate, max(0.0, float(low)), min(1.0, float(high)))


def against_the_rest(values: Floats, inside: NDArray[np.bool_], group: Integers, *, margin: float) -> Effect | None:
    """Compare the mean over some rows with the mean over all others.

    Parameters
    ----------
    values : array of float64, shape (n,)
    inside : array of bool, shape (n,)
        The rows to compare with the rest.
    group : array of int64, shape (n,)
        The rows that a group has on one side are averaged; a group may stand on both.
    margin : float
        The smallest difference that matters, in the unit of the values.

    Returns
    -------
    Effect or None
        Inside minus outside; None where a side has fewer than two groups, or nothing varies.

    Notes
    -----
    Each group contributes (its mean - the mean of its side) / groups of the side, with opposite signs on the two sides;
    the squared contributions add up to the variance. This is the group bootstrap in closed form, since means are
    linear, and Welch's test where no group stands on both sides. Degrees of freedom by Welch and Satterthwaite.
    """
    _, code = np.unique(group, return_inverse=True)
    contributions, estimate = np.zeros(code.max() + 1), 0.0
    variances, freedom = [], []
    for rows, sign in ((inside, 1.0), (~inside, -1.0)):
        present = np.unique(code[rows])
        if len(present) < 2:  # noqa: PLR2004 -- a variance needs two
            return None
        means = group_means(values[rows], code[rows])
        spread = (means - means.mean()) / np.sqrt(len(present) * (len(present) - 1))
        contributions[present] += sign * spread
        estimate += sign * means.mean()
        variances.append(float((spread**2).sum()))
        freedom.append(len(present) - 1)
    error = float(np.sqrt((contributions**2).sum()))
    if error <= _ROUNDING * float(np.abs(values).max()):
        return None
    df = sum(variances) ** 2 / sum(part**2 / free for part, free in zip(variances, freedom, strict=True))
    return difference_effect(float(estimate), error, len(values), margin=Margin(margin), df=df)
