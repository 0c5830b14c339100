"""How good is a model on rows it has never seen, against knowing nothing, and is that worth anything?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.text import percent
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.modeling.scores.score import Baseline, Predictions, scores_of
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.estimates import Decision, Interval, decide
from hi_ml.statistics.groups import ratio_interval

Floats = NDArray[np.float64]
Word = Literal["signal", "no_signal", "inconclusive"]
_WORDS: dict[Decision, Word] = {"present": "signal", "absent": "no_signal", "inconclusive": "inconclusive"}


@settings(frozen=True, config=STRICT)
class Judging:
    """What a model must reach."""

    smallest_skill: float = Field(0.02, ge=0, lt=1)  # that matters, as a share of the baseline's loss


@dataclass(frozen=True)
class Verdict:
    """Whether a model beats its baseline by an amount that matters."""

    verdict: Word
    score: str  # the loss that skill is a share of
    skill: float  # share of the baseline's loss that the model removes, with intervals over groups
    low95: float
    high95: float
    low90: float
    high90: float
    smallest_skill: float  # the skill that would matter
    n_groups: int  # in the test part
    sentence: str


def judge(name: str, loss: Floats, baseline_loss: Floats, *, task: Task, smallest: float) -> Verdict:
    """Decide from the sums over units of two losses on the same test rows.

    Parameters
    ----------
    name : str
        Of the model, for the sentence.
    loss, baseline_loss : array of float64, shape (n_units,)
    smallest : float
        Smallest skill that matters.

    Returns
    -------
    Verdict
        ``signal`` if the 95 % interval lies above 0 and the skill reaches ``smallest``; ``no_signal`` if the 90 %
        interval lies below ``smallest``; else ``inconclusive``.
    """
    gained = baseline_loss - loss
    wide, narrow = (ratio_interval(gained, baseline_loss, level=level) for level in (0.95, 0.90))
    verdict = _WORDS[decide(wide, narrow, smallest)]
    return Verdict(
        verdict=verdict,
        score=task.score,
        skill=wide.value,
        low95=wide.low,
        high95=wide.high,
        low90=narrow.low,
        high90=narrow.high,
        smallest_skill=smallest,
        n_groups=len(loss),
        sentence=_sentence(name, task, verdict, wide, smallest),
    )


def scores(predictions: Predictions, baseline: Baseline) -> pd.DataFrame:
    """Score predictions of the test part.

    Returns
    -------
    DataFrame
        ``score, part, value, low, high, baseline, unit``; the primary score first. Per admission; 95 % intervals
        are over units and hold for this fitted model.
    """
    rows = []
    for score in scores_of(predictions.task):
        values = score.values(predictions)
        if values is None:
            continue
        constant = baseline.predict(len(predictions.target), score.constant)
        knowing_nothing = score.values(replace(predictions, predicted=constant, draws=0))
        point = np.nan if knowing_nothing is None else score.reduce.point(knowing_nothing)
        interval = score.reduce.interval(values)
        rows.append((score.name, "test", interval.value, interval.low, interval.high, point, score.unit))
    return pd.DataFrame(rows, columns=["score", "part", "value", "low", "high", "baseline", "unit"])


def _sentence(name: str, task: Task, verdict: str, skill: Interval, smallest: float) -> str:
    constant = "median" if task.kind == "regression" else "frequencies"
    measured = f"{percent(skill.value)} % (95 % interval {percent(skill.low)} to {percent(skill.high)})"
    if verdict == "signal":
        return f"{name} removes {measured} of the baseline's error on {task.name}: signal."
    if verdict == "no_signal":
        return (
            f"{name} removes less than {100 * smallest:g} % of the baseline's error on {task.name}, {measured}: "
            f"no signal, no better than the constant {constant}."
        )
    return (
        f"{name} removes {measured} of the baseline's error on {task.name}: inconclusive, too few groups to tell "
        f"whether it is {100 * smallest:g} % or more."
    )


def _judge(run: FittedRun, how: Judging) -> Verdict:
    loss, constant = (run.units.sums(run.losses(one)) for one in (run.predicted, run.constant()))
    return judge(run.method.model.name, loss, constant, task=run.problem.task, smallest=how.smallest_skill)


def _skills(verdict: Mapping[str, Any]) -> dict[str, float]:
    return {"skill": verdict["skill"], "skill_low": verdict["low95"], "skill_high": verdict["high95"]}


def _score(run: FittedRun, _: object) -> pd.DataFrame:
    """Score the predictions and, where there are some, the intervals."""
    predictions = Predictions(run.problem.task, run.target, run.predicted, run.units, run.method.seed)
    table = scores(predictions, run.baseline)
    conformal = run.results.get("intervals")
    return table if conformal is None else pd.concat([table, conformal.scores], ignore_index=True)


def _by_part(table: pd.DataFrame) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for row in table.to_dict("records"):
        name = f"{row['part']}_{row['score']}"
        metrics |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        metrics[f"baseline_{row['score']}"] = row["baseline"]
    return metrics


ASSESSMENTS = [
    Assessment("verdict", _judge, Judging, step="score", metrics=_skills, sentence=lambda verdict: verdict.sentence),
    Assessment("scores", _score, step="score", metrics=_by_part),
]
