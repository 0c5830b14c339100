"""Count, sum and sum of squares of values per group: enough for means and variances, and parts add up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hi_ml.statistics.estimates import Floats

_ROUNDING = 1e-12
"""Relative size below which a sum of squared deviations is what rounding leaves of zero."""


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of some values, per group."""

    n: Floats  # float64, shape (k,); numbers of values, their sums and the sums of their squares
    total: Floats
    squares: Floats

    @property
    def mean(self) -> Floats:
        """Mean of each group; its groups must not be empty."""
        return self.total / self.n

    @property
    def within(self) -> Floats:
        """Sum of squared deviations from the mean, per group; 0 for an empty one."""
        squared_mean = np.divide(self.total**2, self.n, out=np.zeros_like(self.total), where=self.n > 0)
        deviations = self.squares - squared_mean
        # What remains of a constant after rounding is no spread.
        return np.where(deviations > _ROUNDING * self.squares, deviations, 0.0)

    @property
    def variance(self) -> Floats:
        """Variance of each group, with divisor n - 1; every group needs two values."""
        return self.within / (self.n - 1)

    def pooled(self, groups: Sequence[ArrayLike]) -> "Moments":
        """Add up groups.

        Parameters
        ----------
        groups : sequence of index arrays or masks
            Each selects the groups that become one.
        """
        picks = [np.asarray(group) for group in groups]
        sums = (np.array([values[pick].sum() for pick in picks]) for values in (self.n, self.total, self.squares))
        return Moments(*sums)

    @property
    def together(self) -> "Moments":
        """All groups as one."""
        return self.pooled([np.arange(self.n.size)])

    def at(self, groups: ArrayLike) -> "Moments":
        """Pick groups by position or mask."""
        chosen = np.asarray(groups)
        return Moments(self.n[chosen], self.total[chosen], self.squares[chosen])

    def less(self, part: "Moments") -> "Moments":
        """Take groups out of these, one from each."""
        return Moments(self.n - part.n, self.total - part.total, self.squares - part.squares)

    def large_enough(self, smallest: float) -> "Moments":
        """Keep the groups of at least so many values."""
        return self.at(self.n >= smallest)


def moments(values: ArrayLike, groups: ArrayLike, size: int) -> Moments:
    """Count and sum values by group.

    Parameters
    ----------
    values : array of float, shape (n,)
    groups : array of int, shape (n,)
        Codes from 0 to `size` - 1.
    size : int
        Number of groups.
    """
    value, code = np.asarray(values, dtype=np.float64), np.asarray(groups)
    sums = (np.bincount(code, weights=weights, minlength=size) for weights in (None, value, value**2))
    return Moments(*(total.astype(np.float64) for total in sums))
