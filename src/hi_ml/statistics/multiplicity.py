"""What remains of p-values when several were looked at?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from hi_ml.statistics.estimates import LEVEL


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that the chance of any false rejection stays below the level (Holm 1979).

    Parameters
    ----------
    p_values : array of float, shape (k,)

    Returns
    -------
    ndarray of float64, shape (k,)
        Compare each with the level itself.
    """
    # Not statsmodels' multipletests, which collects garbage on every call: 0.2 s in a process that holds a table.
    values = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    order = np.argsort(values)
    stepped = np.maximum.accumulate(np.arange(values.size, 0, -1) * values[order])
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def holm_in_family(p_values: Sequence[float], *, size: int) -> list[float]:
    """Adjust p-values in a family of `size`; those not looked at fill it up with 1, so that it never shrinks.

    Examples
    --------
    >>> holm_in_family([0.01, 0.5], size=5)
    [0.05, 1.0]
    """
    padded = [*p_values, *[1.0] * (size - len(p_values))]
    return [float(value) for value in holm(padded)[: len(p_values)]]


def spent(position: int, *, error: float = LEVEL) -> float:
    """Give what of an error the test at a position, from 1 on, of an endless sequence may spend: all sum up to it.

    Examples
    --------
    >>> [round(spent(position), 4) for position in (1, 2, 3)]
    [0.025, 0.0083, 0.0042]
    """
    return error / (position * (position + 1))


def all_of(p_values: Sequence[float]) -> float:
    """Give the p-value of "every part holds": the largest (intersection-union, Berger 1982)."""
    return max(p_values)


def any_of(p_values: Sequence[float]) -> float:
    """Give the p-value of "at least one part holds": the smallest, adjusted by Holm.

    Examples
    --------
    >>> any_of([0.01, 0.2, 0.5])
    0.03
    """
    # Holm multiplies the smallest of k p-values by k.
    return min(1.0, len(p_values) * min(p_values))


def discoveries(p_values: ArrayLike) -> NDArray[np.bool_]:
    """Mark what stands at a false discovery rate of 5 % (Benjamini & Hochberg 1995); of the same shape.

    Parameters
    ----------
    p_values : array of float, any shape
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.size == 0:
        return np.zeros(values.shape, dtype=np.bool_)
    return np.asarray(false_discovery_control(values.ravel()) <= LEVEL).reshape(values.shape)
