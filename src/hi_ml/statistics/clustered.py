"""How much less do observations of the same patient tell than independent ones?"""

import numpy as np
from numpy.typing import ArrayLike


def design_effect(outcomes: ArrayLike, arms: ArrayLike, clusters: ArrayLike) -> float:
    """Variance of the difference of two shares with clustered rows, over its variance with independent ones.

    Linearised: each row contributes (outcome - share of its arm) / n of its arm, with opposite signs in the two arms;
    rows are added within clusters before squaring.

    Parameters
    ----------
    outcomes : array of 0 and 1, shape (n,)
    arms : array of bool, shape (n,)
        Both must occur.
    clusters : array of int, shape (n,)
        Codes of the patients.

    Returns
    -------
    float
        At least 1: clusters never make rows count for more. 1 where an outcome never varies.
    """
    outcome, first = np.asarray(outcomes, dtype=np.float64), np.asarray(arms, dtype=bool)
    influence = np.empty_like(outcome)
    for arm, sign in ((first, 1.0), (~first, -1.0)):
        influence[arm] = sign * (outcome[arm] - outcome[arm].mean()) / arm.sum()
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    independent = float((influence**2).sum())
    if independent == 0.0:
        return 1.0
    return max(1.0, float((np.bincount(cluster, weights=influence) ** 2).sum()) / independent)
