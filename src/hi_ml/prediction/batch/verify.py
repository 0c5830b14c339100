"""Is a scored file what its manifest says it is?"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from hi_ml.app.errors import HiMlError, NotAsClaimed
from hi_ml.app.references import as_read
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import Piece
from hi_ml.data.sources.table import Fingerprint, open_source
from hi_ml.prediction.batch.answer import score_chunk
from hi_ml.prediction.batch.inputs import Chunk, Inputs, chunks
from hi_ml.prediction.batch.run import MANIFEST, MANIFEST_ID
from hi_ml.prediction.load import LoadedModel
from hi_ml.prediction.shapes import ManifestShape, in_words

_PLACES = ("file", "source", "table", "model_uri")  # where something lies, perhaps by a variable of the environment
_CLOSE = 1e-9  # relative: what a linear model may differ by when it is asked for other rows at once


@dataclass(frozen=True)
class Proof:
    """What was checked of an output that is what its manifest claims."""

    output: Path
    rows: int  # rows of the input that were scored again
    exact: bool  # whether every digit agrees; else to nine significant ones

    def __str__(self) -> str:
        """Say so."""
        how = "to the last digit" if self.exact else "to nine digits"
        return (
            f"{self.output} is what its manifest claims: output, input and model have their digests, and {self.rows:,} "
            f"rows of the input, drawn at random and scored or refused again, agree {how}."
        )


def prove(path: Path, *, fetch: Callable[[str], LoadedModel], dataset: Dataset, sample: int, seed: int) -> Proof:
    """Check the digests of output, input and model, and score a sample of rows again.

    Parameters
    ----------
    path : Path
        Of the manifest.
    fetch : callable
        Loads the model of a URI.
    dataset : Dataset
        Any; separator and encoding are those of the manifest.
    sample : int
        Rows.

    Raises
    ------
    NotAsClaimed
        With all that differs, or if it is no manifest.
    """
    manifest = _read(path)
    output = path.with_name(path.name.removesuffix(f".{MANIFEST}"))
    read, faults = _read_again(manifest, output, dataset)
    try:
        model = fetch(manifest["model_uri"])
    except HiMlError as error:
        raise NotAsClaimed.of(output, [*faults, f"the model cannot be fetched ({error})"]) from error
    if model.sha256 != manifest["model_sha256"]:
        faults.append(f"the model {manifest['model_uri']} is another")
    if faults:
        raise NotAsClaimed.of(output, faults)
    dataset = replace(dataset, separator=manifest["separator"], encoding=manifest["encoding"])
    tables = {entry["join"]: entry["source"] for entry in manifest.get("joins", ())}  # older ones have none
    key = manifest.get("key")
    keep = [key, *manifest["keep"]] if key else manifest["keep"]
    inputs = Inputs.of(read, model.scorer, dataset=dataset, keep=keep, tables=tables)
    rng, count = np.random.default_rng(seed), manifest["rows_in"]
    rows = np.sort(rng.choice(count, min(sample, count), replace=False)) + 1
    again = _score_again(inputs, model, manifest, rows)
    if key:
        again = again.drop_columns([name for name in ("row", "file") if name in again.column_names])
        written = _read_keys(output, key, again.column(key))
        written, again = _as_text(written.sort_by(key)), again.sort_by(key)
    else:
        written = _read_rows(_location(manifest, output), rows, dataset)
    return Proof(output, len(rows), _is_exact(output, written, _as_text(again)))


def _read(path: Path) -> dict[str, Any]:
    """Read a manifest."""
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), object_hook=_as_read)
        ManifestShape.model_validate(manifest, strict=True)
    except ValidationError as error:
        raise NotAsClaimed.no_manifest(path, in_words(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise NotAsClaimed.no_manifest(path, str(error)) from error
    if not path.name.endswith(f".{MANIFEST}"):
        raise NotAsClaimed.no_manifest(path, "of another name")
    return manifest


def _as_read(node: dict[str, Any]) -> dict[str, Any]:
    return {key: as_read(value) if key in _PLACES and isinstance(value, str) else value for key, value in node.items()}


def _location(manifest: Mapping[str, Any], output: Path) -> str:
    """Where the output lies: in its file, or in a table."""
    return str(manifest.get("table", output))


def _read_again(
    manifest: Mapping[str, Any], output: Path, dataset: Dataset
) -> tuple[dict[str, Fingerprint], list[str]]:
    """Read the files of the input, and tell which of them, or of the output, are absent or changed."""
    result = _location(manifest, output)
    joined = [entry for join in manifest.get("joins", ()) for entry in join["files"]]
    expected = {entry["file"]: entry["sha256"] for entry in (*manifest["files"], *joined)}
    parts = {str(output / part["file"]): part["sha256"] for part in manifest.get("output_files", ())}
    expected |= parts or {result: manifest["output_sha256"]}
    read, faults = {}, []
    for location, sha256 in expected.items():
        try:
            read[location] = Fingerprint.of(location, dataset)
        except OSError as error:
            faults.append(f"{location} cannot be read ({error.strerror})")
        except HiMlError as error:
            faults.append(str(error))
        else:
            if (actual := read[location].sha256) != sha256:
                faults.append(f"{location} has another SHA-256 ({actual[:12]}..., expected {sha256[:12]}...)")
    return {entry["file"]: read[entry["file"]] for entry in manifest["files"] if entry["file"] in read}, faults


def _score_again(inputs: Inputs, model: LoadedModel, manifest: Mapping[str, Any], rows: NDArray[np.int64]) -> pa.Table:
    """Score some rows of the input again."""
    tables: list[pa.Table] = []
    for chunk in chunks(inputs, manifest["chunk_rows"]):
        wanted = np.isin(chunk.piece.row + chunk.start, rows)
        if wanted.any() or not tables:
            piece = Piece(chunk.piece.table.filter(pa.array(wanted)), chunk.piece.row[wanted], np.array([], np.int64))
            some = Chunk(chunk.file, chunk.start, piece)
            tables.append(score_chunk(some, model.scorer, inputs, reasons=manifest["reasons"]).table)
    return pa.concat_tables(tables)


def _read_keys(output: Path, key: str, keys: pa.ChunkedArray) -> pa.Table:
    """Read the rows of some keys from the files that Spark wrote."""
    files = [pq.ParquetFile(path) for path in sorted(output.glob("*.parquet"))]
    batches = (batch for file in files for batch in file.iter_batches())
    some = (batch.filter(pc.is_in(batch.column(key), value_set=keys.cast(batch.column(key).type))) for batch in batches)
    return pa.Table.from_batches(some, schema=files[0].schema_arrow)


def _read_rows(location: str, rows: NDArray[np.int64], dataset: Dataset) -> pa.Table:
    """Read some rows of the output, as text."""
    source = open_source(location, replace(dataset, separator=",", encoding="utf-8"))
    names = [name for name in source.schema.names if name != MANIFEST_ID]
    return pa.concat_tables([_as_text(_only(piece, rows)) for piece in source.pieces(names)])


def _only(piece: Piece, rows: NDArray[np.int64]) -> pa.Table:
    number = pc.cast(piece.table.column("row"), pa.int64())
    return piece.table.filter(pc.is_in(number, value_set=pa.array(rows)))


def _as_text(table: pa.Table) -> pa.Table:
    """Write a table as predict writes CSV, and read the cells as text."""
    buffer = io.BytesIO()
    pv.write_csv(table, buffer)
    buffer.seek(0)
    if not table.num_rows:
        return pa.schema([(name, pa.string()) for name in table.column_names]).empty_table()
    kinds = dict.fromkeys(table.column_names, pa.string())
    options = pv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
    return pv.read_csv(buffer, parse_options=pv.ParseOptions(newlines_in_values=True), convert_options=options)


def _is_exact(output: Path, written: pa.Table, again: pa.Table) -> bool:
    """Tell whether every cell agrees to the last digit, or raise where one is another."""
    if written.column_names != again.column_names:
        raise NotAsClaimed.of(output, [f"its columns are {written.column_names}, expected {again.column_names}"])
    if written.num_rows != again.num_rows:
        raise NotAsClaimed.of(output, ["rows that could be scored are absent, or rejected ones are there"])
    differing = [name for name in again.column_names if not written.column(name).equals(again.column(name))]
    faults = [f"{name} differs" for name in differing if not _close(written.column(name), again.column(name))]
    if faults:
        raise NotAsClaimed.of(output, faults)
    return not differing


def _close(written: pa.ChunkedArray, again: pa.ChunkedArray) -> bool:
    try:
        one, other = (pc.cast(cells, pa.float64()).to_numpy() for cells in (written, again))
    except pa.ArrowInvalid:
        return False
    return bool(np.allclose(one, other, rtol=_CLOSE, atol=0, equal_nan=True))
