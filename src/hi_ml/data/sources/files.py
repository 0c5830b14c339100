"""Which files does a path stand for, and what do all files have in common, whatever is in them?"""

import glob
import hashlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from hi_ml.app.errors import SourceUnreadable

PEEK = 1 << 16  # bytes that surely hold the header
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh9": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}


def matching(source: str) -> list[Path]:
    """List the files that a path or a glob names, sorted; none if there is none.

    Raises
    ------
    SourceUnreadable
        If it is a folder, or no path at all.
    """
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            raise SourceUnreadable.directory(source)
        if path.is_file():
            return [path]
    except (OSError, RuntimeError) as error:  # a name too long, a home of nobody
        raise SourceUnreadable.format(source, str(error)) from error
    return sorted(Path(name) for name in glob.glob(str(path)) if Path(name).is_file())  # noqa: PTH207 -- Path.glob refuses absolute patterns


@contextmanager
def refusing(location: str) -> Iterator[None]:
    """Say in one sentence that a file cannot be read, where Arrow or the system says so at length."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable.format(location, str(error).splitlines()[0]) from error


def peek(location: str) -> bytes:
    """Return the first bytes of a file, decompressed."""
    with stream(location) as file:
        return bytes(file.read(PEEK))


def stream(location: str) -> pa.NativeFile:
    """Open a file for reading its bytes, decompressed."""
    return pa.input_stream(location, compression=compression(location))


def compression(location: str) -> str | None:
    """Tell by its first bytes how a file is compressed."""
    with Path(location).open("rb") as file:
        start = file.read(4)
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)


def state(location: str) -> Hashable:
    """Return size and time of the last change of a file, in bytes and nanoseconds; None if it is gone."""
    try:
        status = Path(location).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def sha256(location: str) -> str:
    """Return the digest of the bytes of a file; an OSError if there is none."""
    with Path(location).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
