"""Does the mean over some rows differ from that over the rest, where groups of rows count once?"""

import numpy as np
from numpy.typing import NDArray

from hi_ml.statistics.effect import Effect, Margin, difference_effect

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]
_ROUNDING = 1e-12  # standard error, as a share of the largest value, that is what rounding leaves of zero


def against_the_rest(values: Floats, inside: NDArray[np.bool_], group: Groups, *, margin: float) -> Effect | None:
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
    _, place = np.unique(group, return_inverse=True)
    contributions, estimate = np.zeros(place.max() + 1), 0.0
    variances, freedom = [], []
    for rows, sign in ((inside, 1.0), (~inside, -1.0)):
        counts = np.bincount(place[rows], minlength=len(contributions))
        there = np.flatnonzero(counts)
        if len(there) < 2:  # noqa: PLR2004 -- a variance needs two
            return None
        means = np.bincount(place[rows], weights=values[rows], minlength=len(contributions))[there] / counts[there]
        spread = (means - means.mean()) / np.sqrt(len(there) * (len(there) - 1))
        contributions[there] += sign * spread
        estimate += sign * means.mean()
        variances.append(float((spread**2).sum()))
        freedom.append(len(there) - 1)
    error = float(np.sqrt((contributions**2).sum()))
    if error <= _ROUNDING * float(np.abs(values).max()):
        return None
    df = sum(variances) ** 2 / sum(part**2 / free for part, free in zip(variances, freedom, strict=True))
    return difference_effect(float(estimate), error, len(values), margin=Margin(margin), df=df)
