"""What does the table of a task hold: how many admissions a month, of which ages, and what is missing?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.modeling.problem import Problem
from hi_ml.statistics.disclosure import Disclosure, withheld

MONTH, AGE, MISSING = "admissions a month", "age in years", "missing values"
_DECADE = 10  # years
_MOST_MONTHS = 120  # more are counted by year
Counted = tuple[str, str, int, float]


def measure(run: FittedRun, _: object = None) -> pd.DataFrame:
    """Count the rows of the task, of all parts.

    Returns
    -------
    DataFrame
        ``part`` (admissions a month, age, missing values), ``label`` (a month, or a year where there are many; a decade
        of age; a column), ``n`` (rows), ``share`` of all rows. Nothing of a cell of too few patients.
    """
    return pd.DataFrame(_lines(run.problem), columns=["part", "label", "n", "share"])


def _lines(problem: Problem) -> Iterator[Counted]:
    table, rule = problem.table, Disclosure(problem.group, problem.smallest_cell)
    if "admitted_on" in table and is_datetime64_any_dtype(table["admitted_on"]):
        months = table["admitted_on"].dt.to_period("M")
        many = months.nunique() > _MOST_MONTHS
        yield from _counted(MONTH, months.dt.year if many else months, rule)
    if "age" in table and is_numeric_dtype(table["age"]):
        decades = table["age"].astype(float) // _DECADE * _DECADE
        for part, label, n, share in _counted(AGE, decades, rule):
            yield part, f"{float(label):g} to {float(label) + _DECADE - 1:g}", n, share
    for role in table:
        missing = table[role].isna().to_numpy()
        if not rule.tells(missing) and not rule.tells(~missing):
            yield MISSING, str(role), int(missing.sum()), float(missing.mean())


def _counted(part: str, values: "pd.Series[Any]", rule: Disclosure) -> Iterator[Counted]:
    codes, names = pd.factorize(values, sort=True)
    out = withheld(rule.sizes(codes, len(names)), rule.smallest)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    for name, n, hidden in zip(names, counts, out, strict=True):
        if not hidden:
            yield part, str(name), int(n), n / len(values)


def sentence(table: pd.DataFrame) -> str | None:
    """Say how many columns lack values, and which lack most."""
    missing = table[(table["part"] == MISSING) & (table["n"] > 0)].sort_values("n", ascending=False)
    if missing.empty:
        return "No column lacks a value."
    first = missing.iloc[0]
    return (
        f"{len(missing)} column{'s' * (len(missing) > 1)} lack{'s' * (len(missing) == 1)} values: most of all "
        f"{str(first['label']).replace('_', ' ')}, {100 * first['share']:.1f} % of the rows."
    )


ASSESSMENTS = [Assessment("first_look", measure, sentence=sentence, brief=lambda _: None)]
