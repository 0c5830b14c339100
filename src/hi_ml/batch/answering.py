"""A chunk of raw rows in, a chunk of the output out: pure functions, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.batch.clock import Clock
from hi_ml.batch.inputs import Chunk, Inputs
from hi_ml.batch.rejects import rejected
from hi_ml.datasets.pieces import Piece
from hi_ml.drift import Drift
from hi_ml.errors import ColumnProblem
from hi_ml.reasons import reasons as why
from hi_ml.serving import Scorer

_NONE = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class Prepared:
    """A chunk of which every cell was read.

    Attributes
    ----------
    file : int
        Place of its file.
    read : int
        Its rows.
    carried : dict of str to pyarrow.Array, shape (n,)
        Columns of the output that stand before the prediction; n of the rows can be scored.
    matrix : array of float64, shape (n, n_encoded)
        What the learner takes.
    unknown : array of int32, shape (n,)
        Count of categories that the training rows did not hold.
    typed : dict of str to pyarrow.Array, shape (n,)
        By role.
    rejected : DataFrame
        The cells that cannot be read.
    unseen : dict of str to int
        By source column, rows that hold a category that the training rows did not.
    drift : dict of str to list of int
        The rows as counts, empty where the model has no profile.
    """

    file: int
    read: int
    carried: dict[str, Any]
    matrix: NDArray[np.float64]
    unknown: NDArray[np.int32]
    typed: Mapping[str, pa.Array]
    rejected: pd.DataFrame
    unseen: dict[str, int]
    drift: dict[str, list[int]]


@dataclass(frozen=True)
class Answered:
    """What was made of a chunk.

    Attributes
    ----------
    file, read : int
    table : pyarrow.Table, shape (n, n_columns)
        Rows of the output.
    rejected : DataFrame
    unseen : dict of str to int
    drift : dict of str to list of int
    """

    file: int
    read: int
    table: pa.Table
    rejected: pd.DataFrame
    unseen: dict[str, int]
    drift: dict[str, list[int]]


def prepared(
    chunk: Chunk, scorer: Scorer, inputs: Inputs, *, profile: Mapping[str, Any] | None, clock: Clock
) -> Prepared:
    """Type and encode a chunk, and set aside the rows that cannot be read.

    Parameters
    ----------
    chunk : Chunk
    scorer : Scorer
    inputs : Inputs
    profile : mapping or None
        Of the training rows, see `hi_ml.drift`.
    clock : Clock
    """
    with clock.of("encode"):
        return _prepared(chunk, scorer, inputs, profile)


def _prepared(chunk: Chunk, scorer: Scorer, inputs: Inputs, profile: Mapping[str, Any] | None) -> Prepared:
    piece = chunk.piece
    typed, faults = scorer.read({name: _whole(piece.table.column(name)) for name in inputs.needed})
    bad = np.any([mask for _, _, mask in faults], axis=0) if faults else np.zeros(len(piece.row), dtype=bool)
    listed = rejected(chunk, faults, inputs)
    if bad.any():
        good = pa.array(~bad)
        typed = {role: values.filter(good) for role, values in typed.items()}
        piece = Piece(piece.table.filter(good), piece.row[~bad], piece.ragged)
    numbers = scorer.numbers(typed)
    carried: dict[str, Any] = {"row": piece.row + chunk.start}
    if inputs.several:
        carried["file"] = pa.repeat(str(inputs.files[chunk.file].path), len(piece.row))
    carried |= {name: piece.table.column(name).cast(kind) for name, kind in inputs.kept().items()}
    unseen = scorer.unseen(numbers)
    count = {role: int(mask.sum()) for role, mask in unseen.items()}
    sources = {spec["role"]: spec["source"] for spec in scorer.mapping["columns"] if "levels" in spec}
    return Prepared(
        file=chunk.file,
        read=len(chunk.piece),
        carried=carried,
        matrix=scorer.encode(numbers),
        unknown=np.sum([np.zeros(len(piece.row), dtype=bool), *unseen.values()], axis=0, dtype=np.int32),
        typed=typed,
        rejected=listed,
        unseen={source: count.get(role, 0) for role, source in sources.items()},
        drift=Drift.start(profile).add(numbers).to_json() if profile else {},
    )


def answered(ready: Prepared, scorer: Scorer, *, reasons: int, clock: Clock) -> Answered:
    """Score a chunk.

    Parameters
    ----------
    ready : Prepared
    scorer : Scorer
    reasons : int
        How many each row gets.
    clock : Clock
    """
    with clock.of("predict"):
        answer = scorer.answer(ready.matrix, ready.typed)
    columns = ready.carried | {name: answer.column(name) for name in answer.column_names}
    columns["unknown"] = ready.unknown
    if reasons:
        with clock.of("explain"):
            columns |= why(scorer, ready.matrix, ready.typed, reasons)
    table = pa.table(columns).combine_chunks()  # laid out as when it is read back from what an earlier call kept
    return Answered(ready.file, ready.read, table, ready.rejected, ready.unseen, ready.drift)


def schema(scorer: Scorer, inputs: Inputs, reasons: int) -> pa.Schema:
    """Return the columns of the output.

    Raises
    ------
    ColumnProblem
        If a column that is carried through bears the name of another.
    """
    kinds = {name: inputs.files[0].kinds[name] for name in inputs.needed}
    none = Chunk(0, 0, Piece(pa.schema(kinds).empty_table(), _NONE, _NONE))
    alone = Inputs(inputs.files, inputs.needed, (), {}, ())
    made = answered(_prepared(none, scorer, alone, None), scorer, reasons=reasons, clock=Clock()).table.schema
    if twice := [name for name in inputs.carried if name in made.names]:
        raise ColumnProblem.taken(twice, inputs.carried)
    before = 2 if inputs.several else 1
    fields = [pa.field(name, kind) for name, kind in inputs.kept().items()]
    return pa.schema([*list(made)[:before], *fields, *list(made)[before:]])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
