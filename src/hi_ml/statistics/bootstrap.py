"""Scores that are no means, resampled over whole groups; and by how much do two models differ on the same groups?

What is resampled (median, area under a curve, per-class averages) takes one row of ``weights`` per bootstrap draw,
shape (draws, n), so that all draws are computed at once.

A difference is the first model's score less the second's, in its unit. Its arrays have shape (n_groups,), both in the
same order: rows inside a group are averaged first, and both models are measured on each group. ``level`` is the
coverage of the interval, as a share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.estimates import Floats, Interval
from hi_ml.statistics.groups import error_of

_ROUNDING = 1e-9  # relative error of a sum of weights such as 1/3


def draws(group: NDArray[np.int64], *, count: int, seed: int) -> Floats:
    """Draw groups with replacement.

    Parameters
    ----------
    group : array of int64, shape (n,)
    count : int
        Number of bootstrap draws.

    Returns
    -------
    array of float64, shape (1 + count, n)
        Weight of each row: one over its group's size in row 0 (the sample itself), times how often its group was
        drawn in the others.
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    groups = len(size)
    rng = np.random.default_rng(seed)
    times = np.stack([np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(count)])
    return np.vstack([np.ones(groups), times])[:, code] / size[code]


def percentile_interval(values: Floats, *, level: float = 0.95) -> Interval:
    """Take the first value as the estimate and the percentiles of the others as its bounds; NaN draws do not count."""
    low, high = np.nanquantile(values[1:], [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values[0]), float(min(low, values[0])), float(max(high, values[0])))


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Return the weighted median of ``values`` (n,) per draw; shape (draws,).

    Where exactly half of the weight lies on either side, it is the middle of the two values there, as without weights.
    """
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weights[:, order], axis=1)
    half = running[:, -1:] / 2
    reached = (running >= half * (1 - _ROUNDING)).argmax(axis=1)
    passed = (running > half * (1 + _ROUNDING)).argmax(axis=1)
    return np.asarray((values[order][reached] + values[order][passed]) / 2)


def confusion(truth: NDArray[np.int64], label: NDArray[np.int64], weights: Floats, *, classes: int) -> Floats:
    """Weighted counts per true class and predicted label.

    Parameters
    ----------
    truth, label : array of int64, shape (n,)
        Class numbers from 0 to ``classes`` - 1.

    Returns
    -------
    array of float64, shape (draws, classes, classes)
        True class first.
    """
    cell = np.zeros((len(truth), classes * classes))
    cell[np.arange(len(truth)), truth * classes + label] = 1.0
    return (weights @ cell).reshape(-1, classes, classes)


def balanced_accuracy(counts: Floats) -> Floats:
    """Mean recall over the classes that occur, from `confusion`, shape (draws,)."""
    return np.asarray(np.nanmean(_recall(counts), axis=1))


def macro_f1(counts: Floats) -> Floats:
    """Mean F1 over the classes that occur or are predicted, from `confusion`, shape (draws,)."""
    hit = np.diagonal(counts, axis1=1, axis2=2)
    seen = counts.sum(axis=2) + counts.sum(axis=1)
    return np.asarray(np.nanmean(np.divide(2 * hit, seen, out=np.full_like(hit, np.nan), where=seen > 0), axis=1))


def roc_auc(truth: NDArray[np.int64], share: Floats, weights: Floats) -> Floats:
    """Area under the ROC curve, one class against the rest, averaged over the classes that can be ranked.

    Parameters
    ----------
    truth : array of int64, shape (n,)
    share : array of float64, shape (n, classes)
        Predicted probabilities.

    Returns
    -------
    array of float64, shape (draws,)
        NaN where no class occurs beside another.
    """
    areas = np.stack([_auc(truth == k, share[:, k], weights) for k in range(share.shape[1])])
    counted = np.isfinite(areas).sum(axis=0)
    total = np.nansum(areas, axis=0)
    return np.asarray(np.divide(total, counted, out=np.full(len(weights), np.nan), where=counted > 0))


def _auc(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Probability that a positive ranks above a negative, ties counting half, per draw."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > 0))
    up = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    down = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(down, axis=1) - down / 2
    pairs = up.sum(axis=1) * down.sum(axis=1)
    return np.asarray(np.divide((up * below).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0))


def _recall(counts: Floats) -> Floats:
    hit, total = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)
    return np.asarray(np.divide(hit, total, out=np.full_like(hit, np.nan), where=total > 0))


@dataclass(frozen=True)
class Difference:
    """A paired difference between its bounds."""

    value: float
    low: float
    high: float
    p: float  # two-sided; 1 where the two do not differ at all


def mean_difference(first: Floats, second: Floats, *, level: float = 0.95) -> Difference:
    """Compare two means over groups, two of them at least, by the paired t-test.

    Examples
    --------
    >>> import numpy as np
    >>> gap = mean_difference(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.5, 2.5]))
    >>> round(gap.value, 3), round(gap.low, 3), round(gap.high, 3), round(gap.p, 3)
    (1.0, -0.242, 2.242, 0.074)
    """
    gaps = first - second
    value = float(gaps.mean())
    return _student(value, gaps - value, level)


def root_difference(first: Floats, second: Floats, *, level: float = 0.95) -> Difference:
    """Compare the roots of two means of squared errors over groups (delta method).

    Notes
    -----
    With root r = sqrt(mean(a)) the linearised contribution of group g is (a_g - r^2) / (2 r).
    """
    roots = [float(squares.mean()) ** 0.5 for squares in (first, second)]
    # A root of zero is a mean of zeros, from which no group deviates.
    one, other = (
        (squares - root**2) / (2 * root) if root else squares
        for squares, root in zip((first, second), roots, strict=True)
    )
    return _student(roots[0] - roots[1], one - other, level)


def explained_difference(first: Floats, second: Floats, *, spread: Floats, level: float = 0.95) -> Difference:
    """Compare two shares of explained variance, 1 - mean(squares) / mean(spread), over groups (delta method).

    Parameters
    ----------
    first, second : array of float64, shape (n_groups,)
        Mean squared errors.
    spread : array of float64, shape (n_groups,)
        Mean squared distance of the target from its centre; not zero everywhere.
    """
    below = float(spread.mean())
    gained = second - first
    value = float(gained.mean()) / below
    return _student(value, (gained - value * spread) / below, level)


def resampled_difference(first: Floats, second: Floats, *, level: float = 0.95) -> Difference:
    """Compare two scores over the same bootstrap draws.

    Parameters
    ----------
    first, second : array of float64, shape (1 + draws,)
        The score of the sample itself, then of each draw of `draws`; NaN draws do not count.

    Notes
    -----
    p is twice the share of draws on the farther side of zero, the sample counted among them: it cannot be smaller than
    2 / (draws + 1) (Davison & Hinkley 1997, *Bootstrap Methods and their Application*, chapter 4).
    """
    gaps = first - second
    interval = percentile_interval(gaps, level=level)
    drawn = gaps[1:][np.isfinite(gaps[1:])]
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    return Difference(interval.value, interval.low, interval.high, p)


def _student(value: float, deviations: Floats, level: float) -> Difference:
    """Student's t for a mean of contributions of which ``deviations`` sum to zero."""
    n, error = len(deviations), error_of(deviations)
    if not error:
        return Difference(value, value, value, 0.0 if value else 1.0)
    reach = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
    return Difference(value, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / error, n - 1)))
