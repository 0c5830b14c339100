"""What would have been foretold of a table of past admissions, by a model that saw none after a day?"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hi_ml.app.errors import NotTrainable
from hi_ml.data.read import Admissions
from hi_ml.evaluation import intervals, training
from hi_ml.evaluation.assessment import Method
from hi_ml.evaluation.intervals import Conformal, Rule
from hi_ml.modeling.features import Features
from hi_ml.modeling.problem import Problem, available, pose
from hi_ml.modeling.tasks import Task, select
from hi_ml.prediction import package
from hi_ml.prediction.feed.backtest import Predicted
from hi_ml.prediction.feed.census import NEVER, Days, Stays
from hi_ml.prediction.feed.laws import Law
from hi_ml.scorer.serving import Scorer
from hi_ml.statistics.estimates import Floats

_TRAIN = 0.75  # share of the admissions before the cut that train; the others calibrate
_REPLAYED = 0.25  # share of the admissions after the cut
_LONGEST = 0.999  # share of the stays that are over when a cohort counts as closed
_FEWEST_DAYS = 120


@dataclass(frozen=True)
class Past:
    """A table of admissions, with what a model says of each."""

    stays: Stays
    predicted: Predicted  # by a model that was trained on closed cohorts before the cut
    cut: int  # days from 1970-01-01
    last: int  # the last day on which all admissions are known


def days_of(dates: pd.Series) -> Days:
    """Count days from 1970-01-01; `NEVER` where a date is missing."""
    days = dates.to_numpy().astype("datetime64[D]")
    return np.where(np.isnat(days), NEVER, days.astype(np.int64))


def past(admissions: Admissions, task: Task, method: Method, *, level: float) -> Past:
    """Train on what was known on a day, three quarters through the admissions, and predict all.

    A near-copy of an admission takes no bed of its own.

    Raises
    ------
    NotTrainable
        If the table has no dates, or too few days.
    """
    table, dataset = admissions.table, admissions.dataset
    for role in ("admitted_on", *(() if "length_of_stay" in table else ("discharged_on",))):
        if role not in table:
            raise NotTrainable.no_role("board", role, dataset.name)
    first = np.sort(np.unique(admissions.twins.group, return_index=True)[1])
    first = first[table["admitted_on"].iloc[first].notna().to_numpy()]
    admitted = days_of(table["admitted_on"])
    left = _left(table, admitted, extra=dataset.stay == "inclusive")
    stays = Stays(admitted[first], left[first])
    last = int(stays.admitted.max()) if len(first) else 0
    if not len(first) or last - stays.first < _FEWEST_DAYS:
        raise NotTrainable.few_days(last - stays.first if len(first) else 0, _FEWEST_DAYS)
    cut = int(np.quantile(stays.admitted, 1 - _REPLAYED))
    features = Features.of(admissions, select(task, available(admissions))[0])
    problem = pose(admissions, task, features=features, model=method.model, split=method.split, seed=method.seed)
    problem = _known_by(problem, cut, extra=dataset.stay == "inclusive")
    run = training.fit(problem, method)
    conformal = intervals.measure(run, Rule(level=level))
    if conformal.description is None:
        raise NotTrainable.few_days(last - stays.first, _FEWEST_DAYS)
    predicted = _predict(problem, conformal, features, admissions.row, level=level, extra=dataset.stay == "inclusive")
    of_first = {name: getattr(predicted, name)[first] for name in (*_AMOUNTS, "new")}
    return Past(stays, replace(predicted, **of_first), cut, last)


_AMOUNTS = ("prediction", "low", "high")


def _left(table: pd.DataFrame, admitted: Days, *, extra: bool) -> Days:
    if "discharged_on" in table:
        return days_of(table["discharged_on"])
    stay = table["length_of_stay"].to_numpy(dtype=float) - extra
    return np.where(np.isnan(stay), NEVER, admitted + np.nan_to_num(stay).astype(np.int64))


def _known_by(problem: Problem, cut: int, *, extra: bool) -> Problem:
    """Train and calibrate on the cohorts that were closed on a day; a stay that was not over then tells nothing.

    To leave out only the stays that were not over would keep the short ones of the last weeks.
    """
    admitted = days_of(problem.table["admitted_on"])
    left = admitted + problem.target.astype(np.int64) - extra
    before = (left <= cut) & (admitted < NEVER)
    if not before.any():
        raise NotTrainable.few_days(0, _FEWEST_DAYS)
    closed = cut - math.ceil(np.quantile((left - admitted)[before], _LONGEST))
    ready = before & (admitted <= closed)
    if not ready.any():
        raise NotTrainable.few_days(0, _FEWEST_DAYS)
    until = np.quantile(admitted[ready], _TRAIN)
    parts = np.full(len(admitted), -1, dtype=np.int8)
    parts[ready] = (admitted[ready] > until).astype(np.int8)
    parts[admitted > cut] = 2
    return replace(problem, parts=parts)


def _predict(
    problem: Problem, conformal: Conformal, features: Features, row: Days, *, level: float, extra: bool
) -> Predicted:
    """Predict all rows as the scorer would that leaves the house."""
    fitted, train = conformal.fitted, problem.where("train")
    described = package.mapping(
        problem.task, fitted, problem.features, labels=[], seen=problem.features.frame[train],
        interval=conformal.description,
    )  # fmt: skip
    scorer = Scorer(described, fitted.pipeline, fitted.bounds)

    def amounts(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        numbers = {name: (frame[name].to_numpy(dtype=float), None) for name in fitted.features}
        answer = scorer.answer(scorer.encode(numbers), numbers)
        prediction, low, high = (answer[name].to_numpy() - float(extra) for name in _AMOUNTS)
        return prediction, low, high

    from_floor = fitted.bounds is not None and len(fitted.bounds) == 1
    new = ~np.isin(row, problem.row[train])
    return Predicted(*amounts(features.frame), new, Law.claimed(level, from_floor=from_floor))
