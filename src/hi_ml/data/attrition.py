"""Which rows are left out by rule, and why?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.column import Column
from hi_ml.data.schema import Bounds, Dataset
from hi_ml.scorer.serving import key

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
        masks = [_holds(dataset, typed, role, what) for role, what in rule.where.items()]
        step[(step == KEPT) & np.all(masks, axis=0)] = position
    if dataset.first_by is not None:
        _require(dataset, typed, dataset.first_by, "first_by")
        whys.append(f"not the first row of its {dataset.first_by}")
        left = np.flatnonzero(step == KEPT)
        step[left[~_first(codes[dataset.first_by][left], _order(typed, row, left))]] = len(dataset.drop)
    if not (step == KEPT).any():
        raise ConfigurationInvalid.no_row_left(whys)
    return step, whys


def _holds(dataset: Dataset, typed: Mapping[str, pa.Array], role: str, what: "Sequence[str | None] | Bounds") -> Mask:
    _require(dataset, typed, role, "drop.where")
    values = typed[role]
    if isinstance(what, Bounds):
        return _between(values, what, role)
    missing = pc.is_null(values) if None in what else pa.array(np.zeros(len(values), dtype=np.bool_))
    if not pa.types.is_dictionary(values.type):
        words = [word for word in what if word is not None]
        try:
            among = pc.is_in(values, value_set=pa.array(words, pa.string()).cast(values.type))
        except pa.ArrowInvalid as error:
            raise ConfigurationInvalid.not_of_kind(f"drop.where.{role}", words, str(values.type)) from error
        return np.asarray(pc.or_(among, missing).to_numpy(zero_copy_only=False))
    keys, column = {key(word, "case") for word in what if word is not None}, dataset.columns[role]
    levels = pa.array(
        [not keys.isdisjoint(meanings(level, column)) for level in values.dictionary.to_pylist()], pa.bool_()
    )
    return np.asarray(pc.or_(pc.fill_null(levels.take(values.indices), False), missing).to_numpy(zero_copy_only=False))


def meanings(level: str, column: Column | None) -> Iterator[str]:
    """Return how a level may be named: as it is, and by the codes of which it is the label; as `key` makes them."""
    yield key(level, "case")
    if column is not None and isinstance(column.levels, dict):
        codes = (code for code, label in column.levels.items() if label is not None)
        yield from (key(code, "case") for code in codes if key(str(column.levels[code]), "case") == key(level, "case"))


def _between(values: pa.Array, bounds: Bounds, role: str) -> Mask:
    inside = pa.array(np.ones(len(values), dtype=np.bool_))
    for limit, compare in ((bounds.below, pc.less), (bounds.above, pc.greater)):
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
