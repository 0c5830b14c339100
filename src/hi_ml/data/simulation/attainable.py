"""How well can stays, test results and bills be predicted at best, from what is known at each horizon?

Stays depend on age, condition, admission type and medication, test results on age, condition and stay: so few
combinations that every distribution is one table over all of them. Of a cell of such a table the best prediction is
known, and with it its score. Bills have hospital effects besides, which are known or have to be learned. An admission
type that nobody wrote down is a level of its own, of which each type has the same chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from hi_ml.data.simulation.process import CENTRE_STAY, DAYS, DataGeneratingProcess
from hi_ml.statistics.estimates import Floats, Integers

Scores = dict[str, float]

TRAINED = 0.6
"""Share of the groups that the default split gives to training."""
HALF = 0.5
"""The chance below a median."""
_CHUNK = 20_000  # rows of 30 days at a time: 5 MB an array
_HALVINGS = 40  # of an interval of some 10^4 USD, to far below a cent


@dataclass(frozen=True)
class Information:
    """An outcome's distribution for each combination of what is known (a cell), and the cell of each admission."""

    chances: Floats  # shape (cells, outcomes); chances of each outcome, given the cell; rows sum to 1
    # shape (cells,); expected admissions in the cell, given what is known of each at the admission: so the margin is
    # the same at every horizon
    weights: Floats
    cell: Integers  # int64, shape (admissions,); index of the cell of each admission

    @property
    def margin(self) -> Floats:
        """The outcome's chances where nothing is known, shape (1, outcomes)."""
        return np.asarray(np.average(self.chances, axis=0, weights=self.weights)[None, :], dtype=np.float64)


def stay_information(process: DataGeneratingProcess, admissions: pd.DataFrame) -> dict[str, Information]:
    """Return what is known of stays, 1 to 30 days, at `admission` and, with the medication, at `stay`.

    Cells are age x condition x admission type (x medication), the last varying fastest.
    """
    chances = _stay_table(process, admissions)
    return _up_to_stay(chances, _cells(admissions, chances.shape[:4]))


def result_information(process: DataGeneratingProcess, admissions: pd.DataFrame) -> dict[str, Information]:
    """Return what is known of the three classes of test results at `admission`, `stay` and `discharge`.

    Until the discharge the length of stay is unknown and averaged over; at the discharge, cells are age x condition x
    days.
    """
    conditions = np.arange(len(process.result.condition))
    results = process.result.chances(_ages(admissions)[:, None, None], conditions[:, None], DAYS)
    stays = _stay_table(process, admissions)
    averaged = np.einsum("actmd,acdk->actmk", stays, results)
    cell = _cells(admissions, averaged.shape[:4])
    before = _up_to_stay(averaged, cell)
    weights = np.einsum("actm,actmd->acd", before["stay"].weights.reshape(averaged.shape[:4]), stays)
    person = cell // (averaged.shape[2] * averaged.shape[3])
    days = admissions["stay"].to_numpy() - 1
    discharge = Information(results.reshape(-1, averaged.shape[-1]), weights.reshape(-1), person * len(DAYS) + days)
    return {**before, "discharge": discharge}


def _ages(admissions: pd.DataFrame) -> Integers:
    return np.arange(admissions["age"].min(), admissions["age"].max() + 1)


def _stay_table(process: DataGeneratingProcess, admissions: pd.DataFrame) -> Floats:
    """Return the chances of every stay, axes age, condition, admission type (and none), medication and days."""
    chances = process.stay.chances(process.stay.mean_of_all(_ages(admissions)))
    if not process.untyped.any():
        return chances
    return np.concatenate([chances, chances.mean(axis=2, keepdims=True)], axis=2)


def _cells(admissions: pd.DataFrame, shape: tuple[int, ...]) -> Integers:
    """Return the cell of each admission among age x condition x admission type x medication."""
    age = admissions["age"] - admissions["age"].min()
    kind = admissions["admission_type"].where(admissions["typed"], shape[2] - 1)
    others = (admissions["condition"].to_numpy(), kind.to_numpy(), admissions["medication"].to_numpy())
    return np.asarray(np.ravel_multi_index((age.to_numpy(), *others), shape), dtype=np.int64)


def _up_to_stay(chances: Floats, cell: Integers) -> dict[str, Information]:
    """Return what is known without and with the medication, the last axis of cells in `chances`."""
    medications, outcomes = chances.shape[-2:]
    # Every patient gets each medication with the same chance.
    unknown = chances.mean(axis=-2).reshape(-1, outcomes)
    weights = np.bincount(cell // medications, minlength=len(unknown)).astype(np.float64)
    spread = np.repeat(weights / medications, medications)
    return {
        "admission": Information(unknown, weights, cell // medications),
        "stay": Information(chances.reshape(-1, outcomes), spread, cell),
    }


def stay_scores(chances: Floats, weights: Floats) -> Scores:
    """Return the scores of the Bayes rules for days, means over cells of some weights.

    Parameters
    ----------
    chances : array, shape (cells, 30)
        Of 1 to 30 days in each cell; the margin alone, one cell, gives the scores of the best constant.
    weights : array, shape (cells,)

    Returns
    -------
    dict of str to float
        `mae` of the median and `rmse` of the mean, in days; `r2` of the mean; `within_1_day`, the share of stays at
        most one day from the day around which most of them lie.
    """
    mean = chances @ DAYS
    variance = chances @ DAYS.astype(np.float64) ** 2 - mean**2
    mse = np.average(variance, weights=weights)
    between = np.average((mean - np.average(mean, weights=weights)) ** 2, weights=weights)
    median = DAYS[(np.cumsum(chances, axis=1) < HALF).sum(axis=1)]
    padded = np.pad(chances, ((0, 0), (1, 1)))
    near = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]).max(axis=1)
    return {
        "mae": float(np.average((chances * np.abs(DAYS - median[:, None])).sum(axis=1), weights=weights)),
        "rmse": float(np.sqrt(mse)),
        "r2": float(between / (mse + between)),
        "within_1_day": float(np.average(near, weights=weights)),
    }


def result_scores(chances: Floats, weights: Floats) -> Scores:
    """Return the scores of the Bayes rules for classes, as `stay_scores` does.

    `log_loss` in nats and `brier` (sum over the classes) of the chances; `accuracy` of the likeliest class.
    """
    return {
        "log_loss": float(np.average(-(chances * np.log(chances)).sum(axis=1), weights=weights)),
        "accuracy": float(np.average(chances.max(axis=1), weights=weights)),
        "brier": float(np.average(1 - (chances**2).sum(axis=1), weights=weights)),
    }


def bill_scores(
    process: DataGeneratingProcess, admissions: pd.DataFrame, stays: Mapping[str, Information]
) -> dict[str, dict[str, Scores]]:
    """Return the best scores for bills: `mae` and `rmse` in USD, `r2`.

    The optimum knows every coefficient. What is attainable lacks one thing: the hospital effects, which are known only
    up to their posterior variance tau^2 v / (v + n tau^2), given n training bills of variance v.

    Parameters
    ----------
    stays : mapping of str to Information
        What is known of the stays, at `admission` and `stay`.

    Returns
    -------
    dict
        By horizon (`admission`, `stay`, `discharge`) and then `constant`, `optimal` and `attainable`.
    """
    if process.bill.half_width:
        margin = _score_of_noise(process)
        same = dict.fromkeys(("constant", "optimal", "attainable"), margin)
        return dict.fromkeys((*stays, "discharge"), same)
    constant = _score_of_constant(process, admissions, stays["admission"])
    # At the discharge the stay is known: one cell, of one possible stay.
    n = len(admissions)
    discharge = Information(np.ones((1, 1)), np.full(1, float(n)), np.zeros(n, dtype=np.int64))
    hospital, total = admissions["hospital"].to_numpy(), constant["rmse"] ** 2
    return {
        horizon: {"constant": constant} | _scores_of_informed(process, hospital, information, total)
        for horizon, information in {**stays, "discharge": discharge}.items()
    }


def _score_of_noise(process: DataGeneratingProcess) -> Scores:
    """Score the centre of x = U(-w, w) + N(0, s^2), whose E|x| is E[y |y|] / (2 w) for y ~ N(w, s^2)."""
    width, noise = process.bill.half_width, process.bill.noise
    z = np.array(width / noise)
    squares = (width**2 + noise**2) * (2 * ndtr(z) - 1) + 2 * width * noise * _density(z)
    return {"mae": float(squares / (2 * width)), "rmse": float(np.sqrt(width**2 / 3 + noise**2)), "r2": 0.0}


def _score_of_constant(process: DataGeneratingProcess, admissions: pd.DataFrame, stays: Information) -> Scores:
    """Score the best constant against the mixture of all hospitals, insurers and days."""
    bill = process.bill
    insurers = len(bill.insurer)
    payer = admissions["hospital"].to_numpy().astype(np.int64) * insurers + admissions["insurer"].to_numpy()
    payers = len(bill.hospital) * insurers  # a hospital and an insurer
    weights = np.stack([np.bincount(payer, stays.chances[stays.cell, day], payers) for day in range(len(DAYS))], axis=1)
    offsets = (bill.hospital[:, None] + bill.insurer).reshape(-1, 1) + _day_offsets(process, len(DAYS))
    chances = (weights / weights.sum()).reshape(1, -1)
    centres = offsets.reshape(-1)
    variance = bill.noise**2 + _variance(chances, centres)[0]
    mae = _mean_error(centres, chances, np.array([bill.noise]))[0]
    return {"mae": float(mae), "rmse": float(np.sqrt(variance)), "r2": 0.0}


def _scores_of_informed(
    process: DataGeneratingProcess, hospital: NDArray[np.int32], stays: Information, total: float
) -> dict[str, Scores]:
    """Score the best predictions, first with known and then with learned hospital effects; `total` in USD^2."""
    noise = process.bill.noise**2
    centres = _day_offsets(process, stays.chances.shape[1])
    # Counted, not expected: the hospitals are those of the very admissions.
    weights = np.bincount(stays.cell, minlength=len(stays.chances))
    mse = noise + float(np.average(_variance(stays.chances, centres), weights=weights))
    counts = np.bincount(hospital, minlength=len(process.bill.hospital))
    prior, trained = process.bill.hospital_sd**2, TRAINED * (counts - 1).clip(0)
    learned = np.asarray(prior * mse / (mse + trained * prior), dtype=np.float64)
    pairs, numbers = np.unique(stays.cell * len(counts) + hospital, return_counts=True)
    cell, house = np.divmod(pairs, len(counts))
    optimal = _mean_error(centres, stays.chances, np.full(len(stays.chances), process.bill.noise))
    attainable = _mean_error(centres, stays.chances[cell], np.sqrt(noise + learned[house]))
    unlearned = float(np.average(learned, weights=counts))
    return {
        "optimal": _scores(float(np.average(optimal, weights=weights)), mse, total),
        "attainable": _scores(float(np.average(attainable, weights=numbers)), mse + unlearned, total),
    }


def _scores(mae: float, mse: float, total: float) -> Scores:
    return {"mae": mae, "rmse": float(np.sqrt(mse)), "r2": 1 - mse / total}


def _day_offsets(process: DataGeneratingProcess, days: int) -> Floats:
    """Return what each possible stay adds to the bill, in USD; nothing unknown where there is but one."""
    return np.asarray(process.bill.per_day * (DAYS - CENTRE_STAY) if days > 1 else np.zeros(1), dtype=np.float64)


def _variance(chances: Floats, centres: Floats) -> Floats:
    return np.asarray(chances @ centres**2 - (chances @ centres) ** 2, dtype=np.float64)


def _mean_error(centres: Floats, chances: Floats, sd: Floats) -> Floats:
    """Return E|Y - median| of mixtures of normals, in USD, shape (mixtures,).

    Parameters
    ----------
    centres : array, shape (components,)
        Means of the components, in USD.
    chances : array, shape (mixtures, components)
        Weights of the components; rows sum to 1.
    sd : array, shape (mixtures,)
        Standard deviation of each mixture's components, in USD.
    """
    parts = [slice(start, start + _CHUNK) for start in range(0, len(chances), _CHUNK)]
    return np.concatenate([_mean_error_of_chunk(centres, chances[part], sd[part, None]) for part in parts])


def _mean_error_of_chunk(centres: Floats, chances: Floats, sd: Floats) -> Floats:
    z = (centres - medians(centres, chances, sd)) / sd
    return np.asarray((chances * sd * (z * (2 * ndtr(z) - 1) + 2 * _density(z))).sum(axis=1), dtype=np.float64)


def medians(centres: Floats, chances: Floats, sd: Floats) -> Floats:
    """Return the medians of mixtures of normals, shape (mixtures, 1); the arguments are those of their mean error."""
    # The median of a mixture lies between the medians of its components.
    low, high = np.full(sd.shape, centres.min()), np.full(sd.shape, centres.max())
    for _ in range(_HALVINGS):
        median = (low + high) / 2
        below = (chances * ndtr((median - centres) / sd)).sum(axis=1, keepdims=True) < HALF
        low, high = np.where(below, median, low), np.where(below, high, median)
    return np.asarray((low + high) / 2)


def _density(z: Floats) -> Floats:
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), dtype=np.float64)
