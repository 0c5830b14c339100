"""What of a model's predictions is compared, score by score?"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.scoring import hit_name, losses
from hi_ml.statistics import bootstrap
from hi_ml.statistics.grouped import group_means
from hi_ml.statistics.paired import (
    Difference,
    explained_difference,
    mean_difference,
    resampled_difference,
    root_difference,
)
from hi_ml.tasks import Task

Floats = NDArray[np.float64]
_MORE_IS_BETTER = ("r2", "roc_auc", "macro_f1", "balanced_accuracy", "accuracy")


@dataclass(frozen=True)
class Measure:
    """What of a score is compared.

    Attributes
    ----------
    values : array of float64, shape (n_groups,) or (1 + draws,)
        Per group, or per bootstrap draw.
    difference : callable
        Compares the values of two models.
    """

    values: Floats
    difference: Callable[[Floats, Floats], Difference]


def measures(task: Task, predictions: pd.DataFrame, *, group: NDArray[np.int64], weights: Floats) -> dict[str, Measure]:
    """Measure one model by every score of its task, in the form in which two models are compared.

    Parameters
    ----------
    task : Task
    predictions : DataFrame, shape (n_test, any)
        As `Run` has them.
    group : array of int64, shape (n_test,)
    weights : array of float64, shape (1 + draws, n_test)
        From `hi_ml.statistics.bootstrap.draws`.
    """
    if task.kind == "regression":
        return _of_amounts(task, predictions, group, weights)
    return _of_classes(task, predictions, group, weights)


def better(score: str) -> str:
    """Say whether ``more`` or ``less`` of a score is better.

    Examples
    --------
    >>> better("mae"), better("within_1_day")
    ('less', 'more')
    """
    return "more" if score in _MORE_IS_BETTER or score.startswith("within_") else "less"


def _of_amounts(task: Task, predictions: pd.DataFrame, group: NDArray[np.int64], weights: Floats) -> dict[str, Measure]:
    target, predicted = (predictions[name].to_numpy(dtype=float) for name in ("target", "prediction"))
    error = losses(task, target, predicted)
    square = group_means((target - predicted) ** 2, group)
    found = {
        "mae": Measure(group_means(error, group), mean_difference),
        "median_ae": Measure(bootstrap.weighted_median(error, weights), resampled_difference),
    }
    if task.within is not None:
        reach = task.within * np.abs(target) if task.relative else task.within
        guess = np.round(predicted) if task.whole else predicted
        near = (np.abs(target - guess) <= reach).astype(float)
        found[hit_name(task)] = Measure(group_means(near, group), mean_difference)
    found["rmse"] = Measure(square, root_difference)
    spread = group_means((target - np.average(target, weights=weights[0])) ** 2, group)
    if spread.any():
        found["r2"] = Measure(square, partial(explained_difference, spread=spread))
    return found


def _of_classes(task: Task, predictions: pd.DataFrame, group: NDArray[np.int64], weights: Floats) -> dict[str, Measure]:
    labels = [name.removeprefix("p_") for name in map(str, predictions) if name.startswith("p_")]
    shares = predictions[[f"p_{label}" for label in labels]].to_numpy(dtype=float)
    truth = pd.Index(labels).get_indexer(pd.Index(predictions["target"]))
    label = shares.argmax(axis=1)
    square = ((shares - np.eye(len(labels))[truth]) ** 2).sum(axis=1)
    counts = bootstrap.confusion(truth, label, weights, classes=len(labels))
    found = {
        "log_loss": Measure(group_means(losses(task, truth.astype(float), shares), group), mean_difference),
        "brier": Measure(group_means(square, group), mean_difference),
    }
    area = bootstrap.roc_auc(truth, shares, weights)
    if np.isfinite(area[0]):
        found["roc_auc"] = Measure(area, resampled_difference)
    return found | {
        "macro_f1": Measure(bootstrap.macro_f1(counts), resampled_difference),
        "balanced_accuracy": Measure(bootstrap.balanced_accuracy(counts), resampled_difference),
        "accuracy": Measure(group_means((label == truth).astype(float), group), mean_difference),
    }
