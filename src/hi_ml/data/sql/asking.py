"""What is asked of a table that stays where it lies, and what do the answers mean?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.data.clean import cell_codes
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import NO_ROWS, Piece
from hi_ml.data.sql.engine import Engine
from hi_ml.data.validate import typed_column
from hi_ml.scorer.serving import convert, key, stays

STAY, PATIENT, ADMITTED, DISCHARGED = "length_of_stay", "patient_id", "admitted_on", "discharged_on"
N, DAYS = "number of rows", "days of stay"
LARGEST = 1e15
Typed = dict[str, pa.Array]
Rows = tuple[Typed, NDArray[np.int64]]
"""Typed columns by role, and how many admissions each row stands for."""


@dataclass(frozen=True)
class Distinct:
    """What stands in a column, once each."""

    raw: pa.Table  # shape (n_distinct, n_sources); as the engine returns it
    typed: pa.Array  # what it means
    count: NDArray[np.int64]  # rows of each
    lower: pa.Array  # as the engine writes it in lower case
    broken: NDArray[np.bool_]  # what cannot be read
    same: NDArray[np.int64]  # equal numbers where copies would be equal, -1 where missing


@dataclass(frozen=True)
class Asking:
    """A table, and how it is asked."""

    engine: Engine
    dataset: Dataset
    counts_days: bool = False  # whether the engine counts the days of a stay

    def fetch(self, roles: Sequence[str], *, where: str = "", grouped: bool = False) -> Piece:
        """Return the cells of some columns under their source names: row by row, or what is distinct and how often."""
        columns = self.columns(roles)
        listed = [f"{expression} AS {self.engine.words.quoted(name)}" for name, expression in columns.items()]
        listed += [f"COUNT(*) AS {self.engine.words.quoted(N)}"] * grouped
        places = ", ".join(str(place + 1) for place in range(len(columns)))
        statement = f"SELECT {', '.join(listed)} FROM {self.engine.base}"
        statement += f" WHERE {where}" if where else ""
        table = self.engine.ask(statement + (f" GROUP BY {places}" if grouped and columns else ""))
        return Piece(table, np.arange(1, table.num_rows + 1), NO_ROWS)

    def columns(self, roles: Sequence[str]) -> dict[str, str]:
        """Return what is asked for some roles, by the name it comes under."""
        columns: dict[str, str] = {}
        for role in roles:
            if role == STAY and self.dataset.computes_stay() and self.counts_days:
                columns[DAYS] = self.days
            elif role == STAY and self.dataset.computes_stay():
                columns |= self.columns([ADMITTED, DISCHARGED])
            else:
                columns |= {name: self.engine.cells[name].expression for name in self.dataset.columns[role].sources}
        return columns

    def typed(self, raw: Piece, roles: Sequence[str]) -> Typed:
        """Say what the fetched cells mean, by role."""
        typed: Typed = {}
        for role in roles:
            if role != STAY or not self.dataset.computes_stay():
                typed[role] = typed_column(raw, self.dataset, role)[0]
            elif DAYS in raw.table.column_names:
                days = pc.cast(raw.table.column(DAYS).combine_chunks(), pa.float64())
                typed[role] = pc.add(days, 1.0) if self.dataset.stay == "inclusive" else days
            else:
                typed |= stays(self.typed(raw, [ADMITTED, DISCHARGED]), [self.dataset.spec(STAY)])
        return typed

    @property
    def days(self) -> str:
        """The nights between the two dates."""
        return self.engine.words.days.format(*(self.expression(role) for role in (ADMITTED, DISCHARGED)))

    def expression(self, role: str) -> str:
        """Return what stands in the column of a role."""
        return self.engine.cells[self.dataset.columns[role].sources[0]].expression

    def number(self, role: str) -> str | None:
        """Return the column of a role as a number; None where it is not stored as one, or its cells need reading."""
        column = self.dataset.columns[role]
        plain = column.kind == "number" and not (column.levels or column.bands or column.top)
        return self.engine.cells[column.sources[0]].number if plain else None

    def is_day(self, role: str) -> bool:
        """Whether the column of a role is stored as days or local times, of which none is a word for missing."""
        spec, cell = self.dataset.spec(role), self.engine.cells[self.dataset.columns[role].sources[0]]
        return bool(spec["kind"] == "date" and cell.is_day and not any(word[:4].isdigit() for word in spec["missing"]))

    def ends(self, expression: str) -> pa.Array:
        """Return the smallest and the largest value."""
        (row,) = self.engine.ask(
            f"SELECT MIN({expression}) AS a, MAX({expression}) AS b FROM {self.engine.base}"
        ).to_pylist()
        return pa.array([row["a"], row["b"]])

    def distinct(self, role: str) -> Distinct:
        """Return what stands in a column, with its meaning."""
        sources = self.dataset.columns[role].sources
        lower = f"LOWER(TRIM(CAST({self.engine.cells[sources[0]].expression} AS {self.engine.words.text_type})))"
        columns = self.columns([role])
        listed = [f"{expression} AS {self.engine.words.quoted(name)}" for name, expression in columns.items()]
        statement = (
            f"SELECT {', '.join(listed)}, {lower} AS lower_, COUNT(*) AS count_ FROM {self.engine.base} GROUP BY "
        )
        table = self.engine.ask(statement + ", ".join(str(place + 1) for place in range(len(columns) + 1)))
        raw = table.select(list(columns))
        typed, faults = typed_column(Piece(raw, np.arange(len(raw)), NO_ROWS), self.dataset, role)
        broken = np.any([np.zeros(len(raw), dtype=bool), *faults.values()], axis=0)
        count = table.column("count_").to_numpy().astype(np.int64)
        lower_case = table.column("lower_").combine_chunks()
        return Distinct(raw, typed, count, lower_case, broken, copy_codes(self.dataset, role, typed))


def copy_codes(dataset: Dataset, role: str, typed: pa.Array) -> NDArray[np.int64]:
    """Number the cells of a column so that those that copies may have are equal; missing is -1."""
    column = dataset.columns[role]
    if column.spelling == "words" and not column.private and pa.types.is_dictionary(typed.type):
        keys = [None if text is None else key(text, "words") for text in typed.dictionary.to_pylist()]
        typed = pa.array(keys, pa.string()).take(typed.indices).dictionary_encode()
    return cell_codes(typed)


def within(asking: Asking, role: str) -> str:
    """Say that a number is one that can be read; what is no number lies beyond all others."""
    low, high = limits(asking.dataset, role)
    number, words = asking.number(role), asking.engine.words
    nothing = [float(word) for word in asking.dataset.spec(role)["missing"] if _is_number(word)]
    inside = f"{number} BETWEEN {words.text(low)} AND {words.text(high)}"
    return f"{inside} AND NOT ({words.among(str(number), nothing)})" if nothing else inside


def limits(dataset: Dataset, role: str) -> tuple[float, float]:
    """Return the smallest and the largest number that a column may hold."""
    spec = dataset.spec(role)
    low, high = (
        (spec["low"] if spec["low"] is not None else -LARGEST),
        spec["high"] if spec["high"] is not None else LARGEST,
    )
    return max(float(low), -LARGEST), min(float(high), LARGEST)


def _is_number(word: str) -> bool:
    return not convert(pa.array([word]), {"kind": "number", "missing": []})[1]


def is_words(one: Distinct) -> bool:
    """Tell whether what stands in a column are words."""
    return bool(pa.types.is_dictionary(one.typed.type))


def taken(typed: Typed, rows: NDArray[np.int64]) -> Typed:
    """Take some rows."""
    return {role: values.take(pa.array(rows)) for role, values in typed.items()}


def with_stay(asking: Asking, typed: Typed) -> Typed:
    """Add the length of stay, where it comes from two dates."""
    return typed | (stays(typed, [asking.dataset.spec(STAY)]) if asking.dataset.computes_stay() else {})


def equal(asking: Asking, cells: pa.Table, role: str) -> Iterator[str]:
    """Say for each of some cells of a role that a row has it."""
    for row in cells.to_pylist():
        yield " AND ".join(
            asking.engine.words.among(asking.engine.cells[name].expression, [row[name]])
            for name in asking.dataset.columns[role].sources
        )
