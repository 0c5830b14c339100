"""How good is a model on rows it has never seen, against knowing nothing, and is that worth anything?

What of a model's predictions is compared, score by score?
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.text import percent
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
from hi_ml.statistics.groups import group_means, mean_interval, ratio_interval, root_interval

Floats = NDArray[np.float64]
DRAWS = 200  # bootstrap draws for the scores that are no means
_TINY = 1e-15  # probability below which a logarithm is not taken


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

    def predict(self, n: int) -> Floats:
        """Predict the same for ``n`` rows: the median, shape (n,), or the frequencies, shape (n, n_classes)."""
        return np.full(n, self.median) if not len(self.shares) else np.tile(self.shares, (n, 1))


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
        Absolute error in the task's unit, or minus the log of the true class's probability in nats.
    """
    if task.kind == "regression":
        return np.abs(target - predicted)
    return np.asarray(-np.log(np.clip(predicted[np.arange(len(target)), target.astype(int)], _TINY, 1)))


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


def scores(
    task: Task, target: Floats, predicted: Floats, *, baseline: Baseline, group: NDArray[np.int64], seed: int
) -> pd.DataFrame:
    """Score predictions on the test part.

    Parameters
    ----------
    target : array of float64, shape (n,)
    predicted : array of float64, shape (n,) or (n, n_classes)
    group : array of int64, shape (n,)
        Rows of a group are averaged; intervals are over groups and hold for this fitted model.
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        ``score, part, value, low, high, baseline, unit``; the primary score first.
    """
    weights = bootstrap.draws(group, count=DRAWS, seed=seed)
    kind = _regression if task.kind == "regression" else _classes
    rows = kind(task, target, predicted, baseline, (group, weights))
    columns = ["score", "part", "value", "low", "high", "baseline", "unit"]
    return pd.DataFrame(
        [(name, "test", found.value, found.low, found.high, constant, unit) for name, found, constant, unit in rows],
        columns=columns,
    )


def hit_name(task: Task) -> str:
    """Name the share of predictions that come near enough.

    Examples
    --------
    >>> hit_name(Task("los", "length_of_stay", "regression", "days", "admission", "mae", within=1))
    'within_1_day'
    """
    if task.relative:
        return f"within_{100 * (task.within or 0):g}_percent"
    unit = task.unit.removesuffix("s") if task.within == 1 else task.unit
    return f"within_{task.within:g}_{unit}"


Rows = list[tuple[str, Interval, float, str]]
Grouping = tuple[NDArray[np.int64], Floats]


def _regression(task: Task, target: Floats, predicted: Floats, baseline: Baseline, grouping: Grouping) -> Rows:
    group, weights = grouping
    error, constant = np.abs(target - predicted), np.abs(target - baseline.median)
    square, around = (target - predicted) ** 2, (target - baseline.mean) ** 2
    centre = float(np.average(target, weights=weights[0]))
    spread = group_means((target - centre) ** 2, group)
    rows: Rows = [
        ("mae", _mean(error, group), _mean(constant, group).value, task.unit),
        (
            "median_ae",
            bootstrap.percentile_interval(bootstrap.weighted_median(error, weights)),
            float(bootstrap.weighted_median(constant, weights[:1])[0]),
            task.unit,
        ),
    ]
    if task.within is not None:
        reach = task.within * np.abs(target) if task.relative else task.within
        whole = np.round if task.whole else np.asarray  # 15.4 days name no day that can come true
        guesses = (whole(guess) for guess in (predicted, np.full(len(target), baseline.median)))
        near, by_chance = (np.asarray(np.abs(target - guess) <= reach, dtype=float) for guess in guesses)
        rows.append((hit_name(task), _mean(near, group), _mean(by_chance, group).value, "share"))
    rows.append(
        ("rmse", root_interval(group_means(square, group)), float(group_means(around, group).mean()) ** 0.5, task.unit)
    )
    if spread.any():
        left = ratio_interval(group_means(square, group), spread)
        explained = Interval(1 - left.value, 1 - left.high, 1 - left.low)
        rows.append(("r2", explained, 1 - float(group_means(around, group).mean() / spread.mean()), "share"))
    return rows


def _classes(task: Task, target: Floats, predicted: Floats, baseline: Baseline, grouping: Grouping) -> Rows:
    group, weights = grouping
    truth, classes = target.astype(int), predicted.shape[1]
    constant = baseline.predict(len(truth))
    label, usual = predicted.argmax(axis=1), np.full(len(truth), int(baseline.shares.argmax()))
    counts = bootstrap.confusion(truth, label, weights, classes=classes)
    usual_counts = bootstrap.confusion(truth, usual, weights[:1], classes=classes)

    def loss(shares: Floats) -> Floats:
        return losses(task, target, shares)

    def brier(shares: Floats) -> Floats:
        return np.asarray(((shares - np.eye(classes)[truth]) ** 2).sum(axis=1))

    def resampled(values: Floats) -> Interval:
        return bootstrap.percentile_interval(values)

    rows: Rows = [
        ("log_loss", _mean(loss(predicted), group), _mean(loss(constant), group).value, "nats"),
        ("brier", _mean(brier(predicted), group), _mean(brier(constant), group).value, "squared share"),
    ]
    area = bootstrap.roc_auc(truth, predicted, weights)
    if np.isfinite(area[0]):
        rows.append(("roc_auc", resampled(area), 0.5, "area"))
    f1, usual_f1 = bootstrap.macro_f1(counts), float(bootstrap.macro_f1(usual_counts)[0])
    balanced = bootstrap.balanced_accuracy(counts)
    right, always_right = (_mean((made == truth).astype(float), group) for made in (label, usual))
    return [
        *rows,
        ("macro_f1", resampled(f1), usual_f1, "share"),
        ("balanced_accuracy", resampled(balanced), float(bootstrap.balanced_accuracy(usual_counts)[0]), "share"),
        ("accuracy", right, always_right.value, "share"),
    ]  # fmt: skip


def _mean(values: Floats, group: NDArray[np.int64]) -> Interval:
    return mean_interval(group_means(values, group))


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


_MORE_IS_BETTER = ("r2", "roc_auc", "macro_f1", "balanced_accuracy", "accuracy")


@dataclass(frozen=True)
class Measure:
    """What of a score is compared."""

    values: Floats  # float64, shape (n_groups,) or (1 + draws,); per group, or per bootstrap draw
    difference: Callable[[Floats, Floats], Difference]  # compares the values of two models


def measures(task: Task, predictions: pd.DataFrame, *, group: NDArray[np.int64], weights: Floats) -> dict[str, Measure]:
    """Measure one model by every score of its task, in the form in which two models are compared.

    Parameters
    ----------
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
