"""How often would this skill come about if the columns said nothing of the target?"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from tqdm import tqdm

from hi_ml.app.config import STRICT, instantiate
from hi_ml.app.text import number, percent
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem, fit_rows
from hi_ml.modeling.scores.score import loss_of, losses
from hi_ml.statistics.permutation import Chance, besag_clifford, exchange_groups, movable_share

_STREAM = 199  # random numbers of its own, apart from those that split the rows
_ALL = 1.0 - 1e-9  # share of rows from which on nothing need be said of the others


@settings(frozen=True, config=STRICT)
class Permutation:
    """How the permutation test refits."""

    count: int = Field(default=199, ge=1)  # refits on permuted targets, at most; the smallest p is 1 / (count + 1)
    # refits as good as the one on the true target, after which no more are made
    stop_after: int = Field(default=10, ge=1)
    # of a learner that grows trees, at most: hundreds of refits shall be cheap. None takes the model as it is
    trees: int | None = Field(default=50, ge=1)


@dataclass(frozen=True)
class Significance:
    """The permutation test of a model."""

    p: float  # probability of such a skill, or a greater one, where the columns say nothing of the target
    statistic: str  # ``skill``: the share of the baseline's primary loss on the test part that is removed
    observed: float  # of the refit on the true target
    exceedances: int  # refits on permuted targets that reached it, of how many
    refits: int
    stopped: bool  # whether the exceedances ended the test before all refits were made
    learner: str  # what was refitted
    movable_share: float  # share of the rows whose group has another of equal size to exchange its targets with
    permuted: tuple[float, ...]  # the skills of the refits
    sentence: str


def measure(run: FittedRun, how: Permutation) -> Significance:
    """Refit the pipeline on targets that were exchanged between groups, and compare the skills.

    Notes
    -----
    The targets of the training and the test rows are exchanged together, whole groups among groups of equal size, so
    that a twin keeps the target of its twin and a split that tears groups apart flatters every refit alike.
    `sklearn.model_selection.permutation_test_score` permutes inside its ``groups``, where near-duplicates are all
    equal: it would always find p = 1. Ojala & Garriga (2010), Journal of Machine Learning Research 11, 1833. The refits
    are not recalibrated, which would make each several.
    """
    problem, seed = run.problem, run.method.seed
    model, learner = few_trees(run.method.model, how.trees, classes=bool(problem.labels))
    rows = np.flatnonzero(problem.where("train") | problem.where("test"))
    rng = np.random.default_rng([seed, _STREAM])

    def permuted() -> Iterator[float]:
        wide, high = shutil.get_terminal_size()  # a terminal without a size counts as one of 80 x 24
        for _ in tqdm(range(how.count), desc="permutations", disable=None, leave=False, ncols=wide, nrows=high):
            target = problem.target.copy()
            target[rows] = target[rows[exchange_groups(problem.group[rows], rng)]]
            yield skill(replace(problem, target=target), model, seed=seed)

    observed = skill(problem, model, seed=seed)
    chance = besag_clifford(observed, permuted(), stop_after=how.stop_after)
    movable = movable_share(problem.group[rows])
    return Significance(
        p=chance.p,
        statistic="skill",
        observed=observed,
        exceedances=chance.exceedances,
        refits=len(chance.permuted),
        stopped=chance.stopped,
        learner=learner,
        movable_share=movable,
        permuted=chance.permuted,
        sentence=_sentence(problem.task.name, learner, observed, chance=chance, movable=movable),
    )


def skill(problem: Problem, model: Model, *, seed: int) -> float:
    """Return the share of the baseline's primary loss on the test part that a fit on the training part removes."""
    train, test = (np.flatnonzero(problem.where(part)) for part in ("train", "test"))
    target, units = problem.target[test], problem.units_of(test)
    fitted = fit_rows(problem, model, train, seed=seed)
    constant = problem.baseline(train).predict(len(target), loss_of(problem.task).constant)
    loss, most = (
        units.mean(losses(problem.task, target, predicted))
        for predicted in (fitted.predict(problem.features.frame.iloc[test]), constant)
    )
    return 1 - loss / most if most else 0.0


def few_trees(model: Model, trees: int | None, *, classes: bool) -> tuple[Model, str]:
    """Bound the number of trees of a learner that grows them, and name it; the rest of the pipeline stays."""
    node: dict[str, Any] = model.classification if classes else model.regression
    settings = instantiate(node).get_params()
    of_trees = ("n_estimators", "iterations", *(["max_iter"] if "max_leaf_nodes" in settings else []))
    counts = next((name for name in of_trees if name in settings), "")
    if trees is None or settings.get(counts, 0) <= trees:
        return model, model.name
    node = node | {counts: trees}
    bounded = replace(model, classification=node) if classes else replace(model, regression=node)
    return bounded, f"{model.name} of at most {trees} trees"


def _sentence(task: str, learner: str, observed: float, *, chance: Chance, movable: float) -> str:
    size = f"{percent(observed)} % of the baseline's error on {task}"
    where = "" if movable > _ALL else f" Only {percent(movable)} % of the rows stand in groups that others can replace."
    early = ", which is enough to stop" if chance.stopped else ""
    return (
        f"{learner} removes {size}; of {len(chance.permuted)} refits on targets exchanged between groups, "
        f"{chance.exceedances} did as well{early}: permutation p = {number(chance.p, digits=2)}.{where}"
    )


ASSESSMENTS = [
    Assessment(
        "significance",
        measure,
        Permutation,
        step="permute",
        metrics=lambda test: {"permutation_p": test["p"]},
        sentence=lambda test: test.sentence,
    )
]
