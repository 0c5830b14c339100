"""How many beds will be taken at the end of each of the next days?

Who is there stays or leaves by chances of their own: their number is Poisson-binomial. Who is yet to come is counted by
a negative binomial law of the weekday and stays as all did. What both leave out, days that move everyone together, is
learned from the board's own past errors.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hi_ml.prediction.feed.laws import WEEK, Arrivals, of_all, staying, weekday
from hi_ml.statistics.counts import convolve, poisson_binomial
from hi_ml.statistics.estimates import Floats

Days = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max // 4
"""The day on which somebody left who is still there."""
LONGEST = 400
"""Days of a stay, beyond which its hazard is that of the last day."""
_LOOK_BACK = 365  # days of history that a board is learned from
_PRIOR = 10.0  # discharges as expected that a weekday is credited with
_ITERATIONS = 20  # of a fixed point that is reached to some digits in five


@dataclass(frozen=True)
class Stays:
    """Who came and who went, by day; an admission once, whatever copies of it there are."""

    admitted: Days  # int64, shape (n,); days from 1970-01-01
    left: Days  # int64, shape (n,); `NEVER` where not yet

    @cached_property
    def first(self) -> int:
        """The day of the first admission."""
        return int(self.admitted.min())

    def census(self, day: int) -> int:
        """Count who is there at the end of a day."""
        return int(self.there(day).sum())

    def there(self, day: int) -> NDArray[np.bool_]:
        """Tell who is there at the end of a day, shape (n,)."""
        return np.asarray((self.admitted <= day) & (day < self.left))

    def censuses(self, first: int, last: int) -> Days:
        """Count who is there at the end of each day from the first to the last, shape (days,)."""
        days = np.arange(first, last + 1)
        came, went = (np.searchsorted(end, days, side="right") for end in self._sorted)
        return np.asarray(came - went)

    @cached_property
    def _sorted(self) -> tuple[Days, Days]:
        return np.sort(self.admitted), np.sort(self.left)

    def per_day(self, end: Days, first: int, last: int) -> Days:
        """Count the admissions, or the discharges, of each day from the first to the last, shape (days,)."""
        inside = end[(end >= first) & (end <= last)]
        return np.bincount(inside - first, minlength=max(0, last - first + 1))


@dataclass(frozen=True)
class Rates:
    """What is known at the end of a day without any model of patients."""

    hazard: Floats  # float64, shape (size,); of all stays, see `hi_ml.statistics.counts.cumulative_hazards`
    weekdays: Floats  # float64, shape (7,); by which the hazards of a weekday, from Monday, are multiplied
    arrivals: Arrivals

    @classmethod
    def of(cls, stays: Stays, today: int) -> "Rates":
        """Learn from all that is known at the end of a day."""
        recent = (stays.admitted <= today) & (stays.admitted > today - _LOOK_BACK)
        admitted, left = stays.admitted[recent], stays.left[recent]
        if not len(admitted):
            return cls(np.zeros(1), np.ones(WEEK), Arrivals(np.zeros(WEEK), 0.0))
        size = int(min(LONGEST, (np.minimum(left, today) - admitted).max() + 2))
        hazard = of_all(admitted, left, today, size)
        start = max(stays.first, today - _LOOK_BACK + 1)
        days = np.arange(start, today + 1)
        counts = stays.per_day(stays.admitted, start, today)
        seen = np.bincount(weekday(left[left <= today]), minlength=WEEK)
        return cls(hazard, _weekdays(seen, _at_risk(admitted, left, today, size), hazard), Arrivals.of(days, counts))

    def of_days(self, today: int, horizons: int) -> Floats:
        """Return the factors of today and of each next day, shape (horizons + 1,)."""
        return np.asarray(self.weekdays[weekday(today + np.arange(horizons + 1))])

    def still(self, today: int, horizons: int) -> Floats:
        """Return the chances of who is yet to come to be there later, as `Arrivals.present` takes them."""
        factor = self.of_days(today, horizons)
        chances = np.zeros((horizons + 1, horizons + 1))
        for day in range(horizons + 1):
            first = self.hazard[0] * factor[day]
            later = staying(self.hazard, np.zeros(1, dtype=np.int64), factor[day + 1 :])[:, 0]
            chances[day, day:] = np.exp(-first) * np.append(1.0, later)
        return chances


def _at_risk(admitted: Days, left: Days, today: int, size: int) -> Floats:
    """How many could leave, by day of the stay and by weekday, shape (size, 7)."""
    last = np.minimum(np.minimum(left, today) - admitted, size - 1)
    first = np.zeros((size, WEEK))  # who stays so long, by the weekday of the admission
    np.add.at(first, (last, weekday(admitted)), 1.0)
    there = first[::-1].cumsum(axis=0)[::-1]
    days = np.arange(size)[:, None]
    return np.asarray(there[days, (np.arange(WEEK) - days) % WEEK])


def _weekdays(seen: Days, at_risk: Floats, hazard: Floats) -> Floats:
    """The factors with which hazards give as many discharges on each weekday as were seen, shape (7,).

    They are drawn a little towards 1: each weekday is credited with a few discharges that were as expected.
    """
    factor = np.ones(WEEK)
    plain = (at_risk * -np.expm1(-hazard[:, None])).sum(axis=0)
    wanted = seen * (plain / (plain + _PRIOR)) + plain * (_PRIOR / (plain + _PRIOR)) if plain.all() else plain
    for _ in range(_ITERATIONS):
        expected = (at_risk * -np.expm1(-hazard[:, None] * factor)).sum(axis=0)
        factor = factor * np.divide(wanted, expected, out=np.ones(WEEK), where=expected > 0)
    return factor


@dataclass(frozen=True)
class Now:
    """How far a day has gone: at its end nobody comes or leaves any more."""

    gone: float = 1.0  # share of its discharges that are over
    come: float = 1.0  # share of its arrivals that are over


def forecast(
    rates: Rates,
    hazard: Floats,
    elapsed: Days,
    *,
    today: int,
    horizons: int,
    now: Now | None = None,
    share: float = 1.0,
) -> Floats:
    """Return the distributions of the beds taken at the end of each next day, by who is there and who will come.

    Parameters
    ----------
    hazard : array of float64, shape (n, size) or (size,)
        Of each who is there, by day of the stay, or of all alike.
    elapsed : array of int64, shape (n,)
        Days that each has stayed by the end of today.
    now : Now, optional
        The end of today, if not given.
    share : float
        Of the arrivals, that are counted: those of a unit.

    Returns
    -------
    array of float64, shape (horizons, size)
    """
    now, factor = now or Now(), rates.of_days(today, horizons)
    arrivals = Arrivals(rates.arrivals.mean * share, rates.arrivals.spread)
    coming = arrivals.present(today, horizons, rates.still(today, horizons), rest=1 - now.come)
    there = poisson_binomial(staying(hazard, elapsed, factor[1:], before=now.gone, today=float(factor[0])))
    laws = [convolve(mine, theirs) for mine, theirs in zip(there, coming, strict=True)]
    whole = np.zeros((horizons, max(map(len, laws))))
    for row, law in zip(whole, laws, strict=True):
        row[: len(law)] = law
    return whole
