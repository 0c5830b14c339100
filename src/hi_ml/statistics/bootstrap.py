"""Scores that are no means, resampled over whole units; and by how much do two models differ on the same units?

A draw says how often each unit was drawn, shape (draws, n_units); what is resampled is computed for many at once.

A difference is the first model's score less the second's, in its unit. Its arrays have shape (n_units,), both in the
same order, and hold sums over the admissions of each unit, see `hi_ml.statistics.groups.Units`. ``level`` is the
coverage of the interval, as a share.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.estimates import Floats, Interval
from hi_ml.statistics.groups import Units, error_of

_ROUNDING = 1e-9  # relative error of a sum of weights such as 1/3
_CELLS = 2**20  # of a draw's weights that stand in memory at once: some megabytes


def draws(units: int, *, count: int, seed: int) -> Iterator[Floats]:
    """Draw units with replacement, some draws at a time.

    Yields
    ------
    array of float64, shape (some, units)
        How often each was drawn; in the very first row once each, which is the sample itself.
    """
    rng, most = np.random.default_rng(seed), max(1, _CELLS // units)
    for start in range(0, count + 1, most):
        times = np.empty((min(most, count + 1 - start), units))
        for row in range(len(times)):
            drawn = np.bincount(rng.integers(units, size=units), minlength=units) if start + row else 1.0
            times[row] = drawn
        yield times


def percentile_interval(values: Floats, *, level: float = 0.95) -> Interval:
    """Take the first value as the estimate and the percentiles of the others as its bounds; NaN draws do not count."""
    low, high = np.nanquantile(values[1:], [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values[0]), float(min(low, values[0])), float(max(high, values[0])))


def weighted_quantile(values: Floats, weights: Floats, share: float = 0.5) -> Floats:
    """Return a weighted quantile of ``values`` (n,), the median, per draw; shape (draws,).

    Where exactly that share of the weight lies below, it is the middle of the two values there, as of a median without
    weights.
    """
    if (np.diff(values) < 0).any():
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[:, order]
    running = np.cumsum(weights, axis=1)
    wanted = running[:, -1] * share
    pairs = zip(running, wanted, strict=True)
    ends = [np.searchsorted(row, [at * (1 - _ROUNDING), at * (1 + _ROUNDING)], side="left") for row, at in pairs]
    return np.asarray(values[np.array(ends)].mean(axis=1))


def label_counts(truth: NDArray[np.int64], label: NDArray[np.int64], units: Units, *, classes: int) -> Floats:
    """Count, in each unit, the admissions by class.

    Parameters
    ----------
    truth, label : array of int64, shape (n,)
        Class numbers from 0 to ``classes`` - 1.

    Returns
    -------
    array of float64, shape (n_units, 3, classes)
        Those rightly labelled, those of the class, those labelled so.
    """
    hit, size = truth == label, len(units) * classes
    each = [
        np.bincount(units.unit * classes + code, weights=votes, minlength=size).reshape(-1, classes)
        for code, votes in ((truth, units.votes * hit), (truth, units.votes), (label, units.votes))
    ]
    return np.stack(each, axis=1)


def balanced_accuracy(counts: Floats) -> Floats:
    """Mean recall over the classes that occur, from `label_counts` of each draw, (draws, 3, classes); (draws,)."""
    return np.asarray(np.nanmean(_share(counts[:, 0], counts[:, 1]), axis=1))


def macro_f1(counts: Floats) -> Floats:
    """Mean F1 over the classes that occur or are predicted, from `label_counts` of each draw; shape (draws,)."""
    return np.asarray(np.nanmean(_share(2 * counts[:, 0], counts[:, 1] + counts[:, 2]), axis=1))


def _share(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0))


@dataclass(frozen=True)
class Difference:
    """A paired difference between its bounds."""

    value: float
    low: float
    high: float
    p: float  # two-sided; 1 where the two do not differ at all


def mean_difference(first: Floats, second: Floats, *, votes: Floats | None = None, level: float = 0.95) -> Difference:
    """Compare two means over units, two of them at least, by the paired t-test.

    Parameters
    ----------
    votes : array of float64, shape (n_units,), optional
        Admissions of each unit; one each, if there are none.

    Examples
    --------
    >>> import numpy as np
    >>> gap = mean_difference(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.5, 2.5]))
    >>> round(gap.value, 3), round(gap.low, 3), round(gap.high, 3), round(gap.p, 3)
    (1.0, -0.242, 2.242, 0.074)
    """
    votes = np.ones(len(first)) if votes is None else votes
    gaps, below = first - second, float(votes.mean())
    value = float(gaps.mean()) / below
    return _student(value, (gaps - value * votes) / below, level)


def root_difference(first: Floats, second: Floats, *, votes: Floats | None = None, level: float = 0.95) -> Difference:
    """Compare the roots of two means of squared errors over units (delta method); parameters as `mean_difference`.

    Notes
    -----
    With root r = sqrt(sum(a) / sum(votes)) the linearised contribution of unit g is
    (a_g - r^2 votes_g) / (2 r mean(votes)).
    """
    votes = np.ones(len(first)) if votes is None else votes
    below = float(votes.mean())
    roots = [(float(squares.mean()) / below) ** 0.5 for squares in (first, second)]
    # A root of zero is a mean of zeros, from which no unit deviates.
    one, other = (
        (squares - root**2 * votes) / (2 * root * below) if root else squares
        for squares, root in zip((first, second), roots, strict=True)
    )
    return _student(roots[0] - roots[1], one - other, level)


def explained_difference(first: Floats, second: Floats, *, spread: Floats, level: float = 0.95) -> Difference:
    """Compare two shares of explained variance, 1 - sum(squares) / sum(spread), over units (delta method).

    Parameters
    ----------
    first, second : array of float64, shape (n_units,)
        Squared errors.
    spread : array of float64, shape (n_units,)
        Squared distance of the target from its centre; not zero everywhere.
    """
    below = float(spread.mean())
    gained = second - first
    value = float(gained.mean()) / below
    return _student(value, (gained - value * spread) / below, level)


def resampled_difference(first: Floats, second: Floats, *, level: float = 0.95) -> Difference:
    """Compare two scores over the same bootstrap draws.

    Parameters
    ----------
    first, second : array of float64, shape (1 + draws,)
        The score of the sample itself, then of each draw of `draws`; NaN draws do not count.

    Notes
    -----
    p is twice the share of draws on the farther side of zero, the sample counted among them: it cannot be smaller than
    2 / (draws + 1) (Davison & Hinkley 1997, *Bootstrap Methods and their Application*, chapter 4).
    """
    gaps = first - second
    interval = percentile_interval(gaps, level=level)
    drawn = gaps[1:][np.isfinite(gaps[1:])]
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    return Difference(interval.value, interval.low, interval.high, p)


def _student(value: float, deviations: Floats, level: float) -> Difference:
    """Student's t for a mean of contributions of which ``deviations`` sum to zero."""
    n, error = len(deviations), error_of(deviations)
    if not error:
        return Difference(value, value, value, 0.0 if value else 1.0)
    reach = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
    return Difference(value, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / error, n - 1)))
