"""By how much do two models differ over the folds of a cross-validation, whose training parts overlap?"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.interval import Interval

Floats = NDArray[np.float64]


def corrected_interval(differences: Floats, *, ratio: float, level: float = 0.95) -> Interval:
    """Estimate a mean difference over folds by the corrected resampled t.

    Parameters
    ----------
    differences : array of float64, shape (J,)
        One per fold, of one or of several cross-validations.
    ratio : float
        Rows of a fold's test part over those of its training part: 0.25 for five folds.
    level : float
        Coverage, as a share.

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
    >>> found = corrected_interval(np.array([0.1, 0.2, 0.3, 0.2, 0.2]), ratio=0.25)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.2, 0.068, 0.332)
    """
    centre, error = float(differences.mean()), _error(differences, ratio)
    reach = float(stats.t.ppf(0.5 + level / 2, len(differences) - 1)) * error if len(differences) > 1 else np.inf
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
    count = len(differences)
    return float(np.sqrt((1 / count + ratio) * differences.var(ddof=1))) if count > 1 else np.inf
