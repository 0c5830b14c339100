"""What is a score: how is it computed, how sure is it, and how far are two models apart?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.config import named_in
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.modeling import scores
from hi_ml.modeling.tasks import Task
from hi_ml.statistics import bootstrap
from hi_ml.statistics.bootstrap import (
    Difference,
    explained_difference,
    mean_difference,
    resampled_difference,
    root_difference,
)
from hi_ml.statistics.estimates import Interval
from hi_ml.statistics.groups import Units, ratio_interval, root_interval

Floats = NDArray[np.float64]
DRAWS = 200  # bootstrap draws for the scores that are no means


@dataclass(frozen=True)
class Predictions:
    """What a model said of some rows, beside the truth."""

    task: Task
    target: Floats  # float64, shape (n,); amounts, or class numbers
    predicted: Floats  # float64, shape (n,), or probabilities, shape (n, n_classes)
    units: Units  # of the rows
    seed: int  # of the bootstrap
    draws: int = DRAWS  # of the bootstrap

    def resampled(self, statistic: Callable[[Floats], Floats]) -> Floats:
        """Compute a statistic of the sample and of every draw, shape (1 + draws,).

        Parameters
        ----------
        statistic : callable
            Takes how often each unit was drawn, shape (some, n_units), and returns a value of each draw.
        """
        drawn = bootstrap.draws(len(self.units), count=self.draws, seed=self.seed)
        return np.concatenate([statistic(times) for times in drawn])


@dataclass(frozen=True)
class Baseline:
    """The constant predictors of the training part, each the best constant for some score."""

    median: float  # of a regression target, in its unit; NaN for classes
    mean: float
    frequencies: Floats  # float64, shape (n_classes,); of the classes; empty for regression

    @classmethod
    def of(cls, task: Task, target: Floats, *, votes: Floats, classes: int) -> "Baseline":
        """Learn the constants from the training rows.

        Parameters
        ----------
        target : array of float64, shape (n_train,)
            Class numbers or amounts.
        votes : array of float64, shape (n_train,)
            As the scores count the rows, see `hi_ml.statistics.groups.Units`.
        """
        if task.kind == "regression":
            median = float(bootstrap.weighted_median(target, votes[None])[0])
            return cls(median, float(np.average(target, weights=votes)), np.array([]))
        counts = np.bincount(target.astype(int), weights=votes, minlength=classes)
        return cls(np.nan, np.nan, counts / counts.sum())

    def predict(self, n: int, constant: Literal["median", "mean"] = "median") -> Floats:
        """Predict the same for ``n`` rows: a constant, shape (n,), or the frequencies, shape (n, n_classes)."""
        if len(self.frequencies):
            return np.tile(self.frequencies, (n, 1))
        return np.full(n, self.median if constant == "median" else self.mean)


@dataclass(frozen=True)
class Reduction:
    """How the values of a score become one number, with its interval, and the difference of two models."""

    point: Callable[[Floats], float]
    interval: Callable[[Floats], Interval]  # of 95 %
    difference: Callable[[Floats, Floats], Difference]  # of two models on the same rows, with an interval of 95 %


def _explained_interval(values: Floats) -> Interval:
    left = ratio_interval(*values)
    return Interval(1 - left.value, 1 - left.high, 1 - left.low)


def _ratio(values: Floats) -> float:
    return float(values[0].mean() / values[1].mean())


# of the sums of each unit, shape (2, n_units), the second of votes: their mean; the root of it. Then what of the second
# row of values the first does not leave
MEAN = Reduction(
    _ratio,
    lambda values: ratio_interval(*values),
    lambda one, other: mean_difference(one[0], other[0], votes=one[1]),
)
ROOT = Reduction(
    lambda values: _ratio(values) ** 0.5,
    lambda values: root_interval(*values),
    lambda one, other: root_difference(one[0], other[0], votes=one[1]),
)
EXPLAINED = Reduction(
    lambda values: 1 - _ratio(values),
    _explained_interval,
    lambda one, other: explained_difference(one[0], other[0], spread=one[1]),
)
# of values per bootstrap draw, the sample's own first
RESAMPLED = Reduction(lambda values: float(values[0]), bootstrap.percentile_interval, resampled_difference)


@dataclass(frozen=True)
class Score:
    """A quality of predictions."""

    name: str  # in scores.csv and, after ``test_``, in MLflow; ``{reach}`` stands for what the task calls near enough
    kind: Literal["regression", "classification"]  # of the tasks that have it
    better: Literal["less", "more"]
    rows: Callable[[Task, Floats, Floats], Floats] | None = None  # of target and prediction, the value of each row
    # what is reduced where it is no sum of rows; None where the score is not defined on them
    sample: Callable[[Predictions], Floats | None] | None = None
    reduce: Reduction = MEAN
    unit: str = ""  # the task's, if empty
    constant: Literal["median", "mean"] = "median"  # the baseline that suits it; classes have their frequencies
    title: str = ""  # on charts and pages; the name, if empty

    def values(self, predictions: Predictions) -> Floats | None:
        """Return what is reduced, and paired with that of another model; None where the score is not defined."""
        if self.sample is not None:
            return self.sample(predictions)
        values = self.losses(predictions.task, predictions.target, predictions.predicted)
        return np.stack([predictions.units.sums(values), predictions.units.counts])

    def losses(self, task: Task, target: Floats, predicted: Floats) -> Floats:
        """Return the value of each row, shape (n,).

        Raises
        ------
        TypeError
            If the score has none: no mean over rows.
        """
        if self.rows is None:
            raise TypeError(f"{self.name} is no mean over rows")
        return self.rows(task, target, predicted)


def scores_of(task: Task) -> list[Score]:
    """Return the scores of a task under their names there: the primary one first, then all, or those that it selects.

    Raises
    ------
    ConfigurationInvalid
        If it selects one that there is not.
    """
    every = [_of(task, score) for family in named_in(scores, "SCORES") for score in family if _fits(task, score)]
    offered = {score.name: score for score in every}
    chosen = list(offered) if task.scores is None else task.scores
    for name in chosen:
        if name not in offered:
            raise ConfigurationInvalid.not_one_of(f"tasks.{task.name}.scores", name, list(offered))
    return [offered[name] for name in dict.fromkeys([task.score, *chosen])]


def primary(task: Task) -> Score:
    """Return the score on which the verdict stands."""
    return scores_of(task)[0]


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


def title(name: str) -> str:
    """Say the name of a score in words.

    Examples
    --------
    >>> title("mae"), title("within_1_day")
    ('mean absolute error', 'within 1 day')
    """
    titles = {score.name: score.title for family in named_in(scores, "SCORES") for score in family}
    return titles.get(name) or name.replace("_", " ")


def reach(task: Task) -> str:
    """Name how near a prediction must come to count as a hit.

    Examples
    --------
    >>> reach(Task("los", "length_of_stay", "regression", "days", "admission", "mae", within=1))
    '1_day'
    """
    if task.relative:
        return f"{100 * (task.within or 0):g}_percent"
    return f"{task.within or 0:g}_{task.unit.removesuffix('s') if task.within == 1 else task.unit}"


def _fits(task: Task, score: Score) -> bool:
    return score.kind == task.kind and (task.within is not None or "{reach}" not in score.name)


def _of(task: Task, score: Score) -> Score:
    return replace(score, name=score.name.format(reach=reach(task)), unit=score.unit or task.unit)
