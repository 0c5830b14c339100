"""Which numbers does a model see, and from which column did each come?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.data.read import Admissions
from hi_ml.scorer.serving import UNSEEN
from hi_ml.scorer.serving import features as encode
from hi_ml.statistics.disclosure import Disclosure


@dataclass(frozen=True)
class Features:
    """All features of a table, made once."""

    # float64, shape (n, n_features); numbers as they are, categories as their position in ``levels``, a date as
    # day, weekday and month
    frame: pd.DataFrame
    specs: dict[str, dict[str, Any]]  # by role, how `hi_ml.scorer.serving` makes the features of a column
    role: dict[str, str]  # by feature, the column it came from
    smallest: int = 1  # patients of a level that a model may know

    @classmethod
    def of(cls, admissions: Admissions, roles: Iterable[str]) -> "Features":
        """Make the features of the given columns."""
        specs, frames = {}, []
        for role in roles:
            spec, values = _spec(admissions, role)
            specs[role] = spec
            frames.append(encode({role: values}, [spec]))
        role_of = {name: role for role, frame in zip(specs, frames, strict=True) for name in frame.columns}
        return cls(pd.concat(frames, axis=1) if frames else pd.DataFrame(), specs, role_of)

    def only(self, roles: Iterable[str]) -> "Features":
        """Keep the features of some columns, in the order of these: a model must not depend on what else was made."""
        specs = {role: self.specs[role] for role in roles}
        role_of = {name: role for role in specs for name, source in self.role.items() if source == role}
        return Features(self.frame[list(role_of)], specs, role_of, self.smallest)

    def part(self, rows: NDArray[np.bool_] | NDArray[np.int64], names: list[str] | None = None) -> "Features":
        """Keep some rows (a mask or positions) and some features, or all."""
        roles = self.role if names is None else {name: self.role[name] for name in names}
        return Features(self.frame[list(roles)].iloc[rows].reset_index(drop=True), self.specs, roles, self.smallest)

    def pooled(self, train: NDArray[np.bool_], group: NDArray[np.int64], *, smallest: int) -> "Features":
        """Make all levels that too few patients of the training rows have one, and that as if it were unseen.

        Parameters
        ----------
        train : array of bool, shape (n,)
        group : array of int64, shape (n,)
            Rows of one patient.
        smallest : int
            Patients from which on a level keeps its name. Where the others are together fewer, the next one joins them.
        """
        frame, specs = self.frame.copy(), dict(self.specs)
        for name, role in self.role.items():
            levels = self.levels(name)
            if levels is None:
                continue
            codes = frame[name].to_numpy()
            few = _few(codes[train], group[train], count=len(levels), smallest=smallest)
            frame[name] = np.where(np.append(few, False)[np.nan_to_num(codes, nan=-1).astype(int)], UNSEEN, codes)
            specs[role] = specs[role] | {"levels": [None if out else at for at, out in zip(levels, few, strict=True)]}
        return Features(frame, specs, self.role, smallest)

    def levels(self, feature: str) -> list[str | None] | None:
        """Return the categories behind a feature, None for one that is pooled; None for a number."""
        levels: list[str | None] | None = self.specs[self.role[feature]].get("levels")
        return levels


def holders(codes: NDArray[np.float64], group: NDArray[np.int64], *, count: int) -> NDArray[np.int64]:
    """Count the groups that have each of so many levels, shape (count,); NaN is missing, -1 pooled."""
    return Disclosure(group, 1).sizes(np.nan_to_num(codes, nan=-1).astype(np.int64), count)


def _few(codes: NDArray[np.float64], group: NDArray[np.int64], *, count: int, smallest: int) -> NDArray[np.bool_]:
    """Which levels are pooled, shape (count,): those of too few groups, and the next ones until there are enough."""
    size = holders(codes, group, count=count)
    few = size < smallest
    for level in np.argsort(size, kind="stable")[few.sum() :]:
        together = len(np.unique(group[np.isin(codes, np.flatnonzero(few))]))
        if together == 0 or together >= smallest:
            break
        few[level] = True
    return few


def _spec(admissions: Admissions, role: str) -> tuple[dict[str, Any], pa.Array]:
    values = pa.Array.from_pandas(admissions.table[role])
    spec = admissions.dataset.spec(role)
    if spec["kind"] == "category":
        spec["levels"] = values.dictionary.to_pylist()
    return spec, values
