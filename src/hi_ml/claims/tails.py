"""May a t interval be trusted here, and what tests the effect where it may not?"""

import dataclasses
from typing import NamedTuple

import numpy as np

from hi_ml.statistics.estimates import Effect, Floats, Integers, Interval
from hi_ml.statistics.means import excess_kurtosis, probability_of_exceeding
from hi_ml.statistics.permutation import Statistic, unit_permutation_p, welch_f

HEAVY = 0.05
"""Excess kurtosis over degrees of freedom from which a t interval misses more often than it says."""


class Sample(NamedTuple):
    """The rows behind an effect."""

    values: Floats  # shape (n,)
    groups: Integers  # codes from 0, shape (n,)
    units: Integers | None  # patients, shape (n,); None where none has two rows
    size: int | None = None  # number of groups, if some may be empty

    def exceeding(self, first: int, second: int) -> Interval:
        """Give the chance that a value of one group is larger than one of another, ties counted half."""
        here, there = (self.groups == code for code in (first, second))
        units = None if self.units is None else (self.units[here], self.units[there])
        return probability_of_exceeding(self.values[here], self.values[there], units)


class Draws(NamedTuple):
    """How often patients are permuted, and with which numbers."""

    permutations: int
    rng: np.random.Generator


def is_heavy(sample: Sample, free: float) -> bool:
    """Tell whether tails are too heavy for an interval with so many degrees of freedom."""
    return excess_kurtosis(sample.values, sample.groups, sample.units) > HEAVY * free


def permuted(effect: Effect, sample: Sample, draws: Draws, *, statistic: Statistic = welch_f) -> Effect:
    """Test that there is no effect by permuting whole patients, which needs no distribution."""
    units = np.arange(sample.values.size) if sample.units is None else sample.units
    p_value = unit_permutation_p(
        sample.values,
        sample.groups,
        units,
        statistic=statistic,
        permutations=draws.permutations,
        rng=draws.rng,
        size=sample.size,
    )
    return dataclasses.replace(effect, p_zero=p_value)


def guard(
    effect: Effect, sample: Sample, draws: Draws, *, free: float | None = None, statistic: Statistic = welch_f
) -> tuple[Effect, bool]:
    """Replace the test of an effect where tails are heavy, by a studentised permutation of whole patients.

    Parameters
    ----------
    free : float, optional
        Degrees of freedom of what is least sure; those of the effect, if left out.

    Returns
    -------
    effect : Effect
    keeps_level : bool
        Whether the interval may be trusted. A bootstrap does not mend it: it covers 78 to 90 %.
    """
    if not is_heavy(sample, effect.df if free is None else free):
        return effect, True
    return permuted(effect, sample, draws, statistic=statistic), False
