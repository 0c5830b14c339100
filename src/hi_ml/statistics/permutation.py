"""How often would chance alone separate the groups this much?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_ml.statistics.estimates import LEVEL, Floats, Integers

_ROUNDING = 1e-12
"""Relative difference below which two sums of the same numbers count as tied."""
_AT_ONCE = 500_000
"""Values that are permuted at once: what fits into a cache or two."""
ENOUGH = 50
"""Permutations as far apart as the data after which it is known that the p-value is not small."""
Statistic = Callable[[Floats, Floats, Floats], Floats]
"""Of the counts, sums and sums of squares of k groups, each of shape (b, k): b numbers, large ones against chance."""


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


def unit_permutation_p(
    values: ArrayLike,
    groups: ArrayLike,
    units: ArrayLike,
    *,
    statistic: Statistic,
    permutations: int,
    rng: np.random.Generator,
    size: int | None = None,
) -> float:
    """Test that values do not depend on the group, by permuting those of whole patients.

    Where a patient never changes his group, the groups are exchanged between all patients. Else the values of a patient
    are exchanged with those of another one of as many rows, in the order of the rows; a patient whose number of rows no
    other has keeps his own. Either way rows of one patient stay together, so that what they share is no evidence.

    Parameters
    ----------
    values : array of float, shape (n,)
    groups, units : array of int, shape (n,)
        Codes of the groups from 0; any numbers for the patients.
    statistic : callable
        Such as `separation` or `welch_f`.
    permutations : int
        B; the smallest possible p-value is 1 / (B + 1).
    size : int, optional
        Number of groups that the statistic expects, some of which may be empty.

    Returns
    -------
    float
        (b + 1) / (B + 1), b the permutations at least as far apart as the data; or, once `ENOUGH` of them are, that
        number over how many were drawn (`besag_clifford`).
    """
    value, code = np.asarray(values, dtype=np.float64), np.asarray(groups)
    value = value - value.mean()
    blocks = _exchangeable(value, code, np.asarray(units))
    k = int(code.max()) + 1 if size is None else size
    observed = float(statistic(*next(_sums(blocks, k, 1, None)))[0])
    drawn = (one for sums in _sums(blocks, k, permutations, rng) for one in statistic(*sums))
    return besag_clifford(observed, drawn, stop_after=ENOUGH).p


_Block = tuple[Integers, Floats]
"""The groups of the places of m patients, s each, shape (m, s), and their counts, sums and squares, (3, m, s)."""


def _exchangeable(value: Floats, code: Integers, units: Integers) -> list[_Block]:
    """Lay out the patients in blocks in which any two may be exchanged."""
    _, unit, size = np.unique(units, return_inverse=True, return_counts=True)
    together = np.argsort(unit, kind="stable")
    first = np.cumsum(size) - size
    rows, own = np.array([np.ones_like(value), value, value**2])[:, together], code[together]
    if (own == own[first][unit[together]]).all():
        return [(own[first][:, None], np.add.reduceat(rows, first, axis=1)[:, :, None])]
    places = [first[size == length][:, None] + np.arange(length) for length in np.unique(size)]
    return [(own[place], rows[:, place]) for place in places]


def _sums(
    blocks: list[_Block], size: int, permutations: int, rng: np.random.Generator | None
) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Count and sum by group, some permutations at a time; nothing is permuted without a generator."""
    step = max(1, _AT_ONCE // sum(code.size for code, _ in blocks))
    for begin in range(0, permutations, step):
        times = min(step, permutations - begin)
        sums = np.zeros((3, times, size))
        for code, held in blocks:
            place = np.argsort(code, axis=None, kind="stable")  # by group, so that neighbours are added up
            present, starts = np.unique(code.ravel()[place], return_index=True)
            order = np.tile(np.arange(code.shape[0]), (times, 1))
            if rng is not None:
                order = rng.permuted(order, axis=1)
            taken = order[:, place // code.shape[1]] * code.shape[1] + place % code.shape[1]
            for kind, column in enumerate(held.reshape(3, -1)):
                sums[kind][:, present] += np.add.reduceat(column[taken], starts, axis=1)
        yield sums[0], sums[1], sums[2]


def separation(n: Floats, total: Floats, squares: Floats) -> Floats:  # noqa: ARG001 -- the shape of a statistic
    """Add up what the group means lie apart: with the total sum of squares fixed, it rises with the one-way F."""
    return np.asarray(np.divide(total**2, n, out=np.zeros_like(total), where=n > 0).sum(axis=1))


def welch_f(n: Floats, total: Floats, squares: Floats) -> Floats:
    """Welch's F of each set of groups; for two of them the square of his t."""
    k, mean = n.shape[1], total / np.maximum(n, 1)
    within = np.maximum(squares - n * mean**2, _ROUNDING * squares.sum(axis=1, keepdims=True))
    weight = n * np.maximum(n - 1, 1) / within
    share = weight / weight.sum(axis=1, keepdims=True)
    centre = (share * mean).sum(axis=1, keepdims=True)
    spare = ((1 - share) ** 2 / np.maximum(n - 1, 1)).sum(axis=1)
    apart = (weight * (mean - centre) ** 2).sum(axis=1) / (k - 1)
    return np.asarray(apart / (1 + 2 * (k - 2) / (k**2 - 1) * spare), dtype=np.float64)


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
