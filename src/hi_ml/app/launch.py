"""How a command starts, and how it ends: exit codes, one sentence on failure, quiet libraries."""

import atexit
import functools
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
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from threading import Event, Thread, main_thread
from types import FrameType
from typing import Any, Protocol, TextIO, cast, get_type_hints

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import ValidationError
from tqdm import tqdm

from hi_ml.app import begin, options
from hi_ml.app.called import key, of_command_line, of_dataset, on_table, printed
from hi_ml.app.config import build, conf_dir
from hi_ml.app.errors import ConfigurationInvalid, Defect, HiMlError, MemoryExhausted, OutputFailed
from hi_ml.app.errors.values import problems
from hi_ml.app.files import open_up, own, readable
from hi_ml.app.manual import glossary_page, page
from hi_ml.app.memory import available
from hi_ml.app.passwords import refuse_passwords, without_password
from hi_ml.app.references import hold_references, plain, written
from hi_ml.app.text import printable

_UNKNOWN_FLAG = 2  # the exit code of argparse
_LITTLE = 100_000_000  # bytes, of which no library can make a table or a picture
_SOON = 0.01  # seconds in which a destructor ends
_signal = [signal.SIGINT]  # which it was
_NO_OPTION = re.compile(r"Could not (?:find|load) '(\w+)/([^'/]*)'")
_interrupted = Event()
_on_its_way = Event()  # an interrupt that no end of a command has heard of yet
_heard = Event()  # an interrupt that was dropped before
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
    options: tuple[str, ...] = ()  # folders of the user's own YAML files, as ``--config-dir`` named them

    @classmethod
    def of(cls, cfg: Any) -> "Invocation":
        """Ask Hydra."""
        call = HydraConfig.get()
        folder = Path(call.runtime.output_dir)
        mine = tuple(map(str, of_command_line()))
        return cls(folder, written(cfg), written(call.overrides.task), f"hi_ml.{call.job.name}", mine)

    def another(self, command: str, *words: str) -> str:
        """Return another command on the same table: with the user's options, and what was asked of the dataset."""
        return printed(command, *of_dataset(self.overrides), *words, options=self.options)

    def itself(self, *words: str) -> str:
        """Return the same command, less where its results went and what ``words`` ask for otherwise."""
        asked = {key(word) for word in words}
        rest = [word for word in self.overrides if key(word) not in asked and not key(word).startswith("hydra.")]
        return printed(self.command.removeprefix("hi_ml."), *rest, *words, options=self.options)

    def words(self) -> list[str]:
        """Return what stood on the command line, with the user's options."""
        return [*(word for folder in self.options for word in ("--config-dir", folder)), *self.overrides]

    def provenance(self) -> dict[str, Any]:
        """Say which code was called."""
        return {"command": self.command, "git_commit": _commit(), "hi_ml_version": version("hi_ml")}


def command(function: Callable[[Any, Invocation], None]) -> Callable[[], None]:
    """Make a Hydra application of a function of settings: what ends it early ends it with a code and a sentence.

    Parameters
    ----------
    function : callable
        Takes an object of the class that its first parameter is annotated with, whose fields are the keys of
        ``conf/<name of the function>.yaml``, and the call.

    Returns
    -------
    callable
        Reads the command line. It ends the process with 0 where ``function`` returns, with 1 and one sentence where
        it raises or the settings are wrong, with 130 at Ctrl-C, 143 at SIGTERM, 129 at the end of its terminal.
    """
    kind = next(iter(get_type_hints(function, include_extras=True).values()))

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=function.__name__)
    @functools.wraps(function)
    def application(cfg: DictConfig) -> None:
        with ending(composed=True):
            refuse_passwords(plain(cfg))
            hold_references(cfg)
            here = Invocation.of(cfg)
            with readable(by_umask=cfg.get("files") == "umask"), _on_table(cfg, here):
                own(here.folder)
                open_up(here.folder)
                _raise_again()
                function(_built(kind, cfg), here)

    def main() -> None:
        _begin()
        with redirect_stdout(cast("TextIO", _Screen(sys.stdout))), ending(composed=False):
            if {"-h", "--help"} & set(sys.argv[1:]):
                print(page(function.__name__))
            elif "--glossary" in sys.argv[1:]:
                print(glossary_page())
            elif "--version" in sys.argv[1:]:
                print(version("hi_ml"))
            else:
                options.refuse_passed_over(of_command_line(), conf_dir())
                try:
                    application()
                except SystemExit as stop:
                    if stop.code == _UNKNOWN_FLAG:
                        help_of = f"hi_ml {function.__name__} --help"
                        print(f"Settings are key=value, without dashes: {help_of}", file=sys.stderr)
                    raise

    return main


def _on_table(cfg: DictConfig, here: Invocation) -> AbstractContextManager[None]:
    """Note the table of the call, of which its models are; that of `validate` is another one."""
    option = HydraConfig.get().runtime.choices.get("dataset")
    if option is None or here.command == "hi_ml.validate":
        return nullcontext()
    return on_table(str(OmegaConf.select(cfg, "dataset.name")), str(option), here.overrides)


@contextmanager
def progress(steps: int) -> Iterator[Stage]:
    """Show on a terminal which of so many steps is under way, log lines above the bar; elsewhere a line a step."""
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415 -- a notebook need not hear of its widgets

    wide, high = shutil.get_terminal_size()  # a terminal without a size counts as one of 80 x 24
    bar = tqdm(total=steps, disable=None, leave=False, ncols=wide, nrows=high, bar_format="{desc} {bar} {elapsed}")
    with bar, logging_redirect_tqdm():

        def stage(name: str, done: float | None = None, /) -> None:
            _raise_again()
            if bar.disable and done is None:
                logging.getLogger("hi_ml").info(name)
            bar.set_description_str(name, refresh=False)
            bar.update(1 if done is None else done * steps - bar.n)
            bar.refresh()

        yield stage


def _begin() -> None:
    """Let no library speak beside us, and hear every interrupt."""
    begin.imported()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print; the sentence is ours
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "matplotlib", "mlflow", "shap"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="hydra")
    options.register()
    for screen in (sys.stdout, sys.stderr):
        if isinstance(screen, TextIOWrapper):
            screen.reconfigure(errors="backslashreplace")  # a screen that knows few letters shows their numbers
    logging.raiseExceptions = False  # a log line that cannot be written is lost, without a traceback
    _interrupted.clear()
    _on_its_way.clear()
    for number in begin.stops():
        signal.signal(number, _interrupt)  # a shell's background job would ignore Ctrl-C
    sys.unraisablehook = _hear_again
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    """Let a signal end the process at once that comes when all is done: Python drops what is raised from here on."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    for number in begin.stops():
        signal.signal(number, lambda number, _: os._exit(128 + (_signal[0] if _interrupted.is_set() else number)))


@contextmanager
def ending(*, composed: bool = False) -> Iterator[None]:
    """End the process with an exit code and a sentence if anything is raised.

    Hydra says more than our sentence of what its job raises, so the end of the job is one inside that of Hydra.
    """
    try:
        with _as_interrupt():
            yield
    except KeyboardInterrupt as stop:
        _on_its_way.clear()
        code = 128 + _signal[0]
        for number in begin.stops():
            signal.signal(number, lambda *_: os._exit(code))  # nothing is left to do but to end
        _end(code, f"\n{str(stop) or 'Interrupted. Nothing half-written was kept.'}\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of the pipe has seen enough
    except Exception as error:  # noqa: BLE001 -- it ends here, with all that a report of it needs
        refusal = _refusal(error, composed=composed)
        if isinstance(refusal, Defect):
            sys.stderr.write(without_password(traceback.format_exc()))
        _end(1, without_password(f"{type(refusal).__name__}: {refusal}\n"))


def _end(code: int, sentence: str) -> None:
    with suppress(OSError, ValueError, OmegaConfBaseException):  # something stands in it, or Hydra made none
        folder = Path(HydraConfig.get().runtime.output_dir)
        if not folder.samefile(Path.cwd()):
            folder.rmdir()
    with suppress(OSError):
        sys.stdout.flush()
    sys.stderr.write(printable(sentence))
    sys.exit(code)


class _Screen:
    """The screen, or what stands for it, to which nothing is written that a terminal would obey."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _refusal(error: Exception, *, composed: bool) -> HiMlError:
    """Say in our words what went wrong; what no one foresaw is a defect once the configuration is composed."""
    if isinstance(error, HiMlError):
        return error
    if isinstance(error, ValidationError):
        return _refused_value(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _not_composed(error)
    if isinstance(error, OSError):
        return OutputFailed.of(error)
    if isinstance(error, MemoryError) or (composed and available() < _LITTLE):  # a library calls it as it likes
        return MemoryExhausted.of(error)
    return Defect() if composed else _not_composed(error)


def _built(kind: Any, cfg: DictConfig) -> Any:
    try:
        return build(kind, cfg)
    except ValidationError as error:
        raise _refused_value(error, plain(cfg)) from error


def _refused_value(error: ValidationError, node: object = None) -> ConfigurationInvalid:
    """Say which values are of another type than their keys."""
    return ConfigurationInvalid.from_list(problems(error.errors(), node), _groups())


def _groups() -> list[str]:
    """List the groups of options that a command may choose from."""
    return sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name != "hydra")


def _not_composed(error: Exception) -> HiMlError:
    """Say what Hydra found wrong with the configuration."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(error, OverrideParseException):
        return ConfigurationInvalid.unreadable_override(error.override, error.message.splitlines()[0])
    if option := _NO_OPTION.search(str(error)):
        group, name = option.groups()
        return ConfigurationInvalid.no_option(group, name, options.names(group, conf_dir()))
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(cause.parent_node, DictConfig):
        keys = [str(key) for key in cause.parent_node if key != "hydra"]
        groups = [] if "." in str(cause.full_key) else _groups()  # of which `tasks` and others hold what was chosen
        known = [*groups, *(key for key in keys if key.removesuffix("s") not in groups)]
        known = [name for name in known if name != str(cause.full_key)]  # a group that another command takes
        return ConfigurationInvalid.unknown_key(str(cause.full_key), known)
    key = f"{error.full_key}: " if isinstance(error, OmegaConfBaseException) else ""
    return ConfigurationInvalid.not_composed(key + re.split(r"\n(?:Config search path| *full_key):", str(error))[0])


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _interrupted.is_set():
        _signal[0] = signal.Signals(number)
    _interrupted.set()
    while frame is not None:
        if frame.f_code is _hear_again.__code__:  # still where Python drops exceptions: it comes again
            return
        frame = frame.f_back
    _heard.set()
    _on_its_way.set()
    raise KeyboardInterrupt


def _raise_again() -> None:
    """Raise an interrupt that came, and that a library dropped without a word."""
    if _on_its_way.is_set():
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
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    _heard.clear()
    Thread(target=_repeat, daemon=True).start()


def _repeat() -> None:
    """Interrupt the main thread until it hears of it."""
    while not _heard.wait(_SOON):
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)


def _commit() -> str:
    """Return the commit of the code if it runs from a checkout of its own, not from inside of someone else's."""
    try:
        for words in (["ls-files", "--error-unmatch", __file__], ["rev-parse", "HEAD"]):
            answer = subprocess.run(  # noqa: S603 -- fixed words, and the path of this file
                ["git", *words],  # noqa: S607 -- whichever git the user has
                cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=True,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
