"""Does a row's own target, or that of its group, reach it inside the pipeline? A tracer shows it."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.errors import GroupsTorn
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Fitted, Model
from hi_ml.modeling.problem import Problem, fit_rows
from hi_ml.modeling.scale import RAW

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_STREAM = 11  # random numbers of its own, apart from those that split the rows
_EQUAL = 1e-12  # random numbers between 0 and 1 that differ by less are one


class SpyEstimator:
    """A learner that learns nothing and keeps what it is shown."""

    def fit(self, X: Floats, y: Floats, X_val: Floats | None = None, y_val: Floats | None = None) -> Self:
        """Keep the rows that train, and those that would stop the training early."""
        self.train_ = X, y
        self.validation_ = (X[:0], y[:0]) if X_val is None or y_val is None else (X_val, y_val)
        return self

    def get_params(self) -> dict[str, Any]:
        """Tell that there is nothing to set."""
        return {}


def trace(problem: Problem, model: Model, *, seed: int) -> str:
    """Send a tracer through the pipeline that is about to be fitted, and see where it comes out.

    Parameters
    ----------
    model : Model
        Its early stopping and its encoding are looked at.

    Returns
    -------
    str
        How many rows teach the learner, and how many stop it early, in a sentence.

    Raises
    ------
    GroupsTorn
        If a group both teaches the learner and stops it early, a row of another part is taught, or a row is encoded by
        its own group's target.

    Notes
    -----
    The rows get two columns, their number and the name of their group, and as target one random number per group. A
    learner that only watches takes the place of the real one. What a target encoding makes of the name of a group is
    the mean of others, unless it is not cross-fitted, or over folds that tear groups apart: then it is the group's own
    number, since here nothing is drawn to the mean of all.
    """
    train = np.flatnonzero(problem.where("train"))
    traced = _trace_problem(problem, seed)
    fitted = fit_rows(traced, _spy_model(model), train, seed=seed)
    spy = fitted.pipeline["learn"]
    teaching, stopping = (rows[:, 0].astype(np.int64) for rows, _ in (spy.train_, spy.validation_))
    both = np.intersect1d(problem.group[teaching], problem.group[stopping])
    own = "encoded by their own group's target"
    faults = {
        "groups both teach the learner and stop it early": len(both),
        "rows of other parts were taught": int((~np.isin(np.append(teaching, stopping), train)).sum()),
        f"training rows were {own}": _count_betrayals(*spy.train_),
        f"rows that stop the learner early were {own}": _count_betrayals(*spy.validation_),
        f"test rows were {own}": _count_betrayals(*_strange_test_rows(traced, fitted, train)),
    }
    if words := [f"{count:,} {what}" for what, count in faults.items() if count]:
        raise GroupsTorn.of(problem.task.name, words)
    stops = f", {len(stopping):,} stop it early, no group does both" if len(stopping) else ""
    return f"{len(teaching):,} rows teach the learner{stops}, and no row's features know its target."


def _trace_problem(problem: Problem, seed: int) -> Problem:
    names, index = np.unique(problem.group, return_inverse=True)
    frame = pd.DataFrame({"row": np.arange(len(index)), "group": index}, dtype=float)
    specs: dict[str, dict[str, Any]] = {"row": {}, "group": {"levels": [str(name) for name in names]}}
    target = np.random.default_rng([seed, _STREAM]).random(len(names))[index]
    features = Features(frame, specs, {"row": "row", "group": "group"})
    return replace(problem, features=features, target=target, labels=[], scale=RAW)


def _spy_model(model: Model) -> Model:
    """Put the spy in the place of the learner, and every category into the target encoding."""
    spy = {"_target_": f"{SpyEstimator.__module__}.{SpyEstimator.__qualname__}"}
    encoding = replace(model.encoding, numbers="raw", many_levels=0, level_rows=0)
    return replace(model, regression=spy, encoding=encoding, bags=1, space={})


def _strange_test_rows(traced: Problem, fitted: Fitted, train: Rows) -> tuple[Floats, Floats]:
    """Encode the test rows whose group has no row in training: a random split lets it know the others."""
    rows = np.flatnonzero(traced.where("test") & ~np.isin(traced.group, traced.group[train]))
    if not len(rows):
        return np.zeros((0, 2)), np.zeros(0)
    return fitted.encode(traced.features.frame.iloc[rows]), traced.target[rows]


def _count_betrayals(rows: Floats, target: Floats) -> int:
    """Count the rows whose encoded group is the group's target."""
    return int((np.abs(rows[:, 1] - target) < _EQUAL).sum())
