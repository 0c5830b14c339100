"""What do training rows say that a model was not fitted to: which scale loses less, and how to recalibrate it?"""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.text import percent
from hi_ml.modeling import models
from hi_ml.modeling.features import Features
from hi_ml.modeling.scale import RAW, TargetScale, is_long_tailed, log_of
from hi_ml.modeling.scores.score import loss_of, losses
from hi_ml.modeling.splits import folds, some_groups
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.calibration import Recalibration
from hi_ml.statistics.groups import Units

Floats = NDArray[np.float64]
_FOLDS = 3  # of the training rows, as good as five for a slope: each is predicted by a model fitted to the other two
_ROWS = 10_000  # training rows that are looked at, about
_FEWEST = 60  # groups of training rows; fewer cannot tell
_SMALLEST = 0.005  # share of the loss, as of a configuration in tune: for less, contributions keep the target's unit
_STREAM = 13  # random numbers of its own, apart from those that split the rows


def choose_scale(
    task: Task,
    model: models.Model,
    features: Features,
    target: Floats,
    *,
    group: NDArray[np.int64],
    train: NDArray[np.int64],
    seed: int,
) -> TargetScale:
    """Choose the scale on which a model learns the amounts of a task, from its training rows.

    Parameters
    ----------
    features : Features, shape (n, n_features)
        Usable ones.
    target : array of float64, shape (n,)
        Amounts of all rows, of which those outside of training only tell whether there is a logarithm.
    group : array of int64, shape (n,)
    train : array of int
        Positions of the training rows, one of the copies of an admission.

    Raises
    ------
    ConfigurationInvalid
        If the task declares a logarithm that the target does not have, or the learner refuses its settings.

    Notes
    -----
    A declared scale stands. Else a target keeps its own where it has no logarithm or no long tail, which costs
    nothing; where it has both, the model is cross-fitted on both scales, and the logarithm taken if it saves half a
    per cent of the loss: of the primary one, or of the squared error of a learner of means. The factor of such a
    learner is Duan's smearing estimate, from the same out-of-fold predictions: residuals of the rows that a forest was
    fitted to are too small. Duan (1983), Journal of the American Statistical Association 78, 605.
    https://doi.org/10.1080/01621459.1983.10478017
    """
    if task.kind == "classification" or task.scale == "raw":
        return RAW
    log, declared = log_of(task, target), task.scale == "log"
    few = len(np.unique(group[train])) < _FEWEST
    if log is None or not (declared or (is_long_tailed(target[train]) and not few)):
        return RAW
    if declared and model.predicts != "mean":
        return replace(log, reason=f"{task.name} is learned on the log scale, as declared.")
    rows = some_groups(group[train], train, _ROWS, np.random.default_rng([seed, _STREAM]))
    seen = (features.part(rows), target[rows], group[rows])
    predicted = _predict(model, *seen, scale=log, seed=seed)
    if model.predicts == "mean":
        log = replace(log, factor=float(np.mean((target[rows] + log.shift) / (predicted + log.shift))))
        predicted = (predicted + log.shift) * log.factor - log.shift
    if declared:
        return replace(log, reason=f"{task.name} is learned on the log scale, as declared.")
    own = _predict(model, *seen, seed=seed)
    loss, name = (_squares, "squared error") if model.predicts == "mean" else (losses, loss_of(task).title)
    before, after = (loss(task, target[rows], one) for one in (own, predicted))
    return _better(log, Units.of(rows, group[rows]), before, after, name)


def fit_recalibrated(
    model: models.Model, features: Features, target: Floats, *, group: NDArray[np.int64], classes: int, seed: int
) -> models.Fitted:
    """Fit as `hi_ml.modeling.models.fit` does and, for classes, a slope and intercepts to out-of-fold predictions.

    Parameters
    ----------
    features : Features, shape (n, n_features)
        Training rows and usable features only: no other row is looked at.
    target : array of float64, shape (n,)
    group : array of int64, shape (n,)
        Groups stay together in the folds; at least two.
    classes : int
        Number of labels; 0 for regression, which is fitted as it is, as is a learner that predicts a constant.

    Notes
    -----
    The models of the folds make as many rounds as the one that is kept: where early stopping happened to end decides
    how far its probabilities are drawn apart, and only models that share it can tell by how much.
    """
    started = time.perf_counter()
    fitted = models.fit(model, features, target, group=group, classes=classes, seed=seed)
    if not classes or hasattr(fitted.pipeline[-1], "class_prior_"):  # a constant has no spread to mend
        return fitted
    out_of_fold = _predict(models.as_stopped(model, fitted), features, target, group, classes=classes, seed=seed)
    recalibration = Recalibration.of(target.astype(int), out_of_fold, np.ones(len(target)))
    return replace(fitted, recalibration=recalibration, seconds=time.perf_counter() - started)


def _squares(_: Task, target: Floats, predicted: Floats) -> Floats:
    return np.asarray((target - predicted) ** 2)


def _better(log: TargetScale, units: Units, before: Floats, after: Floats, name: str) -> TargetScale:
    """Decide from the losses of rows on the target's own scale and on the logarithm."""
    if before.mean() - after.mean() <= _SMALLEST * before.mean():
        return RAW
    saved = units.ratio(before - after, before)
    return replace(
        log,
        reason=(
            f"Learned on the log scale: over {_FOLDS} folds of training rows its {name} is {percent(saved.value)} % "
            f"(95 % interval {percent(saved.low)} to {percent(saved.high)}) smaller than without."
        ),
    )


def _predict(
    model: models.Model,
    features: Features,
    target: Floats,
    group: NDArray[np.int64],
    *,
    seed: int,
    classes: int = 0,
    scale: TargetScale = RAW,
) -> Floats:
    """Predict each row by a model fitted to the other folds, shape (n,), or (n, classes)."""
    predicted = np.empty((len(target), classes) if classes else len(target))
    for train, test in folds(group, count=_FOLDS, seed=seed):
        fitted = models.fit(
            model, features.part(train), target[train], group=group[train], classes=classes, seed=seed, scale=scale
        )
        predicted[test] = fitted.predict(features.frame.iloc[test])
    return predicted
