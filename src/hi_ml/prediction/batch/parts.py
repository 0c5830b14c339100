"""What is finished of a long work, so that nothing of it is lost or done twice when it is killed?

Every finished chunk is a file of its own, a part, and appears whole. Its name holds a digest of the request, of the
place of the part in the work and of the content: what is torn, damaged or from elsewhere does not bear its name, and
costs work, never rows. The output and the list of rejected cells are written anew from the parts, in their order.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from hi_ml.app.errors import OutputFailed
from hi_ml.app.files import atomic, write_json
from hi_ml.prediction.batch.answer import Answer, Counts
from hi_ml.tracking.folder import as_csv

SUFFIXES = (".csv", ".parquet")
_COMPRESSION = "snappy"
_ENCODING = {"row": "DELTA_BINARY_PACKED"}  # numbers that count up take next to no room
_SYNC = 5.0  # seconds of work that a power cut may cost; waiting for the disk costs too
_LOCK, _REQUEST, _PART, _COUNTS = "lock", "request.json", ".arrows", b"counts"
_OURS = re.compile(r"lock|request\.json|rejected\.csv|manifest\.json|output\.\w+|.*\.arrows|\..*\.part")  # by name


@dataclass
class Work:
    """The folder of an unfinished work."""

    folder: Path
    key: Mapping[str, Any]  # what the output depends on, by the word for it; plain values
    length: int = 0  # parts that were read or written so far
    _unsynced: list[Path] = field(default_factory=list)
    _synced: float = field(default_factory=time.monotonic)  # when the last of them was waited for

    @property
    def rejected(self) -> Path:
        """The list of rejected cells."""
        return self.folder / "rejected.csv"

    @property
    def parts(self) -> list[Path]:
        """The finished parts, in order."""
        return sorted(self.folder.glob(f"*{_PART}"))

    @contextmanager
    def exclusive(self, output: Path) -> Iterator[None]:
        """Keep other processes from the same output.

        Raises
        ------
        OutputFailed
            If one is at work, or something else than such a work stands there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in self.folder.iterdir())
        if strangers := [name for name in names if not _OURS.fullmatch(name) or _LOCK not in names]:
            raise OutputFailed.not_ours(self.folder, strangers)
        lock = FileLock(self.folder / _LOCK, blocking=False)
        try:
            with lock:
                if not (self.folder / _LOCK).exists():  # the other one has just ended and removed the folder
                    raise OutputFailed.busy(output)
                yield
        except Timeout as error:
            raise OutputFailed.busy(output) from error

    def begin(self) -> list[str]:
        """Remove what cannot be gone on from, and return the words in which an unfinished work was another one."""
        earlier = _mapping(self.folder / _REQUEST)
        differing = [word for word, value in self.key.items() if earlier.get(word) != value] if earlier else []
        same = earlier and not differing
        for path in self.folder.iterdir():
            if path.name != _LOCK and not (same and (path.name == _REQUEST or path.suffix == _PART)):
                path.unlink()
        if not same:
            with atomic(self.folder / _REQUEST) as part:
                write_json(part, self.key)
        return differing

    def finished(self) -> Iterator[Answer]:
        """Read the parts, up to the first that is absent or damaged; whatever stands from there on is removed."""
        parts = self.parts
        for index, path in enumerate(parts):
            content = _bytes(path)
            if path.name != self._name(index, content):
                for useless in parts[index:]:
                    useless.unlink()
                return
            self.length += 1
            yield _unpacked(content)

    def keep(self, answer: Answer) -> None:
        """Write the next part; now and then wait until what is kept would survive a power cut."""
        content = _packed(answer)
        path = self.folder / self._name(self.length, content)
        with atomic(path) as part:
            part.write_bytes(content)
        self.length += 1
        self._unsynced.append(path)
        if time.monotonic() > self._synced + _SYNC:
            for written in (*self._unsynced, self.folder):
                on_disk(written)
            self._unsynced.clear()
            self._synced = time.monotonic()

    @contextmanager
    def writing(self, output: Path, columns: pa.Schema) -> Iterator[Callable[[Answer], None]]:
        """Give what writes an answer behind the one before: its rows to ``output``, its rejected cells to their list.

        Raises
        ------
        OSError
            If the disk is full.
        """
        with ExitStack() as files:
            table = files.enter_context(_writer(output, columns))
            listed = files.enter_context(self.rejected.open("wb"))

            def write(answer: Answer) -> None:
                table.write_table(answer.table)
                if len(answer.rejected):
                    listed.write(as_csv(answer.rejected, header=not listed.tell()).encode())

            yield write

    def remove(self) -> None:
        """Remove the folder; what says of which request it is first, so that what is left of it means nothing."""
        (self.folder / _REQUEST).unlink(missing_ok=True)
        with suppress(OSError):  # what someone else put there stands
            for path in sorted(self.folder.iterdir(), key=lambda path: path.name == _LOCK):  # the mark goes last
                if _OURS.fullmatch(path.name):
                    path.unlink()
            self.folder.rmdir()

    def _name(self, index: int, content: bytes | pa.Buffer) -> str:
        digest = hashlib.sha256(f"{index} {self._key_as_text}".encode())
        digest.update(content)
        return f"{index:09}.{digest.hexdigest()}{_PART}"

    @cached_property
    def _key_as_text(self) -> str:
        return json.dumps(self.key)


def on_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writer(path: Path, columns: pa.Schema) -> Iterator[Any]:
    """Give a writer of tables to a CSV or Parquet file, as its suffix says: one row group a table."""
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


def _bytes(path: Path) -> bytes:
    """What a file holds; nothing where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _mapping(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is absent or torn."""
    try:
        return dict(json.loads(_bytes(path)))
    except (ValueError, TypeError):
        return {}


def _packed(answer: Answer) -> pa.Buffer:
    """Two Arrow streams, one behind the other: the rows, with the counts as metadata, and the rejected cells."""
    counts = {_COUNTS: json.dumps(answer.counts.to_json())}
    sink = pa.BufferOutputStream()
    for table in (answer.table.replace_schema_metadata(counts), pa.Table.from_pandas(answer.rejected)):
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue()


def _unpacked(content: bytes) -> Answer:
    source = pa.BufferReader(content)
    table, rejected = (pa.ipc.open_stream(source).read_all() for _ in range(2))
    counts = Counts.from_json(json.loads(table.schema.metadata[_COUNTS]))
    return Answer(table.replace_schema_metadata(None), rejected.to_pandas(), counts)
