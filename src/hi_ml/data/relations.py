"""How do the columns of an undescribed table hang together: copies, identifiers, leaks, months, keys?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.data.duplicates import near_duplicates
from hi_ml.data.guess import ColumnGuess

_LEAST = 5  # rows of a value from which on it may reproduce a target
_REPRODUCED = 0.98  # share of what the commonest value leaves open, or of the variance, that a column reproduces
_BINS = 200  # of a number that may reproduce a target
_CONTAINED = 0.5  # share of a column's values that stand in the column of another table, of a candidate key
_FEWEST_KEYS = 5  # values below which any column is contained in another


@dataclass(frozen=True)
class Relations:
    """What the table says of itself as a whole."""

    copies: int  # rows that are equal to an earlier one in all columns but at most one
    differ: Mapping[str, int]  # pairs of copies by the column in which they differ; "" of exact ones
    identifiers: tuple[str, ...]  # columns that tell rows, or persons, apart
    reproduced: Mapping[str, Mapping[str, float]]  # by target, share of it that a column reproduces
    months: Sequence[tuple[str, int]]  # admissions by month
    keys: Sequence[tuple[str, str, str, float, bool]]  # column, other table, its column, share contained, unique there


def relate(
    guesses: Sequence[ColumnGuess],
    targets: Sequence[str],
    others: Mapping[str, Sequence[ColumnGuess]],
    stay: ColumnGuess | None = None,
) -> Relations:
    """Relate the columns of a table.

    Parameters
    ----------
    targets : sequence of str
        Columns by role, of which it is asked which other columns are the same under another name.
    others : mapping of str to sequence of ColumnGuess
        Other tables, by name.
    stay : ColumnGuess, optional
        The length of stay, where two dates of the table make it.
    """
    counting = [one for one in guesses if one.kind == "identifier" and len(one.levels) == one.known]
    compared = {one.name: one.codes for one in guesses if one not in counting}
    twins = near_duplicates(compared) if len(compared) > 1 else None
    copies = 0 if twins is None else len(twins.group) - len(np.unique(twins.group))
    by_role = {one.role: one for one in [*guesses, *([stay] if stay else [])]}
    return Relations(
        copies=copies,
        differ={} if twins is None else twins.differ,
        identifiers=tuple(one.name for one in guesses if one.kind == "identifier"),
        reproduced={
            target: dict(_reproducing(by_role[target], guesses, made=by_role[target] is stay))
            for target in targets
            if target in by_role
        },
        months=list(_months(by_role)),
        keys=list(_keys(guesses, others)),
    )


def _reproducing(target: ColumnGuess, guesses: Sequence[ColumnGuess], *, made: bool) -> Iterator[tuple[str, float]]:
    for one in guesses:
        if one.role != target.role and (share := _share(target, one.codes, one.numbers)) > _REPRODUCED:
            yield one.name, share
    dates = [] if made else [one for one in guesses if one.kind == "date" and one.numbers is not None]
    for first in dates:
        for last in dates:
            if first is not last and target.kind == "number" and target.numbers is not None:
                apart = np.asarray(last.numbers) - np.asarray(first.numbers)
                if (share := _explained(target.numbers, apart)) > _REPRODUCED:
                    yield f"{last.name} less {first.name}", share


def _share(target: ColumnGuess, codes: NDArray[Any], numbers: NDArray[Any] | None) -> float:
    """Say what share of the target a column reproduces, among its values that stand in five rows or more."""
    known = (codes >= 0) & (target.codes >= 0)
    if not known.any():
        return 0.0
    if target.kind == "number" and target.numbers is not None:
        if numbers is not None and (share := _explained(target.numbers, numbers)) > _REPRODUCED:
            return share
        return _between(codes[known], target.numbers[known])
    if numbers is not None and len(np.unique(numbers[known])) > _BINS:
        codes = pd.qcut(pd.Series(numbers), _BINS, labels=False, duplicates="drop").fillna(-1).to_numpy(dtype=np.int64)
        known &= codes >= 0
    return _told(codes[known], target.codes[known])


def _explained(target: NDArray[Any], numbers: NDArray[Any]) -> float:
    both = np.isfinite(target) & np.isfinite(numbers)
    x, y = numbers[both], target[both]
    if x.size < _LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def _told(codes: NDArray[Any], target: NDArray[Any]) -> float:
    large = np.bincount(codes)[codes] >= _LEAST
    if not large.any():
        return 0.0
    codes, target = codes[large], target[large]
    k = int(target.max()) + 1
    cells, rows = np.unique(codes * k + target, return_counts=True)
    best = pd.Series(rows).groupby(cells // k).max().sum()
    base = int(np.bincount(target).max())
    return 0.0 if base == target.size else float((best - base) / (target.size - base)) * float(large.mean())


def _between(codes: NDArray[Any], values: NDArray[Any]) -> float:
    finite = np.isfinite(values)
    codes, values = codes[finite], values[finite]
    n = np.bincount(codes)
    large = n[codes] >= _LEAST
    if large.sum() < _LEAST or np.ptp(values[large]) == 0:
        return 0.0
    codes, values = codes[large], values[large]
    mean = np.bincount(codes, weights=values) / np.maximum(np.bincount(codes), 1)
    return float(1 - ((values - mean[codes]) ** 2).sum() / ((values - values.mean()) ** 2).sum()) * float(large.mean())


def _months(by_role: Mapping[str, ColumnGuess]) -> Iterator[tuple[str, int]]:
    dated = by_role.get("admitted_on") or next((one for one in by_role.values() if one.kind == "date"), None)
    if dated is None or dated.numbers is None:
        return
    days = dated.numbers[np.isfinite(dated.numbers)].astype("int64").astype("datetime64[D]")
    months, rows = np.unique(days.astype("datetime64[M]"), return_counts=True)
    yield from zip(months.astype(str).tolist(), rows.tolist(), strict=True)


def _keys(
    guesses: Sequence[ColumnGuess], others: Mapping[str, Sequence[ColumnGuess]]
) -> Iterator[tuple[str, str, str, float, bool]]:
    for one in guesses:
        own = set(one.levels)
        if len(own) < _FEWEST_KEYS or one.kind == "date" or (one.kind == "number" and "unit" in one.keys):
            continue
        for table, columns in others.items():
            for other in columns:
                share = len(own & set(other.levels)) / len(own)
                if share >= _CONTAINED and other.kind != "date":
                    yield one.name, table, other.name, share, max(other.levels.values()) == 1
