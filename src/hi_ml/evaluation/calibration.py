"""Are the predictions of a task right on the whole, and are their differences as large as those that occur?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.text import number
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.statistics import calibration

Floats = NDArray[np.float64]
Line = tuple[str, str, calibration.Agreement, float]
_COLUMNS = ["class", "measure", "value", "low", "high", "ideal", "n", "note"]
_WAYS = {  # what a measure below, or above, its ideal means
    "share_above": ("too high on the whole", "too low on the whole"),
    "in_the_large": ("too high on the whole", "too low on the whole"),
    "slope": ("too far apart (extremes are overstated)", "too close together (extremes are understated)"),
}
_HAIR = 0.01  # share of the mean deviation from the median
_OF_MEAN = "no ideal: the learner predicts the mean, with half of the targets above where errors are symmetric"
_OF_MEDIAN = "no ideal: the learner predicts the median, with a slope of 1 where errors are symmetric"


def measure(run: FittedRun, _: object = None) -> pd.DataFrame:
    """Measure the calibration of the predictions of the test rows.

    Returns
    -------
    DataFrame
        ``class, measure, value, low, high, ideal, n, note``. Per class, against the rest: ``in_the_large`` (log-odds)
        and ``slope``; for a regression, with an empty class, ``share_above`` and ``slope``. 95 % intervals over units;
        ``n`` counts rows; ``note`` says why there is no estimate, or no ideal. See `hi_ml.statistics.calibration`.
    """
    lines = _of_classes(run) if run.problem.labels else _of_amounts(run)
    rows = [
        (label, name, agreement.value, agreement.low, agreement.high, ideal, len(run.predicted), agreement.note)
        for label, name, agreement, ideal in lines
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def sentence(table: pd.DataFrame) -> str:
    """Say each measure of calibration, over the classes if there are some, and whether the ideal is inside."""
    estimated = table[table["value"].notna()]
    judged = estimated[estimated["ideal"].notna()]
    missed = int(((judged["ideal"] < judged["low"]) | (judged["ideal"] > judged["high"])).sum())
    words = [_measure(str(name), part) for name, part in estimated.groupby("measure", sort=False)]
    without = len(table) - len(estimated)
    ends = [f"{missed} of {len(judged)} intervals miss the ideal"] if len(judged) else []
    ends += [f"{without} not estimable"] if without else []
    return f"Calibration: {'; '.join([*words, *ends])}."


def plain(table: pd.DataFrame) -> str:
    """Say in one plain sentence whether predictions are right on the whole, and where they are not."""
    table = table[table["value"].notna() & table["ideal"].notna()]
    if table.empty:
        return "Whether predictions are right on the whole could not be measured."
    missed = table[(table["ideal"] < table["low"]) | (table["ideal"] > table["high"])]
    ways = [
        f"{_WAYS[row['measure']][row['value'] > row['ideal']]}{_of(row['class'])}" for row in missed.to_dict("records")
    ]
    if not ways:
        return "Predictions are right on the whole, as far as this table can tell."
    return f"Predictions are {', '.join(ways)}, by more than chance explains."


def _of(label: object) -> str:
    return f" for {label}" if isinstance(label, str) and label else ""  # an amount has none


def _brief(table: pd.DataFrame) -> str:
    missed = plain(table).removesuffix(".")
    return f"Calibration: {missed[:1].lower()}{missed[1:]}."


def _measure(name: str, part: pd.DataFrame) -> str:
    name = name.replace("_", " ")
    if len(part) == 1:
        value, low, high = (number(float(part[end].iloc[0]), digits=3) for end in ("value", "low", "high"))
        return f"{name} {value} ({low} to {high}{'; no ideal' if part['ideal'].isna().any() else ''})"
    low, high = (number(float(end), digits=3) for end in (part["value"].min(), part["value"].max()))
    return f"{name} between {low} and {high} over {len(part)} classes"


def _of_classes(run: FittedRun) -> Iterator[Line]:
    for code, label in run.told_labels.items():
        occurred, probability = run.target == code, run.predicted[:, code]
        yield label, "in_the_large", calibration.in_the_large(occurred, probability, run.units), 0.0
        yield label, "slope", calibration.slope(occurred, probability, run.units), 1.0


def hair_of(run: FittedRun) -> float:
    """How near an amount is that meets its prediction: half a unit, if whole; else 1 % of the mean deviation."""
    deviation = np.abs(run.target - np.median(run.target))
    return 0.5 if run.problem.task.whole else _HAIR * float(run.units.mean(deviation))


def _of_amounts(run: FittedRun) -> Iterator[Line]:
    above = calibration.share_above(run.target, run.predicted, run.units, within=hair_of(run))
    slope = calibration.linear_slope(run.target, run.predicted, run.units)
    if run.method.model.predicts == "median":
        yield "", "share_above", above, 0.5
        yield "", "slope", slope.noted(_OF_MEDIAN), np.nan
    elif run.method.model.predicts == "quantile":
        yield "", "share_above", above, 1 - (run.problem.task.quantile or 0.5)
        yield "", "slope", slope.noted("no ideal: the learner predicts a quantile"), np.nan
    else:
        yield "", "share_above", above.noted(_OF_MEAN), np.nan
        yield "", "slope", slope, 1.0


ASSESSMENTS = [Assessment("calibration", measure, sentence=sentence, brief=_brief)]
