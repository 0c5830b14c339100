"""How do two shares differ, and does a share rise from level to level?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from hi_ml.statistics.estimates import LEVEL, Effect, Floats, Interval, Margin, difference_effect, n_for_difference
from hi_ml.statistics.means import contrast
from hi_ml.statistics.moments import Moments


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    count: float  # of admissions; fractions are allowed
    total: float  # of admissions; fractions are allowed

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.total

    @property
    def variance(self) -> float:
        """Binomial variance of the share, at its own estimate."""
        return self.value * (1 - self.value) / self.total


@dataclass(frozen=True)
class Trend:
    """A share that rises or falls over ordered levels."""

    slope: Interval  # a share per unit of score
    z: float  # of "no trend", two-sided
    p_value: float  # of "no trend", two-sided


def share_difference(first: Share, second: Share, *, margin: Margin, clustered: Effect | None = None) -> Effect:
    """Compare two shares: first minus second.

    Interval: Newcombe's hybrid of two Wilson intervals. No difference: pooled z, two-sided. Margin: unpooled z, one
    side and both.

    Parameters
    ----------
    first, second : Share
        Neither total may be 0.
    margin : Margin
        As a share.
    clustered : Effect, optional
        Where patients have several observations: the same difference from `hi_ml.statistics.means.contrast` of zeros
        and ones. Both samples shrink by its design effect and, so that a normal quantile serves, by the square of that
        of t with its degrees of freedom over the normal one.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17, 873. Korn & Graubard (1998), Survey Methodology 24, 193.

    Examples
    --------
    >>> effect = share_difference(Share(60, 300), Share(40, 300), margin=Margin(0.03))
    >>> round(effect.estimate, 4), round(effect.low, 4), round(effect.high, 4)
    (0.0667, 0.0069, 0.1262)
    """
    shrink, n = 1.0, first.total + second.total
    if clustered is not None:
        shrink = clustered.design_effect * float(t.isf(LEVEL / 2, clustered.df) / norm.isf(LEVEL / 2)) ** 2
    first, second = (Share(part.count / shrink, part.total / shrink) for part in (first, second))
    samples = first.count, first.total, second.count, second.total
    low, high = confint_proportions_2indep(*samples, method="newcomb", compare="diff", alpha=LEVEL)
    low90, high90 = confint_proportions_2indep(*samples, method="newcomb", compare="diff", alpha=2 * LEVEL)
    statistic, p_zero = _pooled_test(first, second)
    p_above, p_outside = _margin_tests(first, second, margin)
    return Effect(
        estimate=first.value - second.value,
        low=float(low),
        high=float(high),
        low90=float(low90),
        high90=float(high90),
        p_zero=p_zero,
        p_above=p_above,
        p_outside=p_outside,
        n=round(n),
        n_needed=n_for_difference(n, float(np.sqrt(first.variance + second.variance)), margin),
        statistic=statistic,
        df=np.inf,
        units=clustered.units if clustered else None,
        design_effect=clustered.design_effect if clustered else 1.0,
    )


def difference_of_shares(groups: Moments, *, margin: Margin) -> Effect:
    """Compare the shares of ones in two groups of zeros and ones: `share_difference`, patients taken together."""
    first, second = (Share(float(total), float(n)) for total, n in zip(groups.sum, groups.n, strict=True))
    vary = groups.units is not None and groups.within.any()
    clustered = contrast(groups, [1, -1], margin=margin) if vary else None
    return share_difference(first, second, margin=margin, clustered=clustered)


def wilson(counts: ArrayLike, totals: ArrayLike) -> tuple[Floats, Floats]:
    """Give the limits of Wilson's 95 % interval of each share.

    Parameters
    ----------
    counts, totals : array of numbers, shape (k,)
        No total may be 0.

    Returns
    -------
    low, high : ndarray of float64, shape (k,)
        Shares, 0 to 1.
    """
    limits = proportion_confint(np.asarray(counts), np.asarray(totals), alpha=LEVEL, method="wilson")
    return np.asarray(limits[0], dtype=np.float64), np.asarray(limits[1], dtype=np.float64)


def share_trend(counts: ArrayLike, totals: ArrayLike, scores: ArrayLike, *, clusters: Moments | None = None) -> Trend:
    """Fit a straight line to a share over ordered levels (Cochran-Armitage).

    Parameters
    ----------
    counts, totals : array of numbers, shape (k,)
        Of each level; at least two levels, no total 0, and a share over all levels that is neither 0 nor 1.
    scores : array of float, shape (k,)
        Position of each level.
    clusters : Moments, optional
        The zeros and ones of each level; where patients have several, the slope is a weighted sum of their means,
        whose design effect widens its error.

    Returns
    -------
    Trend
        The limits are those of a linear regression whose variance is that of one common share; the test is
        `statsmodels` `Table.test_ordinal_association`.
    """
    count, total, score = (np.asarray(values, dtype=np.float64) for values in (counts, totals, scores))
    table = Table(np.column_stack([total - count, count]), shift_zeros=False)
    test = table.test_ordinal_association(row_scores=score, col_scores=np.array([0.0, 1.0]))
    share = float(count.sum() / total.sum())
    centred = score - (total @ score) / total.sum()
    spread = float(total @ centred**2)
    slope, half = float(centred @ count) / spread, float(norm.isf(LEVEL / 2) * np.sqrt(share * (1 - share) / spread))
    z, p_value = float(test.zscore), float(test.pvalue)
    if clusters is not None and clusters.units is not None:
        known = clusters.free > 0
        weights = (total * centred / spread)[known]
        wider = contrast(clusters.at(known), weights, margin=Margin(np.inf)).design_effect ** 0.5
        half, z = half * wider, z / wider
        p_value = float(2 * norm.sf(abs(z)))
    return Trend(Interval(slope, slope - half, slope + half), z, p_value)


def _pooled_test(first: Share, second: Share) -> tuple[float, float]:
    if first.count + second.count in (0.0, first.total + second.total):
        return 0.0, 1.0  # nobody, or everybody, in both samples: no variance, and no difference either
    counts, totals = np.array([first.count, second.count]), np.array([first.total, second.total])
    statistic, p_value = proportions_ztest(counts, totals)
    return float(statistic), float(p_value)


def _margin_tests(first: Share, second: Share, margin: Margin) -> tuple[float, float]:
    """Test the margin with the unpooled z: `tost_proportions_2indep(method="wald")`, which divides by a share of 0."""
    gap, error = first.value - second.value, float(np.sqrt(first.variance + second.variance))
    if error == 0.0:
        return float(gap >= margin.size), float(abs(gap) >= margin.size)
    effect = difference_effect(gap, error, round(first.total + second.total), margin=margin)
    return effect.p_above, effect.p_outside
