"""How often would chance alone separate the groups this much?"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_ml.statistics.estimates import LEVEL

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


@dataclass(frozen=True)
class Chance:
    """How a statistic stands among those of permuted data."""

    p: float
    exceedances: int  # permuted statistics at least as large as the observed one
    permuted: tuple[float, ...]  # all that were drawn
    stopped: bool  # whether enough exceedances ended the drawing early


def besag_clifford(observed: float, permuted: Iterable[float], *, stop_after: int) -> Chance:
    """Test by permuted statistics, drawn one by one until enough of them exceed the observed one.

    Parameters
    ----------
    observed : float
        Large values speak against chance.
    permuted : iterable of float
        Statistics of permuted data, each computed when it is asked for.
    stop_after : int
        h, the exceedances that end the drawing: that p is large is known by then.

    Returns
    -------
    Chance
        With p = h / l if the l-th statistic was the h-th exceedance, else (b + 1) / (B + 1) of all B; either way a
        true null hypothesis has p <= a with a probability of at most a.

    References
    ----------
    Besag & Clifford (1991), Biometrika 78, 301. https://doi.org/10.1093/biomet/78.2.301

    Examples
    --------
    >>> besag_clifford(0.5, iter([0.1, 0.9, 0.2, 0.7, 0.3]), stop_after=2)
    Chance(p=0.5, exceedances=2, permuted=(0.1, 0.9, 0.2, 0.7), stopped=True)
    """
    tied = observed - _ROUNDING * max(1.0, abs(observed))
    drawn: list[float] = []
    exceedances = 0
    for statistic in permuted:
        drawn.append(statistic)
        exceedances += statistic >= tied
        if exceedances == stop_after:
            return Chance(exceedances / len(drawn), exceedances, tuple(drawn), stopped=True)
    return Chance((exceedances + 1) / (len(drawn) + 1), exceedances, tuple(drawn), stopped=False)


def exchange_groups(group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Exchange whole groups of rows among the groups of equal size.

    Parameters
    ----------
    group : array of int64, shape (n,)
        Any numbers; rows of equal number are one group.

    Returns
    -------
    array of int64, shape (n,)
        For each row the position of the row whose value it takes. The rows of a group take those of one other group (or
        of their own), in the order of the table; a group whose size no other has keeps its own.

    Examples
    --------
    >>> import numpy as np
    >>> label = np.array(["a", "a", "b", "b", "c"])
    >>> label[exchange_groups(np.array([7, 7, 8, 8, 9]), np.random.default_rng(3))]
    array(['b', 'b', 'a', 'a', 'c'], dtype='<U1')
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    together = np.argsort(code, kind="stable")  # rows, group after group
    first = np.cumsum(size) - size
    source = np.empty(len(group), dtype=np.int64)
    for rows in np.unique(size):
        alike = together[first[size == rows][:, None] + np.arange(rows)]
        source[alike] = alike[rng.permutation(len(alike))]
    return source


def movable_share(group: NDArray[np.int64]) -> float:
    """Return the share of the rows whose group has another of its size to exchange with."""
    _, size = np.unique(group, return_counts=True)
    sizes, groups = np.unique(size, return_counts=True)
    return float((sizes * groups)[groups > 1].sum() / len(group))
