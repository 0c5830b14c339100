"""Is a column, or a combination of two, the target under another name?"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from hi_ml.app.errors import NotTrainable
from hi_ml.app.text import percent
from hi_ml.evaluation.probes.pairs import promising
from hi_ml.evaluation.probes.probe import Probe, Probing
from hi_ml.modeling.judgement import Baseline, losses
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.splits import folds
from hi_ml.statistics.groups import group_means

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_ROWS = 3000  # training rows at a first look, about
_SUSPECT = 0.5  # skill at the first look from which on all training rows are looked at
_FOLDS = 3
_LEAF = 5  # rows in a leaf that tells classes apart
_DOUBT = 0.01  # of a class, however pure its leaf: one wrong label in a hundred hides no leak
_STREAM = 7  # random numbers of its own, apart from those that split the rows


def probe(problem: Problem, allowed: Probing, *, seed: int) -> Probe:
    """Predict the target from every feature alone and from pairs of numbers and dates, on training rows not fitted.

    Raises
    ------
    NotTrainable
        If one removes more of the baseline's primary loss than is allowed.

    Notes
    -----
    Each is given to a tree of its own, which finds a copy, a monotone transform, a code or any other function that
    is not too wild. A length of stay is no function of either date, but of their difference: numbers and dates are
    joined too, as a - b, a + b and the straight line through both that fits best. Kaufman et al. (2012), ACM
    Transactions on Knowledge Discovery from Data 6, 15. https://doi.org/10.1145/2382577.2382579
    """
    train = np.flatnonzero(problem.where("train"))
    few = _some_groups(problem, train, np.random.default_rng([seed, _STREAM]))
    nearest, most = "", -np.inf
    for roles, values in chain(_alone(problem), _joined(problem, few)):
        skill = _skill(problem, values, few, seed)
        if skill > _SUSPECT and len(few) < len(train):
            skill = _skill(problem, values, train, seed)
        if skill > allowed.largest_skill:
            raise NotTrainable.reproduced(
                problem.task.name, problem.task.horizon, roles, share=percent(skill), limit=allowed.largest_skill
            )
        if len(roles) == 1 and skill > most:
            nearest, most = roles[0], skill
    found = f"the nearest, {nearest}, alone removes {percent(most)} % of the baseline's error"
    return Probe("columns", passed=True, detail=f"No column is the target under another name: {found}.")


def of_model(skill: float, allowed: Probing) -> Probe:
    """Suspect a model of a skill that no honest column allows: three or more may be the target together."""
    found = f"the model removes {percent(skill)} % of the baseline's error"
    if skill <= allowed.largest_skill:
        return Probe("model", passed=True, detail=f"Not too good to be true: {found}.")
    return Probe("model", passed=False, detail=f"Too good to be true: {found}; see which columns it uses.")


def _alone(problem: Problem) -> Iterator[tuple[tuple[str, ...], Floats]]:
    for name, role in problem.features.role.items():
        yield (role,), problem.features.frame[name].to_numpy()


def _joined(problem: Problem, few: Rows) -> Iterator[tuple[tuple[str, ...], Floats]]:
    features = problem.features
    names = [name for name in features.role if features.levels(name) is None]
    columns = features.frame[names].to_numpy()
    dates = np.array([features.specs[features.role[name]].get("kind") == "date" for name in names], dtype=np.bool_)
    target = problem.target[few]
    aims = np.eye(len(problem.labels))[target.astype(int)] if problem.labels else target[:, None]
    for a, b, line in promising(columns[few], aims, dates):
        roles = features.role[names[a]], features.role[names[b]]
        if roles[0] == roles[1]:  # day, weekday and month of one date
            continue
        for weights in (line, (1.0, -1.0), (1.0, 1.0)):
            yield roles, columns[:, a] * weights[0] + columns[:, b] * weights[1]


def _some_groups(problem: Problem, train: Rows, rng: np.random.Generator) -> Rows:
    """Whole groups of training rows, about as many rows as a first look needs."""
    groups = rng.permutation(np.unique(problem.group[train]))
    chosen = groups[: max(2, round(len(groups) * _ROWS / len(train)))]
    return train[np.isin(problem.group[train], chosen)]


def _skill(problem: Problem, values: Floats, rows: Rows, seed: int) -> float:
    """Return the share of the baseline's loss that a tree on one column removes, over grouped folds of the rows."""
    group, target, X = problem.group[rows], problem.target[rows], values[rows, None]
    left, known = np.zeros(len(rows)), np.zeros(len(rows))
    for taught, held in folds(group, count=_FOLDS, seed=seed):
        baseline = Baseline.of(problem.task, target[taught], classes=len(problem.labels))
        constant = baseline.predict(len(held))
        predicted = _predicted(problem, X[taught], target[taught], X[held], constant)
        left[held] = losses(problem.task, target[held], predicted)
        known[held] = losses(problem.task, target[held], constant)
    total = group_means(known, group).sum()
    return float(1 - group_means(left, group).sum() / total) if total else 0.0


def _predicted(problem: Problem, X: Floats, target: Floats, asked: Floats, constant: Floats) -> Floats:
    if not problem.labels:
        return np.asarray(DecisionTreeRegressor(random_state=0).fit(X, target).predict(asked))
    tree = DecisionTreeClassifier(min_samples_leaf=_LEAF, random_state=0).fit(X, target)
    shares = np.zeros_like(constant)
    shares[:, tree.classes_.astype(int)] = tree.predict_proba(asked)
    return (1 - _DOUBT) * shares + _DOUBT * constant
