"""An estimate and how sure it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate between its limits.

    Attributes
    ----------
    value, low, high : float
        In the unit, and at the level, of the function that returns it.
    """

    value: float
    low: float
    high: float
