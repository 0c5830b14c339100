"""How many pairs of rows share a group, and how many of those are close? Counted by sorting, never listed."""

import numpy as np
from numpy.typing import ArrayLike

from hi_ml.statistics.effect import Floats, Integers


def combined(*codes: ArrayLike) -> Integers:
    """Give each combination of several codes a number, from 0.

    Parameters
    ----------
    *codes : arrays of int, each of shape (n,)

    Examples
    --------
    >>> combined([0, 0, 1], [2, 2, 2])
    array([0, 0, 1])
    """
    group = np.zeros(np.asarray(codes[0]).size, dtype=np.int64)
    for code in codes:
        _, level = np.unique(np.asarray(code), return_inverse=True)
        group = np.unique(group * (level.max(initial=0) + 1) + level, return_inverse=True)[1].astype(np.int64)
    return group


def pair_count(groups: ArrayLike) -> int:
    """Count the pairs of rows of one group.

    Parameters
    ----------
    groups : array of int, shape (n,)
        Codes from 0.

    Examples
    --------
    >>> pair_count([0, 0, 0, 1])
    3
    """
    sizes = np.bincount(np.asarray(groups, dtype=np.int64))
    return int((sizes * (sizes - 1) // 2).sum())


def close_partners(groups: ArrayLike, values: ArrayLike, width: float) -> Integers:
    """Count for each row the rows of its group that follow it by less than `width`, each pair once.

    Parameters
    ----------
    groups : array of int, shape (n,)
        Codes from 0.
    values : array of float, shape (n,)
    width : float

    Returns
    -------
    ndarray of int64, shape (n,)
        Its sum is the number of close pairs.

    Examples
    --------
    >>> close_partners([0, 0, 0, 1], [5.0, 1.0, 1.5, 1.0], 1.0)
    array([0, 1, 0, 0])
    """
    value = np.asarray(values, dtype=np.float64)
    return _followers(groups, value, value + width, side="left")


def overlapping_partners(groups: ArrayLike, starts: ArrayLike, ends: ArrayLike) -> Integers:
    """Count for each row the rows of its group that start between its start and its end, each pair once.

    Parameters
    ----------
    groups : array of int, shape (n,)
        Codes from 0.
    starts, ends : arrays of float, shape (n,)
        No end before its start.
    """
    return _followers(groups, np.asarray(starts, dtype=np.float64), np.asarray(ends, dtype=np.float64), side="right")


def _followers(groups: ArrayLike, starts: Floats, ends: Floats, *, side: str) -> Integers:
    code = np.asarray(groups, dtype=np.int64)
    counts = np.zeros(code.size, dtype=np.int64)
    if code.size == 0:
        return counts
    # A whole number of days between groups keeps every date exact and every group out of reach of the next.
    apart = np.ceil(ends.max() - starts.min()) + 1
    offset = code * apart - starts.min()
    key = starts + offset
    order = np.argsort(key, kind="stable")
    reached = np.searchsorted(key[order], (ends + offset)[order], side="left" if side == "left" else "right")
    counts[order] = np.maximum(reached - np.arange(code.size) - 1, 0)
    return counts
