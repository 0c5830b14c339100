"""How are numbers written in sentences, tables and charts: with how many digits, which sign, in which words?"""

import math
import re
import unicodedata
from typing import NamedTuple

# Control characters but tabs and line ends, and what turns the direction of the text that follows.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WHOLE_FROM = 1000  # from here on, digits after the point no longer matter
_SHORT_WHOLE_FROM = 100  # the same, where room is scarce
_PLACES = 4  # after the point, at most: what is smaller is written as zero
_FINEST = 6  # places after the point of a difference, at most


def as_name(text: str) -> str:
    """Put _ for every character that stands in no name: all but letters with their marks, digits, spaces, _ and -.

    Examples
    --------
    >>> as_name("diag #1"), as_name("प्रश्न 1")
    ('diag _1', 'प्रश्न 1')
    """
    kept = (char.isalnum() or char in "_ -" or unicodedata.category(char).startswith("M") for char in text)
    return "".join(char if keep else "_" for char, keep in zip(text, kept, strict=True))


def printable(text: str) -> str:
    r"""Write as escapes what a terminal would obey: a label of a table may hold it.

    Examples
    --------
    >>> print(printable("a\x1b[31mb\u202e"))
    a\x1b[31mb\u202e
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def number(value: float, *, digits: int = 4) -> str:
    """Write a number with its leading digits, thousands separated; nothing for NaN.

    Examples
    --------
    >>> number(12350.8961), number(0.33333), number(-0.00002), number(float("nan"))
    ('12,351', '0.3333', '0.0000', '')
    >>> number(-0.25)
    '−0.2500'
    """
    if not math.isfinite(value):
        return ""
    if abs(value) >= _WHOLE_FROM:
        return f"{value:,.0f}".replace("-", "−")
    places = min(_PLACES, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")


def counted(count: int | str) -> str:
    """Write a count, thousands separated; one that is told in words stays.

    Examples
    --------
    >>> counted(12350), counted("fewer than 5")
    ('12,350', 'fewer than 5')
    """
    return count if isinstance(count, str) else f"{count:,}"


def short(value: float) -> str:
    """Write a number for a chart: with three digits that matter, or with all before the point.

    Examples
    --------
    >>> short(12345.6), short(0.03333), short(-2.0), short(-0.0)
    ('12,346', '0.0333', '−2', '0')
    """
    text = f"{value:,.0f}" if abs(value) >= _SHORT_WHOLE_FROM else f"{value:.3g}"
    return "0" if text == "-0" else text.replace("-", "−")


def percent(share: float) -> str:
    """Write a share as a percentage with one digit after the point.

    Examples
    --------
    >>> percent(0.1234), percent(-0.0001)
    ('12.3', '0.0')
    """
    return f"{round(100 * share, 1) + 0.0:.1f}".replace("-", "−")


def signed_interval(value: float, low: float, high: float) -> tuple[str, str]:
    """Write a difference and its interval, signed, with two digits of the interval's width so that its ends differ.

    An end that would become 0 so, and lose its sign, gets all of them up to two digits more.

    Examples
    --------
    >>> signed_interval(0.21437, 0.1902, 0.2385), signed_interval(-1234.5, -2000.0, 12.0)
    (('+0.214', '+0.190 to +0.238'), ('−1,234', '−2,000 to +12'))
    >>> signed_interval(0.0, 0.0, 0.0), signed_interval(0.2, math.nan, math.nan)
    (('0', '0 to 0'), ('+0.2', 'too few to tell'))
    >>> signed_interval(0.0048, -0.0004, 0.0096)
    ('+0.0048', '−0.0004 to +0.0096')
    """
    if math.isnan(low):
        return f"{value:+,.3g}".replace("-", "−"), "too few to tell"
    width = high - low
    places = min(_FINEST, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else _FINEST * bool(value)
    for _ in range(2 if width > 0 else 0):
        places += any(end and not round(end, places) for end in (value, low, high))
    rounded = (f"{end:+,.{places}f}".replace("-", "−") if round(end, places) else "0" for end in (value, low, high))
    first, start, end = rounded
    return first, f"{start} to {end}"


class Scale(NamedTuple):
    """How the numbers of one unit are written."""

    words: str  # the unit as a reader would say it
    factor: int = 1  # by which a number is multiplied
    places: int = 3  # digits after the point
    signed: bool = False  # whether the number is a difference, which carries its sign
    from_zero: bool = False  # whether the number cannot be negative


_PERCENT = 100
_CODE, _SYMBOLS = 3, tuple("$€£¥₹")  # letters of a currency's code, and what it is written as
_SCALES = {
    "%": Scale("%", places=1),
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
    >>> scale_of("share of discharges").words, scale_of("days per 10 years").words
    ('percentage points', 'days per 10 years')
    """
    if unit in _SCALES:
        return _SCALES[unit]
    if (len(unit) == _CODE and unit.isalpha() and unit.isupper()) or unit[-1:] in _SYMBOLS:  # EUR, US$
        return _SCALES["currency"]._replace(words=unit)
    scale, per, rest = unit.partition(" per ")
    if per:
        return scale_of(scale)._replace(words=f"{scale_of(scale).words} per {rest}", signed=True, places=_PLACES)
    return _SHARE if unit.startswith("share of") else Scale(unit)


def in_unit(value: float, unit: str, *, signed: bool | None = None) -> str:
    """Write a number of a unit, without the unit.

    Parameters
    ----------
    unit : str
        As in `hi_ml.claims.finding.Evidence`.
    signed : bool, optional
        Whether to write a plus; the default is the unit's own way.

    Examples
    --------
    >>> in_unit(0.0316, "share of admissions"), in_unit(-0.0001, "days"), in_unit(12345.6, "currency", signed=False)
    ('+3.2', '0.00', '12,346')
    """
    scale = scale_of(unit)
    rounded = round(value * scale.factor, scale.places) + 0.0
    plus = "+" if rounded and (scale.signed if signed is None else signed) else ""
    return f"{rounded:{plus},.{scale.places}f}".replace("-", "−")


def with_unit(value: float, unit: str) -> str:
    """Write a number of a unit, and the unit.

    Examples
    --------
    >>> with_unit(-0.5, "days"), with_unit(0.031, "share of discharges"), with_unit(0.0312, "share of pairs")
    ('−0.50 days', '+3.1 percentage points', '3.12 % of pairs')
    """
    return f"{in_unit(value, unit)} {scale_of(unit).words}"


def interval(low: float | None, high: float | None, unit: str) -> str:
    """Write an interval without its unit, or a dash where there is none.

    Examples
    --------
    >>> interval(-0.02, 0.304, "days"), interval(None, None, "days")
    ('−0.02 to +0.30', '–')
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "–"
    return f"{in_unit(low, unit)} to {in_unit(high, unit)}"


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


def p_statement(p: float) -> str:
    """Write a p-value with its letter.

    Examples
    --------
    >>> p_statement(0.02351), p_statement(1e-9)
    ('p = 0.024', 'p < 0.0001')
    """
    return f"p {p_value(p)}" if p < _LEAST_P else f"p = {p_value(p)}"
