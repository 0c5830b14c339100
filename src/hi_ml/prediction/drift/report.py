"""What does a column that drifts look like, and what is to be done about it?

Has one column moved further than chance can move it, and further than does not matter?

The rows seen so far, as counts that add up: chunk by chunk, and after a kill.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.text import percent
from hi_ml.prediction.drift.profile import missing_rate, new_rate, tallied
from hi_ml.scorer.serving import Numbers
from hi_ml.statistics.drift import (
    chance_distance,
    chance_gap,
    expected_new,
    held_again,
    ordered_distance,
    total_variation,
)

Counts = NDArray[np.int64]
VALUES, MISSING, NEW = "values", "missing", "new levels"
_QUARTERS = np.array([0.25, 0.5, 0.75])
_ADVICE = {
    VALUES: "Check its unit and source; if the admissions have changed, train anew.",
    MISSING: "Check the export that fills it.",
    NEW: "Check its spelling; if the levels are real, train anew.",
}


class Measured(NamedTuple):
    """How far a column has moved in one way."""

    part: str
    statistic: float  # shares of rows
    threshold: float  # shares of rows

    @property
    def alarm(self) -> bool:
        """Whether it moved further than it may."""
        return self.statistic > self.threshold


def sentence(column: Mapping[str, Any], training: Counts, new: Counts, found: Measured) -> str:
    """Say what moved, from what to what, how far, and what to do.

    Parameters
    ----------
    column : mapping
        From the profile.
    training, new : array of int64, shape (n_cells + 2,)
    """
    if found.part == MISSING:
        before, now = percent(missing_rate(training)), percent(missing_rate(new))
        moved = f"missing in {before} % of the training rows, {now} % here"
    elif found.part == NEW:
        before, now = percent(new_rate(training)), percent(new_rate(new))
        moved = f"{now} % of these rows hold a level that no training row held, {before} % were to be expected"
    elif column["kind"] == "category":
        moved = _level(column, training[1:-1], new[1:-1])
    else:
        moved = _middle(column["edges"], training[1:-1], new[1:-1])
    far = f"moved by {found.statistic:.3f}, alarm above {found.threshold:.3f}"
    return f"{column['name']}: {moved} ({far}). {_ADVICE[found.part]}"


def alarms(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sentence of every column that drifts.

    Parameters
    ----------
    report : mapping
        From `hi_ml.prediction.drift.Drift.report`.
    """
    return [column["sentence"] for column in report.values() if column["alarm"]]


def _level(column: Mapping[str, Any], training: Counts, new: Counts) -> str:
    """The level, or run of levels in the order of the mapping, whose share moved most."""
    taught, found = training / training.sum(), new / new.sum()
    most = int(np.abs(found - taught).argmax())
    inside = np.searchsorted(column["edges"], np.arange(len(column["levels"]))) == most
    held = [level for level, here in zip(column["levels"], inside, strict=True) if here and level is not None]
    name = " to ".join(dict.fromkeys([held[0], held[-1]]))
    return f"{name} in {percent(taught[most])} % of the training rows, {percent(found[most])} % here"


def _middle(edges: list[float], training: Counts, new: Counts) -> str:
    """The medians, and between what the middle half of the values lies."""
    (low, median, high), (new_low, new_median, new_high) = (_quartiles(edges, counts) for counts in (training, new))
    halves = " to ".join(dict.fromkeys([low, high])), " to ".join(dict.fromkeys([new_low, new_high]))
    return f"median {median} in training, {new_median} here; middle half {halves[0]}, here {halves[1]}"


def _quartiles(edges: list[float], counts: Counts) -> list[str]:
    """The upper ends of the cells where a quarter, half and three quarters of the values are reached."""
    ends = [f"{edge:,.6g}" for edge in edges]
    said = [f"at most {ends[0]}", *ends[1:], f"above {ends[-1]}"]
    return [said[cell] for cell in np.searchsorted(np.cumsum(counts), _QUARTERS * counts.sum())]


# Of a column's chance of a false alarm: what moves in all rows is harder to see than what appears.
_SHARE = {VALUES: 0.8, MISSING: 0.1, NEW: 0.1}
_DIGITS = 6  # of a distance: equal ones must compare as equal, in whatever order they were summed


@settings(frozen=True, config=STRICT)
class Sensitivity:
    """From where on a column drifts."""

    # chance that a batch from the training distribution raises any alarm, at most
    level: Annotated[float, Field(gt=0, lt=1)] = 0.05
    # share of rows whose values have moved: less does not matter
    smallest_distance: Annotated[float, Field(ge=0, le=1)] = 0.1
    # share of rows that are missing, more or less than in training, or hold a new level: less does not matter
    smallest_rate: Annotated[float, Field(ge=0, le=1)] = 0.05


def compared(column: Mapping[str, Any], new: Counts, asked: Sensitivity, *, family: int) -> dict[str, Any]:
    """Compare one column with its profile.

    Parameters
    ----------
    column : mapping
        From the profile.
    new : array of int64, shape (n_cells + 2,)
        Counts of the new rows, laid out as in the profile.
    family : int
        Number of columns that share the chance of a false alarm (Bonferroni: however they go together).

    Returns
    -------
    dict
        See `hi_ml.prediction.drift.Drift.report`.
    """
    training = np.array(column["counts"])
    parts = _parts(column, training, new, asked, asked.level / family) if new.any() else ()
    furthest = max(parts, key=_relative, default=Measured(MISSING, 0.0, 1.0))
    rates = {"missing_rate": missing_rate(new), "missing_rate_training": missing_rate(training)}
    if column["kind"] == "category":
        rates |= {"new_rate": new_rate(new), "new_rate_expected": new_rate(training)}
    return {
        "statistic": furthest.statistic,
        "threshold": furthest.threshold,
        "alarm": furthest.alarm,
        "part": furthest.part,
        "kind": column["kind"],
        "n": int(new.sum()),
        **rates,
        "sentence": sentence(column, training, new, furthest) if furthest.alarm else "",
    }


def _parts(
    column: Mapping[str, Any], training: Counts, new: Counts, asked: Sensitivity, level: float
) -> Iterator[Measured]:
    is_category = column["kind"] == "category"
    taught, found = held_again(training[1:-1], column.get("pairs", 0)), new[1:-1]
    if column["edges"] and taught.any() and found.any():
        distance = total_variation if is_category else ordered_distance
        chance = chance_distance(taught, found, distance, level=level * _SHARE[VALUES])
        yield _measured(VALUES, float(distance(taught, found)), chance, asked.smallest_distance)
    if is_category and training[:-1].any() and new[:-1].any():
        expected = expected_new(training[:-1].sum(), training[0], column["pairs"])
        chance = chance_gap(expected, (new[0], found.sum()), level=level * _SHARE[NEW])
        yield _measured(NEW, max(new_rate(new) - new_rate(training), 0.0), chance, asked.smallest_rate)
    gap = abs(missing_rate(new) - missing_rate(training))
    chance = chance_gap(_absent(training), _absent(new), level=level * _SHARE[MISSING])
    yield _measured(MISSING, gap, chance, asked.smallest_rate)


def _absent(counts: Counts) -> tuple[int, int]:
    return counts[-1], counts[:-1].sum()


def _measured(part: str, statistic: float, chance: float, smallest: float) -> Measured:
    return Measured(part, round(statistic, _DIGITS), round(max(chance, smallest), _DIGITS))


def _relative(found: Measured) -> tuple[bool, float]:
    return found.alarm, found.statistic / max(found.threshold, 10.0**-_DIGITS)


_USUAL = Sensitivity()


@dataclass(frozen=True)
class Drift:
    """The rows seen so far, beside those of training."""

    profile: Mapping[str, Any]  # see `hi_ml.prediction.drift.profile`
    counts: dict[str, Counts]  # by role, laid out as in the profile

    @classmethod
    def start(cls, profile: Mapping[str, Any]) -> "Drift":
        """Start with no row."""
        return cls(profile, {spec["role"]: np.zeros(len(spec["counts"]), np.int64) for spec in profile["columns"]})

    def add(self, found: Mapping[str, Numbers]) -> "Drift":
        """Count the rows of a chunk, in place, and return itself.

        Parameters
        ----------
        found : mapping
            By feature, as `hi_ml.scorer.serving.numbers` returns them; further features are ignored.
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
