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
from hi_ml.data.attrition import left_out_by
from hi_ml.data.sources import files
from hi_ml.data.sources.pieces import Piece
from hi_ml.data.validate import Fault, rejected_cells, whole
from hi_ml.prediction import drift
from hi_ml.prediction.batch.inputs import Chunk, Inputs
from hi_ml.scorer.reasons import reasons as explain
from hi_ml.scorer.serving import Scorer

LEFT_OUT = "left_out"  # the column that says why the model has seen no row like this
_NONE = pd.DataFrame(columns=["row", "column", "value", "rule"])


def list_rejected(chunk: Chunk, faults: Sequence[Fault], inputs: Inputs) -> pd.DataFrame:
    """List the cells that break a rule as `hi_ml.data.validate.rejected_cells` does, numbered through all files.

    Parameters
    ----------
    faults : sequence of (str, str, array of bool, shape (n,))
        Source column, rule and rows, as `hi_ml.scorer.serving.Scorer.read` returns them.

    Returns
    -------
    DataFrame
        With a column ``file`` behind ``row`` where there are several.
    """
    if not faults and not len(chunk.piece.ragged):  # most chunks; pandas takes milliseconds to say so
        return _NONE
    guards = {name: kind for name, kind in inputs.guards.items() if name in chunk.piece.table.column_names}
    cells = rejected_cells(chunk.piece, faults, guards or None, missing=inputs.missing)
    cells["row"] = cells["row"].astype(np.int64) + chunk.start
    if inputs.several:
        cells.insert(1, "file", _location(chunk, inputs))
    return cells


@dataclass(frozen=True)
class Counts:
    """What is counted of chunks; the counts of several are the sum of theirs."""

    read: dict[str, int] = field(default_factory=dict)  # rows, by the location of their file
    scored: dict[str, int] = field(default_factory=dict)  # rows, by the location of their file
    faults: dict[str, int] = field(default_factory=dict)  # cells that break a rule, by source column and rule
    # rows that hold a category that the training rows did not, by source column
    unseen: dict[str, int] = field(default_factory=dict)
    matched: dict[str, int] = field(default_factory=dict)  # rows that another table knew, by the name of the join
    left_out: dict[str, int] = field(default_factory=dict)  # scored rows that a rule left out of training, by why
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
        with files.refusing(_location(chunk, inputs)):  # bytes that are no text, say
            typed, faults = scorer.read({name: whole(chunk.piece.table.column(name)) for name in inputs.needed})
        rejected = list_rejected(chunk, faults, inputs)
        piece, typed = _readable(chunk.piece, typed, faults)
        numbers = scorer.numbers(typed)
        matrix, unseen = scorer.encode(numbers), scorer.unseen(numbers)
    with stopwatch(seconds, "predict"):
        answers = scorer.answer(matrix, numbers)
    columns: dict[str, Any] = {"row": piece.row + chunk.start}
    if inputs.several:
        columns["file"] = pa.repeat(_location(chunk, inputs), len(piece.row))
    columns |= {name: piece.table.column(name).cast(kind) for name, kind in inputs.carried_kinds().items()}
    columns |= {name: answers.column(name) for name in answers.column_names}
    columns["unknown"] = np.sum([np.zeros(len(piece.row), dtype=bool), *unseen.values()], axis=0, dtype=np.int32)
    if inputs.drop:
        cells = {name: whole(piece.table.column(name)) for name in inputs.watched}
        columns[LEFT_OUT] = left_out_by(inputs.drop, cells)
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
        matched={one.spec["name"]: found.matched for one, found in zip(inputs.lookups, chunk.matches, strict=False)},
        left_out=dict(Counter(pc.drop_null(table[LEFT_OUT]).to_pylist())) if inputs.drop else {},
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
    kinds = {name: inputs.kind_of(name) for name in (*inputs.needed, *inputs.watched)}
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
    categories = [spec for spec in scorer.mapping["columns"] if "levels" in spec and "ranges" not in spec]
    return {spec["source"]: int(np.sum(unseen.get(spec["role"], 0))) for spec in categories}


def _location(chunk: Chunk, inputs: Inputs) -> str:
    return inputs.files[chunk.file].location
