"""How well bills can be predicted at best, with hospital effects that are known, or that had to be learned."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from hi_ml.datasets.simulation.knowledge import Knowledge
from hi_ml.datasets.simulation.law import CENTRE_STAY, Floats, Law
from hi_ml.datasets.simulation.outcomes import DAYS
from hi_ml.datasets.simulation.scores import HALF, Scores

TRAINED = 0.6
"""Share of the groups that the default split gives to training."""
_CHUNK = 20_000  # rows of 30 days at a time: 5 MB an array
_HALVINGS = 40  # of an interval of some 10^4 USD, to far below a cent


def bill_scores(law: Law, admissions: pd.DataFrame, stays: dict[str, Knowledge]) -> dict[str, dict[str, Scores]]:
    """Return the best scores for bills: `mae` and `rmse` in USD, `r2`.

    The optimum knows every coefficient. What is attainable lacks one thing: the hospital effects, which are known only
    up to their posterior variance tau^2 v / (v + n tau^2), given n training bills of variance v.

    Parameters
    ----------
    law : Law
        The law of one admission.
    admissions : DataFrame
        As `draw_admissions` returns it.
    stays : dict of str to Knowledge
        What is known of the stays, at `admission` and `stay`.

    Returns
    -------
    dict
        By horizon (`admission`, `stay`, `discharge`) and then `constant`, `optimal` and `attainable`.
    """
    if law.bill.half_width:
        alone = _scattered(law)
        return {
            horizon: dict.fromkeys(("constant", "optimal", "attainable"), alone) for horizon in (*stays, "discharge")
        }
    constant = _constant(law, admissions, stays["admission"])
    total = constant["rmse"] ** 2
    # At the discharge the stay is known: one cell, of one possible stay.
    known = Knowledge(np.ones((1, 1)), np.full(1, float(len(admissions))), np.zeros(len(admissions), dtype=np.int64))
    return {
        horizon: {"constant": constant} | _informed(law, admissions["hospital"].to_numpy(), knowledge, total)
        for horizon, knowledge in {**stays, "discharge": known}.items()
    }


def _scattered(law: Law) -> Scores:
    """Score the centre of x = U(-w, w) + N(0, s^2), whose E|x| is E[y |y|] / (2 w) for y ~ N(w, s^2)."""
    width, noise = law.bill.half_width, law.bill.noise
    z = np.array(width / noise)
    squares = (width**2 + noise**2) * (2 * ndtr(z) - 1) + 2 * width * noise * _density(z)
    return {"mae": float(squares / (2 * width)), "rmse": float(np.sqrt(width**2 / 3 + noise**2)), "r2": 0.0}


def _constant(law: Law, admissions: pd.DataFrame, stays: Knowledge) -> Scores:
    """Score the best constant against the mixture of all hospitals, insurers and days."""
    insurers = len(law.bill.insurer)
    place = admissions["hospital"].to_numpy().astype(np.int64) * insurers + admissions["insurer"].to_numpy()
    places = len(law.bill.hospital) * insurers
    weights = np.stack([np.bincount(place, stays.chances[stays.cell, day], places) for day in range(len(DAYS))], axis=1)
    offsets = (law.bill.hospital[:, None] + law.bill.insurer).reshape(-1, 1) + _day_offsets(law, len(DAYS))
    chances = (weights / weights.sum()).reshape(1, -1)
    centres = offsets.reshape(-1)
    variance = law.bill.noise**2 + _variance(chances, centres)[0]
    mae = _mean_error(centres, chances, np.array([law.bill.noise]))[0]
    return {"mae": float(mae), "rmse": float(np.sqrt(variance)), "r2": 0.0}


def _informed(law: Law, hospital: NDArray[np.int32], stays: Knowledge, total: float) -> dict[str, Scores]:
    """Score the best predictions, first with known and then with learned hospital effects; `total` in USD^2."""
    noise = law.bill.noise**2
    centres = _day_offsets(law, stays.chances.shape[1])
    # Counted, not expected: the hospitals are those of the very admissions.
    weights = np.bincount(stays.cell, minlength=len(stays.chances))
    mse = noise + float(np.average(_variance(stays.chances, centres), weights=weights))
    counts = np.bincount(hospital, minlength=len(law.bill.hospital))
    learned = _posterior_variance(law.bill.hospital_sd**2, mse, TRAINED * (counts - 1).clip(0))
    pairs, numbers = np.unique(stays.cell * len(counts) + hospital, return_counts=True)
    cell, place = np.divmod(pairs, len(counts))
    optimal = _mean_error(centres, stays.chances, np.full(len(stays.chances), law.bill.noise))
    attainable = _mean_error(centres, stays.chances[cell], np.sqrt(noise + learned[place]))
    unlearned = float(np.average(learned, weights=counts))
    return {
        "optimal": _scores(float(np.average(optimal, weights=weights)), mse, total),
        "attainable": _scores(float(np.average(attainable, weights=numbers)), mse + unlearned, total),
    }


def _scores(mae: float, mse: float, total: float) -> Scores:
    return {"mae": mae, "rmse": float(np.sqrt(mse)), "r2": 1 - mse / total}


def _posterior_variance(prior: float, residual: float, count: Floats) -> Floats:
    return np.asarray(prior * residual / (residual + count * prior), dtype=np.float64)


def _day_offsets(law: Law, days: int) -> Floats:
    """Return what each possible stay adds to the bill, in USD; nothing unknown where there is but one."""
    return np.asarray(law.bill.per_day * (DAYS - CENTRE_STAY) if days > 1 else np.zeros(1), dtype=np.float64)


def _variance(chances: Floats, centres: Floats) -> Floats:
    return np.asarray(chances @ centres**2 - (chances @ centres) ** 2, dtype=np.float64)


def _mean_error(centres: Floats, chances: Floats, sd: Floats) -> Floats:
    """Return E|Y - median| of mixtures of normals.

    Parameters
    ----------
    centres : ndarray, shape (components,)
        Means of the components, in USD.
    chances : ndarray, shape (mixtures, components)
        Weights of the components. Rows sum to 1.
    sd : ndarray, shape (mixtures,)
        Standard deviation of each mixture's components, in USD.

    Returns
    -------
    ndarray, shape (mixtures,)
        In USD.
    """
    parts = [slice(start, start + _CHUNK) for start in range(0, len(chances), _CHUNK)]
    return np.concatenate([_mean_error_of_chunk(centres, chances[part], sd[part, None]) for part in parts])


def _mean_error_of_chunk(centres: Floats, chances: Floats, sd: Floats) -> Floats:
    # The median of a mixture lies between the medians of its components.
    low, high = np.full(sd.shape, centres.min()), np.full(sd.shape, centres.max())
    for _ in range(_HALVINGS):
        median = (low + high) / 2
        below = (chances * ndtr((median - centres) / sd)).sum(axis=1, keepdims=True) < HALF
        low, high = np.where(below, median, low), np.where(below, high, median)
    z = (centres - (low + high) / 2) / sd
    return np.asarray((chances * sd * (z * (2 * ndtr(z) - 1) + 2 * _density(z))).sum(axis=1), dtype=np.float64)


def _density(z: Floats) -> Floats:
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), dtype=np.float64)
