"""Does a name stand for a person? What pairs of rows of one name share, against what chance would give.

Pairs are counted by sorting, never listed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.rates import confint_poisson

from hi_ml.statistics.estimates import LEVEL, Floats, Integers, Interval

DAYS_A_YEAR = 365.25
LINKABLE, PARTIAL, NO_IDENTITY = "linkable", "partial", "no_identity"


@dataclass(frozen=True)
class People:
    """What could tell two people of one name apart, row by row."""

    name: Integers  # int, shape (n,); codes from 0; -1 for missing. A row that lacks any of the four is in no pair
    sex: Integers
    blood_type: Integers
    # float64, shape (n,); estimated date of birth in days: admission less 365.25 times the age in whole years,
    # so one person's estimates lie less than a year apart. NaN for missing
    birth: Floats

    @property
    def known(self) -> NDArray[np.bool_]:
        """The rows without a missing value, shape (n,)."""
        return (self.name >= 0) & (self.sex >= 0) & (self.blood_type >= 0) & np.isfinite(self.birth)

    @property
    def complete(self) -> "People":
        """The people of those rows."""
        return People(self.name[self.known], self.sex[self.known], self.blood_type[self.known], self.birth[self.known])


@dataclass(frozen=True)
class PairAgreement:
    """How often pairs agree."""

    pairs: int
    sex: float  # shares of the pairs, 0 to 1; `birth` to within a year
    blood_type: float
    birth: float
    everything: float


@dataclass(frozen=True)
class IdentityRule:
    """When names are taken for persons."""

    predictive_value: float = 0.90  # what its lower limit must reach
    pairs: int = 100  # compatible pairs needed
    resamples: int = 999  # of the bootstrap


@dataclass(frozen=True)
class Identity:
    """The verdict on names as identities."""

    verdict: str
    names: int  # different names
    same_name: PairAgreement  # of the pairs of one name; of all pairs of rows, counted, not sampled
    chance: PairAgreement
    # pairs of one name that agree on everything, those that could be one person; exact Poisson limits
    compatible: Interval
    expected: float  # how many chance gives
    # share of the compatible pairs that is one person, 1 - expected / compatible; not below 0
    predictive_value: Interval
    # share of the pairs of one name that is one person, with the limits of a bootstrap over names; negative
    # where pairs agree less often than chance
    same_person: Interval


def judge_identity(people: People, rule: IdentityRule, *, rng: np.random.Generator) -> Identity:
    """Compare the agreement of pairs of one name with that of all pairs (after Fellegi & Sunter 1969).

    Parameters
    ----------
    people : People
        Copies of rows removed before: a copy agrees with its original.

    References
    ----------
    Fellegi & Sunter (1969), Journal of the American Statistical Association 64, 1183.
    """
    people = people.complete
    same_name, chance = _agreement(people, people.name), _agreement(people, np.zeros_like(people.name))
    partners = close_partners(combine(people.name, people.sex, people.blood_type), people.birth, DAYS_A_YEAR)
    compatible = poisson_interval(int(partners.sum()))
    expected = chance.everything * same_name.pairs
    predictive_value = Interval(*(_not_chance(count, expected) for count in _values(compatible)))
    verdict = PARTIAL
    if compatible.low <= expected:
        verdict = NO_IDENTITY
    elif predictive_value.low >= rule.predictive_value and compatible.value >= rule.pairs:
        verdict = LINKABLE
    return Identity(
        verdict=verdict,
        names=int(np.unique(people.name).size),
        same_name=same_name,
        chance=chance,
        compatible=compatible,
        expected=expected,
        predictive_value=predictive_value,
        same_person=_same_person(people.name, partners, chance.everything, (rule.resamples, rng)),
    )


def link(people: People) -> Integers:
    """Tell persons apart: one name, sex and blood type, and estimated births less than a year apart.

    Parameters
    ----------
    people : People
        Whose names are linkable.

    Returns
    -------
    ndarray of int64, shape (n,)
        Codes from 0; a row with a missing value is a person of its own.
    """
    known = people.known
    group = combine(people.name, people.sex, people.blood_type)
    # What is unknown comes last, so that it stands between no two rows of one person.
    order = np.lexsort((people.birth, group, ~known))
    changed = np.diff(group[order], prepend=-1) != 0
    far = ~(np.diff(people.birth[order], prepend=-np.inf) < DAYS_A_YEAR)
    person = np.empty(group.size, dtype=np.int64)
    person[order] = np.cumsum(changed | far | ~known[order]) - 1
    return person


def poisson_interval(count: int) -> Interval:
    """Give the exact (Garwood) 95 % limits of a Poisson mean.

    Examples
    --------
    >>> limits = poisson_interval(39)
    >>> round(limits.low, 1), round(limits.high, 1)
    (27.7, 53.3)
    """
    low, high = confint_poisson(count, 1, method="exact-c", alpha=LEVEL)
    return Interval(float(count), float(low), float(high))


def _agreement(people: People, name: Integers) -> PairAgreement:
    pairs = pair_count(combine(name))
    counts = {
        "sex": pair_count(combine(name, people.sex)),
        "blood_type": pair_count(combine(name, people.blood_type)),
        "birth": int(close_partners(combine(name), people.birth, DAYS_A_YEAR).sum()),
        "everything": int(
            close_partners(combine(name, people.sex, people.blood_type), people.birth, DAYS_A_YEAR).sum()
        ),
    }
    return PairAgreement(pairs=pairs, **{what: count / max(pairs, 1) for what, count in counts.items()})


def _not_chance(count: float, expected: float) -> float:
    return max(0.0, 1 - expected / count) if count > 0 else 0.0


def _values(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def _same_person(
    name: Integers, partners: Integers, chance: float, bootstrap: tuple[int, np.random.Generator]
) -> Interval:
    """Share of the pairs that is one person, (observed - chance) / (1 - chance), names resampled."""
    resamples, rng = bootstrap
    group = combine(name)
    sizes = np.bincount(group) if group.size else np.zeros(0)
    pairs = sizes * (sizes - 1) // 2
    compatible = np.bincount(group, weights=partners) if group.size else np.zeros(0)
    pairs, compatible = pairs[pairs > 0], compatible[pairs > 0]
    if pairs.size == 0:
        return Interval(0.0, 0.0, 0.0)
    shares = [compatible.sum() / pairs.sum()]
    for _ in range(resamples):
        drawn = rng.integers(0, pairs.size, pairs.size)
        shares.append(compatible[drawn].sum() / pairs[drawn].sum())
    same = (np.array(shares) - chance) / (1 - chance) if chance < 1 else np.zeros(len(shares))
    low, high = np.quantile(same[1:], [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(same[0]), float(low), float(high))


def combine(*codes: ArrayLike) -> Integers:
    """Give each combination of several codes a number, from 0.

    Parameters
    ----------
    *codes : arrays of int, each of shape (n,)

    Examples
    --------
    >>> combine([0, 0, 1], [2, 2, 2])
    array([0, 0, 1])
    """
    group = np.zeros(np.asarray(codes[0]).size, dtype=np.int64)
    for code in codes:
        _, level = np.unique(np.asarray(code), return_inverse=True)
        group = np.unique(group * (level.max(initial=0) + 1) + level, return_inverse=True)[1].astype(np.int64)
    return group


def pair_count(groups: ArrayLike) -> int:
    """Count the pairs of rows of one group.

    Parameters
    ----------
    groups : array of int, shape (n,)
        Codes from 0.

    Examples
    --------
    >>> pair_count([0, 0, 0, 1])
    3
    """
    sizes = np.bincount(np.asarray(groups, dtype=np.int64))
    return int((sizes * (sizes - 1) // 2).sum())


def close_partners(groups: ArrayLike, values: ArrayLike, width: float) -> Integers:
    """Count for each row the rows of its group that follow it by less than `width`, each pair once.

    Parameters
    ----------
    groups : array of int, shape (n,)
        Codes from 0.
    values : array of float, shape (n,)

    Returns
    -------
    ndarray of int64, shape (n,)
        Its sum is the number of close pairs.

    Examples
    --------
    >>> close_partners([0, 0, 0, 1], [5.0, 1.0, 1.5, 1.0], 1.0)
    array([0, 1, 0, 0])
    """
    value = np.asarray(values, dtype=np.float64)
    return _followers(groups, value, value + width, side="left")


def overlapping_partners(groups: ArrayLike, starts: ArrayLike, ends: ArrayLike) -> Integers:
    """Count for each row the rows of its group that start between its start and its end, each pair once.

    Parameters
    ----------
    groups : array of int, shape (n,)
        Codes from 0.
    starts, ends : arrays of float, shape (n,)
        No end before its start.
    """
    return _followers(groups, np.asarray(starts, dtype=np.float64), np.asarray(ends, dtype=np.float64), side="right")


def _followers(groups: ArrayLike, starts: Floats, ends: Floats, *, side: str) -> Integers:
    code = np.asarray(groups, dtype=np.int64)
    counts = np.zeros(code.size, dtype=np.int64)
    if code.size == 0:
        return counts
    # A whole number of days between groups keeps every date exact and every group out of reach of the next.
    apart = np.ceil(ends.max() - starts.min()) + 1
    offset = code * apart - starts.min()
    key = starts + offset
    order = np.argsort(key, kind="stable")
    reached = np.searchsorted(key[order], (ends + offset)[order], side="left" if side == "left" else "right")
    counts[order] = np.maximum(reached - np.arange(code.size) - 1, 0)
    return counts
