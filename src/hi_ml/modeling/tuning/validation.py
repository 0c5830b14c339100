"""How good is a model on rows of the training part that it was not fitted on?"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.modeling import splits
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem, fit_rows
from hi_ml.modeling.scores import score

_TREES = "n_estimators"  # the argument that counts them, in scikit-learn as in LightGBM
Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]


@dataclass(frozen=True)
class Plan:
    """How a space is searched."""

    trials: int  # configurations to try, the defaults among them
    folds: int  # of the cross-validation inside the training part
    smallest_gain: float  # share of the defaults' loss; a smaller one does not matter
    seed: int  # fixes everything random
    trees: int | None = None  # at most so many, while searching, of a learner that has no early stopping

    def child(self, *index: int) -> int:
        """Return the seed of one of the things that need one of their own."""
        return int(np.random.SeedSequence(self.seed, spawn_key=index).generate_state(1)[0])


def cut(problem: Problem, *, count: int, seed: int) -> list[Fold]:
    """Cut the training part into folds that keep groups together.

    Returns
    -------
    list of (train, test) arrays of row positions
        Of the problem; rows of its calibration and test part are in none.
    """
    rows = np.flatnonzero(problem.where("train"))
    return [(rows[train], rows[test]) for train, test in splits.folds(problem.group[rows], count=count, seed=seed)]


def losses(problem: Problem, model: Model, folds: list[Fold], *, seed: int) -> Iterator[float]:
    """Fit a model on the training rows of each fold, one fold after the other, and yield its loss on the test rows.

    Yields
    ------
    float
        Mean over admissions of the task's primary loss.

    Raises
    ------
    ConfigurationInvalid
        If the learner refuses its settings, or predicts what has no finite loss.
    """
    model = model.aim_at(problem.task.asks, problem.task.quantile)
    for train, test in folds:
        predicted = fit_rows(problem, model, train, seed=seed).predict(problem.features.frame.iloc[test])
        row_losses = score.losses(problem.task, problem.target[test], predicted)
        loss = problem.units_of(test).mean(row_losses)
        if not math.isfinite(loss):
            raise ConfigurationInvalid.no_loss(model.name, loss)
        yield loss


def defaults(problem: Problem, model: Model) -> dict[str, Any]:
    """Return what the learner has, without any search, for the arguments of the space that are its own."""
    learner = getattr(model, problem.task.kind)
    return {name: learner[name] for name in model.space if name in learner}


def configured(problem: Problem, model: Model, settings: Mapping[str, Any]) -> Model:
    """Give the learner of a problem other settings."""
    learner: dict[str, Any] = {problem.task.kind: {**getattr(model, problem.task.kind), **settings}}
    return replace(model, **learner)


def lighter(problem: Problem, model: Model, trees: int | None) -> Model:
    """Bound the number of trees of a learner that always grows them all, unless they are what is searched for.

    A forest's other settings are as good with 50 trees as with 200, and trials take a quarter of the time.
    """
    grown = getattr(model, problem.task.kind).get(_TREES, 0)
    if trees is None or model.early_stopping is not None or _TREES in model.space or grown <= trees:
        return model
    return configured(problem, model, {_TREES: trees})
