"""From the files of the input to the output, its manifest and the list of what was rejected."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hi_ml.artifacts import write_json
from hi_ml.batch.answering import Answered, answered, prepared, schema
from hi_ml.batch.clock import Clock
from hi_ml.batch.inputs import Inputs, chunks
from hi_ml.batch.journal import Entry, Work
from hi_ml.batch.manifest import SUFFIX, manifest
from hi_ml.batch.output import on_disk, writing
from hi_ml.batch.request import Model, Request
from hi_ml.batch.stamps import Stamp
from hi_ml.batch.threads import ahead
from hi_ml.drift import Drift, load
from hi_ml.errors import OutputFailed, SourceUnreadable, TooManyRejected

Say = Callable[[str], None]
Stage = Callable[[str, float], None]
Stamps = Mapping[Path, Stamp]
_SYNC = 5.0  # seconds of work that a power cut may cost; waiting for the disk costs too
WORK, REJECTED = "unfinished", "rejected.csv"


@dataclass(frozen=True)
class Result:
    """What a finished work left.

    Attributes
    ----------
    manifest : dict
    seconds : dict of str to float
        By step; reading, scoring (encode, predict, explain) and writing ran beside each other.
    """

    manifest: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Job:
    """One request with what it is served by."""

    request: Request
    model: Model
    profile: Mapping[str, Any] | None
    inputs: Inputs
    stamps: Stamps
    clock: Clock


def score(request: Request, model: Model, *, stamps: Stamps, say: Say, stage: Stage) -> Result:
    """Score the input, or go on where an earlier call with the same request was stopped.

    Parameters
    ----------
    request : Request
    model : Model
    stamps : dict of Path to Stamp
        Of the files of the input.
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
    if both := [path for path in stamps if path.resolve() in written]:
        raise OutputFailed.is_input(both[0])
    inputs = Inputs.of(stamps, model.scorer, dataset=request.dataset, keep=request.keep)
    job = _Job(request, model, load(model.folder), inputs, stamps, Clock())
    work = Work(request.beside(WORK))
    with work.alone(request.output), _resumable(work) as entries:
        with job.clock.of("total"):
            made = _made(job, work, entries, (say, stage))
            _check(job, entries, work)
            told = manifest(request, model, inputs, entries=entries, stamps=stamps)
            told["output_sha256"] = Stamp.of(made).sha256
        told["seconds"] = round(job.clock.seconds["total"], 3)
        _replace(request, work, made, told)
        work.remove()
    return Result(told, job.clock.seconds)


@contextmanager
def _resumable(work: Work) -> Iterator[list[Entry]]:
    """Keep what is finished where the same command can go on, and nothing where it would fail again."""
    entries: list[Entry] = []
    try:
        yield entries
    except KeyboardInterrupt as stop:
        kept = f"{len(entries)} finished chunks are kept in {work.folder}"
        raise KeyboardInterrupt(f"Interrupted. {kept}; the same command goes on from there.") from stop
    except OSError as error:
        raise OutputFailed.unfinished(error, work.folder, len(entries)) from error
    except Exception:
        work.remove()
        raise


def _made(job: _Job, work: Work, entries: list[Entry], screen: tuple[Say, Stage]) -> Path:
    """Write the whole output into the folder of the work, chunk by chunk; ``entries`` grows with it."""
    say, stage = screen
    columns = schema(job.model.scorer, job.inputs, job.request.reasons)
    finished, differing = work.begin(job.request.key(job.model, job.stamps))
    entries += finished
    if differing:
        say(f"{work.folder} is of a call with another {' and '.join(differing)}: starts afresh.")
    elif entries:
        say(f"Goes on behind row {sum(entry.read for entry in entries):,}, where an earlier call was stopped.")
    made, synced = work.folder / f"output{job.request.output.suffix}", time.monotonic()
    with writing(made, columns) as writer, closing(_answers(job, entries)) as answers:
        for table in work.answers(entries):
            writer.write_table(table)
        for answer in answers:
            with job.clock.of("write"):
                entries.append(_kept(work, answer, job, entries[-1] if entries else None))
                writer.write_table(answer.table)
                if time.monotonic() > synced + _SYNC:
                    work.on_disk()
                    synced = time.monotonic()
            done = sum(entry.read for entry in entries)
            stage(f"{done:,} rows", job.inputs.share(done))
    return made


def _answers(job: _Job, entries: list[Entry]) -> Generator[Answered]:
    """Read, and score, in threads of their own, what is not finished."""
    files = range(entries[-1].file + 1) if entries else ()
    done = [sum(entry.read for entry in entries if entry.file == place) for place in files]
    scorer, clock = job.model.scorer, job.clock
    read = clock.during("read", chunks(job.inputs, job.request.chunk_rows, done=done))
    prepare = partial(prepared, scorer=scorer, inputs=job.inputs, profile=job.profile, clock=clock)
    answer = partial(answered, scorer=scorer, reasons=job.request.reasons, clock=clock)
    return ahead(ahead(read, prepare), answer, threads=job.request.threads)


def _kept(work: Work, answer: Answered, job: _Job, before: Entry | None) -> Entry:
    read, scored = answer.read, answer.table.num_rows
    sums = _added(before.sums if before else {}, answer, job)
    entry = {"file": answer.file, "read": read, "scored": scored, "rejected": read - scored, "sums": sums}
    return work.keep(answer.table, answer.rejected, entry, after=before)


def _added(sums: Mapping[str, Any], answer: Answered, job: _Job) -> dict[str, Any]:
    """Add the counts of a chunk to those of the chunks before it."""
    found = Counter(" ".join(cell) for cell in zip(answer.rejected["column"], answer.rejected["rule"], strict=True))
    faults = {fault: sums.get("faults", {}).get(fault, 0) + count for fault, count in found.items()}
    unseen = {name: sums.get("unseen", {}).get(name, 0) + count for name, count in answer.unseen.items()}
    made = {"faults": {**sums.get("faults", {}), **faults}, "unseen": unseen}
    if job.profile is not None:
        new = Drift.from_json(job.profile, answer.drift)
        made["drift"] = (Drift.from_json(job.profile, sums["drift"]) + new if "drift" in sums else new).to_json()
    return made


def _check(job: _Job, entries: list[Entry], work: Work) -> None:
    """Stop where the input did not stand still, or too little of it could be scored."""
    for path, stamp in job.stamps.items():
        if not stamp.stands(path):
            raise SourceUnreadable.changed(str(path))
    rows, bad = sum(entry.read for entry in entries), sum(entry.rejected for entry in entries)
    if not rows:
        raise SourceUnreadable.no_rows(job.request.input)
    if bad > job.request.max_rejected * rows or bad == rows:
        listed = job.request.beside(REJECTED)
        work.rejected.replace(listed)
        faults = [f"{fault.strip()} {count}" for fault, count in sorted(entries[-1].sums["faults"].items())]
        share = (bad, rows, job.request.max_rejected)
        raise TooManyRejected.of(job.request.input, faults, share, listed, "max_rejected")


def _replace(request: Request, work: Work, made: Path, told: dict[str, Any]) -> None:
    """Put the list, the output and its manifest in the place of older ones; a kill in between is made good later."""
    listed, written = work.folder / "listed", work.folder / SUFFIX
    if told["rows_rejected"]:
        shutil.copyfile(work.rejected, listed)
        listed.replace(request.beside(REJECTED))
    else:
        request.beside(REJECTED).unlink(missing_ok=True)
    write_json(written, told)
    on_disk(written)
    made.replace(request.output)
    written.replace(request.beside(SUFFIX))
    on_disk(request.output.absolute().parent)
