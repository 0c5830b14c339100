"""What is predicted, from what, and at which moment?"""

from collections.abc import Mapping
from typing import Literal, Protocol

from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT, Name
from hi_ml.app.errors import ConfigurationInvalid

Moment = Literal["admission", "stay", "discharge", "after"]
MOMENTS: tuple[Moment, ...] = ("admission", "stay", "discharge", "after")  # in the order of time

# The column that ends the interval which a target measures: with the admission date it is the target itself.
PARENTS = {"length_of_stay": ("discharged_on",), "discharged_on": ("length_of_stay",)}
_LATE = "known at"  # the one reason that another horizon would lift


class Described(Protocol):
    """What a task needs to know of a column."""

    @property
    def kind(self) -> str:
        """Number, category, date, identifier or text."""

    @property
    def known(self) -> Moment:
        """The moment from which the value exists."""

    @property
    def private(self) -> bool:
        """Whether the column stays in the reader."""


@dataclass(frozen=True, config=STRICT)
class Task:
    """One target with the moment of prediction."""

    name: Name
    target: str  # the role that is predicted
    kind: Literal["regression", "classification"]
    unit: str  # of the target and of its errors (``days``, ``currency``, ``label``)
    horizon: Moment  # the moment of prediction; only columns known by then are features
    score: Literal["mae", "log_loss"]  # the primary score, on which the verdict stands
    # how near a prediction must be to count as a hit: an amount, or a share of the target where ``relative``
    within: float | None = None
    relative: bool = False
    whole: bool = False  # whether the target counts whole units: a prediction is rounded before it is called a hit
    features: list[str] | None = None  # roles to use; None takes all that the horizon allows
    scores: list[str] | None = None  # names of those computed beside the primary one; None computes all of the kind

    def __post_init__(self) -> None:
        """Check that the score is one of the kind."""
        if (self.score == "log_loss") != (self.kind == "classification"):
            raise ValueError(f"{self.score} scores no {self.kind}; mae is for regression, log_loss for classification")


def select(task: Task, columns: Mapping[str, Described]) -> tuple[list[str], dict[str, str]]:
    """Choose the columns that may predict.

    Parameters
    ----------
    columns : mapping of str to Described
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
    refused = {role: why for role, column in columns.items() if (why := _reason(task, role, column))}
    usable = [role for role in columns if role not in refused]
    if task.features is None:
        return usable, refused
    for role in task.features:
        if role in usable:
            continue
        reason = refused.get(role, "no such column")
        if reason.startswith(_LATE):
            raise ConfigurationInvalid.late_column(role, columns[role].known, task.name, task.horizon)
        raise ConfigurationInvalid.refused_column(role, reason, task.name, usable)
    unasked = {role: "not among the task's features" for role in usable if role not in task.features}
    return [role for role in usable if role in task.features], refused | unasked


def _reason(task: Task, role: str, column: Described) -> str:
    if role == task.target:
        return "the target"
    if column.private:
        return "private"
    if role in PARENTS.get(task.target, ()):
        return "the target is computed from it"
    if column.kind in ("identifier", "text"):
        return f"kind {column.kind}"
    if _later(column.known, task.horizon):
        return f"{_LATE} {column.known}, after the horizon {task.horizon}"
    return ""


def _later(known: Moment, horizon: Moment) -> bool:
    return MOMENTS.index(known) > MOMENTS.index(horizon)
