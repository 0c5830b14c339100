"""How do chunks of answers become one file, and how does that file take the place of an older one?

What is finished of a long work, so that nothing of it is lost or done twice when it is killed?

What a killed process has written stands. What a power cut leaves of it is held against the digests in the journal, so
that waiting for the disk now and then is enough.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from hi_ml.app.errors import OutputFailed
from hi_ml.tracking.folder import as_csv

SUFFIXES = (".csv", ".parquet")
_COMPRESSION = "snappy"
_ENCODING = {"row": "DELTA_BINARY_PACKED"}  # numbers that count up take next to no room


@contextmanager
def writing(path: Path, columns: pa.Schema) -> Iterator[Any]:
    """Give a writer of tables to a CSV or Parquet file: one row group a table.

    Parameters
    ----------
    path : Path
        Its suffix says which.

    Raises
    ------
    OSError
        If the disk is full.
    """
    if path.suffix == ".parquet":
        repeated = [field.name for field in columns if not pa.types.is_floating(field.type) and field.name != "row"]
        writer = pq.ParquetWriter(
            path, columns, compression=_COMPRESSION, use_dictionary=repeated or False, column_encoding=_ENCODING,
            write_statistics=list(_ENCODING),
        )  # fmt: skip
    else:
        writer = pv.CSVWriter(path, columns)
    try:
        yield writer
    except BaseException:
        with suppress(OSError):  # what stopped the writing would stop the end of it too
            writer.close()
        raise
    writer.close()
    on_disk(path)


def on_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_JOURNAL, _ANSWERS, _REJECTED, _LOCK = "journal.jsonl", "answers.arrows", "rejected.csv", "lock"


@dataclass(frozen=True)
class Entry:
    """One finished chunk, and the sums up to it."""

    file: int  # place of its file in the input
    read: int  # its rows
    scored: int  # its rows
    rejected: int  # its rows
    start: int  # bytes of its answers in the log
    end: int  # bytes of its answers in the log
    sha256: str  # of these bytes
    listed: int  # bytes of the list of rejected cells up to it
    sums: dict[str, Any]  # what was counted up to it


@dataclass(frozen=True)
class Work:
    """The folder of an unfinished work."""

    folder: Path

    @property
    def rejected(self) -> Path:
        """The list of rejected cells."""
        return self.folder / _REJECTED

    @contextmanager
    def alone(self, output: Path) -> Iterator[None]:
        """Keep other processes from the same output.

        Raises
        ------
        OutputFailed
            If one is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / _LOCK, blocking=False)
        try:
            with lock:
                if not (self.folder / _LOCK).exists():  # the other one has just ended and removed the folder
                    raise OutputFailed.busy(output)
                yield
        except Timeout as error:
            raise OutputFailed.busy(output) from error

    def begin(self, key: Mapping[str, Any]) -> tuple[list[Entry], list[str]]:
        """Take up an earlier work on the same request, or start with an empty folder.

        Parameters
        ----------
        key : mapping
            What the output depends on, by the word for it.

        Returns
        -------
        entries : list of Entry
            What is finished.
        differing : list of str
            In what an unfinished work differed, which was thrown away.
        """
        earlier, entries = self._written()
        differing = [word for word, value in key.items() if earlier.get(word) != value] if earlier else []
        if differing or not earlier:
            entries = []
            self._clear()
            _append(self.folder / _JOURNAL, _line(key), at=0)
        else:
            _truncate(self.folder / _JOURNAL, len(_line(key)) + sum(len(_line(vars(entry))) for entry in entries))
        _truncate(self.folder / _ANSWERS, entries[-1].end if entries else 0)
        _truncate(self.rejected, entries[-1].listed if entries else 0)
        return entries, differing

    def keep(self, answers: pa.Table, cells: pd.DataFrame, entry: Mapping[str, Any], *, after: Entry | None) -> Entry:
        """Write down a chunk: its answers, the cells it rejects, then the line that says so.

        Parameters
        ----------
        entry : mapping
            ``file``, ``read``, ``scored``, ``rejected`` and ``sums`` of the new entry.
        after : Entry or None
            The one before.
        """
        start, listed = (after.end, after.listed) if after else (0, 0)
        part = _packed(answers)
        _append(self.folder / _ANSWERS, part, at=start)
        if len(cells):
            listed = _append(self.rejected, as_csv(cells, header=not listed).encode(), at=listed)
        digest = hashlib.sha256(part).hexdigest()
        made = Entry(start=start, end=start + len(part), sha256=digest, listed=listed, **entry)
        _append(self.folder / _JOURNAL, _line(vars(made)))
        return made

    def on_disk(self) -> None:
        """Wait until what is kept would survive a power cut."""
        for name in (_ANSWERS, _REJECTED, _JOURNAL):
            on_disk(self.folder / name)

    def answers(self, entries: list[Entry]) -> Iterator[pa.Table]:
        """Return the answers of the finished chunks, one after the other."""
        for entry in entries:
            yield pa.ipc.open_stream(self._part(entry)).read_all()

    def remove(self) -> None:
        """Remove the folder; the journal first, so that what is left of it means nothing."""
        (self.folder / _JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _written(self) -> tuple[dict[str, Any], list[Entry]]:
        """Read the journal as far as it is whole, and the log bears it out."""
        try:
            key, *lines = (self.folder / _JOURNAL).read_bytes().split(b"\n")[:-1]  # behind the last end of a line: torn
            entries = []
            for line in lines:
                entry = Entry(**json.loads(line))
                whole = hashlib.sha256(self._part(entry)).hexdigest() == entry.sha256
                if not whole or entry.listed > self.rejected.stat().st_size:
                    break
                entries.append(entry)
            return dict(json.loads(key)), entries
        except (OSError, ValueError, TypeError):  # no journal, or a damaged one
            return {}, []

    def _part(self, entry: Entry) -> bytes:
        with (self.folder / _ANSWERS).open("rb") as file:
            file.seek(entry.start)
            return file.read(entry.end - entry.start)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()


def _packed(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _line(content: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(content, ensure_ascii=False)}\n".encode()


def _append(path: Path, content: bytes | pa.Buffer, *, at: int | None = None) -> int:
    """Write behind what stands, or over what stands behind a place, and return the end of it."""
    path.touch()
    with path.open("r+b") as file:
        if at is None:
            file.seek(0, os.SEEK_END)
        else:
            file.truncate(at)
            file.seek(at)
        file.write(content)
        return file.tell()


def _truncate(path: Path, size: int) -> None:
    """Cut off what an earlier call had not finished."""
    path.touch()
    with path.open("r+b") as file:
        file.truncate(size)
