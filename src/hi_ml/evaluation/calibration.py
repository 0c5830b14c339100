"""Are the predictions of a task right on the whole, and are their differences as large as those that occur?"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.modeling.problem import Problem
from hi_ml.statistics import calibration

Floats = NDArray[np.float64]
Line = tuple[str, str, calibration.Agreement, float]
_COLUMNS = ["class", "measure", "value", "low", "high", "ideal", "n", "note"]
_OF_MEAN = "the learner predicts the mean: 0.5 is ideal for a median"
_OF_MEDIAN = "the learner predicts the median: 1 is ideal for a mean, and for a median where errors are symmetric"


def measure(problem: Problem, predicted: Floats, *, predicts: Literal["median", "mean"]) -> pd.DataFrame:
    """Measure the calibration of predictions of the test rows.

    Parameters
    ----------
    predicted : array of float64, shape (n_test,) or (n_test, n_classes)
    predicts : {"median", "mean"}
        What a regression learner aims at.

    Returns
    -------
    DataFrame
        ``class, measure, value, low, high, ideal, n, note``. Per class, against the rest: ``in_the_large`` (log-odds)
        and ``slope``; for a regression, with an empty class, ``share_above`` and ``slope``. 95 % intervals over groups;
        ``n`` counts rows; ``note`` says why there is no estimate, or no ideal. See `hi_ml.statistics.calibration`.
    """
    test = problem.where("test")
    target, group = problem.target[test], problem.group[test]
    if problem.labels:
        lines = list(_of_classes(target, predicted, group, problem.labels))
    else:
        lines = list(_of_amounts(target, predicted, group, predicts))
    rows = [
        (name, what, found.value, found.low, found.high, ideal, len(target), found.note)
        for name, what, found, ideal in lines
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _of_classes(target: Floats, shares: Floats, group: NDArray[np.int64], labels: list[str]) -> Iterator[Line]:
    for code, label in enumerate(labels):
        occurred, share = target == code, shares[:, code]
        yield label, "in_the_large", calibration.in_the_large(occurred, share, group), 0.0
        yield label, "slope", calibration.slope(occurred, share, group), 1.0


def _of_amounts(target: Floats, predicted: Floats, group: NDArray[np.int64], predicts: str) -> Iterator[Line]:
    above, slope = (found(target, predicted, group) for found in (calibration.share_above, calibration.linear_slope))
    if predicts == "median":
        yield "", "share_above", above, 0.5
        yield "", "slope", slope.noted(_OF_MEDIAN), np.nan
    else:
        yield "", "share_above", above.noted(_OF_MEAN), np.nan
        yield "", "slope", slope, 1.0
