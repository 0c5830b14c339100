"""Could a score be too good to be true? Probes of the columns, of the groups and of the whole pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.errors import GroupsTorn
from hi_ml.app.text import percent
from hi_ml.evaluation import leaking_columns, tracer
from hi_ml.evaluation.assessment import Assessment, FittedRun, Method
from hi_ml.evaluation.judgement import Judgement
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.splits import LEFT_OUT, PARTS
from hi_ml.statistics.groups import mean_interval

_LEVEL = 0.999  # of the interval of refits, so that one honest run in two thousand is suspected
_FEWEST = 2  # refits that have a spread


@settings(frozen=True, config=STRICT)
class Probing:
    """What the probes allow."""

    # share of the baseline's error that one column, or two together, may remove; what removes more is the
    # target under another name. 1 allows all
    largest_skill: float = Field(default=0.95, gt=0, le=1)


@dataclass(frozen=True)
class Probe:
    """One probe of a run."""

    name: str
    passed: bool
    detail: str  # what it came to, in a sentence


def before(problem: Problem, method: Method, how: Probing) -> list[Probe]:
    """Look for leaks before anything is fitted.

    Raises
    ------
    NotTrainable
        If a column, or two together, are the target under another name.
    GroupsTorn
        If the split, or the pipeline, tears groups apart without being asked to.
    """
    columns = leaking_columns.look(problem, largest_skill=how.largest_skill, seed=method.seed)
    parts = of_parts(problem, method.split.name)
    pipeline = tracer.trace(problem, method.model, seed=method.seed)
    return [Probe("columns", passed=True, detail=columns), parts, Probe("pipeline", passed=True, detail=pipeline)]


def measure(run: FittedRun, how: Probing) -> list[Probe]:
    """Look at the skill of the model and, where there was a permutation test, at those of its refits."""
    probes = [*run.results["probes"], of_skill(run.results["verdict"], how)]
    significance = run.results.get("significance")
    return probes if significance is None else [*probes, of_refits(significance.permuted)]


def of_skill(judgement: Judgement, how: Probing) -> Probe:
    """Suspect a model of a skill that no honest column allows: three or more may be the target together."""
    share = f"{percent(judgement.skill)} %"
    area = judgement.score == "roc_auc"
    removed = f"the model goes {share} of the way to an area of 1" if area else f"the model removes {share} of the loss"
    if judgement.skill <= how.largest_skill:
        return Probe("model", passed=True, detail=f"Not too good to be true: {removed}.")
    return Probe("model", passed=False, detail=f"Too good to be true: {removed}; see which columns it uses.")


def of_parts(problem: Problem, rule: str) -> Probe:
    """Count the groups and twins of which a row stands in one part and a row in another.

    Parameters
    ----------
    rule : str
        Of the split.

    Raises
    ------
    GroupsTorn
        If there are any, unless the rule is ``random``, which exists to show what that leaks.
    """
    in_parts = problem.parts != LEFT_OUT
    groups, twins = (_torn(group[in_parts], problem.parts[in_parts]) for group in (problem.group, problem.twin))
    if not groups and not twins:
        return Probe("parts", passed=True, detail=f"split={rule} keeps every group of rows in one part.")
    fault = f"split={rule} tears {groups:,} groups of rows apart, {twins:,} of near-duplicates"
    if rule != "random":
        raise GroupsTorn.of(problem.task.name, [fault])
    return Probe("parts", passed=False, detail=f"{fault}, as asked: the scores flatter the model, see leakage.json.")


def of_refits(skills: Sequence[float]) -> Probe:
    """Judge the skills of a pipeline that was refitted on targets exchanged between groups.

    Returns
    -------
    Probe
        Passed unless the interval of their mean lies above zero: only what knows the targets it is tested on has skill
        then. An interval below zero is no leak, but noise that was learned.
    """
    if len(skills) < _FEWEST or np.ptp(skills) == 0:
        return Probe("refits", passed=True, detail="Too few different refits to tell whether targets leak.")
    mean = mean_interval(np.array(skills), level=_LEVEL)
    measured = (
        f"{len(skills)} refits on targets exchanged between groups remove {percent(mean.value)} % of the baseline's "
        f"error on average ({100 * _LEVEL:g} % interval {percent(mean.low)} to {percent(mean.high)})"
    )
    if mean.low > 0:
        return Probe("refits", passed=False, detail=f"{measured}: targets leak into what predicts them.")
    return Probe("refits", passed=True, detail=f"{measured}: no targets leak.")


def sentence(probes: Sequence[Probe]) -> str | None:
    """Say what did not pass, a line each."""
    return "\n".join(f"Probe of {probe.name}: {probe.detail}" for probe in probes if not probe.passed) or None


def _torn(group: NDArray[np.int64], part: NDArray[np.int8]) -> int:
    """Count the groups that stand in more than one part."""
    _, index = np.unique(group, return_inverse=True)
    pairs = np.unique(index * len(PARTS) + part) // len(PARTS)
    return int((np.bincount(pairs) > 1).sum())


ASSESSMENTS = [Assessment("probes", measure, Probing, before=before, step="probe", sentence=sentence)]
