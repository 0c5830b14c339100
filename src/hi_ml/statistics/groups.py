"""How good, and how sure, where rows of a group, or folds that share training rows, are not independent?

What is counted are admissions: the copies of one share its vote. What is independent are units: the patient, or the
admission where nobody comes again. An estimate is a ratio of sums over units, and its interval Student's t.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hi_ml.statistics.estimates import Floats, Integers, Interval


@dataclass(frozen=True, eq=False)
class Units:
    """Rows as copies of admissions, and these as admissions of the units of inference.

    A value of each row has shape (n,), one of each unit shape (n_units,), in the order of the unit's numbers.

    Examples
    --------
    Two copies of an admission of one patient, who came again, and the only admission of another:

    >>> import numpy as np
    >>> units = Units.of(twin=np.array([7, 7, 8, 9]), group=np.array([1, 1, 1, 2]))
    >>> units.sums(np.array([1.0, 3.0, 5.0, 4.0])), units.counts
    (array([7., 4.]), array([2., 1.]))
    """

    admission: Integers  # int64, shape (n,); position of each row's admission; those of a unit stand together
    unit: Integers  # int64, shape (n,); position of each row's unit

    @classmethod
    def of(cls, twin: NDArray[np.int64], group: NDArray[np.int64] | None = None) -> "Units":
        """Number admissions and units.

        Parameters
        ----------
        twin : array of int64, shape (n,)
            Any numbers; rows of equal number, in one group, are copies of one admission.
        group : array of int64, shape (n,), optional
            Any numbers; admissions of equal number are one unit. Without it, every admission is one.
        """
        _, unit = np.unique(twin if group is None else group, return_inverse=True)
        if group is None:
            return cls(unit, unit)
        names, copy = np.unique(twin, return_inverse=True)
        return cls(np.unique(unit * len(names) + copy, return_inverse=True)[1], unit)

    def only(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Units":
        """Keep some rows, a mask or positions; copies are counted anew among these."""
        return Units.of(self.admission[rows], self.unit[rows])

    def __len__(self) -> int:
        """Count the units."""
        return len(self.counts)

    @property
    def admissions(self) -> int:
        """How many there are, copies counting once."""
        return len(self._copies)

    @property
    def effective(self) -> float:
        """As many units of equal numbers of admissions as tell as much as these (Kish 1965).

        Examples
        --------
        >>> Units.of(np.arange(12), np.array([0] * 10 + [1, 2])).effective
        1.411764705882353
        """
        return float(self.counts.sum() ** 2 / (self.counts**2).sum())

    @property
    def noun(self) -> str:
        """What the units are."""
        return "patients" if self.repeat else "admissions"

    @property
    def repeat(self) -> bool:
        """Whether a unit has several admissions."""
        return self.admissions > len(self)

    @cached_property
    def votes(self) -> Floats:
        """Of each row: one over the copies of its admission."""
        return np.asarray(1.0 / self._copies[self.admission])

    @cached_property
    def counts(self) -> Floats:
        """Admissions of each unit."""
        return np.asarray(np.bincount(self._home), dtype=float)

    def sums(self, values: Floats) -> Floats:
        """Average the values of copies, and sum over the admissions of each unit."""
        means = np.bincount(self.admission, weights=values) / self._copies
        return np.asarray(np.bincount(self._home, weights=means), dtype=float)

    def mean(self, values: Floats) -> float:
        """Average values over admissions."""
        return float(self.sums(values).mean() / self.counts.mean())

    def ratio(self, values: Floats, per: Floats | None = None, *, level: float = 0.95) -> Interval:
        """Estimate the mean of values over admissions or, with ``per``, the ratio of the sums of the two."""
        return ratio_interval(self.sums(values), self.counts if per is None else self.sums(per), level=level)

    def deviations(self, values: Floats) -> Floats:
        """Say what each unit adds to the mean over admissions, around zero; shape (n_units,)."""
        return _deviations(self.sums(values), self.counts)

    def design_effect(self, values: Floats, per: Floats | None = None) -> float:
        """By how much does the variance of `ratio` exceed that of as many independent admissions? 1 where they are."""
        if not self.repeat:
            return 1.0
        if len(self) == 1:  # all that one unit says is one observation
            return float(self.admissions)
        alone = Units.of(self.admission)
        clustered, naive = (
            error_of(_deviations(units.sums(values), units.counts if per is None else units.sums(per)))
            for units in (self, alone)
        )
        return (clustered / naive) ** 2 if naive else 1.0

    def describe(self, design_effect: float) -> str:
        """Say how many there are, of whom, and what the repetition costs.

        Examples
        --------
        >>> Units.of(np.arange(5), np.array([0, 0, 1, 1, 2])).describe(1.52)
        '5 admissions of 3 patients, design effect 1.5'
        """
        if not self.repeat:
            return f"{self.admissions:,} admissions"
        return f"{self.admissions:,} admissions of {len(self):,} {self.noun}, design effect {design_effect:.1f}"

    @cached_property
    def _copies(self) -> Integers:
        return np.bincount(self.admission)

    @cached_property
    def _home(self) -> Integers:
        """The unit of each admission."""
        home = np.empty(len(self._copies), dtype=np.int64)
        home[self.admission] = self.unit
        return home


def group_means(values: Floats, group: NDArray[np.int64]) -> Floats:
    """Average the rows of each group.

    Parameters
    ----------
    values : array of float64, shape (n,)
    group : array of int64, shape (n,)
        Any numbers; rows of equal number are one group.

    Returns
    -------
    array of float64, shape (n_groups,)
        In the order of the sorted group numbers.

    Examples
    --------
    >>> import numpy as np
    >>> group_means(np.array([1.0, 3.0, 5.0]), np.array([7, 7, 9]))
    array([2., 5.])
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    return np.bincount(code, weights=values) / size


def mean_interval(means: Floats, *, level: float = 0.95) -> Interval:
    """Estimate the mean over units of one vote each, two of them at least, with a t interval of a coverage, a share."""
    return ratio_interval(means, np.ones(len(means)), level=level)


def root_interval(squares: Floats, votes: Floats, *, level: float = 0.95) -> Interval:
    """Estimate the root of a mean of squares from sums over units; the bounds are the roots of the mean's bounds."""
    square = ratio_interval(squares, votes, level=level)
    return Interval(square.value**0.5, max(square.low, 0.0) ** 0.5, square.high**0.5)


def ratio_interval(numerator: Floats, denominator: Floats, *, level: float = 0.95) -> Interval:
    """Estimate a ratio of two sums over the same units, two of them at least (delta method).

    Parameters
    ----------
    numerator, denominator : array of float64, shape (n_units,)
        Sums over the admissions of each unit: of a value and of the votes for a mean, or of two values. The
        denominators do not add up to zero.

    Notes
    -----
    With r = sum(a) / sum(b) the linearised contribution of unit g is (a_g - r b_g) / mean(b); its variance is that of
    a cluster-robust regression, with G / (G - 1) and t of G - 1 degrees of freedom.
    """
    ratio = float(numerator.mean()) / float(denominator.mean())
    deviations = _deviations(numerator, denominator)
    reach = float(stats.t.ppf(0.5 + level / 2, len(deviations) - 1)) * error_of(deviations)
    return Interval(ratio, ratio - reach, ratio + reach)


def _deviations(numerator: Floats, denominator: Floats) -> Floats:
    """What each unit adds to a ratio of sums, around zero."""
    below = float(denominator.mean())
    return np.asarray((numerator - float(numerator.mean()) / below * denominator) / below)


def error_of(deviations: Floats) -> float:
    """Return the standard error of a mean from the deviations of its units, which sum to zero."""
    n = len(deviations)
    return float(np.sqrt(np.sum(deviations**2) / (n - 1) / n))


def corrected_interval(differences: Floats, *, ratio: float, level: float = 0.95) -> Interval:
    """Estimate a mean difference over folds by the corrected resampled t.

    Parameters
    ----------
    differences : array of float64, shape (J,)
        One per fold, of one or of several cross-validations.
    ratio : float
        Rows of a fold's test part over those of its training part: 0.25 for five folds.

    Returns
    -------
    Interval
        From minus to plus infinity around the mean of a single fold.

    Notes
    -----
    The variance of the mean is taken as (1/J + ratio) times the variance of the differences, with J - 1 degrees of
    freedom: the models of two folds share most of their training rows. Nadeau & Bengio (2003),
    doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> import numpy as np
    >>> gap = corrected_interval(np.array([0.1, 0.2, 0.3, 0.2, 0.2]), ratio=0.25)
    >>> round(gap.value, 3), round(gap.low, 3), round(gap.high, 3)
    (0.2, 0.068, 0.332)
    """
    centre = float(differences.mean())
    reach = np.inf
    if len(differences) > 1:
        reach = float(stats.t.ppf(0.5 + level / 2, len(differences) - 1)) * _error(differences, ratio)
    return Interval(centre, centre - reach, centre + reach)


def corrected_p(differences: Floats, *, ratio: float) -> float:
    """Test that a mean difference over folds is zero, two-sided, as `corrected_interval` estimates it.

    Returns
    -------
    float
        1 where the two do not differ at all, or there is a single fold.
    """
    if len(differences) == 1 or not differences.any():
        return 1.0
    error = _error(differences, ratio)
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1)) if error else 0.0


def _error(differences: Floats, ratio: float) -> float:
    return float(np.sqrt((1 / len(differences) + ratio) * differences.var(ddof=1)))
