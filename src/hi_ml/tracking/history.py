"""Which finished runs of a task are there, and what does each tell of itself?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hi_ml.app.called import key, printed, words_for
from hi_ml.app.errors import HiMlError, NotComparable, RunFolderInvalid, quoted
from hi_ml.app.launch import Invocation, progress
from hi_ml.app.passwords import without_password
from hi_ml.evaluation.comparison import Run
from hi_ml.tracking.folder import NEEDED, RunFolder
from hi_ml.tracking.record import DATA_DIGEST, SPLIT_DIGEST, VERDICT
from hi_ml.tracking.site import home_of
from hi_ml.tracking.store import PATIENCE, client_of, is_absent

_SHORT = 8  # digits of a run's id that tell it from others


@dataclass(frozen=True)
class Candidate:
    """A finished run, before its files are opened."""

    id: str  # of the MLflow run, or the path of a run folder
    name: str  # the model
    short: str  # what tells the run from others of that name
    digests: tuple[str, str]  # of the data and of the split
    folder: Path | None = None  # none where MLflow has the files


@dataclass(frozen=True)
class Listed:
    """What the store says of a finished run, wherever its files are."""

    id: str
    name: str
    verdict: str
    reason: str
    score: str  # the primary one
    value: float
    low: float  # NaN where there is no interval
    high: float
    baseline: float
    skill: float


@dataclass(frozen=True)
class Selection:
    """Runs to be compared."""

    runs: list[Run]  # newest first, or in the order in which they were asked for
    elsewhere: int = 0  # finished runs that are left out, since they are on other data or splits
    silent: int = 0  # runs that are left out, since their predictions are not here
    tracked: bool = True  # whether MLflow was asked


def select(
    experiment: str, uri: str, *, names: Sequence[str] | None, here: Invocation, seconds: float | None = PATIENCE
) -> Selection:
    """Select the runs that are to be compared.

    Parameters
    ----------
    experiment : str
        ``<dataset>/<task>``.
    uri : str
        Of the store, which is not asked where all names are folders.
    names : sequence of str or None
        Run folders, ids (or the first 8 digits or more), or names (the newest run of that name); None takes the
        newest runs that share their data and their split.
    here : Invocation
        Of the comparison, for the command that trains what it lacks.
    seconds : float, optional
        That a server may take.

    Raises
    ------
    NotComparable
        If the store is absent or does not answer, a run is not there or of another task, or fewer than two are left.
    RunFolderInvalid
        If a folder holds no finished run.
    """
    return _named(experiment, uri, names, here, seconds) if names else _newest(experiment, uri, here, seconds)


def fetch(run_id: str, uri: str, downloads: Path, seconds: float | None = PATIENCE) -> Path:
    """Fetch what MLflow has of a run but its model and rows, and return the folder.

    Raises
    ------
    NotComparable
        If the store is absent or does not answer, or has no such run.
    """
    folder = downloads / run_id
    with _client(uri, seconds) as client:
        for file in client.list_artifacts(run_id):
            if file.path != "model" and not file.path.endswith(".parquet"):
                folder.mkdir(exist_ok=True)
                client.download_artifacts(run_id, file.path, str(folder))
    return folder


def experiment_of(task: str, uri: str, seconds: float | None = PATIENCE) -> str:
    """Find the experiment of a task: ``<dataset>/<task>``, or the task alone where one dataset has it.

    Raises
    ------
    NotComparable
        If the store is absent or does not answer, or no experiment, or several, are of that task.
    """
    dataset, _, name = task.rpartition("/")
    train = printed("train", *(words_for(dataset) if dataset else []), f"task={name}")
    with _client(uri, seconds, train) as client:
        known = _experiments(client)
    found = [name for name in known if task in (name, name.partition("/")[2])]
    if len(found) != 1:
        raise NotComparable.unknown_task(task, found or known)
    return found[0]


def finished(experiment: str, uri: str, seconds: float | None = PATIENCE) -> list[Listed]:
    """List the finished runs of an experiment that were trained, newest first; raises as `select`."""
    with _client(uri, seconds) as client:
        return [_listed(run) for run in _trained(client, experiment)]


def _listed(run: Any) -> Listed:
    metrics, tags = run.data.metrics, run.data.tags
    score = next((name.removeprefix("baseline_") for name in metrics if name.startswith("baseline_")), "")
    names = {"value": f"test_{score}", "low": f"test_{score}_low", "high": f"test_{score}_high"}
    names |= {"baseline": f"baseline_{score}", "skill": "skill"}
    numbers = {name: float(metrics.get(metric, "nan")) for name, metric in names.items()}
    verdict, reason = tags.get(VERDICT, "inconclusive"), tags.get(f"{VERDICT}_reason", "")
    return Listed(run.info.run_id, str(run.info.run_name), verdict, reason, score, **numbers)


def _newest(experiment: str, uri: str, here: Invocation, seconds: float | None) -> Selection:
    """Open the newest runs that share data and split with another; the first of all where none does."""
    with _client(uri, seconds, here.another("train", f"task={experiment.split('/')[1]}")) as client:
        candidates = _candidates(client, experiment)
        groups: dict[tuple[str, str], list[Candidate]] = {}
        for one in candidates:
            groups.setdefault(one.digests, []).append(one)
        alone: list[Run] = []
        for same in groups.values():
            if len(same) > 1 or not alone:
                runs = _open(same, client)
                if len(runs) > 1:
                    return Selection(runs, elsewhere=len(candidates) - len(same), silent=len(same) - len(runs))
                alone = alone or runs
        listed = {digests: [one.name for one in same] for digests, same in groups.items()}
        command = _command_to_train(experiment, alone[0] if alone else None, here)
        raise NotComparable.too_few(experiment, command, listed, _experiments(client))


def _command_to_train(experiment: str, run: Run | None, here: Invocation) -> str:
    """Return the command that trains another model on the rows of a run, or the first one."""
    of, _, task = experiment.partition("/")
    asked = {key(word) for word in here.overrides}
    named = [] if "dataset" in asked else words_for(of)[:1]  # which `report` takes from the name of the experiment
    if run is None:
        return here.another("train", *named, "model=linear", f"task={task}")
    dataset, source = run.config["dataset"], run.about["source"]
    if dataset["source"] is not None and "dataset.source" not in asked:
        named.append(f"dataset.source={quoted(source)}")
    model = "linear" if run.about["model"] != "linear" else "lgbm"
    split, seed = run.config["split"]["name"], run.config["seed"]
    return here.another("train", *named, f"model={model}", f"task={task}", f"split={split}", f"seed={seed}")


def _named(experiment: str, uri: str, names: Sequence[str], here: Invocation, seconds: float | None) -> Selection:
    paths = {name: Path(name).expanduser() for name in names}
    folders = {name: path.resolve() for name, path in paths.items() if path.is_dir()}
    tracked = len(folders) < len(names)
    task = experiment.split("/")[1]
    with _client(uri, seconds, here.another("train", f"task={task}")) if tracked else nullcontext() as client:
        every = _candidates(client, experiment) if tracked else []
        chosen = dict.fromkeys(
            _in_folder(folders[name]) if name in folders else _by_name(name, every, experiment) for name in names
        )
        runs = _open(list(chosen), client)
    for run in runs:
        if run.about["task"] != task:
            raise NotComparable.other_task(run.label, run.about["task"], task)
    if len(runs) < 2:  # noqa: PLR2004 -- a comparison needs two
        listed = {run.about[DATA_DIGEST]: [run.label] for run in runs}
        raise NotComparable.too_few(experiment, _command_to_train(experiment, runs[0] if runs else None, here), listed)
    return Selection(runs, silent=len(chosen) - len(runs), tracked=tracked)


@contextmanager
def _client(uri: str, seconds: float | None, *command: str) -> Iterator[Any]:
    """Speak to a store that is there; what it cannot answer ends in a sentence."""
    public_uri = without_password(uri)
    if is_absent(uri):
        raise NotComparable.no_store(public_uri, *command)
    try:
        with client_of(uri, seconds) as client:
            yield client
    except HiMlError:
        raise
    except Exception as error:  # whatever a server, a driver or a network raises
        raise NotComparable.unreachable(public_uri, without_password(str(error))) from error


def _candidates(client: Any, experiment: str) -> list[Candidate]:
    return [_in_store(run) for run in _trained(client, experiment)]


def _trained(client: Any, experiment: str) -> list[Any]:
    """Return the finished runs of an experiment that were trained, newest first."""
    import mlflow  # noqa: PLC0415 -- a second and a half, see `client_of`, to whose store this speaks

    entity = client.get_experiment_by_name(experiment)
    if entity is None:
        return []
    runs: list[Any] = mlflow.search_runs(
        [entity.experiment_id], "attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"], output_format="list",
    )  # fmt: skip
    return [run for run in runs if SPLIT_DIGEST in run.data.tags]  # not of searches and trials


def _experiments(client: Any) -> list[str]:
    names = (experiment.name for experiment in client.search_experiments())
    return sorted(name for name in names if "/" in name and not name.endswith("/findings"))


def _in_store(run: Any) -> Candidate:
    tags, run_id = run.data.tags, run.info.run_id
    return Candidate(
        run_id, tags.get("model", str(run.info.run_name)), run_id[:_SHORT], (tags[DATA_DIGEST], tags[SPLIT_DIGEST])
    )


def _in_folder(path: Path) -> Candidate:
    files = RunFolder(path).read()
    if "verdict" not in files:  # of the findings, or of a search
        raise RunFolderInvalid.of(path, "verdict")
    try:
        digests, _ = (files["data"]["sha256"], files["run"][SPLIT_DIGEST]), files["run"]["task"]
        return Candidate(str(path), files["run"]["model"], path.parent.name, digests, path)
    except (KeyError, TypeError) as error:
        raise RunFolderInvalid.of(path, f"whole account of itself ({type(error).__name__}: {error})") from error


def _by_name(name: str, candidates: Sequence[Candidate], experiment: str) -> Candidate:
    for one in candidates:
        if name == one.name or (len(name) >= _SHORT and one.id.startswith(name)):
            return one
    raise NotComparable.unknown_run(name, experiment, list(dict.fromkeys(one.name for one in candidates)))


def _open(candidates: Sequence[Candidate], client: Any) -> list[Run]:
    """Read the files of each run, at home first; one whose predictions are not here is passed over."""
    runs = []
    with progress(len(candidates)) as stage, TemporaryDirectory() as downloads:
        for one, label in zip(candidates, _labels(candidates), strict=True):
            stage(f"read {label}")
            folder = one.folder or _at_home(one.id) or _download(one.id, Path(downloads), client)
            if folder is not None:
                runs.append(_run(one, label, RunFolder(folder)))
    return runs


def _labels(candidates: Sequence[Candidate]) -> list[str]:
    """Name each run by its model, and where that is not enough, by its number too."""
    labels = [one.name for one in candidates]
    for more in ("short", "id"):
        count = Counter(labels)
        labels = [
            label if count[label] == 1 else f"{one.name} {getattr(one, more)}"
            for label, one in zip(labels, candidates, strict=True)
        ]
    return labels


def _at_home(run_id: str) -> Path | None:
    """Find the folder that a run was sent from, unless it is gone or another run's by now."""
    folder = home_of(run_id)
    if folder is None or not all((folder / name).is_file() for name in NEEDED):
        return None
    tracked = RunFolder(folder).tracked().values()
    return folder if run_id in (one["run_id"] for one in tracked) else None


def _download(run_id: str, downloads: Path, client: Any) -> Path | None:
    artifacts = {file.path for file in client.list_artifacts(run_id)}
    if not artifacts.issuperset(NEEDED):
        return None
    folder = downloads / run_id
    folder.mkdir()
    for name in NEEDED:
        client.download_artifacts(run_id, name, str(folder))
    return folder


def _run(candidate: Candidate, label: str, folder: RunFolder) -> Run:
    files = folder.read()
    return Run(
        label=label,
        id=candidate.id,
        about=files["run"] | {DATA_DIGEST: files["data"]["sha256"]},
        verdict=files["verdict"],
        config=files["config"],
        scores=files["scores"],
        predictions=folder.load("predictions"),
    )
