"""One task on one table: fitted on the training part, then asked all that the configuration names."""

from dataclasses import replace

import numpy as np

from hi_ml.app.timing import stopwatch
from hi_ml.evaluation.assessment import FittedRun, Method, catalogue
from hi_ml.modeling.problem import Problem


def train(problem: Problem, method: Method, seconds: dict[str, float] | None = None) -> FittedRun:
    """Fit on the training part, then judge, measure the leak, explain: whatever the method names.

    Parameters
    ----------
    seconds : dict of str to float, optional
        What earlier steps took; this function adds its own.

    Raises
    ------
    HiMlError
        If an assessment refuses the problem, or the learner its settings.
    """
    assessments, method = catalogue(), _aimed(method, problem)
    begun = {
        name: begin(problem, method, settings)
        for name, settings in method.assessments.items()
        if (begin := assessments[name].begin) is not None
    }
    run = fit(problem, method, seconds)
    return assess(replace(run, results={**run.results, **begun}))


def fit(problem: Problem, method: Method, seconds: dict[str, float] | None = None) -> FittedRun:
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
        predicted = problem.judged(fitted.predict(problem.features.frame[test]), test)
        baseline = problem.baseline(train)
    return FittedRun(problem, method, fitted, predicted, baseline, seconds, results)


def assess(run: FittedRun) -> FittedRun:
    """Ask a fitted model all that its method names, in that order; return the run with the results.

    What a thread has begun is asked for last: the others need not wait for it.
    """
    assessments, asked = catalogue(), run.method.assessments
    for name in sorted(asked, key=lambda name: assessments[name].begin is not None):
        assessment = assessments[name]
        with stopwatch(run.seconds, assessment.step or name):
            result = assessment.measure(run, asked[name])
        run = replace(run, results={**run.results, name: result})
    others = {name: result for name, result in run.results.items() if name not in asked}
    return replace(run, results=others | {name: run.results[name] for name in asked})


def _aimed(method: Method, problem: Problem) -> Method:
    return replace(method, model=method.model.aimed(problem.task.asks, problem.task.quantile or 0.5))
