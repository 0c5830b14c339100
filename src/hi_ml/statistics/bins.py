"""Into which bin of numbers does a value fall, and what is the bin called?"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from hi_ml.statistics.estimates import Integers

OUTSIDE = -1  # code of a value that is missing


def bins(values: ArrayLike, edges: Sequence[float], unit: str = "") -> tuple[Integers, list[str]]:
    """Cut numbers into bins.

    Parameters
    ----------
    values : array of float, shape (n,)
        NaN where missing.
    edges : sequence of float
        At each, in increasing order, a bin begins; the first bin lies below the first edge.
    unit : str
        Of values and edges, for the names; may be empty.

    Returns
    -------
    codes : array of int64, shape (n,)
        Position in ``names``, as ``np.searchsorted(edges, values, side="right")`` gives it; -1 where missing.
    names : list of str
        One more than the edges.

    Examples
    --------
    >>> codes, names = bins([17, 18, float("nan"), 90], [18, 65], "years")
    >>> codes.tolist(), names
    ([0, 1, -1, 2], ['under 18 years', '18 to 64 years', '65 years and over'])
    """
    numbers = np.asarray(values, dtype=np.float64)
    codes = np.where(np.isnan(numbers), OUTSIDE, np.searchsorted(edges, numbers, side="right"))
    after = f" {unit}" if unit else ""
    inner = [f"{_between(low, high)}{after}" for low, high in pairwise(edges)]
    names = [f"under {edges[0]:g}{after}", *inner, f"{edges[-1]:g}{after} and over"] if len(edges) else ["all"]
    return codes.astype(np.int64), names


def _between(low: float, high: float) -> str:
    """Name a bin between whole numbers by what it holds (18 to 39), one between others by its ends."""
    if not (float(low).is_integer() and float(high).is_integer()):
        return f"{low:g} to under {high:g}"
    return f"{low:g} to {high - 1:g}" if high - low > 1 else f"{low:g}"
