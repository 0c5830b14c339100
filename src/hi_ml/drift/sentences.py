"""What does a column that drifts look like, and what is to be done about it?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_ml.drift.profiles import missing_rate, new_rate
from hi_ml.wording import percent

Counts = NDArray[np.int64]
VALUES, MISSING, NEW = "values", "missing", "new levels"
_QUARTERS = np.array([0.25, 0.5, 0.75])
_ADVICE = {
    VALUES: "Check its unit and source; if the admissions have changed, train anew.",
    MISSING: "Check the export that fills it.",
    NEW: "Check its spelling; if the levels are real, train anew.",
}


class Measured(NamedTuple):
    """How far a column has moved in one way.

    Attributes
    ----------
    part : {"values", "missing", "new levels"}
    statistic, threshold : float
        Shares of rows.
    """

    part: str
    statistic: float
    threshold: float

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
    found : Measured
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
        From `hi_ml.drift.Drift.report`.
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
