"""Is this the same file as before?

What is asked for, of which model, and is it what an earlier call was asked for?
"""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import hi_ml
from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.files import matching
from hi_ml.prediction.drift import Sensitivity
from hi_ml.scorer.serving import Scorer

_LIBRARIES = ("hi_ml", "numpy", "pandas", "pyarrow", "scikit-learn", "lightgbm", "skops")


@dataclass(frozen=True)
class Fingerprint:
    """A file as it stood."""

    sha256: str
    size: int  # bytes
    modified: int  # nanoseconds

    @classmethod
    def of(cls, path: Path) -> "Fingerprint":
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


def stamped(asked: str | None) -> dict[Path, Fingerprint]:
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
            made[path] = Fingerprint.of(path)
        except OSError as error:
            raise SourceUnreadable.format(str(path), str(error)) from error
    return made


def together(stamps: Mapping[Path, Fingerprint]) -> str:
    """Return one SHA-256 for all files: that of a single one, else of the lines that ``sha256sum`` would print."""
    if len(stamps) == 1:
        return next(iter(stamps.values())).sha256
    return _digest(f"{stamp.sha256}  {path}\n" for path, stamp in stamps.items())


def of_code() -> str:
    """Return the SHA-256 of the code that decides what an answer is: those of another version are not mixed with it."""
    folder = Path(hi_ml.__file__).parent
    return _digest(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))


def versions() -> dict[str, str]:
    """Return the versions of Python, hi_ml and the libraries that answers are computed by."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def _digest(texts: Iterable[str]) -> str:
    made = hashlib.sha256()
    for text in texts:
        made.update(text.encode())
    return made.hexdigest()


class Model(Protocol):
    """A model that was delivered.

    Attributes
    ----------
    scorer : Scorer
    uri : str
        Where it can be had again, the version and not an alias.
    sha256 : str
        Of all its files.
    verdict : str
    folder : Path
        With the files of the scorer.
    """

    @property
    def scorer(self) -> Scorer: ...  # noqa: D102 -- above
    @property
    def uri(self) -> str: ...  # noqa: D102 -- above
    @property
    def sha256(self) -> str: ...  # noqa: D102 -- above
    @property
    def verdict(self) -> str: ...  # noqa: D102 -- above
    @property
    def folder(self) -> Path: ...  # noqa: D102 -- above


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    input: str  # a path or a glob
    output: Path  # a ``.csv`` or ``.parquet`` file
    dataset: Dataset  # its separator and encoding
    keep: tuple[str, ...] = ()  # columns of the source to carry through
    reasons: int = 0  # how many reasons each row gets
    chunk_rows: int = 80_000
    threads: int = 1  # that score, each a chunk
    max_rejected: float = 0.05  # share of the rows
    sensitivity: Sensitivity = field(default_factory=Sensitivity)  # of the alarms for drift
    command: tuple[str, ...] = ()  # the overrides, for the manifest

    def beside(self, suffix: str) -> Path:
        """Name a file beside the output."""
        return self.output.with_name(f"{self.output.name}.{suffix}")

    def key(self, model: Model, stamps: Mapping[Path, Fingerprint]) -> dict[str, Any]:
        """Return, ready for JSON, all that decides what stands in the output: each part under the word for it."""
        return {
            "input": [[str(path), stamp.sha256] for path, stamp in stamps.items()],
            "model": model.sha256,
            "separator": self.dataset.separator,
            "encoding": self.dataset.encoding,
            "keep": list(self.keep),
            "reasons": self.reasons,
            "chunk_rows": self.chunk_rows,
            "version of hi_ml": of_code(),
            "version of a library": versions(),
        }
