"""Where are runs tracked, who may write there now, and how does one look at them?"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import current_thread, main_thread
from typing import Any

from filelock import FileLock, Timeout

from hi_ml.app.errors import TimeIsOver
from hi_ml.app.passwords import without_password

STORE, ARTIFACTS = "mlflow.db", "mlartifacts"
VIEW = "hi_ml"  # the key of the view of runs that an experiment keeps
_LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` is reached
_LOCK_SECONDS = 300  # two runs at once take turns; creating the store takes seconds
_SQLITE = "sqlite:///"
PATIENCE = 60.0  # seconds
_AGAIN = 2.0  # seconds
_IN_ADDRESSES = frozenset("?%")
_RETRIES = "2"  # a server that is down is said to be down within seconds


def store_uri() -> str:
    """Return where runs are tracked: ``MLFLOW_TRACKING_URI``, else SQLite in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{_here() / STORE}"


def _here() -> Path:
    """The current folder; not by its name where that means something else in an address."""
    return Path() if _IN_ADDRESSES.intersection(str(Path.cwd())) else Path.cwd()


def artifact_root(uri: str, experiment: str) -> str | None:
    """Return where a new experiment keeps its files: here for SQLite, as the server says for a server."""
    if not uri.startswith(_SQLITE):
        return None
    return f"{(Path.cwd() / ARTIFACTS).as_uri()}/{experiment.replace('/', '.')}"


@contextmanager
def patience(seconds: float | None) -> Iterator[None]:
    """Wait so long for a server, and no longer, even if it drips; None, or another thread than the first, waits.

    Raises
    ------
    TimeoutError
    """
    if seconds is None or current_thread() is not main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeIsOver

    before = signal.signal(signal.SIGALRM, stop)
    left = signal.setitimer(
        signal.ITIMER_REAL, seconds, _AGAIN
    )  # whoever tells the server of the end waits for it again
    try:
        yield
    except TimeIsOver as error:
        raise TimeoutError(f"it took longer than tracking_seconds={seconds:g}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)


@contextmanager
def client_of(uri: str, seconds: float | None = PATIENCE) -> Iterator[Any]:
    """Speak to one store, for so many seconds if it is a server, and let MLflow's own look-ups speak to it too.

    The registry in a database asks the store of the process for a logged model, whichever store the client names; where
    an old ``./mlruns`` lies, that would be another one.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
    import mlflow  # noqa: PLC0415 -- a second and a half that tracking=none does not pay

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        with patience(None if uri.startswith(_SQLITE) else seconds):
            yield mlflow.MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None takes the setting back


def is_absent(uri: str) -> bool:
    """Whether there is no store yet: a file that nothing was ever tracked in."""
    return uri.startswith(_SQLITE) and not _file(uri).exists()


@contextmanager
def exclusive(uri: str) -> Iterator[None]:
    """Let one process at a time use a SQLite store: two that create it at once would break its migration.

    Raises
    ------
    TimeoutError
        If another process keeps it for minutes.
    """
    if not uri.startswith(_SQLITE):
        yield
        return
    try:
        path = _file(uri)
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            _create(path)
            yield
    except Timeout as error:
        raise TimeoutError(f"another process has held the store for {_LOCK_SECONDS} s") from error


def _file(uri: str) -> Path:
    return Path(uri.removeprefix(_SQLITE).split("?")[0].removeprefix("file:"))


def _create(path: Path) -> None:
    """Create a SQLite store, whole or not at all: one whose migrations were interrupted is of no use to MLflow."""
    if path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415 -- seconds that only tracking pays

    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        unfinished = Path(os.path.relpath(folder)) / path.name  # which no letter of an absolute name can break
        store = SqlAlchemyStore(f"{_SQLITE}{unfinished}", (Path.cwd() / ARTIFACTS).as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        unfinished.replace(path)


def command_to_open(uri: str) -> str:
    """Return the exact command that shows the runs of a store."""
    if uri.startswith(("http://", "https://")):
        return f"python -m webbrowser {without_password(uri)}"
    ours = Path(sys.executable).with_name("mlflow")  # of this environment, which may not be the active one
    mlflow = "mlflow" if shutil.which("mlflow") == str(ours) or not ours.exists() else _short(ours)
    if uri == f"{_SQLITE}{_here() / STORE}" and not Path("mlruns").exists():
        return f"{mlflow} ui"
    backend = uri if uri == without_password(uri) else '"$MLFLOW_TRACKING_URI"'  # which is where it came from
    return f"{mlflow} ui --backend-store-uri {backend}"


def address(uri: str, experiment: str) -> str:
    """Return where MLflow shows the runs of an experiment (its id), with the columns that matter.

    A store without a server has the address that `command_to_open` gives it.
    """
    server = without_password(uri).rstrip("/") if uri.startswith(("http://", "https://")) else _LOCAL
    return f"{server}/#/experiments/{experiment}/runs?viewStateShareKey={VIEW}"


def how_to_look(uri: str, experiment: str = "") -> str:
    """Say where MLflow shows the runs of an experiment (its id), and which command opens it."""
    where = address(uri, experiment) if experiment else "MLflow"
    return f"{where} shows the runs, once this is started:\n{command_to_open(uri)}"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
