"""How a command starts, and how it ends: exit codes, one sentence on failure, quiet libraries."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Timer, main_thread
from types import FrameType
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import ValidationError
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from hi_ml.app.config import plain
from hi_ml.app.errors import ConfigurationInvalid, Defect, HiMlError, OutputFailed

INTERRUPTED = 130
_SOON = 0.01  # seconds in which a destructor ends
_interrupted = Event()
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what it logs as an error it raises too
}


class Stage(Protocol):
    """Takes a word on what is under way, and the share of all that is done; without it, one step more than before."""

    def __call__(self, name: str, done: float | None = None, /) -> None: ...  # noqa: D102 -- above


@dataclass(frozen=True)
class Invocation:
    """One call of a command."""

    folder: Path  # where its results go
    config: dict[str, Any]  # the composed configuration, plain
    overrides: list[str]  # what stood on the command line
    command: str  # its name, for example ``hi_ml.train``

    @classmethod
    def of(cls, cfg: Any) -> "Invocation":
        """Ask Hydra."""
        asked = HydraConfig.get()
        folder = Path(asked.runtime.output_dir)
        return cls(folder, plain(cfg), list(asked.overrides.task), f"hi_ml.{asked.job.name}")

    def provenance(self) -> dict[str, Any]:
        """Say which code was called."""
        return {"command": self.command, "git_commit": _commit()}


def run(main: Callable[[], None]) -> None:
    """Run a Hydra application: what ends it early ends it with an exit code and a sentence, not with a traceback."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print; the sentence is ours
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module="hydra")
    logging.raiseExceptions = False  # a log line that cannot be written is lost, without a traceback
    _interrupted.clear()
    signal.signal(signal.SIGINT, _interrupt)  # a shell's background job would ignore it
    sys.unraisablehook = _hear_again
    try:
        with _as_interrupt():
            main()
    except BrokenPipeError:
        _stop_printing()
    except KeyboardInterrupt as stop:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # nothing is left to do but to end
        sys.stderr.write(f"\n{str(stop) or 'Interrupted. Nothing half-written was kept.'}\n")
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 -- what a command itself raises ends in `one_sentence`
        _end(_refusal(error))


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the process with exit code 1 and the sentence of the error; a defect of ours shows its traceback."""
    try:
        with _as_interrupt():
            yield
    except KeyboardInterrupt:
        _remove_empty_folder()
        raise
    except HiMlError as error:
        _end(error)
    except ValidationError as error:
        _end(ConfigurationInvalid.from_list((_place(e), e["msg"], e["input"]) for e in error.errors()))
    except (HydraException, OmegaConfBaseException) as error:
        _end(_refusal(error))
    except BrokenPipeError:
        _stop_printing()
    except OSError as error:
        _end(OutputFailed.of(error))
    except Exception:  # noqa: BLE001 -- it ends here, with all that a report of it needs
        traceback.print_exc()
        _end(Defect())


@contextmanager
def progress(steps: int) -> Iterator[Stage]:
    """Show on a terminal, and only there, which of so many steps is under way; log lines pass above the bar."""
    wide, high = shutil.get_terminal_size()  # a terminal without a size counts as one of 80 x 24
    bar = tqdm(total=steps, disable=None, leave=False, ncols=wide, nrows=high, bar_format="{desc} {bar} {elapsed}")
    with bar, logging_redirect_tqdm():

        def stage(name: str, done: float | None = None, /) -> None:
            bar.set_description_str(name, refresh=False)
            bar.update(1 if done is None else done * steps - bar.n)
            bar.refresh()

        yield stage


def quiet() -> None:
    """Silence what libraries say of themselves; what hi_ml says stays."""
    for name in ("alembic", "matplotlib", "mlflow", "shap"):
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


def _refusal(error: Exception) -> HiMlError:
    """Say in our words what Hydra found wrong with the configuration or the run folder."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(error, OverrideParseException):
        return ConfigurationInvalid.unreadable_override(error.override, error.message.splitlines()[0])
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(cause.parent_node, DictConfig):
        known = [str(key) for key in cause.parent_node if key != "hydra"]
        return ConfigurationInvalid.unknown_key(str(cause.full_key), known)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return OutputFailed.of(error)
    place = f"{error.full_key}: " if isinstance(error, OmegaConfBaseException) else ""
    return ConfigurationInvalid.not_composed(place + re.split(r"\n(?:Config search path| *full_key):", str(error))[0])


def _end(error: HiMlError) -> None:
    _remove_empty_folder()
    with suppress(OSError):
        sys.stdout.flush()
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _interrupted.set()
    raise KeyboardInterrupt


@contextmanager
def _as_interrupt() -> Iterator[None]:
    """Make an interrupt again of the error that a library made of it, half-way through its own work."""
    try:
        yield
    except Exception as error:
        if _interrupted.is_set():
            raise KeyboardInterrupt from error
        raise


def _hear_again(lost: Any) -> None:
    """Repeat an interrupt that came where Python drops exceptions, inside a destructor for example."""
    if lost.exc_type is KeyboardInterrupt:
        Timer(_SOON, signal.pthread_kill, [main_thread().ident, signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(lost)


def _stop_printing() -> None:
    """Let what is left to print go nowhere: the reader of the pipe has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _remove_empty_folder() -> None:
    with suppress(OSError, ValueError):  # something stands in it, or Hydra made none
        Path(HydraConfig.get().runtime.output_dir).rmdir()
