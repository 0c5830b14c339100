"""Is a difference the same everywhere?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2


@dataclass(frozen=True)
class Heterogeneity:
    """Cochran's test that several estimates share one value.

    Attributes
    ----------
    q : float
        Sum of squared standardised deviations from the weighted mean.
    df : int
        Estimates less one.
    p_value : float
    """

    q: float
    df: int
    p_value: float


def cochran_q(estimates: ArrayLike, errors: ArrayLike) -> Heterogeneity:
    """Test that estimates with their own standard errors agree; unequal variances do no harm.

    Parameters
    ----------
    estimates, errors : array of float, shape (k,)
        k of at least 2; errors positive, in the unit of the estimates.

    References
    ----------
    Cochran (1954), Biometrics 10, 101.

    Examples
    --------
    >>> test = cochran_q([1.0, 3.0], [1.0, 1.0])
    >>> test.q, test.df, round(test.p_value, 4)
    (2.0, 1, 0.1573)
    """
    value, weight = np.asarray(estimates, dtype=np.float64), 1 / np.asarray(errors, dtype=np.float64) ** 2
    q = float(weight @ (value - weight @ value / weight.sum()) ** 2)
    df = value.size - 1
    return Heterogeneity(q, df, float(chi2.sf(q, df)))
