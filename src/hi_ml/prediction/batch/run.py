"""How do the files of the input become the output, its manifest and the list of what was rejected?"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hi_ml.app.ahead import prefetch
from hi_ml.app.errors import OutputFailed, SourceUnreadable, TooManyRejected
from hi_ml.app.files import write_json
from hi_ml.app.references import as_written
from hi_ml.app.timing import stopwatch
from hi_ml.data.joins import Matches
from hi_ml.data.plausibility import orders_of
from hi_ml.data.sources import database
from hi_ml.data.sources.files import sha256
from hi_ml.data.sources.table import Fingerprint
from hi_ml.prediction import drift
from hi_ml.prediction.batch.answer import Answer, Counts, schema, score_chunk
from hi_ml.prediction.batch.inputs import Fingerprints, Inputs, chunks
from hi_ml.prediction.batch.parts import Work, on_disk
from hi_ml.prediction.batch.request import BatchRequest, digest_of_all, versions
from hi_ml.prediction.load import LoadedModel
from hi_ml.scorer.serving import inputs as needed_by

MANIFEST, REJECTED, WORK = "manifest.json", "rejected.csv", "unfinished"
MANIFEST_ID = "manifest_id"  # the column of a table that tells of which work a row is
_ID = 32  # digits of it
T = TypeVar("T")
Say = Callable[[str], None]
Stage = Callable[[str, float], None]


@dataclass(frozen=True)
class Result:
    """What a finished work left."""

    manifest: dict[str, Any]
    seconds: dict[str, float]  # by step; scoring (encode, predict, explain) ran beside reading and writing


@dataclass(frozen=True)
class Job:
    """One request with what it is served by."""

    request: BatchRequest
    model: LoadedModel
    files: Fingerprints
    inputs: Inputs
    profile: Mapping[str, Any] | None
    seconds: dict[str, float] = field(default_factory=dict)


def score(request: BatchRequest, model: LoadedModel, *, files: Fingerprints, say: Say, stage: Stage) -> Result:
    """Score the input, or go on where an earlier call with the same request was stopped.

    Parameters
    ----------
    files : mapping of str to Fingerprint
        What the input is, by location.
    say : callable
        Takes a sentence for the user.
    stage : callable
        Takes a word on how far the work is, and about which share of it is done.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If the input cannot be read, or has not the columns.
    TooManyRejected
        If more of its rows than ``request.max_rejected`` cannot be scored; they are listed, and nothing is written.
    OutputFailed
        If another process writes the output, or the disk is full; what is finished is kept.
    KeyboardInterrupt
        With a sentence that says so.
    """
    written = {path.resolve() for path in (request.output, request.beside(REJECTED))}
    if both := [location for location in files if Path(location).resolve() in written]:
        raise OutputFailed.is_input(Path(both[0]))
    inputs = Inputs.of(files, model.scorer, dataset=request.dataset, keep=request.keep)
    job = Job(request, model, files, inputs, drift.load(model.folder))
    tables = {location: sha256 for one in inputs.lookups for location, sha256 in one.files.items()}
    work = Work(request.beside(WORK), request.key(model, files, tables))
    with work.exclusive(request.output), _resumable(work):
        with stopwatch(job.seconds, "total"):
            output = work.folder / f"output{request.output.suffix}"
            counts = _write(job, work, output, say=say, stage=stage)
            check(job, counts, work.rejected)
            manifest = describe(job, counts) | _signed(request, work, output)
        manifest["seconds"] = round(job.seconds["total"], 3)
        _put_in_place(request, work, output, manifest)
        work.remove()
    return Result(manifest, job.seconds)


@contextmanager
def _resumable(work: Work) -> Iterator[None]:
    """Keep what is finished where the same command can go on, and nothing where it would fail again."""
    try:
        yield
    except KeyboardInterrupt as stop:
        so_far = f"{len(work.parts)} finished chunks are kept in {work.folder}"
        raise KeyboardInterrupt(f"Interrupted. {so_far}; the same command goes on from there.") from stop
    except OSError as error:
        raise OutputFailed.unfinished(error, work.folder, len(work.parts)) from error
    except MemoryError:
        raise
    except Exception:
        work.remove()
        raise


def _write(job: Job, work: Work, output: Path, *, say: Say, stage: Stage) -> Counts:
    """Write the whole output and the list of rejected cells, chunk by chunk, and return the counts of all."""
    columns = schema(job.model.scorer, job.inputs, job.request.reasons)
    if differing := work.begin():
        say(f"{work.folder} is of a call with another {' and '.join(differing)}: starts afresh.")
    counts = Counts()
    with work.writing(output, columns) as write:
        for answer in work.finished():
            write(answer)
            counts += answer.counts
        if counts.read:
            say(f"Goes on behind row {counts.rows_read:,}, where an earlier call was stopped.")
        with closing(_answers(job, counts)) as answers:
            for answer in answers:
                with stopwatch(job.seconds, "write"):
                    work.keep(answer)
                    write(answer)
                counts += answer.counts
                stage(f"{counts.rows_read:,} rows", job.inputs.share(counts.rows_read))
    return counts


def _answers(job: Job, finished: Counts) -> Generator[Answer]:
    """Score, in threads of their own, what is not finished."""
    done = [finished.read.get(file.location, 0) for file in job.inputs.files]
    read = chunks(job.inputs, job.request.chunk_rows, done=done)
    make = partial(
        score_chunk, scorer=job.model.scorer, inputs=job.inputs, reasons=job.request.reasons, profile=job.profile
    )
    for answer in prefetch(_timed(read, job.seconds), make, threads=job.request.threads):
        for step, seconds in answer.seconds.items():
            job.seconds[step] = job.seconds.get(step, 0.0) + seconds
        yield answer


def _timed(read: Iterator[T], seconds: dict[str, float]) -> Generator[T]:
    while True:
        with stopwatch(seconds, "read"):
            item = next(read, None)
        if item is None:
            return
        yield item


def check(job: Job, counts: Counts, rejected: Path) -> None:
    """Stop where the input did not stand still, or too little of it could be scored."""
    for location, file in job.files.items():
        if not file.stands(location):
            raise SourceUnreadable.changed(location)
    rows, bad = counts.rows_read, counts.rows_read - counts.rows_scored
    for lookup in job.inputs.lookups if rows else ():
        lookup.check(Matches(rows=rows, matched=counts.matched.get(lookup.spec["name"], 0)))
    if not rows:
        raise SourceUnreadable.no_rows(job.request.input)
    if bad > job.request.max_rejected * rows or bad == rows:
        listed = job.request.beside(REJECTED)
        rejected.replace(listed)
        faults = [f"{fault.strip()} {count}" for fault, count in sorted(counts.faults.items())]
        share = (bad, rows, job.request.max_rejected)
        causes = list(_causes(job, counts, listed))
        raise TooManyRejected.of(job.request.input, faults, share, listed, "max_rejected", causes)


def _causes(job: Job, counts: Counts, listed: Path) -> Iterator[str]:
    """Say of the columns that are written otherwise than the model's table how that was."""
    specs = {spec["source"]: spec for spec in needed_by(job.model.scorer.mapping["columns"])}
    cells = pd.read_csv(listed, dtype=str, keep_default_na=False)
    for fault, count in sorted(counts.faults.items()):
        column, _, rule = fault.rpartition(" ")
        most = 2 * count > counts.rows_read
        if rule == "date":
            how = specs[column].get("format") or "YYYY-MM-DD"
            orders = orders_of(cells.loc[(cells["column"] == column) & (cells["rule"] == rule), "value"])
            if orders or most:
                aside = f", and {orders} were set aside" if orders else ""
                yield f"{column}: the model reads dates as {how}{aside}. Write all of them as {how}"
        elif rule == "number" and most:
            yield f"{column}: the model reads numbers there, as in the table that it learned from. Write them so"
        elif rule == "range" and most:
            ends = " to ".join(str(specs[column].get(end)) for end in ("low", "high"))
            yield f"{column}: the model knows values from {ends}. Check its unit, and write it in that of the model"


def describe(job: Job, counts: Counts) -> dict[str, Any]:
    """Describe a finished work, but for the output's own digest and the time; ready for JSON."""
    request, model, inputs = job.request, job.model, job.inputs
    read, scored = counts.rows_read, counts.rows_scored
    return {
        "model_uri": as_written(model.uri),
        "model_sha256": model.sha256,
        "verdict": model.verdict,
        "interval": _interval(model),
        "input": as_written(request.input),
        "input_sha256": digest_of_all(job.files),
        "files": [
            {"file": as_written(location), "sha256": file.sha256, "rows": counts.read.get(location, 0)}
            for location, file in job.files.items()
        ],
        "joins": [
            {
                "join": one.spec["name"],
                "source": as_written(one.spec["source"]),
                "files": [{"file": as_written(location), "sha256": sha256} for location, sha256 in one.files.items()],
                "rows_matched": counts.matched.get(one.spec["name"], 0),
            }
            for one in inputs.lookups
        ],
        "rows_in": read,
        "rows_scored": scored,
        "rows_rejected": read - scored,
        "rows_left_out": counts.left_out,
        "rules_untold": [rule["why"] for rule in inputs.untold],
        "unknown_rate": {name: count / scored if scored else 0.0 for name, count in counts.unseen.items()},
        "drift": drift.compare(job.profile, counts.drift, request.sensitivity) if job.profile else {},
        "another_table": drift.another_table(job.profile, counts.drift) if job.profile else "",
        "columns_ignored": list(inputs.extra),
        "id": next((name for name in inputs.carried if name == model.scorer.mapping.get("id")), None),
        "keep": list(request.keep),
        "reasons": request.reasons,
        "chunk_rows": request.chunk_rows,
        "separator": request.dataset.separator,
        "encoding": request.dataset.encoding,
        "command": ["python", "-m", "hi_ml.predict", *request.command],
        "versions": versions(),
    }


def _interval(model: LoadedModel) -> dict[str, Any] | None:
    """How often intervals hold the truth, and whether they did on the test part, which older models do not tell."""
    described = model.scorer.mapping.get("interval")
    return {key: described.get(key) for key in ("level", "keeps_level", "sentence")} if described else None


def identity(key: Mapping[str, Any]) -> str:
    """Return the id of a work by all that its output depends on, see `BatchRequest.key`."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:_ID]


def _signed(request: BatchRequest, work: Work, output: Path) -> dict[str, Any]:
    """Tell the digest of the output; one that goes to a table is there from now on, in place of an earlier copy."""
    if request.table is None:
        return {"output_sha256": sha256(str(output))}
    number = identity(work.key)
    with pq.ParquetFile(output) as file:
        columns = pa.schema([*file.schema_arrow, pa.field(MANIFEST_ID, pa.string())])
        batches = (
            pa.record_batch([*batch.columns, pa.repeat(number, batch.num_rows)], schema=columns)
            for batch in file.iter_batches()
        )
        database.write(
            request.table, pa.RecordBatchReader.from_batches(columns, batches), instead_of=(MANIFEST_ID, number)
        )
    address = request.table.where(MANIFEST_ID, number, order_by="row").address
    return {
        "table": as_written(address),
        MANIFEST_ID: number,
        "output_sha256": Fingerprint.of(address, request.dataset).sha256,
    }


def _put_in_place(request: BatchRequest, work: Work, output: Path, manifest: dict[str, Any]) -> None:
    """Let list, output and manifest take the place of older ones; a kill in between is made good by the next call."""
    described = work.folder / MANIFEST
    if manifest["rows_rejected"]:
        work.rejected.replace(request.beside(REJECTED))
    else:
        request.beside(REJECTED).unlink(missing_ok=True)
    write_json(described, manifest)
    on_disk(described)
    if request.table is None:
        output.replace(request.output)
    described.replace(request.beside(MANIFEST))
    on_disk(request.output.absolute().parent)
