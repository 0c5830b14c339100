"""How numbers are written in sentences and tables.

Into which band of numbers does a value fall, and what is the band called?

How is an estimate written: by which factor, with how many digits, with a sign, in which words?
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_WHOLE_FROM = 1000  # from here on, digits after the point no longer matter
_PLACES = 4  # after the point, at most: what is smaller is written as zero
_FINEST = 6  # places after the point of a difference, at most


def number(value: float, *, digits: int = 4) -> str:
    """Write a number with its leading digits, thousands separated; nothing for NaN.

    Examples
    --------
    >>> number(12350.8961), number(0.33333), number(-0.00002), number(float("nan"))
    ('12,351', '0.3333', '0.0000', '')
    """
    if not math.isfinite(value):
        return ""
    if abs(value) >= _WHOLE_FROM:
        return f"{value:,.0f}"
    places = min(_PLACES, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{round(value, places) + 0.0:.{places}f}"


def percent(share: float) -> str:
    """Write a share as a percentage with one digit after the point.

    Examples
    --------
    >>> percent(0.1234), percent(-0.0001)
    ('12.3', '0.0')
    """
    return f"{round(100 * share, 1) + 0.0:.1f}"


def apart(value: float, low: float, high: float) -> tuple[str, str]:
    """Write a difference and its interval, signed, with two digits of the interval's width so that its ends differ.

    Examples
    --------
    >>> apart(0.21437, 0.1902, 0.2385), apart(-1234.5, -2000.0, 12.0), apart(0.0, 0.0, 0.0)
    (('+0.214', '+0.190 to +0.238'), ('−1,234', '−2,000 to +12'), ('0', '0 to 0'))
    """
    width = high - low
    places = min(_FINEST, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else _FINEST * bool(value)
    shown = (f"{end:+,.{places}f}".replace("-", "−") if round(end, places) else "0" for end in (value, low, high))
    first, start, end = shown
    return first, f"{start} to {end}"


OUTSIDE = -1  # code of a value that is missing


def bands(values: ArrayLike, edges: Sequence[float], unit: str) -> tuple[NDArray[np.int64], list[str]]:
    """Cut numbers into bands.

    Parameters
    ----------
    values : array of float, shape (n,)
        NaN where missing.
    edges : sequence of float
        At each, in increasing order, a band begins; the first band lies below the first edge.
    unit : str
        Of values and edges, for the names; may be empty.

    Returns
    -------
    codes : array of int64, shape (n,)
        Place in ``labels``, as ``np.searchsorted(edges, values, side="right")`` gives it; -1 where missing.
    labels : list of str
        One more than the edges.

    Examples
    --------
    >>> codes, labels = bands([17, 18, float("nan"), 90], [18, 65], "years")
    >>> codes.tolist(), labels
    ([0, 1, -1, 2], ['under 18 years', '18-64 years', '65 years and over'])
    """
    numbers = np.asarray(values, dtype=np.float64)
    codes = np.where(np.isnan(numbers), OUTSIDE, np.searchsorted(edges, numbers, side="right"))
    after = f" {unit}" if unit else ""
    inner = [f"{_between(low, high)}{after}" for low, high in pairwise(edges)]
    labels = [f"under {edges[0]:g}{after}", *inner, f"{edges[-1]:g}{after} and over"] if len(edges) else ["all"]
    return codes.astype(np.int64), labels


def _between(low: float, high: float) -> str:
    """Name a band between whole numbers by what it holds (18-39), one between others by its ends."""
    if not (float(low).is_integer() and float(high).is_integer()):
        return f"{low:g} to under {high:g}"
    return f"{low:g}-{high - 1:g}" if high - low > 1 else f"{low:g}"


class Scale(NamedTuple):
    """How the numbers of one unit are written."""

    words: str  # the unit as a reader would say it
    factor: int = 1  # by which a number is multiplied
    places: int = 3  # digits after the point
    signed: bool = False  # whether the number is a difference, which carries its sign
    from_zero: bool = False  # whether the number cannot be negative


_PERCENT = 100
_SCALES = {
    "days": Scale("days", places=2, signed=True),
    "currency": Scale("currency", places=0, signed=True),
    "share of variance": Scale("% of the variance", _PERCENT, places=1, from_zero=True),
    "share of pairs": Scale("% of pairs", _PERCENT, places=2),
    "share of admissions per decade": Scale("percentage points per decade", _PERCENT, places=2, signed=True),
    "Cohen's w": Scale("Cohen's w", from_zero=True),
    "Cohen's f": Scale("Cohen's f", from_zero=True),
    "chi-square": Scale("chi-square", places=1, from_zero=True),
}
_SHARE = Scale("percentage points", _PERCENT, places=1, signed=True)
_LEAST_P = 0.0001  # smaller ones are not written out


def scale_of(unit: str) -> Scale:
    """Look up how the numbers of a unit are written; any other share is a difference of shares.

    Examples
    --------
    >>> scale_of("share of discharges").words
    'percentage points'
    """
    return _SCALES.get(unit) or (_SHARE if unit.startswith("share of") else Scale(unit))


def written(value: float, unit: str, *, signed: bool | None = None) -> str:
    """Write a number of a unit, without the unit.

    Parameters
    ----------
    unit : str
        As in `hi_ml.claims.finding.Evidence`.
    signed : bool, optional
        Whether to write a plus; the default is the unit's own way.

    Examples
    --------
    >>> written(0.0316, "share of admissions"), written(-0.0001, "days"), written(12345.6, "currency", signed=False)
    ('+3.2', '0.00', '12,346')
    """
    scale = scale_of(unit)
    shown = round(value * scale.factor, scale.places) + 0.0
    plus = "+" if shown and (scale.signed if signed is None else signed) else ""
    return f"{shown:{plus},.{scale.places}f}".replace("-", "−")


def interval(low: float | None, high: float | None, unit: str) -> str:
    """Write an interval without its unit, or a dash where there is none.

    Examples
    --------
    >>> interval(-0.02, 0.304, "days"), interval(None, None, "days")
    ('−0.02 to +0.30', '–')
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "–"
    return f"{written(low, unit)} to {written(high, unit)}"


def p_value(p: float | None) -> str:
    """Write a p-value, or a dash where there is none.

    Examples
    --------
    >>> p_value(0.02351), p_value(1e-9), p_value(1.0), p_value(None)
    ('0.024', '< 0.0001', '1', '–')
    """
    if p is None or math.isnan(p):
        return "–"
    return f"< {_LEAST_P}" if p < _LEAST_P else f"{p:.2g}"
