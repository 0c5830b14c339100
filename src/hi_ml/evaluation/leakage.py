"""How much better would this model have looked after a split that tears near-duplicates apart?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from scipy import stats

from hi_ml.app.config import STRICT
from hi_ml.app.text import number, percent
from hi_ml.modeling.judgement import Baseline
from hi_ml.modeling.models import Fitted
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.groups import group_means

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_DRAWS = 1000  # bootstrap draws over groups
_MEANS = ("random", "grouped", "share", "predicted", "constant")
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


def measure(
    task: Task,
    target: Floats,
    *,
    twins: Rows,
    fit: Callable[[Rows], Fitted],
    predict: Callable[[Fitted, Rows], Floats],
    settings: tuple[Leakage, int],
) -> Gap:
    """Fit twice on a random split, with and without the training rows whose twin is tested.

    Parameters
    ----------
    target : array of float64, shape (n,)
    twins : array of int64, shape (n,)
        Near-duplicate group of each row.
    fit : callable
        Fits the whole pipeline on the given row places.
    predict : callable
        Predicts the given row places.
    settings : (Leakage, int)
        How to measure, and the seed.

    Notes
    -----
    A memoriser gives a tested row the target of its twin: it is right on the share L of rows with a twin, and
    elsewhere as good as the grouped fit. Kaufman et al. (2012), Kapoor & Narayanan (2023).

    Where nearly every training row has a tested twin, nothing is left to fit the second time: the constant of the
    training rows takes its place, and the sentence says so.
    """
    how, seed = settings
    seeds = np.random.SeedSequence(seed).spawn(how.repeats)
    draws = [_draw(task, target, twins, (fit, predict), (how.test, child)) for child in seeds]
    name = "mae" if task.kind == "regression" else "accuracy"
    means = {key: float(np.mean([draw[key] for draw in draws])) for key in _MEANS}
    gap, low, high = _interval(draws, how)
    return Gap(
        score=name,
        random_score=means["random"],
        grouped_score=means["grouped"],
        gap=gap,
        low=low,
        high=high,
        twin_share=means["share"],
        predicted_gap=means["predicted"],
        gap_with_twin=_optional_mean([draw["with"] for draw in draws]),
        gap_without_twin=_optional_mean([draw["without"] for draw in draws]),
        repeats=how.repeats,
        sentence=_sentence(task, name, (gap, low, high), means),
    )


def _draw(
    task: Task,
    target: Floats,
    twins: Rows,
    model: tuple[Callable[[Rows], Fitted], Callable[[Fitted, Rows], Floats]],
    rule: tuple[float, np.random.SeedSequence],
) -> dict[str, Any]:
    """One random split, two fits, the difference on the same test rows."""
    (fit, predict), (share, seed) = model, rule
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(target))
    cut = max(1, round(share * len(target)))
    test, train = np.sort(order[:cut]), np.sort(order[cut:])
    tested = np.isin(twins[train], twins[test])
    has_twin = np.isin(twins[test], twins[train])
    leaky = predict(fit(train), test)
    bare = tested.any() and len(np.unique(twins[train[~tested]])) < _FEWEST
    if bare:
        clean = Baseline.of(task, target[train], classes=leaky.shape[-1]).predict(len(test))
    else:
        clean = predict(fit(train[~tested]), test) if tested.any() else leaky
    random_quality, clean_quality = (_quality(task, target[test], predicted) for predicted in (leaky, clean))
    sign = -1.0 if task.kind == "regression" else 1.0  # an error falls where accuracy rises
    flattery = sign * (random_quality - clean_quality)
    gaps = group_means(flattery, twins[test])
    chosen = rng.integers(len(gaps), size=(_DRAWS, len(gaps))) if tested.any() else np.zeros((1, 1), dtype=np.int64)
    grouped = float(group_means(clean_quality, twins[test]).mean())
    wrong = grouped if task.kind == "regression" else 1 - grouped
    return {
        "random": float(group_means(random_quality, twins[test]).mean()),
        "grouped": grouped,
        "gap": float(gaps.mean()),
        "bounds": np.quantile(gaps[chosen].mean(axis=1), [0.025, 0.975]) if tested.any() else np.zeros(2),
        "share": float(has_twin.mean()),
        "predicted": float(has_twin.mean()) * wrong,
        "constant": bare,
        "with": float(flattery[has_twin].mean()) if has_twin.any() else None,
        "without": float(flattery[~has_twin].mean()) if not has_twin.all() else None,
    }


def _quality(task: Task, target: Floats, predicted: Floats) -> Floats:
    if task.kind == "regression":
        return np.abs(target - predicted)
    return np.asarray(predicted.argmax(axis=1) == target, dtype=float)


def _interval(draws: list[dict[str, Any]], how: Leakage) -> tuple[float, float, float]:
    gaps = np.array([draw["gap"] for draw in draws])
    if len(gaps) == 1:
        low, high = draws[0]["bounds"]
        return float(gaps[0]), float(low), float(high)
    variance = (1 / len(gaps) + how.test / (1 - how.test)) * gaps.var(ddof=1)
    reach = float(stats.t.ppf(0.975, len(gaps) - 1) * np.sqrt(variance))
    return float(gaps.mean()), float(gaps.mean() - reach), float(gaps.mean() + reach)


def _optional_mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _sentence(task: Task, name: str, gap: tuple[float, float, float], means: dict[str, float]) -> str:
    if not means["share"]:
        return "No row of the random test part has a twin in its training part: nothing can leak through copies."
    scale, unit = (1, task.unit) if task.kind == "regression" else (100, "points")
    value, low, high, most = (number(scale * size, digits=3) for size in (*gap, means["predicted"]))
    bare = " Too few training rows lack a tested twin to learn from: the comparison is with the constant."
    return (
        f"A random split would flatter the {name} of {task.name} by {value} {unit} (95 % interval {low} to {high}); "
        f"{percent(means['share'])} % of its test rows have a twin in training, and a model that memorises would gain "
        f"{most}.{bare if means['constant'] else ''}"
    )
