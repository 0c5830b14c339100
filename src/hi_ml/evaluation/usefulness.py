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
MIS_PLANNED, SAVED, AT_RISK = "mis_planned", "saved", "at_risk"
_MONEY = "billed"  # the role whose amounts add up to a sum of money
_COLUMNS = ["class", "threshold", "measure", "value", "low", "high", "unit", "n"]
_PER = 100  # admissions
_FEWEST = 10  # units with the class, and without, below which there is no interval


def measure(run: FittedRun, _: object = None) -> pd.DataFrame | None:
    """Measure the net benefit of each class at the task's thresholds, or the bed-days, or the money, that plans miss.

    Returns
    -------
    DataFrame or None
        ``class, threshold, measure, value, low, high, unit, n``, per 100 admissions, with 95 % intervals over units.
        Of classes ``net_benefit``, of acting on those whose predicted share reaches the threshold, against acting on
        none, and ``over_all``, against acting on all. Of days ``mis_planned``, the bed-days by which plans differ from
        stays, and ``saved``, how many fewer they are than with the constant; of bills both in their unit, and
        ``at_risk``, the sum billed beyond the plans. None where the task names no thresholds, and its amounts are
        neither days nor bills. There is no value where it would tell of the hits, or false alarms, of a few
        patients.

    Notes
    -----
    At threshold t a false alarm weighs t / (1 - t) of a hit: who acts from 20 % on holds four false alarms worth one
    hit. Vickers & Elkin (2006), Medical Decision Making 26, 565. https://doi.org/10.1177/0272989X06295361
    """
    task = run.problem.task
    adds_up = task.unit == "days" or task.target == _MONEY
    lines = list(_of_classes(run) if run.problem.labels else _of_plans(run) if adds_up else ())
    rows = [
        (label, threshold, name, value.value, value.low, value.high, unit, run.units.admissions)
        for label, threshold, name, value, unit in lines
    ]
    return pd.DataFrame(rows, columns=_COLUMNS) if rows else None


def sentence(table: pd.DataFrame) -> str:
    """Say where acting on the predictions is better than on all and on none; or what planning by them saves."""
    if MIS_PLANNED in set(table["measure"]):
        missed, saved, *risk = (
            [number(float(row[end]), digits=3) for end in ("value", "low", "high")] for row in table.to_dict("records")
        )
        return (
            f"{_planned(table)}: {missed[0]} (95 % interval "
            f"{missed[1]} to {missed[2]}); saved against one guess for everybody: {saved[0]} ({saved[1]} to {saved[2]})"
            f"{_chance(table)}."
        ) + "".join(f" At risk, billed beyond the plans: {one[0]} ({one[1]} to {one[2]})." for one in risk)
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
        missed, saved, *risk = (number(abs(value), digits=3) for value in table["value"])
        gain = table[table["measure"] == SAVED].iloc[0]
        less = "fewer" if gain["value"] >= 0 else "more"
        beyond = "".join(f"; {one} at risk, billed beyond the plans" for one in risk)
        return f"{_planned(table)}: {missed}, {saved} {less} than with one guess for everybody{_chance(table)}{beyond}."
    above = table.assign(above=table["low"] > 0).groupby(["class", "threshold"])["above"].all()
    return f"Acting on the shares beats acting on all and on none at {above.sum()} of {len(above)} thresholds."


def _chance(table: pd.DataFrame) -> str:
    saved = table[table["measure"] == SAVED].iloc[0]
    return "" if saved["low"] > 0 or saved["high"] < 0 else ", which chance may make"


def _planned(table: pd.DataFrame) -> str:
    unit = str(table["unit"].iloc[0]).partition(" per ")[0]
    planned = "Bed-days" if unit.endswith("bed-days") else f"Sum of bills ({unit})"
    return f"{planned} planned wrongly per {_PER} admissions{', in plans of whole days' * unit.startswith('whole')}"


def curve(table: pd.DataFrame) -> pd.DataFrame:
    """Lay net benefit out for a decision curve: ``class, threshold, value, low, high, all``."""
    net, over = (table[table["measure"] == name].reset_index(drop=True) for name in (NET_BENEFIT, OVER_ALL))
    return net[["class", "threshold", "value", "low", "high"]].assign(all=net["value"] - over["value"])


def _of_classes(run: FittedRun) -> Iterator[Line]:
    unit = f"net hits per {_PER} admissions"
    for code, label in run.told_labels.items():
        occurs = run.target == code
        few = min(len(run.units.only(occurs)), len(run.units.only(~occurs))) < _FEWEST
        for threshold in run.problem.task.thresholds:
            worth = _PER * np.where(occurs, 1.0, -threshold / (1 - threshold))  # of acting
            acts = run.predicted[:, code] >= threshold
            told = not any(run.rule.tells(one & other) for one in (acts, ~acts) for other in (occurs, ~occurs))
            for name, values in ((NET_BENEFIT, worth * acts), (OVER_ALL, -worth * ~acts)):
                found = run.units.ratio(values) if told else Interval(np.nan, np.nan, np.nan)
                yield label, threshold, name, Interval(found.value, np.nan, np.nan) if few else found, unit


def _of_plans(run: FittedRun) -> Iterator[Line]:
    """Hold what would be planned against what came: stays in bed-days, bills in their unit."""
    task = run.problem.task
    days = "whole bed-days" if task.whole else "bed-days"
    unit = f"{days if task.unit == 'days' else task.unit} per {_PER} admissions"
    beyond, constant = (
        _PER * (run.target - (np.round(plan) if task.whole else plan)) for plan in (run.predicted, run.constant())
    )
    yield "", np.nan, MIS_PLANNED, run.units.ratio(np.abs(beyond)), unit
    yield "", np.nan, SAVED, run.units.ratio(np.abs(constant) - np.abs(beyond)), unit
    if task.target == _MONEY:
        yield "", np.nan, AT_RISK, run.units.ratio(np.maximum(beyond, 0.0)), unit


def _metrics(table: pd.DataFrame) -> Mapping[str, float]:
    days = table[table["measure"].isin((MIS_PLANNED, SAVED)) & table["unit"].str.contains("bed-days")]
    return {f"bed_days_{row['measure']}": row["value"] for row in days.to_dict("records")}


ASSESSMENTS = [Assessment("usefulness", measure, metrics=_metrics, sentence=sentence, brief=_brief)]
