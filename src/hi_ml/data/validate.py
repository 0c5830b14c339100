"""Which rows cannot be believed, and which cell of them breaks which rule?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import SourceUnreadable, TooManyRejected
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import Piece
from hi_ml.scorer.serving import convert

PRIVATE, ROW = "<private>", "<row>"
_EXAMPLE = 40  # characters of an unreadable value that an error shows
Broken = tuple[str, str, NDArray[np.bool_]]  # role, rule, rows


@dataclass(frozen=True)
class Quarantine:
    """The rows that were set aside."""

    good: NDArray[np.bool_]  # bool, shape (n,); the rows of the raw table that can be used
    # ``row`` (1 = first data row), ``column`` (source name), ``value`` (as text), ``rule``: one line a broken
    # rule
    cells: pd.DataFrame
    rows: int  # how many rows are set aside, those with a wrong number of fields included


def quarantined(raw: Piece, dataset: Dataset) -> tuple[dict[str, pa.Array], Quarantine]:
    """Type every column and set aside the rows with a cell that breaks a rule.

    Rules: ``fields`` (a wrong number of them), ``number``, ``date``, ``text``, ``range``, ``order`` (discharge before
    admission).

    Returns
    -------
    typed : dict of str to pyarrow.Array, shape (n,)
        By role, all rows of the raw table.
    Quarantine

    Raises
    ------
    SourceUnreadable
        If a column is of a type that nothing can be made of.
    """
    typed: dict[str, pa.Array] = {}
    broken: list[Broken] = []
    for role in dataset.present():
        typed[role], faults = _converted(raw, dataset, role)
        broken += [(role, rule, mask) for rule, mask in faults.items()]
    broken += _disordered(typed)
    good = np.ones(len(raw.row), dtype=bool)
    for _, _, mask in broken:
        good &= ~mask
    ragged = pd.DataFrame({"row": raw.ragged, "column": "", "value": ROW, "rule": "fields"})
    listed = pd.concat([*_cells(raw, dataset, typed, broken), ragged])
    listed = listed.sort_values(["row", "column"], kind="stable", ignore_index=True)
    return typed, Quarantine(good, listed, int((~good).sum()) + len(raw.ragged))


def check_share(dataset: Dataset, raw: Piece, result: Quarantine, listed: Path) -> None:
    """Stop where more rows are set aside than the dataset allows, or all.

    Raises
    ------
    TooManyRejected
        With the file that lists the cells.
    """
    if result.rows > dataset.max_rejected * len(raw) or result.rows == len(raw):
        faults = [_fault(cells) for _, cells in result.cells.groupby(["column", "rule"])]
        share = (result.rows, len(raw), dataset.max_rejected)
        raise TooManyRejected.of(dataset.source or f"dataset={dataset.name}", faults, share, listed)


def _fault(cells: pd.DataFrame) -> str:
    """One rule of one column in words, with a value that broke it."""
    first = cells.iloc[0]
    if first["rule"] == "fields":
        return f"{len(cells)} with another number of fields than the header"
    example = "" if first["value"] == PRIVATE else f" (such as {first['value'][:_EXAMPLE]!r})"
    return f"{first['column']} {first['rule']} {len(cells)}{example}"


def _converted(raw: Piece, dataset: Dataset, role: str) -> tuple[pa.Array, dict[str, NDArray[np.bool_]]]:
    spec = dataset.spec(role)
    column = raw.table.column(spec["source"])
    try:
        return convert(_whole(column), spec)
    except pa.ArrowException as error:
        raise SourceUnreadable.column(str(dataset.source), spec["source"], str(column.type), spec["kind"]) from error


def _disordered(typed: Mapping[str, pa.Array]) -> list[Broken]:
    if not {"admitted_on", "discharged_on"} <= set(typed):
        return []
    early = _mask(pc.less(typed["discharged_on"], typed["admitted_on"]))
    return [("discharged_on", "order", early)] if early.any() else []


def _cells(raw: Piece, dataset: Dataset, typed: Mapping[str, pa.Array], broken: list[Broken]) -> list[pd.DataFrame]:
    """The broken cells of each rule; a value is shown unless it is private, or could be."""
    if not broken:
        return []
    doubtful, private = _doubtful(dataset, typed), _private_texts(raw, dataset)
    alone, words = {text.casefold() for text in private}, PrivateWords.of(private, ())
    cells = []
    for role, rule, mask in broken:
        places, source = np.flatnonzero(mask), str(dataset.columns[role].source)
        values = _written(raw.table.column(source).take(pa.array(places)))
        hidden = [
            dataset.columns[role].private or doubtful[place] or value.casefold().strip() in alone or words.count(value)
            for place, value in zip(places, values, strict=True)
        ]
        shown = np.where(hidden, PRIVATE, np.array(values, dtype=object))
        cells.append(pd.DataFrame({"row": raw.row[places], "column": source, "value": shown, "rule": rule}))
    return cells


def _doubtful(dataset: Dataset, typed: Mapping[str, pa.Array]) -> NDArray[np.bool_]:
    """Rows in which a private text holds no letter: their fields may be shifted, and a name stand anywhere."""
    doubtful = np.zeros(len(next(iter(typed.values()))), dtype=bool)
    for role, values in typed.items():
        if dataset.columns[role].private and dataset.columns[role].kind == "text":
            doubtful |= ~_mask(pc.match_substring_regex(values.dictionary, r"\pL").take(values.indices))
    return doubtful


def _private_texts(raw: Piece, dataset: Dataset) -> set[str]:
    sources = {str(column.source) for column in dataset.present().values() if column.private}
    return {text.strip() for source in sources for text in _written(raw.table.column(source))} - {""}


def _written(values: pa.Array | pa.ChunkedArray) -> list[str]:
    """Cells as text; a missing one is empty."""
    try:
        texts = pc.cast(values, pa.string()).to_pylist()
    except pa.ArrowException:  # lists, structures, bytes
        texts = [cell if cell is None else str(cell) for cell in values.to_pylist()]
    return [text or "" for text in texts]


def _mask(values: pa.Array) -> NDArray[np.bool_]:
    """True where true, so not where missing."""
    mask: NDArray[np.bool_] = pc.fill_null(values, fill_value=False).to_numpy(zero_copy_only=False)
    return mask


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
