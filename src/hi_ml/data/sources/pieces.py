"""What is a source of rows? Something that names its columns and hands over its rows in pieces, in order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NO_ROWS = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class Piece:
    """Some rows of a source that follow each other."""

    table: pa.Table  # shape (n, n_columns); text plain, or as a dictionary where few texts stand in many cells
    row: NDArray[np.int64]  # int64, shape (n,); number in the source of each row of the table, 1 = first data row
    # int64, shape (n_ragged,); numbers of the rows with a wrong number of fields, which are not in the table
    ragged: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the rows, those with a wrong number of fields included."""
        return len(self.row) + len(self.ragged)

    @property
    def last(self) -> int:
        """Number in the source of the last row."""
        return int(max(numbers[-1] for numbers in (self.row, self.ragged) if len(numbers)))

    def split(self, end: int) -> tuple["Piece", "Piece"]:
        """Cut behind the row of number ``end``."""
        here, ragged = np.searchsorted(self.row, end, "right"), np.searchsorted(self.ragged, end, "right")
        head = Piece(self.table.slice(0, here), self.row[:here], self.ragged[:ragged])
        return head, Piece(self.table.slice(here), self.row[here:], self.ragged[ragged:])


class Source(Protocol):
    """A table that lies somewhere: one file, one simulation, one query.

    A module of `hi_ml.data.sources` that calls such a class ``SOURCE`` adds a kind of source; who reads rows is told
    nothing else. Of the class two things are asked: ``opens(location, start)`` tells by an address, when there are no
    bytes, or by the first ones of a file, decompressed, whether it reads what is there; ``open(location, dataset)``
    reads the header. A source with an address instead of a file stays as it was when it was opened, and has
    ``sha256()``, a digest of all that is there. One that makes its rows of something else has ``rules(location)``, how,
    ready for JSON, which a model holds against those from which it learned, and may have ``asking(names)``, itself with
    columns too that nothing there fills. Whatever cannot be read raises `SourceUnreadable`.
    """

    @property
    def location(self) -> str:
        """The path or address."""

    @property
    def schema(self) -> pa.Schema:
        """The columns; text is `pyarrow.string`, however it is read, and a name may occur twice."""

    @property
    def rows(self) -> int | None:
        """About how many rows there are; None where that is not known before they are read."""

    def pieces(self, columns: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        """Read columns that occur once; pieces that end at or before row ``after`` are left out."""


def cut(pieces: Iterable[Piece], rows: int, *, after: int) -> Iterator[Piece]:
    """Cut the pieces of one source anew: each but the last ends at a multiple of ``rows``, wherever the others ended.

    Parameters
    ----------
    after : int
        Rows up to this number are left out; a multiple of ``rows``, or the end of the source.
    """
    waiting: list[Piece] = []
    end = after + rows
    for piece in pieces:
        if piece.last <= after:
            continue
        rest = piece.split(after)[1]
        while rest.last > end:
            head, rest = rest.split(end)
            yield join([*waiting, head])
            waiting, end = [], end + rows
        waiting.append(rest)
    if waiting:
        yield join(waiting)


def join(pieces: Sequence[Piece]) -> Piece:
    """Make one piece of several that follow each other, of one type per column or of types that have a common one.

    Raises
    ------
    pyarrow.ArrowException
        If the types of a column have none.
    """
    tables = [piece.table for piece in pieces if len(piece.row)] or [pieces[0].table]
    if any(table.schema.types != tables[0].schema.types for table in tables):
        tables = [table.cast(plain(table.schema)) for table in tables]
    return Piece(
        pa.concat_tables(tables, promote_options="permissive"),
        np.concatenate([piece.row for piece in pieces]),
        np.concatenate([piece.ragged for piece in pieces]),
    )


def plain(schema: pa.Schema) -> pa.Schema:
    """Name the columns with the types of their cells, however they are encoded."""
    kinds = (kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types)
    return pa.schema(zip(schema.names, kinds, strict=True))


def is_text(kind: pa.DataType) -> bool:
    """Tell whether cells of a type are text, not counting a dictionary of them."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
