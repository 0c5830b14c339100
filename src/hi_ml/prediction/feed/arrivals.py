"""How many will come on each of the next days?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hi_ml.statistics.counts import negative_binomial, total
from hi_ml.statistics.estimates import Floats

Days = NDArray[np.int64]
WEEK = 7
_PRIOR = 10.0  # arrivals, as many as on any day, that a weekday is credited with


def weekday(days: Days | int) -> Days:
    """Return the weekdays, 0 is Monday, of days counted from 1970-01-01."""
    return (np.asarray(days) + 3) % WEEK


@dataclass(frozen=True)
class Arrivals:
    """The law of a day's arrivals: negative binomial around the mean of its weekday."""

    mean: Floats  # float64, shape (7,); from Monday
    spread: float  # variance of the factor that all arrivals of a day share; 0 where they come independently

    @classmethod
    def of(cls, days: Days, counts: Days) -> "Arrivals":
        """Learn from counts of past days, shape (n,), none of them left out.

        The spread is what the variance around the weekdays' means exceeds that of Poisson counts by.
        """
        if not len(days):
            return cls(np.zeros(WEEK), 0.0)
        level, of = float(np.mean(counts)), weekday(days)
        sums, number = np.bincount(of, weights=counts, minlength=WEEK), np.bincount(of, minlength=WEEK)
        mean = level * (sums + _PRIOR) / (level * number + _PRIOR)
        expected = mean[of]
        freedom = len(days) / max(1, len(days) - min(WEEK, len(days) - 1))
        excess = float(((counts - expected) ** 2).sum() * freedom - expected.sum())
        square = float((expected**2).sum())
        return cls(mean, max(0.0, excess / square) if square else 0.0)

    def present(self, today: int, horizons: int, still: Floats, *, rest: float = 0.0) -> list[Floats]:
        """Return the distributions of those who are yet to come and will be there at the end of each next day.

        Parameters
        ----------
        today : int
        still : array of float64, shape (horizons + 1, horizons + 1)
            ``still[j, h]``: the chance of who comes on day ``today + j`` to be there at the end of day ``today + h``.
        rest : float
            Share of today's arrivals that are yet to come.
        """
        mean = self.mean[weekday(today + np.arange(horizons + 1))]
        mean = mean * np.array([rest, *[1.0] * horizons])
        laws = []
        for horizon in range(1, horizons + 1):
            parts = negative_binomial(mean[: horizon + 1] * still[: horizon + 1, horizon], self.spread)
            laws.append(total(parts))
        return laws
