"""What would less data, or a column less, have cost? Answers that refit or rescore the model; ``charts=all`` asks."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.evaluation.training import Method, Trained
from hi_ml.modeling.judgement import losses
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import primary
from hi_ml.statistics.groups import group_means, mean_interval

Floats = NDArray[np.float64]
_SHARES = (0.125, 0.25, 0.5)  # of the training groups; all of them are fitted already
_SHUFFLES = 5


def permutation_importance(trained: Trained, *, seed: int) -> pd.DataFrame:
    """Measure how much the primary loss on the test part grows when one source column is shuffled.

    Returns
    -------
    DataFrame
        ``column, importance, low, high, unit, n``: mean over shuffles and groups with a 95 % interval over groups,
        largest first. All features of a column are shuffled together. Breiman (2001), doi:10.1023/A:1010933404324.
    """
    problem, test = trained.problem, trained.problem.where("test")
    frame = problem.features.frame[test].reset_index(drop=True)
    target, group = problem.target[test], problem.group[test]
    before = losses(problem.task, target, trained.predicted)
    rng = np.random.default_rng(seed)
    rows = []
    for role in dict.fromkeys(problem.features.role.values()):
        names = [name for name, source in problem.features.role.items() if source == role]
        growth = np.zeros(len(frame))
        for _ in range(_SHUFFLES):
            shuffled = frame.copy()
            shuffled[names] = frame[names].to_numpy()[rng.permutation(len(frame))]
            growth += (losses(problem.task, target, trained.fitted.predict(shuffled)) - before) / _SHUFFLES
        found = mean_interval(group_means(growth, group))
        rows.append((role, found.value, found.low, found.high, primary(problem.task).unit, len(frame)))
    table = pd.DataFrame(rows, columns=["column", "importance", "low", "high", "unit", "n"])
    return table.sort_values("importance", ascending=False, ignore_index=True, kind="stable")


def learning_curve(trained: Trained, method: Method) -> pd.DataFrame:
    """Measure the primary loss on the test part after training on fewer groups.

    Returns
    -------
    DataFrame
        ``rows, groups, value, low, high, baseline, unit``: one line per size, 95 % intervals over test groups.
    """
    problem = trained.problem
    train, test = np.flatnonzero(problem.where("train")), problem.where("test")
    order = np.random.default_rng(method.seed).permutation(np.unique(problem.group[train]))
    constant = _on_test(problem, trained.baseline.predict(int(test.sum())))
    lines = []
    for share in _SHARES:
        rows = train[np.isin(problem.group[train], order[: max(2, round(share * len(order)))])]
        fitted = method.fit(
            method.model,
            problem.features.part(rows, trained.fitted.features),
            problem.target[rows],
            group=problem.group[rows],
            classes=len(problem.labels),
            seed=method.seed,
        )
        lines.append((rows, fitted.predict(problem.features.frame[test])))
    lines.append((train, trained.predicted))
    table = []
    for rows, predicted in lines:
        found = mean_interval(_on_test(problem, predicted))
        groups = len(np.unique(problem.group[rows]))
        table.append(
            (len(rows), groups, found.value, found.low, found.high, constant.mean(), primary(problem.task).unit)
        )
    return pd.DataFrame(table, columns=["rows", "groups", "value", "low", "high", "baseline", "unit"])


def _on_test(problem: Problem, predicted: Floats) -> Floats:
    test = problem.where("test")
    return group_means(losses(problem.task, problem.target[test], predicted), problem.group[test])
