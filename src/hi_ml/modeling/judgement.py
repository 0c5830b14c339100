"""How good is a model on rows it has never seen, against knowing nothing, and is that worth anything?"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.text import percent
from hi_ml.modeling.scores.score import Predictions, primary, scores_of
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.estimates import Interval
from hi_ml.statistics.groups import ratio_interval

Floats = NDArray[np.float64]
DRAWS = 200  # bootstrap draws for the scores that are no means


@dataclass(frozen=True)
class Baseline:
    """The constant predictors of the training part, each the best constant for some score."""

    median: float  # of a regression target, in its unit; NaN for classes
    mean: float
    shares: Floats  # float64, shape (n_classes,); class frequencies; empty for regression

    @classmethod
    def of(cls, task: Task, target: Floats, *, classes: int) -> "Baseline":
        """Learn the constants from the training rows' targets (class numbers or amounts), shape (n_train,)."""
        if task.kind == "regression":
            return cls(float(np.median(target)), float(target.mean()), np.array([]))
        counts = np.bincount(target.astype(int), minlength=classes)
        return cls(np.nan, np.nan, counts / counts.sum())

    def predict(self, n: int, constant: Literal["median", "mean"] = "median") -> Floats:
        """Predict the same for ``n`` rows: a constant, shape (n,), or the frequencies, shape (n, n_classes)."""
        if len(self.shares):
            return np.tile(self.shares, (n, 1))
        return np.full(n, self.median if constant == "median" else self.mean)


@dataclass(frozen=True)
class Verdict:
    """Whether a model beats its baseline by an amount that matters."""

    verdict: Literal["signal", "no_signal", "inconclusive"]
    score: str  # the loss that skill is a share of
    skill: float  # share of the baseline's loss that the model removes, with intervals over groups
    low95: float
    high95: float
    low90: float
    high90: float
    smallest_skill: float  # the skill that would matter
    n_groups: int  # in the test part
    sentence: str


def losses(task: Task, target: Floats, predicted: Floats) -> Floats:
    """Return the primary loss of each row.

    Parameters
    ----------
    target : array of float64, shape (n,)
        Amounts, or class numbers.
    predicted : array of float64, shape (n,) or (n, n_classes)

    Returns
    -------
    array of float64, shape (n,)
        In the unit of the primary score: the task's, or nats.
    """
    return primary(task).losses(task, target, predicted)


def judge(name: str, loss: Floats, baseline_loss: Floats, *, task: Task, smallest: float) -> Verdict:
    """Decide from the group means of two losses on the same test rows.

    Parameters
    ----------
    name : str
        Of the model, for the sentence.
    loss, baseline_loss : array of float64, shape (n_groups,)
    smallest : float
        Smallest skill that matters.

    Returns
    -------
    Verdict
        ``signal`` if the 95 % interval lies above 0 and the skill reaches ``smallest``; ``no_signal`` if the 90 %
        interval lies below ``smallest``; else ``inconclusive``.
    """
    gained = baseline_loss - loss
    wide, narrow = (ratio_interval(gained, baseline_loss, level=level) for level in (0.95, 0.90))
    if wide.low > 0 and wide.value >= smallest:
        verdict: Literal["signal", "no_signal", "inconclusive"] = "signal"
    elif narrow.high < smallest:
        verdict = "no_signal"
    else:
        verdict = "inconclusive"
    return Verdict(
        verdict=verdict,
        score=task.score,
        skill=wide.value,
        low95=wide.low,
        high95=wide.high,
        low90=narrow.low,
        high90=narrow.high,
        smallest_skill=smallest,
        n_groups=len(loss),
        sentence=_sentence(name, task, verdict, wide, smallest),
    )


def scores(predictions: Predictions, baseline: Baseline) -> pd.DataFrame:
    """Score predictions of the test part.

    Returns
    -------
    DataFrame
        ``score, part, value, low, high, baseline, unit``; the primary score first. Rows of a group are averaged; 95 %
        intervals are over groups and hold for this fitted model.
    """
    rows = []
    for score in scores_of(predictions.task):
        values = score.values(predictions)
        if values is None:
            continue
        constant = baseline.predict(len(predictions.target), score.constant)
        knowing_nothing = score.values(replace(predictions, predicted=constant, weights=predictions.weights[:1]))
        point = np.nan if knowing_nothing is None else score.reduce.point(knowing_nothing)
        interval = score.reduce.interval(values)
        rows.append((score.name, "test", interval.value, interval.low, interval.high, point, score.unit))
    return pd.DataFrame(rows, columns=["score", "part", "value", "low", "high", "baseline", "unit"])


def _sentence(name: str, task: Task, verdict: str, skill: Interval, smallest: float) -> str:
    constant = "median" if task.kind == "regression" else "frequencies"
    measured = f"{percent(skill.value)} % (95 % interval {percent(skill.low)} to {percent(skill.high)})"
    if verdict == "signal":
        return f"{name} removes {measured} of the baseline's error on {task.name}: signal."
    if verdict == "no_signal":
        return (
            f"{name} removes less than {100 * smallest:g} % of the baseline's error on {task.name}, {measured}: "
            f"no signal, no better than the constant {constant}."
        )
    return (
        f"{name} removes {measured} of the baseline's error on {task.name}: inconclusive, too few groups to tell "
        f"whether it is {100 * smallest:g} % or more."
    )
