"""What may be asked of a fitted model? Every assessment takes the same run, and fills one file of the run folder."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as settings

from hi_ml import evaluation
from hi_ml.app.config import STRICT, build, named_in
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.modeling.models import Fitted, Model
from hi_ml.modeling.problem import Problem, fit_rows
from hi_ml.modeling.scores.score import Baseline, loss_of, losses
from hi_ml.modeling.splits import Split
from hi_ml.statistics.disclosure import Disclosure
from hi_ml.statistics.groups import Units

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Content = pd.DataFrame | dict[str, Any] | list[dict[str, Any]]
ALWAYS = ("verdict", "scores", "leakage")  # without which a run folder tells nothing of its model


@dataclass(frozen=True)
class Method:
    """How the model of every task of a run is made, and what is asked of it."""

    model: Model
    split: Split
    seed: int
    recalibrate: bool = False  # whether the probabilities of classes are recalibrated inside the training part
    assessments: Mapping[str, Any] = field(default_factory=dict)  # settings by name, in the order of assessing
    smallest_cell: int = 5  # patients, of whom a table or a chart may speak

    def fit(self, problem: Problem, rows: Rows) -> Fitted:
        """Fit the whole pipeline, encoding and learner, on some rows of a problem (positions)."""
        return fit_rows(problem, self.model, rows, seed=self.seed, recalibrate=self.recalibrate)


@dataclass(frozen=True)
class FittedRun:
    """A model that was fitted to the training part of a problem, and what is known of it."""

    problem: Problem
    method: Method
    fitted: Fitted
    predicted: Floats  # float64, shape (n_test,) or (n_test, n_classes)
    baseline: Baseline
    seconds: dict[str, float] = field(default_factory=dict)  # per step
    results: Mapping[str, Any] = field(default_factory=dict)  # of the assessments so far, by name

    @property
    def target(self) -> Floats:
        """The targets of the test part, shape (n_test,)."""
        return self.problem.target[self.problem.where("test")]

    @property
    def group(self) -> Rows:
        """The groups of the test part, shape (n_test,)."""
        return self.problem.group[self.problem.where("test")]

    @cached_property
    def units(self) -> Units:
        """The admissions and the units of inference of the test part."""
        return self.problem.units_of(self.problem.where("test"))

    @cached_property
    def rule(self) -> Disclosure:
        """Of how few patients of the test part no table and no chart may speak."""
        return Disclosure(self.units.unit, self.problem.smallest_cell)

    @cached_property
    def told_labels(self) -> dict[int, str]:
        """The labels, by code, of which may be told: enough patients of the test part have each, and lack it."""
        occurs = {code: self.target == code for code in range(len(self.problem.labels))}
        few = {code for code, rows in occurs.items() if self.rule.tells(rows) or self.rule.tells(~rows)}
        return {code: label for code, label in enumerate(self.problem.labels) if code not in few}

    def losses(self, predicted: Floats | None = None) -> Floats:
        """Return the primary loss of each test row, shape (n_test,), of the model's predictions or of others."""
        return losses(self.problem.task, self.target, self.predicted if predicted is None else predicted)

    def constant(self) -> Floats:
        """Predict the test part by the constant that is best for the primary score."""
        return self.baseline.predict(len(self.predicted), loss_of(self.problem.task).constant)


def lay_out(result: Any) -> Content:
    """Lay a result out as its file holds it: a table as it is, a dataclass or a list of them as dicts."""
    if isinstance(result, list):
        return [asdict(one) for one in result]
    content: Content = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
    return content


@settings(frozen=True, config=STRICT)
class NoSettings:
    """What an assessment takes that has nothing to set."""


@dataclass(frozen=True)
class Assessment:
    """A question to a fitted model."""

    name: str  # its key under ``assessments`` in conf/train.yaml, and the stem of its file
    measure: Callable[[FittedRun, Any], Any]  # takes the run and the settings, and returns the result
    settings: type = NoSettings  # a dataclass; its values stand under the key
    # looks at a problem before anything is fitted, and may refuse it: what it returns is the result so far
    before: Callable[[Problem, Method, Any], Any] | None = None
    # what takes long and needs neither model nor table, for another process to do: its `Future` is the result so far
    ahead: Callable[[Problem, Method, Any], Any] | None = None
    step: str = ""  # in timings.json; the name, if empty
    table: Callable[[Any], Content | None] = lay_out  # what the file holds; None where there is no file
    metrics: Callable[[Any], Mapping[str, float]] = lambda _: {}  # of the content of the file, for MLflow
    sentence: Callable[[Any], str | None] = lambda _: None  # of the result, for the page
    brief: Callable[[Any], str | None] | None = None  # the same in a line, for the screen; else the sentence
    # of the assessed run and the settings, for run.json: what to know before reading the result
    notes: Callable[[FittedRun, Any], Iterable[str]] = lambda *_: ()


def catalogue() -> dict[str, Assessment]:
    """Return every assessment by name: what a module of this package calls ``ASSESSMENTS``."""
    return {one.name: one for members in named_in(evaluation, "ASSESSMENTS") for one in members}


def build_settings(nodes: Mapping[str, Mapping[str, Any] | None], elsewhere: Mapping[str, Any]) -> dict[str, Any]:
    """Build the settings of the assessments that a configuration names, in its order.

    Parameters
    ----------
    nodes : mapping of str to node
        What stands under each name; empty where the settings stand elsewhere, or are all defaults, or there are none.
    elsewhere : mapping of str to settings
        Those that have keys of their own; an assessment whose settings here are None is left out.

    Raises
    ------
    ConfigurationInvalid
        If there is no such assessment, or one is missing that every run needs.
    pydantic.ValidationError
        If settings are wrong.
    """
    every = catalogue()
    for name in nodes:
        if name not in every:
            raise ConfigurationInvalid.not_one_of("assessments", name, list(every))
    if lacking := [name for name in ALWAYS if name not in nodes]:
        raise ConfigurationInvalid.no_assessment(lacking)
    chosen = {}
    for name, node in nodes.items():
        if not node and name in elsewhere:
            chosen[name] = elsewhere[name]
        else:
            key, kind = f"assessments.{name}", every[name].settings  # the key, so that what is wrong has its place
            chosen[name] = build(dict[str, kind], {key: node or {}})[key]  # type: ignore[valid-type]  # known when it runs
    return {name: value for name, value in chosen.items() if value is not None}
