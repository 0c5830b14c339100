"""How is an estimate written: by which factor, with how many digits, with a sign, in which words?"""

import math
from typing import NamedTuple


class Scale(NamedTuple):
    """How the numbers of one unit are written.

    Attributes
    ----------
    words : str
        The unit as a reader would say it.
    factor : int
        By which a number is multiplied.
    places : int
        Digits after the point.
    signed : bool
        Whether the number is a difference, which carries its sign.
    from_zero : bool
        Whether the number cannot be negative.
    """

    words: str
    factor: int = 1
    places: int = 3
    signed: bool = False
    from_zero: bool = False


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
    value : float
    unit : str
        As in `hi_ml.findings.evidence.Evidence`.
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
