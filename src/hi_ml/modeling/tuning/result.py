"""Which settings made the difference between the trials?

A finished search: what was tried, what is chosen, and whether it is better than the defaults.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.modeling import splits
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tuning import gain as gains
from hi_ml.modeling.tuning.gain import Gain
from hi_ml.modeling.tuning.search import search
from hi_ml.modeling.tuning.trials import Trial, apart, best
from hi_ml.modeling.tuning.validation import Plan, configured, lighter

FEWEST = 10  # trials; fewer tell nothing of several settings
_DRAWS = 40  # of trials with replacement, for the interval
_TREES = 16  # of each analysis


def importances(trials: list[Trial], found: list[Any], *, seed: int) -> pd.DataFrame:
    """Share out the variance between trials among their settings (fANOVA).

    Parameters
    ----------
    trials : list of Trial
        The first is that of the defaults.
    found : list of optuna.trial.FrozenTrial
        The same trials, with the distributions that their settings were drawn from.

    Returns
    -------
    DataFrame
        ``column, importance, low, high, n``: shares that sum to 1, largest first: means, with central 95 % intervals,
        over 40 times as many trials drawn with replacement; ``n`` trials. No rows where there are fewer than ten
        trials, or no differences between them.

    Notes
    -----
    What is explained is a trial's mean difference from the defaults on the folds that it reached, so that pruned trials
    count too. Hutter, Hoos & Leyton-Brown (2014), *An efficient approach for assessing hyperparameter importance*.
    """
    known = [
        (one, float(apart(trial, trials[0]).mean()))
        for trial, one in zip(trials, found, strict=True)
        if trial.state != "failed"
    ]
    columns = ["column", "importance", "low", "high", "n"]
    if len(known) < FEWEST:
        return pd.DataFrame(columns=columns)
    draws = np.random.default_rng(seed).integers(len(known), size=(_DRAWS, len(known)))
    resampled = [_shares([known[place] for place in draw], seed=seed) for draw in draws]
    shares = pd.DataFrame([share for share in resampled if share])
    low, high = (shares.quantile(level) for level in (0.025, 0.975))
    table = pd.DataFrame({"importance": shares.mean(), "low": low, "high": high, "n": len(known)})
    return table.sort_values("importance", ascending=False).rename_axis("column").reset_index()


def _shares(known: list[tuple[Any, float]], *, seed: int) -> dict[str, float]:
    """The share of each setting; none where all values drawn are the same."""
    import optuna  # noqa: PLC0415 -- a fifth of a second that only a search pays

    if len({value for _, value in known}) == 1:
        return {}
    study = optuna.create_study()
    study.add_trials(
        [optuna.create_trial(params=one.params, distributions=one.distributions, value=value) for one, value in known]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


@dataclass(frozen=True)
class Searched:
    """A search and what came of it."""

    problem: Problem
    model: Model  # with the defaults
    plan: Plan
    trials: list[Trial]  # by number; the first is that of the defaults
    gain: Gain  # of the best trial
    importances: pd.DataFrame  # ``column, importance, low, high, n``

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
    found = importances(trials, study.get_trials(), seed=plan.child(3))
    return Searched(problem, model, plan, trials, gain, found)
