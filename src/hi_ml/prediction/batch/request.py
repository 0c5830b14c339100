"""What is asked for, of which files as they stand, and is it what an earlier call was asked for?"""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hi_ml
from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.location import Database
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.table import Fingerprint, locate
from hi_ml.prediction.batch.inputs import Fingerprints
from hi_ml.prediction.drift import Sensitivity
from hi_ml.prediction.load import LoadedModel

_LIBRARIES = ("hi_ml", "numpy", "pandas", "pyarrow", "scikit-learn", "lightgbm", "skops")


def fingerprints(source: str | None, dataset: Dataset) -> dict[str, Fingerprint]:
    """Read every file of the input, in the order of the sorted names.

    Parameters
    ----------
    source : str or None
        A path, a glob or an address.

    Raises
    ------
    SourceUnreadable
        If there is no file, or one cannot be read.
    """
    locations = locate(source) if source else []
    if not locations:
        raise SourceUnreadable.no_input(source)
    by_location = {}
    for location in locations:
        try:
            by_location[location] = Fingerprint.of(location, dataset)
        except OSError as error:
            raise SourceUnreadable.format(location, str(error)) from error
    return by_location


def digest_of_all(files: Fingerprints) -> str:
    """Return one SHA-256 for all files: that of a single one, else of the lines that ``sha256sum`` would print."""
    if len(files) == 1:
        return next(iter(files.values())).sha256
    return _digest(f"{file.sha256}  {location}\n" for location, file in files.items())


def digest_of_code() -> str:
    """Return the SHA-256 of the code that decides what an answer is: those of another version are not mixed with it."""
    folder = Path(hi_ml.__file__).parent
    return _digest(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))


def versions() -> dict[str, str]:
    """Return the versions of Python, hi_ml and the libraries that answers are computed by."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class BatchRequest:
    """What is asked for."""

    input: str  # a path, a glob or an address
    output: Path  # a ``.csv`` or ``.parquet`` file; work and manifest go beside it, of a table too
    dataset: Dataset  # its separator and encoding
    keep: tuple[str, ...] = ()  # columns of the source to carry through
    reasons: int = 0  # how many reasons each row gets
    chunk_rows: int = 80_000
    threads: int = 1  # that score, each a chunk
    max_rejected: float = 0.05  # share of the rows
    sensitivity: Sensitivity = field(default_factory=Sensitivity)  # of the alarms for drift
    command: tuple[str, ...] = ()  # what stood on the command line, for the manifest
    table: Database | None = None  # of a database, that gets the rows instead of the file

    def beside(self, suffix: str) -> Path:
        """Name a file beside the output."""
        return self.output.with_name(f"{self.output.name}.{suffix}")

    def key(self, model: LoadedModel, files: Fingerprints, joined: Mapping[str, str]) -> dict[str, Any]:
        """Return, ready for JSON, all that decides what stands in the output: each part under the word for it.

        Parameters
        ----------
        joined : mapping of str to str
            Digests of the tables that are joined, by location.
        """
        return {
            "input": [[location, file.sha256] for location, file in files.items()],
            "table to join": [[location, sha256] for location, sha256 in joined.items()],
            "model": model.sha256,
            "separator": self.dataset.separator,
            "encoding": self.dataset.encoding,
            "keep": list(self.keep),
            "reasons": self.reasons,
            "chunk_rows": self.chunk_rows,
            "version of hi_ml": digest_of_code(),
            "version of a library": versions(),
        }
