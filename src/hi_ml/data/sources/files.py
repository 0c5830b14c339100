"""Which files does a path stand for, and what do all files have in common, whatever is in them?"""

import glob
import hashlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from hi_ml.app.errors import SourceUnreadable
from hi_ml.app.files import scheme_of

PEEK = 1 << 16  # bytes that hold the header, as a rule
MOST = 16 << 30  # bytes that a compressed file may hold, unless the dataset says otherwise
_FEW = 64 << 20  # inflated bytes that cost little, however small the file is
_RATIO = 200  # inflated bytes of each that was read: more than any table has
_SAMPLES, _SAMPLE = 16, 4096  # of a file, and their bytes
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh9": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}


def matching(source: str) -> list[Path]:
    """List the files that a path or a glob names, sorted, each once, however many names it has; none if there is none.

    ``**`` stands for folders in folders.

    Raises
    ------
    SourceUnreadable
        If it is a folder, an address, or no path at all.
    """
    if scheme := scheme_of(source):
        raise SourceUnreadable.scheme(scheme)
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            raise SourceUnreadable.directory(source)
        if path.is_file():
            return [path]
    except (OSError, RuntimeError) as error:  # a name too long, a home of nobody
        raise SourceUnreadable.format(source, str(error)) from error
    names = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207 -- Path.glob refuses absolute patterns
    return list(
        {(status.st_dev, status.st_ino): name for name in reversed(names) for status in [name.stat()]}.values()
    )[::-1]


def is_folder(source: str) -> bool:
    """Tell whether a path, a glob or an address is that of a folder."""
    try:
        return Path(source).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # a name too long, a home of nobody
        return False


@contextmanager
def refusing(location: str) -> Iterator[None]:
    """Say in one sentence that a file cannot be read, where Arrow or the system says so at length."""
    try:
        yield
    except MemoryError:  # which is one of Arrow's too
        raise
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable.format(location, str(error).splitlines()[0]) from error


def peek(location: str, size: int = PEEK) -> bytes:
    """Return the first bytes of a file, decompressed."""
    with stream(location, size) as file:
        return bytes(file.read(size))


def stream(location: str, most: int = MOST) -> pa.NativeFile:
    """Open a file for reading its bytes, decompressed.

    Parameters
    ----------
    most : int
        Bytes that a compressed file may hold; reading more raises `SourceUnreadable`.
    """
    kind = compression(location)
    return (
        pa.PythonFile(_Inflated(location, kind, most), mode="r")
        if kind
        else pa.input_stream(location, compression=None)
    )


class _Inflated:
    """The bytes that a compressed file holds, as long as they are not too many for what it is."""

    def __init__(self, location: str, kind: str, most: int) -> None:
        self.location, self.most, self.size, self.closed = location, most, 0, False
        self.packed = pa.OSFile(location)
        self.stream = pa.CompressedInputStream(self.packed, kind)

    def read(self, count: int) -> bytes:
        block: bytes = self.stream.read(count)
        self.size += len(block)
        if self.size > self.most:
            raise SourceUnreadable.too_large(self.location, self.most)
        if self.size > max(_FEW, _RATIO * self.packed.tell()):
            raise SourceUnreadable.bomb(self.location, _RATIO)
        return block

    def close(self) -> None:
        self.closed = True
        self.stream.close()


def compression(location: str) -> str | None:
    """Tell by its first bytes how a file is compressed."""
    with Path(location).open("rb") as file:
        start = file.read(4)
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)


def state(location: str) -> Hashable:
    """Return what changes with the content of a file, without reading all of it; None if it is gone.

    Its size, the times of its last changes (the second cannot be set back), and a digest of its head, its tail and what
    stands between, here and there.
    """
    try:
        status = Path(location).stat()
        with Path(location).open("rb") as file:
            digest = hashlib.sha256()
            for part in range(_SAMPLES + 1):
                file.seek(max(0, status.st_size - _SAMPLE) * part // _SAMPLES)
                digest.update(file.read(_SAMPLE))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, digest.hexdigest()


def sha256(location: str) -> str:
    """Return the digest of the bytes of a file; an OSError if there is none."""
    with Path(location).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
