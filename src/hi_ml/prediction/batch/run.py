"""What was scored, with what, from what, and how it went: the proof that lies beside the output.

Things are made of items in other threads, ahead of their use, and come in order.

From the files of the input to the output, its manifest and the list of what was rejected.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Full, Queue
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

from hi_ml.app.errors import OutputFailed, SourceUnreadable, TooManyRejected
from hi_ml.app.files import write_json
from hi_ml.prediction.batch.answer import Answered, Stopwatch, answered, prepared, schema
from hi_ml.prediction.batch.inputs import Inputs, chunks
from hi_ml.prediction.batch.journal import Entry, Work, on_disk, writing
from hi_ml.prediction.batch.request import Fingerprint, Model, Request, together, versions
from hi_ml.prediction.drift import Drift, load

SUFFIX = "manifest.json"


def manifest(
    request: Request, model: Model, inputs: Inputs, *, entries: list[Entry], stamps: Mapping[Path, Fingerprint]
) -> dict[str, Any]:
    """Describe a finished work, the output's own digest and the time apart; ready for JSON.

    Parameters
    ----------
    entries : list of Entry
        Of all chunks.
    stamps : dict of Path to Stamp
        Of the files of the input.
    """
    sums, scored = entries[-1].sums, sum(entry.scored for entry in entries)
    read = [sum(entry.read for entry in entries if entry.file == place) for place in range(len(inputs.files))]
    files = [
        {"file": str(path), "sha256": stamp.sha256, "rows": rows}
        for (path, stamp), rows in zip(stamps.items(), read, strict=True)
    ]
    return {
        "model_uri": model.uri,
        "model_sha256": model.sha256,
        "verdict": model.verdict,
        "input": request.input,
        "input_sha256": together(stamps),
        "files": files,
        "rows_in": sum(read),
        "rows_scored": scored,
        "rows_rejected": sum(entry.rejected for entry in entries),
        "unknown_rate": {name: count / scored if scored else 0.0 for name, count in sums["unseen"].items()},
        "drift": drift(model, sums, request),
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


def drift(model: Model, sums: Mapping[str, Any], request: Request) -> dict[str, dict[str, Any]]:
    """Compare the scored rows with those of training, by source column; empty where the model has no profile."""
    taught = load(model.folder)
    if taught is None or "drift" not in sums:
        return {}
    return Drift.from_json(taught, sums["drift"]).report(request.sensitivity)


T = TypeVar("T")
S = TypeVar("S")
_PATIENCE = 0.1  # seconds after which a thread looks whether it is still needed
_END: Any = object()


def prefetch(items: Generator[T], make: Callable[[T], S], *, threads: int = 1) -> Generator[S]:
    """Make something of each item in so many threads; as many are made ahead of the one that is used.

    What is raised by an item, or by making something of it, is raised here. Close the iterator to end the threads
    early: each ends with the item that it is at, and nobody waits for it.

    Parameters
    ----------
    items : generator
        Asked for the next item by one thread at a time, and closed in the end.
    make : callable
        Called in several threads at once.
    """
    line = _Line(items, make, Queue(maxsize=threads))
    for _ in range(threads):
        Thread(target=line.work, name="ahead", daemon=True).start()  # so that Ctrl-C need not wait for a long chunk
    try:
        while (made := line.places.get().result()) is not _END:
            yield made
            del made
    finally:
        line.over.set()


@dataclass(frozen=True)
class _Line(Generic[T, S]):
    """What several threads work off; each takes a place in the line before an item, so that items keep their order."""

    items: Generator[T]
    make: Callable[[T], S]
    places: Queue[Future[Any]]
    turn: Lock = field(default_factory=Lock)
    over: Event = field(default_factory=Event)

    def work(self) -> None:
        while not self.over.is_set():
            self._one()
        with self.turn:
            self.items.close()

    def _one(self) -> None:
        place: Future[Any] = Future()
        try:
            with self.turn:
                if not self._lined_up(place):
                    return
                item: Any = next(self.items, _END)
            if item is _END:
                self.over.set()
            place.set_result(_END if item is _END else self.make(item))
        except BaseException as error:  # noqa: BLE001 -- it is raised again where the item is used
            self.over.set()
            place.set_exception(error)

    def _lined_up(self, place: Future[Any]) -> bool:
        while not self.over.is_set():
            try:
                self.places.put(place, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False


Say = Callable[[str], None]
Stage = Callable[[str, float], None]
Stamps = Mapping[Path, Fingerprint]
_SYNC = 5.0  # seconds of work that a power cut may cost; waiting for the disk costs too
WORK, REJECTED = "unfinished", "rejected.csv"


@dataclass(frozen=True)
class Result:
    """What a finished work left."""

    manifest: dict[str, Any]
    seconds: dict[str, float]  # by step; reading, scoring (encode, predict, explain) and writing ran beside each other


@dataclass(frozen=True)
class _Job:
    """One request with what it is served by."""

    request: Request
    model: Model
    profile: Mapping[str, Any] | None
    inputs: Inputs
    stamps: Stamps
    clock: Stopwatch


def score(request: Request, model: Model, *, stamps: Stamps, say: Say, stage: Stage) -> Result:
    """Score the input, or go on where an earlier call with the same request was stopped.

    Parameters
    ----------
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
    job = _Job(request, model, load(model.folder), inputs, stamps, Stopwatch())
    work = Work(request.beside(WORK))
    with work.alone(request.output), _resumable(work) as entries:
        with job.clock.of("total"):
            made = _made(job, work, entries, (say, stage))
            _check(job, entries, work)
            told = manifest(request, model, inputs, entries=entries, stamps=stamps)
            told["output_sha256"] = Fingerprint.of(made).sha256
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
    return prefetch(prefetch(read, prepare), answer, threads=job.request.threads)


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
