"""What the columns known at each horizon tell about stays and test results."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.datasets.simulation.law import Floats, Law
from hi_ml.datasets.simulation.outcomes import DAYS, mean_stay, result_table, stay_chances

Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Knowledge:
    """An outcome's distribution for each combination of what is known (a cell), and the cell of each admission.

    Attributes
    ----------
    chances : ndarray, shape (cells, outcomes)
        Chances of each outcome, given the cell. Rows sum to 1.
    weights : ndarray, shape (cells,)
        Expected admissions in the cell, given what is known of each at the admission. So the margin is the same at
        every horizon.
    cell : ndarray of int64, shape (admissions,)
        Index of the cell of each admission.
    """

    chances: Floats
    weights: Floats
    cell: Cells

    @property
    def margin(self) -> Floats:
        """The outcome's chances where nothing is known, shape (1, outcomes)."""
        return np.asarray(np.average(self.chances, axis=0, weights=self.weights)[None, :], dtype=np.float64)


def stay_knowledge(law: Law, admissions: pd.DataFrame) -> dict[str, Knowledge]:
    """Return what is known of stays, 1 to 30 days, by horizon: the medication from `stay` on, and not at `admission`.

    Parameters
    ----------
    law : Law
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


def result_knowledge(law: Law, admissions: pd.DataFrame) -> dict[str, Knowledge]:
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


def _stay_table(law: Law, admissions: pd.DataFrame) -> Floats:
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
