"""Between which bounds does the truth lie, how often was it so on the test part, and how wide are they?

A fitted model is calibrated on the calibration part, which nothing else reads: conformalised quantile regression where
its learner knows quantiles, residuals around the prediction where it does not, sets of labels for classes. One row of
each group counts, for the thresholds as for the coverage.
"""

from collections.abc import Iterator
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
from hi_ml.evaluation.conformal import AmountForecast, ClassForecast, Codes, Floats, Forecast, Mask, Thresholds
from hi_ml.modeling.models import Fitted, fit_bounds
from hi_ml.modeling.problem import Problem
from hi_ml.statistics import conformal
from hi_ml.statistics.bins import OUTSIDE, bins
from hi_ml.statistics.groups import mean_interval

SCORES = ("coverage", "width", "set_size")  # judged against the level that was asked for, not by more or less
LABELS = "labels"  # the unit of the size of a set
_BAND = 0.95  # confidence of the band of coverages that chance alone explains
_SLICES, _FEWEST = 10, 20  # slices of the predictions, at most so many, each of at least about so many groups
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
    by: str | None = None  # a column whose levels each get a threshold of their own (Mondrian; Vovk 2012)
    bands: dict[str, list[float]] = Field(default_factory=dict)  # by role, where the bands of a number begin

    def codes(self, problem: Problem) -> tuple[Codes, list[str]]:
        """Number the levels of all rows.

        Returns
        -------
        codes : array of int64, shape (n,)
            Positions in ``names``; -1 where missing, and everywhere if no column was asked for.
        names : list of str

        Raises
        ------
        ConfigurationInvalid
            If the model does not see the column, or it is a number without bands.
        """
        features = problem.features
        if self.by is None:
            return np.full(len(problem.target), OUTSIDE), []
        seen = [role for role in dict.fromkeys(features.role.values()) if features.specs[role]["kind"] != "date"]
        if self.by not in seen:
            raise ConfigurationInvalid.interval_by(self.by, problem.task.name, seen)
        names, values = features.levels(self.by), features.frame[self.by].to_numpy(dtype=float)
        if names is not None:
            return np.where(np.isnan(values), OUTSIDE, values).astype(np.int64), names
        if self.by not in self.bands:
            raise ConfigurationInvalid.interval_bands(self.by)
        return bins(values, self.bands[self.by], problem.units.get(self.by, ""))

    def describe(self, problem: Problem) -> dict[str, Any] | None:
        """Say by which column, and where its bands begin."""
        if self.by is None:
            return None
        edges = None if problem.features.levels(self.by) else list(self.bands[self.by])
        return {"role": self.by, "edges": edges}


@dataclass(frozen=True)
class Checked:
    """What the intervals, or sets of labels, of the test groups turned out to be."""

    covered: Mask  # bool, shape (n_groups,); whether the truth of the row that stands for its group is inside
    size: Floats  # float64, shape (n_groups,); width, or number of labels
    baseline_coverage: float  # of what knows nothing
    baseline_size: float  # its mean
    level: float  # the coverage that was asked for
    unit: str  # of the size


@dataclass(frozen=True)
class Slices:
    """A cut through the test groups."""

    by: str
    codes: Codes  # int64, shape (n_groups,); positions in ``names``; what is outside is in no slice
    names: list[str]
    calibrated: list[int]  # calibration groups behind the threshold of each


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
    table: pd.DataFrame  # of `slice_table`: all test groups, and the levels asked for or slices of the prediction
    sentence: str  # what was reached
    note: str  # how


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
    calibration = calibration[conformal.one_per_group(problem.group[calibration], seed=seed)]
    drawn = conformal.one_per_group(problem.group[test], seed=seed)
    if len(calibration) < conformal.fewest(rule.level):
        return _none(run, rule, len(calibration))
    in_training = np.isin(np.arange(len(names)), codes[problem.where("train")])
    nonconformity = _forecast(problem, fitted, calibration).scores(problem.target[calibration])
    thresholds = Thresholds.of(nonconformity, codes[calibration], in_training, rule.level)
    forecast = _forecast(problem, fitted, test)
    sets = forecast.prediction_set(thresholds.of_rows(codes[test]))
    covered, unit = sets.covers(problem.target[test]), LABELS if problem.labels else problem.task.unit
    baseline = _baseline(run, rule, calibration, test[drawn])
    checked = Checked(covered[drawn], sets.size[drawn], *baseline, level=rule.level, unit=unit)
    if rule.by:
        slices = Slices(rule.by, codes[test[drawn]], names, thresholds.groups)
    else:
        slices = _slices(problem, forecast, drawn, calibrated=len(calibration))
    reached, how = sentence(checked), _note(rule, run.method, _method(fitted), thresholds, len(calibration))
    description = {
        "level": rule.level,
        "method": _method(fitted),
        "whole": problem.task.whole,
        "by": rule.describe(problem),
        "thresholds": thresholds.describe(),
        "approximate": run.method.split.name in _APPROXIMATE,
        "sentence": f"{reached} {how}",
    }
    table = slice_table(checked, slices, calibrated=len(calibration))
    return Conformal(fitted, description, sets.columns(problem.labels), covered, scores(checked), table, reached, how)


def scores(checked: Checked) -> pd.DataFrame:
    """Score coverage and size, laid out as by `hi_ml.evaluation.judgement.scores`; 95 % t intervals over groups.

    The score of the size is ``width`` or, for sets of labels, ``set_size``. Best is a coverage at the level that was
    asked for, neither below nor above, and then a small size.
    """
    size = "set_size" if checked.unit == LABELS else "width"
    coverage, mean = mean_interval(checked.covered.astype(float)), mean_interval(checked.size)
    rows = [
        ("coverage", "test", coverage.value, coverage.low, coverage.high, checked.baseline_coverage, "share"),
        (size, "test", mean.value, mean.low, mean.high, checked.baseline_size, checked.unit),
    ]
    return pd.DataFrame(rows, columns=["score", "part", "value", "low", "high", "baseline", "unit"])


def slice_table(checked: Checked, slices: Slices, *, calibrated: int) -> pd.DataFrame:
    """Measure coverage and mean size of all test groups, and of slices of them.

    Parameters
    ----------
    calibrated : int
        Calibration groups behind the threshold of all.

    Returns
    -------
    DataFrame
        ``by, slice, n, coverage, low, high, level, size, baseline_size, unit``; low and high bound the coverages that
        chance explains, at 95 %. The first line is of all groups; a slice without a group has none.
    """
    return pd.DataFrame(_lines(checked, slices, calibrated))


def sentence(checked: Checked) -> str:
    """Say what was reached."""
    coverage, size = scores(checked).to_dict("records")
    what, verb, wide = ("label sets", "hold", "") if checked.unit == LABELS else ("intervals", "are", " wide")
    return (
        f"{100 * checked.level:g} % {what} cover {percent(coverage['value'])} % of the test groups (95 % interval "
        f"{percent(coverage['low'])} to {percent(coverage['high'])}); on average they {verb} "
        f"{number(size['value'], digits=3)} {checked.unit}{wide}, where knowing nothing takes "
        f"{number(size['baseline'], digits=3)} to cover {percent(coverage['baseline'])} %."
    )


def _lines(checked: Checked, slices: Slices, calibrated: int) -> Iterator[dict[str, Any]]:
    parts = [("", "all", np.full(len(checked.covered), fill_value=True), calibrated)]
    parts += [
        (slices.by, name, slices.codes == code, groups)
        for code, (name, groups) in enumerate(zip(slices.names, slices.calibrated, strict=True))
    ]
    for by, name, inside, groups in parts:
        n = int(inside.sum())
        if not n:
            continue
        low, high = conformal.coverage_band(groups, n, level=checked.level, confidence=_BAND)
        yield {
            "by": by,
            "slice": name,
            "n": n,
            "coverage": float(checked.covered[inside].mean()),
            "low": low,
            "high": high,
            "level": checked.level,
            "size": float(checked.size[inside].mean()),
            "baseline_size": checked.baseline_size,
            "unit": checked.unit,
        }


def _with_bounds(run: FittedRun, rule: Rule) -> Fitted:
    """Fit learners of quantiles beside that of an amount, where it has some."""
    problem, method = run.problem, run.method
    if problem.labels:
        return run.fitted
    rows = problem.first_copies(np.flatnonzero(problem.where("train")))  # that the model was fitted to
    features, target = problem.features.part(rows), problem.target[rows]
    group = problem.group[rows]
    return replace(
        run.fitted,
        bounds=fit_bounds(
            method.model, features, target, group=group, level=rule.level, seed=method.seed, scale=problem.scale
        ),
    )


def _none(run: FittedRun, rule: Rule, groups: int) -> Conformal:
    words = (
        f"No intervals: at {100 * rule.level:g} % the calibration part needs at least {conformal.fewest(rule.level)} "
        f"groups, and has {groups}."
    )
    note = "Raise split.calibration, lower interval, or add admissions."
    return Conformal(run.fitted, None, {}, np.zeros(0, dtype=bool), pd.DataFrame(), pd.DataFrame(), words, note)


def _forecast(problem: Problem, fitted: Fitted, rows: Codes) -> Forecast:
    frame = problem.features.frame.iloc[rows]
    predicted = fitted.predict(frame)
    if fitted.classes:
        return ClassForecast(predicted)
    low, high = fitted.limits(frame) or (predicted, predicted)
    return AmountForecast(predicted, low, high, problem.task.whole)


def _baseline(run: FittedRun, rule: Rule, calibration: Codes, test: Codes) -> tuple[float, float]:
    """Coverage and mean size without a single feature.

    Amounts get quantiles of the training targets, calibrated like those of a model; labels the smallest random set that
    their frequencies in training allow (2.7 labels of three equally frequent ones at 90 %).
    """
    problem, truth = run.problem, run.problem.target[test]
    if problem.labels:
        chance = conformal.marginal_set(run.baseline.frequencies, rule.level)
        return float(chance[truth.astype(np.int64)].mean()), float(chance.sum())
    ends = np.quantile(problem.target[problem.where("train")], [0.5, (1 - rule.level) / 2, (1 + rule.level) / 2])

    def constant(n: int) -> AmountForecast:
        median, low, high = np.tile(ends[:, None], n)
        return AmountForecast(median, low, high, problem.task.whole)

    nonconformity = constant(len(calibration)).scores(problem.target[calibration])
    sets = constant(len(test)).prediction_set(conformal.threshold(nonconformity, rule.level))
    return float(sets.covers(truth).mean()), float(sets.size.mean())


def _slices(problem: Problem, forecast: Forecast, drawn: Codes, *, calibrated: int) -> Slices:
    """Cut the drawn rows by the likeliest label, or at quantiles of the prediction, rounded to be read."""
    if isinstance(forecast, ClassForecast):
        codes, names = forecast.probabilities[drawn].argmax(axis=1), problem.labels
        return Slices("predicted label", codes, names, [calibrated] * len(names))
    predicted, count = forecast.prediction[drawn], max(1, min(_SLICES, len(drawn) // _FEWEST))
    cuts = {float(f"{cut:.3g}") for cut in np.quantile(predicted, np.arange(1, count) / count)}
    edges = sorted(cut for cut in cuts if predicted.min() < cut <= predicted.max())
    ends = [number(edge, digits=3) for edge in edges]
    names = [f"{low} to {high}" for low, high in pairwise(ends)]
    names = [f"under {ends[0]}", *names, f"from {ends[-1]}"] if ends else []  # a constant has no slices
    codes = np.searchsorted(edges, predicted, side="right")
    return Slices(f"prediction ({problem.task.unit})", codes, names, [calibrated] * len(names))


def _method(fitted: Fitted) -> str:
    if fitted.classes:
        return "labels"
    return "residual" if fitted.bounds is None else "quantiles"


def _note(rule: Rule, method: Method, kind: str, thresholds: Thresholds, groups: int) -> str:
    own = int(np.isfinite(thresholds.own).sum())
    by = f", apart for {own} of {len(thresholds.own)} levels of {rule.by}" if rule.by else ""
    return f"{_METHODS[kind]}, {groups:,} calibration groups{by}.{_APPROXIMATE.get(method.split.name, '')}"


def _refuse_column(problem: Problem, _: Method, rule: Rule) -> None:
    rule.codes(problem)


ASSESSMENTS = [
    Assessment(
        "intervals",
        measure,
        Rule,
        before=_refuse_column,
        table=lambda _: None,  # its scores stand in scores.csv, its slices beside the chart
        sentence=lambda conformal: f"{conformal.sentence} {conformal.note}",
    )
]
