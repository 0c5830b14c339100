"""Which files are to be scored, and do they hold what the model and the user ask for?"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from hi_ml.app.errors import ColumnProblem, ConfigurationInvalid, SourceUnreadable
from hi_ml.app.references import as_read
from hi_ml.data.joins import Lookup, Matches
from hi_ml.data.location import address_of
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import Piece, Source, cut, is_text, plain
from hi_ml.data.sources.table import Fingerprint, rules_of
from hi_ml.scorer.serving import Scorer
from hi_ml.scorer.serving import inputs as needed_by

Fingerprints = Mapping[str, Fingerprint]  # by location


@dataclass(frozen=True)
class Inputs:
    """The files to be scored and the columns that are read of them."""

    files: tuple[Source, ...]  # sorted by name
    needed: tuple[str, ...]  # columns that the model needs
    lookups: tuple[Lookup, ...]  # other tables that give some of them, in the order of joining
    carried: tuple[str, ...]  # the id column, and those to keep
    # private columns, with their kinds, that tell whether a cell that cannot be read may be shown; read only
    # where a number or a date is written as text, so that a name could stand in its place
    guards: dict[str, str]
    missing: tuple[str, ...]  # words that mean "no value"
    extra: tuple[str, ...]  # columns that nobody asked for
    # rules that left rows out of the model's table, as `hi_ml.data.attrition.rules_of` describes them, and the columns
    # that they need; those of which a column is absent here
    drop: tuple[Mapping[str, Any], ...] = ()
    watched: tuple[str, ...] = ()
    untold: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(
        cls,
        read: Fingerprints,
        scorer: Scorer,
        *,
        dataset: Dataset,
        keep: Sequence[str],
        tables: Mapping[str, str] | None = None,
    ) -> "Inputs":
        """Hold the headers of the files against the model.

        Parameters
        ----------
        read : mapping of str to Fingerprint
            By the location of each file, sorted by name.
        dataset : Dataset
            Its separator and encoding; the columns are the model's.
        tables : mapping of str to str, optional
            Where other tables lie, by the name of the join; by default where the dataset says, else where they lay when
            the model was trained.

        Raises
        ------
        SourceUnreadable
            If a file cannot be read.
        ColumnProblem
            If a column is absent, twice there, or private.
        ConfigurationInvalid
            If rows are made of a file otherwise than those from which the model learned.
        """
        specs = needed_by(scorer.mapping["columns"])
        needed = tuple(dict.fromkeys(spec["source"] for spec in specs))
        files = tuple(_asking(one.open(location, dataset), needed) for location, one in read.items())
        for file in files:
            _check_rules(file, scorer)
        here = {name: address_of(join.source) for name, join in dataset.joins.items()} if tables is None else tables
        lookups = _lookups(scorer, needed, files, dataset=dataset, tables=here)
        measured = [spec["source"] for spec in specs if spec["kind"] in ("number", "date")]
        private: dict[str, str] = scorer.mapping.get("private", {})
        if hidden := [name for name in keep if name in private]:
            raise ColumnProblem.private(hidden)
        present: set[str] = {name for file in files for name in file.schema.names}
        own = scorer.mapping.get("id")
        carried = tuple(dict.fromkeys([own, *keep] if own in present else keep))
        given = set.intersection(*(set(file.schema.names) for file in files))
        given |= {name for one in lookups for name in one.table.column_names}
        rules = scorer.mapping.get("drop", ())
        drop = tuple(rule for rule in rules if given.issuperset(_watched([rule])))
        untold = tuple(rule for rule in rules if rule not in drop)
        watched = tuple(_watched(drop))
        own_columns = tuple(dict.fromkeys(_own([*needed, *(name for one in lookups for name in one.needs)], lookups)))
        for file in files:
            _check(file, own_columns, carried)
        _check_kinds(files, carried)
        shifted = any(is_text(file.schema.field(name).type) for file in files for name in _own(measured, lookups))
        guards = {name: kind for name, kind in private.items() if name in present and shifted}
        extra = tuple(sorted(present - {*own_columns, *needed, *carried, *private, *watched}))
        missing = tuple(scorer.mapping.get("missing") or specs[0]["missing"])
        return cls(files, needed, lookups, carried, guards, missing, extra, drop, watched, untold)

    @property
    def several(self) -> bool:
        """Whether a row must say which file it is from."""
        return len(self.files) > 1

    def share(self, rows: int) -> float:
        """Tell about how much of the input so many rows are; 0 where a compressed file hides its length."""
        counted = [file.rows for file in self.files if file.rows is not None]
        return min(rows / max(sum(counted), 1), 1.0) if len(counted) == len(self.files) else 0.0

    def columns(self) -> list[str]:
        """Return the columns that are read of every file."""
        keys = (name for one in self.lookups for name in one.needs)
        return list(dict.fromkeys([*_own([*self.needed, *self.watched, *keys], self.lookups), *self.carried]))

    def kind_of(self, name: str) -> pa.DataType:
        """Return the type of a column, of the files or joined."""
        for one in self.lookups:
            if name in one.table.column_names:
                return one.table.schema.field(name).type
        return self.files[0].schema.field(name).type

    def carried_kinds(self) -> dict[str, pa.DataType]:
        """Return the types of the columns that are carried through."""
        return {name: _plain(self.files[0], name) for name in self.carried}


@dataclass(frozen=True)
class Chunk:
    """So many rows of one file."""

    file: int  # its index among the files
    start: int  # rows of the files before
    piece: Piece
    matches: tuple[Matches, ...] = ()  # by lookup


def chunks(inputs: Inputs, rows: int, *, done: Sequence[int] | None = None) -> Iterator[Chunk]:
    """Read the input in chunks; a chunk ends at a multiple of ``rows``, counted in its file, and at the file's end.

    Parameters
    ----------
    done : sequence of int, optional
        How many rows of each file, in order, need not be read again: none by default.

    Raises
    ------
    SourceUnreadable
        If a file turns out to be damaged.
    """
    done = done or [0] * len(inputs.files)
    first = max((index for index, rows_done in enumerate(done) if rows_done), default=0)
    start = sum(done[:first])
    for index, file in enumerate(inputs.files[first:], start=first):
        after = last = done[index]
        guards = [name for name in inputs.guards if name in file.schema.names]
        columns = list(dict.fromkeys([*inputs.columns(), *guards]))
        for piece in cut(file.pieces(columns, after=after), rows, after=after):
            yield joined(Chunk(index, start, piece), inputs)
            last = piece.last
        start += last


def _lookups(
    scorer: Scorer, needed: Sequence[str], files: Sequence[Source], *, dataset: Dataset, tables: Mapping[str, str]
) -> tuple[Lookup, ...]:
    """Open the tables that the model's were joined from, but those whose columns every file has already."""
    there = set.intersection(*(set(file.schema.names) for file in files))
    wanted, chosen = {name for name in needed if name not in there}, []
    for spec in reversed(scorer.mapping.get("joins", [])):
        if wanted.isdisjoint(spec["columns"]):
            continue
        lookup = Lookup.open({**spec, "source": as_read(tables.get(spec["name"], spec["source"]))}, dataset)
        wanted |= {name for name in lookup.needs if name not in there}
        chosen.append(lookup)
    return tuple(reversed(chosen))


def _own(names: Iterable[str], lookups: Sequence[Lookup]) -> list[str]:
    """Keep the columns that no other table gives."""
    given = {name for one in lookups for name in one.table.column_names}
    return [name for name in names if name not in given]


def joined(chunk: Chunk, inputs: Inputs) -> Chunk:
    """Join the rows of a chunk to the other tables."""
    table, matches = chunk.piece.table, []
    for lookup in inputs.lookups:
        table, found = lookup.add(table)
        matches.append(found)
    return replace(chunk, piece=replace(chunk.piece, table=table), matches=tuple(matches)) if matches else chunk


def _watched(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of a file that rules need."""
    return list(
        {spec["source"]: None for rule in rules for part in rule["where"] for spec in needed_by([part["column"]])}
    )


def _asking(file: Source, needed: Sequence[str]) -> Source:
    """The file with the columns that only it can make."""
    return file.asking(needed) if hasattr(file, "asking") else file


def _check_rules(file: Source, scorer: Scorer) -> None:
    """Rows are made as those were from which the model learned."""
    ours, theirs = rules_of(file.location), scorer.mapping.get("rules")
    if ours and theirs and (differing := [key for key in ours if ours[key] != theirs.get(key)]):
        raise ConfigurationInvalid.other_rules(
            file.location, differing[0], ours[differing[0]], theirs.get(differing[0])
        )


def _check(file: Source, needed: tuple[str, ...], carried: tuple[str, ...]) -> None:
    counts = Counter(file.schema.names)
    if not set(needed) <= set(counts):
        raise ColumnProblem.not_for_model(file.location, needed, list(counts))
    for name in carried:
        if name not in counts:
            raise ColumnProblem.not_kept(file.location, name, list(counts))
    twice = [name for name, count in counts.items() if count > 1 and name in (*needed, *carried)]
    if twice:
        raise ColumnProblem.duplicated(file.location, twice)


def _check_kinds(files: tuple[Source, ...], carried: tuple[str, ...]) -> None:
    """Columns that are carried through become one column of the output."""
    for name in carried:
        kinds = {str(_plain(file, name)) for file in files}
        if len(kinds) > 1:
            listed = ", ".join(file.location for file in files)
            raise SourceUnreadable.types(listed, f"'{name}' is {' and '.join(sorted(kinds))}")


def _plain(file: Source, name: str) -> pa.DataType:
    """The type of a column as the output has it: text is text, however a file keeps it."""
    kind = plain(file.schema).field(name).type
    return pa.string() if is_text(kind) else kind
