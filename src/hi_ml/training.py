"""One task on one table: fit, score, judge, measure the leak, explain."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml import explanations, leakage, models, scoring, splits
from hi_ml.config import STRICT
from hi_ml.problems import Problem
from hi_ml.statistics.grouped import group_means

Floats = NDArray[np.float64]


@settings(frozen=True, config=STRICT)
class Explain:
    """How much is explained.

    Attributes
    ----------
    rows : int
        Test rows, at most.
    seconds : float
        About so long, at most.
    """

    rows: int = Field(2000, ge=0)
    seconds: float = Field(10, ge=0)


@dataclass(frozen=True)
class Method:
    """What is done with every task of a run.

    Attributes
    ----------
    model : Model
    split : Split
    leakage : Leakage
    explain : Explain
    smallest_skill : float
    seed : int
    """

    model: models.Model
    split: splits.Split
    leakage: leakage.Leakage
    explain: Explain
    smallest_skill: float
    seed: int


@dataclass(frozen=True)
class Trained:
    """A judged model.

    Attributes
    ----------
    problem : Problem
    fitted : Fitted
    predicted : array of float64, shape (n_test,) or (n_test, n_classes)
    baseline : Baseline
    scores : DataFrame
    verdict : Verdict
    gap : Gap
    explanation : Explanation
    seconds : dict of str to float
        Per step.
    """

    problem: Problem
    fitted: models.Fitted
    predicted: Floats
    baseline: scoring.Baseline
    scores: pd.DataFrame
    verdict: scoring.Verdict
    gap: leakage.Gap
    explanation: explanations.Explanation
    seconds: dict[str, float]


def train(problem: Problem, method: Method, seconds: dict[str, float]) -> Trained:
    """Fit on the training part, judge on the test part, measure the leak, explain.

    Parameters
    ----------
    problem : Problem
    method : Method
    seconds : dict of str to float
        What earlier steps took; this function adds its own.
    """
    task, features, target = problem.task, problem.features, problem.target
    names, test = list(features.frame.columns), problem.where("test")

    def fit(rows: NDArray[np.int64]) -> models.Fitted:
        chosen = features.part(rows, names)
        return models.fit(
            method.model, chosen, target[rows], group=problem.group[rows], classes=len(problem.labels), seed=method.seed
        )

    def predict(fitted: models.Fitted, rows: NDArray[np.int64]) -> Floats:
        return fitted.predict(features.frame.iloc[rows])

    with timed(seconds, "fit"):
        fitted = fit(np.flatnonzero(problem.where("train")))
    with timed(seconds, "score"):
        predicted = predict(fitted, np.flatnonzero(test))
        baseline = scoring.Baseline.of(task, target[problem.where("train")], classes=len(problem.labels))
        scores = scoring.scores(
            task, target[test], predicted, baseline=baseline, group=problem.group[test], seed=method.seed
        )
        verdict = _judged(problem, method, predicted, baseline)
    with timed(seconds, "leakage"):
        gap = leakage.measure(
            task, target, twins=problem.twin, fit=fit, predict=predict, settings=(method.leakage, method.seed)
        )
    with timed(seconds, "explain"):
        explanation = explanations.explain(
            fitted,
            features.frame[test],
            features.role,
            unit=task.unit,
            limits=(method.explain.rows, method.explain.seconds),
        )
    return Trained(problem, fitted, predicted, baseline, scores, verdict, gap, explanation, seconds)


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Add the time of a step."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started


def _judged(problem: Problem, method: Method, predicted: Floats, baseline: scoring.Baseline) -> scoring.Verdict:
    test = problem.where("test")
    target, group = problem.target[test], problem.group[test]
    loss, constant = (
        group_means(scoring.losses(problem.task, target, made), group)
        for made in (predicted, baseline.predict(len(target)))
    )
    return scoring.judge(method.model.name, loss, constant, task=problem.task, smallest=method.smallest_skill)
