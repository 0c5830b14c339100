"""What becomes of a chunk of raw rows: its answers, the cells that cannot be read, and what is counted of it.

A chunk depends on nothing but its rows and the model: any thread, in any order, comes to the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import ColumnProblem
from hi_ml.app.timing import stopwatch
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.sources.pieces import Piece
from hi_ml.data.validate import PRIVATE, ROW
from hi_ml.prediction import drift
from hi_ml.prediction.batch.inputs import Chunk, Inputs
from hi_ml.scorer.reasons import reasons as explain
from hi_ml.scorer.serving import Scorer

COLUMNS = ["row", "column", "value", "rule"]
_NONE = pd.DataFrame(columns=COLUMNS)
Fault = tuple[str, str, NDArray[np.bool_]]


def list_rejected(chunk: Chunk, faults: Sequence[Fault], inputs: Inputs) -> pd.DataFrame:
    """List the cells that break a rule, in the order of the input.

    Parameters
    ----------
    faults : sequence of (str, str, array of bool, shape (n,))
        Source column, rule and rows, as `hi_ml.scorer.serving.Scorer.read` returns them.

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
        listed.insert(1, "file", _location(chunk, inputs))
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


@dataclass(frozen=True)
class Counts:
    """What is counted of chunks; the counts of several are the sum of theirs."""

    read: dict[str, int] = field(default_factory=dict)  # rows, by the location of their file
    scored: dict[str, int] = field(default_factory=dict)  # rows, by the location of their file
    faults: dict[str, int] = field(default_factory=dict)  # cells that break a rule, by source column and rule
    # rows that hold a category that the training rows did not, by source column
    unseen: dict[str, int] = field(default_factory=dict)
    # of `hi_ml.prediction.drift.count_rows`; empty where the model has no profile
    drift: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def __add__(self, other: "Counts") -> "Counts":
        mine, others = vars(self), vars(other)
        return Counts(**{
            name: {key: mine[name].get(key, 0) + others[name].get(key, 0) for key in mine[name] | others[name]}
            for name in mine
        })  # fmt: skip

    @property
    def rows_read(self) -> int:
        """Of all files."""
        return sum(self.read.values())

    @property
    def rows_scored(self) -> int:
        """Of all files."""
        return sum(self.scored.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return vars(self) | {"drift": {role: cells.tolist() for role, cells in self.drift.items()}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Counts":
        """Return what `to_json` was given."""
        drifted = {role: np.array(cells, np.int64) for role, cells in plain["drift"].items()}
        return cls(**{**plain, "drift": drifted})


@dataclass(frozen=True)
class Answer:
    """What became of a chunk."""

    table: pa.Table  # pyarrow.Table, shape (n_scored, n_columns); rows of the output
    rejected: pd.DataFrame  # the cells that cannot be read, see `list_rejected`
    counts: Counts
    seconds: Mapping[str, float] = field(default_factory=dict)  # by step


def score_chunk(
    chunk: Chunk, scorer: Scorer, inputs: Inputs, *, reasons: int = 0, profile: Mapping[str, Any] | None = None
) -> Answer:
    """Type, encode and score a chunk, and set aside the rows that cannot be read.

    Parameters
    ----------
    reasons : int
        How many each row gets.
    profile : mapping, optional
        Of the training rows, see `hi_ml.prediction.drift`; without one nothing is counted for drift.
    """
    seconds: dict[str, float] = {}
    with stopwatch(seconds, "encode"):
        typed, faults = scorer.read({name: _whole(chunk.piece.table.column(name)) for name in inputs.needed})
        rejected = list_rejected(chunk, faults, inputs)
        piece, typed = _readable(chunk.piece, typed, faults)
        numbers = scorer.numbers(typed)
        matrix, unseen = scorer.encode(numbers), scorer.unseen(numbers)
    with stopwatch(seconds, "predict"):
        answers = scorer.answer(matrix, typed)
    columns: dict[str, Any] = {"row": piece.row + chunk.start}
    if inputs.several:
        columns["file"] = pa.repeat(_location(chunk, inputs), len(piece.row))
    columns |= {name: piece.table.column(name).cast(kind) for name, kind in inputs.carried_kinds().items()}
    columns |= {name: answers.column(name) for name in answers.column_names}
    columns["unknown"] = np.sum([np.zeros(len(piece.row), dtype=bool), *unseen.values()], axis=0, dtype=np.int32)
    if reasons:
        with stopwatch(seconds, "explain"):
            columns |= explain(scorer, matrix, typed, reasons)
    table = pa.table(columns).combine_chunks()  # laid out as when it is read back from what an earlier call kept
    faulty = Counter(" ".join(cell) for cell in zip(rejected["column"], rejected["rule"], strict=True))
    counts = Counts(
        read={_location(chunk, inputs): len(chunk.piece)},
        scored={_location(chunk, inputs): table.num_rows},
        faults=dict(faulty),
        unseen=_unseen_by_column(scorer, unseen),
        drift=drift.count_rows(profile, numbers) if profile else {},
    )
    return Answer(table, rejected, counts, seconds)


def schema(scorer: Scorer, inputs: Inputs, reasons: int) -> pa.Schema:
    """Return the columns of the output.

    Raises
    ------
    ColumnProblem
        If a column that is carried through bears the name of another.
    """
    kinds = {name: inputs.files[0].schema.field(name).type for name in inputs.needed}
    no_rows = np.array([], dtype=np.int64)
    empty = Chunk(0, 0, Piece(pa.schema(kinds).empty_table(), no_rows, no_rows))
    columns = list(score_chunk(empty, scorer, replace(inputs, carried=()), reasons=reasons).table.schema)
    names = [column.name for column in columns]
    if twice := [name for name in inputs.carried if name in names]:
        raise ColumnProblem.taken(twice, inputs.carried)
    before = 2 if inputs.several else 1
    carried = [pa.field(name, kind) for name, kind in inputs.carried_kinds().items()]
    return pa.schema([*columns[:before], *carried, *columns[before:]])


def _readable(piece: Piece, typed: dict[str, pa.Array], faults: Sequence[Fault]) -> tuple[Piece, dict[str, pa.Array]]:
    """Leave out the rows that break a rule."""
    if not faults:
        return piece, typed
    good = ~np.any([mask for _, _, mask in faults], axis=0)
    mask = pa.array(good)
    readable = Piece(piece.table.filter(mask), piece.row[good], piece.ragged)
    return readable, {role: values.filter(mask) for role, values in typed.items()}


def _unseen_by_column(scorer: Scorer, unseen: Mapping[str, NDArray[np.bool_]]) -> dict[str, int]:
    categories = [spec for spec in scorer.mapping["columns"] if "levels" in spec]
    return {spec["source"]: int(np.sum(unseen.get(spec["role"], 0))) for spec in categories}


def _location(chunk: Chunk, inputs: Inputs) -> str:
    return inputs.files[chunk.file].location


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
