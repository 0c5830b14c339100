"""What would acting on the predictions be worth: to patients at a threshold, and to who plans the beds?"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.text import number
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.statistics.estimates import Interval

Floats = NDArray[np.float64]
Line = tuple[str, float, str, Interval, str]
NET_BENEFIT, OVER_ALL = "net_benefit", "over_all"
MIS_PLANNED, SAVED = "mis_planned", "saved"
_COLUMNS = ["class", "threshold", "measure", "value", "low", "high", "unit", "n"]
_PER = 100  # admissions
_FEWEST = 10  # units with the class, and without, below which there is no interval


def measure(run: FittedRun, _: object = None) -> pd.DataFrame | None:
    """Measure the net benefit of each class at the task's thresholds, or the bed-days that a stay's planning misses.

    Returns
    -------
    DataFrame or None
        ``class, threshold, measure, value, low, high, unit, n``, per 100 admissions, with 95 % intervals over units.
        Of classes ``net_benefit``, of acting on those whose predicted share reaches the threshold, against acting on
        none, and ``over_all``, against acting on all. Of days ``mis_planned``, the bed-days by which plans differ from
        stays, and ``saved``, how many fewer they are than with the constant. None where the task names no thresholds,
        and its unit is not days.

    Notes
    -----
    At threshold t a false alarm weighs t / (1 - t) of a hit: who acts from 20 % on holds four false alarms worth one
    hit. Vickers & Elkin (2006), Medical Decision Making 26, 565. https://doi.org/10.1177/0272989X06295361
    """
    task = run.problem.task
    lines = list(_of_classes(run) if run.problem.labels else _of_days(run) if task.unit == "days" else ())
    rows = [
        (label, threshold, name, value.value, value.low, value.high, unit, run.units.admissions)
        for label, threshold, name, value, unit in lines
    ]
    return pd.DataFrame(rows, columns=_COLUMNS) if rows else None


def sentence(table: pd.DataFrame) -> str:
    """Say where acting on the predictions is better than on all and on none; or what planning by them saves."""
    if MIS_PLANNED in set(table["measure"]):
        missed, saved = (
            [number(float(row[end]), digits=3) for end in ("value", "low", "high")] for row in table.to_dict("records")
        )
        return (
            f"Bed-days planned wrongly per {_PER} admissions: {missed[0]} (95 % interval {missed[1]} to {missed[2]}); "
            f"saved against the constant: {saved[0]} ({saved[1]} to {saved[2]})."
        )
    above = table.assign(above=table["low"] > 0).groupby(["class", "threshold"], sort=False)["above"].all()
    where = [
        f"{label} at {', '.join(f'{100 * one:g} %' for one in good.index.get_level_values('threshold'))}"
        for label, part in above.groupby("class", sort=False)
        if len(good := part[part])
    ]
    return (
        "Net benefit: acting on the predicted share is better than acting on all, and on none, "
        f"{'for ' + '; '.join(where) if where else 'at no threshold'} (95 % intervals, one by one)."
    )


def _brief(table: pd.DataFrame) -> str:
    """Say in a line at how many thresholds acting on the predictions is better, or what planning by them saves."""
    if MIS_PLANNED in set(table["measure"]):
        missed, saved = (number(value, digits=3) for value in table["value"])
        return f"Bed-days planned wrongly per {_PER} admissions: {missed}, {saved} fewer than with the constant."
    above = table.assign(above=table["low"] > 0).groupby(["class", "threshold"])["above"].all()
    return f"Acting on the shares beats acting on all and on none at {above.sum()} of {len(above)} thresholds."


def curve(table: pd.DataFrame) -> pd.DataFrame:
    """Lay net benefit out for a decision curve: ``class, threshold, value, low, high, all``."""
    net, over = (table[table["measure"] == name].reset_index(drop=True) for name in (NET_BENEFIT, OVER_ALL))
    return net[["class", "threshold", "value", "low", "high"]].assign(all=net["value"] - over["value"])


def _of_classes(run: FittedRun) -> Iterator[Line]:
    unit = f"net hits per {_PER} admissions"
    for code, label in enumerate(run.problem.labels):
        occurs = run.target == code
        few = min(len(run.units.only(occurs)), len(run.units.only(~occurs))) < _FEWEST
        for threshold in run.problem.task.thresholds:
            worth = _PER * np.where(occurs, 1.0, -threshold / (1 - threshold))  # of acting
            acts = run.predicted[:, code] >= threshold
            for name, values in ((NET_BENEFIT, worth * acts), (OVER_ALL, -worth * ~acts)):
                found = run.units.ratio(values)
                yield label, threshold, name, Interval(found.value, np.nan, np.nan) if few else found, unit


def _of_days(run: FittedRun) -> Iterator[Line]:
    unit, whole = f"bed-days per {_PER} admissions", run.problem.task.whole
    missed, constant = (
        _PER * np.abs(run.target - (np.round(plan) if whole else plan)) for plan in (run.predicted, run.constant())
    )
    yield "", np.nan, MIS_PLANNED, run.units.ratio(missed), unit
    yield "", np.nan, SAVED, run.units.ratio(constant - missed), unit


def _metrics(table: pd.DataFrame) -> Mapping[str, float]:
    days = table[table["measure"].isin((MIS_PLANNED, SAVED))]
    return {f"bed_days_{row['measure']}": row["value"] for row in days.to_dict("records")}


ASSESSMENTS = [Assessment("usefulness", measure, metrics=_metrics, sentence=sentence, brief=_brief)]
