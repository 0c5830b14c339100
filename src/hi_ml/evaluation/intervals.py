"""Between which bounds does the truth lie, how often was it so on the test part, and how wide are they?

A fitted model is calibrated on the calibration part, which nothing else reads: conformalised quantile regression where
its learner knows quantiles, residuals around the prediction where it does not, sets of labels for classes. Every
admission counts, for the thresholds as for the coverage, copies as one; how sure a coverage is, patients tell. Where
intervals do not keep their level, or not for some, the run says so, and so does the model that it serves.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.text import number, percent
from hi_ml.evaluation.assessment import Assessment, FittedRun, Method
from hi_ml.evaluation.conformal import (
    AmountForecast,
    AmountIntervals,
    ClassForecast,
    Codes,
    Floats,
    Forecast,
    LabelSets,
    Mask,
    Thresholds,
)
from hi_ml.evaluation.coverage import (
    LABELS,
    Checked,
    Part,
    Slices,
    broken,
    listed,
    missed,
    scores,
    sentence,
    slice_table,
)
from hi_ml.evaluation.subgroups import Subgroups
from hi_ml.modeling.models import Fitted, fit_quantiles
from hi_ml.modeling.problem import Problem
from hi_ml.scorer import serving
from hi_ml.statistics import conformal
from hi_ml.statistics.bins import OUTSIDE, bins
from hi_ml.statistics.groups import Units

CLASS = "class"  # what sets of labels may be apart by, besides columns
_SLICES, _FEWEST = 10, 20  # slices of the predictions, at most so many, each of at least about so many admissions
_FEWEST_CASES = 30  # in the calibration part, of a class that gets a threshold of its own
_CLEARLY = 0.95  # of the width of intervals with two learned bounds: below it one bound and the floor are better
_TIED = 0.01  # of the calibration cases, by which sets hold more than they must, from which on it is said
_LOOKED_AT = 5000  # training rows, at most about so many, on which this is found out
_METHODS = {
    "quantiles": "Conformalised quantile regression",
    "residual": "Conformal residuals",
    "labels": "Least ambiguous conformal sets",
}
_APPROXIMATE = {
    "temporal": " Approximate: rows of different times are not exchangeable.",
    "random": " Approximate: the random split tears groups apart.",
}


@settings(frozen=True, config=STRICT)
class Rule:
    """Which intervals are asked for."""

    level: float = Field(0.9, gt=0, lt=1)  # with which probability they hold the truth
    # a column whose levels each get a threshold of their own (Mondrian; Vovk 2012), or, for sets of labels, `CLASS`
    by: str | None = None
    bands: dict[str, list[float]] = Field(default_factory=dict)  # by role, where the bands of a number begin

    def codes(self, problem: Problem) -> tuple[Codes, list[str]]:
        """Number the levels of all rows.

        Returns
        -------
        codes : array of int64, shape (n,)
            Positions in ``names``; -1 where missing, and everywhere if nothing was asked for.
        names : list of str

        Raises
        ------
        ConfigurationInvalid
            If the model does not see the column, or it is a number without bands, or amounts shall be apart by class.
        """
        features = problem.features
        if self.by is None:
            return np.full(len(problem.target), OUTSIDE), []
        if self.by_label(problem):
            return problem.target.astype(np.int64), problem.labels
        seen = seen_by(problem)
        if self.by not in seen:
            refuse = ConfigurationInvalid.interval_by_class if self.by == CLASS else ConfigurationInvalid.interval_by
            raise refuse(self.by, problem.task.name, seen)
        names, values = features.levels(self.by), features.frame[self.by].to_numpy(dtype=float)
        if names is not None:
            return np.where(np.isnan(values), OUTSIDE, values).astype(np.int64), [name or "" for name in names]
        if self.by not in self.bands:
            raise ConfigurationInvalid.interval_bands(self.by)
        return bins(values, self.bands[self.by], problem.units.get(self.by, ""))

    def by_label(self, problem: Problem) -> bool:
        """Tell whether each label shall be in as many of the sets of its own cases."""
        return self.by == CLASS and bool(problem.labels)

    def describe(self, problem: Problem) -> dict[str, Any] | None:
        """Say by which column, and where its bands begin, or that it is by label."""
        if self.by is None:
            return None
        if self.by_label(problem):
            return {"label": True}
        edges = None if problem.features.levels(self.by) else list(self.bands[self.by])
        return {"role": self.by, "edges": edges}


def seen_by(problem: Problem) -> list[str]:
    """List the columns that the model sees and that have levels."""
    features = problem.features
    return [role for role in dict.fromkeys(features.role.values()) if features.specs[role]["kind"] != "date"]


@dataclass(frozen=True)
class Conformal:
    """Intervals, or sets of labels, of the test rows."""

    fitted: Fitted  # with its bounds, where intervals need some
    # for `hi_ml.scorer.serving`; None where the calibration part is too small, and all below is empty
    description: dict[str, Any] | None
    # dict of str to array, shape (n_test,); ``low`` and ``high``, or ``prediction_set``
    columns: dict[str, NDArray[Any]]
    covered: Mask  # bool, shape (n_test,); whether the truth is inside
    scores: pd.DataFrame  # of `scores`; the baseline knows nothing
    table: pd.DataFrame  # of `slice_table`: all test admissions, and the levels asked for or slices of the prediction
    sentence: str  # what was reached
    note: str  # how, and for whom it was not reached
    missed: str = ""  # the second half of the note alone


def measure(run: FittedRun, rule: Rule) -> Conformal:
    """Fit bounds to the training part, where the learner has quantiles; calibrate them; check them on the test part.

    Raises
    ------
    ConfigurationInvalid
        If the rule asks for a column that the model does not see.
    """
    return conformalise(run, rule, _with_bounds(run, rule))


def conformalise(run: FittedRun, rule: Rule, fitted: Fitted) -> Conformal:
    """Calibrate a fitted model, with bounds or without, and check its intervals on the test part."""
    problem, seed = run.problem, run.method.seed
    codes, names = rule.codes(problem)
    calibration, test = (np.flatnonzero(problem.where(part)) for part in ("calibration", "test"))
    calibration = calibration[conformal.one_per_group(problem.twin[calibration], seed=seed)]
    drawn = conformal.one_per_group(problem.twin[test], seed=seed)
    units = problem.units_of(calibration)
    if len(units) < conformal.fewest(rule.level):
        return _none(run, rule, units)
    by_label, floor = rule.by_label(problem), _floor(problem)
    scored = _scores(problem, _forecast(problem, fitted, calibration, floor), calibration)
    thresholds = Thresholds.of(
        scored,
        units,
        codes[calibration],
        np.isin(np.arange(len(names)), codes[problem.where("train")]),
        level=rule.level,
        fewest=_FEWEST_CASES if by_label else 1,
    )
    forecast = _forecast(problem, fitted, test, floor)
    sets = forecast.prediction_set(thresholds.of_levels[None] if by_label else thresholds.of_rows(codes[test]))
    covered, unit = _covered(problem, sets, test), LABELS if problem.labels else problem.task.unit
    baseline = _baseline(run, rule, calibration, test[drawn])
    units = problem.units_of(test[drawn])
    checked = Checked(covered[drawn], sets.size[drawn], units, *baseline, level=rule.level, unit=unit)
    if rule.by:
        slices = Slices(rule.by, codes[test[drawn]], names, thresholds.behind)
    else:
        slices = _slices(problem, forecast, drawn, behind=thresholds.behind_all)
    by_owner = replace(checked, units=problem.units_of(test[drawn], rule.by))
    table = slice_table(by_owner, slices, behind=thresholds.behind_all, smallest=run.rule.smallest)
    reached, fault = sentence(checked), broken(checked, table)
    how = [
        _note(rule, run, fitted, thresholds, len(calibration)),
        "" if rule.by or not problem.labels else _of_ties(scored, thresholds.all, rule.level, len(units)),
        fault,
        _missed_classes(run, rule, checked, thresholds, test[drawn]),
        _missed_subgroups(run, rule, checked, thresholds, test[drawn]),
    ]
    note, missed = (" ".join(filter(None, words)) for words in (how, how[2:]))
    description = {
        "level": rule.level,
        "method": _method(fitted),
        "whole": bool(problem.task.whole),
        "floor": floor,
        "by": rule.describe(problem),
        "thresholds": thresholds.describe(),
        "approximate": run.method.split.name in _APPROXIMATE,
        "keeps_level": not fault,
        "sentence": f"{reached} {note}",
    }
    return Conformal(
        fitted, description, sets.columns(problem.labels), covered, scores(checked), table, reached, note, missed
    )


def _with_bounds(run: FittedRun, rule: Rule) -> Fitted:
    """Fit learners of quantiles beside that of an amount, where it has some.

    They are those between which a share ``level`` lies, half of the rest on either side. An amount that counts whole
    units has a floor, where the lower half may be of no use, since nothing lies below: if intervals from the floor to
    the quantile ``level`` are clearly narrower on the training part, they are taken instead.
    """
    problem, method, level = run.problem, run.method, rule.level
    if problem.labels or method.model.quantile is None:
        return run.fitted
    rows = problem.first_copies(np.flatnonzero(problem.where("train")))  # that the model was fitted to
    learners = fit_quantiles(
        method.model,
        problem.features.part(rows),
        problem.target[rows],
        group=problem.group[rows],
        quantiles=[(1 - level) / 2, (1 + level) / 2, *([level] if problem.task.whole else [])],
        seed=method.seed,
        scale=problem.scale,
    )
    if learners is None or not problem.task.whole:
        return replace(run.fitted, bounds=learners)
    some = rows[:: math.ceil(len(rows) / _LOOKED_AT)]
    both, above = (replace(run.fitted, bounds=bounds) for bounds in (learners[:2], learners[2:]))
    wide, narrow = (_amounts(problem, one, some, _floor(problem)) for one in (both, above))
    return above if _floor_is_better(wide, narrow, problem.target[some], level) else both


def _floor_is_better(both: AmountForecast, above: AmountForecast, target: Floats, level: float) -> bool:
    """Tell whether intervals from the floor on are clearly narrower than those of two bounds, on training rows."""
    return above.mean_width(target, level) < _CLEARLY * both.mean_width(target, level)


def _floor(problem: Problem) -> float | None:
    """The smallest amount of those that count whole units, in the parts that intervals are made from."""
    return (
        float(problem.target[problem.where("train") | problem.where("calibration")].min())
        if problem.task.whole
        else None
    )


def _none(run: FittedRun, rule: Rule, units: Units) -> Conformal:
    words = (
        f"No intervals: at {100 * rule.level:g} % the calibration part needs at least {conformal.fewest(rule.level)} "
        f"{'patients' if units.repeat else 'admissions'}, and has {len(units)}."
    )
    note = "Raise split.calibration, lower interval, or add admissions."
    return Conformal(run.fitted, None, {}, np.zeros(0, dtype=bool), pd.DataFrame(), pd.DataFrame(), words, note)


def _forecast(problem: Problem, fitted: Fitted, rows: Codes, floor: float | None) -> Forecast:
    if fitted.classes:
        return ClassForecast(fitted.predict(problem.features.frame.iloc[rows]))
    return _amounts(problem, fitted, rows, floor)


def _amounts(problem: Problem, fitted: Fitted, rows: Codes, floor: float | None) -> AmountForecast:
    frame = problem.features.frame.iloc[rows]
    predicted = fitted.predict(frame)
    low, high = serving.outer(predicted, fitted.limits(frame))
    return AmountForecast(predicted, low, high, bool(problem.task.whole), floor)


def _baseline(run: FittedRun, rule: Rule, calibration: Codes, test: Codes) -> tuple[float, float]:
    """Coverage and mean size without a single feature.

    Amounts get quantiles of the training targets, chosen and calibrated like those of a model; labels the smallest
    random set that their frequencies in training allow (2.7 labels of three equally frequent ones at 90 %).
    """
    problem, level, truth = run.problem, rule.level, run.problem.target[test]
    if problem.labels:
        chance = conformal.marginal_set(run.baseline.frequencies, level)
        return float(chance[truth.astype(np.int64)].mean()), float(chance.sum())
    rows, floor = problem.first_copies(np.flatnonzero(problem.where("train"))), _floor(problem)
    median, *ends = np.quantile(problem.target[rows], [0.5, (1 - level) / 2, (1 + level) / 2, level])

    def constant(n: int, *bounds: float) -> AmountForecast:
        prediction = np.full(n, median)
        outer = serving.outer(prediction, [np.full(n, bound) for bound in bounds])
        return AmountForecast(prediction, *outer, bool(problem.task.whole), floor)

    both, above = ends[:2], ends[2:]
    wide, narrow = (constant(len(rows), *bounds) for bounds in (both, above))
    bounds = above if floor is not None and _floor_is_better(wide, narrow, problem.target[rows], level) else both
    nonconformity = _scores(problem, constant(len(calibration), *bounds), calibration)
    units = problem.units_of(calibration)
    sets = constant(len(test), *bounds).prediction_set(conformal.threshold(nonconformity, level, len(units)))
    baseline = problem.units_of(test)
    return baseline.mean(_covered(problem, sets, test).astype(float)), baseline.mean(sets.size)


def _scores(problem: Problem, forecast: Forecast, rows: Codes) -> Floats:
    if isinstance(forecast, AmountForecast):
        return forecast.scores(problem.truth_above(forecast.low, rows))
    return forecast.scores(problem.target[rows])


def _covered(problem: Problem, sets: AmountIntervals | LabelSets, rows: Codes) -> Mask:
    if isinstance(sets, AmountIntervals):
        return sets.covers(problem.truth_above(sets.low, rows))
    return sets.covers(problem.target[rows])


def _slices(problem: Problem, forecast: Forecast, drawn: Codes, *, behind: int) -> Slices:
    """Cut the drawn rows by the likeliest label, or at quantiles of the prediction, rounded to be read."""
    if isinstance(forecast, ClassForecast):
        codes, names = forecast.probabilities[drawn].argmax(axis=1), problem.labels
        return Slices("predicted label", codes, names, [behind] * len(names))
    predicted, count = forecast.prediction[drawn], max(1, min(_SLICES, len(drawn) // _FEWEST))
    cuts = {float(f"{cut:.3g}") for cut in np.quantile(predicted, np.arange(1, count) / count)}
    edges = sorted(cut for cut in cuts if predicted.min() < cut <= predicted.max())
    ends = [number(edge, digits=3) for edge in edges]
    names = [f"{low} to {high}" for low, high in pairwise(ends)]
    names = [f"under {ends[0]}", *names, f"from {ends[-1]}"] if ends else []  # a constant has no slices
    codes = np.searchsorted(edges, predicted, side="right")
    return Slices(f"prediction ({problem.task.unit})", codes, names, [behind] * len(names))


def _method(fitted: Fitted) -> str:
    if fitted.classes:
        return "labels"
    return "residual" if fitted.bounds is None else "quantiles"


def _note(rule: Rule, run: FittedRun, fitted: Fitted, thresholds: Thresholds, admissions: int) -> str:
    own = int(np.isfinite(thresholds.own).sum())
    what = "classes" if rule.by_label(run.problem) else f"levels of {rule.by}"
    by = f", apart for {own} of {len(thresholds.own)} {what}" if rule.by else ""
    floor = " Nothing lies below the floor: all misses lie above." if fitted.bounds and len(fitted.bounds) == 1 else ""
    how = f"{_METHODS[_method(fitted)]}, {admissions:,} calibration admissions{by}.{floor}"
    return f"{how}{_APPROXIMATE.get(run.method.split.name, '')}"


def _of_ties(scores: Floats, threshold: float, level: float, units: int) -> str:
    """Say that sets hold more than they promise since many rows share a probability, which all or none may have."""
    held, asked = float((scores <= threshold).mean()), conformal.rank(len(scores), level, units) / len(scores)
    if threshold <= 0 or held - asked < _TIED:  # one that leaves the likeliest label alone is no tie
        return ""
    return (
        f"Many admissions share a probability, so the sets hold {percent(held)} % of the calibration cases: "
        f"smaller ones would hold less than {100 * level:g} %."
    )


def _missed_classes(run: FittedRun, rule: Rule, checked: Checked, thresholds: Thresholds, rows: Codes) -> str:
    """Say which classes the sets hold less often than they promise on the whole."""
    problem, by_label = run.problem, rule.by_label(run.problem)
    behind = thresholds.behind if by_label else [thresholds.behind_all] * len(problem.labels)
    parts = missed(checked, Slices(CLASS, problem.target[rows].astype(np.int64), problem.labels, behind).parts())
    if not problem.labels or not parts:
        return ""
    cure = "" if by_label else f" interval_by={CLASS} holds each class as often as it says."
    return f"The sets miss {listed(checked, parts)}.{cure}"


def _missed_subgroups(run: FittedRun, rule: Rule, checked: Checked, thresholds: Thresholds, rows: Codes) -> str:
    """Name the declared column whose levels should have intervals of their own.

    Sets of labels of a model without a signal differ in size by chance alone, and are left out.
    """
    problem, how, verdict = run.problem, run.method.assessments.get("subgroups"), run.results.get("verdict")
    if not isinstance(how, Subgroups) or (problem.labels and (verdict is None or verdict.verdict != "signal")):
        return ""
    parts: list[Part] = []
    for role in how.roles:
        if role != rule.by and role in seen_by(problem) and (problem.features.levels(role) or role in rule.bands):
            codes, names = replace(rule, by=role).codes(problem)
            parts += Slices(role, codes[rows], names, [thresholds.behind_all] * len(names)).parts()
    parts = missed(checked, parts)
    if not parts:
        return ""
    return (
        f"Under-covered: {listed(checked, parts)}. interval_by={parts[0].by} gives its levels intervals of their own."
    )


def _refuse_column(problem: Problem, _: Method, rule: Rule) -> None:
    rule.codes(problem)


def _brief(conformal: Conformal) -> str:
    """Say in a line what the intervals reach, and whom they miss."""
    if conformal.scores.empty:
        return f"{conformal.sentence} {conformal.note}".strip()
    coverage, size = conformal.scores.to_dict("records")
    wide = number(size["value"], digits=3)
    reached = f"{'Sets' if size['unit'] == LABELS else 'Intervals'} cover {percent(coverage['value'])} %"
    missed = f" {conformal.missed}" if conformal.missed else ""
    return f"{reached}, with {wide} {size['unit']}; knowing nothing, {number(size['baseline'], digits=3)}.{missed}"


ASSESSMENTS = [
    Assessment(
        "intervals",
        measure,
        Rule,
        before=_refuse_column,
        table=lambda _: None,  # its scores stand in scores.csv, its slices beside the chart
        sentence=lambda conformal: f"{conformal.sentence} {conformal.note}",
        brief=_brief,
    )
]
