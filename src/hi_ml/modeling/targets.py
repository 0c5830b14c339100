"""What of a target is learned: amounts, or classes and their labels; and what rules took away of it?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.errors import NotTrainable
from hi_ml.data.attrition import KEPT, meanings
from hi_ml.data.column import Column
from hi_ml.data.read import Admissions
from hi_ml.modeling.features import holders
from hi_ml.modeling.splits import PARTS
from hi_ml.modeling.tasks import Task
from hi_ml.scorer.serving import key

NO, YES = "no", "yes"  # labels of a task with `positive` or `above`, in this order
_MOST_LABELS, _ROWS_A_LABEL = 20, 4  # labels that a small table may have, and rows of each beyond, on average
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RuledOut:
    """What the dataset's rules leave out, beside what they keep, for a target."""

    whys: tuple[str, ...]  # of the rules
    # of each row the target (an amount, or 1 for the last label and 0 for others; NaN where missing), the patient (-1
    # where unknown) and the position of the rule, -1 where none leaves it out: arrays of shape (n,)
    kept: tuple[Floats, NDArray[np.int64], NDArray[np.int64]]
    gone: tuple[Floats, NDArray[np.int64], NDArray[np.int64]]


def target_of(task: Task, values: pd.Series, column: Column | None = None) -> tuple[Floats, list[str]]:
    """Return amounts, or class numbers and their labels, of the known values of a target; raises as `pose`."""
    if task.binary:
        values, levels = _yes_or_no(task, values, column), values.value_counts()
        if task.positive and len(values) and not (values == YES).any():
            raise NotTrainable.no_level(task.name, task.positive, list(map(str, levels[levels > 0].index)))
    distinct = values.nunique()
    if distinct < 2:  # noqa: PLR2004 -- one value needs no model
        what = f"only {values.iloc[0]}" if distinct else "none at all"
        raise NotTrainable.target(task.name, task.target, what)
    if task.kind == "regression":
        if not pd.api.types.is_numeric_dtype(values):
            raise NotTrainable.target(task.name, task.target, "categories where a regression needs numbers")
        if task.score == "poisson" and values.min() < 0:
            raise NotTrainable.target(task.name, task.target, "amounts below 0 where score=poisson needs counts")
        return values.to_numpy(dtype=float), []
    text = values if isinstance(values.dtype, pd.CategoricalDtype) else values.astype(str).astype("category")
    codes = text.cat.remove_unused_categories().cat
    if task.score == "roc_auc" and len(codes.categories) > 2:  # noqa: PLR2004 -- one against one
        raise NotTrainable.target(
            task.name, task.target, f"{len(codes.categories)} labels where score=roc_auc ranks two"
        )
    if len(codes.categories) > max(_MOST_LABELS, len(codes.codes) / _ROWS_A_LABEL):
        raise NotTrainable.many_labels(task.name, task.target, len(codes.categories), len(codes.codes))
    return np.asarray(codes.codes, dtype=float), [str(label) for label in codes.categories]


def labels_of_few(
    target: Floats, labels: list[str], group: NDArray[np.int64], parts: NDArray[np.int8], smallest: int
) -> NDArray[np.int64]:
    """The labels, by code, that too few patients of the training or the test part have: a model or score would tell.

    Two always stay for the test part's sake: that its events are too few is a verdict.
    """
    if not labels:
        return np.array([], dtype=np.int64)
    some = [parts == PARTS.index(part) for part in ("train", "test")]
    learned, judged = (holders(target[rows], group[rows], count=len(labels)) < smallest for rows in some)
    few = learned | judged
    return np.flatnonzero(few if (~few).sum() > 1 else learned)


def _yes_or_no(task: Task, values: pd.Series, column: Column | None) -> pd.Series:
    """Make two classes of a target: what is declared positive, or above a number, and the rest."""
    if task.above is not None:
        if not pd.api.types.is_numeric_dtype(values):
            raise NotTrainable.target(task.name, task.target, "categories where above needs numbers")
        return (values > task.above).map({False: NO, True: YES})
    text = values.astype(str)
    wanted = {key(word, "case") for word in task.positive}
    levels = text.unique()
    return text.map({level: NO if wanted.isdisjoint(meanings(level, column)) else YES for level in levels})


def ruled_out(admissions: Admissions, task: Task, labels: list[str]) -> RuledOut | None:
    """Set the targets that the dataset's rules leave out beside those that they keep; None without rules."""
    out, column = admissions.left_out, admissions.dataset.columns.get(task.target)
    if out is None:
        return None

    def measured(values: pd.Series) -> Floats:
        numbers = np.full(len(values), np.nan)
        known = values.notna().to_numpy()
        some = _yes_or_no(task, values[known], column) if task.binary else values[known]
        numbers[known] = some.astype(str) == labels[-1] if labels else some
        return numbers

    n = len(admissions.row)
    patient = admissions.coded.get("patient_id", np.full(n, -1))
    kept = measured(admissions.table[task.target]), patient, np.full(n, KEPT)
    return RuledOut(out.whys, kept, (measured(out.table[task.target]), out.patient, out.step))
