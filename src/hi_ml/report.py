"""python -m hi_ml.report run=<folder or MLflow id>: writes the page of a trained model, anew or with more stated."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files
from hi_ml.app.errors import RunFolderInvalid
from hi_ml.app.files import atomic_folder
from hi_ml.reports import model
from hi_ml.tracking.door import refuse_strange
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.history import fetch
from hi_ml.tracking.store import store_uri


@dataclass(frozen=True, config=STRICT)
class ReportSettings:
    """The keys of ``conf/report.yaml``."""

    run: Annotated[str | None, BeforeValidator(lambda run: None if run is None else str(run))]  # a folder, or an id
    files: Files
    report: dict[str, str | None]  # what a person says to items of TRIPOD+AI


def report(settings: ReportSettings, here: launch.Invocation) -> None:
    """Write the page of a run into a folder of its own; the run stays as it is.

    Raises
    ------
    RunFolderInvalid
        If there is no such run, or it is not that of a trained task.
    """
    if settings.run is None:
        raise RunFolderInvalid.of(Path("run=<folder>"), "folder")
    with TemporaryDirectory() as downloads, atomic_folder(here.folder) as work:
        path = Path(settings.run)
        source = RunFolder(path.resolve() if path.is_dir() else fetch(settings.run, store_uri(), Path(downloads)))
        refuse_strange(source)
        model.write(source, RunFolder(work), settings.report)
    print(here.folder / "report.html")


main = launch.command(report)

if __name__ == "__main__":
    main()
