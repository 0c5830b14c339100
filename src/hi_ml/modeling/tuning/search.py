"""Configurations are tried one after the other, each proposed from what the earlier ones gave; none is tried twice.

Trials run in memory; each is appended to a file when it is finished, as one line. So nothing half-run stands there, a
line that a full disk or a kill cut short, the last, does not count, and the file outlives a search that was killed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from hi_ml.app.config import leaves
from hi_ml.app.errors import ConfigurationInvalid, NotResumable
from hi_ml.app.text import number
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tuning.validation import Plan, configured, cut, defaults, losses
from hi_ml.statistics.groups import corrected_interval

_NAME, _IDENTITY = "search", "about"  # of the study, in the file; of what decides its trials
_LOSSES, _ERROR = "losses", "error"  # what the study keeps of a trial beside its settings
_FIRST_LOOK = 2  # folds after which a trial may be given up
_REDUCTION = 2  # one of so many goes on

State = Literal["complete", "pruned", "failed"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One configuration with its losses."""

    number: int  # from 0, the defaults
    state: State  # ``pruned``: given up after some of the folds, since others were better on the same ones
    settings: dict[str, Any]  # by argument of the learner
    losses: tuple[float, ...]  # on the folds that were reached
    started: float  # seconds since 1970, and how long it took
    seconds: float
    error: str  # the sentence of a failure, else empty
    distributions: dict[str, BaseDistribution]  # that the settings were drawn from

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Trial":
        """Take a finished trial out of an Optuna study."""
        if trial.datetime_start is None or trial.duration is None:
            raise ValueError(f"expected a finished trial, found {trial.state.name}")
        return cls(
            number=trial.number,
            state=_STATES[trial.state],
            settings=dict(trial.params),
            losses=tuple(trial.user_attrs.get(_LOSSES, ())),
            started=trial.datetime_start.timestamp(),
            seconds=trial.duration.total_seconds(),
            error=trial.user_attrs.get(_ERROR, ""),
            distributions=trial.distributions,
        )

    @property
    def loss(self) -> float | None:
        """Mean over all folds; None of a trial that did not reach them all."""
        return float(np.mean(self.losses)) if self.state == "complete" else None

    def excess(self, defaults: "Trial") -> NDArray[np.float64]:
        """By how much its loss is above that of the defaults, on each fold that it reached."""
        return np.subtract(self.losses, defaults.losses[: len(self.losses)])


def refuse_unsearchable(problem: Problem, model: Model) -> None:
    """Refuse a model without anything to search, or whose defaults lie outside of what may be tried.

    Raises
    ------
    ConfigurationInvalid
    """
    kind, settings = problem.task.kind, defaults(problem, model)
    if not settings:
        raise ConfigurationInvalid.nothing_to_tune(model.name, kind)
    for name, value in settings.items():
        if not model.space[name].holds(value):
            key, space = f"model.{kind}.{name}", f"model.space.{name}"
            raise ConfigurationInvalid.outside_space(key, value, space, str(model.space[name]))


def identity(problem: Problem, model: Model, plan: Plan, *, data: str) -> dict[str, Any]:
    """Name all that decides which trials are run and what they give; ``data`` is the digest of the table."""
    return {
        "model": asdict(model),
        "task": asdict(problem.task),
        "features": list(problem.features.frame.columns),
        "data_sha256": data,
        "split_sha256": problem.split_digest(),
        "seed": plan.seed,
        "folds": plan.folds,
        "trees": plan.trees,
    }


def begin_study(path: Path, identity: Mapping[str, Any]) -> optuna.Study:
    """Create the file of a search; what is added to the study stands in it.

    Parameters
    ----------
    identity : mapping
        As `identity` gives it, ready for JSON.
    """
    study = optuna.create_study(storage=_storage(path), study_name=_NAME, direction="minimize")
    study.set_user_attr(_IDENTITY, identity)
    return study


def finished_trials(path: Path, identity: Mapping[str, Any]) -> list[FrozenTrial]:
    """Return the trials that an earlier search finished, as Optuna has them.

    Raises
    ------
    NotResumable
        If there is no file, it cannot be read, or it is that of another search.
    """
    if not path.is_file():
        raise NotResumable.absent(path)
    try:
        study = optuna.load_study(storage=_storage(path), study_name=_NAME)
        before = leaves(study.user_attrs[_IDENTITY])
    except (KeyError, ValueError) as error:
        raise NotResumable.damaged(path, error) from error
    now = leaves(json.loads(json.dumps(identity)))
    other = {key: (before.get(key), now.get(key)) for key in {**before, **now} if before.get(key) != now.get(key)}
    if other:
        raise NotResumable.another(path.parent, other)
    return [trial for trial in study.get_trials() if trial.state.is_finished()]


class _NoLock:
    """The lock of a file that one process writes; Optuna's own turns an interrupt into a failure to write."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _storage(path: Path) -> JournalStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lock: Any = _NoLock()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def search(
    problem: Problem, model: Model, plan: Plan, *, study: optuna.Study, stage: Callable[[str], None]
) -> list[Trial]:
    """Try configurations until as many are finished as the plan asks for.

    Parameters
    ----------
    problem : Problem
        Only its training part is looked at.
    model : Model
        The first configuration is its own.
    study : optuna.Study
        Gets every trial that finishes; those that stand in it are not repeated.
    stage : callable
        Told, once per trial, that it is under way.

    Returns
    -------
    list of Trial
        All finished ones, by number.

    Raises
    ------
    HiMlError
        If the defaults themselves cannot be fitted; another configuration that cannot is a failed trial.

    Notes
    -----
    Configurations are proposed by TPE (Bergstra et al. 2011; Optuna's multivariate form). Trials are pruned by
    asynchronous successive halving over folds (Li et al. 2020): after two folds and after four the better half of all
    trials goes on, by their mean loss on the same folds. Optuna's median pruner compares the best fold of a trial so
    far, which an easy first fold decides; Hyperband would spread tens of trials over several such races.

    The sampler of a trial has a seed of its own, a child of the plan's: a search that is resumed proposes what it would
    have proposed without the break.
    """
    space = {name: model.space[name].distribution() for name in defaults(problem, model)}
    folds = cut(problem, count=plan.folds, seed=plan.child(0))
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=_FIRST_LOOK, reduction_factor=_REDUCTION)
    running = optuna.create_study(direction="minimize", pruner=pruner)
    running.add_trials(study.get_trials())
    done = len(running.trials)
    if not done:
        running.enqueue_trial(defaults(problem, model))
    for index in range(plan.trials):
        stage(f"trial {index + 1} of {plan.trials}{_best_so_far(running)}")
        if index < done:
            continue
        running.sampler = optuna.samplers.TPESampler(seed=plan.child(1, index))
        trial = running.ask(space)
        per_fold = losses(problem, configured(problem, model, trial.params), folds, seed=plan.seed)
        _evaluate(running, trial, per_fold, folds=len(folds))
        study.add_trial(running.trials[index])
    return [Trial.of(trial) for trial in running.trials]


def _evaluate(running: optuna.Study, trial: optuna.Trial, per_fold: Iterator[float], *, folds: int) -> None:
    """Go through the losses of one configuration, as far as it is worth it, and tell the study."""
    reached: list[float] = []
    state = TrialState.COMPLETE
    try:
        for loss in per_fold:
            reached.append(loss)
            trial.report(sum(reached) / len(reached), len(reached))
            if len(reached) < folds and trial.should_prune():
                state = TrialState.PRUNED
                break
    except Exception as error:  # a learner or its library may raise anything
        if trial.number == 0:
            raise  # without the defaults there is nothing to compare with
        trial.set_user_attr(_ERROR, f"{type(error).__name__}: {' '.join(str(error).split())}")
        state = TrialState.FAIL
    trial.set_user_attr(_LOSSES, reached)
    running.tell(trial, sum(reached) / len(reached) if state == TrialState.COMPLETE else None, state)


def _best_so_far(running: optuna.Study) -> str:
    values = [trial.value for trial in running.get_trials(deepcopy=False, states=[TrialState.COMPLETE])]
    return f", best {number(min(value for value in values if value is not None))}" if values else ""


def best(trials: list[Trial]) -> Trial:
    """Return the complete trial of the smallest loss, the first of equals."""
    return min((trial for trial in trials if trial.loss is not None), key=lambda trial: (trial.loss, trial.number))


def history(trials: list[Trial], *, ratio: float) -> pd.DataFrame:
    """Lay out how the search went.

    Parameters
    ----------
    trials : list of Trial
        In the order of their numbers; the first is that of the defaults, and complete.
    ratio : float
        Rows of a fold's test part over those of its training part.

    Returns
    -------
    DataFrame
        ``number, state, folds, loss, low, high, best, defaults``. The loss of a trial is that of the defaults and the
        mean difference from it on the folds that the trial reached, so that pruned trials can be compared; its 95 %
        interval is that of the difference. ``best`` is the smallest loss of a complete trial so far.
    """
    first, least, rows = trials[0], np.inf, []
    for trial in trials:
        least = min(least, np.inf if trial.loss is None else trial.loss)
        loss, low, high = np.nan, np.nan, np.nan
        if trial.state != "failed":
            excess = corrected_interval(trial.excess(first), ratio=ratio)
            loss, low, high = (float(np.mean(first.losses)) + end for end in (excess.value, excess.low, excess.high))
        rows.append((trial.number, trial.state, len(trial.losses), loss, low, high, least, first.loss))
    return pd.DataFrame(rows, columns=["number", "state", "folds", "loss", "low", "high", "best", "defaults"])


def table(trials: list[Trial], *, folds: int) -> pd.DataFrame:
    """List the trials: ``number, state, value, fold_1, ..., started, seconds, error``, then their settings.

    ``value`` is the loss of a complete trial; that of a pruned one, on the folds it reached, would not compare.
    """
    rows = [
        {"number": trial.number, "state": trial.state, "value": trial.loss}
        | {f"fold_{fold + 1}": trial.losses[fold] if fold < len(trial.losses) else None for fold in range(folds)}
        | {"started": trial.started, "seconds": round(trial.seconds, 3), "error": trial.error}
        | trial.settings
        for trial in trials
    ]
    return pd.DataFrame(rows)
