"""One task on one table: fitted on the training part, then asked all that the configuration names."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hi_ml.app.process import Ask, Pending
from hi_ml.app.timing import stopwatch
from hi_ml.evaluation.assessment import FittedRun, Method, catalogue
from hi_ml.modeling.problem import Problem

Seconds = dict[str, float]  # that steps took


def train(
    problem: Problem, method: Method, seconds: Seconds | None = None, begun: Mapping[str, Pending] | None = None
) -> FittedRun:
    """Fit on the training part, then judge, measure the leak, explain: whatever the method names.

    Parameters
    ----------
    seconds : dict of str to float, optional
        What earlier steps took; this function adds its own.
    begun : mapping of str to Pending, optional
        What `begin` returned.

    Raises
    ------
    HiMlError
        If an assessment refuses the problem, or the learner its settings.
    """
    run = fit(problem, method, seconds)
    return assess(replace(run, results={**run.results, **(begun or {})}))


def begin(problem: Problem, method: Method, ask: Ask) -> dict[str, Pending]:
    """Let another process do what takes long and needs no model; return it by the name of its assessment."""
    method = _aimed(method, problem)
    bare = replace(problem, table=problem.table.iloc[:, :0], unpooled=None, left_out=None)
    works = {name: one.ahead for name, one in catalogue().items() if name in method.assessments and one.ahead}
    return {name: ask(work, bare, method, method.assessments[name]) for name, work in works.items()}


def fit(problem: Problem, method: Method, seconds: Seconds | None = None) -> FittedRun:
    """Fit on the training part, if no assessment refuses the problem, and predict the test part; raises as `train`."""
    seconds, results, assessments = {} if seconds is None else seconds, {}, catalogue()
    method = _aimed(method, problem)
    for name, settings in method.assessments.items():
        assessment = assessments[name]
        if assessment.before is not None:
            with stopwatch(seconds, assessment.step or name):
                results[name] = assessment.before(problem, method, settings)
    train = np.flatnonzero(problem.where("train"))
    with stopwatch(seconds, "fit"):
        fitted = method.fit(problem, train)
    with stopwatch(seconds, "score"):
        test = problem.where("test")
        predicted = problem.clip_to_top(fitted.predict(problem.features.frame[test]), test)
        baseline = problem.baseline(train)
    return FittedRun(problem, method, fitted, predicted, baseline, seconds, results)


def assess(run: FittedRun) -> FittedRun:
    """Ask a fitted model all that its method names; return the run with the results, in that order."""
    assessments, asked = catalogue(), run.method.assessments
    for name in sorted(asked, key=lambda name: assessments[name].ahead is not None):  # what another process does, last
        assessment = assessments[name]
        with stopwatch(run.seconds, assessment.step or name):
            run = replace(run, results={**run.results, name: assessment.measure(run, asked[name])})
    others = {name: result for name, result in run.results.items() if name not in asked}
    return replace(run, results=others | {name: run.results[name] for name in asked})


def _aimed(method: Method, problem: Problem) -> Method:
    return replace(method, model=method.model.aim_at(problem.task.asks, problem.task.quantile))
