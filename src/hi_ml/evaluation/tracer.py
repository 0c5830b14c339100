"""Does a row's own target, or that of its group, reach it inside the pipeline? A dye shows it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.errors import GroupsTorn
from hi_ml.evaluation.probes.probe import Probe
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Fitted, Model
from hi_ml.modeling.problem import Problem

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Fit = Callable[[Problem, Model, Rows], Fitted]
_STREAM = 11  # random numbers of its own, apart from those that split the rows
_EQUAL = 1e-12  # random numbers between 0 and 1 that differ by less are one


class SpyEstimator:
    """A learner that learns nothing and keeps what it is shown."""

    def fit(self, X: Floats, y: Floats, X_val: Floats | None = None, y_val: Floats | None = None) -> Self:
        """Keep the rows that teach, and those that would stop the learning early."""
        self.taught_ = X, y
        self.held_ = (X[:0], y[:0]) if X_val is None or y_val is None else (X_val, y_val)
        return self

    def get_params(self) -> dict[str, Any]:
        """Tell that there is nothing to set."""
        return {}


def probe(problem: Problem, model: Model, fit: Fit, *, seed: int) -> Probe:
    """Send a dye through the pipeline that is about to be fitted, and see where it comes out.

    Parameters
    ----------
    model : Model
        Its early stopping and its encoding are probed.
    fit : callable
        Fits the whole pipeline of a model on the given rows of a problem.

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
    number, since scikit-learn shrinks nothing where all rows of a level agree.
    """
    train = np.flatnonzero(problem.where("train"))
    dyed = _dyed(problem, seed)
    fitted = fit(dyed, _watched(model), train)
    watcher = fitted.pipeline["learn"]
    taught, held = (rows[:, 0].astype(np.int64) for rows, _ in (watcher.taught_, watcher.held_))
    own = "encoded by their own group's target"
    seen = {
        "groups both teach the learner and stop it early": len(
            np.intersect1d(problem.group[taught], problem.group[held])
        ),
        "rows of other parts were taught": int((~np.isin(np.append(taught, held), train)).sum()),
        f"training rows were {own}": _betrayed(*watcher.taught_),
        f"rows that stop the learner early were {own}": _betrayed(*watcher.held_),
        f"test rows were {own}": _betrayed(*_tested(dyed, fitted, train)),
    }
    if faults := [f"{count:,} {what}" for what, count in seen.items() if count]:
        raise GroupsTorn.of(problem.task.name, faults)
    stops = f", {len(held):,} stop it early, no group does both" if len(held) else ""
    found = f"{len(taught):,} rows teach the learner{stops}, and no row's features know its target."
    return Probe("pipeline", passed=True, detail=found)


def _dyed(problem: Problem, seed: int) -> Problem:
    names, place = np.unique(problem.group, return_inverse=True)
    frame = pd.DataFrame({"row": np.arange(len(place)), "group": place}, dtype=float)
    specs: dict[str, dict[str, Any]] = {"row": {}, "group": {"levels": [str(name) for name in names]}}
    target = np.random.default_rng([seed, _STREAM]).random(len(names))[place]
    return replace(problem, features=Features(frame, specs, {"row": "row", "group": "group"}), target=target, labels=[])


def _watched(model: Model) -> Model:
    """Put the watcher in the place of the learner, and every category into the target encoding."""
    watching = {"_target_": f"{SpyEstimator.__module__}.{SpyEstimator.__qualname__}"}
    encoding = replace(model.encoding, numbers="raw", many_levels=0)
    return replace(model, regression=watching, encoding=encoding, space={})


def _tested(dyed: Problem, fitted: Fitted, train: Rows) -> tuple[Floats, Floats]:
    """Encode the test rows whose group has no row in training: a random split lets it know the others."""
    rows = np.flatnonzero(dyed.where("test") & ~np.isin(dyed.group, dyed.group[train]))
    if not len(rows):
        return np.zeros((0, 2)), np.zeros(0)
    return fitted.encode(dyed.features.frame.iloc[rows]), dyed.target[rows]


def _betrayed(rows: Floats, target: Floats) -> int:
    """Count the rows whose encoded group is the group's target."""
    return int((np.abs(rows[:, 1] - target) < _EQUAL).sum())
