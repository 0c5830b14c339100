"""How well can bills with a heavy tail be predicted at best, from what is known at each horizon?

The logarithm of a bill is normal, given age, condition and stay: of what is known the bill is a mixture of log-normals,
one for each possible stay, times a factor that age and condition tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from hi_ml.data.simulation.attainable import Information, Scores, medians
from hi_ml.data.simulation.process import CENTRE_STAY, DAYS, HeavyBillDistribution
from hi_ml.statistics.estimates import Floats


@dataclass(frozen=True)
class Mixtures:
    """Of mixtures of log-normal bills, each of shape (mixtures,), in USD."""

    mean: Floats
    variance: Floats  # USD^2
    mae: Floats  # mean distance from the median

    @classmethod
    def of(cls, centres: Floats, chances: Floats, noise: float) -> "Mixtures":
        """Mix log-normals.

        Parameters
        ----------
        centres : array, shape (components,)
            Means of the logarithms.
        chances : array, shape (mixtures, components)
            Rows sum to 1.
        noise : float
            Standard deviation of the logarithms of every component.
        """
        middle = medians(centres, chances, np.full((len(chances), 1), noise))
        z = (middle - centres) / noise
        means = np.exp(centres + noise**2 / 2)
        mean = chances @ means
        square = chances @ np.exp(2 * centres + 2 * noise**2)
        distance = means * (1 - 2 * ndtr(z - noise)) + np.exp(middle) * (2 * ndtr(z) - 1)
        return cls(mean, square - mean**2, (chances * distance).sum(axis=1))


def heavy_bill_scores(
    bill: HeavyBillDistribution, admissions: pd.DataFrame, stays: Mapping[str, Information]
) -> dict[str, dict[str, Scores]]:
    """Return the best scores for bills, as `hi_ml.data.simulation.attainable.bill_scores` does.

    So few coefficients decide them that learning costs nothing to speak of: what is attainable is the optimum.
    """
    factor = _factors(bill, admissions)
    levels, level = np.unique(factor, return_inverse=True)
    known = stays["admission"]
    weights = np.stack([np.bincount(level, known.chances[known.cell, day]) for day in range(len(DAYS))], axis=1)
    centres = np.log(levels)[:, None] + _day_logs(bill)
    margin = Mixtures.of(centres.ravel(), weights.reshape(1, -1) / weights.sum(), bill.noise)
    constant = {"mae": float(margin.mae[0]), "rmse": float(np.sqrt(margin.variance[0])), "r2": 0.0}
    scores = {}
    for horizon, (times, mixtures) in _known(bill, admissions, stays).items():
        mse = float((times**2 * mixtures.variance).mean())
        best = {"mae": float((times * mixtures.mae).mean()), "rmse": mse**0.5, "r2": 1 - mse / constant["rmse"] ** 2}
        scores[horizon] = {"constant": constant, "optimal": best, "attainable": best}
    return scores


def expected_heavy_bills(
    bill: HeavyBillDistribution, admissions: pd.DataFrame, stays: Mapping[str, Information]
) -> dict[str, Floats]:
    """Return the expected bill of each admission in USD, by horizon."""
    known = _known(bill, admissions, stays)
    return {horizon: np.asarray(times * mixtures.mean) for horizon, (times, mixtures) in known.items()}


def _known(
    bill: HeavyBillDistribution, admissions: pd.DataFrame, stays: Mapping[str, Information]
) -> dict[str, tuple[Floats, Mixtures]]:
    """By horizon, the factor of each admission, and what it multiplies; the stay is known at the discharge."""
    factor, known = _factors(bill, admissions), {}
    for horizon, stay in stays.items():
        cells = Mixtures.of(_day_logs(bill), stay.chances, bill.noise)
        known[horizon] = factor, Mixtures(*(part[stay.cell] for part in vars(cells).values()))
    day = np.exp(bill.per_day * (admissions["stay"].to_numpy() - CENTRE_STAY))
    return {**known, "discharge": (factor * day, Mixtures.of(np.zeros(1), np.ones((1, 1)), bill.noise))}


def _factors(bill: HeavyBillDistribution, admissions: pd.DataFrame) -> Floats:
    age, condition = (admissions[column].to_numpy() for column in ("age", "condition"))
    return np.exp(bill.log_mean(age, condition, np.array(CENTRE_STAY)))


def _day_logs(bill: HeavyBillDistribution) -> Floats:
    return np.asarray(bill.per_day * (DAYS - CENTRE_STAY), dtype=np.float64)
