"""How wide must an interval be, or how large a set of labels, to hold the truth as often as it says?

Split conformal prediction: the admissions of a calibration part, copies counted once, are scored by how badly the
model missed them; the threshold is a quantile of these scores, corrected for the number of patients. The regions of
that threshold hold the truth of an admission of a new exchangeable patient with a probability of at least the level,
whatever the model and the distribution.

References
----------
Lei et al. (2018), JASA 113, 1094. https://doi.org/10.1080/01621459.2017.1307116
Romano, Patterson and Candes (2019), Conformalized quantile regression, NeurIPS.
Sadinle, Lei and Wasserman (2019), JASA 114, 223. https://doi.org/10.1080/01621459.2017.1395341
Compare Dunn, Wasserman and Ramdas (2023), Prediction sets for two-layer hierarchical models, JASA 118, 2491.
https://doi.org/10.1080/01621459.2022.2060112
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.estimates import Floats
from hi_ml.statistics.groups import Units

_DIGITS = 9  # after the point, beyond which (n + 1) * level is rounding error
_NARROWEST = float(np.finfo(np.float64).min)  # a threshold that leaves the prediction alone; JSON has no -inf


def rank(n: int, level: float, units: int | None = None) -> int:
    """Return which of n calibration scores, in increasing order from 1, is the threshold; above n there is none.

    The scores are of so many independent units, one each if not said: the level is raised by its share 1 / units.

    >>> rank(9, 0.9), rank(8, 0.9), rank(10_000, 0.9), rank(10_000, 0.9, units=2_000)
    (9, 9, 9001, 9005)
    """
    units = n if units is None else units
    return math.ceil(round((units + 1) * level * (n / units if n else 1), _DIGITS))


def fewest(level: float) -> int:
    """Return the smallest number of calibration units that has a threshold at a level between 0 and 1.

    >>> fewest(0.9), fewest(0.95), fewest(0.5)
    (9, 19, 1)
    """
    return math.ceil(round(level / (1 - level), _DIGITS))


def threshold(scores: Floats, level: float, units: int | None = None) -> float:
    """Return the threshold at which regions hold the truth of a new row with probability ``level`` or more.

    Parameters
    ----------
    scores : array of float64, shape (n,)
        Nonconformity of the calibration admissions; -inf where no region can miss.
    level : float
        Between 0 and 1.
    units : int, optional
        Independent units, patients, that these are of; every admission is one if not said.

    Returns
    -------
    float
        The ``rank``-th smallest score; infinite where there are fewer than `fewest` units.

    Examples
    --------
    >>> threshold(np.arange(1.0, 10.0), 0.9), threshold(np.arange(8.0), 0.9)
    (9.0, inf)
    """
    position = rank(len(scores), level, units)
    if position > len(scores):
        return math.inf
    return max(float(np.partition(scores, position - 1)[position - 1]), _NARROWEST)


def amount_scores(target: Floats, prediction: Floats, low: Floats, high: Floats) -> Floats:
    """Score how far outside its bounds an amount lies: the least threshold whose interval holds it.

    Parameters
    ----------
    target, prediction, low, high : array of float64, shape (n,)
        In one unit. The bounds are learned quantiles, or both the prediction, which leaves the absolute residual.

    Returns
    -------
    array of float64, shape (n,)
        Negative inside the bounds; -inf where the prediction, which every interval holds, is the target.
    """
    outside = np.where(target < prediction, low - target, target - high)
    return np.where(target == prediction, -np.inf, outside)


def label_scores(target: NDArray[np.int64], shares: Floats) -> Floats:
    """Score how unlikely the true label was held: the least threshold whose set holds it.

    Parameters
    ----------
    target : array of int64, shape (n,)
        Positions of the true labels.
    shares : array of float64, shape (n, n_labels)

    Returns
    -------
    array of float64, shape (n,)
        One minus the share of the true label; -inf where it is the likeliest, which every set holds.
    """
    missed = 1 - shares[np.arange(len(target)), target]
    return np.where(shares.argmax(axis=1) == target, -np.inf, missed)


def marginal_set(shares: Floats, level: float) -> Floats:
    """Return with which probability each label is in the smallest random set that frequencies alone allow.

    Parameters
    ----------
    shares : array of float64, shape (n_labels,)
        Class frequencies.
    level : float
        With which probability the set holds the label of a new row.

    Returns
    -------
    array of float64, shape (n_labels,)
        1 for the most frequent labels, between 0 and 1 for one of them, 0 for the rest; the sum is the mean size.

    Examples
    --------
    >>> marginal_set(np.array([0.5, 0.3, 0.2]), 0.9)
    array([1. , 1. , 0.5])
    """
    order = np.argsort(-shares, kind="stable")
    missing = level - (np.cumsum(shares[order]) - shares[order])  # what the labels before leave to be held
    included = np.empty(len(shares))
    included[order] = np.clip(missing, 0, shares[order])
    return np.divide(included, shares, out=np.zeros(len(shares)), where=shares > 0)


def coverage_band(n_calibration: int, n_test: int, *, level: float, confidence: float) -> tuple[float, float]:
    """Return where the coverage of a sound conformal interval lies by chance.

    Parameters
    ----------
    n_calibration, n_test : int
        Independent admissions, see `effective`; at least `fewest` and 1.
    level : float
        Of the interval.
    confidence : float
        Of the band, as a share.

    Returns
    -------
    low, high : float
        Shares of the test admissions. Scores without ties give the beta-binomial distribution; ties only add coverage.

    Examples
    --------
    >>> [round(end, 3) for end in coverage_band(1000, 10_000, level=0.9, confidence=0.99)]
    [0.873, 0.924]
    """
    first = rank(n_calibration, level)
    held = np.arange(n_test + 1)  # all at once: the library's own quantile adds them up anew for every count it tries
    below = np.cumsum(stats.betabinom.pmf(held, n_test, first, n_calibration + 1 - first))
    ends = np.searchsorted(below, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(ends[0]) / n_test, float(ends[1]) / n_test


def effective(units: Units, covered: NDArray[np.bool_]) -> int:
    """Count the independent admissions that would tell as much of a coverage as these of patients who come again.

    Parameters
    ----------
    units : Units
        Of the rows, one per admission.
    covered : array of bool, shape (n,)

    Returns
    -------
    int
        The number of admissions over the design effect, if that exceeds 1.
    """
    return max(1, round(units.admissions / max(1.0, units.design_effect(covered.astype(float)))))


def one_per_group(group: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Draw one row of each group, all rows of a group alike: of the copies of an admission, the one that stands for it.

    Parameters
    ----------
    group : array of int64, shape (n,)

    Returns
    -------
    array of int64, shape (n_groups,)
        Positions of the rows, in increasing order.
    """
    order = np.random.default_rng(seed).permutation(len(group))
    _, first = np.unique(group[order], return_index=True)
    return np.sort(order[first])
