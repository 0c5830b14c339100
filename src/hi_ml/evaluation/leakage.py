"""How much better would this model have looked after a split that tears near-duplicates, or patients, apart?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.text import number, percent
from hi_ml.evaluation.assessment import Assessment, FittedRun, Method
from hi_ml.modeling.problem import Problem, fit_rows
from hi_ml.modeling.scores.score import title
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.estimates import Interval
from hi_ml.statistics.groups import Units, corrected_interval

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
_DRAWS = 1000  # bootstrap draws over patients
_AT_ONCE = 500_000  # draws of a patient that are in memory
_FEWEST = 10  # groups of training rows without a tested twin, or patient; fewer teach nothing
_SMALL = 0.005  # share of the error, or of admissions: a smaller flattery does not matter


@settings(frozen=True, config=STRICT)
class Leakage:
    """How the gap is measured."""

    test: float = Field(0.2, gt=0, le=0.5)  # share of rows in the test part of the random split
    # random splits; 1 gives a bootstrap interval, more a corrected resampled t interval (Nadeau & Bengio 2003)
    repeats: int = Field(1, ge=1)


@dataclass(frozen=True)
class Gap:
    """What a random split would have added: through copies, and through other admissions of the same patients."""

    score: str
    unit: str  # of the flattery, in words
    random_score: float  # on the test rows of a random split, fitted on all its training rows
    grouped_score: float  # on the same rows, fitted without the training rows that have a twin among them
    gap: float  # flattery: positive where the random split makes the model look better; 95 % interval over patients
    low: float
    high: float
    twin_share: float  # share of the test rows with a twin in the training rows
    predicted_gap: float  # the gap of a model that memorises its training rows
    gap_with_twin: float | None  # over the test rows with and without a twin
    gap_without_twin: float | None
    patient_share: float  # share of the test rows with another admission of the same patient in the training rows
    patient_score: float  # on the same rows, fitted without any training row of a tested patient
    patient_gap: float  # further flattery, beyond that of the copies: as `gap`, of grouped_score over patient_score
    patient_low: float
    patient_high: float
    repeats: int
    sentence: str


@dataclass(frozen=True)
class Leak:
    """What one source of it, copies or patients, adds on one random split."""

    share: float  # of the test rows, with such a row in training
    score: float  # without
    gap: Interval
    constant: bool  # whether the constant of the training rows stood for a fit without
    flattery: Floats  # float64, shape (n_test,)


@dataclass(frozen=True)
class Draw:
    """One random split: what `Gap` averages."""

    random_score: float
    copies: Leak
    patients: Leak
    predicted_gap: float
    gap_with_twin: float | None
    gap_without_twin: float | None


def measure(run: FittedRun, how: Leakage) -> Gap:
    """Fit on a random split, again without the training rows whose twin is tested, then without tested patients.

    Notes
    -----
    This is what a naive analyst would see: rows teach, copies and all. A memoriser gives a tested row the target of its
    twin: it is right on the share L of rows with a twin, and elsewhere as good as the grouped fit. Kaufman et al.
    (2012), Kapoor & Narayanan (2023). The two gaps add up to what a split that keeps patients together would take away.

    Where nearly every training row has a tested twin (or patient), nothing is left to fit again: the constant of the
    training rows takes its place, and the sentence says so. Where no patient has two admissions there is no third fit.
    The fits are not recalibrated, which would take three more each.
    """
    task, begun = run.problem.task, run.results.get("leakage")
    draws: list[Draw] = begun.result() if begun else draw_splits(run.problem, run.method, how)
    copies, patients = [draw.copies for draw in draws], [draw.patients for draw in draws]
    gap, patient_gap = (_averaged(leaks, how) for leaks in (copies, patients))
    twin_share, predicted = _mean([leak.share for leak in copies]), _mean([draw.predicted_gap for draw in draws])
    patient_share = _mean([leak.share for leak in patients])
    score = "mae" if task.kind == "regression" else "accuracy"
    words = [
        _of_copies(task, score, gap, share=twin_share, most=predicted),
        _of_patients(task, score, patient_gap, share=patient_share),
        _of_constant(copies, patients),
    ]
    return Gap(
        score=score,
        unit=task.unit if task.kind == "regression" else "points of accuracy",
        random_score=_mean([draw.random_score for draw in draws]),
        grouped_score=_mean([leak.score for leak in copies]),
        gap=gap.value,
        low=gap.low,
        high=gap.high,
        twin_share=twin_share,
        predicted_gap=predicted,
        gap_with_twin=_mean_of_some([draw.gap_with_twin for draw in draws]),
        gap_without_twin=_mean_of_some([draw.gap_without_twin for draw in draws]),
        patient_share=patient_share,
        patient_score=_mean([leak.score for leak in patients]),
        patient_gap=patient_gap.value,
        patient_low=patient_gap.low,
        patient_high=patient_gap.high,
        repeats=how.repeats,
        sentence=" ".join(filter(None, words)),
    )


def draw_splits(problem: Problem, method: Method, how: Leakage) -> list[Draw]:
    """Fit what `measure` compares: nearly all of its time."""
    seeds = np.random.SeedSequence(method.seed).spawn(how.repeats)
    return [_draw(problem, method, how.test, np.random.default_rng(seed)) for seed in seeds]


def _draw(problem: Problem, method: Method, share: float, rng: np.random.Generator) -> Draw:
    """Split at random, fit up to three times, and take the differences on the same test rows."""
    task = problem.task
    order = rng.permutation(len(problem.twin))
    cut = max(1, round(share * len(order)))
    test, train = np.sort(order[:cut]), np.sort(order[cut:])
    has_twin, has_patient = _repeated(problem, train, test)
    sign = -1.0 if task.kind == "regression" else 1.0  # an error falls where accuracy rises
    units = problem.units_of(test)
    (leaky, _), *fits = _fits(problem, method, train, test)
    before, leaks = leaky, []
    for (quality, constant), has in zip(fits, (has_twin, has_patient), strict=True):
        flattery = sign * (before - quality)
        gap = _bootstrap(flattery, units, rng) if has.any() else Interval(0.0, 0.0, 0.0)
        leaks.append(Leak(float(has.mean()), units.mean(quality), gap, constant, flattery))
        before = quality
    copies, patients = leaks
    wrong = copies.score if task.kind == "regression" else 1 - copies.score
    return Draw(
        random_score=units.mean(leaky),
        copies=copies,
        patients=patients,
        predicted_gap=copies.share * wrong,
        gap_with_twin=float(copies.flattery[has_twin].mean()) if has_twin.any() else None,
        gap_without_twin=float(copies.flattery[~has_twin].mean()) if not has_twin.all() else None,
    )


def _repeated(problem: Problem, train: Rows, test: Rows) -> tuple[Mask, Mask]:
    """Tell which test rows have a twin in training, and which another admission of the same patient."""
    twin, group = problem.twin, problem.group
    has_twin = np.isin(twin[test], twin[train])
    _, first = np.unique(twin[train], return_index=True)  # admissions of each patient in training, copies counted once
    patients, admissions = np.unique(group[train][first], return_counts=True)
    index = np.searchsorted(patients, group[test]).clip(max=len(patients) - 1)
    others = np.where(patients[index] == group[test], admissions[index], 0) - has_twin
    return has_twin, others > 0


def _fits(problem: Problem, method: Method, train: Rows, test: Rows) -> Iterator[tuple[Floats, bool]]:
    """Fit on all training rows, without those that have a tested twin, and without those of a tested patient.

    Yields
    ------
    quality : array of float64, shape (n_test,)
    constant : bool
        Whether too few rows were left, and the constant of all took the place of a fit.
    """
    constant = False
    quality = _quality(problem, test, _fit_predict(problem, method, train, test))
    yield quality, constant
    rest = train
    for unit in (problem.twin, problem.group):
        kept = train[~np.isin(unit[train], unit[test])]
        if len(kept) < len(rest):
            rest, constant = kept, len(np.unique(unit[kept])) < _FEWEST
            if constant:
                predicted = problem.baseline(train).predict(len(test))
            else:
                predicted = _fit_predict(problem, method, kept, test)
            quality = _quality(problem, test, predicted)
        yield quality, constant


def _fit_predict(problem: Problem, method: Method, train: Rows, test: Rows) -> Floats:
    fitted = fit_rows(problem, method.model, train, seed=method.seed, copies=True)
    return fitted.predict(problem.features.frame.iloc[test])


def _quality(problem: Problem, rows: Rows, predicted: Floats) -> Floats:
    target = problem.target[rows]
    if problem.task.kind == "regression":
        return np.abs(target - predicted)
    return np.asarray(predicted.argmax(axis=1) == target, dtype=float)


def _bootstrap(values: Floats, units: Units, rng: np.random.Generator) -> Interval:
    """Average the rows over admissions, copies sharing one vote, and draw patients."""
    sums, counts, n = units.sums(values), units.counts, len(units)
    ratios = []
    for draws in np.array_split(np.empty(_DRAWS), max(_DRAWS * n // _AT_ONCE, 1)):  # all at once would take gigabytes
        chosen = rng.integers(n, size=(len(draws), n))
        ratios.append(sums[chosen].mean(axis=1) / counts[chosen].mean(axis=1))
    low, high = np.quantile(np.concatenate(ratios), [0.025, 0.975])
    return Interval(units.mean(values), float(low), float(high))


def _averaged(leaks: Sequence[Leak], how: Leakage) -> Interval:
    if len(leaks) == 1:
        return leaks[0].gap
    return corrected_interval(np.array([leak.gap.value for leak in leaks]), ratio=how.test / (1 - how.test))


def _mean(values: Sequence[float] | Floats) -> float:
    return float(np.mean(values))


def _mean_of_some(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return _mean(present) if present else None


def _brief(gap: Gap) -> str:
    """Say in a line whether a random split would flatter, and by how much."""
    factor = 100 if gap.score == "accuracy" else 1
    copies, patients = (number(factor * one, digits=3) for one in (gap.gap, gap.patient_gap))
    others = f"{patients} by other admissions of a patient" if gap.patient_share else "no patient seen to come again"
    small = max(gap.gap, gap.patient_gap) < _SMALL * (gap.grouped_score if factor == 1 else 1)
    shown = max(gap.low, gap.patient_low) > 0
    word = "no leakage that matters" if small else "leakage" if shown else "no leakage shown"
    return f"Random split: {word} ({copies} {gap.unit} by near-copies, {others})."


def _of_copies(task: Task, score: str, gap: Interval, *, share: float, most: float) -> str:
    if not share:
        return "No row of the random test part has a twin in its training part: nothing can leak through copies."
    return (
        f"A random split {_would_flatter(task, score, gap)}; "
        f"{percent(share)} % of its test rows have a twin in training, and a model that memorises would gain "
        f"{_number(task, most)}."
    )


def _of_patients(task: Task, score: str, gap: Interval, *, share: float) -> str:
    if not share:
        return ""
    return (
        f"Other admissions of the same patients {_would_flatter(task, score, gap)}; "
        f"{percent(share)} % of the test rows have one in training."
    )


def _would_flatter(task: Task, score: str, gap: Interval) -> str:
    unit = task.unit if task.kind == "regression" else "points"
    value, low, high = (_number(task, end) for end in (gap.value, gap.low, gap.high))
    flattered, interval = f"the {title(score)} of {task.title}", f"95 % interval {low} to {high}"
    if gap.low > 0:
        return f"would flatter {flattered} by {value} {unit} ({interval})"
    return f"would not flatter {flattered}, as far as this table can tell ({value} {unit}, {interval})"


def _of_constant(copies: Sequence[Leak], patients: Sequence[Leak]) -> str:
    lacking = [
        what for what, leaks in (("twin", copies), ("patient", patients)) if any(leak.constant for leak in leaks)
    ]
    if not lacking:
        return ""
    return f"Too few training rows lack a tested {lacking[0]} to learn from: the comparison is with the constant."


def _number(task: Task, size: float) -> str:
    return number(size if task.kind == "regression" else 100 * size, digits=3)


def _metrics(gap: Mapping[str, Any]) -> dict[str, float]:
    """The gap of copies and, where patients come again, theirs; a run folder of an older version tells of none."""
    patients = {"leakage_patient_gap": gap["patient_gap"]} if gap.get("patient_share") else {}
    return {"leakage_gap": gap["gap"]} | patients


ASSESSMENTS = [
    Assessment(
        "leakage",
        measure,
        Leakage,
        ahead=draw_splits,
        metrics=_metrics,
        sentence=lambda gap: gap.sentence,
        brief=_brief,
    )
]
