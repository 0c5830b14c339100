"""What does another table know of each row? A left join by keys that are text: no row is lost, doubled or moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import JoinRefused
from hi_ml.app.references import as_written
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import Piece
from hi_ml.data.sources.table import gather, open_all
from hi_ml.data.validate import whole
from hi_ml.scorer.serving import comparable, convert

NO_ROW = -1
Codes = NDArray[np.int64]
Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Matches:
    """How many rows another table knew something of; the counts of several pieces are the sum of theirs."""

    rows: int = 0
    matched: int = 0
    keyless: int = 0  # rows without a key
    late: int = 0  # rows whose key is there, with nothing from before their date
    keys: frozenset[tuple[str, ...]] = frozenset()  # that stand in the rows
    lost: frozenset[tuple[str, ...]] = frozenset()  # those of them that the other table has not

    def __add__(self, other: "Matches") -> "Matches":
        mine, others = vars(self), vars(other)
        return Matches(**{name: mine[name] | others[name] if name in ("keys", "lost") else mine[name] + others[name]
                          for name in mine})  # fmt: skip

    @property
    def share(self) -> float:
        """Of the rows."""
        return self.matched / self.rows if self.rows else 0.0

    def describe(self) -> dict[str, Any]:
        """Return plain values, none of them a key."""
        return {
            "rows": self.rows,
            "rows_matched": self.matched,
            "rows_without_key": self.keyless,
            "rows_too_early": self.late,
            "keys": len(self.keys),
            "keys_matched": len(self.keys) - len(self.lost),
        }


@dataclass(frozen=True)
class Lookup:
    """Another table, read: its rows by their keys."""

    spec: Spec  # plain values, as `Dataset.joined` and the mapping of a model have them
    files: Mapping[str, str]  # by location, the digest
    table: pa.Table  # shape (n_rows, n_columns); the columns that are joined, by role
    keys: pa.Table  # shape (n_rows, n_parts), text; rows that lack a part are left out
    dates: NDArray[np.datetime64] | None = None  # datetime64[D], shape (n_rows,); from when each row is

    @classmethod
    def open(cls, spec: Spec, dataset: Dataset) -> "Lookup":
        """Read the other table.

        Raises
        ------
        SourceUnreadable, ColumnProblem
            If it cannot be read, or has not the columns.
        JoinRefused
            If two of its rows could be meant by one key.
        """
        described = replace(dataset, separator=spec["separator"], encoding=spec["encoding"])
        before = spec["latest_before"]
        about = f"joins.{spec['name']}"
        wanted = {f"{about}.columns.{role}": [name] for role, name in spec["columns"].items()}
        wanted |= {f"{about}.on.{left}": [right] for left, right in spec["on"]}
        wanted |= {f"{about}.latest_before": [before["column"]]} if before else {}
        opened, read = open_all(spec["source"], described)
        raw = gather(opened, described, wanted)
        parts = [_texts(raw.table.column(right), spec["missing"]) for _, right in spec["on"]]
        whole_keys = np.all([part.is_valid().to_numpy(zero_copy_only=False) for part in parts], axis=0)
        dates = None
        if before:
            dates = _days(raw.table.column(before["column"]), {**before, "missing": spec["missing"]})
            whole_keys &= ~np.isnat(dates)
            dates = dates[whole_keys]
        kept = pa.array(whole_keys)
        table = pa.table({role: _coded(raw.table.column(name)) for role, name in spec["columns"].items()}).filter(kept)
        keys = pa.table([part.filter(kept) for part in parts], names=[str(i) for i in range(len(parts))])
        lookup = cls(spec, {location: one.sha256 for location, one in read.items()}, table, keys, dates)
        lookup._check_unique(raw.row[whole_keys])
        return lookup

    @property
    def needs(self) -> list[str]:
        """The columns of a row that say which row of the other table is meant."""
        before = self.spec["latest_before"]
        dated = [before["row"]["source"]] if before else []
        return list(dict.fromkeys([*(left for left, _ in self.spec["on"]), *dated]))

    def add(self, table: pa.Table) -> tuple[pa.Table, Matches]:
        """Give rows the columns of the other table, null where it has no row for them."""
        parts = [_texts(table.column(left), self.spec["missing"]) for left, _ in self.spec["on"]]
        code = self._codes(parts)
        position, late = self._positions(code, table)
        index = pa.array(position, mask=position == NO_ROW)
        for role in self.table.column_names:
            table = table.append_column(role, whole(self.table.column(role)).take(index))
        return table, self._matches(parts, code, position, late)

    @cached_property
    def _ranks(self) -> list[dict[str, int]]:
        """By part of the key, a number for each text."""
        return [{text: rank for rank, text in enumerate(part.unique().to_pylist())} for part in self.keys.columns]

    @cached_property
    def _steps(self) -> list[Codes]:
        """The keys of the first parts that occur, sorted, one part more at a time: each is coded by its place."""
        steps, code = [], np.zeros(len(self.keys), dtype=np.int64)
        for rank, part in zip(self._ranks, self.keys.columns, strict=True):
            code = code * (len(rank) + 1) + _ranked(whole(part), rank)
            distinct, code = np.unique(code, return_inverse=True)
            steps.append(distinct)
        return steps

    def _codes(self, parts: Sequence[pa.Array]) -> Codes:
        """Number the keys of rows as those of the other table are numbered, `NO_ROW` where it has none, shape (n,)."""
        code: Codes = np.zeros(len(parts[0]), dtype=np.int64)
        for part, rank, distinct in zip(parts, self._ranks, self._steps, strict=True):
            own = _ranked(part, rank)
            whole_key = np.where((code == NO_ROW) | (own == NO_ROW), NO_ROW, code * (len(rank) + 1) + own)
            place = np.searchsorted(distinct, whole_key).clip(max=max(len(distinct) - 1, 0))
            code = np.where(distinct[place] == whole_key, place, NO_ROW) if len(distinct) else np.full_like(own, NO_ROW)
        return code

    @cached_property
    def _order(self) -> tuple[Codes, Codes, NDArray[np.datetime64]]:
        """The rows of the other table by key and date: their number, their key with the date, all dates."""
        code = self._codes([whole(part) for part in self.keys.columns])
        days, day = np.unique(self.dates, return_inverse=True) if self.dates is not None else (np.array([]), 0)
        key = code * (len(days) + 1) + day
        order = np.argsort(key, kind="stable")
        return order, key[order], days

    def _positions(self, code: Codes, table: pa.Table) -> tuple[Codes, NDArray[np.bool_]]:
        """Find the row of the other table that each row means, and tell which know the key, but nothing so early."""
        order, key, days = self._order
        none = np.zeros(len(code), dtype=bool)
        if not len(key):
            return np.full(len(code), NO_ROW), none
        if self.dates is None:
            place = np.searchsorted(key, code).clip(max=len(key) - 1)
            return np.where(code == NO_ROW, NO_ROW, order[place]), none
        before = self.spec["latest_before"]["row"]
        admitted = _days(table.column(before["source"]), before)
        wanted = code * (len(days) + 1) + np.searchsorted(days, admitted, side="left")
        place = np.searchsorted(key, wanted, side="left") - 1  # of the newest from before that day, if it is of the key
        same = (place >= 0) & (key[place] // (len(days) + 1) == code) & (code != NO_ROW) & ~np.isnat(admitted)
        return np.where(same, order[place], NO_ROW), (code != NO_ROW) & ~same

    def _matches(self, parts: Sequence[pa.Array], code: Codes, position: Codes, late: NDArray[np.bool_]) -> Matches:
        """Count what was found; keys each once."""
        distinct = pa.table([part.dictionary_encode() for part in parts], names=[str(i) for i in range(len(parts))])
        known = np.all([part.is_valid().to_numpy(zero_copy_only=False) for part in parts], axis=0)
        keys, lost = (_distinct(distinct, mask) for mask in (known, known & (code == NO_ROW)))
        return Matches(len(code), int((position != NO_ROW).sum()), int((~known).sum()), int(late.sum()), keys, lost)

    def _check_unique(self, row: Codes) -> None:
        order, key, _ = self._order
        twice = np.flatnonzero(key[1:] == key[:-1])
        if len(twice):
            pair = sorted((int(row[order[twice[0]]]), int(row[order[twice[0] + 1]])))
            raise JoinRefused.not_unique(self.spec, len(twice), pair)

    def check(self, matches: Matches) -> None:
        """Hold what was found against what was expected.

        Raises
        ------
        JoinRefused
            If nothing was found, or less than ``least_match``; with what would help.
        """
        least = self.spec["least_match"]
        if matches.rows and (not matches.matched or matches.share < least):
            raise JoinRefused.few(self.spec, matches.describe(), self._padding(matches))

    def _padding(self, matches: Matches) -> tuple[int, int]:
        """Count the lost keys that zeros before them would find, and the digits that keys would have then."""
        (single, *more) = self.keys.columns
        if more:
            return 0, 0
        theirs = [text for text in single.unique().to_pylist() if text.isdigit()]
        bare = {text.lstrip("0") for text in theirs}
        return sum(key[0].lstrip("0") in bare for key in matches.lost), max(map(len, theirs), default=0)


def join(raw: Piece, dataset: Dataset) -> tuple[Piece, dict[str, dict[str, Any]]]:
    """Join every other table of the dataset, one after the other.

    Returns
    -------
    whole : Piece
        With the columns of all, by role.
    described : dict of str to dict
        By name of the join, what was read and matched; ready for JSON.
    """
    described, table = {}, raw.table
    for name in dataset.joins:
        lookup = Lookup.open(dataset.joined(name), dataset)
        table, matches = lookup.add(table)
        lookup.check(matches)
        described[name] = describe(lookup, matches)
    return replace(raw, table=table), described


def describe(lookup: Lookup, matches: Matches) -> dict[str, Any]:
    """Say which table was joined by what, and how many rows it knew; ready for JSON."""
    spec = lookup.spec
    files = [{"file": as_written(location), "sha256": sha256} for location, sha256 in lookup.files.items()]
    return {"files": files, "on": [list(pair) for pair in spec["on"]], "level": spec["level"], **matches.describe()}


def _texts(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.Array:
    """Keys as text, a missing one null: as every category is read, so that the type of a file does not matter."""
    cells, _ = convert(whole(column), {"kind": "identifier", "missing": missing})
    code: dict[str, int] = {}
    codes = [code.setdefault(comparable(text), len(code)) for text in cells.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()).take(cells.indices), pa.array(code, pa.string()))


def _coded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as a dictionary: a few of them go to many rows."""
    return column.dictionary_encode() if pa.types.is_string(column.type) else column


def _days(column: pa.ChunkedArray, spec: Spec) -> NDArray[np.datetime64]:
    dates, _ = convert(whole(column), spec)
    return np.asarray(dates.to_numpy(zero_copy_only=False).astype("datetime64[D]"))


def _ranked(part: pa.Array, rank: Mapping[str, int]) -> Codes:
    """The number of each text, `NO_ROW` for one without or a missing one, shape (n,)."""
    part = part.dictionary_encode() if not pa.types.is_dictionary(part.type) else part
    ranks = np.array([*(rank.get(text, NO_ROW) for text in part.dictionary.to_pylist()), NO_ROW], dtype=np.int64)
    return np.asarray(ranks[pc.fill_null(part.indices, len(part.dictionary)).to_numpy(zero_copy_only=False)])


def _distinct(keys: pa.Table, mask: NDArray[np.bool_]) -> frozenset[tuple[str, ...]]:
    some = keys.filter(pa.array(mask))
    if len(some.columns) == 1:
        return frozenset((text,) for text in some.column(0).unique().to_pylist())
    plain = pa.table([column.cast(pa.string()) for column in some.columns], names=some.column_names)
    return frozenset(tuple(row.values()) for row in plain.group_by(plain.column_names).aggregate([]).to_pylist())
