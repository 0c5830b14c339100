"""Which sources make up a table, and what is in all of them together?"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hi_ml.app.config import named_in
from hi_ml.app.errors import ColumnProblem, SourceUnreadable
from hi_ml.data import sources
from hi_ml.data.columns import name_columns
from hi_ml.data.schema import Dataset
from hi_ml.data.sources import files
from hi_ml.data.sources.csv import Csv
from hi_ml.data.sources.pieces import Piece, Source, join


def locate(source: str) -> list[str]:
    """List what a path, a glob or an address stands for, in order; none if there is nothing.

    Raises
    ------
    SourceUnreadable
        If it is a folder, or no path at all.
    """
    return [source] if _kind(source, b"") else [str(path) for path in files.matching(source)]


def open_source(location: str, dataset: Dataset) -> Source:
    """Open one file or address, as `locate` lists them.

    Parameters
    ----------
    dataset : Dataset
        Its separator and encoding are those of a CSV.

    Raises
    ------
    SourceUnreadable
        If it is empty, damaged, or of another format than its first bytes or the dataset say.
    """
    kind = _kind(location, b"")
    if kind is None:
        with files.refusing(location):
            kind = _kind(location, files.peek(location)) or Csv  # which no first byte tells
    source: Source = kind.open(location, dataset)
    return source


def _kind(location: str, start: bytes) -> Any:
    return next((kind for kind in named_in(sources, "SOURCE") if kind.opens(location, start)), None)


@dataclass(frozen=True)
class Fingerprint:
    """What lay at a location, a file or an address, when it was read."""

    sha256: str  # of the bytes of a file
    state: Hashable  # size and time of the last change of a file
    source: Source | None = None  # behind an address: it stays as it was when it was opened

    @classmethod
    def of(cls, location: str, dataset: Dataset) -> "Fingerprint":
        """Read all that is there; an OSError if there is no file."""
        if kind := _kind(location, b""):
            source = kind.open(location, dataset)
            return cls(source.sha256(), None, source)
        state = files.state(location)
        return cls(files.sha256(location), state)

    def open(self, location: str, dataset: Dataset) -> Source:
        """Open what was read, raises as `open_source`."""
        return self.source or open_source(location, dataset)

    def stands(self, location: str) -> bool:
        """Tell, without reading it, whether all is still as it was."""
        return self.source is not None or self.state == files.state(location)


def load(dataset: Dataset) -> tuple[Dataset, Piece, tuple[str, ...]]:
    """Read the described columns of every source of the dataset, in the order of the sorted names.

    Returns
    -------
    dataset : Dataset
        With a column for every one of the files that its blocks name.
    whole : Piece
        The columns under their source names: text from a CSV, typed from Parquet.
    extra : tuple of str
        Columns that the dataset does not describe.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If there is no file, one is empty, damaged, of another format or encoding, or lacks a column.
    """
    locations = locate(dataset.origin)
    if not locations:
        raise SourceUnreadable.absent(dataset.origin, dataset.name, dataset.get)
    pieces: list[Piece] = []
    extra: dict[str, None] = {}
    opened = [open_source(location, dataset) for location in locations]
    dataset = name_columns(dataset, list(dict.fromkeys(name for source in opened for name in source.schema.names)))
    for source in opened:
        wanted = _wanted(source, dataset)
        extra |= dict.fromkeys(name for name in source.schema.names if name not in wanted)
        start = pieces[-1].last if pieces else 0
        pieces += (Piece(piece.table, piece.row + start, piece.ragged + start) for piece in source.pieces(wanted))
    if not pieces:
        raise SourceUnreadable.no_rows(dataset.origin)
    try:
        return dataset, join(pieces), tuple(extra)
    except pa.ArrowException as error:
        raise SourceUnreadable.types(dataset.origin, str(error)) from error


def _wanted(source: Source, dataset: Dataset) -> list[str]:
    columns, names = dataset.present(), source.schema.names
    wanted = list(dict.fromkeys(name for column in columns.values() for name in column.sources))
    if not set(wanted) <= set(names):
        absent = {role: [name for name in column.sources if name not in names] for role, column in columns.items()}
        described = {role: (absent[role] or column.sources)[0] for role, column in columns.items()}
        raise ColumnProblem.missing(source.location, dataset.name, described, names)
    twice = [name for name, count in Counter(names).items() if count > 1 and name in wanted]
    if twice:
        raise ColumnProblem.duplicated(source.location, twice)
    return wanted
