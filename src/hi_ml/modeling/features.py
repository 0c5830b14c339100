"""Which numbers does a model see, and from which column did each come?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.data.read import Admissions
from hi_ml.scorer.serving import features as encode


@dataclass(frozen=True)
class Features:
    """All features of a table, made once."""

    # float64, shape (n, n_features); numbers as they are, categories as their position in ``levels``, a date as
    # day, weekday and month
    frame: pd.DataFrame
    specs: dict[str, dict[str, Any]]  # by role, how `hi_ml.scorer.serving` makes the features of a column
    role: dict[str, str]  # by feature, the column it came from

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
        return Features(self.frame[list(role_of)], specs, role_of)

    def part(self, rows: NDArray[np.bool_] | NDArray[np.int64], names: list[str] | None = None) -> "Features":
        """Keep some rows (a mask or positions) and some features, or all."""
        roles = self.role if names is None else {name: self.role[name] for name in names}
        return Features(self.frame[list(roles)].iloc[rows].reset_index(drop=True), self.specs, roles)

    def levels(self, feature: str) -> list[str] | None:
        """Return the categories behind a feature, None for a number."""
        levels: list[str] | None = self.specs[self.role[feature]].get("levels")
        return levels


def _spec(admissions: Admissions, role: str) -> tuple[dict[str, Any], pa.Array]:
    values = pa.Array.from_pandas(admissions.table[role])
    spec = admissions.dataset.spec(role)
    if spec["kind"] == "category":
        spec["levels"] = values.dictionary.to_pylist()
    return spec, values
