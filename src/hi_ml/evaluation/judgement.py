"""How good is a model on rows it has never seen, against knowing nothing: worth anything, or too good to be true?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.errors import NotTrainable
from hi_ml.app.text import number, percent
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.modeling.scale import RAW
from hi_ml.modeling.scores.score import FEWEST, Baseline, Predictions, Score, score_of, scores_of
from hi_ml.modeling.tasks import ASKS, Functional
from hi_ml.statistics.estimates import Interval
from hi_ml.statistics.groups import Units

Floats = NDArray[np.float64]
Word = Literal["signal", "negligible", "no_signal", "worse", "inconclusive"]
# What is said of a model, and what it means. The verdict stands in verdict.json, in MLflow, on screen, charts and pages
# under these words; models of old know three of them, and their "no_signal" may mean negligible or worse.
WORDS: dict[Word, str] = {
    "signal": "better than the constant, by what matters",
    "negligible": "better than the constant, by less than matters",
    "no_signal": "not better than the constant by what matters",
    "worse": "worse than the constant",
    "inconclusive": "not known well enough to tell",
}
_TRIED = 5_000  # test rows on which the columns of an implausible score are tried, at most
_STREAM = 11  # random numbers of their own


def caution(word: str) -> str:
    """Say what to know of a model with such a verdict, old ones and unknown ones included; nothing of a signal.

    Examples
    --------
    >>> caution("worse")
    'the model is worse than the constant: it was not shown to be better than knowing nothing by what matters'
    """
    if word == "signal":
        return ""
    unproven = "it was not shown to be better than knowing nothing by what matters"
    meaning = {str(known): means for known, means in WORDS.items()}.get(word)
    return f"the model is {meaning}: {unproven}" if meaning else unproven


@settings(frozen=True, config=STRICT)
class Judging:
    """What a model must reach."""

    smallest_skill: float = Field(0.02, ge=0, lt=1)  # that matters, as a share of the constant's loss
    both: bool = True  # whether an amount's median and mean are judged, which may take a second fit


@dataclass(frozen=True)
class Judgement:
    """Whether predictions beat a constant, in one score, by an amount that matters."""

    verdict: Word
    reason: str  # why it is inconclusive; empty where it is not
    score: str  # the loss that skill is a share of, or the area under ROC
    constant: Functional  # what of the target knowing nothing predicts
    # share of the constant's loss that the model removes, or of the way from .5 to an area of 1
    skill: float
    low95: float | None  # intervals over units; None where there are too few
    high95: float | None
    low90: float | None
    high90: float | None
    smallest_skill: float  # the skill that would matter


@dataclass(frozen=True)
class Verdict(Judgement):
    """The judgement by the task's own score, beside that of the other functional of an amount."""

    n_groups: int  # units of inference in the test part: patients, or admissions where nobody comes again
    n_admissions: int  # in the test part, copies counting once
    design_effect: float  # of the skill: how much its variance exceeds that over as many independent admissions
    others: tuple[Judgement, ...]
    headline: str  # the verdict in a sentence
    sentence: str  # all of it in words


def decide(wide: Interval, narrow: Interval, smallest: float) -> Word:
    """Choose the word for a skill.

    Parameters
    ----------
    wide, narrow : Interval
        The skill with its 95 % and its 90 % limits.
    smallest : float
        The smallest skill that matters.

    Returns
    -------
    Word
        ``signal`` if the 95 % interval lies above 0 and the skill reaches the smallest, ``worse`` if it lies below 0;
        where the 90 % interval lies below the smallest, ``negligible`` if the 95 % interval lies above 0 and
        ``no_signal`` if not; else ``inconclusive``.
    """
    if wide.low > 0 and wide.value >= smallest:
        return "signal"
    if wide.high < 0:
        return "worse"
    if narrow.high < smallest:
        return "negligible" if wide.low > 0 else "no_signal"
    return "inconclusive"


def judge(predictions: Predictions, constant: Floats, score: Score, *, smallest: float) -> Judgement:
    """Hold predictions of test rows against a constant, in one score.

    Parameters
    ----------
    constant : array of float64, shape (n,) or (n, n_classes)
        What knowing nothing predicts.
    smallest : float
        Smallest skill that matters.
    """
    found = score.skill(predictions, constant)
    wide, narrow = (found.interval(level) for level in (0.95, 0.90))
    verdict, reason = decide(wide, narrow, smallest), ""
    if not predictions.enough:
        verdict, reason = "inconclusive", _too_few(predictions)
    elif wide.low == wide.high == 0:
        verdict, reason = "inconclusive", _tie(predictions, constant, score)
    elif verdict == "inconclusive":
        reason = f"too few {predictions.units.noun} to tell whether it is {100 * smallest:g} % or more"
    given = [end if predictions.enough else None for end in (wide.low, wide.high, narrow.low, narrow.high)]
    return Judgement(
        verdict=verdict,
        reason=reason,
        score=score.name,
        constant=score.constant,
        skill=wide.value,
        low95=given[0],
        high95=given[1],
        low90=given[2],
        high90=given[3],
        smallest_skill=smallest,
    )


def _too_few(predictions: Predictions) -> str:
    units = predictions.units
    if len(units) < FEWEST:
        return f"too few {units.noun}: fewer than {FEWEST} in the test part"
    if units.effective < FEWEST:
        return _uneven(units, "test")
    return f"too few events: fewer than {FEWEST} {units.noun} of the test part have the rarest"


def _uneven(units: Units, part: str) -> str:
    return f"too few {units.noun}: very few of them have most of the admissions of the {part} part"


def _tie(predictions: Predictions, constant: Floats, score: Score) -> str:
    """Say why a skill of nothing, for sure, tells nothing."""
    same = predictions.target == constant if score.constant in ("median", "quantile") else np.zeros(1)
    tied = 2 * np.count_nonzero(same) >= len(same)  # a median that most targets share is everyone's
    return f"the {score.constant} cannot tell" if tied else "it predicts the constant"


def scores(predictions: Predictions, baseline: Baseline, *, smallest: int = 1) -> pd.DataFrame:
    """Score predictions of the test part.

    Parameters
    ----------
    smallest : int
        Patients, of whom scores may tell: where fewer have a class, there is the primary one alone.

    Returns
    -------
    DataFrame
        ``score, part, value, low, high, baseline, unit``; the primary score first. Per admission; 95 % intervals
        are over units and hold for this fitted model; there are none where units or events are too few.
    """
    rows = []
    every = scores_of(predictions.task)
    for score in every[:1] if predictions.tells_of_few(smallest) else every:
        values = score.values(predictions)
        if values is None:
            continue
        constant = baseline.predict(len(predictions.target), score.constant)
        knowing_nothing = score.values(replace(predictions, predicted=constant, draws=0))
        point = np.nan if knowing_nothing is None else score.reduce.point(knowing_nothing)
        interval = score.interval(predictions, values)
        rows.append((score.name, "test", interval.value, interval.low, interval.high, point, score.unit))
    return pd.DataFrame(rows, columns=["score", "part", "value", "low", "high", "baseline", "unit"])


def _judge(run: FittedRun, how: Judging) -> Verdict:
    task, model = run.problem.task, run.method.model
    primary = scores_of(task)[0]
    learned = run.problem.units_of(run.problem.where("train"))  # the constant is theirs too
    of_run = Predictions(task, run.target, run.predicted, run.units, run.method.seed, draws=0)

    def judged(score: Score, predictions: Predictions) -> Judgement:
        constant = run.baseline.predict(len(run.target), score.constant)
        found = judge(predictions, constant, score, smallest=task.smallest(score.name, how.smallest_skill))
        if found.verdict == "inconclusive" or learned.effective >= FEWEST:
            return found
        return replace(found, verdict="inconclusive", reason=_uneven(learned, "training"))

    first = judged(primary, of_run)
    refuse_implausible(run, primary, first.skill)
    others = tuple(judged(*other) for other in _other_functionals(run, of_run)) if how.both else ()
    effect = primary.skill(of_run, run.baseline.predict(len(run.target), primary.constant)).design_effect
    headline = f"{model.name} {_measured(first, primary.loss)} on {task.title}: {_ending(first)}."
    said = [f"{_who(run, one)} {_measured(one, score_of(task, one.score).loss)}: {_ending(one)}." for one in others]
    scope = f"This holds for this fitted model on this split: {run.units.describe(effect)}."
    return Verdict(
        **vars(first),
        n_groups=len(run.units),
        n_admissions=run.units.admissions,
        design_effect=effect,
        others=others,
        headline=headline,
        sentence=" ".join([headline, *said, scope]),
    )


def _other_functionals(run: FittedRun, predictions: Predictions) -> Iterator[tuple[Score, Predictions]]:
    """The scores that ask an amount for its median and its mean, with what aims at them, the primary left out."""
    task, model = run.problem.task, run.method.model
    for name in ("mae", "rmse"):
        if task.kind != "regression" or name == task.score:
            continue
        other = model.aim_at(ASKS[task.kind][name])
        if other is model:
            yield score_of(task, name), predictions
        else:
            # the exponential of a mean logarithm is no mean; that of a median is one
            scale = RAW if other.predicts == "mean" else replace(run.problem.scale, factor=1.0)
            problem, train = replace(run.problem, scale=scale), np.flatnonzero(run.problem.where("train"))
            fitted = replace(run.method, model=other).fit(problem, train)
            test = problem.where("test")
            again = problem.clip_to_top(fitted.predict(problem.features.frame[test]), test)
            yield score_of(task, name), replace(predictions, predicted=again)


def _who(run: FittedRun, judgement: Judgement) -> str:
    """Name what aims at another functional: the model itself, where it does or can do nothing else."""
    model = run.method.model
    return "It" if model.aim_at(judgement.constant) is model else f"Fitted to the {judgement.constant} instead, it"


def _measured(found: Judgement, loss: str) -> str:
    share = f"{percent(found.skill)} %"
    if found.low95 is not None and found.high95 is not None:
        share += f" (95 % interval {percent(found.low95)} to {percent(found.high95)})"
    if not loss:
        return f"goes {share} of the way from an area under ROC of 0.5 to 1"
    return f"removes {share} of the {loss} of the constant {found.constant}"


def _ending(found: Judgement) -> str:
    least = f"{100 * found.smallest_skill:g} %"
    return {
        "signal": "signal",
        "negligible": f"negligible, better than the constant {found.constant} by less than {least}",
        "no_signal": f"no signal, not better than the constant {found.constant} by {least} or more",
        "worse": f"worse than the constant {found.constant}",
        "inconclusive": f"inconclusive ({found.reason})",
    }[found.verdict]


def _skills(verdict: Mapping[str, Any]) -> dict[str, float]:
    ends = {"skill": verdict["skill"], "skill_low": verdict["low95"], "skill_high": verdict["high95"]}
    return {name: value for name, value in ends.items() if value is not None}


def _score(run: FittedRun, _: object) -> pd.DataFrame:
    """Score the predictions and, where there are some, the intervals."""
    predictions = Predictions(run.problem.task, run.target, run.predicted, run.units, run.method.seed)
    table = scores(predictions, run.baseline, smallest=run.problem.smallest_cell)
    conformal = run.results.get("intervals")
    return table if conformal is None else pd.concat([table, conformal.scores], ignore_index=True)


def _by_part(table: pd.DataFrame) -> dict[str, float]:
    """Name every score, and of the primary one, which is the first, the limits and the baseline too."""
    names = [f"{part}_{score}" for part, score in zip(table["part"], table["score"], strict=True)]
    first, name = table.iloc[0], names[0]
    ends = {f"{name}_low": first["low"], f"{name}_high": first["high"], f"baseline_{first['score']}": first["baseline"]}
    metrics = dict(zip(names, table["value"].tolist(), strict=True)) | ends
    return {name: value for name, value in metrics.items() if not pd.isna(value)}


def refuse_implausible(run: FittedRun, score: Score, skill: float) -> None:
    """Stop a run whose primary score exceeds what its task holds possible.

    Parameters
    ----------
    skill : float
        In that score: a share of the constant's loss, or of the way from an area of .5 to 1.

    Raises
    ------
    NotTrainable
        Naming the column without which the model loses most: its values are exchanged between rows.
    """
    task = run.problem.task
    area = task.score == "roc_auc"
    reached = (1 + skill) / 2 if area else skill
    if task.implausible_above is None or reached <= task.implausible_above:
        return
    words = f"the {score.title}" if area else "the share of the constant's loss that it removes"
    raise NotTrainable.implausible(
        task.name, f"{words} is {number(reached)}", limit=task.implausible_above, nearest=_nearest(run, score)
    )


def _nearest(run: FittedRun, score: Score) -> str:
    rng = np.random.default_rng([run.method.seed, _STREAM])
    test = np.flatnonzero(run.problem.where("test"))
    rows = rng.permutation(test)[:_TRIED]
    features, order = run.problem.features, rng.permutation(len(rows))
    frame = features.frame.iloc[rows].reset_index(drop=True)
    units = run.problem.units_of(rows)
    of_rows = Predictions(run.problem.task, run.problem.target[rows], np.empty(0), units, run.method.seed, draws=0)
    constant = run.baseline.predict(len(rows), score.constant)

    def skill_without(role: str) -> float:
        names = [name for name, of in features.role.items() if of == role]
        exchanged = frame.assign(**{name: frame[name].to_numpy()[order] for name in names})
        return score.skill(replace(of_rows, predicted=run.fitted.predict(exchanged)), constant).interval(0.95).value

    return min(dict.fromkeys(features.role.values()), key=skill_without)


ASSESSMENTS = [
    Assessment("verdict", _judge, Judging, step="score", metrics=_skills, sentence=lambda verdict: verdict.sentence),
    Assessment("scores", _score, step="score", metrics=_by_part),
]
