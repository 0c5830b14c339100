"""One task on one table: fit, score, judge, measure the leak, explain."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.timing import stopwatch
from hi_ml.evaluation import calibration, explanations, intervals, leakage, significance, subgroups, tracer
from hi_ml.evaluation.probes import columns, parts, refits
from hi_ml.evaluation.probes.probe import Probe, Probing
from hi_ml.evaluation.significance import Permutation, Significance
from hi_ml.evaluation.subgroups import Subgroups
from hi_ml.modeling import judgement, models, recalibration, splits
from hi_ml.modeling.problem import Problem, fit_rows
from hi_ml.modeling.scores.score import Predictions
from hi_ml.statistics import bootstrap
from hi_ml.statistics.groups import group_means

Floats = NDArray[np.float64]


@settings(frozen=True, config=STRICT)
class Explain:
    """How much is explained."""

    rows: int = Field(2000, ge=0)  # test rows, at most
    seconds: float = Field(10, ge=0)  # about so long, at most


@dataclass(frozen=True)
class Method:
    """What is done with every task of a run."""

    model: models.Model
    split: splits.Split
    leakage: leakage.Leakage
    explain: Explain
    smallest_skill: float
    seed: int
    recalibrate: bool = False  # whether the shares of classes are recalibrated inside the training part
    subgroups: Subgroups = field(default_factory=Subgroups)
    probing: Probing = field(default_factory=Probing)  # what the probes for leaks allow
    permutation: Permutation | None = None  # how the permutation test refits; None leaves it out
    interval: float | None = None  # level of the intervals; None leaves them out
    # column whose levels get a threshold of their own; a number has the bands of ``subgroups``
    interval_by: str | None = None

    @property
    def fit(self) -> Callable[..., models.Fitted]:
        """How a model is fitted: as `hi_ml.modeling.models.fit` does, or that and recalibrated."""
        return recalibration.fit if self.recalibrate else models.fit

    @property
    def intervals(self) -> intervals.Rule | None:
        """Which intervals are asked for."""
        if self.interval is None:
            return None
        return intervals.Rule(self.interval, self.interval_by, self.subgroups.bands, self.split.name)


@dataclass(frozen=True)
class Trained:
    """A judged model."""

    problem: Problem
    fitted: models.Fitted
    predicted: Floats  # float64, shape (n_test,) or (n_test, n_classes)
    baseline: judgement.Baseline
    scores: pd.DataFrame
    verdict: judgement.Verdict
    gap: leakage.Gap
    explanation: explanations.Explanation
    seconds: dict[str, float]  # per step
    calibration: pd.DataFrame
    subgroups: pd.DataFrame
    probes: list[Probe]
    significance: Significance | None  # of the permutation test, if it was asked for
    interval: intervals.Conformal | None  # the intervals, if they were asked for


def train(problem: Problem, method: Method, seconds: dict[str, float]) -> Trained:
    """Fit on the training part, judge on the test part, measure the leak, explain.

    Parameters
    ----------
    seconds : dict of str to float
        What earlier steps took; this function adds its own.
    """
    task, features, target = problem.task, problem.features, problem.target
    test = problem.where("test")

    def predict(fitted: models.Fitted, rows: NDArray[np.int64]) -> Floats:
        return fitted.predict(features.frame.iloc[rows])

    if method.intervals:
        method.intervals.codes(problem)  # a column that cannot be asked for is refused before anything is fitted
    with stopwatch(seconds, "probe"):
        probed = _probed(problem, method)
    with stopwatch(seconds, "fit"):
        train = np.flatnonzero(problem.where("train"))
        fitted = fit_rows(problem, method.model, train, seed=method.seed, fit=method.fit)
    with stopwatch(seconds, "score"):
        predicted = predict(fitted, np.flatnonzero(test))
        baseline = judgement.Baseline.of(task, target[problem.where("train")], classes=len(problem.labels))
        scores = judgement.scores(_predictions(problem, predicted, method.seed), baseline)
        verdict = _judged(problem, method, predicted, baseline)
    with stopwatch(seconds, "intervals"):
        fitted, issued = _issued(problem, method, fitted)
        scores = scores if issued is None else pd.concat([scores, issued.scores], ignore_index=True)
    with stopwatch(seconds, "calibration"):
        calibrated = calibration.measure(problem, predicted, predicts=method.model.predicts)
    with stopwatch(seconds, "subgroups"):
        constant = float(scores["baseline"].iloc[0])
        covered = None if issued is None or issued.described is None else issued.held
        compared = subgroups.measure(problem, predicted, method.subgroups, baseline=constant, covered=covered)
    with stopwatch(seconds, "leakage"):
        fit = partial(fit_rows, problem, method.model, seed=method.seed)  # recalibration would take five fits more each
        gap = leakage.measure(
            task, target, twins=problem.twin, fit=fit, predict=predict, settings=(method.leakage, method.seed)
        )
    tested = _tested(problem, method, seconds)
    probed += [columns.of_model(verdict.skill, method.probing), *([refits.probe(tested.permuted)] if tested else [])]
    with stopwatch(seconds, "explain"):
        explanation = explanations.explain(
            fitted,
            features.frame[test],
            features.role,
            unit=task.unit,
            limits=(method.explain.rows, method.explain.seconds),
        )
    return Trained(
        problem,
        fitted,
        predicted,
        baseline,
        scores,
        verdict,
        gap,
        explanation,
        seconds,
        calibrated,
        compared,
        probed,
        tested,
        issued,
    )


def _predictions(problem: Problem, predicted: Floats, seed: int) -> Predictions:
    test = problem.where("test")
    group = problem.group[test]
    weights = bootstrap.draws(group, count=judgement.DRAWS, seed=seed)
    return Predictions(problem.task, problem.target[test], predicted, group, weights)


def _probed(problem: Problem, method: Method) -> list[Probe]:
    """Look for leaks before anything is fitted."""
    fit = partial(fit_rows, seed=method.seed, fit=method.fit)
    return [
        columns.probe(problem, method.probing, seed=method.seed),
        parts.probe(problem, method.split.name),
        tracer.probe(problem, method.model, fit, seed=method.seed),
    ]


def _issued(
    problem: Problem, method: Method, fitted: models.Fitted
) -> tuple[models.Fitted, intervals.Conformal | None]:
    """Fit bounds to the training part, calibrate them, check them; without intervals the model needs no bounds."""
    rule, rows = method.intervals, np.flatnonzero(problem.where("train"))
    if rule is None:
        return fitted, None
    bounded = fitted
    if not problem.labels:
        chosen, group = problem.features.part(rows, fitted.features), problem.group[rows]
        bounds = models.fit_bounds(
            method.model, chosen, problem.target[rows], group=group, level=rule.level, seed=method.seed
        )
        bounded = replace(fitted, bounds=bounds)
    issued = intervals.issue(problem, bounded, rule, seed=method.seed)
    return bounded if issued.described else fitted, issued


def _tested(problem: Problem, method: Method, seconds: dict[str, float]) -> Significance | None:
    """Test by permutation, if asked to; the refits are not recalibrated, which would make each several."""
    if method.permutation is None:
        return None
    with stopwatch(seconds, "permute"):
        fit = partial(fit_rows, seed=method.seed)
        return significance.measure(problem, method.model, fit=fit, how=method.permutation, seed=method.seed)


def _judged(problem: Problem, method: Method, predicted: Floats, baseline: judgement.Baseline) -> judgement.Verdict:
    test = problem.where("test")
    target, group = problem.target[test], problem.group[test]
    loss, constant = (
        group_means(judgement.losses(problem.task, target, made), group)
        for made in (predicted, baseline.predict(len(target)))
    )
    return judgement.judge(method.model.name, loss, constant, task=problem.task, smallest=method.smallest_skill)
