"""How well stays and test results can be predicted at best, given their distributions.

Each function takes one distribution per cell and the cells' weights, and returns the mean score of the best prediction
in each cell. Given the margin alone (one cell), it returns the score of the best constant.
"""

import numpy as np

from hi_ml.datasets.simulation.law import Floats
from hi_ml.datasets.simulation.outcomes import DAYS

Scores = dict[str, float]

HALF = 0.5
"""The chance below a median."""


def stay_scores(chances: Floats, weights: Floats) -> Scores:
    """Return the scores of the Bayes rules for days.

    Parameters
    ----------
    chances : ndarray, shape (cells, 30)
        Chances of 1 to 30 days in each cell.
    weights : ndarray, shape (cells,)
        Weights of the cells, of any sum above 0.

    Returns
    -------
    dict of str to float
        `mae` of the median and `rmse` of the mean, in days; `r2` of the mean; `within_1_day`, the share of stays at
        most one day from the day around which most of them lie.
    """
    mean = chances @ DAYS
    variance = chances @ DAYS.astype(np.float64) ** 2 - mean**2
    mse = np.average(variance, weights=weights)
    between = np.average((mean - np.average(mean, weights=weights)) ** 2, weights=weights)
    median = DAYS[(np.cumsum(chances, axis=1) < HALF).sum(axis=1)]
    padded = np.pad(chances, ((0, 0), (1, 1)))
    near = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]).max(axis=1)
    return {
        "mae": float(np.average((chances * np.abs(DAYS - median[:, None])).sum(axis=1), weights=weights)),
        "rmse": float(np.sqrt(mse)),
        "r2": float(between / (mse + between)),
        "within_1_day": float(np.average(near, weights=weights)),
    }


def result_scores(chances: Floats, weights: Floats) -> Scores:
    """Return the scores of the Bayes rules for classes.

    Parameters
    ----------
    chances : ndarray, shape (cells, classes)
        Chances of the classes in each cell.
    weights : ndarray, shape (cells,)
        Weights of the cells, of any sum above 0.

    Returns
    -------
    dict of str to float
        `log_loss` in nats and `brier` (sum over the classes) of the chances; `accuracy` of the likeliest class.
    """
    return {
        "log_loss": float(np.average(-(chances * np.log(chances)).sum(axis=1), weights=weights)),
        "accuracy": float(np.average(chances.max(axis=1), weights=weights)),
        "brier": float(np.average(1 - (chances**2).sum(axis=1), weights=weights)),
    }
