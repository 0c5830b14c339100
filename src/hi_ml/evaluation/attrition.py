"""Whom do the rules of the dataset leave out, and does the target differ among them?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.text import counted, number
from hi_ml.evaluation.assessment import Assessment
from hi_ml.modeling.problem import Problem
from hi_ml.statistics.disclosure import few_in_words
from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.means import contrast
from hi_ml.statistics.moments import moments

_FEWEST = 10  # patients on each side from which a difference is told
DIFFERENT, ALIKE, FEW = "differ", "no difference shown", "too few to tell"
_EVERY, _UNKNOWN, _USED = "all that can be read", "the target is missing", "used"


def table(problem: Problem) -> pd.DataFrame | None:
    """Count what each rule leaves out, in order; None where nothing is.

    Returns
    -------
    DataFrame or None
        ``step``, ``rows`` and ``patients`` left out by it (of the first and last line: those that are there), ``mean``
        of the target among them (the share of the last label, for classes), ``mean_kept`` among those that no rule has
        left out so far, ``difference`` with ``low`` and ``high`` (95 %, by patient), ``verdict``. If a line is of too
        few patients, none but the last has a mean.
    """
    out = problem.left_out
    if out is None:
        return None
    target, patient, step = (np.concatenate(pair) for pair in zip(out.kept, out.gone, strict=True))
    lines = [_line(_EVERY, target, patient)]
    left = np.ones(len(step), dtype=np.bool_)
    for position, why in enumerate(out.whys):
        gone = step == position
        left &= ~gone
        lines.append(_line(why, target[gone], patient[gone]) | _difference(target, patient, gone, left))
    unknown = left & np.isnan(target)
    if unknown.any():
        lines.append(_line(_UNKNOWN, target[unknown], patient[unknown]))
    used = left & ~unknown
    attrition = pd.DataFrame([*lines, _line(_USED, target[used], patient[used])])
    attrition.attrs["smallest"] = problem.smallest_cell
    few = attrition["patients"].between(1, problem.smallest_cell - 1)
    if few.any():  # the means of the others would tell theirs
        means = [name for name in ("mean", "mean_kept", "difference", "low", "high") if name in attrition]
        attrition.loc[attrition.index[:-1], means] = np.nan
    return attrition


def _line(step: str, target: NDArray[np.float64], patient: NDArray[np.int64]) -> dict[str, Any]:
    known = target[~np.isnan(target)]
    patients = len(np.unique(patient[patient >= 0])) + int((patient < 0).sum())
    return {"step": step, "rows": len(target), "patients": patients, "mean": known.mean() if len(known) else np.nan}


def _difference(
    target: NDArray[np.float64], patient: NDArray[np.int64], gone: NDArray[np.bool_], kept: NDArray[np.bool_]
) -> dict[str, Any]:
    rows = (gone | kept) & ~np.isnan(target)
    unit = np.where(patient < 0, patient.max(initial=0) + 1 + np.arange(len(patient)), patient)
    sides = [unit[rows & side] for side in (gone, kept)]
    if min(len(np.unique(side)) for side in sides) < _FEWEST or np.ptp(target[rows]) == 0:
        return {"verdict": FEW}
    repeated = len(np.unique(unit[rows])) < rows.sum()
    effect = contrast(
        moments(target[rows], kept[rows].astype(int), 2, unit[rows] if repeated else None), [1, -1], margin=Margin(1.0)
    )
    verdict = ALIKE if effect.low <= 0 <= effect.high else DIFFERENT
    ends = {"difference": effect.estimate, "low": effect.low, "high": effect.high}
    return {"mean_kept": target[kept & rows].mean(), **ends, "verdict": verdict}


def _sentences(attrition: pd.DataFrame | None) -> str | None:
    return None if attrition is None else "\n".join(_say(attrition))


def _say(attrition: pd.DataFrame) -> Iterator[str]:
    for line in attrition.iloc[1:-1].to_dict("records"):
        means = "" if pd.isna(line["mean"]) else f", mean of the target {number(line['mean'])}"
        if means and line.get("verdict") in (DIFFERENT, ALIKE):
            means += f" against {number(line['mean_kept'])} of those kept: {line['verdict']}"
        smallest = attrition.attrs.get("smallest", 1)
        rows, patients = (counted(few_in_words(line[what], smallest)) for what in ("rows", "patients"))
        yield f"Left out: {rows} rows of {patients} patients, {line['step']}{means}."


def _metrics(attrition: pd.DataFrame) -> dict[str, float]:
    first, last = (float(attrition["rows"].iloc[end]) for end in (0, -1))
    return {"rows_left_out": first - last}


ASSESSMENTS = [
    Assessment("attrition", lambda run, _: table(run.problem), metrics=_metrics, sentence=_sentences),
]
