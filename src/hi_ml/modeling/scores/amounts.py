"""How far is a predicted amount from the true one?"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from hi_ml.modeling.scores.score import EXPLAINED, RESAMPLED, ROOT, Predictions, Score
from hi_ml.modeling.tasks import Task
from hi_ml.statistics import bootstrap

Floats = NDArray[np.float64]
_TINY = 1e-6  # mean of a count, below which a logarithm is not taken


def _error(_: Task, target: Floats, predicted: Floats) -> Floats:
    return np.abs(target - predicted)


def _square(_: Task, target: Floats, predicted: Floats) -> Floats:
    return np.asarray((target - predicted) ** 2)


def _pinball(task: Task, target: Floats, predicted: Floats) -> Floats:
    level, error = task.quantile or 0.5, target - predicted
    return np.asarray(np.maximum(level * error, (level - 1) * error))


def _poisson(_: Task, target: Floats, predicted: Floats) -> Floats:
    """Deviance of a Poisson count: twice the log-likelihood that is missing. A mean of 0 is taken for a tiny one."""
    mean = np.maximum(predicted, _TINY)
    return np.asarray(2 * (xlogy(target, target / mean) - target + mean))


def _near(task: Task, target: Floats, predicted: Floats) -> Floats:
    within = task.within or 0
    reach = within * np.abs(target) if task.relative else within
    guess = np.round(predicted) if task.whole else predicted  # 15.4 days name no day that can come true
    return np.asarray(np.abs(target - guess) <= reach, dtype=float)


def _median_error(of: Predictions) -> Floats:
    errors = np.abs(of.target - of.predicted)
    order = np.argsort(errors, kind="stable")  # once, and not for every draw
    errors, unit, votes = errors[order], of.units.unit[order], of.units.votes[order]
    return of.resample(lambda times: bootstrap.weighted_quantile(errors, times[:, unit] * votes))


def _squares_and_spread(of: Predictions) -> Floats | None:
    """Sums of squares of the units, around the predictions and around the centre, shape (2, n_units)."""
    centre = float(np.average(of.target, weights=of.units.votes))
    spread = of.units.sums((of.target - centre) ** 2)
    squares = of.units.sums((of.target - of.predicted) ** 2)
    return np.stack([squares, spread]) if spread.any() else None


SCORES = [
    Score("mae", "regression", "less", _error, title="mean absolute error", loss="absolute error"),
    Score("median_ae", "regression", "less", sample=_median_error, reduce=RESAMPLED, title="median absolute error"),
    Score("within_{reach}", "regression", "more", _near, unit="share"),
    Score(
        "rmse", "regression", "less", _square, reduce=ROOT, constant="mean", title="root mean squared error",
        loss="squared error",
    ),
    Score(
        "r2", "regression", "more", sample=_squares_and_spread, reduce=EXPLAINED, unit="share", constant="mean",
        title="R²",
    ),
    Score(
        "pinball", "regression", "less", _pinball, constant="quantile", title="pinball loss", asked=True,
        loss="pinball loss",
    ),
    Score(
        "poisson", "regression", "less", _poisson, unit="nats", constant="mean", title="Poisson deviance", asked=True,
        loss="Poisson deviance",
    ),
]  # fmt: skip
