"""By how much do two models differ on the same groups, and would chance alone do that?

Every difference is the first less the second, in the unit of the score. Rows inside a group are averaged first; groups
are the observations, and both models are measured on each of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.bootstrap import percentile_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A paired difference between its bounds.

    Attributes
    ----------
    value, low, high : float
    p : float
        Two-sided; 1 where the two do not differ at all.
    """

    value: float
    low: float
    high: float
    p: float


def mean_difference(first: Floats, second: Floats, *, level: float = 0.95) -> Difference:
    """Compare two means over groups by the paired t-test.

    Parameters
    ----------
    first, second : array of float64, shape (n_groups,)
        At least two groups, in the same order.
    level : float
        Coverage of the interval, as a share.

    Examples
    --------
    >>> import numpy as np
    >>> found = mean_difference(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.5, 2.5]))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), round(found.p, 3)
    (1.0, -0.242, 2.242, 0.074)
    """
    apart = first - second
    value = float(apart.mean())
    return _student(value, apart - value, level)


def root_difference(first: Floats, second: Floats, *, level: float = 0.95) -> Difference:
    """Compare the roots of two means of squares over groups (delta method).

    Parameters
    ----------
    first, second : array of float64, shape (n_groups,)
        Mean squared errors of the groups, in the same order.
    level : float
        Coverage of the interval, as a share.

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
        Mean squared errors of the groups, in the same order.
    spread : array of float64, shape (n_groups,)
        Mean squared distance of the target from its centre; not zero everywhere.
    level : float
        Coverage of the interval, as a share.
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
        The score of the sample itself, then of each draw, see `hi_ml.statistics.bootstrap`; NaN draws do not count.
    level : float
        Coverage of the percentile interval, as a share.

    Notes
    -----
    p is twice the share of draws on the farther side of zero, the sample counted among them: it cannot be smaller than
    2 / (draws + 1) (Davison & Hinkley 1997, *Bootstrap Methods and their Application*, chapter 4).
    """
    apart = first - second
    found = percentile_interval(apart, level=level)
    drawn = apart[1:][np.isfinite(apart[1:])]
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Difference(found.value, found.low, found.high, min(1.0, 2 * (tail + 1) / (len(drawn) + 1)))


def _student(value: float, deviations: Floats, level: float) -> Difference:
    """Student's t for a mean of contributions of which ``deviations`` sum to zero."""
    n = len(deviations)
    error = float(np.sqrt(np.sum(deviations**2) / (n - 1) / n))
    if not error:
        return Difference(value, value, value, 0.0 if value else 1.0)
    reach = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
    return Difference(value, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / error, n - 1)))
