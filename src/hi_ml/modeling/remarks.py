"""What must be said of the rows and columns that a task has, and of those that it lost."""

from collections.abc import Iterable, Iterator

import pandas as pd

from hi_ml.app.text import counted, number, percent
from hi_ml.data.read import Admissions
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.disclosure import few_in_words

_NAMED = 8  # columns that a sentence names


def of_units(admissions: Admissions, roles: Iterable[str], rows: pd.DataFrame) -> Iterator[str]:
    """Say of the joined columns that belong to a hospital, or another unit, how many of these tell what they do."""
    for role in dict.fromkeys(roles):
        unit = admissions.dataset.level_of(role)
        if unit is not None:
            count = rows.loc[rows[role].notna(), unit if unit in rows else role].nunique()
            yield f"{role} belongs to the {unit}: {count:,} of them tell what it does, not {len(rows):,} admissions."


def set_aside(admissions: Admissions, task: Task, kept: pd.Series, smallest_cell: int) -> Iterator[str]:
    """Say which rule took how many rows that could not be read or believed, and how their target differs."""
    if admissions.rejected.empty:
        return
    cells = admissions.rejected
    rules = (cells["column"] + " " + cells["rule"]).str.strip().value_counts()  # a cell breaks a rule once
    took = [f"{rule} {counted(few_in_words(count, smallest_cell))}" for rule, count in rules.items()]
    more = f" and {len(took) - _NAMED} more" if len(took) > _NAMED else ""
    aside_rows, read = admissions.counts["rows_rejected"], admissions.counts["rows_read"]
    rows = counted(few_in_words(aside_rows, smallest_cell))
    share = f" of {read:,}" if aside_rows >= smallest_cell else ""
    aside = admissions.aside[task.target].dropna() if task.target in admissions.aside else kept[:0]
    differ = "; their target is not known"
    if len(aside) >= max(smallest_cell, 1):
        differ = f"; {_compared(task, kept, aside, smallest_cell)} (of {len(aside):,} rows where it can be read)"
    elif len(aside):
        differ = f"; fewer than {smallest_cell} have a target, too few to say how they differ"
    yield f"Set aside: {rows}{share} rows ({', '.join(took[:_NAMED])}{more}){differ}."


def _compared(task: Task, kept: pd.Series, aside: pd.Series, smallest_cell: int) -> str:
    """The mean of a target among the rows that are kept and those set aside; of labels, the one that differs most."""
    if task.kind == "regression":
        return f"mean {task.target} {number(kept.mean())} {task.unit} kept, {number(aside.mean())} set aside"
    shares = {
        label: (float((kept == label).mean()), float((aside == label).mean()))
        for label in kept.unique()
        for having in [int((aside == label).sum())]
        if not {having, len(aside) - having}.intersection(range(1, smallest_cell))
    }
    if not shares:
        return "too few of each label to say how they differ"
    label, (here, there) = max(shares.items(), key=lambda one: abs(one[1][0] - one[1][1]))
    return f"{label} {percent(here)} % kept, {percent(there)} % set aside"


def left_by_the_cut(counts: dict[str, int], rows: int, smallest_cell: int) -> Iterator[str]:
    """Say how many rows a split on the date leaves out, and why."""
    if counts:
        listed = ", ".join(f"{counted(few_in_words(count, smallest_cell))} {why}" for why, count in counts.items())
        total = counted(few_in_words(sum(counts.values()), smallest_cell))
        yield f"split=temporal leaves out {total} of {rows:,} rows: {listed}."


def names_left_out(left_out: dict[str, str]) -> Iterator[str]:
    """Name the columns that are no features though nobody refused them, in a sentence for each reason."""
    for reason in dict.fromkeys(left_out.values()):
        roles = [role for role, why in left_out.items() if why == reason]
        more = f" and {len(roles) - _NAMED} more (data.json)" if len(roles) > _NAMED else ""
        yield f"Left out: {', '.join(roles[:_NAMED])}{more}: {reason}."
