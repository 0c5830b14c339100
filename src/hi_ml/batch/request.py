"""What is asked for, of which model, and is it what an earlier call was asked for?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hi_ml.batch.stamps import Stamp, of_code, versions
from hi_ml.datasets.schema import Dataset
from hi_ml.drift import Sensitivity
from hi_ml.serving import Scorer


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
    """What is asked for.

    Attributes
    ----------
    input : str
        A path or a glob.
    output : Path
        A ``.csv`` or ``.parquet`` file.
    dataset : Dataset
        Its separator and encoding.
    keep : tuple of str
        Columns of the source to carry through.
    reasons : int
        How many reasons each row gets.
    chunk_rows : int
    threads : int
        That score, each a chunk.
    max_rejected : float
        Share of the rows.
    sensitivity : Sensitivity
        Of the alarms for drift.
    command : tuple of str
        The overrides, for the manifest.
    """

    input: str
    output: Path
    dataset: Dataset
    keep: tuple[str, ...] = ()
    reasons: int = 0
    chunk_rows: int = 80_000
    threads: int = 1
    max_rejected: float = 0.05
    sensitivity: Sensitivity = field(default_factory=Sensitivity)
    command: tuple[str, ...] = ()

    def beside(self, suffix: str) -> Path:
        """Name a file beside the output."""
        return self.output.with_name(f"{self.output.name}.{suffix}")

    def key(self, model: Model, stamps: Mapping[Path, Stamp]) -> dict[str, Any]:
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
