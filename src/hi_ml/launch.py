"""How a command starts, and how it ends: exit codes, one sentence on failure, quiet libraries."""

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from pydantic import ValidationError

from hi_ml.config import plain
from hi_ml.errors import ConfigurationInvalid, HiMlError, OutputFailed

INTERRUPTED = 130
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


@dataclass(frozen=True)
class Here:
    """One call of a command.

    Attributes
    ----------
    folder : Path
        Where its results go.
    config : dict
        The composed configuration, plain.
    overrides : list of str
        What stood on the command line.
    command : str
        Its name, for example ``hi_ml.train``.
    """

    folder: Path
    config: dict[str, Any]
    overrides: list[str]
    command: str

    @classmethod
    def of(cls, cfg: Any) -> "Here":
        """Ask Hydra."""
        asked = HydraConfig.get()
        folder = Path(asked.runtime.output_dir)
        return cls(folder, plain(cfg), list(asked.overrides.task), f"hi_ml.{asked.job.name}")

    def provenance(self) -> dict[str, Any]:
        """Say which code was called."""
        return {"command": self.command, "git_commit": _commit()}


def run(main: Callable[[], None]) -> None:
    """Run a Hydra application: Ctrl-C ends it with exit code 130 and a word, not a traceback."""
    os.environ.pop("HYDRA_FULL_ERROR", None)  # one sentence, whatever the user's shell has set
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module="hydra")
    try:
        main()
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Nothing half-written was kept.\n")
        sys.exit(INTERRUPTED)


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the process with exit code 1 and the sentence of the error, where the error is one that has a sentence."""
    try:
        yield
    except HiMlError as error:
        _end(error)
    except ValidationError as error:
        _end(ConfigurationInvalid.from_list((_place(e), e["msg"], e["input"]) for e in error.errors()))
    except BrokenPipeError:
        raise
    except OSError as error:
        _end(OutputFailed.of(error))


def quiet() -> None:
    """Silence what libraries say of themselves; what hi_ml says stays."""
    for name in ("alembic", "matplotlib", "shap"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _commit() -> str:
    """Return the commit of the code if it runs from a checkout."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 -- whichever git the user has
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return asked.stdout.strip()


def _place(error: object) -> str:
    return ".".join(str(part) for part in error["loc"])  # type: ignore[index]


def _end(error: HiMlError) -> None:
    with suppress(OSError, ValueError):  # a run folder in which nothing came to stand
        Path(HydraConfig.get().runtime.output_dir).rmdir()
    sys.stdout.flush()
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.exit(1)
