"""How many will come on each of the next days, and how likely is who is there still there after some more?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.counts import LARGEST, cumulative_hazards, negative_binomial, total
from hi_ml.statistics.estimates import Floats

Days = NDArray[np.int64]
WEEK = 7
_PRIOR = 10.0  # arrivals, as many as on any day, that a weekday is credited with
_NARROWEST = 0.5  # days between a prediction and its bound, at least
_KNOTS = 201  # at which a law is kept
_TAIL = 0.02  # share of the like still there, below which the model leaves the word to all stays together
_FEWEST = 200  # stays from which a law is learned


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


@dataclass(frozen=True)
class Law:
    """How stays lie around their predictions, in units of the distance to the bound on that side.

    The interval's own claim is one: a half lies below the prediction, ``(1 - level) / 2`` below the low bound. A law of
    stays that were not trained on is the conformal predictive distribution (Vovk et al. 2019,
    doi:10.1007/s10994-018-5755-8), of as many quantiles as there are knots instead of two.
    """

    position: Floats  # float64, shape (k,), increasing; -1 is the low bound, 0 the prediction, 1 the high bound
    below: Floats  # float64, shape (k,), not decreasing; share of the stays that lie below

    @classmethod
    def claimed(cls, level: float, *, from_floor: bool = False) -> "Law":
        """Return the law that an interval of a level claims, normal on either side.

        Parameters
        ----------
        from_floor : bool
            Whether every interval begins at the smallest stay, so that all misses lie above.
        """
        reach = stats.norm.ppf(level if from_floor else (1 + level) / 2)
        position = np.linspace(-4, 4, _KNOTS)
        return cls(position, stats.norm.cdf(position * reach))

    @classmethod
    def of(cls, stay: Floats, over: NDArray[np.bool_], prediction: Floats, low: Floats, high: Floats) -> "Law | None":
        """Learn the law of stays that the model was not trained on, by the product limit of Kaplan and Meier.

        Parameters
        ----------
        stay : array of float64, shape (n,)
            In days; of who is still there those that have passed.
        over : array of bool, shape (n,)
        prediction, low, high : array of float64, shape (n,)
            In days.

        Returns
        -------
        Law or None
            None where too few stays are over.
        """
        if over.sum() < _FEWEST:
            return None
        position = _position(stay + 0.5 * ~over, prediction, low, high)
        at, index = np.unique(position, return_inverse=True)
        there = np.bincount(index)[::-1].cumsum()[::-1]
        after = np.cumprod(1 - np.bincount(index, weights=over, minlength=len(at)) / there)
        below = 1 - (np.append(1.0, after[:-1]) + after) / 2  # ties, which whole days make, share their middle
        knots = np.unique(np.quantile(at, np.linspace(0, 1, _KNOTS)))
        return cls(knots, np.interp(knots, at, below))

    def survival(self, prediction: Floats, low: Floats, high: Floats, size: int) -> Floats:
        """Return the chance to stay longer than 0, 1, 2, ... days, shape (n, size); it never rises."""
        days: Floats = np.arange(size, dtype=np.float64) + 0.5  # between the whole days that a stay may have
        position = _position(days[None], prediction[:, None], low[:, None], high[:, None])
        return 1 - np.interp(position, self.position, self.below, left=0.0, right=1.0)


def _position(stay: Floats, prediction: Floats, low: Floats, high: Floats) -> Floats:
    """Where a stay lies: below 0 in units of the distance to the low bound, above of that to the high one."""
    above = stay >= prediction
    width = np.where(above, high - prediction, prediction - low)
    return np.asarray((stay - prediction) / np.maximum(width, _NARROWEST))


def hazards(survival: Floats, everyone: Floats) -> Floats:
    """Turn survival curves into the cumulative hazard of leaving that each day adds; shape (n, size).

    Parameters
    ----------
    survival : array of float64, shape (n, size)
        As `Law.survival` returns it.
    everyone : array of float64, shape (size,)
        The hazards of all stays, which stand where hardly any like these is left.
    """
    before = np.concatenate([np.ones((len(survival), 1)), survival[:, :-1]], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.minimum(-np.log(survival / before), LARGEST)
    return np.where(survival < _TAIL, everyone, own)


def staying(
    hazard: Floats, elapsed: NDArray[np.int64], factors: Floats, *, before: float = 1.0, today: float = 1.0
) -> Floats:
    """Return the chance of each person to be there at the end of each of the next days; shape (horizons, n).

    Parameters
    ----------
    hazard : array of float64, shape (n, size) or (size,)
        Cumulative hazards by day of the stay; beyond the last day the last one stands.
    elapsed : array of int64, shape (n,)
        Days stayed by the end of today.
    factors : array of float64, shape (horizons,)
        What the hazards of each of the next days are multiplied by.
    before, today : float
        Share of today's discharges that are over, and the factor of today: who is there now may still leave today.
    """
    size = hazard.shape[-1]
    days = np.minimum(elapsed[:, None] + np.arange(len(factors) + 1), size - 1)
    of_days = hazard[days] if hazard.ndim == 1 else np.take_along_axis(hazard, days, axis=1)
    rest = (1 - before) * today * of_days[:, :1]
    chance: Floats = np.exp(-(rest + np.cumsum(of_days[:, 1:] * factors, axis=1))).T
    return chance


def of_all(
    admitted: NDArray[np.int64], left: NDArray[np.int64], today: int, size: int, weights: Floats | None = None
) -> Floats:
    """Estimate the hazards of all stays from what is known at the end of a day: those not over count as such.

    Parameters
    ----------
    admitted, left : array of int64, shape (n,)
        Days; ``left`` is later than ``today`` for who is there.
    """
    over = left <= today
    return cumulative_hazards(np.where(over, left, today) - admitted, over, size=size, weights=weights)
