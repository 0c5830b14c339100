"""Which files hold the table, and what stands in them, cell by cell, before anything is believed?"""

import codecs
import csv
import glob
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hi_ml.datasets.schema import Dataset
from hi_ml.errors import ColumnProblem, SourceUnreadable

_SEPARATORS = ",;\t|"
_PEEK = 1 << 16  # bytes looked at to tell text from binary


@dataclass(frozen=True)
class Raw:
    """A table as its files hold it.

    Attributes
    ----------
    table : pyarrow.Table, shape (n, n_columns)
        The described columns under their source names: text from a CSV, typed from Parquet.
    row : array of int64, shape (n,)
        Place of each row in the sorted files, 1 = first data row.
    ragged : array of int64, shape (n_ragged,)
        Rows with a wrong number of fields; they are not in ``table``.
    extra : tuple of str
        Columns that the dataset does not describe.
    """

    table: pa.Table
    row: NDArray[np.int64]
    ragged: NDArray[np.int64]
    extra: tuple[str, ...] = ()


def load(dataset: Dataset) -> Raw:
    """Read the described columns of every file of the dataset, in the order of the sorted names.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If no file is there, one is empty, damaged, of another format or encoding, or lacks a column.
    """
    parts = [_load_one(path, dataset) for path in _files(dataset)]
    starts = np.cumsum([0, *(len(part.row) + len(part.ragged) for part in parts)])
    try:
        table = pa.concat_tables([part.table for part in parts], promote_options="permissive")
    except pa.ArrowException as error:
        raise SourceUnreadable.format(str(dataset.source), f"its files do not agree on types: {error}.") from error
    if table.num_rows == 0 and not any(len(part.ragged) for part in parts):
        raise SourceUnreadable.no_rows(str(dataset.source))
    return Raw(
        table,
        np.concatenate([part.row + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.ragged + start for part, start in zip(parts, starts, strict=False)]),
        parts[0].extra,
    )


def _files(dataset: Dataset) -> list[Path]:
    source = str(dataset.source)
    path = Path(source).expanduser()
    if path.is_dir():
        raise SourceUnreadable.directory(source)
    files = [path] if path.is_file() else sorted(Path(name) for name in glob.glob(str(path)) if Path(name).is_file())  # noqa: PTH207 -- Path.glob refuses absolute patterns
    if not files:
        raise SourceUnreadable.absent(source, dataset.name, dataset.get)
    return files


def _load_one(path: Path, dataset: Dataset) -> Raw:
    with path.open("rb") as stream:
        head = stream.read(_PEEK)
    if not head.strip():
        raise SourceUnreadable.empty(str(path))
    try:
        if head.startswith(b"PAR1"):
            return _parquet(path, dataset)
        return _csv(path, dataset, head)
    except pa.ArrowException as error:
        raise SourceUnreadable.format(str(path), f"{str(error).splitlines()[0]}.") from error


def _parquet(path: Path, dataset: Dataset) -> Raw:
    names = pq.read_schema(path).names
    wanted = _wanted(path, dataset, names)
    table = pq.read_table(path, columns=wanted)
    row = np.arange(1, table.num_rows + 1)
    return Raw(table, row, np.array([], dtype=np.int64), _extra(names, wanted))


def _csv(path: Path, dataset: Dataset, head: bytes) -> Raw:
    encoding = _encoding(path, dataset, head)
    names = _header(path, dataset, encoding)
    wanted = _wanted(path, dataset, names)
    ragged: list[pv.InvalidRow] = []

    def skip(row: pv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    def read(*, threads: bool) -> pa.Table:
        ragged.clear()
        try:
            return pv.read_csv(
                pa.input_stream(str(path), compression="detect"),
                read_options=pv.ReadOptions(encoding=encoding, use_threads=threads),
                parse_options=pv.ParseOptions(
                    delimiter=dataset.separator, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=pv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted, strings_can_be_null=False
                ),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
                raise SourceUnreadable.encoding(str(path), encoding, _bad_line(path, encoding)) from error
            raise

    table = read(threads=True)
    if ragged:  # only the single-threaded reader numbers the rows it refuses
        table = read(threads=False)
    bad = np.array([invalid.number - 1 for invalid in ragged], dtype=np.int64)  # the header is row 1 of the file
    row = np.setdiff1d(np.arange(1, table.num_rows + len(bad) + 1), bad)
    return Raw(table, row, bad, _extra(names, wanted))


def _encoding(path: Path, dataset: Dataset, head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"  # the byte order mark says so, whatever the YAML expects
    compressed = head.startswith(b"\x1f\x8b")
    if b"\0" in head and not compressed and not dataset.encoding.lower().startswith(("utf-16", "utf16", "utf-32")):
        raise SourceUnreadable.format(str(path), "it holds zero bytes, so it is binary, or UTF-16 without its mark.")
    try:
        return codecs.lookup(dataset.encoding).name
    except LookupError as error:
        raise SourceUnreadable.format(
            str(path), f"dataset.encoding={dataset.encoding} is no known encoding."
        ) from error


def _header(path: Path, dataset: Dataset, encoding: str) -> list[str]:
    with pa.input_stream(str(path), compression="detect") as stream:
        first = stream.read(_PEEK)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(first).removeprefix("\ufeff")
    line = next((line for line in text.splitlines() if line.strip()), "")
    if len(dataset.separator) != 1:
        raise SourceUnreadable.format(str(path), f"dataset.separator={dataset.separator!r} is not one character.")
    names = next(csv.reader([line], delimiter=dataset.separator), [])
    if len(names) == 1 and len(dataset.present()) > 1:
        likely, count = Counter({mark: line.count(mark) for mark in _SEPARATORS}).most_common(1)[0]
        if count and likely != dataset.separator:
            raise SourceUnreadable.separator(str(path), dataset.separator, likely)
    return names


def _wanted(path: Path, dataset: Dataset, names: list[str]) -> list[str]:
    described = {role: str(column.source) for role, column in dataset.present().items()}
    absent = {role: name for role, name in described.items() if name not in names}
    if absent:
        raise ColumnProblem.missing(str(path), dataset.name, absent, names)
    twice = [name for name, count in Counter(names).items() if count > 1 and name in described.values()]
    if twice:
        raise ColumnProblem.duplicated(str(path), twice)
    return list(dict.fromkeys(described.values()))


def _extra(names: list[str], wanted: list[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in wanted)


def _bad_line(path: Path, encoding: str) -> int:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return number
    return 1
