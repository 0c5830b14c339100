"""How likely is a value of one sample to exceed one of the other?"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata, t

from hi_ml.statistics.effect import LEVEL
from hi_ml.statistics.interval import Interval


def probability_of_exceeding(first: ArrayLike, second: ArrayLike) -> Interval:
    """Estimate P(X > Y) + P(X = Y) / 2 with the interval of Brunner & Munzel.

    `scipy.stats.brunnermunzel` gives the test and no interval.

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
    ranks = rankdata(np.concatenate([x, y]))
    # Rank among all less rank in its own sample: how many of the other sample lie below.
    beaten_x, beaten_y = ranks[: x.size] - rankdata(x), ranks[x.size :] - rankdata(y)
    estimate = float(beaten_x.mean()) / y.size
    parts = np.array([beaten_x.var(ddof=1) / y.size**2 / x.size, beaten_y.var(ddof=1) / x.size**2 / y.size])
    variance = float(parts.sum())
    if variance == 0.0:
        return Interval(estimate, estimate, estimate)
    df = variance**2 / float((parts**2 / np.array([x.size - 1, y.size - 1])).sum())
    half = float(t.isf(LEVEL / 2, df)) * variance**0.5
    return Interval(estimate, max(0.0, estimate - half), min(1.0, estimate + half))
