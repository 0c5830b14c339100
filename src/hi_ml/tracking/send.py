"""A run folder becomes an MLflow run with the trials of a search in it, a logged model and a registered version."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT, Files, Seconds, Seed, SmallestCell
from hi_ml.app.errors import TrackingFailed, command_to_track
from hi_ml.app.passwords import without_password
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.judgement import caution
from hi_ml.tracking.contest import digests_of
from hi_ml.tracking.folder import DIGESTS, FILES, RunFolder
from hi_ml.tracking.leaving import FLOWS, mask_few, smallest_cell
from hi_ml.tracking.record import VERDICT, Child, Record, record
from hi_ml.tracking.registry import PromotionPolicy, announce, register, remember_validation
from hi_ml.tracking.site import remember
from hi_ml.tracking.store import PATIENCE, VIEW, artifact_root, client_of, exclusive, store_uri

_KEY = "hi_ml.sending"  # the tag by which a run is known again that was not finished
_VIEWS = "mlflow.sharedViewState."  # how the tags of an experiment begin that hold views of its runs
PARENT = "mlflow.parentRunId"  # the tag by which MLflow nests a run
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
    experiment_id: str = ""
    remembered: str = ""  # of a validation, which registered version remembers it, as a sentence

    def sentences(self) -> list[str]:
        """Say what became of the model, if the run has one, and of which champion to beware."""
        if not self.model:
            return [self.remembered] if self.remembered else []
        sentences = [f"{self.model} version {self.version} is {self.alias}: {self.promotion}."]
        if beware := caution(self.champion_verdict):
            sentences.append(f"Note of the champion of {self.model}: {beware}.")
        return sentences


def send(
    folder: RunFolder,
    policy: PromotionPolicy = _NO_TABLE,
    *,
    share_rows: bool = False,
    seconds: float | None = PATIENCE,
) -> Tracked:
    """Track a finished run folder, once per store.

    Parameters
    ----------
    policy : PromotionPolicy
        On which its model may become champion; by default no table is at hand, and an existing champion stays.
    share_rows : bool
        Whether tables of rows leave too.
    seconds : float, optional
        That a server may take, in all.

    Raises
    ------
    RunFolderInvalid
        If the folder is not that of a finished run.
    TrackingFailed
        If the store does not take the run; the folder stands, and what MLflow has of it is marked failed.
    """
    before, run, uri = folder.tracked(), record(folder, share_rows=share_rows), store_uri()
    public_uri = without_password(uri)
    try:
        with exclusive(uri), client_of(uri, seconds) as client:
            if public_uri in before and _is_active(client, before[public_uri]["run_id"]):
                return Tracked(**before[public_uri])
            tracked = _finished(client, folder, run, uri=uri)
            if tracked is None:
                with TemporaryDirectory() as temporary:
                    instead = {} if share_rows else _in_words(folder, RunFolder(Path(temporary)))
                    files = {path: instead.get(path, path) for path in run.files}
                    tracked = _send(client, folder, run, files, uri=uri, policy=policy)
            remember(tracked.run_id, folder.path)
            if folder.keeps("validation"):
                tracked = replace(tracked, remembered=remember_validation(client, folder, tracked.run_id))
    except TrackingFailed as error:
        raise TrackingFailed(f"{error} Then send the run: {command_to_track(folder.path)}") from error
    except Exception as error:  # whatever a server, a driver or a network raises, the run must not be lost
        raise TrackingFailed.of(folder.path, public_uri, without_password(str(error))) from error
    folder.sent(before | {public_uri: asdict(tracked)})
    return tracked


@settings(frozen=True, config=STRICT)
class RunSettings:
    """What every command is asked that reads a table, and tracks what it says of it."""

    dataset: Dataset
    seed: Seed  # fixes everything random
    tracking: Literal["default", "none"]
    tracking_seconds: Seconds  # that a server may take for a run
    share_rows: bool  # whether tables of single rows, and rejected cells, may leave for MLflow
    smallest_cell: SmallestCell
    files: Files

    def sending(self, folder: Path, policy: PromotionPolicy = _NO_TABLE) -> Callable[[], Tracked]:
        """Return what tracks a finished run folder, here or in another process; raises as `send`."""
        return partial(send, RunFolder(folder), policy, share_rows=self.share_rows, seconds=self.tracking_seconds)

    def send(self, folder: Path, policy: PromotionPolicy = _NO_TABLE) -> Tracked:
        """Track a finished run folder; raises as the function does."""
        return self.sending(folder, policy)()


def _is_active(client: Any, run_id: str) -> bool:
    """Whether the store still has a run that a folder says it has."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- a second and a half, see `client_of`

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _send(
    client: Any, folder: RunFolder, run: Record, files: Mapping[Path, Path], *, uri: str, policy: PromotionPolicy
) -> Tracked:
    experiment = _experiment(client, run, uri)
    tags = {**run.tags, **_parent(folder, uri), _KEY: folder.sending()}
    run_id = client.create_run(experiment, _ms(run.started), tags, run_name=run.run_name).info.run_id
    version: dict[str, str] = {}
    try:
        _log(client, run_id, run)
        _log_files(client, run_id, folder, files)
        for child in run.children:
            _log_child(client, experiment, run_id, child)
        if run.model is not None:
            model_id = _log_model(client, experiment, run_id, run, run.model)
            version = asdict(register(client, run, run_id=run_id, model_id=model_id, policy=policy))
        client.set_terminated(run_id, "FINISHED", _ms(run.finished))
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    return Tracked(without_password(uri), run.experiment, run_id, **version, experiment_id=experiment)


def _finished(client: Any, folder: RunFolder, run: Record, *, uri: str) -> Tracked | None:
    """Take up a sending that was killed: what it had told all of is finished, what it had begun is closed.

    Returns
    -------
    Tracked or None
        None where the run has to be sent.
    """
    experiment = client.get_experiment_by_name(run.experiment)
    if experiment is None:
        return None
    number = str(experiment.experiment_id)
    for begun in client.search_runs([number], f"tags.`{_KEY}` = '{folder.sending()}'"):
        run_id = begun.info.run_id
        versions = client.search_model_versions(f"run_id = '{run_id}'")
        if versions or begun.info.status == "FINISHED":
            said = asdict(announce(client, versions[0])) if versions else {}
            client.set_terminated(run_id, "FINISHED", _ms(run.finished))
            return Tracked(without_password(uri), run.experiment, run_id, **said, experiment_id=number)
        for inner in (*client.search_runs([number], f"tags.`{PARENT}` = '{run_id}'"), begun):
            if inner.info.status == "RUNNING":
                client.set_terminated(inner.info.run_id, "KILLED")
    return None


def _parent(folder: RunFolder, uri: str) -> dict[str, str]:
    """Nest the run of a folder that stands inside of another run's, if that one is tracked in the same store."""
    around = RunFolder(folder.path.parent).tracked().get(without_password(uri))
    return {PARENT: around["run_id"]} if around else {}


def _experiment(client: Any, run: Record, uri: str) -> str:
    """Find or make the experiment of a run, with a view that shows what matters of it."""
    name, experiment = run.experiment, client.get_experiment_by_name(run.experiment)
    view = {f"{_VIEWS}{VIEW}": json.dumps({"selectedColumns": run.columns})} if run.columns else {}
    if experiment is None:
        about = f"Runs of {name.replace('/', ', ').replace('_', ' ')}. Each has its page, report.html, among its files."
        tags = {"mlflow.experimentKind": _KIND, "mlflow.note.content": about, **view}
        return str(client.create_experiment(name, artifact_location=artifact_root(uri, name), tags=tags))
    if experiment.lifecycle_stage == "deleted":
        raise TrackingFailed.deleted(without_password(uri), name, str(experiment.experiment_id))
    for key, value in view.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def _log(client: Any, run_id: str, run: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param  # noqa: PLC0415 -- as above

    metrics = [Metric(_named(name), float(value), _ms(run.finished), 0) for name, value in run.metrics.items()]
    params = [Param(_named(name), value[:_LONGEST_PARAMETER]) for name, value in run.params.items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    tables = {run.dataset: (run.source, run.digest, run.rows)}
    tables |= {f"{run.dataset}.{name}": joined for name, joined in run.joined.items()}
    inputs = []
    for name, (uri, digest, rows) in tables.items():
        source, profile = json.dumps({"uri": uri}), json.dumps({"num_rows": rows})
        dataset = Dataset(name, digest[:_DIGEST], "local", source, profile=profile)
        context = "training" if name == run.dataset else "joined"
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    client.log_inputs(run_id, inputs)


def _named(name: str) -> str:
    """A name as the store takes it: the marks that letters of some scripts carry are none of its characters."""
    return re.sub(r"[^\w./ :-]", "_", name)


def _in_words(folder: RunFolder, beside: RunFolder) -> dict[Path, Path]:
    """Write what counts rows on their way as it may be told, and say which file stands for which."""
    names, smallest = [name for name in FLOWS if folder.keeps(name)], smallest_cell(folder)
    beside.write(**{name: mask_few(folder.load(name), smallest) for name in names})
    return {folder.path / FILES[name]: beside.path / FILES[name] for name in names}


def _log_files(client: Any, run_id: str, folder: RunFolder, files: Mapping[Path, Path]) -> None:
    """Send files as parts of the folder; each may stand elsewhere."""
    if folder.keeps("rows"):
        with TemporaryDirectory() as temporary:
            RunFolder(Path(temporary)).write(digests=digests_of(folder.load("rows")))
            client.log_artifact(run_id, str(Path(temporary) / DIGESTS))
    for path, content in files.items():
        inside = path.relative_to(folder.path)
        client.log_artifact(run_id, str(content), None if len(inside.parts) == 1 else str(inside.parent))


def _log_child(client: Any, experiment: str, parent: str, child: Child) -> None:
    """Track a run inside of another, with one call for all that it logs."""
    from mlflow.entities import Metric, Param  # noqa: PLC0415 -- as above

    tags, end = {PARENT: parent, **child.tags}, _ms(child.finished)
    run_id = client.create_run(experiment, _ms(child.started), tags, run_name=child.name).info.run_id
    params = [Param(_named(name), value) for name, value in child.params.items()]
    metrics = [
        Metric(_named(name), float(value), end, step)
        for name, values in child.metrics.items()
        for step, value in enumerate(values)
    ]
    try:
        client.log_batch(run_id, metrics=metrics, params=params)
        client.set_terminated(run_id, child.status, end)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise


def _log_model(client: Any, experiment: str, run_id: str, run: Record, folder: Path) -> str:
    """Log the model as MLflow's own kind of entity, with the scores that it reached; return its number."""
    from mlflow.entities import LoggedModelOutput, Metric  # noqa: PLC0415 -- as above

    tags = {VERDICT: run.tags[VERDICT]}
    model = client.create_logged_model(
        experiment, name=folder.name, source_run_id=run_id, model_type=run.tags["model"], tags=tags
    )
    model_id = str(model.model_id)
    client.log_model_artifacts(model_id, str(folder))
    client.finalize_logged_model(model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    metrics = [
        Metric(_named(name), float(value), _ms(run.finished), 0, model_id=model_id, run_id=run_id)
        for name, value in run.model_metrics.items()
    ]
    client.log_batch(run_id, metrics=metrics)
    return model_id


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
