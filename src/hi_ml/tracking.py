"""A run folder becomes an MLflow run, a logged model and a registered version; all it says stands in the folder."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hi_ml.artifacts import RunFolder
from hi_ml.config import leaves
from hi_ml.errors import TrackingFailed

_STORE, _ARTIFACTS = "mlflow.db", "mlartifacts"
_LOCK_SECONDS = 300  # two runs at once take turns; creating the store takes seconds
_DIGEST = 36  # characters that MLflow allows
_LONGEST_PARAMETER = 6000  # MLflow cuts what is longer without a word
_KIND = "custom_model_development"  # opens the page of the experiment in MLflow's "Model training" view
_RETRIES = "2"  # a server that is down is said to be down within seconds


@dataclass(frozen=True)
class Tracked:
    """Where a run can be seen.

    Attributes
    ----------
    uri, experiment, run_id, model, version, alias : str
    champion_verdict : str
        Of the version that carries the alias ``champion``.
    """

    uri: str
    experiment: str
    run_id: str
    model: str
    version: str
    alias: str
    champion_verdict: str


def store_uri() -> str:
    """Return where runs are tracked: ``MLFLOW_TRACKING_URI``, else SQLite in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / _STORE}"


def send(folder: RunFolder) -> Tracked:
    """Track a finished run folder, once per store.

    Parameters
    ----------
    folder : RunFolder

    Raises
    ------
    RunFolderInvalid
        If the folder is not that of a finished run.
    TrackingFailed
        If the store does not take the run; the folder stands, and what MLflow has of it is marked failed.
    """
    found = folder.read()
    uri = store_uri()
    if found["tracked"].get("uri") == uri:
        return Tracked(**found["tracked"])
    try:
        with _alone(uri):
            tracked = _sent(folder, found, uri)
    except Exception as error:  # whatever a server, a driver or a network raises, the run must not be lost
        raise TrackingFailed.of(folder.path, _without_password(uri), error) from error
    folder.write_tracked(asdict(tracked))
    return tracked


def command_to_open(uri: str) -> str:
    """Return the exact command that shows the runs of a store."""
    beside = Path(sys.executable).with_name("mlflow")
    mlflow = "mlflow" if shutil.which("mlflow") == str(beside) or not beside.exists() else _short(beside)
    if uri.startswith(("http://", "https://")):
        return f"python -m webbrowser {uri}"
    if uri == f"sqlite:///{Path.cwd() / _STORE}" and not Path("mlruns").exists():
        return f"{mlflow} ui"
    return f"{mlflow} ui --backend-store-uri {uri}"


def _sent(folder: RunFolder, found: dict[str, Any], uri: str) -> Tracked:
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
    from mlflow import MlflowClient  # noqa: PLC0415 -- a second and a half that tracking=none does not pay

    client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
    run = found["run"]
    experiment = _experiment(client, f"{run['dataset']}/{run['task']}", uri)
    made = client.create_run(experiment, int(run["started"] * 1000), _tags(found), run_name=run["model"])
    run_id = made.info.run_id
    try:
        _log(client, run_id, found)
        _log_files(client, run_id, folder)
        model_id = _log_model(client, (experiment, run_id), folder, found)
        version, alias, champion = _register(client, (run_id, model_id), found)
        client.set_terminated(run_id, "FINISHED", int(run["finished"] * 1000))
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    return Tracked(uri, f"{run['dataset']}/{run['task']}", run_id, _model_name(run), version, alias, champion)


def _experiment(client: Any, name: str, uri: str) -> str:
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    local = (Path.cwd() / _ARTIFACTS).as_uri() if uri.startswith("sqlite:") else None
    place = f"{local}/{name.replace('/', '.')}" if local else None
    return str(client.create_experiment(name, artifact_location=place, tags={"mlflow.experimentKind": _KIND}))


def _tags(found: dict[str, Any]) -> dict[str, str]:
    run, verdict = found["run"], found["verdict"]
    asked = " ".join(found["overrides"]) or "(all defaults)"
    note = f"{verdict['sentence']}\n\n{found['leakage']['sentence']}\n\nAsked for: `{asked}`"
    return {
        "verdict": verdict["verdict"],
        "data_sha256": found["data"]["sha256"],
        **{key: str(run[key]) for key in ("dataset", "model", "task", "split_sha256", "git_commit")},
        "mlflow.note.content": note,
        "mlflow.source.name": "hi_ml.train",
        "mlflow.source.type": "LOCAL",
    }


def _log(client: Any, run_id: str, found: dict[str, Any]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param  # noqa: PLC0415 -- as above

    run, data = found["run"], found["data"]
    stamp = int(run["finished"] * 1000)
    metrics = [Metric(name, float(value), stamp, 0) for name, value in _metrics(found).items()]
    params = [Param(name, str(value)[:_LONGEST_PARAMETER]) for name, value in _params(found).items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    source = f'{{"uri": "{run["source"]}"}}'
    dataset = Dataset(
        run["dataset"], data["sha256"][:_DIGEST], "local", source, profile=f'{{"num_rows": {run["rows"]}}}'
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _metrics(found: dict[str, Any]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for row in found["scores"].to_dict("records"):
        name = f"{row['part']}_{row['score']}"
        metrics |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        metrics[f"baseline_{row['score']}"] = row["baseline"]
    verdict = found["verdict"]
    metrics |= {"skill": verdict["skill"], "skill_low": verdict["low95"], "skill_high": verdict["high95"]}
    return metrics | {"leakage_gap": found["leakage"]["gap"], "fit_seconds": found["timings"]["fit"]}


def _params(found: dict[str, Any]) -> dict[str, Any]:
    """The settings that matter, in the words of the configuration: the learner of this kind of task, not the other."""
    config, run = found["config"], found["run"]
    model = dict(config["model"])
    other = "classification" if run["kind"] == "regression" else "regression"
    for unused in (other, "space", "name"):
        model.pop(unused, None)
    split = {key: value for key, value in config["split"].items() if key != "name"}
    params = {"model": run["model"], "split": config["split"]["name"], "rows": run["rows"]}
    params |= {key: run[key] for key in ("seed", "horizon", "features")}
    return params | leaves(model, prefix="model.") | leaves(split, prefix="split.")


def _log_files(client: Any, run_id: str, folder: RunFolder) -> None:
    for path in folder.files():
        place = path.relative_to(folder.path)
        client.log_artifact(run_id, str(path), None if len(place.parts) == 1 else str(place.parent))


def _log_model(client: Any, where: tuple[str, str], folder: RunFolder, found: dict[str, Any]) -> str:
    from mlflow.entities import LoggedModelOutput, Metric  # noqa: PLC0415 -- as above

    experiment, run_id = where
    model = client.create_logged_model(
        experiment, name=folder.model.name, source_run_id=run_id, model_type=found["run"]["model"],
        tags={"verdict": found["verdict"]["verdict"]},
    )  # fmt: skip
    client.log_model_artifacts(model.model_id, str(folder.model))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    stamp = int(found["run"]["finished"] * 1000)
    shown = {name: value for name, value in _metrics(found).items() if name.startswith(("test_", "skill"))}
    linked = [
        Metric(name, float(value), stamp, 0, model_id=model.model_id, run_id=run_id) for name, value in shown.items()
    ]
    client.log_batch(run_id, metrics=linked)
    return str(model.model_id)


def _register(client: Any, made: tuple[str, str], found: dict[str, Any]) -> tuple[str, str, str]:
    """Register the model; the first version becomes the champion, later ones challenge it."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- as above

    run_id, model_id = made
    name = _model_name(found["run"])
    try:
        known = client.get_registered_model(name)
    except MlflowException:
        known = client.create_registered_model(name, description=f"Predicts {found['run']['task']}.")
    version = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id,
        tags={"verdict": found["verdict"]["verdict"]}, description=found["verdict"]["sentence"],
    )  # fmt: skip
    alias = "challenger" if "champion" in known.aliases else "champion"
    client.set_registered_model_alias(name, alias, version.version)
    champion = client.get_model_version_by_alias(name, "champion")
    return str(version.version), alias, champion.tags.get("verdict", "unknown")


def _model_name(run: dict[str, Any]) -> str:
    return f"{run['dataset']}.{run['task']}"


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time use a SQLite store: two that create it at once would break its migration."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    try:
        with FileLock(f"{uri.removeprefix('sqlite:///').split('?')[0]}.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise TimeoutError(f"another process has held the store for {_LOCK_SECONDS} s") from error


def _without_password(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    return f"{head.split('//')[0]}//…{at}{tail}" if at else uri


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
