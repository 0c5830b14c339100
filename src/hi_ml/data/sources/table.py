"""Which sources make up a table, and what is in all of them together?"""

import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hi_ml.app.config import named_in
from hi_ml.app.errors import ColumnProblem, SourceUnreadable
from hi_ml.app.memory import available
from hi_ml.data import sources
from hi_ml.data.columns import name_columns
from hi_ml.data.schema import Dataset
from hi_ml.data.sources import files
from hi_ml.data.sources.csv import Csv
from hi_ml.data.sources.pieces import Piece, Source, join

log = logging.getLogger("hi_ml")
_TAKEN = 7  # bytes of memory at the most, while a table is read, for each of its cells as they come
_MUCH = 2 << 30  # bytes that are worth a word
_SURELY = 1.5  # times what there is; the first rows tell only about how many follow


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


def is_csv(origin: str) -> bool:
    """Tell whether the first file of a path or a glob is one that no other kind of source reads."""
    if _kind(origin, b"") or files.is_folder(origin):
        return False
    return all(_kind(str(path), files.peek(str(path))) is None for path in files.matching(origin)[:1])


def rules_of(location: str) -> dict[str, Any] | None:
    """Return how rows are made of what lies at an address, ready for JSON; None where they are there as they are."""
    kind = _kind(location, b"")
    rules: dict[str, Any] | None = kind.rules(location) if hasattr(kind, "rules") else None
    return rules


def _kind(location: str, start: bytes) -> Any:
    return next((kind for kind in named_in(sources, "SOURCE") if kind.opens(location, start)), None)


@dataclass(frozen=True)
class Fingerprint:
    """What lay at a location, a file or an address, when it was read."""

    sha256: str  # of the bytes of a file
    state: Hashable  # see `hi_ml.data.sources.files.state`
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
        """Tell whether all is still as it was: without reading it again, where nothing touched it."""
        if self.source is not None:
            return True
        state = files.state(location)
        return state == self.state or (state is not None and files.sha256(location) == self.sha256)


def load(dataset: Dataset) -> tuple[Dataset, Piece, tuple[str, ...], dict[str, Fingerprint]]:
    """Read the described columns of every source of the dataset, in the order of the sorted names.

    Returns
    -------
    dataset : Dataset
        With a column for every one of the files that its blocks name.
    whole : Piece
        The columns under their source names: text from a CSV, typed from Parquet.
    extra : tuple of str
        Columns that the dataset does not describe.
    read : dict of str to Fingerprint
        What each source was, by its location.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If there is no file, one is empty, damaged, of another format or encoding, or lacks a column.
    """
    opened, read = open_all(dataset.origin, dataset)
    header = list(dict.fromkeys(name for source in opened for name in source.schema.names))
    joined = dataset.joined_roles()
    if both := [role for role in joined if role in header]:
        raise ColumnProblem.joined_twice(dataset.origin, both)
    dataset = name_columns(dataset, [*header, *joined])
    own = {role: column.sources for role, column in dataset.present().items() if column.sources[0] not in joined}
    described = own | dataset.keys_of_joins()
    wanted = {name for names in described.values() for name in names}
    return dataset, gather(opened, dataset, described), tuple(name for name in header if name not in wanted), read


def open_all(origin: str, dataset: Dataset) -> tuple[list[Source], dict[str, Fingerprint]]:
    """Open every source behind a path, a glob or an address, in the order of the sorted names, and read its digest."""
    locations = locate(origin)
    if not locations:
        raise SourceUnreadable.absent(origin, dataset.name, dataset.get)
    read: dict[str, Fingerprint] = {}
    for location in locations:
        with files.refusing(location):
            read[location] = Fingerprint.of(location, dataset)
    return [one.open(location, dataset) for location, one in read.items()], read


def gather(opened: Sequence[Source], dataset: Dataset, described: Mapping[str, Sequence[str]]) -> Piece:
    """Read columns of several sources, one behind the other.

    Parameters
    ----------
    described : mapping of str to sequence of str
        The columns, by what asks for them; raises where one is absent, or there twice.
    """
    pieces, budget = list[Piece](), _Budget(available())
    wanted = list(dict.fromkeys(name for names in described.values() for name in names))
    for source in opened:
        check_columns(source.location, source.schema.names, dataset, described)
        start = pieces[-1].last if pieces else 0
        for piece in budget.spend(source.pieces(wanted), source):
            pieces.append(Piece(piece.table, piece.row + start, piece.ragged + start))
    listed = ", ".join(source.location for source in opened)
    if not pieces:
        raise SourceUnreadable.no_rows(listed)
    try:
        return join(pieces)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SourceUnreadable.types(listed, str(error)) from error


@dataclass
class _Budget:
    """The memory that a table may take, until it is typed, checked and grouped."""

    left: int  # bytes
    spent: int = 0  # bytes that will be taken of what was read

    def spend(self, pieces: Iterable[Piece], source: Source) -> Iterator[Piece]:
        """Count the pieces of one source as they are read.

        Raises
        ------
        SourceUnreadable
            If they take more than there is, or surely will.
        """
        before, rows = self.spent, 0
        for piece in pieces:
            self.spent += _TAKEN * piece.table.nbytes
            if not rows:
                self._forecast(source, self.spent - before, len(piece))
            rows += len(piece)
            if self.spent > self.left:
                raise SourceUnreadable.memory(source.location, self.spent, self.left)
            yield piece

    def _forecast(self, source: Source, spent: int, rows: int) -> None:
        """Say what the whole will take, by its first rows, where that is much."""
        whole = spent * (source.rows or 0) // max(rows, 1)
        if whole > _MUCH:
            log.info("%s will take about %.1f GB of memory", source.location, whole / 1e9)
        if whole > _SURELY * self.left:
            raise SourceUnreadable.memory(source.location, whole, self.left)


def check_columns(
    location: str, names: Sequence[str], dataset: Dataset, described: Mapping[str, Sequence[str]]
) -> None:
    """Refuse a source that lacks a described column, or has one twice."""
    wanted = {name for one in described.values() for name in one}
    if not wanted <= set(names):
        first = {role: next((name for name in one if name not in names), one[0]) for role, one in described.items()}
        raise ColumnProblem.missing(location, dataset.name, first, names)
    twice = [name for name, count in Counter(names).items() if count > 1 and name in wanted]
    if twice:
        raise ColumnProblem.duplicated(location, twice)
