"""Which rows and columns of a table does a task have, and which rows train, calibrate, test?"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.errors import NotTrainable
from hi_ml.data.read import Admissions
from hi_ml.modeling import models, remarks, splits
from hi_ml.modeling.encoding import usable
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Fitted, Model
from hi_ml.modeling.out_of_fold import choose_scale, fit_recalibrated
from hi_ml.modeling.scale import RAW, TargetScale
from hi_ml.modeling.scores.score import Baseline, scores_of
from hi_ml.modeling.targets import RuledOut, labels_of_few, ruled_out, target_of
from hi_ml.modeling.tasks import Task, check_whole, select
from hi_ml.statistics.groups import Units

_SMALLEST_PART = 1 / 5  # of the groups, in the default split
_FEWEST = 3  # groups of that part
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
    """The rows and columns of one task."""

    task: Task
    features: Features  # shape (n, n_features); usable features of the rows that have a target
    target: Floats  # float64, shape (n,); amounts, or positions in ``labels``
    labels: list[str]  # empty for regression
    table: pd.DataFrame  # shape (n, n_roles); the public columns of these rows
    parts: splits.Parts  # int8, shape (n,); 0 train, 1 calibration, 2 test, -1 left out
    row: NDArray[np.int64]  # int64, shape (n,); number in the source
    content: NDArray[np.uint64]  # uint64, shape (n,), ascending; see `hi_ml.data.read.Admissions`
    group: NDArray[np.int64]  # int64, shape (n,); rows of one patient, or copies of one another
    twin: NDArray[np.int64]  # int64, shape (n,); copies of one another
    refused: dict[str, str]  # role and reason of every column that is no feature
    units: dict[str, str]  # of the columns that have one, by role
    scale: TargetScale = RAW  # on which a regression learner is taught
    smallest_cell: int = 1  # patients, of whom a table or a chart may speak
    unpooled: Features | None = None  # with the levels of too few patients, for other splits
    notes: tuple[str, ...] = ()  # what of the task does not hold for this table
    # bool, shape (n,); whether the target is a top code, "so many or more"; None where it has none
    topped: Mask | None = None
    left_out: RuledOut | None = None  # rows that the dataset's rules leave out; None without rules
    # by role of a joined column that belongs to hospitals, or to another unit: whose of these each row is, -1 where
    # unknown; arrays of int64, shape (n,)
    owners: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def where(self, part: str) -> Mask:
        """Mask the rows of a part."""
        return np.asarray(self.parts == splits.PARTS.index(part))

    def split_digest(self) -> str:
        """Tell this split from others."""
        return splits.digest(self.parts, self.group, self.content)

    def clip_to_top(self, predicted: Floats, rows: Mask | NDArray[np.int64]) -> Floats:
        """Take predictions of some rows as they are to be judged: one above a top code is right, and counts as it."""
        if self.topped is None:
            return predicted
        return np.where(self.topped[rows], np.minimum(predicted, self.target[rows]), predicted)

    def truth_above(self, low: Floats, rows: NDArray[np.int64]) -> Floats:
        """Take the truth of some rows as intervals from ``low`` on are to be judged: one above a top code may be it."""
        if self.topped is None:
            return self.target[rows]
        return np.where(self.topped[rows], np.maximum(low, self.target[rows]), self.target[rows])

    def units_of(self, rows: Mask | NDArray[np.int64], role: str | None = None) -> Units:
        """Number the admissions, and the units of inference, of some rows: a mask or positions.

        Parameters
        ----------
        role : str, optional
            A column that rows are compared by: where it belongs to hospitals, these are the units.
        """
        if role is None or role not in self.owners:
            return Units.of(self.twin[rows], self.group[rows])
        owner = self.owners[role]
        owner = np.where(owner < 0, owner.max(initial=0) + 1 + self.group, owner)  # of nobody known: of the patient
        return Units.of(self.twin[rows], owner[rows])

    def baseline(self, rows: NDArray[np.int64]) -> Baseline:
        """Learn the constant predictors from some rows (positions), with the votes that the scores count."""
        votes = self.units_of(rows).votes
        return Baseline.of(self.task, self.target[rows], votes=votes, classes=len(self.labels))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the screen or the page must know of the target: the notes, and why it has this scale."""
        return (*self.notes, *filter(None, [self.scale.reason]))

    def first_copies(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Keep, of some rows (positions), the first of the copies of each admission."""
        _, first = np.unique(self.units_of(rows).admission, return_index=True)
        return rows[np.sort(first)]


def pose(
    admissions: Admissions,
    task: Task,
    *,
    features: Features,
    model: Model,
    split: splits.Split,
    seed: int,
    smallest_cell: int = 5,
) -> Problem:
    """Select the rows and columns of a task, split the rows, and pool the levels of too few patients.

    Raises
    ------
    NotTrainable
        If the target's role is absent or constant, no column is left, or the groups are too few, in all or in a part.
    ConfigurationInvalid
        If the task asks for a column that it may not have, for a score that there is not, or for a logarithm of
        amounts that have none.
    """
    dataset, table = admissions.dataset, admissions.table
    scores_of(task)
    if task.target not in table:
        raise NotTrainable.no_role(task.name, task.target, dataset.name)
    if (owner := dataset.level_of(task.target)) is not None:
        raise NotTrainable.not_of_rows(task.name, task.target, owner)
    roles, refused = select(task, available(admissions))
    if not roles:
        raise NotTrainable.no_features(task.name, refused)
    chosen = admissions.by_content
    chosen = chosen[table[task.target].notna().to_numpy()[chosen]]
    rows = table.take(chosen).reset_index(drop=True)
    target, labels = target_of(task, rows[task.target], dataset.columns.get(task.target))
    if not labels and task.target in dataset.columns:
        task = replace(task, unit=dataset.columns[task.target].unit or task.unit)
    task, notes = (task, ()) if labels else check_whole(task, target)
    group, twin = (pd.factorize(number[chosen])[0] for number in (admissions.group, admissions.twins.group))
    groups = len(np.unique(group))
    if groups < (fewest := round(max(_FEWEST, smallest_cell) / _SMALLEST_PART)):
        raise NotTrainable.too_few_groups(task.name, groups, fewest, len(target))
    parts = splits.assign(split, group, seed=seed, table=rows)
    _check_parts(task, parts, target, group=group, rule=split.name)
    few = labels_of_few(target, labels, group, parts, smallest_cell)
    if len(labels) - len(few) < 2 <= len(labels):  # noqa: PLR2004 -- one needs no model
        raise NotTrainable.target(
            task.name, task.target, f"one that {smallest_cell} patients of the training part have"
        )
    if len(few):
        kept = ~np.isin(target, few)
        chosen, rows, parts = chosen[kept], rows[kept].reset_index(drop=True), parts[kept]
        target, labels = target_of(task, rows[task.target], dataset.columns.get(task.target))
        group, twin = (pd.factorize(number[kept])[0] for number in (group, twin))
        notes = (
            f"Left out: the rows of {len(few)} labels of {task.target}, each of fewer than {smallest_cell} patients "
            "of the training part or the test part.",
        )
        _check_parts(task, parts, target, group=group, rule=split.name)
    unpooled = features.only(roles).part(chosen)
    features = unpooled.pooled(parts == 0, group, smallest=smallest_cell)
    names, constant = usable(features, parts == 0)
    if not names:
        raise NotTrainable.no_features(task.name, refused | constant)
    left_out = constant | dict.fromkeys(admissions.extra, "not described by the dataset")
    features, unpooled = (each.part(np.arange(len(target)), names) for each in (features, unpooled))
    problem = Problem(
        task=task,
        features=features,
        unpooled=unpooled,
        target=target,
        labels=labels,
        table=rows,
        parts=parts,
        row=admissions.row[chosen],
        content=admissions.content[chosen],
        group=group,
        twin=twin,
        refused=refused | left_out,
        units={role: column.unit for role, column in dataset.present().items() if column.unit},
        smallest_cell=smallest_cell,
        notes=(
            *notes,
            *remarks.set_aside(admissions, task, rows[task.target], smallest_cell),
            *remarks.names_left_out(left_out),
            *remarks.left_by_the_cut(splits.left_out(split, group, rows), len(rows), smallest_cell),
            *remarks.of_units(admissions, features.role.values(), rows),
        ),
        topped=None if labels or task.target not in admissions.topped else admissions.topped[task.target][chosen],
        left_out=ruled_out(admissions, task, labels),
        owners=_owners(admissions, rows),
    )
    return _scaled(problem, model, seed)


def resplit(problem: Problem, model: Model, split: splits.Split, *, seed: int) -> Problem:
    """Split the rows of a problem by another seed; its columns stay.

    Raises
    ------
    NotTrainable
        If a part of that split has nothing to learn from, or to judge by.
    """
    parts = splits.assign(split, problem.group, seed=seed, table=problem.table)
    _check_parts(problem.task, parts, problem.target, group=problem.group, rule=split.name)
    features = problem.features
    if problem.unpooled is not None:
        features = problem.unpooled.pooled(parts == 0, problem.group, smallest=problem.smallest_cell)
    return _scaled(replace(problem, parts=parts, features=features), model, seed)


def _scaled(problem: Problem, model: Model, seed: int) -> Problem:
    """Choose the scale of the target inside the training part."""
    task, target, group = problem.task, problem.target, problem.group
    train = problem.first_copies(np.flatnonzero(problem.where("train")))
    model = model.aim_at(task.asks, task.quantile)
    scale = choose_scale(task, model, problem.features, target, group=group, train=train, seed=seed)
    return replace(problem, scale=scale)


def fit_rows(
    problem: Problem,
    model: Model,
    rows: NDArray[np.int64],
    *,
    seed: int,
    recalibrate: bool = False,
    copies: bool = False,
) -> Fitted:
    """Fit the whole pipeline of a model, encoding and learner, on some rows of a problem (positions).

    Parameters
    ----------
    recalibrate : bool
        Whether the probabilities of classes are recalibrated, which takes three fits more.
    copies : bool
        Whether the copies of an admission all teach; else the first stands for them, as encoders take no weights.
    """
    rows = rows if copies else problem.first_copies(rows)
    features, target = problem.features.part(rows), problem.target[rows]
    group, classes = problem.group[rows], len(problem.labels)
    if recalibrate and classes:
        return fit_recalibrated(model, features, target, group=group, classes=classes, seed=seed)
    return models.fit(model, features, target, group=group, classes=classes, seed=seed, scale=problem.scale)


def available(admissions: Admissions) -> dict[str, Any]:
    """Return the columns that a task may choose from: those of the source, and a length of stay computed from dates."""
    columns: dict[str, Any] = dict(admissions.dataset.present())
    if admissions.dataset.computes_stay():
        columns["length_of_stay"] = columns["discharged_on"]  # known when the later date is
    return columns


def _owners(admissions: Admissions, rows: pd.DataFrame) -> dict[str, NDArray[np.int64]]:
    """By role of a column that belongs to a unit, which unit each row is of; where that is private, by its value."""
    levels = {role: admissions.dataset.level_of(role) for role in admissions.dataset.joined_roles()}
    return {
        role: pd.factorize(rows[unit if unit in rows else role])[0]
        for role, unit in levels.items()
        if unit is not None and role in rows
    }


def _check_parts(task: Task, parts: splits.Parts, target: Floats, *, group: NDArray[np.int64], rule: str) -> None:
    for part in ("train", "test"):
        rows = parts == splits.PARTS.index(part)
        if len(np.unique(group[rows])) < 2:  # noqa: PLR2004 -- an interval needs two
            raise NotTrainable.empty_part(task.name, part, rule)
        if len(np.unique(target[rows])) < 2:  # noqa: PLR2004 -- a constant leaves the baseline no error to remove
            raise NotTrainable.target(task.name, task.target, f"one in the {part} part of split={rule}")
