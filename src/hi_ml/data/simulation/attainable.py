"""What the columns known at each horizon tell about stays and test results.

How well stays and test results can be predicted at best, given their distributions.

Each function takes one distribution per cell and the cells' weights, and returns the mean score of the best prediction
in each cell. Given the margin alone (one cell), it returns the score of the best constant.

How well bills can be predicted at best, with hospital effects that are known, or that had to be learned.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from hi_ml.data.simulation.outcomes import DAYS, mean_stay, result_table, stay_chances
from hi_ml.data.simulation.process import CENTRE_STAY, DataGeneratingProcess, Floats

Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Knowledge:
    """An outcome's distribution for each combination of what is known (a cell), and the cell of each admission."""

    chances: Floats  # ndarray, shape (cells, outcomes); chances of each outcome, given the cell. Rows sum to 1
    # ndarray, shape (cells,); expected admissions in the cell, given what is known of each at the admission. So
    # the margin is the same at every horizon
    weights: Floats
    cell: Cells  # int64, shape (admissions,); index of the cell of each admission

    @property
    def margin(self) -> Floats:
        """The outcome's chances where nothing is known, shape (1, outcomes)."""
        return np.asarray(np.average(self.chances, axis=0, weights=self.weights)[None, :], dtype=np.float64)


def stay_knowledge(law: DataGeneratingProcess, admissions: pd.DataFrame) -> dict[str, Knowledge]:
    """Return what is known of stays, 1 to 30 days, by horizon: the medication from `stay` on, and not at `admission`.

    Parameters
    ----------
    law : DataGeneratingProcess
        The law of one admission.
    admissions : DataFrame
        As `draw_admissions` returns it.

    Returns
    -------
    dict of str to Knowledge
        For `admission` and `stay`. Cells are age x condition x admission type (x medication), the last varying fastest.
    """
    chances = _stay_table(law, admissions)
    return _up_to_stay(chances, _codes(admissions, chances.shape[:4]))


def result_knowledge(law: DataGeneratingProcess, admissions: pd.DataFrame) -> dict[str, Knowledge]:
    """Return what is known of the three classes of test results at `admission`, `stay` and `discharge`.

    Until the discharge the length of stay is unknown and averaged over; at the discharge, cells are age x condition x
    days. Parameters as those of `stay_knowledge`.
    """
    stays, results = _stay_table(law, admissions), result_table(law, _ages(admissions))
    known = np.einsum("actmd,acdk->actmk", stays, results)
    cell = _codes(admissions, known.shape[:4])
    before = _up_to_stay(known, cell)
    weights = np.einsum("actm,actmd->acd", before["stay"].weights.reshape(known.shape[:4]), stays)
    person = cell // (known.shape[2] * known.shape[3])
    days = admissions["stay"].to_numpy() - 1
    discharge = Knowledge(results.reshape(-1, known.shape[-1]), weights.reshape(-1), person * len(DAYS) + days)
    return {**before, "discharge": discharge}


def _ages(admissions: pd.DataFrame) -> Cells:
    return np.arange(admissions["age"].min(), admissions["age"].max() + 1)


def _stay_table(law: DataGeneratingProcess, admissions: pd.DataFrame) -> Floats:
    """Return the chances of every stay, axes age, condition, admission type, medication and days."""
    return stay_chances(law.stay, mean_stay(law.stay, _ages(admissions)))


def _codes(admissions: pd.DataFrame, shape: tuple[int, ...]) -> Cells:
    """Return the cell of each admission among age x condition x admission type x medication."""
    age = admissions["age"] - admissions["age"].min()
    others = (admissions[column].to_numpy() for column in ("condition", "admission_type", "medication"))
    return np.asarray(np.ravel_multi_index((age.to_numpy(), *others), shape), dtype=np.int64)


def _up_to_stay(chances: Floats, cell: Cells) -> dict[str, Knowledge]:
    """Return what is known without and with the medication, the last axis of cells in `chances`."""
    medications, outcomes = chances.shape[-2:]
    # Every patient gets each medication with the same chance.
    unknown = chances.mean(axis=-2).reshape(-1, outcomes)
    weights = np.bincount(cell // medications, minlength=len(unknown)).astype(np.float64)
    spread = np.repeat(weights / medications, medications)
    return {
        "admission": Knowledge(unknown, weights, cell // medications),
        "stay": Knowledge(chances.reshape(-1, outcomes), spread, cell),
    }


Scores = dict[str, float]

HALF = 0.5
"""The chance below a median."""


def stay_scores(chances: Floats, weights: Floats) -> Scores:
    """Return the scores of the Bayes rules for days.

    Parameters
    ----------
    chances : ndarray, shape (cells, 30)
        Chances of 1 to 30 days in each cell.
    weights : ndarray, shape (cells,)
        Weights of the cells, of any sum above 0.

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
    """Return the scores of the Bayes rules for classes.

    Parameters
    ----------
    chances : ndarray, shape (cells, classes)
        Chances of the classes in each cell.
    weights : ndarray, shape (cells,)
        Weights of the cells, of any sum above 0.

    Returns
    -------
    dict of str to float
        `log_loss` in nats and `brier` (sum over the classes) of the chances; `accuracy` of the likeliest class.
    """
    return {
        "log_loss": float(np.average(-(chances * np.log(chances)).sum(axis=1), weights=weights)),
        "accuracy": float(np.average(chances.max(axis=1), weights=weights)),
        "brier": float(np.average(1 - (chances**2).sum(axis=1), weights=weights)),
    }


TRAINED = 0.6
"""Share of the groups that the default split gives to training."""
_CHUNK = 20_000  # rows of 30 days at a time: 5 MB an array
_HALVINGS = 40  # of an interval of some 10^4 USD, to far below a cent


def bill_scores(
    law: DataGeneratingProcess, admissions: pd.DataFrame, stays: dict[str, Knowledge]
) -> dict[str, dict[str, Scores]]:
    """Return the best scores for bills: `mae` and `rmse` in USD, `r2`.

    The optimum knows every coefficient. What is attainable lacks one thing: the hospital effects, which are known only
    up to their posterior variance tau^2 v / (v + n tau^2), given n training bills of variance v.

    Parameters
    ----------
    law : DataGeneratingProcess
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


def _scattered(law: DataGeneratingProcess) -> Scores:
    """Score the centre of x = U(-w, w) + N(0, s^2), whose E|x| is E[y |y|] / (2 w) for y ~ N(w, s^2)."""
    width, noise = law.bill.half_width, law.bill.noise
    z = np.array(width / noise)
    squares = (width**2 + noise**2) * (2 * ndtr(z) - 1) + 2 * width * noise * _density(z)
    return {"mae": float(squares / (2 * width)), "rmse": float(np.sqrt(width**2 / 3 + noise**2)), "r2": 0.0}


def _constant(law: DataGeneratingProcess, admissions: pd.DataFrame, stays: Knowledge) -> Scores:
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


def _informed(
    law: DataGeneratingProcess, hospital: NDArray[np.int32], stays: Knowledge, total: float
) -> dict[str, Scores]:
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


def _day_offsets(law: DataGeneratingProcess, days: int) -> Floats:
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
