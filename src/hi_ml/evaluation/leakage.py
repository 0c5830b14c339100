"""How much better would this model have looked after a split that tears near-duplicates apart?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.text import number, percent
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.modeling.problem import Problem, fit_rows
from hi_ml.modeling.scores.score import Baseline
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.estimates import Interval
from hi_ml.statistics.groups import corrected_interval, group_means

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_DRAWS = 1000  # bootstrap draws over groups
_FEWEST = 10  # groups of training rows without a tested twin; fewer teach nothing


@settings(frozen=True, config=STRICT)
class Leakage:
    """How the gap is measured."""

    test: float = Field(0.2, gt=0, le=0.5)  # share of rows in the test part of the random split
    # random splits; 1 gives a bootstrap interval, more a corrected resampled t interval (Nadeau & Bengio 2003)
    repeats: int = Field(1, ge=1)


@dataclass(frozen=True)
class Gap:
    """What a random split would have added."""

    score: str
    random_score: float  # on the test rows of a random split, fitted on all its training rows
    grouped_score: float  # on the same rows, fitted without the training rows that have a twin among them
    gap: float  # flattery: positive where the random split makes the model look better; 95 % interval over groups
    low: float
    high: float
    twin_share: float  # share of the test rows with a twin in the training rows
    predicted_gap: float  # the gap of a model that memorises its training rows
    gap_with_twin: float | None  # over the test rows with and without a twin
    gap_without_twin: float | None
    repeats: int
    sentence: str


@dataclass(frozen=True)
class Draw:
    """One random split: what `Gap` averages."""

    random_score: float
    grouped_score: float
    gap: Interval
    twin_share: float
    predicted_gap: float
    constant: bool  # whether the constant of the training rows stood for the grouped fit
    gap_with_twin: float | None
    gap_without_twin: float | None


def measure(run: FittedRun, how: Leakage) -> Gap:
    """Fit twice on a random split, with and without the training rows whose twin is tested.

    Notes
    -----
    A memoriser gives a tested row the target of its twin: it is right on the share L of rows with a twin, and
    elsewhere as good as the grouped fit. Kaufman et al. (2012), Kapoor & Narayanan (2023).

    Where nearly every training row has a tested twin, nothing is left to fit the second time: the constant of the
    training rows takes its place, and the sentence says so. The fits are not recalibrated, which would take five more
    each.
    """
    task, seeds = run.problem.task, np.random.SeedSequence(run.method.seed).spawn(how.repeats)
    draws = [_draw(run, how.test, np.random.default_rng(seed)) for seed in seeds]
    score = "mae" if task.kind == "regression" else "accuracy"
    gap = draws[0].gap
    if len(draws) > 1:
        gap = corrected_interval(np.array([draw.gap.value for draw in draws]), ratio=how.test / (1 - how.test))
    twin_share, predicted = _mean([draw.twin_share for draw in draws]), _mean([draw.predicted_gap for draw in draws])
    words = _sentence(task, score, gap, share=twin_share, most=predicted, constant=any(draw.constant for draw in draws))
    return Gap(
        score=score,
        random_score=_mean([draw.random_score for draw in draws]),
        grouped_score=_mean([draw.grouped_score for draw in draws]),
        gap=gap.value,
        low=gap.low,
        high=gap.high,
        twin_share=twin_share,
        predicted_gap=predicted,
        gap_with_twin=_mean_of_some([draw.gap_with_twin for draw in draws]),
        gap_without_twin=_mean_of_some([draw.gap_without_twin for draw in draws]),
        repeats=how.repeats,
        sentence=words,
    )


def _draw(run: FittedRun, share: float, rng: np.random.Generator) -> Draw:
    """Split at random, fit twice, and take the difference on the same test rows."""
    problem, task, twins = run.problem, run.problem.task, run.problem.twin
    order = rng.permutation(len(twins))
    cut = max(1, round(share * len(twins)))
    test, train = np.sort(order[:cut]), np.sort(order[cut:])
    tested, has_twin = np.isin(twins[train], twins[test]), np.isin(twins[test], twins[train])
    leaky = clean = _fit_predict(run, train, test)
    bare = bool(tested.any()) and len(np.unique(twins[train[~tested]])) < _FEWEST
    if bare:
        baseline = Baseline.of(task, problem.target[train], classes=len(problem.labels))
        clean = baseline.predict(len(test))
    elif tested.any():
        clean = _fit_predict(run, train[~tested], test)
    random_quality, clean_quality = (_quality(problem, test, predicted) for predicted in (leaky, clean))
    sign = -1.0 if task.kind == "regression" else 1.0  # an error falls where accuracy rises
    flattery = sign * (random_quality - clean_quality)
    grouped = float(group_means(clean_quality, twins[test]).mean())
    wrong = grouped if task.kind == "regression" else 1 - grouped
    return Draw(
        random_score=float(group_means(random_quality, twins[test]).mean()),
        grouped_score=grouped,
        gap=_bootstrap(group_means(flattery, twins[test]), rng) if tested.any() else Interval(0.0, 0.0, 0.0),
        twin_share=float(has_twin.mean()),
        predicted_gap=float(has_twin.mean()) * wrong,
        constant=bare,
        gap_with_twin=float(flattery[has_twin].mean()) if has_twin.any() else None,
        gap_without_twin=float(flattery[~has_twin].mean()) if not has_twin.all() else None,
    )


def _fit_predict(run: FittedRun, train: Rows, test: Rows) -> Floats:
    fitted = fit_rows(run.problem, run.method.model, train, seed=run.method.seed)
    return fitted.predict(run.problem.features.frame.iloc[test])


def _quality(problem: Problem, rows: Rows, predicted: Floats) -> Floats:
    target = problem.target[rows]
    if problem.task.kind == "regression":
        return np.abs(target - predicted)
    return np.asarray(predicted.argmax(axis=1) == target, dtype=float)


def _bootstrap(gaps: Floats, rng: np.random.Generator) -> Interval:
    chosen = rng.integers(len(gaps), size=(_DRAWS, len(gaps)))
    low, high = np.quantile(gaps[chosen].mean(axis=1), [0.025, 0.975])
    return Interval(float(gaps.mean()), float(low), float(high))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _mean_of_some(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return _mean(present) if present else None


def _sentence(task: Task, score: str, gap: Interval, *, share: float, most: float, constant: bool) -> str:
    if not share:
        return "No row of the random test part has a twin in its training part: nothing can leak through copies."
    scale, unit = (1, task.unit) if task.kind == "regression" else (100, "points")
    value, low, high, gain = (number(scale * size, digits=3) for size in (gap.value, gap.low, gap.high, most))
    bare = " Too few training rows lack a tested twin to learn from: the comparison is with the constant."
    return (
        f"A random split would flatter the {score} of {task.name} by {value} {unit} (95 % interval {low} to {high}); "
        f"{percent(share)} % of its test rows have a twin in training, and a model that memorises would gain "
        f"{gain}.{bare if constant else ''}"
    )


ASSESSMENTS = [
    Assessment(
        "leakage",
        measure,
        Leakage,
        metrics=lambda gap: {"leakage_gap": gap["gap"]},
        sentence=lambda gap: gap.sentence,
    )
]
