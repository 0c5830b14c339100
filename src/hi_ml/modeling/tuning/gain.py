"""Is the best configuration of a search better than the defaults, on folds that the search has not seen?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.text import number
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import loss_of
from hi_ml.modeling.tasks import Task
from hi_ml.modeling.tuning.validation import Plan, cut, losses
from hi_ml.statistics.estimates import Decision, Interval, decide
from hi_ml.statistics.groups import corrected_interval, corrected_p

_REPEATS = 2  # cross-validations: twice the folds make a much shorter interval than one time five
_DIGITS = 2  # of a percentage: gains are small
Floats = NDArray[np.float64]
Word = Literal["better", "no_better", "inconclusive"]
_WORDS: dict[Decision, Word] = {"present": "better", "absent": "no_better", "inconclusive": "inconclusive"}


@dataclass(frozen=True)
class Gain:
    """How much less the best configuration loses than the defaults."""

    verdict: Word
    score: str  # of the losses
    unit: str  # of the losses
    tuned: float  # mean loss over the new folds
    defaults: float  # mean loss over the new folds
    difference: float  # defaults less tuned, with a 95 % interval by the corrected resampled t
    low: float
    high: float
    p: float  # two-sided, that there is no difference
    gain: float  # the difference as a share of the defaults' loss
    low95: float
    high95: float
    low90: float
    high90: float
    smallest_gain: float  # the share that would matter
    folds: int  # new folds, of all cross-validations
    sentence: str


def measure(problem: Problem, usual: Model, tuned: Model, plan: Plan) -> Gain:
    """Cross-validate two models on the same folds, cut anew.

    A best of many trials has been lucky on the folds that chose it, so that its loss there is too small. The rows of
    the training part are the same, though: what remains of that luck, only the test part shows.

    Parameters
    ----------
    problem : Problem
        Only its training part is looked at.
    usual, tuned : Model
        The defaults, and the best configuration.
    """
    seeds = [plan.child(2, repeat) for repeat in range(_REPEATS)]
    folds = [fold for seed in seeds for fold in cut(problem, count=plan.folds, seed=seed)]
    before = np.array(list(losses(problem, usual, folds, seed=plan.seed)))
    after = before if tuned == usual else np.array(list(losses(problem, tuned, folds, seed=plan.seed)))
    ratio = 1 / (len(folds) // _REPEATS - 1)
    return judge(usual.name, before, after, task=problem.task, ratio=ratio, smallest=plan.smallest_gain)


def judge(name: str, before: Floats, after: Floats, *, task: Task, ratio: float, smallest: float) -> Gain:
    """Decide from the losses of the defaults and of the tuned model on the same folds.

    Parameters
    ----------
    name : str
        Of the model, for the sentence.
    before, after : array of float64, shape (J,)
    ratio : float
        Rows of a fold's test part over those of its training part.
    smallest : float
        Smallest gain that matters, as a share.

    Returns
    -------
    Gain
        ``better`` if the 95 % interval lies above 0 and the gain reaches the smallest that matters; ``no_better`` if
        the 90 % interval lies below it; else ``inconclusive``.
    """
    scale = float(before.mean())
    wide, narrow = (corrected_interval(before - after, ratio=ratio, level=level) for level in (0.95, 0.90))
    share, short = (Interval(*(end / scale for end in (at.value, at.low, at.high))) for at in (wide, narrow))
    verdict = _WORDS[decide(share, short, smallest)]
    return Gain(
        verdict=verdict,
        score=loss_of(task).name,
        unit=loss_of(task).unit,
        tuned=float(after.mean()),
        defaults=scale,
        difference=wide.value,
        low=wide.low,
        high=wide.high,
        p=corrected_p(before - after, ratio=ratio),
        gain=share.value,
        low95=share.low,
        high95=share.high,
        low90=short.low,
        high90=short.high,
        smallest_gain=smallest,
        folds=len(before),
        sentence=_sentence(name, task, verdict, share, smallest),
    )


def _sentence(name: str, task: Task, verdict: str, share: Interval, smallest: float) -> str:
    if not share.value and share.low == share.high:
        return f"None of the configurations tried is better than the defaults of {name} on {task.title}."
    least = f"{100 * smallest:g} %"
    end = {
        "better": "better than the defaults",
        "no_better": f"less than {least}, no better than the defaults",
        "inconclusive": f"inconclusive, the folds differ too much to tell whether it is {least} or more",
    }[verdict]
    value, low, high = (number(100 * part, digits=_DIGITS) for part in (share.value, share.low, share.high))
    return (
        f"Tuning {name} removes {value} % (95 % interval {low} to {high}) of the defaults' error on {task.title}, in "
        f"folds that the search has not seen: {end}."
    )
