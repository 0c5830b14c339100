"""Is a frozen model elsewhere as good, and as well calibrated, as it was on its own test part?

Intercept, slope and skill here are held against those at home, the test part of the training run, with the errors of
both: a difference is ruled out, shown, or not known. What would mend the model here is fitted out of fold.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass as settings
from scipy.stats import norm, t

from hi_ml.app.config import STRICT, build
from hi_ml.app.text import number, percent, signed_interval
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.modeling.scores.score import Baseline, Predictions, scores_of
from hi_ml.modeling.splits import folds
from hi_ml.modeling.tasks import Task
from hi_ml.scorer.serving import recalibrate
from hi_ml.statistics.calibration import Agreement, Recalibration, in_the_large, linear_slope, slope
from hi_ml.statistics.estimates import LARGEST_N, LEVEL, POWER, Effect, Interval, Margin, difference_effect, rounded_up

Floats = NDArray[np.float64]
Word = Literal["transports", "needs_recalibration", "does_not_transport", "inconclusive"]
# What is said of a model elsewhere, and what it means: in validation.json, MLflow, on screen and pages.
WORDS: dict[Word, str] = {
    "transports": "as good and as well calibrated as at home, within the margins",
    "needs_recalibration": "as good as at home once its predictions are recalibrated here",
    "does_not_transport": "worse than at home by what matters, recalibrated or not",
    "inconclusive": "not known well enough to tell",
}
STAGES = ("as it is", "after an intercept", "after a slope")
SAME, SHIFTED, UNKNOWN = "same", "shifted", "unknown"
LOG_ODDS = "log-odds"
_COLUMNS = [
    "stage", "measure", "class", "unit", "home", "home_low", "home_high", "value", "low", "high", "difference",
    "difference_low", "difference_high", "margin", "state", "n_needed",
]  # fmt: skip
_FOLDS = 5  # of units, on which a recalibration is fitted and tried
_SURE = float(norm.ppf(POWER))


@settings(frozen=True, config=STRICT)
class Margins:
    """How far a model elsewhere may lie from its own test part."""

    log_odds: PositiveFloat = 0.2  # of the intercept of a class
    # of the mean error of an amount, as a share of the mean distance from the median at home
    amount: PositiveFloat = 0.1
    slope: PositiveFloat = 0.2
    skill: PositiveFloat = 0.25  # share of the skill at home that may be lost; more than at home does no harm


@dataclass(frozen=True)
class Measure:
    """One estimate of a model on some admissions."""

    measure: Literal["skill", "intercept", "slope"]
    label: str  # the class; empty for skill and amounts
    unit: str
    value: float
    low: float  # limits of the 95 % interval
    high: float
    df: float  # behind the interval: units less one

    @property
    def error(self) -> float:
        """Its standard error."""
        return (self.high - self.low) / 2 / float(t.isf(LEVEL / 2, self.df))


@dataclass(frozen=True)
class AtHome:
    """What a model reached on its own test part; it travels with the model."""

    task: Task
    model: str
    dataset: str
    verdict: str  # of the run; empty where it has none
    labels: list[str]
    median: float | None  # the constants of the training part; None for classes
    mean: float | None
    quantile: float | None
    frequencies: list[float]  # empty for amounts
    spread: float  # mean distance of amounts from the median, in their unit; 0 for classes
    admissions: int
    patients: int  # units of inference
    measures: list[Measure]  # those that can be estimated
    line: tuple[float, float] | None  # of amounts, intercept and slope of target on prediction
    scores: list[dict[str, Any]]
    rows_sha256: str  # of what its rows hold, by which its own table is known again

    @classmethod
    def of(cls, run: FittedRun, dataset: str) -> "AtHome":
        """Measure a run on its test part."""
        problem, baseline = run.problem, run.baseline
        predictions = Predictions(problem.task, run.target, run.predicted, run.units, run.method.seed, draws=0)
        verdict, scores = run.results.get("verdict"), run.results.get("scores")
        constants = {name: getattr(baseline, name) for name in ("median", "mean", "quantile")}
        return cls(
            task=problem.task,
            model=run.method.model.name,
            dataset=dataset,
            verdict=verdict.verdict if verdict else "",
            labels=problem.labels,
            **{name: None if np.isnan(value) else float(value) for name, value in constants.items()},
            frequencies=baseline.frequencies.tolist(),
            spread=0.0 if problem.labels else run.units.mean(np.abs(run.target - baseline.median)),
            admissions=run.units.admissions,
            patients=len(run.units),
            measures=list(measures(predictions, baseline, problem.labels)),
            line=None if problem.labels else _line(predictions),
            scores=[] if scores is None else scores.astype(object).where(scores.notna(), None).to_dict("records"),
            rows_sha256=rows_digest(problem.content),
        )

    @classmethod
    def read(cls, node: Mapping[str, Any]) -> "AtHome":
        """Take what `plain` returned; raises pydantic.ValidationError where it is something else."""
        home: AtHome = build(cls, node)
        return home

    def plain(self) -> dict[str, Any]:
        """Lay out for JSON."""
        return asdict(self)

    @cached_property
    def baseline(self) -> Baseline:
        """The constants of the training part."""
        median, mean, quantile = (np.nan if one is None else one for one in (self.median, self.mean, self.quantile))
        return Baseline(median, mean, np.array(self.frequencies), quantile)

    def find(self, measure: str, label: str) -> Measure | None:
        """Return a measure, if it could be estimated."""
        return next((one for one in self.measures if (one.measure, one.label) == (measure, label)), None)

    def margin(self, measure: str, margins: Margins) -> float:
        """Return the difference that matters, in the unit of the measure."""
        if measure == "skill":
            skill = self.find("skill", "")
            return margins.skill * abs(skill.value) if skill else 0.0
        if measure == "slope":
            return margins.slope
        return margins.log_odds if self.labels else margins.amount * self.spread


@dataclass(frozen=True)
class Transport:
    """What became of a model elsewhere."""

    verdict: Word
    reason: str  # why it is inconclusive; empty where it is not
    n_needed: int | None  # admissions here that would tell, where that is inconclusive and some number would
    sentence: str
    table: pd.DataFrame  # see `_COLUMNS`; each stage has the predictions as they are then
    recalibration: dict[str, Any]  # what would be done to the predictions here, by stage


def rows_digest(content: NDArray[np.uint64]) -> str:
    """Return the SHA-256 of what some rows hold, in whatever order they come."""
    return sha256(np.sort(content).astype("<u8").tobytes()).hexdigest()


def measures(predictions: Predictions, baseline: Baseline, labels: Sequence[str]) -> Iterator[Measure]:
    """Estimate the skill over a constant, and the intercept and slope of each class (of two: of the last), or amount.

    The intercept is the calibration in the large: log-odds, or the mean of target less prediction. Those that cannot
    be estimated are left out.
    """
    target, predicted, units = predictions.target, predictions.predicted, predictions.units
    score, df = scores_of(predictions.task)[0], max(len(units) - 1, 1)
    skill = score.skill(predictions, baseline.predict(len(target), score.constant)).interval(1 - LEVEL)
    found: list[tuple[Any, str, str, Interval | Agreement]] = [("skill", "", "share", skill)]
    if not labels:
        unit = predictions.task.unit
        found.append(("intercept", "", unit, units.ratio(target - predicted)))
        found.append(("slope", "", "", linear_slope(target, predicted, units)))
    for code in range(len(labels) == 2, len(labels)):  # noqa: PLR2004 -- of two, one mirrors the other
        occurred, probability = target == code, predicted[:, code]
        found.append(("intercept", labels[code], LOG_ODDS, in_the_large(occurred, probability, units)))
        found.append(("slope", labels[code], "", slope(occurred, probability, units)))
    for name, label, unit, one in found:
        if np.isfinite([one.value, one.low, one.high]).all() and one.low < one.high:
            yield Measure(name, label, unit, one.value, one.low, one.high, df)


def transport(home: AtHome, here: Predictions, margins: Margins, *, place: str) -> Transport:
    """Hold a model's predictions of other admissions against its own test part.

    Parameters
    ----------
    here : Predictions
        By the model as it is; targets are numbered by the model's labels.
    place : str
        The name of the other table, for sentences.
    """
    own = Baseline.of(here.task, here.target, votes=here.units.votes, classes=len(home.labels))
    mended = dict(zip(STAGES, (here, *_recalibrated(home, here)), strict=False))
    lines = [line for stage, one in mended.items() for line in _compared(home, one, own, margins, stage)]
    table = pd.DataFrame(lines, columns=_COLUMNS)
    verdict, reason, n_needed = _decide(home, here, table)
    fitted = {stage: _mend(home, here, np.arange(len(here.target)), stage)[1] for stage in list(mended)[1:]}
    said = _sentence(home, table, verdict, reason, n_needed, place)
    return Transport(verdict, reason, n_needed, said, table, fitted)


def _compared(home: AtHome, here: Predictions, own: Baseline, margins: Margins, stage: str) -> Iterator[dict[str, Any]]:
    found = {(one.measure, one.label): one for one in measures(here, own, home.labels)}
    for before in home.measures:
        now, margin = found.get((before.measure, before.label)), home.margin(before.measure, margins)
        line: dict[str, Any] = {"stage": stage, "measure": before.measure, "class": before.label, "unit": before.unit}
        line |= {"home": before.value, "home_low": before.low, "home_high": before.high}
        if now is None:
            yield line | {"margin": margin, "state": UNKNOWN}
            continue
        effect = _difference(before, now, here.units.admissions, margin)
        yield line | {
            "value": now.value,
            "low": now.low,
            "high": now.high,
            "difference": effect.estimate,
            "difference_low": effect.low,
            "difference_high": effect.high,
            "margin": margin,
            "state": _state(effect, margin, before.measure),
            "n_needed": _needed(before, now, margin, here.units.admissions),
        }


def _difference(before: Measure, now: Measure, n: int, margin: float) -> Effect:
    """Here less home; the two share no admission."""
    squares = np.array([before.error, now.error]) ** 2
    df = float(squares.sum() ** 2 / (squares**2 / [before.df, now.df]).sum())
    return difference_effect(now.value - before.value, float(squares.sum() ** 0.5), n, margin=Margin(margin), df=df)


def _state(effect: Effect, margin: float, measure: str) -> str:
    """Say whether a difference is ruled out (Schuirmann 1987), shown, or neither; a skill can only be too small."""
    if effect.low90 > -margin and (effect.high90 < margin or measure == "skill"):
        return SAME
    shown = effect.high < 0 if measure == "skill" else effect.high < 0 or effect.low > 0
    return SHIFTED if shown and abs(effect.estimate) >= margin else UNKNOWN


def _needed(before: Measure, now: Measure, margin: float, n: int) -> float:
    """Say how many admissions here would show that there is no difference; infinite where home is too small for it."""
    allowed = margin / (float(norm.isf(LEVEL)) + _SURE)
    room = allowed**2 - before.error**2
    return n * now.error**2 / room if room > 0 else np.inf


def _decide(home: AtHome, here: Predictions, table: pd.DataFrame) -> tuple[Word, str, int | None]:
    raw, mended = table[table["stage"] == STAGES[0]], table[table["stage"] != STAGES[0]]
    skills = mended[mended["measure"] == "skill"]
    if why := _untold(home, here, raw):
        return "inconclusive", why, None
    if (raw["state"] == SAME).all():
        return "transports", "", None
    shifted = bool((raw["state"] == SHIFTED).any())
    if shifted and (skills["state"] == SAME).any():
        return "needs_recalibration", "", None
    if (skills["state"] == SHIFTED).all():
        return "does_not_transport", "", None
    # once something has shifted, only the skill that a recalibration leaves matters
    lines = skills if shifted else raw
    vague = lines[lines["state"] == UNKNOWN]
    return "inconclusive", *_vague(vague, float(vague["n_needed"].agg("min" if shifted else "max")), here)


def _vague(lines: pd.DataFrame, n: float, here: Predictions) -> tuple[str, int | None]:
    """Say why measures are not known well enough, and how many admissions here would tell, if some number would."""
    names = " and ".join(dict.fromkeys(lines["measure"]))
    if lines["value"].isna().any():
        return f"its {names} cannot be estimated here", None
    reason = f"its {names} here may or may not differ from home by what matters"
    if here.units.admissions < n < LARGEST_N:
        return reason, rounded_up(n)
    small = "the model's own test part at home is too small to tell"
    why = small if n >= LARGEST_N else "near the margin more admissions tell little"
    return f"{reason}, and {why}", None


def _untold(home: AtHome, here: Predictions, raw: pd.DataFrame) -> str:
    """Say why nothing can be told; empty where something can."""
    if home.verdict not in ("", "signal"):
        return f"its verdict at home is {home.verdict}: there is no skill to transport"
    skill = home.find("skill", "")
    if skill is not None and skill.low <= 0:
        return "its skill at home is not known to lie above 0: there is nothing to transport"
    if not here.enough:
        return f"too few {here.units.noun}, or events, to tell"
    lacking = {"skill", "intercept", "slope"} - set(raw["measure"])
    return f"its own test part tells no {' and no '.join(sorted(lacking))}" if lacking else ""


def _recalibrated(home: AtHome, here: Predictions) -> Iterator[Predictions]:
    """Mend predictions by what other units here say: by an intercept, and by a slope too where there is one at home."""
    for stage in STAGES[1:]:
        if stage == STAGES[2] and not home.labels and home.line is None:
            return
        predicted = np.empty_like(here.predicted)
        for train, test in folds(here.units.unit, count=_FOLDS, seed=here.seed):
            predicted[test] = _mend(home, here, train, stage)[0][test]
        yield replace(here, predicted=predicted)


def _mend(home: AtHome, here: Predictions, rows: NDArray[np.int64], stage: str) -> tuple[Floats, dict[str, Any]]:
    """Fit a recalibration to some rows, and return what it makes of all, and what it is.

    Amounts are moved until target on prediction is the line that it was at home: a median stays one.
    """
    some = replace(here, target=here.target[rows], predicted=here.predicted[rows], units=here.units.only(rows))
    if home.labels:
        fixed = 1.0 if stage == STAGES[1] else None
        how = Recalibration.of(some.target.astype(int), some.predicted, some.units.votes, slope=fixed)
        intercepts = dict(zip(home.labels, how.intercepts, strict=True))
        return recalibrate(here.predicted, how.slope, how.intercepts), {"slope": how.slope, "intercepts": intercepts}
    error = home.find("intercept", "")
    if stage == STAGES[1] or home.line is None or (line := _line(some)) is None:
        shift = some.units.mean(some.target - some.predicted) - (error.value if error else 0.0)
        return here.predicted + shift, {"slope": 1.0, "intercept": shift}
    slope_, intercept = line[1] / home.line[1], (line[0] - home.line[0]) / home.line[1]
    return intercept + slope_ * here.predicted, {"slope": slope_, "intercept": intercept}


def _line(predictions: Predictions) -> tuple[float, float] | None:
    """Intercept and slope of target on prediction by least squares; None where predictions hardly vary."""
    target, predicted, votes = predictions.target, predictions.predicted, predictions.units.votes
    estimate = linear_slope(target, predicted, predictions.units).value
    if not np.isfinite(estimate) or estimate <= 0:
        return None
    means = (float(np.average(values, weights=votes)) for values in (target, predicted))
    return next(means) - estimate * next(means), estimate


def _sentence(home: AtHome, table: pd.DataFrame, verdict: Word, reason: str, n_needed: int | None, place: str) -> str:
    raw = table[table["stage"] == STAGES[0]]
    who = f"{home.model} of {home.task.title} on {place}: {verdict.replace('_', ' ')}"
    lines = [f"{who}{f' ({reason})' if reason else f', {WORDS[verdict]}'}."]
    lines += [_skill(row, "here") for _, row in raw[raw["measure"] == "skill"].iterrows()]
    for _, row in raw[(raw["state"] == SHIFTED) & (raw["measure"] != "skill")].iterrows():
        difference, interval = signed_interval(row["difference"], row["difference_low"], row["difference_high"])
        unit, label = row["unit"] and f" {row['unit']}", row["class"] and f" of {row['class']}"
        what = f"{row['measure']}{label} {number(row['value'], digits=3)}, at home {number(row['home'], digits=3)}"
        lines.append(f"Its {what}: {difference}{unit} ({interval}), where {number(row['margin'], digits=2)} matter.")
    if verdict in ("needs_recalibration", "does_not_transport"):
        mended = table[(table["stage"] != STAGES[0]) & (table["measure"] == "skill") & table["value"].notna()]
        lines += [_skill(row, str(row["stage"])) for _, row in mended.iterrows()]
    if n_needed is not None:
        lines.append(f"If it is here as at home, about {n_needed:,} admissions would show it.")
    return " ".join(lines)


def _skill(row: Any, where: str) -> str:
    if pd.isna(row.get("value", np.nan)):
        return f"Its skill {where} cannot be told."
    return (
        f"Its skill {where}, over what a constant reaches here, is {percent(row['value'])} % (95 % interval "
        f"{percent(row['low'])} to {percent(row['high'])}; at home {percent(row['home'])} %)."
    )
