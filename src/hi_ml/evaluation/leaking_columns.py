"""Is a column, or a combination of two, the target under another name?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from hi_ml.app.errors import NotTrainable
from hi_ml.app.text import percent
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scale import is_long_tailed
from hi_ml.modeling.scores.score import loss_of, losses
from hi_ml.modeling.splits import folds, some_groups

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Pair = tuple[int, int, tuple[float, float]]
Fold = tuple[Rows, Rows, Floats]  # positions that teach, those that are predicted, and the constant for these
_ROWS = 3000  # training rows at a first look, about
_SUSPECT = 0.5  # skill at the first look from which on all training rows are looked at
_FOLDS = 3
_LEAF = 5  # rows in a leaf that tells classes apart
_DOUBT = 0.01  # of a class, however pure its leaf: one wrong label in a hundred hides no leak
_STREAM = 7  # random numbers of its own, apart from those that split the rows
_EXPLAINED = 0.2  # of the target's variance, by a pair that is worth a closer look: a rare class is far from linear
_MOST = 20  # pairs, those that explain most
_ONE = 1e-9  # determinant of the correlations of two columns below which they are one


def look(problem: Problem, *, largest_skill: float, seed: int) -> str:
    """Predict the target from every feature alone and from pairs of numbers and dates, on training rows not fitted.

    Returns
    -------
    str
        Which column comes nearest, in a sentence.

    Raises
    ------
    NotTrainable
        If one removes more of the baseline's primary loss than is allowed.

    Notes
    -----
    Each is given to a tree of its own, which finds a copy, a monotone transform, a code or any other function that
    is not too wild. A length of stay is no function of either date, but of their difference: numbers and dates are
    joined too, as a - b, a + b and the straight line through both that fits best. Of a target with a long tail the
    ranks are told: no tree reaches the largest amounts, which are most of the error. Kaufman et al. (2012), ACM
    Transactions on Knowledge Discovery from Data 6, 15. https://doi.org/10.1145/2382577.2382579
    """
    if not problem.labels and is_long_tailed(problem.target):
        problem = replace(problem, target=rankdata(problem.target))
    train = np.flatnonzero(problem.where("train"))
    few = some_groups(problem.group[train], train, _ROWS, np.random.default_rng([seed, _STREAM]))
    folds_of = cache(lambda *, whole: list(_folds(problem, train if whole else few, seed)))
    nearest, most = "", -np.inf
    for roles, values in chain(_singles(problem), _pairs(problem, few)):
        skill = _skill(problem, values, few, folds_of(whole=False))
        if skill > _SUSPECT and len(few) < len(train):
            skill = _skill(problem, values, train, folds_of(whole=True))
        if skill > largest_skill:
            raise NotTrainable.reproduced(
                problem.task.name, problem.task.horizon, roles, share=percent(skill), limit=largest_skill
            )
        if len(roles) == 1 and skill > most:
            nearest, most = roles[0], skill
    how_near = f"the nearest, {nearest}, alone removes {percent(most)} % of the baseline's error"
    return f"No column is the target under another name: {how_near}."


def _singles(problem: Problem) -> Iterator[tuple[tuple[str, ...], Floats]]:
    for name, role in problem.features.role.items():
        yield (role,), problem.features.frame[name].to_numpy()


def _pairs(problem: Problem, few: Rows) -> Iterator[tuple[tuple[str, ...], Floats]]:
    features = problem.features
    names = [name for name in features.role if features.levels(name) is None]
    columns = features.frame[names].to_numpy()
    dates = np.array([features.specs[features.role[name]].get("kind") == "date" for name in names], dtype=np.bool_)
    target = problem.target[few]
    aims = np.eye(len(problem.labels))[target.astype(int)] if problem.labels else target[:, None]
    for a, b, line in _promising_pairs(columns[few], aims, dates):
        roles = features.role[names[a]], features.role[names[b]]
        if roles[0] == roles[1]:  # day, weekday and month of one date
            continue
        for weights in (line, (1.0, -1.0), (1.0, 1.0)):
            yield roles, columns[:, a] * weights[0] + columns[:, b] * weights[1]


def _folds(problem: Problem, rows: Rows, seed: int) -> Iterator[Fold]:
    """Split the rows by groups, and predict each part by the constant of the others."""
    for train, test in folds(problem.group[rows], count=_FOLDS, seed=seed):
        yield train, test, problem.baseline(rows[train]).predict(len(test), loss_of(problem.task).constant)


def _skill(problem: Problem, values: Floats, rows: Rows, parts: Sequence[Fold]) -> float:
    """Return the share of the baseline's loss that a tree on one column removes, over the folds of the rows."""
    target, X = problem.target[rows], values[rows, None]
    left, most = np.zeros(len(rows)), np.zeros(len(rows))
    for train, test, constant in parts:
        predicted = _predict(problem, X[train], target[train], X[test], constant)
        left[test] = losses(problem.task, target[test], predicted)
        most[test] = losses(problem.task, target[test], constant)
    units = problem.units_of(rows)
    total = units.mean(most)
    return 1 - units.mean(left) / total if total else 0.0


def _predict(problem: Problem, X: Floats, target: Floats, X_test: Floats, constant: Floats) -> Floats:
    if not problem.labels:
        return np.asarray(DecisionTreeRegressor(random_state=0).fit(X, target).predict(X_test))
    tree = DecisionTreeClassifier(min_samples_leaf=_LEAF, random_state=0).fit(X, target)
    probabilities = np.zeros_like(constant)
    probabilities[:, tree.classes_.astype(int)] = tree.predict_proba(X_test)
    return (1 - _DOUBT) * probabilities + _DOUBT * constant


def _promising_pairs(columns: Floats, aims: Floats, dates: NDArray[np.bool_]) -> Iterator[Pair]:
    """Choose the pairs of columns that explain most of the target, and all pairs of dates.

    Parameters
    ----------
    columns : array of float64, shape (n, p)
        NaN where missing.
    aims : array of float64, shape (n, k)
        The target: amounts, or one indicator per class.
    dates : array of bool, shape (p,)
        Dates are joined whatever they explain: a few wrong ones spoil the fit of a line.

    Yields
    ------
    (a, b, weights)
        Positions of two columns, and the weights of the line through them that fits one of the aims best.
    """
    X, spread = _standard(columns)
    Y, _ = _standard(aims)
    among, with_aims = X.T @ X / len(X), X.T @ Y / len(X)
    a, b = np.triu_indices(X.shape[1], k=1)
    r = among[a, b][:, None]
    free = np.maximum(1 - r**2, _ONE)
    first, second = ((with_aims[i] - r * with_aims[j]) / free for i, j in ((a, b), (b, a)))
    explained = first * with_aims[a] + second * with_aims[b]
    aim = explained.argmax(axis=1)
    best = explained[np.arange(len(a)), aim]
    order = np.argsort(-best, kind="stable")[:_MOST]
    chosen = order[best[order] > _EXPLAINED]
    both_dates = np.flatnonzero(dates[a] & dates[b])
    for pair in dict.fromkeys([*chosen, *both_dates[:_MOST]]):
        i, j, k = a[pair], b[pair], aim[pair]
        yield int(i), int(j), (float(first[pair, k] / spread[i]), float(second[pair, k] / spread[j]))


def _standard(columns: Floats) -> tuple[Floats, Floats]:
    """Centre and scale; a missing cell becomes the mean, a column of one value stays zero."""
    present = np.isfinite(columns)
    count = np.maximum(present.sum(axis=0), 1)
    centre = np.where(present, columns, 0.0).sum(axis=0) / count
    centred = np.where(present, columns - centre, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    spread = np.where(spread > 0, spread, 1.0)
    return centred / spread, spread
