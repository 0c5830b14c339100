"""A finished search: what was tried, what is chosen, and whether it is better than the defaults."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from hi_ml import splits
from hi_ml.models import Model
from hi_ml.problems import Problem
from hi_ml.tuning import gains, importances
from hi_ml.tuning.gains import Gain
from hi_ml.tuning.search import search
from hi_ml.tuning.trials import Trial, best
from hi_ml.tuning.validation import Plan, configured, lighter


@dataclass(frozen=True)
class Searched:
    """A search and what came of it.

    Attributes
    ----------
    problem : Problem
    model : Model
        With the defaults.
    plan : Plan
    trials : list of Trial
        By number; the first is that of the defaults.
    gain : Gain
        Of the best trial.
    importances : DataFrame
        ``column, importance, low, high, n``.
    """

    problem: Problem
    model: Model
    plan: Plan
    trials: list[Trial]
    gain: Gain
    importances: pd.DataFrame

    @property
    def best(self) -> Trial:
        """The complete trial of the smallest loss."""
        return best(self.trials)

    @property
    def chosen(self) -> Trial:
        """The best trial, if it is better than the defaults on new folds too; else the defaults."""
        return self.best if self.gain.difference > 0 else self.trials[0]

    @property
    def tuned(self) -> Model:
        """The model with the settings that were chosen."""
        return configured(self.problem, self.model, self.chosen.settings)

    @property
    def light(self) -> str:
        """In which respect the model was lighter while searching; empty where it was the same."""
        same = lighter(self.problem, self.model, self.plan.trees) == self.model
        return "" if same else f"with {self.plan.trees} trees"

    def count(self, state: str) -> int:
        """Count the trials of a state."""
        return sum(trial.state == state for trial in self.trials)


def about(problem: Problem, model: Model, plan: Plan, *, data: str) -> dict[str, Any]:
    """Name all that decides which trials are run and what they give; ``data`` is the digest of the table."""
    return {
        "model": asdict(model),
        "task": asdict(problem.task),
        "features": list(problem.features.frame.columns),
        "data_sha256": data,
        "split_sha256": splits.digest(problem.parts, problem.row),
        "seed": plan.seed,
        "folds": plan.folds,
        "trees": plan.trees,
    }


def run(problem: Problem, model: Model, plan: Plan, *, study: Any, stage: Callable[[str], None]) -> Searched:
    """Search, then compare the best configuration with the defaults on folds cut anew.

    Parameters
    ----------
    problem : Problem
        Only its training part is looked at.
    model : Model
    plan : Plan
    study : optuna.Study
        Gets every trial that finishes; those that stand in it are not repeated.
    stage : callable
        Told what is under way: once per trial, and once more.

    Raises
    ------
    HiMlError
        If the defaults themselves cannot be fitted.
    """
    light = lighter(problem, model, plan.trees)
    trials = search(problem, light, plan, study=study, stage=stage)
    stage("compare with the defaults on new folds")
    gain = gains.measure(problem, light, configured(problem, light, best(trials).settings), plan)
    found = importances.importances(trials, study.get_trials(), seed=plan.child(3))
    return Searched(problem, model, plan, trials, gain, found)
