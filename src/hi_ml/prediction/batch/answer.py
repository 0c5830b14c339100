"""How long did each step take, in whichever thread it ran?

Which cells of a chunk cannot be read, and which of them may be shown?

A chunk of raw rows in, a chunk of the output out: pure functions, row by row.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import ColumnProblem
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.sources.pieces import Piece
from hi_ml.data.validate import PRIVATE, ROW
from hi_ml.prediction.batch.inputs import Chunk, Inputs
from hi_ml.prediction.drift import Drift
from hi_ml.scorer.reasons import reasons as why
from hi_ml.scorer.serving import Scorer

T = TypeVar("T")


@dataclass(frozen=True)
class Stopwatch:
    """Seconds by step, of all threads together."""

    seconds: dict[str, float] = field(default_factory=dict)
    _turn: Lock = field(default_factory=Lock)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            with self._turn:
                self.seconds[step] = self.seconds.get(step, 0.0) + taken

    def during(self, step: str, items: Iterable[T]) -> Generator[T]:
        """Pass items on, and add the time that making them took."""
        maker = iter(items)
        while True:
            with self.of(step):
                item = next(maker, None)
            if item is None:
                return
            yield item


COLUMNS = ["row", "column", "value", "rule"]
_NONE = pd.DataFrame(columns=COLUMNS)
Fault = tuple[str, str, NDArray[np.bool_]]


def rejected(chunk: Chunk, faults: Sequence[Fault], inputs: Inputs) -> pd.DataFrame:
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


_NO_COUNTS = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class Prepared:
    """A chunk of which every cell was read."""

    file: int  # place of its file
    read: int  # its rows
    # dict of str to pyarrow.Array, shape (n,); columns of the output that stand before the prediction; n of the
    # rows can be scored
    carried: dict[str, Any]
    matrix: NDArray[np.float64]  # float64, shape (n, n_encoded); what the learner takes
    unknown: NDArray[np.int32]  # int32, shape (n,); count of categories that the training rows did not hold
    typed: Mapping[str, pa.Array]  # dict of str to pyarrow.Array, shape (n,); by role
    rejected: pd.DataFrame  # the cells that cannot be read
    unseen: dict[str, int]  # by source column, rows that hold a category that the training rows did not
    drift: dict[str, list[int]]  # the rows as counts, empty where the model has no profile


@dataclass(frozen=True)
class Answered:
    """What was made of a chunk."""

    file: int
    read: int
    table: pa.Table  # pyarrow.Table, shape (n, n_columns); rows of the output
    rejected: pd.DataFrame
    unseen: dict[str, int]
    drift: dict[str, list[int]]


def prepared(
    chunk: Chunk, scorer: Scorer, inputs: Inputs, *, profile: Mapping[str, Any] | None, clock: Stopwatch
) -> Prepared:
    """Type and encode a chunk, and set aside the rows that cannot be read.

    Parameters
    ----------
    profile : mapping or None
        Of the training rows, see `hi_ml.prediction.drift`.
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


def answered(ready: Prepared, scorer: Scorer, *, reasons: int, clock: Stopwatch) -> Answered:
    """Score a chunk.

    Parameters
    ----------
    reasons : int
        How many each row gets.
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
    none = Chunk(0, 0, Piece(pa.schema(kinds).empty_table(), _NO_COUNTS, _NO_COUNTS))
    alone = Inputs(inputs.files, inputs.needed, (), {}, ())
    made = answered(_prepared(none, scorer, alone, None), scorer, reasons=reasons, clock=Stopwatch()).table.schema
    if twice := [name for name in inputs.carried if name in made.names]:
        raise ColumnProblem.taken(twice, inputs.carried)
    before = 2 if inputs.several else 1
    fields = [pa.field(name, kind) for name, kind in inputs.kept().items()]
    return pa.schema([*list(made)[:before], *fields, *list(made)[before:]])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
