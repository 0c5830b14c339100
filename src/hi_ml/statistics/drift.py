"""How far are the values of new rows from those of training, and how far can chance alone put them?

Everything is counts in cells, laid out alike for training and for new rows: first what lies below every cell (the
code of a new level), then the cells in order, last what is missing. Counts of parts of a file add up to its counts.
How many new levels are to be expected, the levels that one row or two hold say.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import hypergeom

from hi_ml.statistics.estimates import Floats

Counts = NDArray[np.int64]
Distance = Callable[[ArrayLike, ArrayLike], Floats]

_CELLS = 20  # at most: cells of 5 % of the training rows
_STEPS = 1000  # in the central 90 % of the values: edges are no finer
_BEYOND = 10  # draws expected beyond a threshold: the test is exact at any number, fewer would cost power
_SEED = 0
_MOST = 500_000_000  # rows that the generator can draw from are fewer than twice as many


def edges(values: ArrayLike, *, rounded: bool) -> Floats:
    """Cut values into at most 20 cells of about equal row counts; few distinct values get a cell each.

    Parameters
    ----------
    values : array of float, shape (n,)
        Finite.
    rounded : bool
        Round the edges to about a thousandth of the range of the values, so that they are no one's value.

    Returns
    -------
    ndarray of float64, shape (n_cells - 1,)
        Upper ends of all cells but the last, each part of its cell. Empty where all values are one.

    Examples
    --------
    >>> edges([1, 1, 2, 5], rounded=True)
    array([1., 2.])
    """
    numbers = np.asarray(values, dtype=np.float64)
    distinct = np.unique(numbers)
    if len(distinct) <= _CELLS:
        return distinct[:-1]
    cuts = np.quantile(numbers, np.arange(1, _CELLS) / _CELLS, method="inverted_cdf")
    cuts = np.unique(np.minimum(cuts, distinct[-2]))  # a cell for the largest value where most rows hold it
    spread = cuts[-1] - cuts[0]
    if rounded and spread > 0:
        cuts = np.unique(np.round(cuts, int(np.ceil(np.log10(_STEPS / spread)))))
    return cuts


def tally(values: ArrayLike, edges: ArrayLike, *, rows: ArrayLike | None = None, lowest: float = -np.inf) -> Counts:
    """Count the rows in each cell.

    Parameters
    ----------
    values : array of float, shape (n,)
        NaN where missing.
    edges : array of float, shape (n_cells - 1,)
        See `edges`.
    rows : array of int, shape (n,), optional
        How many rows hold each value; 1 if left out.
    lowest : float
        Values up to here lie below every cell.

    Returns
    -------
    ndarray of int64, shape (n_cells + 2,)
        Below, the cells, missing.

    Examples
    --------
    >>> tally([1, 2, 7, -1, np.nan], [1, 2], lowest=-1)
    array([1, 1, 1, 1, 1])
    """
    cuts = np.concatenate([[lowest], np.asarray(edges, dtype=np.float64), [np.inf]])
    numbers = np.asarray(values, dtype=np.float64)
    if rows is None:  # twenty comparisons of many values are sooner done than a search for the cell of each
        return np.diff([*(np.count_nonzero(numbers <= cut) for cut in cuts), len(numbers)], prepend=0)
    cells = np.searchsorted(cuts, numbers)  # NaN sorts behind everything
    return np.bincount(cells, weights=rows, minlength=len(cuts) + 1).astype(np.int64)


def total_variation(training: ArrayLike, new: ArrayLike) -> Floats:
    """Return the share of rows that would have to change their cell: 0 the same, 1 nothing in common; shape (...).

    Parameters
    ----------
    training, new : array of int, shape (..., n_cells)

    Examples
    --------
    >>> total_variation([50, 50, 0], [40, 40, 20]).round(3)
    np.float64(0.2)
    """
    return np.asarray(np.abs(_shares(training) - _shares(new)).sum(axis=-1) / 2)


def ordered_distance(training: ArrayLike, new: ArrayLike) -> Floats:
    """Return how far cells in order have moved, from 0 to 1: twice the mean gap between the cumulative shares.

    The mean is taken over the training rows. Where one distribution lies above the other throughout, this is Cliff's
    delta: the chance that a new value is larger than one of training, less the chance that it is smaller. A few
    extreme values move it little, and the unit does not matter.

    Parameters
    ----------
    training, new : array of int, shape (..., n_cells)

    Returns
    -------
    ndarray of float64, shape (...)

    References
    ----------
    Cliff (1993), Psychological Bulletin 114, 494. https://doi.org/10.1037/0033-2909.114.3.494

    Examples
    --------
    >>> ordered_distance([25, 25, 25, 25], [0, 25, 25, 50]).round(4)
    np.float64(0.375)
    """
    share = _shares(training)
    gap = np.abs(np.cumsum(share - _shares(new), axis=-1))
    return np.asarray((gap[..., :-1] * (share[..., :-1] + share[..., 1:])).sum(axis=-1))


def chance_distance(training: ArrayLike, new: ArrayLike, distance: Distance, *, level: float) -> float:
    """Return the distance that two samples of one distribution exceed with a chance of at most ``level``.

    A permutation test: all rows are shuffled between training and new. It holds at any number of rows.

    Parameters
    ----------
    training, new : array of int, shape (n_cells,)
        Neither all zero.
    distance : callable
        `total_variation` or `ordered_distance`.

    References
    ----------
    Phipson & Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9, 39.
    https://doi.org/10.2202/1544-6115.1585
    """
    pooled, size = _few_enough(training, new)
    draws = int(np.ceil(_BEYOND / level))
    rng = np.random.default_rng(_SEED)
    drawn = rng.multivariate_hypergeometric(pooled, size, size=draws, method="marginals")
    distances = np.sort(distance(pooled - drawn, drawn))
    return float(distances[draws - int((draws + 1) * level)])


def chance_gap(training: ArrayLike, new: ArrayLike, *, level: float) -> float:
    """Return the gap between two shares of one population that is exceeded with a chance of at most ``level``.

    Parameters
    ----------
    training, new : array of int, shape (2,)
        Rows that have the property, and rows that lack it. Neither all zero.
    level : float
        Half of it on either side, from the hypergeometric distribution (Fisher's exact test).
    """
    (having, lacking), (k, others) = np.asarray(training).tolist(), np.asarray(new).tolist()
    total, size, pooled = having + lacking + k + others, k + others, having + k
    law = total, pooled, size
    limits = np.array([hypergeom.ppf(level / 2, *law), hypergeom.isf(level / 2, *law)])
    return float(np.abs(limits / size - (pooled - limits) / (total - size)).max())


def _shares(counts: ArrayLike) -> Floats:
    rows = np.asarray(counts, dtype=np.float64)
    return np.asarray(rows / rows.sum(axis=-1, keepdims=True))


def _few_enough(training: ArrayLike, new: ArrayLike) -> tuple[Counts, int]:
    """Add up the counts; beyond half a thousand million new rows, as if there were so many: chance is nil by then."""
    counts = np.asarray(new, dtype=np.int64)
    if counts.sum() > _MOST:
        counts = (counts * (_MOST / counts.sum())).astype(np.int64)
    return np.asarray(training, dtype=np.int64) + counts, int(counts.sum())


def expected_new(rows: int, once: int, twice: int) -> tuple[int, int]:
    """Expect so many new levels among rows as among those seen: counts like two samples', for `chance_gap`.

    The share of rows whose level is new is about the share of training rows whose level no other row holds (Good).
    How sure that is depends on the levels that two rows hold (Esty): the rows are made fewer until their number says
    it, so that the gap to new rows can be tested as that of two shares.

    Parameters
    ----------
    rows : int
        Training rows, missing values aside.
    once, twice : int
        Levels that one row holds, and that two rows hold.

    Returns
    -------
    having, lacking : int

    References
    ----------
    Good (1953), Biometrika 40, 237. https://doi.org/10.1093/biomet/40.3-4.237
    Esty (1983), Annals of Statistics 11, 905. https://doi.org/10.1214/aos/1176346256
    """
    fewer = (once + 1) / (once + 1 + 2 * twice)
    having = round(once * fewer)
    return having, max(round(rows * fewer) - having, 1)


def held_again(counts: ArrayLike, pairs: int) -> NDArray[np.int64]:
    """Make the counts of levels that are held more than once so few that they vary like counts of single rows.

    A level that two rows hold counts two rows at once. Where the rows of each level follow a Poisson law, the variance
    of the counts is their sum and two more for each pair.

    Parameters
    ----------
    counts : array of int, shape (n_cells,)
        Rows of levels that at least two rows hold.
    pairs : int
        Levels that exactly two rows hold.

    Returns
    -------
    ndarray of int64, shape (n_cells,)

    Examples
    --------
    >>> held_again([2, 2, 4], 2)
    array([1, 1, 3])
    """
    rows = np.asarray(counts, dtype=np.int64)
    total = rows.sum()
    return np.rint(rows * (total / (total + 2 * pairs))).astype(np.int64) if total else rows
