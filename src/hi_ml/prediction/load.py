"""Which model is meant, and may it be loaded?"""

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pandas as pd
import yaml
from pydantic import ValidationError

from hi_ml.app.errors import HiMlError, ModelRefused, ModelUnknown
from hi_ml.app.passwords import without_password
from hi_ml.prediction import drift
from hi_ml.prediction.shapes import MappingShape, in_words
from hi_ml.scorer import serving
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.store import PATIENCE, client_of, is_absent, patience, store_uri

SCORER = Path("artifacts", "scorer")  # where MLflow keeps what our code loads, in a model's folder
SIGNED = "scorer_sha256"  # under which a model's MLmodel keeps the digest of that folder
UNKNOWN = "unknown"  # the verdict on a model of which nothing says one
_ANY_NUMBER, _ANY_DATE, _ANY_WORD = 1.0, "2024-01-15", "unknown"  # the cells of an invented admission
_LONGEST = 200  # characters of what a library says
_ABOUT, _CODE = "MLmodel", Path(serving.__file__).name
_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_LOGGED = re.compile(r"models:/(?P<model>m-[0-9a-f]{32})")
_OF_A_RUN = re.compile(r"runs:/(?P<run>[^/]+)/(?P<path>.+)")


@dataclass(frozen=True)
class LoadedModel:
    """A model that may be used."""

    scorer: serving.Scorer
    uri: str  # which model it is: ``models:/<name>/<version>`` for a registered one, whichever alias was asked for
    sha256: str  # over all files of the scorer
    verdict: str  # of the run that trained it; `UNKNOWN` where nothing says
    name: str  # of a registered model; empty for another
    version: str
    run_id: str  # of the MLflow run that made it; empty where nothing says
    # with the files of the scorer; a copy that lives as long as the process where the model lies elsewhere
    folder: Path
    same_code: bool  # whether the code that was logged with the model is the code that scores here


@dataclass(frozen=True)
class _Entry:
    """Where the files of a model lie, and what is known of it there."""

    uri: str
    location: str | Path
    verdict: str = UNKNOWN
    name: str = ""
    version: str = ""
    run_id: str = ""


def load_model(uri: str | Path, *, seconds: float | None = PATIENCE) -> LoadedModel:
    """Find a model, verify it, and load it without running any code that lies beside it.

    Parameters
    ----------
    uri : str or Path
        ``models:/<name>@<alias>``, ``models:/<name>/<version>``, ``models:/<model_id>``, ``runs:/<run_id>/model``, the
        folder of an MLflow model, or the run folder of a task.
    seconds : float, optional
        That a server may take to say where it is, and to send it.

    Raises
    ------
    ModelUnknown
        If there is no such model, or the store does not answer.
    ModelRefused
        If the model is none that hi_ml wrote, or a file of it was changed.
    """
    import skops.io  # noqa: PLC0415, F401 -- before MLflow: skops searches every module that is loaded as it is imported

    text = str(uri)
    stored = text.startswith(("models:/", "runs:/"))
    entry = _in_store(text, seconds) if stored else _in_folder(Path(text))
    return _open(entry, _local(entry, seconds))


def version_of(uri: str) -> str:
    """Say which model is meant now, without loading it; raises as `load_model`."""
    return (_in_store(uri) if uri.startswith(("models:/", "runs:/")) else _in_folder(Path(uri))).uri


def digest(folder: Path) -> str:
    """Return one SHA-256 over the names and bytes of all files of a folder."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def _open(entry: _Entry, folder: Path) -> LoadedModel:
    files = folder / SCORER
    if not (files / serving.MAPPING).is_file():
        beside = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
        raise ModelRefused.foreign(entry.uri, beside)
    signed, actual = _signature(folder), digest(files)
    if actual != signed:
        raise ModelRefused.changed(entry.uri, expected=signed, found=actual)
    try:
        MappingShape.model_validate_json((files / serving.MAPPING).read_bytes())
        scorer = serving.load(files)
        _try(scorer, files)
    except ValidationError as error:
        raise ModelRefused.unsafe(entry.uri, f"its {serving.MAPPING} is damaged ({in_words(error)}).") from error
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes a library raise
        why = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
        said = isinstance(error, ValueError) and str(error).startswith((serving.PIPELINE, serving.BOUNDS))
        raise ModelRefused.unsafe(entry.uri, str(error) if said else f"its files are damaged ({why}).") from error
    code = folder / _CODE
    same = code.is_file() and code.read_bytes() == Path(serving.__file__).read_bytes()
    return LoadedModel(scorer, entry.uri, actual, entry.verdict, entry.name, entry.version, entry.run_id, files, same)


def _try(scorer: serving.Scorer, files: Path) -> None:
    """Let a model answer an invented admission: one that cannot would stop half-way through a night."""
    typed = scorer.typed(invent_admission(scorer.mapping))
    numbers = scorer.numbers(typed)
    steps = [name for name in scorer.pipeline[0].output_indices_ if name.startswith("feature_")]
    if steps and len(steps) != len(scorer.mapping["features"]):
        raise ValueError(f"{len(scorer.mapping['features'])} features, expected {len(steps)}")
    matrix, centre = scorer.encode(numbers), scorer.mapping.get("centre")
    scorer.answer(matrix, numbers)
    if centre is not None and (len(centre) != matrix.shape[1] or np.asarray(centre).dtype == object):
        raise ValueError(f"centre has {len(centre)} numbers, expected {matrix.shape[1]}")
    if profile := drift.load(files):
        drift.compare(profile, drift.count_rows(profile, numbers), drift.Sensitivity())


def invent_admission(described: dict[str, Any]) -> pd.DataFrame:
    """Make up one admission from the mapping alone, so that no example can show a real one; shape (1, n_columns)."""
    cells: dict[str, list[Any]] = {}
    for spec in serving.inputs(described["columns"]):
        if "ranges" in spec or spec["source"] in cells:  # the codes, or the bands, are invented already or stay unknown
            cells.setdefault(spec["source"], [_ANY_WORD])
        elif spec["kind"] == "number":
            bounds = [bound for bound in (spec.get("low"), spec.get("high")) if bound is not None]
            cells[spec["source"]] = [float(np.mean(bounds)) if bounds else _ANY_NUMBER]
        elif spec["kind"] == "date":
            day = pd.Timestamp(spec.get("low") or spec.get("high") or _ANY_DATE)
            cells[spec["source"]] = [day.strftime(spec.get("format") or "%Y-%m-%d")]
        else:
            cells[spec["source"]] = [next((level for level in spec["levels"] if level), _ANY_WORD)]
    return pd.DataFrame(cells)


def _signature(folder: Path) -> str:
    """The digest of the scorer, as it was when the model was saved; empty where nothing says."""
    try:
        about = yaml.safe_load((folder / _ABOUT).read_text(encoding="utf-8"))
        return str(about["metadata"][SIGNED])
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return ""


def _in_folder(folder: Path) -> _Entry:
    """The model of a run folder, or the folder of a model, whose run folder may lie around it."""
    if not folder.exists():
        raise ModelUnknown.no_folder(folder)
    run = RunFolder(folder if RunFolder(folder).model.is_dir() else folder.parent)
    ours = run.model.is_dir() and (folder == run.path or folder.resolve() == run.model.resolve())
    if not ours:
        return _Entry(str(folder), folder)
    tracked = run.tracked().get(without_password(store_uri()), {})
    return _Entry(str(folder), run.model, run.verdict(UNKNOWN), run_id=str(tracked.get("run_id", "")))


def _in_store(uri: str, seconds: float | None = PATIENCE) -> _Entry:
    """Ask the store where a model lies."""
    store = store_uri()
    public = without_password(store)
    if is_absent(store):
        raise ModelUnknown.no_store(uri, public)
    try:
        with client_of(store, seconds) as client:
            return _look_up(client, uri, public)
    except HiMlError:
        raise
    except Exception as error:  # whatever a server, a driver or a network raises
        raise ModelUnknown.no_answer(uri, public, without_password(str(error))) from error


def _look_up(client: Any, uri: str, store: str) -> _Entry:
    if match := _REGISTERED.fullmatch(uri):
        return _registered(client, uri, store, **match.groupdict())
    if match := _LOGGED.fullmatch(uri):
        model = _answer(client.get_logged_model, match["model"])
        if model is None:
            raise ModelUnknown.no_entry(uri, store)
        made_by = str(model.source_run_id or "")
        return _Entry(uri, model.artifact_location, model.tags.get("verdict", UNKNOWN), run_id=made_by)
    if match := _OF_A_RUN.fullmatch(uri):
        run = _answer(client.get_run, match["run"])
        if run is None:
            raise ModelUnknown.no_entry(uri, store)
        location = f"{run.info.artifact_uri}/{match['path']}"
        return _Entry(uri, location, run.data.tags.get("verdict", UNKNOWN), run_id=match["run"])
    raise ModelUnknown.unreadable(uri, _names(client))


def _registered(client: Any, uri: str, store: str, *, name: str, alias: str | None, version: str | None) -> _Entry:
    model = _answer(client.get_registered_model, name)
    if model is None:
        raise ModelUnknown.no_name(name, store, _names(client))
    number = version or str(model.aliases.get(alias, ""))
    tagged = _answer(client.get_model_version, name, number) if number else None
    if tagged is None:
        versions = sorted(int(each.version) for each in client.search_model_versions(f"name='{name}'"))
        raise ModelUnknown.no_version(uri, model.aliases, versions)
    location = client.get_model_version_download_uri(name, number)
    return _Entry(f"models:/{name}/{number}", location, tagged.tags.get("verdict", UNKNOWN), name, number)


def _answer(ask: Callable[..., Any], *what: str) -> Any:
    """What the store answers, None where it has nothing."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- only a model in a store needs MLflow

    try:
        return ask(*what)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _names(client: Any) -> list[str]:
    return sorted(model.name for model in client.search_registered_models())


def _local(entry: _Entry, seconds: float | None) -> Path:
    """Where the files lie, without a copy if they lie on this machine."""
    if isinstance(entry.location, Path):
        return entry.location
    parts = urlparse(entry.location)
    if parts.scheme not in ("", "file"):
        return _download(entry.uri, entry.location, seconds)
    folder = Path(url2pathname(parts.path) if parts.scheme else entry.location)
    if not folder.exists():
        raise ModelUnknown.gone(entry.uri, folder)
    return folder


def _download(uri: str, location: str, seconds: float | None) -> Path:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 -- as above

    copy, store = tempfile.mkdtemp(prefix="hi_ml."), store_uri()
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    try:
        with patience(seconds):
            return Path(download_artifacts(artifact_uri=location, dst_path=copy, tracking_uri=store))
    except Exception as error:  # whatever a server, a driver or a network raises
        raise ModelUnknown.no_answer(uri, without_password(store), without_password(str(error))) from error
