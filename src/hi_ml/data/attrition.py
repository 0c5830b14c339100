"""Which rows are left out by rule, and why?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.column import Column
from hi_ml.data.schema import Bounds, Dataset
from hi_ml.scorer.serving import convert, inputs, key, stays

KEPT = -1
Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class LeftOut:
    """The rows of a table that its rules leave out, in the order of the rules."""

    whys: tuple[str, ...]  # of the rules
    step: Codes  # int64, shape (n,); of each row, the position of its rule
    table: pd.DataFrame  # shape (n, n_roles); the columns that are not private
    patient: Codes  # int64, shape (n,); as `Admissions.coded` numbers them, -1 where unknown

    def rows(self) -> dict[str, int]:
        """Count the rows that each rule leaves out."""
        counts = np.bincount(self.step, minlength=len(self.whys))
        return dict(zip(self.whys, map(int, counts), strict=True))


def steps_of(
    dataset: Dataset, typed: Mapping[str, pa.Array], codes: Mapping[str, Codes], row: Codes
) -> tuple[Codes, list[str]]:
    """Number, for each row, the first rule that leaves it out; `KEPT` where none does.

    Parameters
    ----------
    typed, codes : mapping of str to array, shape (n,)
        By role, the columns and `hi_ml.data.clean.cell_codes` of them.
    row : array of int64, shape (n,)
        Number in the source, which decides what comes first where there is no date of admission.

    Returns
    -------
    step : array of int64, shape (n,)
    whys : list of str
        Of the rules: those of ``drop``, and that of ``first_by``.

    Raises
    ------
    ConfigurationInvalid
        If a rule names no column, or no row is left.
    """
    whys = [rule.why for rule in dataset.drop]
    step = np.full(len(next(iter(typed.values()))), KEPT)
    for position, rule in enumerate(dataset.drop):
        for role in rule.where:
            _require(dataset, typed, role, "drop.where")
        masks = [_mask(typed[role], _plain(dataset, role, what), role) for role, what in rule.where.items()]
        step[(step == KEPT) & np.all(masks, axis=0)] = position
    if dataset.first_by is not None:
        _require(dataset, typed, dataset.first_by, "first_by")
        whys.append(f"not the first row of its {dataset.first_by}")
        left = np.flatnonzero(step == KEPT)
        step[left[~_first(codes[dataset.first_by][left], _order(typed, row, left))]] = len(dataset.drop)
    if not (step == KEPT).any():
        raise ConfigurationInvalid.no_row_left(whys)
    return step, whys


def rules_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Describe the rules of ``drop`` in plain values, ready for JSON: the mapping of a model carries them."""
    return [
        {
            "why": rule.why,
            "where": [
                _plain(dataset, role, what) | {"column": dataset.spec(role)} for role, what in rule.where.items()
            ],
        }
        for rule in dataset.drop
    ]


def left_out_by(rules: Sequence[Mapping[str, Any]], cells: Mapping[str, pa.Array]) -> pa.Array:
    """Say why a rule leaves a row out, null where none does, shape (n,).

    Parameters
    ----------
    rules : sequence of mapping
        As `rules_of` describes them.
    cells : mapping of str to pyarrow.Array, shape (n,)
        By name in the file.
    """
    why = pa.nulls(len(next(iter(cells.values()))), pa.string())
    for rule in rules:
        masks = []
        for part in rule["where"]:
            spec = part["column"]
            typed = {one["role"]: convert(cells[one["source"]], one)[0] for one in inputs([spec])}
            masks.append(_mask((typed | stays(typed, [spec]))[spec["role"]], part, spec["role"]))
        out = pc.and_(pc.is_null(why), pa.array(np.all(masks, axis=0)))
        why = pc.if_else(out, rule["why"], why)
    return why


def _plain(dataset: Dataset, role: str, what: "Sequence[str | None] | Bounds") -> dict[str, Any]:
    """What a rule asks of a column; of a category the keys of all labels and codes that are meant."""
    if isinstance(what, Bounds):
        return {"below": what.below, "above": what.above}
    words, column = [word for word in what if word is not None], dataset.columns.get(role)
    keys = {key(word, "case") for word in words}
    levels = column.levels if column is not None and isinstance(column.levels, dict) else {}
    keys |= {key(label, "case") for code, label in levels.items() if label is not None and key(code, "case") in keys}
    return {"words": words, "keys": sorted(keys), "missing": None in what}


def _mask(values: pa.Array, asked: Mapping[str, Any], role: str) -> Mask:
    if "words" not in asked:
        return _between(values, asked, role)
    missing = pc.is_null(values) if asked["missing"] else pa.array(np.zeros(len(values), dtype=np.bool_))
    if pa.types.is_dictionary(values.type):
        levels = [key(level, "case") in asked["keys"] for level in values.dictionary.to_pylist()]
        among = pc.fill_null(pa.array(levels, pa.bool_()).take(values.indices), False)
        return np.asarray(pc.or_(among, missing).to_numpy(zero_copy_only=False))
    try:
        among = pc.is_in(values, value_set=pa.array(asked["words"], pa.string()).cast(values.type))
    except pa.ArrowInvalid as error:
        raise ConfigurationInvalid.not_of_kind(f"drop.where.{role}", asked["words"], str(values.type)) from error
    return np.asarray(pc.or_(among, missing).to_numpy(zero_copy_only=False))


def meanings(level: str, column: Column | None) -> Iterator[str]:
    """Return how a level may be named: as it is, and by the codes of which it is the label; as `key` makes them."""
    yield key(level, "case")
    if column is not None and isinstance(column.levels, dict):
        codes = (code for code, label in column.levels.items() if label is not None)
        yield from (key(code, "case") for code in codes if key(str(column.levels[code]), "case") == key(level, "case"))


def _between(values: pa.Array, bounds: Mapping[str, Any], role: str) -> Mask:
    inside = pa.array(np.ones(len(values), dtype=np.bool_))
    for limit, compare in ((bounds["below"], pc.less), (bounds["above"], pc.greater)):
        if limit is not None:
            try:
                inside = pc.and_(inside, compare(values, pa.scalar(str(limit)).cast(values.type)))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise ConfigurationInvalid.not_of_kind(f"drop.where.{role}", limit, str(values.type)) from error
    return np.asarray(pc.fill_null(inside, False).to_numpy(zero_copy_only=False))


def _require(dataset: Dataset, typed: Mapping[str, pa.Array], role: str, where: str) -> None:
    if role not in typed:
        raise ConfigurationInvalid.not_one_of(f"dataset.{where}", role, list(dataset.present()))


def _order(typed: Mapping[str, pa.Array], row: Codes, rows: Codes) -> Codes:
    """Positions of the rows by date of admission, those without one last, and by number in the source."""
    numbers = row[rows]
    if "admitted_on" not in typed:
        return np.argsort(numbers)
    dates = typed["admitted_on"].take(pa.array(rows)).to_numpy(zero_copy_only=False)
    return np.lexsort((numbers, dates))  # NaT sorts last


def _first(codes: Codes, order: Codes) -> Mask:
    """Mark the first row of each code in some order, and every row without one."""
    first = np.zeros(len(codes), dtype=np.bool_)
    first[order] = ~pd.Series(codes[order]).duplicated().to_numpy()
    return first | (codes < 0)
