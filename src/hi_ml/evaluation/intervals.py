"""Between which bounds does the truth lie, how often was it so on the test part, and how wide are they?

A fitted model is calibrated on the calibration part, which nothing else reads: conformalised quantile regression where
its learner knows quantiles, residuals around the prediction where it does not, sets of labels for classes. One row of
each group counts, for the thresholds as for the coverage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.text import number
from hi_ml.evaluation import conformal as coverage
from hi_ml.evaluation.conformal import Amounts, Codes, Floats, Forecast, Mask, Shares, Thresholds
from hi_ml.modeling.features import Features
from hi_ml.modeling.judgement import Baseline
from hi_ml.modeling.models import Fitted
from hi_ml.modeling.tasks import Task
from hi_ml.statistics import conformal
from hi_ml.statistics.bins import OUTSIDE, bins

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


class Posed(Protocol):
    """The rows and columns of a task, as `hi_ml.modeling.problem.Problem` holds them."""

    @property
    def task(self) -> Task:
        """Target, kind and unit."""

    @property
    def features(self) -> Features:
        """What the model sees of all rows."""

    @property
    def target(self) -> Floats:
        """Amounts, or places in ``labels``."""

    @property
    def labels(self) -> list[str]:
        """Empty for regression."""

    @property
    def group(self) -> Codes:
        """Of every row."""

    def where(self, part: str) -> Mask:
        """Mask the rows of a part."""


@dataclass(frozen=True)
class Rule:
    """What intervals are asked for."""

    level: float  # with which probability they hold the truth
    by: str | None  # a column whose levels each get a threshold of their own (Mondrian; Vovk 2012)
    bands: Mapping[str, list[float]]  # by role, where the bands of a number begin, but the first
    split: str  # name of the rule that made the parts

    def codes(self, problem: Posed) -> tuple[Codes, list[str]]:
        """Number the levels of all rows.

        Returns
        -------
        codes : array of int64, shape (n,)
            Places in ``names``; -1 where missing, and everywhere if no column was asked for.
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
        return bins(values, self.bands[self.by])

    def described(self, problem: Posed) -> dict[str, Any] | None:
        """Say by which column, and where its bands begin."""
        if self.by is None:
            return None
        return {"role": self.by, "edges": None if problem.features.levels(self.by) else list(self.bands[self.by])}


@dataclass(frozen=True)
class Conformal:
    """Intervals, or sets of labels, of the test rows."""

    # for `hi_ml.scorer.serving`; None where the calibration part is too small, and all below is empty
    described: dict[str, Any] | None
    # dict of str to array, shape (n_test,); ``low`` and ``high``, or ``prediction_set``
    columns: dict[str, NDArray[Any]]
    held: Mask  # bool, shape (n_test,); whether the truth is inside
    scores: pd.DataFrame  # of `coverage.scores`; the baseline knows nothing
    table: pd.DataFrame  # of `coverage.table`: all test groups, and the levels asked for or slices of the prediction
    sentence: str  # what was reached, and how
    note: str  # what was reached, and how


def issue(problem: Posed, fitted: Fitted, rule: Rule, *, seed: int) -> Conformal:
    """Calibrate a fitted model and check its intervals on the test part.

    Parameters
    ----------
    fitted : Fitted
        With bounds, where its learner has quantiles.
    seed : int
        Draws the row that stands for its group.

    Raises
    ------
    ConfigurationInvalid
        If the rule asks for a column that the model does not see.
    """
    codes, names = rule.codes(problem)
    calibration, test = (np.flatnonzero(problem.where(part)) for part in ("calibration", "test"))
    calibration = calibration[conformal.one_per_group(problem.group[calibration], seed=seed)]
    drawn = conformal.one_per_group(problem.group[test], seed=seed)
    if len(calibration) < conformal.fewest(rule.level):
        return _none(rule, len(calibration))
    taught = np.isin(np.arange(len(names)), codes[problem.where("train")])
    scores = _forecast(problem, fitted, calibration).scores(problem.target[calibration])
    thresholds = Thresholds.of(scores, codes[calibration], taught, rule.level)
    forecast = _forecast(problem, fitted, test)
    region = forecast.region(thresholds.of_rows(codes[test]))
    held, nothing = region.hold(problem.target[test]), _knowing_nothing(problem, rule, calibration, test[drawn])
    unit = coverage.LABELS if problem.labels else problem.task.unit
    checked = coverage.Checked(held[drawn], region.size[drawn], nothing, rule.level, unit)
    if rule.by:
        slices = coverage.Slices(rule.by, codes[test[drawn]], names, thresholds.groups)
    else:
        slices = _slices(problem, forecast, drawn, calibrated=len(calibration))
    table = coverage.table(checked, slices, calibrated=len(calibration))
    sentence, note = coverage.sentence(checked), _note(rule, fitted, thresholds, len(calibration))
    described = _described(problem, fitted, rule, thresholds) | {"sentence": f"{sentence} {note}"}
    return Conformal(
        described, region.columns(problem.labels), held > 0, coverage.scores(checked), table, sentence, note
    )


def _described(problem: Posed, fitted: Fitted, rule: Rule, thresholds: Thresholds) -> dict[str, Any]:
    return {
        "level": rule.level,
        "method": _method(fitted),
        "whole": problem.task.whole,
        "by": rule.described(problem),
        "thresholds": thresholds.described(),
        "approximate": rule.split in _APPROXIMATE,
    }


def _none(rule: Rule, found: int) -> Conformal:
    sentence = (
        f"No intervals: at {100 * rule.level:g} % the calibration part needs at least {conformal.fewest(rule.level)} "
        f"groups, and has {found}."
    )
    note = "Raise split.calibration, lower interval, or add admissions."
    return Conformal(None, {}, np.zeros(0, dtype=bool), pd.DataFrame(), pd.DataFrame(), sentence, note)


def _forecast(problem: Posed, fitted: Fitted, places: Codes) -> Forecast:
    frame = problem.features.frame.iloc[places]
    predicted = fitted.predict(frame)
    if fitted.classes:
        return Shares(predicted)
    if fitted.bounds is None:
        return Amounts(predicted, predicted, predicted, problem.task.whole)
    X = fitted.encode(frame)
    low, high = (np.asarray(learner.predict(X), dtype=float) for learner in fitted.bounds)
    return Amounts(predicted, low, high, problem.task.whole)


def _knowing_nothing(problem: Posed, rule: Rule, calibration: Codes, test: Codes) -> tuple[float, float]:
    """Coverage and mean size without a single feature.

    Amounts get quantiles of the training targets, calibrated like those of a model; labels the smallest random set that
    their frequencies in training allow (2.7 labels of three equally frequent ones at 90 %).
    """
    train, truth = problem.target[problem.where("train")], problem.target[test]
    if problem.labels:
        shares = Baseline.of(problem.task, train, classes=len(problem.labels)).shares
        taken = conformal.marginal_set(shares, rule.level)
        return float(taken[truth.astype(np.int64)].mean()), float(taken.sum())
    ends = np.quantile(train, [0.5, (1 - rule.level) / 2, (1 + rule.level) / 2])

    def constant(n: int) -> Amounts:
        median, low, high = np.tile(ends[:, None], n)
        return Amounts(median, low, high, problem.task.whole)

    scores = constant(len(calibration)).scores(problem.target[calibration])
    region = constant(len(test)).region(conformal.threshold(scores, rule.level))
    return float(region.hold(truth).mean()), float(region.size.mean())


def _slices(problem: Posed, forecast: Forecast, drawn: Codes, *, calibrated: int) -> coverage.Slices:
    """Cut the drawn rows by the likeliest label, or at quantiles of the prediction, rounded to be read."""
    if isinstance(forecast, Shares):
        codes, names = forecast.shares[drawn].argmax(axis=1), problem.labels
        return coverage.Slices("predicted label", codes, names, [calibrated] * len(names))
    predicted, count = forecast.prediction[drawn], max(1, min(_SLICES, len(drawn) // _FEWEST))
    cuts = {float(f"{cut:.3g}") for cut in np.quantile(predicted, np.arange(1, count) / count)}
    edges = sorted(cut for cut in cuts if predicted.min() < cut <= predicted.max())
    ends = [number(edge, digits=3) for edge in edges]
    names = [f"{low} to {high}" for low, high in pairwise(ends)]
    names = [f"under {ends[0]}", *names, f"from {ends[-1]}"] if ends else []  # a constant has no slices
    codes = np.searchsorted(edges, predicted, side="right")
    return coverage.Slices(f"prediction ({problem.task.unit})", codes, names, [calibrated] * len(names))


def _method(fitted: Fitted) -> str:
    if fitted.classes:
        return "labels"
    return "residual" if fitted.bounds is None else "quantiles"


def _note(rule: Rule, fitted: Fitted, thresholds: Thresholds, groups: int) -> str:
    own = int(np.isfinite(thresholds.own).sum())
    by = f", apart for {own} of {len(thresholds.own)} levels of {rule.by}" if rule.by else ""
    return f"{_METHODS[_method(fitted)]}, {groups:,} calibration groups{by}.{_APPROXIMATE.get(rule.split, '')}"
