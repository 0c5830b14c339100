"""python -m hi_ml.report run=<folder or MLflow id>, or runs=<task>: writes the page of a model, or of all of a task."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files, Seconds
from hi_ml.app.errors import NotComparable, RunFolderInvalid
from hi_ml.app.files import atomic_folder
from hi_ml.evaluation.comparison import compare_runs
from hi_ml.reports import comparison, model
from hi_ml.tracking import history
from hi_ml.tracking.door import refuse_strange
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.store import store_uri


@dataclass(frozen=True, config=STRICT)
class ReportSettings:
    """The keys of ``conf/report.yaml``."""

    run: Annotated[str | None, BeforeValidator(lambda run: None if run is None else str(run))]  # a folder, or an id
    runs: str | None  # a task, or <dataset>/<task>
    tracking_seconds: Seconds  # that a server may take
    files: Files
    report: dict[str, str | None]  # what a person says to items of TRIPOD+AI


def report(settings: ReportSettings, here: launch.Invocation) -> None:
    """Write the page of a run, or of all runs of a task, into a folder of its own; the runs stay as they are.

    Raises
    ------
    RunFolderInvalid
        If there is no such run, or it is not that of a trained task.
    NotComparable
        If the store is absent or does not answer, or has no such task.
    """
    if settings.run is None and settings.runs is None:
        raise RunFolderInvalid.absent(None)
    with TemporaryDirectory() as downloads, atomic_folder(here.folder) as work:
        if settings.runs is not None:
            _of_task(settings.runs, RunFolder(work), here, settings.tracking_seconds)
        else:
            _of_run(str(settings.run), RunFolder(work), Path(downloads), settings.report)
    print(here.folder / "report.html")


def _of_run(run: str, folder: RunFolder, downloads: Path, stated: dict[str, str | None]) -> None:
    path = Path(run)
    if not path.is_dir() and path.name != run:  # a path, and no number of MLflow's
        raise RunFolderInvalid.absent(run)
    source = RunFolder(path.resolve() if path.is_dir() else history.fetch(run, store_uri(), downloads))
    refuse_strange(source)
    model.write(source, folder, stated)


def _of_task(task: str, folder: RunFolder, here: launch.Invocation, seconds: float | None) -> None:
    uri = store_uri()
    experiment = history.experiment_of(task, uri, seconds)
    listed, paired, why, picture = history.finished(experiment, uri, seconds), None, "", None
    try:
        selection = history.select(experiment, uri, names=None, here=here, seconds=seconds)
        paired = compare_runs(selection.runs)
        folder.write(differences=paired.differences)
        picture = comparison.draw(paired, folder, len(selection.runs[0].predictions))
    except NotComparable as error:
        why = f"No two runs can be paired. {str(error).splitlines()[0]}"
    title = (
        f"Models of {experiment.partition('/')[2].replace('_', ' ')} on {experiment.partition('/')[0]}, side by side"
    )
    summary = comparison.summarize_listed(listed, title=title, comparison=paired, why=why)
    comparison.write_page(summary, folder, picture)


main = launch.command(report)

if __name__ == "__main__":
    main()
