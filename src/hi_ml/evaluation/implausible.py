"""Is a score better than anyone ever reached, and which column is to blame?"""

from dataclasses import replace

import numpy as np

from hi_ml.app.errors import NotTrainable
from hi_ml.app.text import number
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.modeling.scores.score import Predictions, Score

_ROWS = 5_000  # test rows on which the columns are tried, at most
_STREAM = 11  # random numbers of its own


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
    rows = rng.permutation(test)[:_ROWS]
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
