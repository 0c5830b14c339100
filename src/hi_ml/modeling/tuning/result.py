"""What came of a search: what was tried, what is chosen, and which settings made the difference between the trials?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
import pandas as pd

from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tuning import gain as gains
from hi_ml.modeling.tuning.gain import Gain
from hi_ml.modeling.tuning.search import Trial, best, search
from hi_ml.modeling.tuning.validation import Plan, configured, lighter

FEWEST = 10  # trials; fewer tell nothing of several settings
_DRAWS = 40  # of trials with replacement, for the interval
_TREES = 16  # of each analysis


@dataclass(frozen=True)
class SearchResult:
    """A finished search."""

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

    def counts(self) -> dict[str, int]:
        """Count the trials of each state."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in ("complete", "pruned", "failed")}


def run(
    problem: Problem, model: Model, plan: Plan, *, study: optuna.Study, stage: Callable[[str], None]
) -> SearchResult:
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
    return SearchResult(problem, model, plan, trials, gain, importances(trials, seed=plan.child(3)))


def importances(trials: list[Trial], *, seed: int) -> pd.DataFrame:
    """Share out the variance between trials among their settings (fANOVA).

    Parameters
    ----------
    trials : list of Trial
        The first is that of the defaults.

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
    valued = [(trial, float(trial.excess(trials[0]).mean())) for trial in trials if trial.state != "failed"]
    if len(valued) < FEWEST:
        return pd.DataFrame(columns=["column", "importance", "low", "high", "n"])
    draws = np.random.default_rng(seed).integers(len(valued), size=(_DRAWS, len(valued)))
    resampled = [_shares([valued[index] for index in draw], seed=seed) for draw in draws]
    shares = pd.DataFrame([share for share in resampled if share])
    low, high = (shares.quantile(level) for level in (0.025, 0.975))
    ranking = pd.DataFrame({"importance": shares.mean(), "low": low, "high": high, "n": len(valued)})
    return ranking.sort_values("importance", ascending=False).rename_axis("column").reset_index()


def _shares(valued: list[tuple[Trial, float]], *, seed: int) -> dict[str, float]:
    """The share of each setting; none where all values drawn are the same."""
    if len({value for _, value in valued}) == 1:
        return {}
    study = optuna.create_study()
    for trial, value in valued:
        study.add_trial(optuna.create_trial(params=trial.settings, distributions=trial.distributions, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, seed=seed)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
