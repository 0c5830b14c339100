"""What does a file of admissions hold, piece by piece, without holding it whole?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.sources.csv import Delimited, stream

_BLOCK = 1 << 19  # bytes of CSV that are parsed at once, a dozen blocks ahead: no row is longer
_BUFFER = 1 << 20  # bytes of a Parquet column that are read at once
_BATCH = 1 << 16  # rows of Parquet that are decoded at once
_TEXT = pa.dictionary(pa.int32(), pa.string())  # few bytes a cell, and few pieces of memory
_NONE = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class Piece:
    """Some rows of a file that follow each other."""

    table: pa.Table  # pyarrow.Table, shape (n, n_columns); dictionaries of text from a CSV, typed from Parquet
    row: NDArray[np.int64]  # int64, shape (n,); number in the file of each row of the table, 1 = first data row
    # int64, shape (n_ragged,); rows with a wrong number of fields, which are not in the table
    ragged: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the rows, those with a wrong number of fields included."""
        return len(self.row) + len(self.ragged)

    @property
    def last(self) -> int:
        """Number in the file of the last row."""
        return int(max(numbers[-1] for numbers in (self.row, self.ragged) if len(numbers)))

    def split(self, end: int) -> tuple["Piece", "Piece"]:
        """Cut behind the row of number ``end``."""
        here, ragged = np.searchsorted(self.row, end, "right"), np.searchsorted(self.ragged, end, "right")
        head = Piece(self.table.slice(0, here), self.row[:here], self.ragged[:ragged])
        return head, Piece(self.table.slice(here), self.row[here:], self.ragged[ragged:])


def of_csv(file: Delimited, columns: list[str]) -> Iterator[Piece]:
    """Read columns of a CSV file as text, exactly as `Delimited.read` reads them.

    Parameters
    ----------
    columns : list of str
        Names that occur once in the header.

    Raises
    ------
    SourceUnreadable
        If a byte is not of the encoding, or a quote that does not close swallows rows.
    """
    if file.bare:
        return
    file.check_encoding()  # before Arrow hands over rows as text
    skipped: list[pv.InvalidRow] = []
    done, bad = 0, _NONE
    for table in _tables(file, columns, skipped):
        bad = np.append(bad, _numbers(file, skipped))
        row = np.arange(done + 1, done + table.num_rows + len(bad) + 1)
        row = np.setdiff1d(row, bad)[: table.num_rows] if len(bad) else row
        if swallowing := file.swallowing(table):
            raise SourceUnreadable.quote(str(file.path), f"in row {row[swallowing[0]]}")
        if len(row):
            yield Piece(table.select(columns), row, bad[bad < row[-1]])
            done, bad = int(row[-1]), bad[bad > row[-1]]
    bad = np.append(bad, _numbers(file, skipped))
    if len(bad):
        yield Piece(pa.table({name: pa.array([], _TEXT) for name in columns}), _NONE, bad)


def of_parquet(path: Path, columns: list[str], *, dictionaries: list[str], after: int) -> Iterator[Piece]:
    """Read columns of a Parquet file.

    Parameters
    ----------
    dictionaries : list of str
        Columns of text that are read as they are stored, a code a cell.
    after : int
        So many rows from the start are not wanted; of these, whole row groups are not read.
    """
    with pq.ParquetFile(path, read_dictionary=dictionaries, buffer_size=_BUFFER, pre_buffer=False) as file:
        sizes = [file.metadata.row_group(place).num_rows for place in range(file.metadata.num_row_groups)]
        starts = np.cumsum([0, *sizes])
        first = max(int(np.searchsorted(starts, after, "right")) - 1, 0)
        done = int(starts[first])
        for batch in file.iter_batches(_BATCH, row_groups=list(range(first, len(sizes))), columns=columns):
            row = np.arange(done + 1, done + batch.num_rows + 1)
            done += batch.num_rows
            if done > after:
                yield Piece(pa.Table.from_batches([batch]).select(columns), row, _NONE)


def cut(pieces: Iterable[Piece], rows: int, *, after: int) -> Iterator[Piece]:
    """Cut the pieces of one file anew: each but the last ends at a multiple of ``rows``, wherever the others ended.

    Parameters
    ----------
    after : int
        Rows up to this number are left out; a multiple of ``rows``, or the end of the file.
    """
    held: list[Piece] = []
    end = after + rows
    for one in pieces:
        if one.last <= after:
            continue
        piece = one.split(after)[1]
        while piece.last > end:
            head, piece = piece.split(end)
            yield _joined([*held, head])
            held, end = [], end + rows
        held.append(piece)
    if held:
        yield _joined(held)


def _joined(pieces: list[Piece]) -> Piece:
    tables = [piece.table for piece in pieces if len(piece.row)] or [pieces[0].table]
    return Piece(
        pa.concat_tables(tables),
        np.concatenate([piece.row for piece in pieces]),
        np.concatenate([piece.ragged for piece in pieces]),
    )


def _numbers(file: Delimited, skipped: list[pv.InvalidRow]) -> NDArray[np.int64]:
    """Take the numbers of the skipped rows from the list."""
    taken = [(invalid.number - 1, invalid.text) for invalid in skipped]  # the header is row 1 of the file
    skipped.clear()
    if swallowing := [number for number, text in taken if file.holds_rows(text)]:
        raise SourceUnreadable.quote(str(file.path), f"in row {swallowing[0]}")
    return np.array([number for number, _ in taken], dtype=np.int64)


def _tables(file: Delimited, columns: list[str], skipped: list[pv.InvalidRow]) -> Iterator[pa.Table]:
    """All columns, block by block; rows with a wrong number of fields go to ``skipped``, before those behind them."""

    def skip(row: pv.InvalidRow) -> str:
        skipped.append(row)
        return "skip"

    kinds = {name: _TEXT if name in columns else pa.binary() for name in file.names}
    try:
        with pv.open_csv(
            stream(file.path),
            read_options=pv.ReadOptions(
                encoding=file.encoding,
                block_size=_BLOCK,
                use_threads=False,  # else rows are not numbered
            ),
            parse_options=pv.ParseOptions(delimiter=file.separator, newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pv.ConvertOptions(column_types=kinds, strings_can_be_null=False),
        ) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        if "straddl" in str(error):
            raise SourceUnreadable.quote(str(file.path), f"and runs on for {_BLOCK:,} characters") from error
        raise
