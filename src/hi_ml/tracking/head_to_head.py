"""What do a champion and the model that challenges it each lose, row by row, on the challenger's test part?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.app.errors import NoContest
from hi_ml.data.digests import row_digests
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.training import Trained
from hi_ml.modeling.judgement import losses
from hi_ml.modeling.scores.score import primary
from hi_ml.scorer.serving import Scorer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedLosses:
    """Two models on the same rows."""

    unit: str  # of the losses
    group: NDArray[np.int64]  # int64, shape (n,)
    # uint64, shape (n,); by which rows are known again in another table, see `hi_ml.data.digests.row_digests`
    digest: NDArray[np.uint64]
    champion: Floats  # float64, shape (n,); primary losses
    challenger: Floats  # float64, shape (n,); primary losses


def head_to_head(trained: Trained, dataset: Dataset, champion: Scorer, roles: Sequence[str]) -> PairedLosses:
    """Let a champion predict the test part of a newly trained model.

    Parameters
    ----------
    trained : Trained
        The challenger.
    dataset : Dataset
        Of its table.
    roles : sequence of str
        The columns over which the digests of the champion's rows were taken.

    Raises
    ------
    NoContest
        If the champion predicts something else, or needs a column that the table lacks.
    """
    problem = trained.problem
    task = problem.task
    asked = {"target": task.target, "kind": task.kind, "unit": task.unit, "horizon": task.horizon}
    for name, ours in {**asked, "labels": problem.labels}.items():
        if champion.mapping[name] != ours:
            raise NoContest.other(name, champion.mapping[name], ours)
    test = problem.where("test")
    table, target = problem.table[test], problem.target[test]
    needed = [spec["role"] for spec in champion.mapping["columns"]]
    if lacking := [role for role in dict.fromkeys([*needed, *roles]) if role not in table]:
        raise NoContest.lacks(lacking)
    predicted = _answered(champion, {role: pa.Array.from_pandas(table[role]) for role in needed})
    return PairedLosses(
        unit=primary(task).unit,
        group=problem.group[test],
        digest=row_digests(table[list(roles)], dataset.spellings()),
        champion=losses(task, target, predicted),
        challenger=losses(task, target, trained.predicted),
    )


def _answered(scorer: Scorer, typed: dict[str, Any]) -> Floats:
    """Amounts, shape (n,), or probabilities of the labels, shape (n, n_labels)."""
    answer = scorer.answer(scorer.encode(scorer.numbers(typed)), typed)
    if scorer.mapping["kind"] == "regression":
        return np.asarray(answer["prediction"].to_numpy(), dtype=float)
    return np.column_stack([answer[f"p_{label}"].to_numpy() for label in scorer.mapping["labels"]])
