"""python -m hi_ml.compare task=billing: a table of runs on the same rows, with paired differences."""

import time
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files, Seconds
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.files import atomic_folder
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.comparison import Comparison, compare_runs
from hi_ml.modeling.tasks import Task
from hi_ml.reports import comparison
from hi_ml.reports.provenance import provenance
from hi_ml.reports.screen import where
from hi_ml.tracking import history
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.store import how_to_look, store_uri

_Id = Annotated[str, BeforeValidator(str)]  # an id of digits alone arrives as a number


@dataclass(frozen=True, config=STRICT)
class CompareSettings:
    """The keys of ``conf/compare.yaml``."""

    dataset: Dataset  # its name tells which experiment is meant; the table is not read
    tasks: dict[str, Task]  # one
    tracking_seconds: Seconds  # that a server may take
    runs: list[_Id] | None  # ids, names or run folders; None: the newest that share their data and split
    files: Files


def compare(settings: CompareSettings, here: launch.Invocation) -> None:
    """Compare the runs of one task that were made on the same rows.

    Raises
    ------
    NotComparable
        If there are fewer than two runs, or some are on other data or another split.
    """
    if len(settings.tasks) != 1:
        raise ConfigurationInvalid.one_task("compare", list(settings.tasks))
    started, (task,) = time.time(), settings.tasks
    experiment = f"{settings.dataset.name}/{task}"
    seconds = settings.tracking_seconds
    selection = history.select(experiment, store_uri(), names=settings.runs, here=here, seconds=seconds)
    result = compare_runs(selection.runs)
    facts = _facts(selection, result)
    summary = comparison.summarize(
        result, title=f"Runs of {settings.tasks[task].title} on {facts['dataset']}", facts=facts
    )
    with atomic_folder(here.folder) as work:
        comparison.write(result, summary, RunFolder(work), here=here, about=provenance(here, facts, started=started))
    print(comparison.screen(summary, elsewhere=selection.elsewhere, silent=selection.silent))
    print(f"\n{where(here.folder)}")
    if selection.tracked:
        print(f"\n{how_to_look(store_uri())}")


def _facts(selection: history.Selection, result: Comparison) -> dict[str, Any]:
    first = selection.runs[0]
    return {
        **{name: first.about[name] for name in ("dataset", "task")},
        "test_rows": len(first.predictions),
        "groups": result.groups,
        "runs": len(selection.runs),
        **{name: first.about[name] for name in ("data_sha256", "split_sha256")},
    }


main = launch.command(compare)

if __name__ == "__main__":
    main()
