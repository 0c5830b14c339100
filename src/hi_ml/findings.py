"""python -m hi_ml.findings: states the claims people make about admissions, tests them, and reports."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.app.errors import command_to_track
from hi_ml.app.files import atomic_folder
from hi_ml.claims.aggregates import admissions_in
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.claims.distinct import DistinctAdmissions, one_row_each
from hi_ml.claims.remote import ready_remote
from hi_ml.claims.verdicts import difference
from hi_ml.data.read import Admissions, read
from hi_ml.data.sources.spark import Settings
from hi_ml.data.sql.engine import EngineName, open_engine
from hi_ml.data.sql.table import SqlTable, open_table
from hi_ml.modeling.features import holders
from hi_ml.reports.findings import FindingsRun, in_short, write
from hi_ml.reports.screen import wrapped
from hi_ml.tracking.folder import OF_OTHER_STEPS, RunFolder, keep_rejected
from hi_ml.tracking.send import RunSettings
from hi_ml.tracking.store import how_to_look, store_uri


@dataclass(frozen=True, config=STRICT)
class FindingsSettings(RunSettings):
    """The keys of ``conf/findings.yaml``."""

    findings: dict[str, Any]  # settings by claim
    engine: EngineName  # who adds the rows up: local, in memory; sql or spark, where they lie
    spark: Settings  # where none runs yet
    keep_duplicates: bool  # to show what would have been claimed; never a result


def findings(settings: FindingsSettings, here: launch.Invocation) -> None:
    """State and test the claims on one table.

    Raises
    ------
    HiMlError
        If the table cannot be read, or the run cannot be tracked; then its folder stands.
    """
    started = time.time()
    by_claim = settings_of(settings.findings)
    admissions, ready_as = _read(settings, partial(keep_rejected, here.folder))
    prepare = partial(ready_as, seed=settings.seed, smallest_cell=settings.smallest_cell)
    distinct = prepare(keep_duplicates=settings.keep_duplicates)
    stated = state(distinct, by_claim)
    with_copies = None
    if distinct.copies:
        every = prepare(keep_duplicates=True)
        with_copies = difference(stated, state(every, by_claim))
    words = admissions.private_words()
    kept, smallest = settings.keep_duplicates, settings.smallest_cell
    n, copies = admissions_in(distinct.take()), distinct.copies
    result = FindingsRun(stated, with_copies, admissions, n, copies, settings.seed, kept, smallest)
    with atomic_folder(here.folder, ours=OF_OTHER_STEPS) as work:
        write(result, RunFolder(work), here=here, words=words, started=started)
    _say(result, here)
    if settings.tracking == "none":
        print(command_to_track(here.folder))
        return
    print(how_to_look(store_uri(), settings.send(here.folder).experiment_id))


def _read(
    settings: FindingsSettings, keep: Callable[[pd.DataFrame], Path]
) -> tuple[Admissions | SqlTable, Callable[..., DistinctAdmissions]]:
    """Read the table, or ask what must be known of it, and say how it is made ready."""
    if settings.engine == "local":
        admissions = read(settings.dataset, keep)
        return admissions, partial(ready, admissions)
    engine = open_engine(settings.engine, settings.dataset, settings.spark)
    table = open_table(engine, settings.dataset, keep)
    return table, partial(ready_remote, table)


def ready(admissions: Admissions, *, seed: int, keep_duplicates: bool, smallest_cell: int = 5) -> DistinctAdmissions:
    """Make a table that was read ready for inference: one row per admission, or every row.

    Levels of too few patients are missing, but those of organisations, of which charts show the large.
    """
    rows, table = admissions.by_content, admissions.table.assign(**_without_few(admissions, smallest_cell))
    levels = ((role, admissions.dataset.level_of(role)) for role in admissions.dataset.joined_roles())
    return one_row_each(
        table.assign(**admissions.coded).take(rows).reset_index(drop=True),
        admissions.twins.group[rows],
        declarations=admissions.dataset.declarations,
        levels={role: unit for role, unit in levels if unit is not None},
        units_of_columns={"length_of_stay": "days"}
        | {role: one.unit for role, one in admissions.dataset.present().items()},
        seed=seed,
        keep_duplicates=keep_duplicates,
    )


def _without_few(admissions: Admissions, smallest: int) -> dict[str, pd.Series]:
    columns = {}
    for role, values in admissions.table.select_dtypes("category").items():
        column = admissions.dataset.columns.get(str(role))
        if column is None or not column.organisations:
            codes, levels = np.asarray(values.cat.codes, dtype=np.float64), values.cat.categories
            few = holders(codes, admissions.group, count=len(levels)) < smallest
            columns[str(role)] = values.where(~values.isin(levels[few]))
    return columns


def _say(stated: FindingsRun, here: launch.Invocation) -> None:
    for finding in stated.findings:
        verdict = finding.verdict.replace("_", " ") + finding.as_far
        print(f"\n{wrapped(finding.claim)}\n  {verdict.upper()}")
        for sentence in finding.sentences:
            print(wrapped(f"  {sentence}"))
    if stated.with_copies:
        print(f"\n{wrapped(stated.with_copies)}")
    if isinstance(stated.admissions, SqlTable):
        print(f"\nValues that can be read in two ways are not looked for by engine={stated.admissions.engine}.")
    print(f"\n{in_short(stated.findings)}\n\nRun folder: {here.folder} (its page: report.html)\n")


main = launch.command(findings)

if __name__ == "__main__":
    main()
