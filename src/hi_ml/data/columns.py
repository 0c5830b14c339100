"""Which columns does a file have beyond those that are described one by one, and of which kind are they?"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.text import as_name
from hi_ml.data.codes import CHAPTERS, labels_in, ranges_in
from hi_ml.data.column import Column, Kind, Moment
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import is_text
from hi_ml.scorer.serving import convert

_BETWEEN = ".."  # the ends of a range of columns
_LEADING_ZERO = re.compile(r"0\d")
_IDENTIFYING = 100  # values, all of them different, from which on they tell rows and nothing else
_TEXT = 0.5  # share of the known cells that are different from which on text is no category
_KINDS: tuple[Kind, ...] = ("number", "date")


def name_columns(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Describe the columns of a file that the blocks of ``known`` name, and read the files of codes.

    Parameters
    ----------
    names : sequence of str
        The header.

    Raises
    ------
    ConfigurationInvalid
        If a block names no column, two blocks name the same one, or a file of codes cannot be read.
    """
    known = _moments(dataset, names)
    columns = dict(dataset.columns)
    described = {name for column in dataset.present().values() for name in column.sources}
    for role, column in dataset.present().items():
        moments = [known[name] for name in column.sources if name in known]
        columns[role] = replace(column, known=column.known or (moments[0] if moments else "after"))
    for name, moment in known.items():
        if name in described:
            continue
        role = as_name(name).strip(" -")
        if role in columns and columns[role].sources:
            raise ConfigurationInvalid.role_taken(role, name, dataset.name)
        said: dict[str, Any] = {"from": name, "known": moment}
        columns[role] = Column(**said)
    return replace(dataset, columns={role: _with_codes(role, column) for role, column in columns.items()})


Seen = tuple[pa.Array, int, int]
"""What stands in a column, each cell once, how many rows have a cell, and how many rows there are."""


def seen_in(table: pa.Table, name: str) -> Seen:
    """Return what stands in a column."""
    cells = table.column(name)
    return cells.unique(), len(cells) - cells.null_count, len(cells)


def take_kinds(dataset: Dataset, see: Callable[[str], Seen]) -> tuple[Dataset, dict[str, Kind]]:
    """Take the kind of every column that has none from its values.

    Parameters
    ----------
    see : callable
        Tells what stands in a column, by its name in the file.

    Returns
    -------
    dataset : Dataset
        In which every column has a kind.
    taken : dict of str to kind
        By role.
    """
    taken: dict[str, Kind] = {}
    marks = {name: mark for name in ("decimal", "thousands") if (mark := getattr(dataset, name)) is not None}
    for role, column in dataset.present().items():
        if column.kind is None:
            words = dataset.missing if column.missing is None else column.missing
            taken[role] = _kind(*see(column.sources[0]), words, marks)
    columns = {role: replace(column, kind=taken.get(role, column.kind)) for role, column in dataset.columns.items()}
    return replace(dataset, columns=columns), taken


def _kind(distinct: pa.Array, known: int, rows: int, missing: Sequence[str], marks: Mapping[str, str]) -> Kind:
    if pa.types.is_dictionary(distinct.type):
        distinct = distinct.dictionary_decode()
    if pa.types.is_temporal(distinct.type):
        return "date"
    texts = convert(distinct, {"kind": "text", "missing": missing})[0]
    levels = [text for text in texts.dictionary.to_pylist() if text]
    alone = known == len(distinct) - distinct.null_count >= _IDENTIFYING
    written = marks if is_text(distinct.type) else {}  # in a number that is one there are no marks
    for kind in _KINDS:
        typed, faults = convert(pa.array(levels, pa.string()), {"kind": kind, "missing": missing, **written})
        if levels and not faults and not any(map(_LEADING_ZERO.match, levels)) | pa.types.is_boolean(distinct.type):
            whole = kind == "number" and bool(pc.all(pc.equal(pc.floor(typed), typed)).as_py())
            return "identifier" if alone and whole else kind
    if alone:
        return "identifier" if all(" " not in level for level in levels) else "text"
    return "text" if len(levels) > max(_IDENTIFYING, _TEXT * rows) else "category"


def _with_codes(role: str, column: Column) -> Column:
    if isinstance(column.levels, str):
        levels = labels_in(column.levels, column.sources[0], f"columns.{role}.levels")
        column = replace(column, levels=dict(levels))
    if isinstance(column.groups, str) and column.groups not in CHAPTERS:
        column = replace(column, groups=ranges_in(column.groups, f"columns.{role}.groups"))
    return column


def _moments(dataset: Dataset, names: Sequence[str]) -> dict[str, Moment]:
    """The moment of every column of the file that a block names; a name goes before a range, and that before a glob."""
    said: dict[str, tuple[int, Moment]] = {}
    for moment, patterns in dataset.known.items():
        for pattern in patterns:
            rank, matching = _matching(pattern, names, dataset)
            for name in matching:
                before = said.get(name)
                if before and before[0] == rank and before[1] != moment:
                    raise ConfigurationInvalid.two_moments(name, before[1], moment)
                if before is None or rank < before[0]:
                    said[name] = rank, moment
    return {name: said[name][1] for name in names if name in said}


def _matching(pattern: str, names: Sequence[str], dataset: Dataset) -> tuple[int, Iterable[str]]:
    if pattern in names:
        return 0, [pattern]
    if pattern in dataset.columns:
        return 0, dataset.columns[pattern].sources
    first, between, last = pattern.partition(_BETWEEN)
    if between and first in names and last in names and names.index(first) <= names.index(last):
        return 1, names[names.index(first) : names.index(last) + 1]
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        raise ConfigurationInvalid.no_such_column(f"known: [{pattern}]", pattern, names)
    return 2, matching
