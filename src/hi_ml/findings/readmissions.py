"""Which discharges were followed by another admission of the same patient?"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.statistics.effect import Integers


def index_discharges(rows: pd.DataFrame, patients: Integers, window: int) -> pd.DataFrame:
    """Follow each discharge of a known patient for a window of days.

    Discharges whose window reaches beyond the last admission of the table are left out: their readmission could not
    have been seen.

    Parameters
    ----------
    rows : DataFrame
        One row per admission, with `admitted_on` and `discharged_on`.
    patients : ndarray of int64, shape (n,)
        Number of the patient; -1 where unknown.
    window : int
        Days after discharge.

    Returns
    -------
    DataFrame
        The rows that can be followed, with `patient` (int) and `readmitted` (bool): another admission of the patient
        began 0 to `window` days after the discharge.
    """
    known = rows["admitted_on"].notna() & (rows["discharged_on"] >= rows["admitted_on"]) & (patients >= 0)
    stays = rows[known].assign(patient=pd.factorize(patients[known.to_numpy()])[0])
    stays = stays.sort_values(["patient", "admitted_on"], kind="stable")
    followed = stays["discharged_on"] + pd.Timedelta(days=window) <= rows["admitted_on"].max()
    marked: pd.DataFrame = stays.assign(readmitted=_readmitted(stays, window))[followed]
    return marked


def _readmitted(stays: pd.DataFrame, window: int) -> NDArray[np.bool_]:
    """Look up, in stays sorted by patient and admission, the first that begins at or after each discharge."""
    patient = stays["patient"].to_numpy(dtype=np.int64)
    start, end = (
        (stays[name] - stays["admitted_on"].min()).dt.days.to_numpy(dtype=np.int64)
        for name in ("admitted_on", "discharged_on")
    )
    apart = int(end.max(initial=0)) + window + 1
    admitted, discharged = patient * apart + start, patient * apart + end
    place = np.arange(admitted.size)
    following = np.maximum(np.searchsorted(admitted, discharged, side="left"), place + 1)
    reached = np.append(admitted, np.iinfo(np.int64).max)[following]
    within: NDArray[np.bool_] = reached <= discharged + window
    return within
