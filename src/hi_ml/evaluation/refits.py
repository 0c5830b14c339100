"""What would less data, or a column less, have cost? Answers that refit or rescore the model; ``charts=all`` asks."""

import numpy as np
import pandas as pd

from hi_ml.evaluation.assessment import FittedRun
from hi_ml.modeling.scores.score import loss_of

_SHARES = (0.125, 0.25, 0.5)  # of the training groups; all of them are fitted already
_SHUFFLES = 5


def permutation_importance(run: FittedRun) -> pd.DataFrame:
    """Measure how much the primary loss on the test part grows when one source column is shuffled.

    Returns
    -------
    DataFrame
        ``column, importance, low, high, unit, n``: mean over shuffles and admissions with a 95 % interval over units,
        largest first. All features of a column are shuffled together. Breiman (2001), doi:10.1023/A:1010933404324.
    """
    features, before, unit = run.problem.features, run.losses(), loss_of(run.problem.task).unit
    frame = features.frame[run.problem.where("test")].reset_index(drop=True)
    rng = np.random.default_rng(run.method.seed)
    rows = []
    for role in dict.fromkeys(features.role.values()):
        names = [name for name, source in features.role.items() if source == role]
        growth = np.zeros(len(frame))
        for _ in range(_SHUFFLES):
            shuffled = frame.copy()
            shuffled[names] = frame[names].to_numpy()[rng.permutation(len(frame))]
            growth += (run.losses(run.fitted.predict(shuffled)) - before) / _SHUFFLES
        mean = run.units.ratio(growth)
        rows.append((role, mean.value, mean.low, mean.high, unit, len(frame)))
    table = pd.DataFrame(rows, columns=["column", "importance", "low", "high", "unit", "n"])
    return table.sort_values("importance", ascending=False, ignore_index=True, kind="stable")


def learning_curve(run: FittedRun) -> pd.DataFrame:
    """Measure the primary loss on the test part after training on fewer groups.

    Returns
    -------
    DataFrame
        ``rows, groups, value, low, high, baseline, unit``: one line per size, 95 % intervals over test units.
    """
    problem, unit = run.problem, loss_of(run.problem.task).unit
    train, test = np.flatnonzero(problem.where("train")), problem.where("test")
    order = np.random.default_rng(run.method.seed).permutation(np.unique(problem.group[train]))
    few = [train[np.isin(problem.group[train], order[: max(2, round(share * len(order)))])] for share in _SHARES]
    fits = [(rows, run.method.fit(problem, rows).predict(problem.features.frame[test])) for rows in few]
    baseline, table = run.units.ratio(run.losses(run.constant())).value, []
    for rows, predicted in [*fits, (train, run.predicted)]:
        mean = run.units.ratio(run.losses(predicted))
        groups = len(np.unique(problem.group[rows]))
        table.append((len(rows), groups, mean.value, mean.low, mean.high, baseline, unit))
    return pd.DataFrame(table, columns=["rows", "groups", "value", "low", "high", "baseline", "unit"])
