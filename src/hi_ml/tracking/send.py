"""Runs inside of a run: the trials of a search, in MLflow.

A run folder becomes an MLflow run and, if it holds a model, a logged model and a registered version.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hi_ml.app.errors import TrackingFailed
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.record import Child, Record, record
from hi_ml.tracking.registry import PromotionPolicy, register
from hi_ml.tracking.store import artifact_place, client_of, exclusive, store_uri, without_password

PARENT = "mlflow.parentRunId"  # the tag by which MLflow nests a run


def send_children(client: Any, experiment: str, parent: str, children: Iterable[Child]) -> None:
    """Track runs inside of another, each with one call for all that it logs.

    Parameters
    ----------
    experiment, parent : str
        Numbers of the experiment and of the run around them.
    """
    from mlflow.entities import Metric, Param  # noqa: PLC0415 -- a second and a half that tracking=none does not pay

    for child in children:
        began, ended = int(child.started * 1000), int(child.finished * 1000)
        made = client.create_run(experiment, began, {PARENT: parent, **child.tags}, run_name=child.name)
        params = [Param(name, value) for name, value in child.params.items()]
        metrics = [
            Metric(name, float(value), ended, step)
            for name, values in child.metrics.items()
            for step, value in enumerate(values)
        ]
        try:
            client.log_batch(made.info.run_id, metrics=metrics, params=params)
            client.set_terminated(made.info.run_id, child.status, ended)
        except BaseException:
            client.set_terminated(made.info.run_id, "FAILED")
            raise


_DIGEST = 36  # characters that MLflow allows
_LONGEST_PARAMETER = 6000  # MLflow cuts what is longer without a word
_NO_TABLE = PromotionPolicy()
_KIND = "custom_model_development"  # opens the page of the experiment in MLflow's "Model training" view


@dataclass(frozen=True)
class Tracked:
    """Where a run can be seen."""

    uri: str
    experiment: str
    run_id: str
    model: str = ""  # of the registered model; empty where the run has none
    version: str = ""
    alias: str = ""
    promotion: str = ""  # why it has that alias
    champion_verdict: str = ""  # of the version that carries the alias ``champion``

    def sentences(self) -> list[str]:
        """Say what became of the model, if the run has one, and of which champion to beware."""
        if not self.model:
            return []
        said = [f"{self.model} version {self.version} is {self.alias}: {self.promotion}."]
        if self.champion_verdict != "signal":
            verdict = f"has the verdict '{self.champion_verdict}': it is no better than knowing nothing"
            said.append(f"Note: the champion of {self.model} {verdict}.")
        return said


def send(folder: RunFolder, terms: PromotionPolicy = _NO_TABLE) -> Tracked:
    """Track a finished run folder, once per store.

    Parameters
    ----------
    terms : PromotionPolicy
        On which its model may become champion; by default no table is at hand, and an existing champion stays.

    Raises
    ------
    RunFolderInvalid
        If the folder is not that of a finished run.
    TrackingFailed
        If the store does not take the run; the folder stands, and what MLflow has of it is marked failed.
    """
    known, made, uri = folder.tracked(), record(folder), store_uri()
    shown = without_password(uri)
    try:
        with exclusive(uri), client_of(uri) as client:
            if shown in known and _stands(client, known[shown]["run_id"]):
                return Tracked(**known[shown])
            tracked = _sent(client, folder, made, uri=uri, terms=terms)
    except Exception as error:  # whatever a server, a driver or a network raises, the run must not be lost
        raise TrackingFailed.of(folder.path, shown, without_password(str(error))) from error
    folder.write_tracked(known | {shown: asdict(tracked)})
    return tracked


def _stands(client: Any, run_id: str) -> bool:
    """Whether the store still has a run that a folder says it has."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- a second and a half, see `client_of`

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _sent(client: Any, folder: RunFolder, made: Record, *, uri: str, terms: PromotionPolicy) -> Tracked:
    experiment = _experiment(client, made.experiment, uri)
    tags = {**made.tags, **_nesting(folder, uri)}
    run = client.create_run(experiment, int(made.started * 1000), tags, run_name=made.run_name)
    run_id = run.info.run_id
    try:
        _log(client, run_id, made)
        _log_files(client, run_id, folder)
        send_children(client, experiment, run_id, made.children)
        model_id = _log_model(client, (experiment, run_id), made)
        found = asdict(register(client, made, run_id=run_id, model_id=model_id, terms=terms)) if model_id else {}
        client.set_terminated(run_id, "FINISHED", int(made.finished * 1000))
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    return Tracked(without_password(uri), made.experiment, run_id, **found)


def _nesting(folder: RunFolder, uri: str) -> dict[str, str]:
    """Nest the run of a folder that stands inside of another run's, if that one is tracked in the same store."""
    around = RunFolder(folder.path.parent).tracked().get(without_password(uri))
    return {PARENT: around["run_id"]} if around else {}


def _experiment(client: Any, name: str, uri: str) -> str:
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    place = artifact_place(uri, name)
    return str(client.create_experiment(name, artifact_location=place, tags={"mlflow.experimentKind": _KIND}))


def _log(client: Any, run_id: str, made: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param  # noqa: PLC0415 -- as above

    stamp = int(made.finished * 1000)
    metrics = [Metric(name, float(value), stamp, 0) for name, value in made.metrics.items()]
    params = [Param(name, value[:_LONGEST_PARAMETER]) for name, value in made.params.items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    source, profile = json.dumps({"uri": made.source}), json.dumps({"num_rows": made.rows})
    dataset = Dataset(made.dataset, made.digest[:_DIGEST], "local", source, profile=profile)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_files(client: Any, run_id: str, folder: RunFolder) -> None:
    for path in folder.files():
        place = path.relative_to(folder.path)
        client.log_artifact(run_id, str(path), None if len(place.parts) == 1 else str(place.parent))


def _log_model(client: Any, where: tuple[str, str], made: Record) -> str:
    """Log the model as MLflow's own kind of entity, with the scores that it reached; return its number."""
    if made.model is None:
        return ""
    from mlflow.entities import LoggedModelOutput, Metric  # noqa: PLC0415 -- as above

    experiment, run_id = where
    model = client.create_logged_model(
        experiment, name=made.model.name, source_run_id=run_id, model_type=made.run_name,
        tags={"verdict": made.verdict},
    )  # fmt: skip
    model_id = str(model.model_id)
    client.log_model_artifacts(model_id, str(made.model))
    client.finalize_logged_model(model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    stamp = int(made.finished * 1000)
    shown = {name: float(value) for name, value in made.metrics.items() if name.startswith(("test_", "skill"))}
    linked = [Metric(name, value, stamp, 0, model_id=model_id, run_id=run_id) for name, value in shown.items()]
    client.log_batch(run_id, metrics=linked)
    return model_id
