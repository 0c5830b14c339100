"""Which two columns, joined by a straight line, come near the target? Computed for all pairs at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pair = tuple[int, int, tuple[float, float]]
_EXPLAINED = 0.2  # of the target's variance, by a pair that is worth a closer look: a rare class is far from linear
_MOST = 20  # pairs, those that explain most
_ONE = 1e-9  # determinant of the correlations of two columns below which they are one


def promising(columns: Floats, aims: Floats, dates: NDArray[np.bool_]) -> Iterator[Pair]:
    """Choose the pairs of columns that explain most of the target, and all pairs of dates.

    Parameters
    ----------
    columns : array of float64, shape (n, p)
        NaN where missing.
    aims : array of float64, shape (n, k)
        The target: amounts, or one indicator per class.
    dates : array of bool, shape (p,)
        Dates are joined whatever they explain: a few wrong ones spoil the fit of a line.

    Yields
    ------
    (a, b, weights)
        Places of two columns, and the weights of the line through them that fits one of the aims best.
    """
    X, spread = _standard(columns)
    Y, _ = _standard(aims)
    among, with_aims = X.T @ X / len(X), X.T @ Y / len(X)
    a, b = np.triu_indices(X.shape[1], k=1)
    r = among[a, b][:, None]
    free = np.maximum(1 - r**2, _ONE)
    first, second = ((with_aims[i] - r * with_aims[j]) / free for i, j in ((a, b), (b, a)))
    explained = first * with_aims[a] + second * with_aims[b]
    aim = explained.argmax(axis=1)
    best = explained[np.arange(len(a)), aim]
    order = np.argsort(-best, kind="stable")[:_MOST]
    chosen = order[best[order] > _EXPLAINED]
    both_dates = np.flatnonzero(dates[a] & dates[b])
    for pair in dict.fromkeys([*chosen, *both_dates[:_MOST]]):
        i, j, k = a[pair], b[pair], aim[pair]
        yield int(i), int(j), (float(first[pair, k] / spread[i]), float(second[pair, k] / spread[j]))


def _standard(columns: Floats) -> tuple[Floats, Floats]:
    """Centre and scale; a missing cell becomes the mean, a column of one value stays zero."""
    known = np.isfinite(columns)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, columns, 0.0).sum(axis=0) / count
    centred = np.where(known, columns - centre, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    spread = np.where(spread > 0, spread, 1.0)
    return centred / spread, spread
