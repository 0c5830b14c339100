"""How often would chance alone separate the groups this much?"""

import numpy as np
from numpy.typing import ArrayLike

from hi_ml.statistics.effect import LEVEL

_ROUNDING = 1e-12
"""Relative difference below which two sums of the same numbers count as tied."""


def permutation_p(values: ArrayLike, groups: ArrayLike, *, permutations: int, rng: np.random.Generator) -> float:
    """Test that values do not depend on the group, by permuting them over the rows.

    The statistic is the one-way F: with the total sum of squares fixed it rises with sum T_i^2 / n_i, so only the
    group sums are computed. Valid for any distribution; the F table is not, with many small unequal groups (Akritas
    & Arnold 2000).

    Parameters
    ----------
    values : array of float, shape (n,)
    groups : array of int, shape (n,)
        Codes from 0.
    permutations : int
        B; the smallest possible p-value is 1 / (B + 1).
    rng : numpy.random.Generator

    Returns
    -------
    float
        (b + 1) / (B + 1), b the permutations at least as far apart as the data (Phipson & Smyth 2010).

    References
    ----------
    Phipson & Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9, 39.
    https://doi.org/10.2202/1544-6115.1585
    """
    codes = np.asarray(groups)
    order = np.argsort(codes, kind="stable")
    shuffled = np.asarray(values, dtype=np.float64)[order]
    shuffled = shuffled - shuffled.mean()
    sizes = np.bincount(codes)
    sizes = sizes[sizes > 0]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def separation() -> float:
        return float((np.add.reduceat(shuffled, starts) ** 2 / sizes).sum())

    observed = separation() * (1 - _ROUNDING)
    as_far = 0
    for _ in range(permutations):
        rng.shuffle(shuffled)
        as_far += separation() >= observed
    return (as_far + 1) / (permutations + 1)


def enough_permutations(permutations: int, tests: int) -> bool:
    """Say whether the smallest possible p-value stays below 5 % after Holm over so many tests."""
    return tests / (permutations + 1) < LEVEL
