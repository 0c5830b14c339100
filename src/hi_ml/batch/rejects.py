"""Which cells of a chunk cannot be read, and which of them may be shown?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.batch.inputs import Chunk, Inputs
from hi_ml.datasets.quarantine import PRIVATE, ROW
from hi_ml.privacy import PrivateWords

COLUMNS = ["row", "column", "value", "rule"]
_NONE = pd.DataFrame(columns=COLUMNS)
Fault = tuple[str, str, NDArray[np.bool_]]


def rejected(chunk: Chunk, faults: Sequence[Fault], inputs: Inputs) -> pd.DataFrame:
    """List the cells that break a rule, in the order of the input.

    Parameters
    ----------
    chunk : Chunk
    faults : sequence of (str, str, array of bool, shape (n,))
        Source column, rule and rows, as `hi_ml.serving.Scorer.read` returns them.
    inputs : Inputs

    Returns
    -------
    DataFrame
        ``row`` (1 = first row of the first file), ``column``, ``value``, ``rule``, and ``file`` behind ``row`` where
        there are several. The value is ``<private>`` where it is, or could be.
    """
    piece = chunk.piece
    if not len(piece.ragged) and not faults:
        return _NONE
    ragged = pd.DataFrame({"row": piece.ragged, "column": "", "value": ROW, "rule": "fields"}, columns=COLUMNS)
    cells = [_cells(chunk, fault, inputs) for fault in faults]
    listed = pd.concat([*cells, ragged]).sort_values(["row", "column", "rule"], ignore_index=True)
    listed["row"] = listed["row"].astype(np.int64) + chunk.start
    if inputs.several:
        listed.insert(1, "file", str(inputs.files[chunk.file].path))
    return listed


def _cells(chunk: Chunk, fault: Fault, inputs: Inputs) -> pd.DataFrame:
    column, rule, mask = fault
    rows = chunk.piece.table.filter(pa.array(mask))
    texts = _written(rows.column(column))
    private = {name: kind for name, kind in inputs.guards.items() if name in rows.column_names}
    if not private and _holds_text(rows.column(column).type):
        shown = [PRIVATE] * len(texts)
    else:
        hidden = _hidden(texts, rows, chunk.piece.table, private)
        shown = [PRIVATE if hide else text for hide, text in zip(hidden, texts, strict=True)]
    return pd.DataFrame({"row": chunk.piece.row[mask], "column": column, "value": shown, "rule": rule})


def _hidden(texts: list[str], rows: pa.Table, table: pa.Table, private: dict[str, str]) -> list[bool]:
    """Tell the values that stand in a private column, or in a row whose fields may be shifted."""
    doubtful, known, names = np.zeros(len(texts), dtype=bool), np.zeros(len(texts), dtype=bool), set()
    values = pc.utf8_lower(pc.utf8_trim_whitespace(pa.array(texts, pa.string())))
    for name, kind in private.items():
        here = pa.array(_written(rows.column(name)), pa.string())
        if kind == "text":
            doubtful |= ~pc.match_substring_regex(here, r"\pL").to_numpy(zero_copy_only=False)
        names.update(here.to_pylist())
        everywhere = pc.utf8_lower(pc.utf8_trim_whitespace(pc.cast(table.column(name), pa.string())))
        known |= pc.is_in(values, value_set=everywhere.combine_chunks()).to_numpy(zero_copy_only=False)
    words = PrivateWords.of(names, ())
    empty = np.array([not text.strip() for text in texts], dtype=bool)
    named = [words.count(text) > 0 for text in texts]
    return list((doubtful | known | named) & ~empty)


def _holds_text(kind: pa.DataType) -> bool:
    return not (pa.types.is_primitive(kind) or pa.types.is_decimal(kind))


def _written(values: pa.ChunkedArray) -> list[str]:
    """Cells as text; a missing one is empty."""
    try:
        texts = pc.cast(values, pa.string()).to_pylist()
    except pa.ArrowException:  # lists, structures, bytes
        texts = ["" if cell is None else str(cell) for cell in values.to_pylist()]
    return [text or "" for text in texts]
