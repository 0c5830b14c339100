"""How many of some will it be, and how long do they stay? Exact distributions of counts, and hazards by whole day.

A distribution of a count is an array of the probabilities of 0, 1, 2, ..., along the last axis; the axes before it hold
several at once.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.estimates import Floats

_DIRECT = 16  # terms up to which products are summed as they are; Fourier transforms take over
_NEVER = 1e-12  # a tail of this probability is left out
_FEWEST = 20  # at risk, below which a day shares its hazard with all after it
LARGEST = 30.0
"""Of a cumulative hazard in one day: nobody stays."""


def poisson_binomial(chances: Floats) -> Floats:
    """Count independent events that have chances of their own, exactly, by a tree of convolutions; shape (..., n + 1).

    Pairs are convolved, and pairs of pairs: n log(n)^2 operations, no subtraction, no normal approximation. An event
    cannot be taken out again by division: that loses all digits.

    Parameters
    ----------
    chances : array of float64, shape (..., n)

    Examples
    --------
    >>> poisson_binomial(np.array([0.5, 0.5, 1.0])).round(3)
    array([0.  , 0.25, 0.5 , 0.25])
    """
    count = chances.shape[-1]
    leaves = 1 << max(0, count - 1).bit_length()
    padded = np.zeros((*chances.shape[:-1], leaves))
    padded[..., :count] = chances
    parts = np.stack([1 - padded, padded], axis=-1)
    while parts.shape[-2] > 1:
        parts = convolve(parts[..., ::2, :], parts[..., 1::2, :])
    whole: Floats = parts[..., 0, : count + 1]
    return whole


def convolve(first: Floats, second: Floats) -> Floats:
    """Add two independent counts, shapes (..., m) and (..., k); shape (..., m + k - 1)."""
    if first.shape[-1] < second.shape[-1]:
        first, second = second, first
    size = first.shape[-1] + second.shape[-1] - 1
    if second.shape[-1] > _DIRECT:
        spectrum = np.fft.rfft(first, size) * np.fft.rfft(second, size)
        return np.maximum(np.fft.irfft(spectrum, size), 0.0)  # rounding leaves some -1e-17
    whole = np.zeros((*np.broadcast_shapes(first.shape[:-1], second.shape[:-1]), size))
    for position in range(second.shape[-1]):
        whole[..., position : position + first.shape[-1]] += first * second[..., position : position + 1]
    return whole


def negative_binomial(mean: Floats, spread: float) -> Floats:
    """Count events whose rate has a factor in common, gamma with mean 1: a Poisson count where it does not vary.

    Parameters
    ----------
    mean : array of float64, shape (...)
    spread : float
        Variance of the factor; a thinned count has the same.

    Returns
    -------
    array of float64, shape (..., size)
        Of a size beyond which nothing counts for any.
    """
    mean = np.asarray(mean)
    most = float(np.max(mean, initial=0.0))
    if spread * most < 1e-9:  # noqa: PLR2004 -- the two agree to more digits than the second can give
        numbers = np.arange(int(stats.poisson.ppf(1 - _NEVER, most)) + 2)
        return np.asarray(stats.poisson.pmf(numbers, mean[..., None]))
    rate, fails = 1 / spread, 1 / (1 + spread * np.maximum(mean, _NEVER))
    numbers = np.arange(int(stats.nbinom.ppf(1 - _NEVER, rate, np.min(fails))) + 2)
    return np.asarray(stats.nbinom.pmf(numbers, rate, fails[..., None]))


def total(parts: Floats) -> Floats:
    """Add k independent counts, shape (k, size); shape (k * (size - 1) + 1,)."""
    size = len(parts) * (parts.shape[-1] - 1) + 1
    return np.maximum(np.fft.irfft(np.fft.rfft(parts, size).prod(axis=0), size), 0.0)


def widen(distribution: Floats, variance: float) -> Floats:
    """Add an independent error that is as good as normal, rounded to whole numbers, in between 0 and the size."""
    if variance <= 0:
        return distribution
    sd = float(np.sqrt(variance))
    reach = int(4 * sd) + 1
    edges = stats.norm.cdf(np.arange(-reach, reach + 2) - 0.5, scale=sd)
    wide = convolve(distribution, np.diff(edges) / (edges[-1] - edges[0]))
    wide[..., reach] += wide[..., :reach].sum(axis=-1)
    return np.asarray(wide[..., reach:])


def moments(distribution: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance, each of shape (...)."""
    numbers = np.arange(distribution.shape[-1])
    mean = distribution @ numbers
    return mean, np.maximum(distribution @ numbers**2 - mean**2, 0.0)


def quantile(distribution: Floats, level: float) -> NDArray[np.int64]:
    """Return the smallest number that is not exceeded with a probability, shape (...)."""
    return np.asarray((np.cumsum(distribution, axis=-1) < level - _NEVER).sum(axis=-1))


def crps(distribution: Floats, observed: NDArray[np.int64]) -> Floats:
    """Return the continuous ranked probability score, shape (...): the absolute error of a forecast that is one number.

    Parameters
    ----------
    observed : array of int64, shape (...)

    References
    ----------
    Gneiting & Raftery (2007), JASA 102, 359. https://doi.org/10.1198/016214506000001437

    Examples
    --------
    >>> crps(np.array([0.0, 0.0, 1.0]), np.array(5)), crps(np.array([0.5, 0.5]), np.array(0))
    (array(3.), array(0.25))
    """
    observed = np.asarray(observed)
    size = max(distribution.shape[-1], int(observed.max(initial=0)) + 1)
    below = np.ones((*distribution.shape[:-1], size))
    below[..., : distribution.shape[-1]] = np.cumsum(distribution, axis=-1)
    return np.asarray(((below - (np.arange(size) >= observed[..., None])) ** 2).sum(axis=-1))


def cumulative_hazards(
    days: NDArray[np.int64], over: NDArray[np.bool_], *, size: int, weights: Floats | None = None
) -> Floats:
    """Estimate the cumulative hazard of leaving that each day of a stay adds.

    The product of 1 - (left on the day / still there before) is Kaplan and Meier's survival curve; its logarithm is
    what the hazards add up to. Days that fewer than 20 reach share one hazard.

    Parameters
    ----------
    days : array of int64, shape (n,)
        Length of a stay that is over; else the days that have passed, on none of which it ended.
    over : array of bool, shape (n,)
    size : int
        Days that are asked for, 0 among them.

    Returns
    -------
    array of float64, shape (size,)
        At most `LARGEST`.

    Examples
    --------
    >>> days, over = np.array([1] * 20 + [2] * 40), np.array([True] * 20 + [True, False] * 20)
    >>> np.exp(-np.cumsum(cumulative_hazards(days, over, size=3))).round(3)
    array([1.   , 0.667, 0.333])
    """
    weights = np.ones(len(days)) if weights is None else weights
    clipped = np.minimum(days, size)
    left = np.bincount(clipped[over], weights=weights[over], minlength=size + 1)[:size]
    ending = np.bincount(clipped, weights=weights, minlength=size + 1)
    there = ending[::-1].cumsum()[::-1][:size]
    few = np.flatnonzero(there < _FEWEST)
    if len(few):
        first = max(0, min(few[0], size - 1))
        start = max(0, first - 1)  # with the last day that is not rare
        total = float(there[start:].sum())
        share = float(left[start:].sum()) / total if total else 0.0
        left, there = left.copy(), there.copy()
        left[first:], there[first:] = share, 1.0
    chance = np.divide(left, there, out=np.zeros(size), where=there > 0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(-np.log1p(-np.minimum(chance, 1.0)), LARGEST))
