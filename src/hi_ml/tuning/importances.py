"""Which settings made the difference between the trials?"""

from typing import Any

import numpy as np
import pandas as pd

from hi_ml.tuning.trials import Trial, apart

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
    seed : int

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
