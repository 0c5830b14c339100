"""Scoring on Spark: the rows of a table in no order, each with a key, by workers whose counts are added up.

Whatever a worker that died has done is done again by another, and comes to the same: a chunk depends on nothing but its
rows and the model.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pandas as pd
import pyarrow as pa

from hi_ml.app import errors
from hi_ml.app.errors import HiMlError, OutputFailed, SparkFailed
from hi_ml.app.files import atomic, atomic_folder, open_up, write_json
from hi_ml.data.location import Location
from hi_ml.data.sources.files import sha256
from hi_ml.data.sources.pieces import Piece, plain
from hi_ml.data.sources.spark import SCHEME, frame, reason, uri
from hi_ml.data.sources.table import Fingerprint
from hi_ml.prediction import drift
from hi_ml.prediction.batch.answer import Counts, schema
from hi_ml.prediction.batch.inputs import Inputs
from hi_ml.prediction.batch.parts import on_disk
from hi_ml.prediction.batch.request import BatchRequest, digest_of_all, digest_of_code
from hi_ml.prediction.batch.run import MANIFEST, MANIFEST_ID, REJECTED, Job, Result, check, describe, identity
from hi_ml.prediction.batch.worker import BESIDE, CELL, COUNTS, Shipment, work
from hi_ml.prediction.load import LoadedModel
from hi_ml.tracking.folder import as_csv

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TYPES = "pyspark.sql.pandas.types"
_CHUNK = "spark.sql.execution.arrow.maxRecordsPerBatch"
_LISTED = 10_000  # rejected cells that are written at once
_OURS = re.compile(r"^hi_ml\.app\.errors\.(\w+): (.*)$", re.MULTILINE)  # ends what a worker says
_THEIRS = re.compile(r"^([\w.]+(?:Error|Exception|Invalid)\b)(?:: .*)?$", re.MULTILINE)  # what follows may be a cell


@dataclass(frozen=True)
class _Columns:
    """What is known of Spark's table before it is read: a `hi_ml.data.sources.pieces.Source` without rows."""

    location: str
    schema: pa.Schema
    rows: None = None

    def pieces(self, columns: Sequence[str], *, after: int = 0) -> Iterator[Piece]:  # noqa: ARG002 -- as of any source
        """None: the rows are the workers'."""
        return iter(())


def score_on_spark(
    request: BatchRequest, model: LoadedModel, spark: "SparkSession", *, source: Location, key: str | None
) -> Result:
    """Score a table of Spark's.

    Parameters
    ----------
    request : BatchRequest
        Its output is a folder that is new or empty, or a table that is not there yet.
    source : Location
        A file, a folder or a glob of Parquet, or a table that Spark knows.
    key : str, optional
        The column that tells the rows apart; by default the model's identifier.

    Raises
    ------
    SparkFailed
        If the key does not tell the rows apart, or Spark cannot serve the request.
    SourceUnreadable, ColumnProblem, TooManyRejected, OutputFailed
        As `hi_ml.prediction.batch.score`.
    """
    began = time.perf_counter()
    table = frame(spark, source)
    key = key or str(model.scorer.mapping.get("id"))
    if key not in table.columns:
        raise SparkFailed.no_key(table.columns)
    with _translated(), ExitStack() as stack:
        job, shipment = _prepare(request, model, table, key)
        described = stack.enter_context(atomic(request.beside(MANIFEST)))
        folder = stack.enter_context(_place(request, spark))
        stack.enter_context(_stopped(spark))
        _check_key(table, key, request.input)
        answers = _answers(spark, table, shipment, request.chunk_rows)
        stack.callback(_release, answers)
        parts = sorted((json.loads(counted) for (counted,) in _only(answers, COUNTS, [COUNTS]).collect()), key=_number)
        counts = sum((Counts.from_json(part["counts"]) for part in parts), Counts())
        listed = request.beside(REJECTED)
        if counts.faults:
            listed = stack.enter_context(atomic(listed))
            _list_rejected(_only(answers, CELL["rule"], [key, *CELL.values()]), [key, *CELL], listed)
        check(job, counts, listed)
        manifest = describe(job, counts) | {"engine": "spark", "key": key}
        for file in manifest["files"]:
            del file["rows"]  # which Spark does not tell by file, but by partition
        manifest["partitions"] = [
            {"partition": part["partition"]}
            | {name: sum(part["counts"][of].values()) for name, of in (("rows_in", "read"), ("rows_scored", "scored"))}
            for part in parts
        ]
        if not job.files:  # it was a table
            manifest["input_sha256"] = None
        manifest["versions"]["pyspark"] = version("pyspark")
        tables = {path: sha for one in job.inputs.lookups for path, sha in one.files.items()}
        identified = request.key(model, job.files, tables) | {"key": key}
        scored = answers.where(" AND ".join(f"{_quoted(name)} IS NULL" for name in BESIDE)).drop(*BESIDE)
        manifest |= (
            _save(spark, scored, str(request.table.table), identified) if request.table else _write(scored, folder)
        )
        manifest["seconds"] = round(time.perf_counter() - began, 3)
        write_json(described, manifest)
        on_disk(described)
    if not counts.faults:
        listed.unlink(missing_ok=True)
    return Result(manifest, {"total": manifest["seconds"]})


def _prepare(request: BatchRequest, model: LoadedModel, table: "DataFrame", key: str) -> tuple[Job, Shipment]:
    """Hold the columns of the table against the model, and put together what the workers need."""
    seen = _Columns(request.input, import_module(_TYPES).to_arrow_schema(table.schema, timezone="UTC"))
    read = {request.input: Fingerprint("", None, seen)}
    inputs = Inputs.of(read, model.scorer, dataset=request.dataset, keep=[key, *request.keep])
    paths = [url2pathname(urlparse(one).path) for one in table.inputFiles() if urlparse(one).scheme == "file"]
    files = {path: Fingerprint.of(path, request.dataset) for path in sorted(paths)}
    answers = [field for field in plain(schema(model.scorer, inputs, request.reasons)) if field.name != "row"]
    shipment = Shipment(
        files={path.name: path.read_bytes() for path in model.folder.iterdir() if path.is_file()},
        sha256=model.sha256,
        code=digest_of_code(),
        inputs=inputs,
        key=key,
        reasons=request.reasons,
        profile=drift.load(model.folder),
        columns=pa.schema([*answers, *(pa.field(name, pa.string()) for name in BESIDE)]),
    )
    return Job(request, model, files, inputs, shipment.profile), shipment


def _check_key(table: "DataFrame", key: str, source: str) -> None:
    """Refuse a key that some rows lack or share."""
    sql = import_module("pyspark.sql.functions")
    rows, value = sql.col("count"), sql.col(_quoted(key))
    counted = table.groupBy(value).count()
    absent, shared = counted.agg(
        sql.sum(sql.when(value.isNull(), rows)), sql.sum(sql.when(value.isNotNull() & (rows > 1), rows))
    ).first()
    if absent or shared:
        raise SparkFailed.key(source, key, absent=absent or 0, shared=shared or 0)


def _answers(spark: "SparkSession", table: "DataFrame", shipment: Shipment, rows: int) -> "DataFrame":
    """Let the workers score the table, once: what comes back stays on their disks."""
    spark.conf.set(_CHUNK, str(rows))
    inputs = shipment.inputs
    wanted = [_quoted(name) for name in dict.fromkeys([*inputs.columns(), *inputs.guards])]
    scoring = partial(work, shipped=spark.sparkContext.broadcast(shipment))
    answers = table.select(wanted).mapInArrow(scoring, import_module(_TYPES).from_arrow_schema(shipment.columns))
    return answers.persist(import_module("pyspark").StorageLevel.DISK_ONLY)


def _only(answers: "DataFrame", filled: str, columns: list[str]) -> "DataFrame":
    """Choose the rows in which a column is filled."""
    return answers.where(f"{_quoted(filled)} IS NOT NULL").select([_quoted(name) for name in columns])


def _list_rejected(cells: "DataFrame", names: list[str], path: Path) -> None:
    """Write rejected cells as a list, as one machine does; they are fetched a partition at a time."""
    rows = cells.toLocalIterator()
    with path.open("w", encoding="utf-8", newline="") as listed:
        while some := list(islice(rows, _LISTED)):
            listed.write(as_csv(pd.DataFrame(some, columns=names), header=not listed.tell()))


@contextmanager
def _place(request: BatchRequest, spark: "SparkSession") -> Iterator[Path]:
    """Give a folder that becomes the output at the end; for a table any, in which nothing is written."""
    if request.table is None:
        output = request.output
        if Path(request.input).resolve() in output.resolve().parents:
            raise OutputFailed.is_input(output)
        if output.exists() and not (output.is_dir() and not any(output.iterdir())):
            raise OutputFailed.exists(output)
        with atomic_folder(output) as folder:
            yield folder
        return
    if not request.table.url.startswith(SCHEME):
        raise SparkFailed.no_table(request.table.shown)
    if spark.catalog.tableExists(str(request.table.table)):
        raise OutputFailed.exists(request.table.shown)
    yield Path()


def _write(scored: "DataFrame", folder: Path) -> dict[str, Any]:
    """Write the answers to a folder, and return their digests; files bear the numbers of the partitions' order."""
    parts = folder / "parts"
    scored.write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").parquet(uri(parts))
    digests = {}
    for number, part in enumerate(sorted(parts.glob("part-*.parquet"))):
        path = part.rename(folder / f"part-{number:05}.parquet")
        open_up(path)
        on_disk(path)
        digests[path.name] = Fingerprint(sha256(str(path)), None)
    shutil.rmtree(parts)
    listed = [{"file": name, "sha256": one.sha256} for name, one in digests.items()]
    return {"output_sha256": digest_of_all(digests), "output_files": listed}


def _save(spark: "SparkSession", scored: "DataFrame", table: str, key: dict[str, Any]) -> dict[str, Any]:
    """Make a table of the answers, with the manifest's id, and return a digest of its rows in whatever order."""
    sql = import_module("pyspark.sql.functions")
    number = identity(key)
    scored.withColumn(MANIFEST_ID, sql.lit(number)).write.saveAsTable(table)  # Spark knows it when it is whole
    hashed = sql.xxhash64(*map(_quoted, scored.columns)).cast("decimal(38,0)")
    (total,) = spark.table(table).select(sql.sum(hashed)).first()
    return {"table": table, MANIFEST_ID: number, "output_xxhash64": str(total)}


@contextmanager
def _stopped(spark: "SparkSession") -> Iterator[None]:
    """Stop the workers where anything is raised, before what they wrote is removed; others' work goes on."""
    context, tag = spark.sparkContext, f"hi_ml {time.time_ns()}"
    context.addJobTag(tag)
    try:
        yield
    except BaseException:
        with suppress(Exception):  # Java may be gone
            context.cancelJobsWithTag(tag)
        raise
    finally:
        with suppress(Exception):
            context.removeJobTag(tag)


@contextmanager
def _translated() -> Iterator[None]:
    """Say in our words what Spark says of a failure."""
    try:
        yield
    except (HiMlError, OSError):
        raise
    except Exception as error:
        text = str(error)
        if ours := _OURS.findall(text):
            name, sentence = ours[-1]
            raise getattr(errors, name)(sentence) from error
        theirs = _THEIRS.findall(text)
        raise SparkFailed.job(theirs[-1] if theirs else reason(error)) from error


def _number(part: Mapping[str, Any]) -> int:
    return int(part["partition"])


def _release(answers: "DataFrame") -> None:
    with suppress(Exception):  # Java may be gone
        answers.unpersist()


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
