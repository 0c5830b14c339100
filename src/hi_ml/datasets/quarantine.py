"""Which rows cannot be believed, and which cell of them breaks which rule?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.datasets.schema import Dataset
from hi_ml.datasets.source import Raw
from hi_ml.serving import convert

PRIVATE = "<private>"


@dataclass(frozen=True)
class Quarantine:
    """The rows that were set aside.

    Attributes
    ----------
    good : array of bool, shape (n,)
        The rows of the raw table that can be used.
    cells : DataFrame
        ``row`` (1 = first data row), ``column`` (source name), ``value`` (as text), ``rule``: one line a broken rule.
    rows : int
        How many rows are set aside, those with a wrong number of fields included.
    """

    good: NDArray[np.bool_]
    cells: pd.DataFrame
    rows: int


def quarantined(raw: Raw, dataset: Dataset) -> tuple[dict[str, pa.Array], Quarantine]:
    """Type every column and set aside the rows with a cell that breaks a rule.

    Rules: ``fields`` (a wrong number of fields), ``number``, ``date``, ``range``, ``order`` (discharge before admission).

    Returns
    -------
    typed : dict of str to pyarrow.Array, shape (n,)
        By role, all rows of the raw table.
    Quarantine
    """
    typed: dict[str, pa.Array] = {}
    broken: list[tuple[str, str, NDArray[np.bool_]]] = []
    for role in dataset.present():
        spec = dataset.spec(role)
        typed[role], faults = convert(_whole(raw.table.column(spec["source"])), spec)
        broken += [(role, rule, mask) for rule, mask in faults.items() if mask.any()]
    broken += _disordered(typed)
    good = np.ones(len(raw.row), dtype=bool)
    for _, _, mask in broken:
        good &= ~mask
    hidden = _doubtful(dataset, typed)
    cells = [_cells(raw, dataset, role, rule, mask, hidden) for role, rule, mask in broken]
    if len(raw.ragged):
        cells.append(pd.DataFrame({"row": raw.ragged, "column": "", "value": "<row>", "rule": "fields"}))
    listed = pd.concat(cells).sort_values(["row", "column"], ignore_index=True) if cells else _no_cells()
    return typed, Quarantine(good, listed, int((~good).sum()) + len(raw.ragged))


def _disordered(typed: Mapping[str, pa.Array]) -> list[tuple[str, str, NDArray[np.bool_]]]:
    if not {"admitted_on", "discharged_on"} <= set(typed):
        return []
    mask = pc.fill_null(pc.less(typed["discharged_on"], typed["admitted_on"]), fill_value=False)
    early = mask.to_numpy(zero_copy_only=False)
    return [("discharged_on", "order", early)] if early.any() else []


def _cells(
    raw: Raw, dataset: Dataset, role: str, rule: str, mask: NDArray[np.bool_], hidden: NDArray[np.bool_]
) -> pd.DataFrame:
    places = np.flatnonzero(mask)
    column = dataset.columns[role]
    source = str(column.source)
    values = [str(value) for value in raw.table.column(source).take(pa.array(places)).to_pylist()]
    names = _private_words(raw, dataset) if any(" " in value for value in values) else set()
    shown = [
        PRIVATE if column.private or hidden[place] or value.casefold().strip() in names else value
        for place, value in zip(places, values, strict=True)
    ]
    return pd.DataFrame({"row": raw.row[places], "column": source, "value": shown, "rule": rule})


def _doubtful(dataset: Dataset, typed: Mapping[str, pa.Array]) -> NDArray[np.bool_]:
    """Rows in which a private text holds no letter: their fields may be shifted, and a name stand anywhere."""
    n = len(next(iter(typed.values())))
    doubtful = np.zeros(n, dtype=bool)
    for role, values in typed.items():
        if dataset.columns[role].private and pa.types.is_dictionary(values.type):
            lettered = pc.match_substring_regex(values.dictionary, r"\pL").take(values.indices)
            doubtful |= ~pc.fill_null(lettered, fill_value=False).to_numpy(zero_copy_only=False)
    return doubtful


def _private_words(raw: Raw, dataset: Dataset) -> set[str]:
    names: set[str] = set()
    for column in dataset.present().values():
        if column.private:
            texts = pc.unique(pc.cast(_whole(raw.table.column(column.source)), pa.string())).to_pylist()
            names |= {text.casefold().strip() for text in texts if text}
    return names


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _no_cells() -> pd.DataFrame:
    return pd.DataFrame({"row": pd.Series(dtype="int64"), "column": "", "value": "", "rule": ""})
