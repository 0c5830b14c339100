"""What does a worker of Spark do? It scores its rows, chunk by chunk, as one machine does, and counts."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hi_ml.app.errors import SparkFailed
from hi_ml.data.sources.pieces import NO_ROWS, Piece
from hi_ml.prediction.batch.answer import Counts, score_chunk
from hi_ml.prediction.batch.inputs import Chunk, Inputs, joined
from hi_ml.prediction.batch.request import digest_of_code
from hi_ml.scorer import serving

COUNTS = "hi_ml counts"
CELL = {"column": "hi_ml column", "value": "hi_ml value", "rule": "hi_ml rule"}  # of a rejected cell
BESIDE = [COUNTS, *CELL.values()]  # columns behind those of the answers, all null where a row is an answer
_scorers: dict[str, serving.Scorer] = {}  # by digest; a worker lives for many tasks


@dataclass(frozen=True)
class Shipment:
    """What every worker is sent."""

    files: Mapping[str, bytes]  # of the scorer, by name
    sha256: str  # of all of them
    code: str  # digest of the code that is to score
    inputs: Inputs
    key: str  # the column that tells rows apart
    reasons: int
    profile: Mapping[str, Any] | None
    columns: pa.Schema  # of what comes back, `BESIDE` included


def work(batches: Iterable[pa.RecordBatch], shipped: Any) -> Iterator[pa.RecordBatch]:
    """Return the answers to the rows of one partition, the cells that cannot be read, and last what was counted.

    Parameters
    ----------
    shipped : pyspark.Broadcast
        Of a `Shipment`.
    """
    shipment: Shipment = shipped.value
    counts = Counts()
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        piece = Piece(rows, np.arange(1, len(rows) + 1), NO_ROWS)
        chunk = joined(Chunk(0, 0, piece), shipment.inputs)
        answer = score_chunk(
            chunk, _scorer(shipment), shipment.inputs, reasons=shipment.reasons, profile=shipment.profile
        )
        counts += answer.counts
        yield from _laid_out(answer.table, shipment.columns)
        if len(answer.rejected):
            yield from _laid_out(_listed(answer.rejected, rows.column(shipment.key), shipment.key), shipment.columns)
    if counts.read:
        number = import_module("pyspark").TaskContext.get().partitionId()
        counted = json.dumps({"partition": number, "counts": counts.to_json()})
        yield from _laid_out(pa.table({COUNTS: [counted]}), shipment.columns)


def _scorer(shipment: Shipment) -> serving.Scorer:
    if shipment.sha256 not in _scorers:
        if shipment.code != digest_of_code():
            raise SparkFailed.other_code()
        with tempfile.TemporaryDirectory() as folder:
            for name, content in shipment.files.items():
                Path(folder, name).write_bytes(content)
            _scorers[shipment.sha256] = serving.load(Path(folder))
    return _scorers[shipment.sha256]


def _listed(rejected: pd.DataFrame, keys: pa.ChunkedArray, key: str) -> pa.Table:
    """Name the rows of rejected cells by their keys."""
    cells = {title: pa.array(rejected[name], pa.string()) for name, title in CELL.items()}
    return pa.table({key: keys.take(pa.array(rejected["row"].to_numpy() - 1)), **cells})


def _laid_out(table: pa.Table, columns: pa.Schema) -> list[pa.RecordBatch]:
    """Give a table all columns; those that it has not are null."""
    present = set(table.column_names)
    cells = [
        table.column(field.name).cast(field.type) if field.name in present else pa.nulls(len(table), field.type)
        for field in columns
    ]
    batches: list[pa.RecordBatch] = pa.table(cells, schema=columns).to_batches()
    return batches
