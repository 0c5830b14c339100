"""Which finished runs of a task are there, and what does each tell of itself?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hi_ml.app.errors import HiMlError, NotComparable, RunFolderInvalid
from hi_ml.app.launch import progress
from hi_ml.evaluation.comparison import Run
from hi_ml.tracking.folder import TOLD, RunFolder
from hi_ml.tracking.store import absent, client_of, without_password

_PAGE = 1000  # runs asked for at once
_SHORT = 8  # digits of a run's id that tell it from others


@dataclass(frozen=True)
class Entry:
    """A finished run, before its files are opened."""

    id: str  # of the MLflow run, or the path of a run folder
    name: str  # the model, and what tells the run from others of that name
    short: str
    digests: tuple[str, str]  # of the data and of the split
    folder: Path | None = None  # none where MLflow has the files


@dataclass(frozen=True)
class Found:
    """Runs to be compared."""

    runs: list[Run]  # newest first, or in the order in which they were asked for
    left_out: int = 0  # finished runs on other data or splits, and those that keep no predictions
    silent: int = 0
    tracked: bool = True  # whether MLflow was asked


def newest(experiment: str, uri: str) -> Found:
    """Find the newest run of an experiment and all that share its data and its split.

    Parameters
    ----------
    experiment : str
        ``<dataset>/<task>``.
    uri : str
        Of the store.

    Raises
    ------
    NotComparable
        If the store is absent or does not answer, or there are fewer than two such runs.
    """
    with _asking(uri) as client:
        every = _finished(client, experiment)
        same = [entry for entry in every if entry.digests == every[0].digests]
        runs, left_out = _opened(same, client), len(every) - len(same)
        if len(runs) < 2:  # noqa: PLR2004 -- a comparison needs two
            raise NotComparable.too_few(experiment, len(runs), left_out, _experiments(client))
    return Found(runs, left_out=left_out, silent=len(same) - len(runs))


def chosen(experiment: str, asked: Sequence[str], uri: str) -> Found:
    """Find runs by run folder, by id (or its first 8 digits or more), or by name (the newest of that name).

    Parameters
    ----------
    experiment : str
        ``<dataset>/<task>``.
    uri : str
        Of the store, which is not asked where all are folders.

    Raises
    ------
    NotComparable
        If one is not there or of another task, or fewer than two are left.
    RunFolderInvalid
        If a folder holds no finished run.
    """
    folders = {name: Path(name).resolve() for name in asked if Path(name).is_dir()}
    tracked = len(folders) < len(asked)
    with _asking(uri) if tracked else nullcontext() as client:
        every = _finished(client, experiment) if tracked else []
        entries = [
            _of_folder(folders[name]) if name in folders else _by_name(name, every, experiment) for name in asked
        ]
        runs = _opened(list(dict.fromkeys(entries)), client)
    for run in runs:
        if run.about["task"] != experiment.split("/")[1]:
            raise NotComparable.other_task(run.label, run.about["task"], experiment.split("/")[1])
    if len(runs) < 2:  # noqa: PLR2004 -- as above
        raise NotComparable.too_few(experiment, len(runs))
    return Found(runs, silent=len(set(entries)) - len(runs), tracked=tracked)


@contextmanager
def _asking(uri: str) -> Iterator[Any]:
    """Speak to a store that is there; what it cannot answer ends in a sentence."""
    shown = without_password(uri)
    if absent(uri):
        raise NotComparable.no_store(shown)
    try:
        with client_of(uri) as client:
            yield client
    except HiMlError:
        raise
    except Exception as error:  # whatever a server, a driver or a network raises
        raise NotComparable.unreachable(shown, without_password(str(error))) from error


def _finished(client: Any, experiment: str) -> list[Entry]:
    """List the finished runs of an experiment that were trained, newest first."""
    known = client.get_experiment_by_name(experiment)
    found: list[Entry] = []
    page = None
    while known is not None:
        runs = client.search_runs(
            [known.experiment_id], "attributes.status = 'FINISHED'", max_results=_PAGE,
            order_by=["attributes.start_time DESC"], page_token=page,
        )  # fmt: skip
        found += [_of_store(run) for run in runs if "split_sha256" in run.data.tags]  # not of searches and trials
        page = runs.token
        if not page:
            break
    return found


def _experiments(client: Any) -> list[str]:
    names = (experiment.name for experiment in client.search_experiments())
    return sorted(name for name in names if "/" in name and not name.endswith("/findings"))


def _of_store(run: Any) -> Entry:
    tags, name = run.data.tags, str(run.info.run_name)
    return Entry(run.info.run_id, name, run.info.run_id[:_SHORT], (tags["data_sha256"], tags["split_sha256"]))


def _of_folder(path: Path) -> Entry:
    found = RunFolder(path).read()
    if "verdict" not in found:  # of the findings, or of a search
        raise RunFolderInvalid.of(path, "verdict")
    digests = (found["data"]["sha256"], found["run"]["split_sha256"])
    return Entry(str(path), found["run"]["model"], path.parent.name, digests, path)


def _by_name(asked: str, every: Sequence[Entry], experiment: str) -> Entry:
    for entry in every:
        prefix = len(asked) >= _SHORT and entry.id.startswith(asked)
        if asked == entry.name or prefix:
            return entry
    raise NotComparable.unknown_run(asked, experiment, list(dict.fromkeys(entry.name for entry in every)))


def _opened(entries: Sequence[Entry], client: Any) -> list[Run]:
    """Read the files of each run; one that keeps no predictions is passed over."""
    with progress(len(entries)) as stage, TemporaryDirectory() as place:
        runs = []
        for entry, label in zip(entries, _labels(entries), strict=True):
            stage(f"read {label}")
            folder = entry.folder or _downloaded(entry, Path(place) / entry.id, client)
            if folder is not None:
                runs.append(_run(entry, label, RunFolder(folder)))
    return runs


def _labels(entries: Sequence[Entry]) -> list[str]:
    """Name each run by its model, and where that is not enough, by its number too."""
    labels = [entry.name for entry in entries]
    for more in ("short", "id"):
        count = Counter(labels)
        labels = [
            label if count[label] == 1 else f"{entry.name} {getattr(entry, more)}"
            for label, entry in zip(labels, entries, strict=True)
        ]
    return labels


def _downloaded(entry: Entry, place: Path, client: Any) -> Path | None:
    kept = {file.path for file in client.list_artifacts(entry.id)}
    if not kept.issuperset(TOLD):
        return None
    place.mkdir()
    for name in TOLD:
        client.download_artifacts(entry.id, name, str(place))
    return place


def _run(entry: Entry, label: str, folder: RunFolder) -> Run:
    found = folder.read()
    return Run(
        label=label,
        id=entry.id,
        about=found["run"] | {"data_sha256": found["data"]["sha256"]},
        verdict=found["verdict"],
        config=found["config"],
        scores=found["scores"],
        predictions=folder.predictions(),
    )
