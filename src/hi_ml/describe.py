"""python -m hi_ml.describe source=<file>: drafts the YAML of a table that nobody has described, claims, and a page."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass as settings_class

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files, SmallestCell, build
from hi_ml.app.errors import ConfigurationInvalid, JoinRefused, SourceUnreadable
from hi_ml.app.files import atomic_folder
from hi_ml.app.references import as_written
from hi_ml.data.guess import ColumnGuess, computed_stay, guess_columns
from hi_ml.data.joins import join
from hi_ml.data.location import Location, address_of, way_of
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.relations import Relations, relate
from hi_ml.data.schema import Dataset, Join
from hi_ml.data.sources.csv import likely_form
from hi_ml.data.sources.pieces import Piece
from hi_ml.data.sources.table import gather, open_all
from hi_ml.reports.description import describe_page
from hi_ml.reports.draft import Drafted, DraftedJoin, claim_yamls, dataset_yaml

_USUAL = {"separator": ",", "encoding": "utf-8"}
_CONVINCING = 0.9  # share of the keys that another table must know, to be joined in the draft
FIRST_TARGETS = ("length_of_stay", "billed", "test_result", "readmitted")  # where none is named


@settings_class(frozen=True, config=STRICT)
class DescribeSettings:
    """The keys of ``conf/describe.yaml``."""

    source: Location | None  # a CSV or Parquet file, a glob of them, an address, a database
    target: str | None  # column that is to be predicted: which others are the same under another name?
    name: str | None  # of the dataset; null: that of the file
    beside: list[str]  # other tables, whose columns may hold the keys of this one
    smallest_cell: SmallestCell
    files: Files


def describe(settings: DescribeSettings, here: launch.Invocation) -> None:
    """Draft ``dataset/<name>.yaml`` and claims, and write ``describe.html``.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If there is no such table.
    ConfigurationInvalid
        If the target is none of its columns.
    """
    if settings.source is None:
        raise SourceUnreadable.none_named()
    origin = address_of(settings.source)
    file = Path(way_of(as_written(origin))[0]).name.split(".")[0]
    name = settings.name or re.sub(r"\W+", "_", file).strip("_").lower() or "mine"
    read = _Read.of(settings.source, name)
    guesses = read.guesses
    stay = computed_stay(guesses)
    known = [*guesses, *([stay] if stay else [])]
    target = _target(settings.target, known)
    targets = [target] if target else [one.role for one in known if one.role in FIRST_TARGETS]
    others = {path: _Read.of(path, name) for path in settings.beside}
    relations = relate(guesses, targets, {path: other.guesses for path, other in others.items()}, stay)
    joins = list(_joins(read, others, relations))
    form = {key: mark for key, mark in read.form.items() if mark != _USUAL[key]}
    drafted = Drafted(name, as_written(origin), form, guesses, stay, target, settings.smallest_cell, joins)
    claims = claim_yamls(drafted)
    folder = here.folder
    commands = [
        f"python -m hi_ml.train --config-dir {folder} dataset={name}",
        f"python -m hi_ml.findings --config-dir {folder} dataset={name} finding=[{','.join(claims)}]",
    ][: 1 + bool(claims)]
    all_guesses = [*guesses, *(one for join in joins for one in join.guesses)]
    private = (text for one in all_guesses if one.private for text in one.levels)
    words = PrivateWords.of(private, (text for one in all_guesses if not one.private for text in one.levels))
    with atomic_folder(folder) as work:
        for path, text in [
            (f"dataset/{name}.yaml", dataset_yaml(drafted)),
            *((f"finding/{claim}.yaml", text) for claim, text in claims.items()),
            ("describe.html", describe_page(drafted, relations, commands)),
        ]:
            (work / path).parent.mkdir(exist_ok=True)
            (work / path).write_text(text, encoding="utf-8")
        words.refuse(work)
    print(f"{folder}/dataset/{name}.yaml\n{folder}/describe.html")
    print(f"Say in the draft when each column is known, then:\n{chr(10).join(commands)}")


@dataclass(frozen=True)
class _Read:
    """A table that nobody has described."""

    dataset: Dataset
    raw: Piece
    guesses: list[ColumnGuess]
    form: dict[str, str]  # separator and encoding of a CSV

    @classmethod
    def of(cls, source: Location, name: str) -> "_Read":
        origin = address_of(source)
        form = _USUAL | (likely_form(origin) if isinstance(source, str) else {})
        said: dict[str, Any] = {"source": source, "known": {"after": ["*"]}, **form}
        dataset = Dataset(name=name, columns={}, **said)
        opened, _ = open_all(origin, dataset)
        header = list(dict.fromkeys(column for one in opened for column in one.schema.names))
        raw = gather(opened, dataset, {column: [column] for column in header})
        return cls(dataset, raw, guess_columns(raw.table), form)


def _joins(read: _Read, others: Mapping[str, _Read], relations: Relations) -> Iterator[DraftedJoin]:
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


def _target(asked: str | None, guesses: Sequence[ColumnGuess]) -> str | None:
    for one in guesses:
        if asked in (one.name, one.role):
            return one.role
    if asked is not None:
        raise ConfigurationInvalid.no_target(asked, [one.name for one in guesses])
    return None


main = launch.command(describe)

if __name__ == "__main__":
    main()
