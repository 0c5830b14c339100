"""How do means differ between groups, and is a difference the same everywhere?

What takes `Moments` needs counts, sums and sums of squares alone, and patient by patient counts and sums where a
patient has several values, so that parts can be added. The rest takes rows: ranks instead of means.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, f, t
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.nonparametric import rank_compare_2indep
from statsmodels.stats.oneway import anova_generic

from hi_ml.statistics.estimates import LEVEL, Effect, Floats, Integers, Interval, Margin, difference_effect
from hi_ml.statistics.groups import Units
from hi_ml.statistics.moments import Moments, moments
from hi_ml.statistics.noncentral import f_effect

_NORMAL_KURTOSIS = 3
_ROUNDING = 1e-12  # standard error, as a share of the largest value, that is what rounding leaves of zero


def contrast(groups: Moments, weights: ArrayLike, *, margin: Margin) -> Effect:
    """Estimate a weighted sum of group means without assuming equal variances (Welch).

    Where patients have several values, the variance is that of what each patient adds to the sum, and the degrees of
    freedom are of the patients; see `Moments.influence`.

    Parameters
    ----------
    groups : Moments
        At least two units in each, and some spread in one.
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
    independent = weight**2 * groups.variance / groups.n
    n, estimate = round(float(groups.n.sum())), float(weight @ groups.mean)
    influence = groups.influence
    if influence is None:
        variance = float(independent.sum())
        df = variance**2 / float((independent**2 / groups.free).sum())
        return difference_effect(estimate, variance**0.5, n, margin=margin, df=df)
    units, parts = groups.units or 0, weight**2 * groups.squared_error
    df = min(float(parts.sum() ** 2 / (parts**2 / groups.free).sum()), units - 1.0)
    ratio = max(float(((influence @ weight) ** 2).sum() / independent.sum()), _ROUNDING)
    effect = difference_effect(estimate, float(ratio * independent.sum()) ** 0.5, n, margin=margin, df=df)
    return replace(effect, units=units, design_effect=ratio)


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
    """Mark the pairs of groups of at least so many values, and two, in which something varies, and of enough patients.

    Parameters
    ----------
    first, second : Moments
        Of the same k groups.
    """
    large = (np.minimum(first.n, second.n) >= max(smallest, 2)) & first.has_units & second.has_units
    return large & (first.within + second.within > 0)


def differences(first: Moments, second: Moments) -> Differences:
    """Compare groups pair by pair without assuming equal variances: first less second.

    Parameters
    ----------
    first, second : Moments
        Of k groups each, of two values or more; no pair without any spread.
    """
    parts = np.array([first.squared_error, second.squared_error])
    variance = parts.sum(axis=0)
    df = variance**2 / (parts**2 / np.array([first.free, second.free])).sum(axis=0)
    one, other = first.influence, second.influence
    if one is not None and other is not None:  # patients who stand on both sides
        variance = np.maximum(variance - 2 * one.multiply(other).sum(axis=0), _ROUNDING * variance)
    return Differences(first.mean - second.mean, np.sqrt(variance), df)


def one_way(groups: Moments, *, margin: Margin) -> Effect:
    """Estimate Cohen's f between groups of unequal variance (Welch's one-way test, noncentral F limits).

    Parameters
    ----------
    groups : Moments
        At least two groups, each with spread. Where patients have several values, `p_zero` is that of a robust
        statistic and the rest is divided by the design effect, as in `hi_ml.statistics.noncentral.wald_effect`.
    margin : Margin
        As f; squared, it is the `margin_type="f2"` of `statsmodels.stats.oneway.equivalence_oneway`, whose p-value is
        `p_above`.
    """
    test = anova_generic(groups.mean, groups.variance, groups.n, use_var="unequal")
    n, statistic = round(float(groups.n.sum())), float(test.statistic)
    if groups.units is None:
        return f_effect(statistic, (float(test.df_num), float(test.df_denom)), n, margin=margin)
    differ = np.eye(groups.n.size)[:-1] - np.eye(groups.n.size)[-1]  # each group less the last
    gap, independent = differ @ groups.mean, differ @ np.diag(groups.variance / groups.n) @ differ.T
    clustered = differ @ groups.covariance @ differ.T
    d = len(gap)
    ratio = float(np.trace(np.linalg.solve(independent, clustered))) / d
    weight = 1 / groups.squared_error
    spare = float(((1 - weight / weight.sum()) ** 2 / groups.free).sum())  # as in Welch's test, of patients
    df = float(d), min(d * (d + 2) / (3 * spare), float(groups.units - d))
    robust = float(gap @ np.linalg.pinv(clustered, hermitian=True) @ gap) / d
    robust /= 1 + 2 * (d - 1) / (d * (d + 2)) * spare
    effect = f_effect(statistic, df, n, margin=margin, design_effect=ratio, units=groups.units)
    return replace(effect, p_zero=float(f.sf(robust, *df)), statistic=robust)


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
    """Give the 95 % t limits of each group's mean; NaN where a group has fewer than two units.

    Returns
    -------
    low, high : ndarray of float64, shape (k,)
    """
    several = groups.free > 0
    df = np.where(several, groups.free, 1.0)
    error = groups.within / np.maximum(groups.n - 1, 1) / groups.n if groups.units is None else groups.squared_error
    half = np.where(several, t.isf(LEVEL / 2, df) * np.sqrt(error), np.nan)
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


def excess_kurtosis(values: ArrayLike, groups: ArrayLike, units: ArrayLike | None = None) -> float:
    """Say how heavy the tails are of what each unit adds to the mean of its group: 0 for a normal distribution.

    Over the degrees of freedom it says how far a t interval can be trusted: its error grows with both skewness squared
    and kurtosis over n, and the kurtosis bounds the square of the skewness.

    Parameters
    ----------
    values : array of float, shape (n,)
    groups : array of int, shape (n,)
        Codes from 0.
    units : array of int, shape (n,), optional
        Codes of the patients, where some have several values.
    """
    code = np.asarray(groups)
    alone = np.arange(code.size) if units is None else np.asarray(units)
    influence = moments(values, code, int(code.max()) + 1, alone).influence
    if influence is None:
        return 0.0
    squares = np.asarray(influence.power(2).sum(axis=0)) / np.maximum(np.diff(influence.indptr), 1)
    spread = np.repeat(np.sqrt(squares), np.diff(influence.indptr))
    standard = influence.data[spread > 0] / spread[spread > 0]
    return float((standard**4).mean()) - _NORMAL_KURTOSIS if standard.size else 0.0


@dataclass(frozen=True)
class Heterogeneity:
    """Cochran's test that several estimates share one value."""

    q: float  # sum of squared standardised deviations from the weighted mean
    df: int  # estimates less one
    p_value: float


def cochran_q(estimates: ArrayLike, errors: ArrayLike, covariance: Floats | None = None) -> Heterogeneity:
    """Test that estimates with their own standard errors agree; unequal variances do no harm.

    Parameters
    ----------
    estimates, errors : array of float, shape (k,)
        k of at least 2; errors positive, in the unit of the estimates.
    covariance : array of float64, shape (k, k), optional
        Of the estimates, where patients who are behind several correlate them.

    References
    ----------
    Cochran (1954), Biometrics 10, 101.

    Examples
    --------
    >>> test = cochran_q([1.0, 3.0], [1.0, 1.0])
    >>> test.q, test.df, round(test.p_value, 4)
    (2.0, 1, 0.1573)
    """
    if covariance is not None:
        estimate, inverse = np.asarray(estimates, dtype=np.float64), np.linalg.pinv(covariance, hermitian=True)
        weight = inverse.sum(axis=0)
        away = estimate - weight @ estimate / weight.sum()
        statistic, df = float(away @ inverse @ away), estimate.size - 1
        return Heterogeneity(statistic, df, float(chi2.sf(statistic, df)))
    combined = combine_effects(np.asarray(estimates, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2)
    test = combined.test_homogeneity()
    return Heterogeneity(float(test.statistic), int(test.df), float(test.pvalue))


def probability_of_exceeding(
    first: ArrayLike, second: ArrayLike, units: tuple[Integers, Integers] | None = None
) -> Interval:
    """Estimate P(X > Y) + P(X = Y) / 2 with the interval of Brunner & Munzel.

    Parameters
    ----------
    first, second : array of float, shapes (n,) and (m,)
        At least two values each.
    units : pair of array of int, optional
        Codes of the patients, where some have several values: then the interval is that of the mean placements
        (Obuchowski 1997), added up by patient.

    Returns
    -------
    Interval
        Probabilities, 0 to 1; the limits equal the estimate where the samples do not overlap.

    References
    ----------
    Brunner & Munzel (2000), Biometrical Journal 42, 17. Obuchowski (1997), Biometrics 53, 567.

    Examples
    --------
    >>> probability_of_exceeding([3, 4, 5, 6], [1, 2, 3, 4]).value
    0.875
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if units is not None:
        placements = np.append(_below(y, x), 1 - _below(x, y))
        sides = moments(placements, np.repeat([0, 1], [x.size, y.size]), 2, np.append(*units))
        if not sides.within.any():
            return Interval(*[float(sides.mean[0])] * 3)
        effect = contrast(sides, [1, 1], margin=Margin(np.inf))
        value, half = effect.estimate / 2, effect.high - effect.estimate
        return Interval(value, max(0.0, value - half), min(1.0, value + half))
    with np.errstate(divide="ignore", invalid="ignore"):  # samples that do not overlap have no variance
        test = rank_compare_2indep(x, y, use_t=True)
        low, high = test.conf_int()
    estimate = float(test.prob1)
    if not np.isfinite(low):
        return Interval(estimate, estimate, estimate)
    return Interval(estimate, max(0.0, float(low)), min(1.0, float(high)))


def _below(values: Floats, at: Floats) -> Floats:
    """Give the share of values below each point, ties counted half."""
    ordered = np.sort(values)
    sides = (np.searchsorted(ordered, at, side=side) for side in ("left", "right"))
    return np.asarray(sum(sides) / 2 / values.size, dtype=np.float64)


@dataclass(frozen=True)
class Side:
    """Some rows of a table, and whose they are."""

    rows: NDArray[np.bool_]  # shape (n,)
    units: Units  # of these rows, copies counted anew among them
    present: Integers  # their places among the units of all rows

    @classmethod
    def of(cls, rows: NDArray[np.bool_], units: Units) -> "Side":
        """Take rows out of those of the units."""
        return cls(rows, units.only(rows), np.unique(units.unit[rows]))


def against_the_rest(values: Floats, inside: Side, rest: Side, *, margin: float) -> Effect | None:
    """Compare the mean over some rows with the mean over all others, per admission.

    Parameters
    ----------
    values : array of float64, shape (n,)
    inside, rest : Side
        The rows to compare, and all others; a unit may stand on both sides.
    margin : float
        The smallest difference that matters, in the unit of the values.

    Returns
    -------
    Effect or None
        Inside minus outside; None where a side has fewer than two units, or nothing varies.

    Notes
    -----
    Each unit contributes what it adds to the mean of its side, with opposite signs on the two sides; the squared
    contributions add up to the variance. This is the bootstrap of units in closed form, and Welch's test where every
    unit is one admission. Degrees of freedom by Welch and Satterthwaite.
    """
    if min(len(inside.present), len(rest.present)) < 2:  # noqa: PLR2004 -- a variance needs two
        return None
    contributions, estimate = np.zeros(1 + max(inside.present[-1], rest.present[-1])), 0.0
    variances, freedom = [], []
    for side, sign in ((inside, 1.0), (rest, -1.0)):
        here, present = values[side.rows], side.present
        spread = side.units.deviations(here) / np.sqrt(len(present) * (len(present) - 1))
        contributions[present] += sign * spread
        estimate += sign * side.units.mean(here)
        variances.append(float((spread**2).sum()))
        freedom.append(len(present) - 1)
    error = float(np.sqrt((contributions**2).sum()))
    if error <= _ROUNDING * float(np.abs(values).max()):
        return None
    df = sum(variances) ** 2 / sum(part**2 / free for part, free in zip(variances, freedom, strict=True))
    return difference_effect(float(estimate), error, len(values), margin=Margin(margin), df=df)
