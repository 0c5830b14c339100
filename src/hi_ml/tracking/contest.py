"""May a new model meet the champion, and what does each lose on the rows where they meet?

A champion belongs to a table. Its run keeps by which digest each of its rows is known again to who has the site's key;
a table that has some of them is the champion's own, with rows or columns more, and another one has to look like it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.app.errors import NoContest
from hi_ml.app.text import percent
from hi_ml.data.digests import row_digests
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import loss_of, losses
from hi_ml.modeling.splits import PARTS
from hi_ml.scorer.serving import Scorer
from hi_ml.statistics.groups import Units
from hi_ml.tracking.site import Digests, fingerprint, keyed

Floats = NDArray[np.float64]
_FOUND_AGAIN = 0.1  # share of the champion's rows by which its table is known, whatever came or went
_NEW_LEVELS = 0.5  # share of a column's known cells, from which on it is of other hospitals, insurers, wards
_SKETCH = 200  # levels of a column that are remembered, by their digests: those with the smallest
_TIMES = 2.0  # by which the mean of the target may differ, either way


@dataclass(frozen=True)
class PairedLosses:
    """Two models on the same rows."""

    unit: str  # of the losses
    units: Units  # of the n rows
    digest: Digests  # uint64, shape (n,); by which rows are known again in another table, see `digests_of`
    champion: Floats  # float64, shape (n,); primary losses
    challenger: Floats  # float64, shape (n,); primary losses


def rows_of(problem: Problem, dataset: Dataset) -> pd.DataFrame:
    """Say which row went to which part, and by which digest it is known again: ``row, group, part, digest``.

    ``attrs`` tell the table from others: ``roles``, the public columns behind the digests, their ``units``, digests of
    ``levels`` of the categories among them, and the ``mean`` of the target, None for classes.
    """
    part = pd.Series(problem.parts).map(dict(enumerate(PARTS)))  # missing where the split leaves a row out
    digest = row_digests(problem.table, dataset.spellings())
    rows = pd.DataFrame({"row": problem.row, "group": problem.group, "part": part, "digest": digest})
    mean = None if problem.labels else float(problem.target.mean())
    cells = _cells(problem.table, dataset)
    levels = {role: np.unique(digests).tolist() for role, digests in cells.items()}
    rows.attrs = {"roles": list(problem.table.columns), "units": problem.units, "levels": levels, "mean": mean}
    return rows


def digests_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave of `rows_of` what may leave: ``digest, train``, by digest, and of ``levels`` some; all by the site's key.

    ``attrs["key"]`` tells which key that was.
    """
    digest, train = keyed(rows["digest"].to_numpy(np.uint64)), (rows["part"] == "train").to_numpy()
    left = pd.DataFrame({"digest": digest, "train": train}).sort_values(["digest", "train"], ignore_index=True)
    levels = rows.attrs.get("levels", {})
    some = {role: np.sort(keyed(np.array(known, np.uint64)))[:_SKETCH].tolist() for role, known in levels.items()}
    left.attrs = rows.attrs | {"levels": some, "key": fingerprint()}
    return left


def head_to_head(run: FittedRun, dataset: Dataset, champion: Scorer, rows: pd.DataFrame) -> PairedLosses:
    """Let a champion predict the test part of a newly trained model.

    Parameters
    ----------
    run : FittedRun
        The challenger.
    dataset : Dataset
        Of its table.
    rows : DataFrame
        Of the champion's run, see `digests_of`.

    Raises
    ------
    NoContest
        If the champion predicts something else, needs a column that the table lacks, belongs to another table, or was
        digested by another key.
    """
    problem = run.problem
    task, roles = problem.task, rows.attrs["roles"]
    ours = {"target": task.target, "kind": task.kind, "unit": task.unit, "horizon": task.horizon}
    for name, value in {**ours, "labels": problem.labels}.items():
        if champion.mapping[name] != value:
            raise NoContest.other(name, champion.mapping[name], value)
    needed = [spec["role"] for spec in champion.mapping["columns"]]
    if lacking := [role for role in dict.fromkeys([*needed, *roles]) if role not in problem.table]:
        raise NoContest.lacks(lacking)
    if rows.attrs["key"] != fingerprint():
        raise NoContest.other_key()
    digest = keyed(row_digests(problem.table[roles], dataset.spellings()))
    if strange := list(_strangeness(problem, dataset, rows, digest)):
        raise NoContest.another_table(strange)
    test = problem.where("test")
    table, target = problem.table[test], problem.target[test]
    predicted = _predict(champion, {role: pa.Array.from_pandas(table[role]) for role in needed})
    return PairedLosses(
        unit=loss_of(task).unit,
        units=run.units,
        digest=digest[test],
        champion=losses(task, target, predicted),
        challenger=losses(task, target, run.predicted),
    )


def _strangeness(problem: Problem, dataset: Dataset, rows: pd.DataFrame, digest: Digests) -> Iterator[str]:
    """Say in what a table that does not have the champion's rows is unlike the one that had them."""
    for role, unit in rows.attrs.get("units", {}).items():
        if (here := problem.units.get(role)) != unit:
            yield f"{role} in {here} instead of {unit}"
    if np.isin(rows["digest"], digest).mean() >= _FOUND_AGAIN:
        return
    if more := [role for role in problem.table if role not in rows.attrs["roles"]]:
        yield f"columns that it had not: {', '.join(map(str, more))}"
    cells = {role: keyed(digests) for role, digests in _cells(problem.table, dataset).items()}
    for role, known in rows.attrs.get("levels", {}).items():
        if role in cells and (new := _new(cells[role], known)) > _NEW_LEVELS:
            yield f"{percent(new)} % of {role} new"
    mean, before = float(problem.target.mean()), rows.attrs.get("mean")
    if before and not 1 / _TIMES < mean / before < _TIMES:
        yield f"{problem.task.target} {mean / before:.2g} times as large"


def _cells(table: pd.DataFrame, dataset: Dataset) -> dict[str, Digests]:
    """Digests of the known cells of every category, by role."""
    names = [str(role) for role in table if isinstance(table[role].dtype, pd.CategoricalDtype)]
    return {role: row_digests(table[[role]].dropna(), dataset.spellings()) for role in names}


def _new(cells: Digests, known: list[int]) -> float:
    """The share of the cells at a level that is not known, among those that would be remembered if it were."""
    some = cells if len(known) < _SKETCH else cells[cells <= known[-1]]
    return float(1 - np.isin(some, np.array(known, dtype=np.uint64)).mean()) if len(some) else 0.0


def _predict(scorer: Scorer, typed: dict[str, Any]) -> Floats:
    """Amounts, shape (n,), or probabilities of the labels, shape (n, n_labels)."""
    numbers = scorer.numbers(typed)
    answer = scorer.answer(scorer.encode(numbers), numbers)
    if scorer.mapping["kind"] == "regression":
        return np.asarray(answer["prediction"].to_numpy(), dtype=float)
    return np.column_stack([answer[f"p_{label}"].to_numpy() for label in scorer.mapping["labels"]])
