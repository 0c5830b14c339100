"""Which rows belong together: copies of one another but for one column, and the admissions of one patient?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hi_ml.statistics.linkage import DAYS_A_YEAR, LINKABLE, IdentityRule, People, judge_identity, link

Codes = NDArray[np.int64]
_MOST_ROWS, _MOST_SHARE = 20, 0.01  # of one patient; more of them must look like one person
_SLIPS = 0.1  # share of a person's rows that may contradict it: errors of typing
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: its multiples lie far apart


@dataclass(frozen=True)
class Twins:
    """Near-duplicate groups of a table."""

    group: NDArray[np.int64]  # int64, shape (n,); one number per group; a row without a twin is a group of its own
    differ: dict[str, int]  # pairs by the column in which they differ; ``""`` counts the exact ones
    # columns in which a difference is not searched, since chance alone would bring forth such pairs
    skipped: tuple[str, ...]


def near_duplicates(columns: Mapping[str, Codes], skipped: Sequence[str] | None = None) -> Twins:
    """Group the rows that are equal in all columns but at most one.

    For every column the remaining ones are hashed into one key (the sum of the cells' hashes less that column's), rows
    of equal key are compared cell by cell, and what matches is joined: linear in the number of rows. A column is passed
    over where independent columns of these frequencies would already give a pair by chance.

    Parameters
    ----------
    columns : mapping of str to array of int64, shape (n,)
        Each column as numbers: equal cells have equal numbers.
    skipped : sequence of str, optional
        What is passed over, where these are some rows of a larger table: see `by_chance`.

    Returns
    -------
    Twins

    Examples
    --------
    >>> import numpy as np
    >>> name, room, age = np.arange(4), np.arange(4), np.array([30, 31, 30, 31])
    >>> copied = {"name": np.append(name, 0), "room": np.append(room, 0), "age": np.append(age, 35)}
    >>> near_duplicates(copied).group
    array([0, 1, 2, 3, 0])
    """
    names = list(columns)
    codes = [pd.factorize(columns[name])[0].astype(np.int32) for name in names]
    n = len(codes[0])
    salts = np.arange(1, len(codes) + 1, dtype=np.uint64) * _ODD  # another hash for every column
    hashes = [
        pd.util.hash_array(column.astype(np.uint64) + salt, categorize=False)
        for column, salt in zip(codes, salts, strict=True)
    ]
    total: NDArray[np.uint64] = np.sum(hashes, axis=0, dtype=np.uint64)
    if skipped is None:
        agree = (float(np.sum((np.bincount(column) / n) ** 2)) for column in codes)
        skipped = by_chance(dict(zip(names, agree, strict=True)), n)
    left, right, differ = [], [], {}
    for j, name in [(-1, ""), *enumerate(names)]:
        others = [k for k in range(len(names)) if k != j]
        if name in skipped:
            continue
        first, second = _matches([codes[k] for k in others], total if j < 0 else total - hashes[j])
        new = np.ones(len(first), dtype=bool) if j < 0 else codes[j][first] != codes[j][second]
        differ[name] = int(new.sum())
        left.append(first)
        right.append(second)
    return Twins(connected(n, left, right), {k: v for k, v in differ.items() if v}, tuple(skipped))


def by_chance(agree: Mapping[str, float], n: int) -> list[str]:
    """List the columns, ``""`` for none, without which the others give a pair of equal rows by chance alone.

    Parameters
    ----------
    agree : mapping of str to float
        Share of the pairs of rows that agree in a column.
    n : int
        Rows.
    """
    pairs = n * (n - 1) / 2
    others = {name: [agree[other] for other in agree if other != name] for name in ("", *agree)}
    return [name for name, shares in others.items() if not shares or pairs * float(np.prod(shares)) > 1]


def connected(n: int, left: list[NDArray[np.int64]], right: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Number the connected groups of ``n`` rows by first appearance, shape (n,), from lists of linked rows."""
    if not left or not sum(map(len, left)):
        return np.arange(n)
    ends = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(ends[0]), dtype=bool), ends), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    return np.asarray(pd.factorize(labels)[0], dtype=np.int64)


def _matches(columns: list[NDArray[np.int32]], key: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neighbouring rows of equal key whose cells in the columns are equal too."""
    crowded = np.flatnonzero(pd.Series(key).duplicated(keep=False))  # hashing: the rest is alone
    rows = crowded[np.argsort(key[crowded], kind="stable")]
    first, second = rows[:-1], rows[1:]
    same = key[first] == key[second]
    first, second = first[same], second[same]
    equal = np.all([column[first] == column[second] for column in columns], axis=0)
    return first[equal], second[equal]


BY_ID, UNTESTED = "patient_id", "untested"  # besides the verdicts of the identity test
TELLING = ("patient_name", "sex", "blood_type", "age", "admitted_on")  # what could tell people of one name apart
_VERDICT_ONLY = IdentityRule(resamples=1)  # the bootstrap gives an interval that grouping does not need


def people(columns: Mapping[str, Any]) -> People:
    """Collect what could tell people of one name apart.

    Parameters
    ----------
    columns : mapping of str to array, shape (n,)
        By role, those of `TELLING`: codes of name, sex and blood type, -1 where missing; age in years; date of
        admission, from which with the age a date of birth is estimated.
    """
    name, sex, blood_type = (np.asarray(columns[role], dtype=np.int64) for role in TELLING[:3])
    admitted = np.asarray(columns["admitted_on"]).astype("datetime64[D]")
    day = np.where(np.isnat(admitted), np.nan, admitted.astype("int64").astype(float))
    return People(name, sex, blood_type, day - DAYS_A_YEAR * np.floor(np.asarray(columns["age"], dtype=np.float64)))


def impersonal(patient: Codes, traits: Mapping[str, Codes], stay: tuple[Any, Any] | None) -> dict[int, int]:
    """Find the identifiers that stand for so many rows that they are nobody's, as 0 or 99999 do, unless they behave.

    Parameters
    ----------
    patient : array of int64, shape (n,)
        Codes, -1 where missing.
    traits : mapping of str to array of int64, shape (n,)
        What one person has one value of, -1 where missing.
    stay : (array of datetime64, array of datetime64) or None
        When each row's stay begins and ends: nobody lies in two beds.

    Returns
    -------
    dict of int to int
        Rows by code: more than 20 and more than 1 % of all, whose traits or dates are not one person's.
    """
    counts = np.bincount(patient[patient >= 0])
    crowded = np.flatnonzero(counts > most_of_one(len(patient)))
    return {int(code): int(counts[code]) for code in crowded if not _behaves(patient == code, traits, stay)}


def most_of_one(rows: int) -> float:
    """Say how many of the rows one patient may have before he must look like one person."""
    return max(_MOST_ROWS, _MOST_SHARE * rows)


def _behaves(rows: NDArray[np.bool_], traits: Mapping[str, Codes], stay: tuple[Any, Any] | None) -> bool:
    for trait in traits.values():
        known = trait[rows][trait[rows] >= 0]
        if len(known) and np.bincount(known).max() < (1 - _SLIPS) * len(known):
            return False
    if stay is None:
        return True
    begin, end = (np.asarray(days)[rows] for days in stay)
    known = ~np.isnat(begin) & ~np.isnat(end)
    order = np.argsort(begin[known], kind="stable")
    begin, end = begin[known][order], end[known][order]
    overlapping = begin[1:] < np.maximum.accumulate(end)[:-1]
    return bool(overlapping.mean() <= _SLIPS) if len(overlapping) else True


def groups(twins: Twins, persons: People | None, patient: Codes | None, *, seed: int) -> tuple[Codes, str]:
    """Join near-duplicates and, where patients can be told apart, the admissions of one patient.

    Parameters
    ----------
    patient : array of int64, shape (n,), or None
        Codes of the ``patient_id``, -1 where missing.

    Returns
    -------
    group : array of int64, shape (n,)
    identity : str
        How patients were told apart: ``patient_id``, or the verdict of `hi_ml.statistics.linkage.judge_identity` on
        names (only ``linkable`` joins anything), or ``untested`` where a column for that test is absent.
    """
    if patient is not None:
        return _join_rows(twins, patient), BY_ID
    if persons is None:
        return twins.group, UNTESTED
    _, first = np.unique(twins.group, return_index=True)
    distinct = People(persons.name[first], persons.sex[first], persons.blood_type[first], persons.birth[first])
    verdict = judge_identity(distinct, _VERDICT_ONLY, rng=np.random.default_rng(seed)).verdict
    return (_join_rows(twins, link(persons)) if verdict == LINKABLE else twins.group), verdict


def _join_rows(twins: Twins, person: Codes) -> Codes:
    links = []
    for labels in (twins.group, person):
        order = np.argsort(labels, kind="stable")
        same = (labels[order][1:] == labels[order][:-1]) & (labels[order][1:] >= 0)
        links.append((order[:-1][same], order[1:][same]))
    return connected(len(person), [first for first, _ in links], [second for _, second in links])
