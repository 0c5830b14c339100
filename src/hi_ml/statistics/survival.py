"""How long do stays last, of which some are not over? Hazards by whole day, after Kaplan and Meier."""

import numpy as np
from numpy.typing import NDArray

from hi_ml.statistics.estimates import Floats

_FEWEST = 20  # at risk, below which a day shares its hazard with all after it
LARGEST = 30.0
"""Of a cumulative hazard in one day: nobody stays."""


def cumulative_hazards(
    days: NDArray[np.int64], over: NDArray[np.bool_], *, size: int, weights: Floats | None = None
) -> Floats:
    """Estimate the cumulative hazard of leaving that each day of a stay adds.

    The product of 1 - (left on the day / still there before) is Kaplan and Meier's survival curve; its logarithm is
    what the hazards add up to. Days that fewer than 20 reach share one hazard.

    Parameters
    ----------
    days : array of int64, shape (n,)
        Length of a stay that is over; else the days that have passed, on none of which it ended.
    over : array of bool, shape (n,)
    size : int
        Days that are asked for, 0 among them.

    Returns
    -------
    array of float64, shape (size,)
        At most `LARGEST`.

    Examples
    --------
    >>> days, over = np.array([1] * 20 + [2] * 40), np.array([True] * 20 + [True, False] * 20)
    >>> np.exp(-np.cumsum(cumulative_hazards(days, over, size=3))).round(3)
    array([1.   , 0.667, 0.333])
    """
    weights = np.ones(len(days)) if weights is None else weights
    clipped = np.minimum(days, size)
    left = np.bincount(clipped[over], weights=weights[over], minlength=size + 1)[:size]
    ending = np.bincount(clipped, weights=weights, minlength=size + 1)
    there = ending[::-1].cumsum()[::-1][:size]
    few = np.flatnonzero(there < _FEWEST)
    if len(few):
        first = max(0, min(few[0], size - 1))
        start = max(0, first - 1)  # with the last day that is not rare
        total = float(there[start:].sum())
        share = float(left[start:].sum()) / total if total else 0.0
        left, there = left.copy(), there.copy()
        left[first:], there[first:] = share, 1.0
    chance = np.divide(left, there, out=np.zeros(size), where=there > 0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(-np.log1p(-np.minimum(chance, 1.0)), LARGEST))
