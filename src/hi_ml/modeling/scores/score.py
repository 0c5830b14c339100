"""What is a score: how is it computed, how sure is it, and how far are two models apart?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.config import named_in
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.modeling import scores
from hi_ml.modeling.tasks import Functional, Task
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
from hi_ml.statistics.ranking import area_difference, area_interval

Floats = NDArray[np.float64]
DRAWS = 2000  # bootstrap draws for the scores that are no means
FEWEST = 10  # units with, and without, each class: below, nothing is said of how sure a score is


@dataclass(frozen=True)
class Predictions:
    """What a model said of some rows, beside the truth."""

    task: Task
    target: Floats  # float64, shape (n,); amounts, or class numbers
    predicted: Floats  # float64, shape (n,), or probabilities, shape (n, n_classes)
    units: Units  # of the rows
    seed: int  # of the bootstrap
    draws: int = DRAWS  # of the bootstrap

    @cached_property
    def occurrences(self) -> NDArray[np.int64]:
        """Units that have a class, and that lack it, in some of their rows; shape (n_classes, 2), 0 for regression."""
        classes = self.predicted.shape[1] if self.predicted.ndim > 1 else 0
        sides = [(self.target == k, self.target != k) for k in range(classes)]
        counts = [[len(np.unique(self.units.unit[rows])) for rows in side] for side in sides]
        return np.array(counts, dtype=np.int64).reshape(-1, 2)

    def tells_of_few(self, smallest: int) -> bool:
        """Whether so few units have a class, or lack it, that scores of classes would tell of them."""
        return bool(((self.occurrences > 0) & (self.occurrences < smallest)).any())

    @property
    def enough(self) -> bool:
        """Whether there are units, of like numbers of admissions, and events of every class, enough for an interval."""
        return self.units.effective >= FEWEST and bool((self.occurrences >= FEWEST).all())

    @cached_property
    def label_counts(self) -> Floats:
        """Of classes, the `hi_ml.statistics.bootstrap.label_counts` of the sample and of every draw."""
        label, classes = self.predicted.argmax(axis=1), self.predicted.shape[1]
        counts = bootstrap.label_counts(self.target.astype(int), label, self.units, classes=classes)
        return self.resample(lambda times: np.tensordot(times, counts, axes=1))

    def resample(self, statistic: Callable[[Floats], Floats]) -> Floats:
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
    quantile: float = np.nan  # the one that the task asks for

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
            levels = (0.5, task.quantile or 0.5)
            median, quantile = (float(bootstrap.weighted_quantile(target, votes[None], level)[0]) for level in levels)
            return cls(median, float(np.average(target, weights=votes)), np.array([]), quantile)
        counts = np.bincount(target.astype(int), weights=votes, minlength=classes)
        return cls(np.nan, np.nan, counts / counts.sum())

    def predict(self, n: int, constant: Functional = "median") -> Floats:
        """Predict the same for ``n`` rows: a constant, shape (n,), or the frequencies, shape (n, n_classes)."""
        if len(self.frequencies):
            return np.tile(self.frequencies, (n, 1))
        return np.full(n, {"median": self.median, "mean": self.mean}.get(constant, self.quantile))


@dataclass(frozen=True)
class Reduction:
    """How the values of a score become one number, with its interval, and the difference of two models."""

    point: Callable[[Any], float]
    interval: Callable[[Any], Interval]  # of 95 %
    difference: Callable[[Any, Any], Difference]  # of two models on the same rows, with an interval of 95 %


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


def _above_chance(area: Interval) -> Interval:
    """Say how far an area under ROC lies above 0.5, as a share of the way to 1."""
    return Interval(*(2 * end - 1 for end in (area.value, area.low, area.high)))


# of an area under a curve
AREA = Reduction(lambda area: float(area.value), area_interval, area_difference)
# of values per bootstrap draw, the sample's own first
RESAMPLED = Reduction(lambda values: float(values[0]), bootstrap.percentile_interval, resampled_difference)


@dataclass(frozen=True)
class Skill:
    """What share of the way from the constant to perfection a model goes."""

    interval: Callable[[float], Interval]  # at a level
    design_effect: float  # how much its variance exceeds that over as many independent admissions


@dataclass(frozen=True)
class Score:
    """A quality of predictions."""

    name: str  # in scores.csv and, after ``test_``, in MLflow; ``{reach}`` stands for what the task calls near enough
    kind: Literal["regression", "classification"]  # of the tasks that have it
    better: Literal["less", "more"]
    rows: Callable[[Task, Floats, Floats], Floats] | None = None  # of target and prediction, the value of each row
    # what is reduced where it is no sum of rows; None where the score is not defined on them
    sample: Callable[[Predictions], Any] | None = None
    reduce: Reduction = MEAN
    unit: str = ""  # the task's, if empty
    constant: Functional = "median"  # the baseline that suits it; classes have their frequencies
    title: str = ""  # on charts and pages; the name, if empty
    asked: bool = False  # whether only tasks have it that ask for it
    loss: str = ""  # what of the constant's a model removes, where it is a primary score

    def values(self, predictions: Predictions) -> Any:
        """Return what is reduced, and paired with that of another model; None where the score is not defined."""
        if self.sample is not None:
            return self.sample(predictions)
        values = self.losses(predictions.task, predictions.target, predictions.predicted)
        return np.stack([predictions.units.sums(values), predictions.units.counts])

    def interval(self, predictions: Predictions, values: Any) -> Interval:
        """Bound the score with 95 %; without limits, NaN, where units or events are too few for that."""
        if predictions.enough:
            return self.reduce.interval(values)
        return Interval(self.reduce.point(values), np.nan, np.nan)

    def difference(self, predictions: Predictions, first: Any, second: Any) -> Difference:
        """Compare the values of two models on the same rows; without limits, and p = 1, as `interval`."""
        if predictions.enough:
            return self.reduce.difference(first, second)
        return Difference(self.reduce.point(first) - self.reduce.point(second), np.nan, np.nan, 1.0)

    def skill(self, predictions: Predictions, constant: Floats) -> Skill:
        """Estimate the share of the constant's loss that a model removes; of an area, the share of the way to 1.

        Parameters
        ----------
        constant : array of float64, shape (n,) or (n, n_classes)
            What knowing nothing predicts.
        """
        units = predictions.units
        if self.rows is None:
            area, alone = (
                self.values(replace(predictions, units=counted)) for counted in (units, Units.of(units.admission))
            )
            effect = float((area.error / alone.error) ** 2) if units.repeat and alone.error else 1.0
            return Skill(lambda level: _above_chance(area_interval(area, level=level)), effect)
        loss, most = (
            self.losses(predictions.task, predictions.target, one) for one in (predictions.predicted, constant)
        )
        gained, below = units.sums(most) - units.sums(loss), units.sums(most)
        return Skill(lambda level: ratio_interval(gained, below, level=level), units.design_effect(most - loss, most))

    def step(self, constant: float, share: float) -> float:
        """Say by how much of the score two models differ whose skills differ by a share, near the constant's score."""
        return constant * (1 - (1 - share) ** 0.5 if self.reduce is ROOT else share)

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
    offered = {score.name: score for score in _every(task)}
    chosen = [name for name in offered if not offered[name].asked] if task.scores is None else task.scores
    for name in chosen:
        if name not in offered:
            raise ConfigurationInvalid.not_one_of(f"tasks.{task.name}.scores", name, list(offered))
    return [offered[name] for name in dict.fromkeys([task.score, *chosen])]


def score_of(task: Task, name: str) -> Score:
    """Return a score of a task by its name, whether the task computes it or not."""
    return next(score for score in _every(task) if score.name == name)


def primary(task: Task) -> Score:
    """Return the score on which the verdict stands."""
    return scores_of(task)[0]


def loss_of(task: Task) -> Score:
    """Return the mean over rows that learners are made by: the primary score, what its root is of, or the log loss."""
    loss = next(score for score in [primary(task), *_every(task)] if score.rows is not None and score.better == "less")
    if loss.reduce is not ROOT:
        return loss
    name = loss.loss.replace(" ", "_")
    return replace(loss, name=name, title=loss.loss, unit=f"squared {loss.unit}", reduce=MEAN)


def losses(task: Task, target: Floats, predicted: Floats) -> Floats:
    """Return the loss of each row, see `loss_of`.

    Parameters
    ----------
    target : array of float64, shape (n,)
        Amounts, or class numbers.
    predicted : array of float64, shape (n,) or (n, n_classes)

    Returns
    -------
    array of float64, shape (n,)
        In the unit of the loss.
    """
    return loss_of(task).losses(task, target, predicted)


def title(name: str) -> str:
    """Say the name of a score in words.

    Examples
    --------
    >>> title("mae"), title("within_1_day")
    ('mean absolute error', 'within 1 day')
    """
    titles = {score.name: score.title for family in named_in(scores, "SCORES") for score in family}
    return titles.get(name) or name.replace("_", " ").replace("share above", "share above the prediction")


def is_worse(name: str, value: float, than: float) -> bool:
    """Say whether a value of a score is worse than another.

    Examples
    --------
    >>> is_worse("mae", 5.0, 4.0), is_worse("roc_auc", 0.7, 0.5)
    (True, False)
    """
    less = {score.name for family in named_in(scores, "SCORES") for score in family if score.better == "less"}
    return value > than if name in less else value < than


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


def _every(task: Task) -> list[Score]:
    return [_of(task, score) for family in named_in(scores, "SCORES") for score in family if _fits(task, score)]


def _fits(task: Task, score: Score) -> bool:
    if score.constant == "quantile" and task.quantile is None:
        return False
    return score.kind == task.kind and (task.within is not None or "{reach}" not in score.name)


def _of(task: Task, score: Score) -> Score:
    constant: Functional = "frequencies" if task.kind == "classification" else score.constant
    return replace(score, name=score.name.format(reach=reach(task)), unit=score.unit or task.unit, constant=constant)
