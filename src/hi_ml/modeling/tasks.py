"""What is predicted, from what, and at which moment?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT, Name
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.column import Column, Moment, Word

MOMENTS: tuple[Moment, ...] = ("admission", "stay", "discharge", "after")  # in the order of time

_ROUNDING = 1e-9  # of a unit by which a whole number may be missed
_TIES = 5  # targets of each value, on average, from which on whole numbers are counts
Functional = Literal["median", "mean", "quantile", "frequencies"]  # what is predicted of a target's distribution

# What the primary score of each kind asks for; the first of a kind is what a learner is made for.
ASKS: dict[str, dict[str, Functional]] = {
    "regression": {"mae": "median", "rmse": "mean", "poisson": "mean", "pinball": "quantile"},
    "classification": {"log_loss": "frequencies", "roc_auc": "frequencies"},
}

# The column that ends the interval which a target measures: with the admission date it is the target itself.
PARENTS = {"length_of_stay": ("discharged_on",), "discharged_on": ("length_of_stay",)}


@dataclass(frozen=True, config=STRICT)
class Task:
    """One target with the moment of prediction."""

    name: Name
    target: str  # the role that is predicted
    kind: Literal["regression", "classification"]
    unit: str  # of the target and of its errors (``days``, ``currency``, ``label``)
    horizon: Moment  # the moment of prediction; only columns known by then are features
    # the primary score, on which the verdict stands; amounts are predicted by what it asks for, see `ASKS`
    score: Literal["mae", "rmse", "pinball", "poisson", "log_loss", "roc_auc"]
    # on which a regression learner is taught; None chooses inside the training part. Predictions are raw either way
    scale: Literal["log", "raw"] | None = None
    # how near a prediction must be to count as a hit: an amount, or a share of the target where ``relative``
    within: float | None = None
    relative: bool = False
    # whether the target counts whole units: a prediction is rounded before it is called a hit, and intervals end on
    # whole numbers, none of them below the smallest. None: where all are whole, and of few values, as bills are not
    whole: bool | None = None
    features: list[str] | None = None  # roles to use; None takes all that the horizon allows
    scores: list[str] | None = None  # names of those computed beside the primary one; None computes all of the kind
    # words or codes of the target, of a classification, or the number above which it is `yes`; else it is `no`
    positive: list[Word] = Field(default_factory=list)
    above: float | None = None
    # a primary score that is too good to be true: an area under ROC, or the share of the constant's loss removed. What
    # exceeds it stops the run; None is no limit
    implausible_above: float | None = None
    # that matters, as a share of the constant's loss, of every score or by its name; None takes that of the run
    smallest_skill: float | dict[str, float] | None = None
    quantile: float | None = Field(default=None, gt=0, lt=1)  # which one, where the primary score is pinball
    # shares of a class from which one would act, for its net benefit; none are none
    thresholds: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=list)

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    def __post_init__(self) -> None:
        """Check that the score is one of the kind, and has what it needs, and so is the scale."""
        if (self.positive or self.above is not None) and self.kind == "regression":
            raise ValueError("positive and above make two classes; set kind: classification")
        if self.positive and self.above is not None:
            raise ValueError("positive names words and above a number; keep one of them")
        if self.scale == "log" and self.kind == "classification":
            raise ValueError("scale: log is for regression; classes have no logarithm")
        if self.score not in ASKS[self.kind]:
            fitting = "; ".join(f"{', '.join(scores)} for {kind}" for kind, scores in ASKS.items())
            raise ValueError(f"{self.score} scores no {self.kind}; {fitting}")
        if (self.score == "pinball") != (self.quantile is not None):
            raise ValueError("quantile goes with score pinball, and pinball with a quantile between 0 and 1")
        for name, share in self._smallest().items():
            if not 0 <= share < 1:
                raise ValueError(f"smallest_skill is a share below 1, found {share:g} for {name}")

    @property
    def binary(self) -> bool:
        """Whether the target is made `yes` or `no`."""
        return bool(self.positive) or self.above is not None

    @property
    def asks(self) -> Functional:
        """What the primary score asks for."""
        return ASKS[self.kind][self.score]

    def smallest(self, score: str, otherwise: float) -> float:
        """Return the smallest skill that matters in a score, or another where the task says nothing of it."""
        return self._smallest().get(score, otherwise)

    def _smallest(self) -> dict[str, float]:
        if isinstance(self.smallest_skill, dict):
            return self.smallest_skill
        return {} if self.smallest_skill is None else dict.fromkeys(ASKS[self.kind], self.smallest_skill)


def select(task: Task, columns: Mapping[str, Column]) -> tuple[list[str], dict[str, str]]:
    """Choose the columns that may predict.

    Parameters
    ----------
    columns : mapping of str to Column
        All columns of the dataset by role.

    Returns
    -------
    used : list of str
        Roles, in the order of the dataset.
    refused : dict of str to str
        Role and reason of every other column.

    Raises
    ------
    ConfigurationInvalid
        If ``task.features`` asks for a column that is unknown, later than the horizon or otherwise refused.
    """
    never = {role: reason for role, column in columns.items() if (reason := _reason(task, role, column))}
    late = {role: str(column.known) for role, column in columns.items() if role not in never and _is_late(task, column)}
    refused = never | {role: f"known at {moment}, after the horizon {task.horizon}" for role, moment in late.items()}
    usable = [role for role in columns if role not in refused]
    if task.features is None:
        return usable, refused
    for role in task.features:
        if role in late:
            raise ConfigurationInvalid.late_column(role, late[role], task.name, task.horizon)
        if role not in usable:
            raise ConfigurationInvalid.refused_column(role, never.get(role, "no such column"), task.name, usable)
    unasked = {role: "not among the task's features" for role in usable if role not in task.features}
    return [role for role in usable if role in task.features], refused | unasked


def check_whole(task: Task, target: NDArray[np.float64]) -> tuple[Task, tuple[str, ...]]:
    """Hold ``whole`` against the targets of a regression: intervals of whole numbers would miss the fractions.

    Returns
    -------
    task : Task
        Without the claim, where it does not hold; with what the targets show, where it is left open.
    notes : tuple of str
        What was found, and the key to set; empty where it holds.
    """
    fractions = int((np.abs(target - np.round(target)) > _ROUNDING).sum())
    if task.whole is None:
        return replace(task, whole=not fractions and len(np.unique(target)) * _TIES <= len(target)), ()
    if not task.whole or not fractions:
        return task, ()
    note = (
        f"tasks.{task.name}.whole=true does not hold: {fractions:,} of {len(target):,} targets are no whole "
        f"{task.unit}. It is taken as false."
    )
    return replace(task, whole=False), (note,)


def _reason(task: Task, role: str, column: Column) -> str:
    """Say why a column predicts at no horizon; empty where it does."""
    if role == task.target:
        return "the target"
    if column.private:
        return "private"
    if role in PARENTS.get(task.target, ()):
        return "the target is computed from it"
    if column.part in ("band", "number"):
        return "the same bands stand under another role"
    return f"kind {column.kind}" if column.kind in ("identifier", "text") else ""


def _is_late(task: Task, column: Column) -> bool:
    return MOMENTS.index(column.known or "after") > MOMENTS.index(task.horizon)
