"""What is in a table that nobody has described, and in those beside it?"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hi_ml.app.config import build
from hi_ml.app.errors import JoinRefused, SourceUnreadable
from hi_ml.app.references import as_written
from hi_ml.data.guess import ColumnGuess, guess_columns
from hi_ml.data.joins import join
from hi_ml.data.location import Location, address_of
from hi_ml.data.relations import Relations
from hi_ml.data.schema import Dataset, Join
from hi_ml.data.sources.csv import likely_form
from hi_ml.data.sources.pieces import Piece
from hi_ml.data.sources.table import gather, is_csv, locate, open_all
from hi_ml.reports.draft import DraftedJoin

_USUAL = {"separator": ",", "encoding": "utf-8"}
_CONVINCING = 0.9  # share of the keys that another table must know, to be joined in the draft


@dataclass(frozen=True)
class Undescribed:
    """A table that nobody has described."""

    dataset: Dataset
    raw: Piece
    guesses: list[ColumnGuess]
    form: dict[str, str]  # separator and encoding of a CSV

    @classmethod
    def of(cls, source: Location, name: str) -> "Undescribed":
        """Read all columns, and guess what they are."""
        origin = address_of(source)
        if not locate(origin):
            raise SourceUnreadable.nowhere(origin)
        form = _USUAL | (likely_form(origin) if isinstance(source, str) and is_csv(origin) else {})
        said: dict[str, Any] = {"source": source, "known": {"after": ["*"]}, **form}
        dataset = Dataset(name=name, columns={}, **said)
        opened, _ = open_all(origin, dataset)
        header = list(dict.fromkeys(column for one in opened for column in one.schema.names))
        raw = gather(opened, dataset, {column: [column] for column in header})
        return cls(dataset, raw, guess_columns(raw.table), form)

    @property
    def unusual(self) -> dict[str, str]:
        """Separator and encoding, where they are not a comma and UTF-8."""
        return {key: mark for key, mark in self.form.items() if mark != _USUAL[key]}


def joins(read: Undescribed, others: Mapping[str, Undescribed], relations: Relations) -> Iterator[DraftedJoin]:
    """Join every other table that has a row for nearly each key, and guess what its columns are among the rows here."""
    taken = {one.role for one in read.guesses} | {one.name for one in read.guesses}
    for path, other in others.items():
        keys = [key for key in relations.keys if key[1] == path and key[3] >= _CONVINCING and key[4]]
        if not keys:
            continue
        here, _, there, share, _ = max(keys, key=lambda key: key[3])
        form = {key: mark for key, mark in other.form.items() if mark != read.form[key]}
        name = re.sub(r"\W+", "_", Path(path).stem).strip("_").lower() or "other"
        roles = {one.name: f"{name}_{one.role}" if one.role in taken else one.role for one in other.guesses}
        columns = {roles[one.name]: {"from": one.name, "kind": one.kind} for one in other.guesses if one.name != there}
        said: dict[str, Any] = {"source": path, "on": {here: there}, "columns": columns, **form}
        try:
            whole, _ = join(read.raw, replace(read.dataset, joins={name: build(Join, said)}))
        except JoinRefused:  # keys that differ as text and are one when they are read
            continue
        cells = whole.table.select(list(columns)).rename_columns([one["from"] for one in columns.values()])
        guesses = [replace(one, role=roles[one.name]) for one in guess_columns(cells)]
        taken |= {one.role for one in guesses}
        own = next(one for one in read.guesses if one.name == here)
        level = own.role if own.kind == "category" and not own.private else None
        yield DraftedJoin(name, as_written(path), form, (here, there), share, level, guesses)
