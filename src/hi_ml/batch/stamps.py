"""Is this the same file as before?"""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import hi_ml
from hi_ml.datasets.source import matching
from hi_ml.errors import SourceUnreadable

_DECIDING = ("serving.py", "reasons.py", "contributions.py", "datasets/pieces.py", "batch/*.py")
_LIBRARIES = ("hi_ml", "numpy", "pandas", "pyarrow", "scikit-learn", "lightgbm", "skops")


@dataclass(frozen=True)
class Stamp:
    """A file as it stood.

    Attributes
    ----------
    sha256 : str
    size : int
        Bytes.
    modified : int
        Nanoseconds.
    """

    sha256: str
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Read the whole file."""
        stat = path.stat()
        with path.open("rb") as file:
            return cls(hashlib.file_digest(file, "sha256").hexdigest(), stat.st_size, stat.st_mtime_ns)

    def stands(self, path: Path) -> bool:
        """Tell, without reading it, whether the file is still as it was."""
        try:
            stat = path.stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified)


def stamped(asked: str | None) -> dict[Path, Stamp]:
    """Stamp every file of the input, in the order of the sorted names.

    Parameters
    ----------
    asked : str or None
        A path or a glob.

    Raises
    ------
    SourceUnreadable
        If there is no file, or one cannot be read.
    """
    files = matching(asked) if asked else []
    if not files:
        raise SourceUnreadable.no_input(asked)
    made = {}
    for path in files:
        try:
            made[path] = Stamp.of(path)
        except OSError as error:
            raise SourceUnreadable.format(str(path), str(error)) from error
    return made


def together(stamps: Mapping[Path, Stamp]) -> str:
    """Return one SHA-256 for all files: that of a single one, else of the lines that ``sha256sum`` would print."""
    if len(stamps) == 1:
        return next(iter(stamps.values())).sha256
    return _digest(f"{stamp.sha256}  {path}\n" for path, stamp in stamps.items())


def of_code() -> str:
    """Return the SHA-256 of the code that decides what an answer is: those of another version are not mixed with it."""
    folder = Path(hi_ml.__file__).parent
    return _digest(path.read_text(encoding="utf-8") for name in _DECIDING for path in sorted(folder.glob(name)))


def versions() -> dict[str, str]:
    """Return the versions of Python, hi_ml and the libraries that answers are computed by."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def _digest(texts: Iterable[str]) -> str:
    made = hashlib.sha256()
    for text in texts:
        made.update(text.encode())
    return made.hexdigest()
