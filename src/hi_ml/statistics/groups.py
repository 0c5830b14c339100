"""How good, and how sure, where rows of a group, or folds that share training rows, are not independent?

Rows inside a group are averaged first; the groups are the observations. Intervals are Student's t over group means.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.estimates import Floats, Interval


def group_means(values: Floats, group: NDArray[np.int64]) -> Floats:
    """Average the rows of each group.

    Parameters
    ----------
    values : array of float64, shape (n,)
    group : array of int64, shape (n,)
        Any numbers; rows of equal number are one group.

    Returns
    -------
    array of float64, shape (n_groups,)
        In the order of the sorted group numbers.

    Examples
    --------
    >>> import numpy as np
    >>> group_means(np.array([1.0, 3.0, 5.0]), np.array([7, 7, 9]))
    array([2., 5.])
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    return np.bincount(code, weights=values) / size


def row_weights(group: NDArray[np.int64]) -> Floats:
    """Weigh each row by one over the size of its group, so that every group counts once; shape (n,)."""
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    return 1.0 / size[code]


def mean_interval(means: Floats, *, level: float = 0.95) -> Interval:
    """Estimate the mean over groups, two of them at least, with a t interval of a coverage, as a share."""
    centre = float(means.mean())
    reach = _reach(means - centre, level)
    return Interval(centre, centre - reach, centre + reach)


def root_interval(means: Floats, *, level: float = 0.95) -> Interval:
    """Estimate the root of the mean of squares over groups; the bounds are the roots of the mean's bounds."""
    square = mean_interval(means, level=level)
    return Interval(square.value**0.5, max(square.low, 0.0) ** 0.5, square.high**0.5)


def ratio_interval(numerator: Floats, denominator: Floats, *, level: float = 0.95) -> Interval:
    """Estimate a ratio of two means over the same groups (delta method).

    Parameters
    ----------
    numerator, denominator : array of float64, shape (n_groups,)
        Group means; the denominator's mean is not zero.

    Notes
    -----
    With r = mean(a) / mean(b) the linearised contribution of group g is (a_g - r b_g) / mean(b).
    """
    below = float(denominator.mean())
    ratio = float(numerator.mean()) / below
    reach = _reach((numerator - ratio * denominator) / below, level)
    return Interval(ratio, ratio - reach, ratio + reach)


def error_of(deviations: Floats) -> float:
    """Return the standard error of a mean from the deviations of its groups, which sum to zero."""
    n = len(deviations)
    return float(np.sqrt(np.sum(deviations**2) / (n - 1) / n))


def _reach(deviations: Floats, level: float) -> float:
    return float(stats.t.ppf(0.5 + level / 2, len(deviations) - 1)) * error_of(deviations)


def corrected_interval(differences: Floats, *, ratio: float, level: float = 0.95) -> Interval:
    """Estimate a mean difference over folds by the corrected resampled t.

    Parameters
    ----------
    differences : array of float64, shape (J,)
        One per fold, of one or of several cross-validations.
    ratio : float
        Rows of a fold's test part over those of its training part: 0.25 for five folds.

    Returns
    -------
    Interval
        From minus to plus infinity around the mean of a single fold.

    Notes
    -----
    The variance of the mean is taken as (1/J + ratio) times the variance of the differences, with J - 1 degrees of
    freedom: the models of two folds share most of their training rows. Nadeau & Bengio (2003),
    doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> import numpy as np
    >>> gap = corrected_interval(np.array([0.1, 0.2, 0.3, 0.2, 0.2]), ratio=0.25)
    >>> round(gap.value, 3), round(gap.low, 3), round(gap.high, 3)
    (0.2, 0.068, 0.332)
    """
    centre = float(differences.mean())
    reach = np.inf
    if len(differences) > 1:
        reach = float(stats.t.ppf(0.5 + level / 2, len(differences) - 1)) * _error(differences, ratio)
    return Interval(centre, centre - reach, centre + reach)


def corrected_p(differences: Floats, *, ratio: float) -> float:
    """Test that a mean difference over folds is zero, two-sided, as `corrected_interval` estimates it.

    Returns
    -------
    float
        1 where the two do not differ at all, or there is a single fold.
    """
    if len(differences) == 1 or not differences.any():
        return 1.0
    error = _error(differences, ratio)
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1)) if error else 0.0


def _error(differences: Floats, ratio: float) -> float:
    return float(np.sqrt((1 / len(differences) + ratio) * differences.var(ddof=1)))
