"""What does a CSV file hold, line by line, and in which encoding?"""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from numpy.typing import NDArray

from hi_ml.app.errors import SourceUnreadable
from hi_ml.app.files import scheme_of
from hi_ml.data.schema import Dataset
from hi_ml.data.sources import files
from hi_ml.data.sources.encodings import MARKS, likely_encoding
from hi_ml.data.sources.pieces import NO_ROWS, Piece

_SEPARATORS = ",;\t|"
_BLOCK = 1 << 20  # bytes that are parsed at once, a dozen blocks ahead: no row is longer
_LONGEST_HEADER = 16 << 20  # bytes
_FEWEST = 5  # columns from which a line with the header's number of separators is taken for a row
_TEXT = pa.dictionary(pa.int32(), pa.string())  # few bytes a cell, and few pieces of memory


def likely_form(source: str) -> dict[str, str]:
    """Tell the separator and the encoding of a CSV where they are not a comma and UTF-8; nothing of what is no CSV."""
    paths = [] if scheme_of(source) or files.is_folder(source) else files.matching(source)
    first = files.peek(str(paths[0])) if paths else b"PAR1"
    if first.startswith(b"PAR1"):
        return {}
    encoding = likely_encoding(str(paths[0]))
    header = first.decode(encoding, "replace").lstrip("\ufeff\r\n").partition("\n")[0]
    if "\0" in header:
        return {}
    likely, count = Counter({mark: header.count(mark) for mark in _SEPARATORS}).most_common(1)[0]
    form = {"separator": likely} if count and likely != "," else {}
    return form if encoding in MARKS.values() else {**form, "encoding": encoding}


@dataclass(frozen=True)
class Csv:
    """A CSV file, compressed or not, of which the header was read."""

    location: str
    schema: pa.Schema  # all text
    rows: int | None  # about how many lines there are, by the first ones; None if the file is compressed
    encoding: str
    separator: str
    bare: bool  # whether the file ends with the header
    longest: int  # bytes that a line may take, where the header takes many
    most: int  # bytes that a compressed file may hold

    @classmethod
    def open(cls, location: str, dataset: Dataset) -> "Csv":
        """Read the header.

        Raises
        ------
        SourceUnreadable
            If the file is empty, binary, or separated or encoded otherwise than the dataset says.
        """
        with files.refusing(location):
            packed = files.compression(location) is not None
            first, encoding, text, whole = _head(location, dataset)
        if not text.strip():
            raise SourceUnreadable.empty(location)
        rows = filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=dataset.separator))
        names = next(rows, [""])
        undecoded = any("\ufffd" in name for name in names)
        if any("\0" in name for name in names) or (undecoded and b"\0" in first):
            raise SourceUnreadable.binary(location)
        if undecoded:
            raise SourceUnreadable.encoding(location, encoding, 1, likely_encoding(location))
        if len(names) == 1 and len(dataset.present()) > 1:
            likely, count = Counter({mark: names[0].count(mark) for mark in _SEPARATORS}).most_common(1)[0]
            if count:
                raise SourceUnreadable.separator(location, dataset.separator, likely)
        bare = whole and next(rows, None) is None
        lines = None if packed else round(first.count(b"\n") * Path(location).stat().st_size / len(first))
        schema = pa.schema([(name, pa.string()) for name in names])
        longest = 2 * len(first) if len(first) > files.PEEK else 0
        return cls(location, schema, lines, encoding, dataset.separator, bare, longest, dataset.max_bytes)

    def pieces(self, columns: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        """Read columns as text; an empty line is no row.

        Raises
        ------
        SourceUnreadable
            If a byte is not of the encoding, or a quote that does not close swallows rows.
        """
        if self.bare:
            return
        last = 0
        with files.refusing(self.location):
            try:
                for piece in self._pieces(columns):
                    last = piece.last
                    if last > after:
                        yield piece
            except pa.ArrowInvalid as error:
                if "CSV parse error" not in str(error):  # which quotes the row, so it goes no further
                    raise
            else:
                return
            self._check_encoding()  # before Arrow hands over rows as text
            for piece in self._numbered_pieces(columns):
                if piece.last > max(last, after):
                    yield piece.split(last)[1]

    def _pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """The pieces of a file of which each row has as many fields as the header; any other raises."""
        last = 0
        for table in self._tables(columns):
            row = np.arange(last + 1, last + table.num_rows + 1)
            self._check_quotes(row[self._swallowing(table)])
            if len(row):
                yield Piece(table.select(columns), row, NO_ROWS)
                last = int(row[-1])

    def _numbered_pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """The pieces of any file."""
        refused: list[pv.InvalidRow] = []  # before the rows behind them are handed over
        last, ragged = 0, NO_ROWS
        for table in self._tables(columns, refused):
            numbers, swallowing = self._taken(refused)
            ragged = np.append(ragged, numbers)
            row = np.arange(last + 1, last + table.num_rows + len(ragged) + 1)
            row = np.setdiff1d(row, ragged)[: table.num_rows]
            self._check_quotes(np.append(row[self._swallowing(table)], swallowing))
            if len(row):
                yield Piece(table.select(columns), row, ragged[ragged < row[-1]])
                last, ragged = int(row[-1]), ragged[ragged > row[-1]]
        numbers, swallowing = self._taken(refused)
        self._check_quotes(swallowing)
        if len(ragged) or len(numbers):
            none = pa.schema([(name, _TEXT) for name in columns]).empty_table()
            yield Piece(none, NO_ROWS, np.append(ragged, numbers))

    def _tables(self, columns: Sequence[str], refused: list[pv.InvalidRow] | None = None) -> Iterator[pa.Table]:
        """All columns, block by block; rows with a wrong number of fields go to ``refused``, and without it raise."""

        def skip(row: pv.InvalidRow) -> str:
            refused.append(row)  # type: ignore[union-attr]
            return "skip"

        numbered = refused is not None  # only without threads are the rows numbered that are refused
        kinds = {name: _TEXT if name in columns else pa.binary() for name in self.schema.names}
        try:
            with pv.open_csv(
                files.stream(self.location, self.most),
                read_options=pv.ReadOptions(
                    encoding=self.encoding, block_size=max(_BLOCK, self.longest), use_threads=not numbered
                ),
                parse_options=pv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=True, invalid_row_handler=skip if numbered else None
                ),
                convert_options=pv.ConvertOptions(column_types=kinds, strings_can_be_null=False),
            ) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
                self._check_encoding()
            if "straddl" in str(error):
                raise SourceUnreadable.quote(self.location, "and runs on for a million characters") from error
            raise

    def _taken(self, refused: list[pv.InvalidRow]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Empty the list: the numbers of the rows, and of those among them that hold others."""
        rows = [(row.number - 1, self._holds_rows(row.text)) for row in refused]  # the header is row 1 of the file
        refused.clear()
        numbers, swallowing = [number for number, _ in rows], [number for number, holds in rows if holds]
        return np.array(numbers, dtype=np.int64), np.array(swallowing, dtype=np.int64)

    def _swallowing(self, table: pa.Table) -> NDArray[np.int64]:
        """The positions of the rows in which a cell spans lines and one of these looks like a row."""
        swallowing = []
        for column in table.columns:
            if not any(map(_spans_lines, column.chunks)):
                continue
            texts = pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
            spans = pc.or_(pc.match_substring(texts, "\n"), pc.match_substring(texts, "\r"))
            positions = np.flatnonzero(spans.to_numpy())
            cells = zip(positions.tolist(), texts.take(pa.array(positions)).to_pylist(), strict=True)
            swallowing += [position for position, cell in cells if self._holds_rows(cell)]
        return np.array(swallowing, dtype=np.int64)

    def _holds_rows(self, text: str | bytes) -> bool:
        """Whether a line of a text, the first apart, looks like a row."""
        written = text if isinstance(text, str) else text.decode(errors="replace")
        width = len(self.schema.names)
        return width >= _FEWEST and any(line.count(self.separator) == width - 1 for line in written.splitlines()[1:])

    def _check_quotes(self, swallowing: NDArray[np.int64]) -> None:
        if len(swallowing):
            raise SourceUnreadable.quote(self.location, f"in row {swallowing.min()}")

    def _check_encoding(self) -> None:
        """Read the whole file as text, and name the first line that is not of the encoding."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        for index, block in enumerate(self._blocks()):
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = codecs.getincrementaldecoder(self.encoding)()  # lines are counted where one is to be named
                line = 1 + sum(before.decode(one).count("\n") for one in islice(self._blocks(), index))
                line += bytes(error.object[: error.start]).count(b"\n")
                likely = likely_encoding(self.location)
                raise SourceUnreadable.encoding(self.location, self.encoding, line, likely) from error

    def _blocks(self) -> Iterator[bytes]:
        """The bytes of the file, and none at its end."""
        with files.stream(self.location, self.most) as file:
            while block := file.read(files.PEEK):
                yield block
        yield b""


def _head(location: str, dataset: Dataset) -> tuple[bytes, str, str, bool]:
    """Read as far as the header goes: its bytes and those behind, their encoding and text, whether they are all."""
    csv.field_size_limit(_LONGEST_HEADER)
    size = files.PEEK
    while True:
        first = files.peek(location, size)
        encoding = next((name for mark, name in MARKS.items() if first.startswith(mark)), dataset.encoding)
        try:
            text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(first).removeprefix("\ufeff")
            lines = io.StringIO(text, newline="")
            next(filter(None, csv.reader(lines, delimiter=dataset.separator)), None)
        except (UnicodeError, csv.Error) as error:
            raise SourceUnreadable.format(location, str(error)) from error
        if len(first) < size or lines.tell() < len(text):
            return first, encoding, text, len(first) < size
        if size >= _LONGEST_HEADER:
            raise SourceUnreadable.long_header(location, size >> 20)
        size *= 4


def _spans_lines(cells: pa.Array) -> bool:
    """Tell, sooner than cell by cell, whether a cell may hold the end of a line."""
    buffer = (cells.dictionary if pa.types.is_dictionary(cells.type) else cells).buffers()[-1]
    text = b"" if buffer is None else buffer.to_pybytes()
    return b"\n" in text or b"\r" in text
