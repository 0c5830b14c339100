"""Which files hold the table, and what stands in them, cell by cell, before anything is believed?"""

import glob
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hi_ml.app.errors import ColumnProblem, SourceUnreadable
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.csv import Delimited, peek


@dataclass(frozen=True)
class Raw:
    """A table as its files hold it."""

    # pyarrow.Table, shape (n, n_columns); the described columns under their source names: text from a CSV,
    # typed from Parquet
    table: pa.Table
    row: NDArray[np.int64]  # int64, shape (n,); place of each row in the sorted files, 1 = first data row
    ragged: NDArray[np.int64]  # int64, shape (n_ragged,); rows with a wrong number of fields; they are not in ``table``
    extra: tuple[str, ...] = ()  # columns that the dataset does not describe

    def __len__(self) -> int:
        """How many rows the files hold, those with a wrong number of fields included."""
        return len(self.row) + len(self.ragged)


def load(dataset: Dataset) -> Raw:
    """Read the described columns of every file of the dataset, in the order of the sorted names.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If no file is there, one is empty, damaged, of another format or encoding, or lacks a column.
    """
    parts = [_load_one(path, dataset) for path in _files(dataset)]
    starts = np.cumsum([0, *map(len, parts)])
    try:
        table = pa.concat_tables([part.table for part in parts], promote_options="permissive")
    except pa.ArrowException as error:
        raise SourceUnreadable.types(str(dataset.source), str(error)) from error
    if not starts[-1]:
        raise SourceUnreadable.no_rows(str(dataset.source))
    return Raw(
        table,
        np.concatenate([part.row + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.ragged + start for part, start in zip(parts, starts, strict=False)]),
        tuple(dict.fromkeys(name for part in parts for name in part.extra)),
    )


def matching(source: str) -> list[Path]:
    """List the files that a path or a glob names, sorted; none if there is none.

    Raises
    ------
    SourceUnreadable
        If it is a folder, or no path at all.
    """
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            raise SourceUnreadable.directory(source)
        if path.is_file():
            return [path]
    except (OSError, RuntimeError) as error:  # a name too long, a home of nobody
        raise SourceUnreadable.format(source, str(error)) from error
    return sorted(Path(name) for name in glob.glob(str(path)) if Path(name).is_file())  # noqa: PTH207 -- Path.glob refuses absolute patterns


def _files(dataset: Dataset) -> list[Path]:
    files = matching(str(dataset.source))
    if not files:
        raise SourceUnreadable.absent(str(dataset.source), dataset.name, dataset.get)
    return files


def _load_one(path: Path, dataset: Dataset) -> Raw:
    try:
        return _parquet(path, dataset) if peek(path).startswith(b"PAR1") else _csv(path, dataset)
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable.format(str(path), str(error).splitlines()[0]) from error


def _parquet(path: Path, dataset: Dataset) -> Raw:
    names = pq.read_schema(path).names
    wanted = _wanted(path, dataset, names)
    table = pq.read_table(path, columns=wanted)
    row = np.arange(1, table.num_rows + 1)
    return Raw(table, row, np.array([], dtype=np.int64), _extra(names, wanted))


def _csv(path: Path, dataset: Dataset) -> Raw:
    file = Delimited.of(path, dataset)
    wanted = _wanted(path, dataset, file.names)
    return Raw(*file.read(wanted), _extra(file.names, wanted))


def _wanted(path: Path, dataset: Dataset, names: list[str]) -> list[str]:
    described = {role: str(column.source) for role, column in dataset.present().items()}
    if not set(described.values()) <= set(names):
        raise ColumnProblem.missing(str(path), dataset.name, described, names)
    twice = [name for name, count in Counter(names).items() if count > 1 and name in described.values()]
    if twice:
        raise ColumnProblem.duplicated(str(path), twice)
    return list(dict.fromkeys(described.values()))


def _extra(names: list[str], wanted: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name not in wanted))
