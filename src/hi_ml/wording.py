"""How numbers are written in sentences and tables."""

import math

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
