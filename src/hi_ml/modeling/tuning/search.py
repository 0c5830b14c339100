"""The configurations of a space are tried one after the other, each proposed from what the earlier ones gave."""

from collections.abc import Callable
from typing import Any

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.text import number
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.spaces import Choices, Dimension
from hi_ml.modeling.tuning.trials import ERROR, LOSSES, Trial
from hi_ml.modeling.tuning.validation import Fold, Plan, configured, cut, defaults, kind, losses

_FIRST_LOOK = 2  # folds after which a trial may be given up
_KEPT = 2  # one of so many goes on


def refuse_unsearchable(problem: Problem, model: Model) -> None:
    """Refuse a model without anything to search, or whose defaults lie outside of what may be tried.

    Raises
    ------
    ConfigurationInvalid
    """
    usual = defaults(problem, model)
    if not usual:
        raise ConfigurationInvalid.nothing_to_tune(model.name, kind(problem))
    for name, value in usual.items():
        if not model.space[name].holds(value):
            place = f"model.{kind(problem)}.{name}"
            raise ConfigurationInvalid.outside_space(place, value, f"model.space.{name}", str(model.space[name]))


def search(problem: Problem, model: Model, plan: Plan, *, study: Any, stage: Callable[[str], None]) -> list[Trial]:
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
    import optuna  # noqa: PLC0415 -- a fifth of a second that only a search pays

    space = {name: _distribution(model.space[name]) for name in defaults(problem, model)}
    folds = cut(problem, count=plan.folds, seed=plan.child(0))
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=_FIRST_LOOK, reduction_factor=_KEPT)
    running = optuna.create_study(direction="minimize", pruner=pruner)
    running.add_trials(study.get_trials())
    done = len(running.trials)
    if not done:
        running.enqueue_trial(defaults(problem, model))
    for place in range(plan.trials):
        stage(f"trial {place + 1} of {plan.trials}{_so_far(running)}")
        if place < done:
            continue
        running.sampler = optuna.samplers.TPESampler(seed=plan.child(1, place))
        _try(running, running.ask(space), problem, model, (folds, plan.seed))
        study.add_trial(running.trials[place])
    return [Trial.of(found) for found in running.trials]


def _try(running: Any, trial: Any, problem: Problem, model: Model, how: tuple[list[Fold], int]) -> None:
    """Evaluate one configuration fold by fold, as far as it is worth it, and tell the study."""
    from optuna.trial import TrialState  # noqa: PLC0415 -- as above

    folds, seed = how
    found: list[float] = []
    state = TrialState.COMPLETE
    try:
        for loss in losses(problem, configured(problem, model, trial.params), folds, seed=seed):
            found.append(loss)
            trial.report(sum(found) / len(found), len(found))
            if len(found) < len(folds) and trial.should_prune():
                state = TrialState.PRUNED
                break
    except Exception as error:  # a learner or its library may raise anything
        if trial.number == 0:
            raise  # without the defaults there is nothing to compare with
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {' '.join(str(error).split())}")
        state = TrialState.FAIL
    trial.set_user_attr(LOSSES, found)
    running.tell(trial, sum(found) / len(found) if state == TrialState.COMPLETE else None, state)


def _so_far(running: Any) -> str:
    found = [trial.value for trial in running.trials if trial.state.name == "COMPLETE"]
    return f", best {number(min(found))}" if found else ""


def _distribution(dimension: Dimension) -> Any:
    from optuna import distributions  # noqa: PLC0415 -- as above

    if isinstance(dimension, Choices):
        return distributions.CategoricalDistribution(dimension.choices)
    if dimension.integer:
        return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
