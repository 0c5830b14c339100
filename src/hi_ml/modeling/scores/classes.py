"""How much probability went to the class that came true, and how often was the likeliest one right?"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hi_ml.modeling.scores.score import AREA, RESAMPLED, Predictions, Score
from hi_ml.modeling.tasks import Task
from hi_ml.statistics import bootstrap
from hi_ml.statistics.ranking import Area, area

Floats = NDArray[np.float64]
_TINY = 1e-15  # probability below which a logarithm is not taken


def _surprise(_: Task, target: Floats, predicted: Floats) -> Floats:
    """Minus the log of the true class's probability, in nats."""
    return np.asarray(-np.log(np.clip(predicted[np.arange(len(target)), target.astype(int)], _TINY, 1)))


def _square(_: Task, target: Floats, predicted: Floats) -> Floats:
    return np.asarray(((predicted - np.eye(predicted.shape[1])[target.astype(int)]) ** 2).sum(axis=1))


def _right(_: Task, target: Floats, predicted: Floats) -> Floats:
    return np.asarray(predicted.argmax(axis=1) == target, dtype=float)


def _area(of: Predictions) -> Area | None:
    return area(of.target.astype(int), of.predicted, of.units)


_KIND: Literal["classification"] = "classification"
SCORES = [
    Score("log_loss", _KIND, "less", _surprise, unit="nats", title="log loss", loss="log loss"),
    Score("brier", _KIND, "less", _square, unit="squared share", title="Brier score"),
    Score("roc_auc", _KIND, "more", sample=_area, reduce=AREA, unit="area", title="area under ROC"),
    Score(
        "macro_f1", _KIND, "more", sample=lambda of: bootstrap.macro_f1(of.label_counts), reduce=RESAMPLED,
        unit="share", title="macro F1",
    ),
    Score(
        "balanced_accuracy", _KIND, "more", sample=lambda of: bootstrap.balanced_accuracy(of.label_counts),
        reduce=RESAMPLED, unit="share",
    ),
    Score("accuracy", _KIND, "more", _right, unit="share"),
]  # fmt: skip
