"""python -m hi_ml.compare task=billing: a table of runs on the same rows, with paired differences."""

import time
from typing import Annotated, Any

import pandas as pd
from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.comparison import Comparison, compare_runs
from hi_ml.modeling.tasks import Task
from hi_ml.reports import comparison, page
from hi_ml.reports.charts.style import save
from hi_ml.reports.provenance import provenance
from hi_ml.tracking import history
from hi_ml.tracking.folder import RunFolder, atomic_folder
from hi_ml.tracking.store import command_to_open, store_uri

_MOST_LINES = 20  # of differences and of settings on the screen; the files have all
_MOST_COLUMNS = 3  # of settings, likewise
_LONGEST = 32  # letters of a setting, likewise
_CHART = "differences"
_Id = Annotated[str, BeforeValidator(str)]  # an id of digits alone arrives as a number


@dataclass(frozen=True, config=STRICT)
class CompareSettings:
    """The keys of ``conf/compare.yaml``."""

    dataset: Dataset  # its name tells which experiment is meant; the table is not read
    tasks: dict[str, Task]  # one
    runs: list[_Id] | None  # ids, names or run folders; None: the newest and all that share its data and split digests


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
    selection = history.select(experiment, store_uri(), names=settings.runs)
    result = compare_runs(selection.runs)
    facts = _facts(selection, result)
    summary = comparison.summarize(result, title=f"Runs of {task} on {facts['dataset']}", facts=facts)
    with atomic_folder(here.folder) as work:
        folder = RunFolder(work)
        folder.write_request(here.config, here.overrides)
        folder.write_comparison(result.differences, result.runs, result.configuration)
        figure, table = comparison.drawn(result, facts["test_rows"])
        picture, _ = save(figure, table, folder.charts / _CHART)
        folder.write_report(page.render(summary, {_CHART: [(comparison.SHOWS, picture)]}, template=page.COMPARISON))
        folder.write_about(provenance(here, facts, started=started))
    _say(summary, selection, here)


def _facts(selection: history.Selection, result: Comparison) -> dict[str, Any]:
    first = selection.runs[0]
    return {
        **{name: first.about[name] for name in ("dataset", "task")},
        "test_rows": len(first.predictions),
        "groups": result.groups,
        "runs": len(selection.runs),
        **{name: first.about[name] for name in ("data_sha256", "split_sha256")},
    }


def _say(summary: dict[str, Any], selection: history.Selection, here: launch.Invocation) -> None:
    print(f"\n{summary['title']}")
    if selection.elsewhere:
        print(f"{selection.elsewhere} others left out: they have another data or split digest.")
    if selection.silent:
        print(f"{selection.silent} others left out: they keep no predictions.")
    table = pd.DataFrame(summary["runs"]).drop(columns="run_id").rename(columns={"interval": "95 % interval"})
    print(f"\n{table.to_string(index=False)}")
    scores = summary["scores"]
    if sum(len(score["rows"]) for score in scores) > _MOST_LINES:
        scores = scores[:1]
    for score in scores:
        print(f"\n{score['name']}, {score['unit']}, {score['better']} is better: run less {summary['best']}")
        lines = pd.DataFrame(score["rows"]).rename(columns={"interval": "95 % interval", "p_holm": "p adjusted"})
        print(lines.to_string(index=False))
    for sentence in [summary["lead"], *summary["notes"]]:
        print(f"\n{sentence}")
    _say_settings(summary["configuration"])
    print(f"\nRun folder: {here.folder}")
    if selection.tracked:
        print(f"\n{command_to_open(store_uri())}")


def _say_settings(configuration: dict[str, Any]) -> None:
    rows = configuration["rows"]
    if not rows:
        print("\nAll settings are the same.")
        return
    print("\nSettings that differ (all of them, with their values, in configuration.csv):")
    table = pd.DataFrame(rows[:_MOST_LINES], columns=["key", *configuration["runs"]])
    if len(configuration["runs"]) > _MOST_COLUMNS:
        print("\n".join(table["key"]))
    else:
        print(table.set_index("key").map(_shortened).reset_index().to_string(index=False))
    if len(rows) > _MOST_LINES:
        print(f"and {len(rows) - _MOST_LINES} more")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


main = launch.command(compare)

if __name__ == "__main__":
    main()
