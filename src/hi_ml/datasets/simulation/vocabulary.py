"""Which words can stand in a simulated table, and how often each name does.

Every first name and surname is invented: a stem and an ending, joined. None belongs to a person of a real table.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

GENDERS = ("Female", "Male")
BLOOD_TYPES = ("A+", "A-", "AB+", "AB-", "B+", "B-", "O+", "O-")
CONDITIONS = ("Arthritis", "Asthma", "Cancer", "Diabetes", "Hypertension", "Obesity")
INSURERS = ("Aetna", "Blue Cross", "Cigna", "Medicare", "UnitedHealthcare")
ADMISSION_TYPES = ("Elective", "Emergency", "Urgent")
MEDICATIONS = ("Aspirin", "Ibuprofen", "Lipitor", "Paracetamol", "Penicillin")
TEST_RESULTS = ("Abnormal", "Inconclusive", "Normal")
ADVANCED_MEDICATIONS = ("Lipitor", "Penicillin")

_FIRST_STEMS = (
    "Bel Cor Dal El Fen Gar Hal Ir Jor Kel Lor Mar Nev Or Per Quin Ros Sel Tam Ul Var Wen Xan Yor Zel Bran Ced Del"
)
_FIRST_ENDINGS = (
    "adan amir anis eda elin emar enna ethan ibel idan imon ina iora isel itha oban olan omir onda orin ova ulan una "
    "uric yva"
)
_LAST_STEMS = (
    "Ald Birch Carn Dun East Fair Glen Harrow Ivel Kirk Lang Mord North Oak Pem Quarn Raven Stan Thorn Under Vale Whit "
    "Wolver Yar Ash Brock Cold Dray Elm Fros Gold Holm Ing Kes Lin Mal Nether Rother Sand Tarn"
)
_LAST_ENDINGS = (
    "acre beck borne bury by combe cote dale den field ford garth gate holt hurst lake leigh mere mont ridge shaw "
    "stead stow wick worth"
)
# Neighbouring ranks should not share a stem; both strides are coprime to the lengths of the lists (700 and 1,000).
_FIRST_STRIDE, _LAST_STRIDE = 207, 307


def _invented(stems: str, endings: str, stride: int) -> tuple[str, ...]:
    names = [stem + ending for stem in stems.split() for ending in endings.split()]
    return tuple(names[index * stride % len(names)] for index in range(len(names)))


FIRST_NAMES = _invented(_FIRST_STEMS, _FIRST_ENDINGS, _FIRST_STRIDE)
"""The 700 first names, the commonest first."""
SURNAMES = _invented(_LAST_STEMS, _LAST_ENDINGS, _LAST_STRIDE)
"""The 1,000 surnames, the commonest first."""

# Chance that two people share the name: implied by the same-name and same-hospital pairs of the real table.
FIRST_NAME_COLLISION = 0.0045
SURNAME_COLLISION = 0.0034


@cache
def rank_shares(count: int, collision: float) -> NDArray[np.float64]:
    """Shares of `count` names, proportional to 1 / (rank + a), of which two draws agree with chance `collision`.

    Parameters
    ----------
    count : int
        Number of names.
    collision : float
        Sum of the squared shares. Must lie between 1 / `count` and the value of the law at a = 0.

    Returns
    -------
    ndarray of float64, shape (count,)
        Falling, with sum 1. Read-only.

    Examples
    --------
    >>> shares = rank_shares(1000, 0.0034)
    >>> round(float((shares**2).sum()), 6)
    0.0034
    """
    ranks = np.arange(1, count + 1)

    def shares(shift: float) -> NDArray[np.float64]:
        weights = 1.0 / (ranks + shift)
        return np.asarray(weights / weights.sum(), dtype=np.float64)

    shift = brentq(lambda shift: float((shares(shift) ** 2).sum()) - collision, 0.0, 100.0 * count, xtol=1e-12)
    found = shares(shift)
    found.setflags(write=False)
    return found
