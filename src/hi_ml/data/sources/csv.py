"""What does a CSV file hold, line by line, and in which encoding?"""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from numpy.typing import NDArray

from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.schema import Dataset

_SEPARATORS = ",;\t|"
_PEEK = 1 << 16  # bytes that surely hold the header
_FEWEST = 5  # columns from which a line with the header's number of separators is taken for a row
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh9": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_MARKS = {  # a byte order mark says what the YAML need not; that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Delimited:
    """A CSV file, compressed or not, of which the header is known."""

    path: Path
    encoding: str
    separator: str
    names: list[str]  # the header
    bare: bool  # whether the file ends with the header
    lines: int | None = None  # about how many there are, by the first ones; None if the file is compressed

    @classmethod
    def of(cls, path: Path, dataset: Dataset) -> "Delimited":
        """Read the header.

        Raises
        ------
        SourceUnreadable
            If the file is empty, binary, or separated or encoded otherwise than the dataset says.
        """
        first = peek(path)
        encoding = next((name for mark, name in _MARKS.items() if first.startswith(mark)), dataset.encoding)
        text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(first).removeprefix("\ufeff")
        if not text.strip():
            raise SourceUnreadable.empty(str(path))
        rows = filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=dataset.separator))
        names = next(rows)
        undecoded = any("\ufffd" in name for name in names)
        if any("\0" in name for name in names) or (undecoded and b"\0" in first):
            raise SourceUnreadable.binary(str(path))
        if undecoded:
            raise SourceUnreadable.encoding(str(path), encoding, 1)
        if len(names) == 1 and len(dataset.present()) > 1:
            likely, count = Counter({mark: names[0].count(mark) for mark in _SEPARATORS}).most_common(1)[0]
            if count:
                raise SourceUnreadable.separator(str(path), dataset.separator, likely)
        bare = len(first) < _PEEK and next(rows, None) is None
        lines = None if _packing(path) else round(first.count(b"\n") * path.stat().st_size / len(first))
        return cls(path, encoding, dataset.separator, names, bare, lines)

    def read(self, wanted: list[str]) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.int64]]:
        """Read columns as text.

        Parameters
        ----------
        wanted : list of str
            Names that occur once in the header.

        Returns
        -------
        table : pyarrow.Table, shape (n, n_wanted)
        row : array of int64, shape (n,)
            Number of each row of the table, 1 = first data row; an empty line is no row.
        ragged : array of int64, shape (n_ragged,)
            Numbers of the rows with a wrong number of fields, which are not in the table.

        Raises
        ------
        SourceUnreadable
            If a byte is not of the encoding, or a quote that does not close swallows rows.
        """
        ragged: list[pv.InvalidRow] = []
        try:
            table = self._parsed(wanted)
        except pa.ArrowInvalid as error:
            if "CSV parse error" not in str(error):  # which quotes the row, so it goes no further
                raise
            self.check_encoding()  # before Arrow hands over rows as text
            table = self._parsed(wanted, ragged)
        bad = np.array([invalid.number - 1 for invalid in ragged], dtype=np.int64)  # the header is row 1 of the file
        row = np.setdiff1d(np.arange(1, table.num_rows + len(bad) + 1), bad)
        swallowing = [row[place] for place in self.swallowing(table)]
        swallowing += [bad[place] for place, invalid in enumerate(ragged) if self.holds_rows(invalid.text)]
        if swallowing:
            raise SourceUnreadable.quote(str(self.path), f"in row {min(swallowing)}")
        return table.select(wanted), row, bad

    def _parsed(self, wanted: list[str], ragged: list[pv.InvalidRow] | None = None) -> pa.Table:
        """All columns; rows with a wrong number of fields go to ``ragged``, and without it raise."""

        def skip(row: pv.InvalidRow) -> str:
            ragged.append(row)  # type: ignore[union-attr]
            return "skip"

        kinds = {name: pa.string() if name in wanted else pa.binary() for name in self.names}
        if self.bare:
            return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})
        numbered = ragged is not None  # only the single-threaded reader numbers the rows it refuses
        try:
            return pv.read_csv(
                stream(self.path),
                read_options=pv.ReadOptions(encoding=self.encoding, use_threads=not numbered),
                parse_options=pv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=True, invalid_row_handler=skip if numbered else None
                ),
                convert_options=pv.ConvertOptions(column_types=kinds, strings_can_be_null=False),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
                self.check_encoding()
            if "straddl" in str(error):
                raise SourceUnreadable.quote(str(self.path), "and runs on for a million characters") from error
            raise

    def swallowing(self, table: pa.Table) -> list[int]:
        """List the places of the rows in which a cell spans lines and one of these looks like a row."""
        found = []
        for column in table.columns:
            if not any(map(_spans_lines, column.chunks)):
                continue
            texts = pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
            spans = pc.or_(pc.match_substring(texts, "\n"), pc.match_substring(texts, "\r"))
            places = np.flatnonzero(spans.to_numpy())
            cells = zip(places.tolist(), texts.take(pa.array(places)).to_pylist(), strict=True)
            found += [place for place, cell in cells if self.holds_rows(cell)]
        return found

    def holds_rows(self, text: str | bytes) -> bool:
        """Tell whether a line of a text, the first apart, looks like a row."""
        written = text if isinstance(text, str) else text.decode(errors="replace")
        width = len(self.names)
        return width >= _FEWEST and any(line.count(self.separator) == width - 1 for line in written.splitlines()[1:])

    def check_encoding(self) -> None:
        """Read the whole file as text.

        Raises
        ------
        SourceUnreadable
            With the first line that is not of the encoding.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        for place, block in enumerate(self._blocks()):
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = codecs.getincrementaldecoder(self.encoding)()  # lines are counted where one is to be named
                line = 1 + sum(before.decode(one).count("\n") for one in islice(self._blocks(), place))
                line += bytes(error.object[: error.start]).count(b"\n")
                raise SourceUnreadable.encoding(str(self.path), self.encoding, line) from error

    def _blocks(self) -> Iterator[bytes]:
        """The bytes of the file, and none at its end."""
        with stream(self.path) as file:
            while block := file.read(_PEEK):
                yield block
        yield b""


def _spans_lines(cells: pa.Array) -> bool:
    """Tell, sooner than cell by cell, whether a cell may hold the end of a line."""
    written = (cells.dictionary if pa.types.is_dictionary(cells.type) else cells).buffers()[-1]
    text = b"" if written is None else written.to_pybytes()
    return b"\n" in text or b"\r" in text


def peek(path: Path) -> bytes:
    """Return the first bytes of a file, decompressed."""
    with stream(path) as file:
        return bytes(file.read(_PEEK))


def stream(path: Path) -> pa.NativeFile:
    """Open a file for reading its bytes, decompressed."""
    return pa.input_stream(str(path), compression=_packing(path))


def _packing(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)
