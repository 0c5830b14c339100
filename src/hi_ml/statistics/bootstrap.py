"""Scores that are no means (median, area under a curve, per-class averages), resampled over whole groups.

Every function takes one row of weights per bootstrap draw, so that all draws are computed at once.
"""

import numpy as np
from numpy.typing import NDArray

from hi_ml.statistics.interval import Interval

Floats = NDArray[np.float64]
_ROUNDING = 1e-9  # relative error of a sum of weights such as 1/3


def draws(group: NDArray[np.int64], *, count: int, seed: int) -> Floats:
    """Draw groups with replacement.

    Parameters
    ----------
    group : array of int64, shape (n,)
    count : int
        Number of bootstrap draws.
    seed : int

    Returns
    -------
    array of float64, shape (1 + count, n)
        Weight of each row: one over its group's size in row 0 (the sample itself), times how often its group was
        drawn in the others.
    """
    _, place, size = np.unique(group, return_inverse=True, return_counts=True)
    groups = len(size)
    rng = np.random.default_rng(seed)
    times = np.stack([np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(count)])
    return np.vstack([np.ones(groups), times])[:, place] / size[place]


def percentile_interval(values: Floats, *, level: float = 0.95) -> Interval:
    """Take the first value as the estimate and the percentiles of the others as its bounds; NaN draws do not count."""
    low, high = np.nanquantile(values[1:], [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values[0]), float(min(low, values[0])), float(max(high, values[0])))


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Return the weighted median of ``values`` (n,) per row of ``weights`` (draws, n); shape (draws,).

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
    weights : array of float64, shape (draws, n)

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
    weights : array of float64, shape (draws, n)

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
