"""The rows seen so far, as counts that add up: chunk by chunk, and after a kill."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_ml.drift.comparison import Sensitivity, compared
from hi_ml.drift.profiles import tallied
from hi_ml.serving import Numbers

Counts = NDArray[np.int64]
_USUAL = Sensitivity()


@dataclass(frozen=True)
class Drift:
    """The rows seen so far, beside those of training.

    Attributes
    ----------
    profile : mapping
        See `hi_ml.drift.profile`.
    counts : dict of str to array of int64
        By role, laid out as in the profile.
    """

    profile: Mapping[str, Any]
    counts: dict[str, Counts]

    @classmethod
    def start(cls, profile: Mapping[str, Any]) -> "Drift":
        """Start with no row."""
        return cls(profile, {spec["role"]: np.zeros(len(spec["counts"]), np.int64) for spec in profile["columns"]})

    def add(self, found: Mapping[str, Numbers]) -> "Drift":
        """Count the rows of a chunk, in place, and return itself.

        Parameters
        ----------
        found : mapping
            By feature, as `hi_ml.serving.numbers` returns them; further features are ignored.
        """
        for column in self.profile["columns"]:
            self.counts[column["role"]] += tallied(found[column["role"]], column)
        return self

    def __add__(self, other: "Drift") -> "Drift":
        return Drift(self.profile, {role: counts + other.counts[role] for role, counts in self.counts.items()})

    def to_json(self) -> dict[str, list[int]]:
        """Return the counts alone, by role."""
        return {role: counts.tolist() for role, counts in self.counts.items()}

    @classmethod
    def from_json(cls, profile: Mapping[str, Any], counts: Mapping[str, list[int]]) -> "Drift":
        """Go on from the counts that `to_json` returned."""
        return cls(profile, {spec["role"]: np.array(counts[spec["role"]], np.int64) for spec in profile["columns"]})

    def report(self, sensitivity: Sensitivity = _USUAL) -> dict[str, dict[str, Any]]:
        """Compare every column with training, ready for JSON.

        Parameters
        ----------
        sensitivity : Sensitivity, optional

        Returns
        -------
        dict of str to dict
            By the name of the column in the source: ``statistic`` and ``threshold`` (shares of rows), ``alarm`` (the
            first exceeds the second), ``part`` (values, missing or new levels: the one that is furthest in terms of
            its threshold), ``kind``, ``n``, ``missing_rate``, ``missing_rate_training``, of categories ``new_rate`` and
            ``new_rate_expected``, and ``sentence``: what moved and what to do, empty without an alarm.
        """
        columns = self.profile["columns"]
        return {
            column["name"]: compared(column, self.counts[column["role"]], sensitivity, family=len(columns))
            for column in columns
        }
