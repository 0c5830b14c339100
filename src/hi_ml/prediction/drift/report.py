"""Has a column moved further than chance can move it, and further than does not matter; and what is to be done?"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.text import percent
from hi_ml.prediction.drift.profile import missing_rate, unseen_rate
from hi_ml.statistics.drift import (
    chance_distance,
    chance_gap,
    expected_new,
    held_again,
    ordered_distance,
    total_variation,
)

Column = Mapping[str, Any]
Counts = NDArray[np.int64]
_VALUES, _MISSING, _UNSEEN = "values", "missing", "new levels"
_ADVICE = {
    _VALUES: "Check its unit and source; if the admissions have changed, train anew.",
    _MISSING: "Check the export that fills it.",
    _UNSEEN: "Check its spelling; if the levels are real, train anew.",
}
# Of a column's chance of a false alarm: what moves in all rows is harder to see than what appears.
_SHARE = {_VALUES: 0.8, _MISSING: 0.1, _UNSEEN: 0.1}
_DIGITS = 6  # of a distance: equal ones must compare as equal, in whatever order they were summed
_FEWEST, _MOST, _HARDLY_ANY = 20, 0.5, 0.1  # known cells, and shares of them, by which another table is known
_QUARTERS = np.array([0.25, 0.5, 0.75])


@settings(frozen=True, config=STRICT)
class Sensitivity:
    """From where on a column drifts."""

    # chance that a batch from the training distribution raises any alarm, at most
    level: Annotated[float, Field(gt=0, lt=1)] = 0.05
    # share of rows whose values have moved: less does not matter
    smallest_distance: Annotated[float, Field(ge=0, le=1)] = 0.1
    # share of rows that are missing, more or less than in training, or hold an unseen level: less does not matter
    smallest_rate: Annotated[float, Field(ge=0, le=1)] = 0.05


_USUAL = Sensitivity()


def compare(
    profile: Mapping[str, Any], counts: Mapping[str, Counts], sensitivity: Sensitivity = _USUAL
) -> dict[str, dict[str, Any]]:
    """Compare every column with training, ready for JSON.

    All columns share the chance of a false alarm (Bonferroni: however they go together).

    Parameters
    ----------
    counts : mapping of str to array of int64, shape (n_cells + 2,)
        Of the new rows, by role, as `hi_ml.prediction.drift.count_rows` returns them.

    Returns
    -------
    dict of str to dict
        By the name of the column in the source: ``statistic`` and ``threshold`` (shares of rows), ``alarm`` (the
        first exceeds the second), ``part`` (values, missing or new levels: the one that is furthest in terms of
        its threshold), ``kind``, ``n``, ``missing_rate``, ``missing_rate_training``, of categories ``new_rate`` and
        ``new_rate_expected``, and ``sentence``: what moved and what to do, empty without an alarm.
    """
    columns = profile["columns"]
    level = sensitivity.level / len(columns)
    return {column["name"]: _compare(column, counts[column["role"]], sensitivity, level) for column in columns}


def alarms(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sentence of every column that drifts.

    Parameters
    ----------
    report : mapping
        From `compare`.
    """
    return [column["sentence"] for column in report.values() if column["alarm"]]


def another_table(profile: Mapping[str, Any], counts: Mapping[str, Counts]) -> str:
    """Say in how many columns the rows are not of the table that the model learned from; nothing where it may be that.

    One is: most of its cells hold levels that the model has never seen, or most of its values lie where hardly any of
    training did, as of another unit.

    Parameters
    ----------
    counts : mapping of str to array of int64, shape (n_cells + 2,)
        As of `compare`.
    """
    columns = profile["columns"]
    unlike = [_unlike(column, np.array(column["counts"]), counts[column["role"]]) for column in columns]
    if not any(unlike):
        return ""
    return (
        f"This looks like another table than the model's: {sum(map(bool, unlike))} of {len(columns)} columns are "
        f"unlike it ({'; '.join(filter(None, unlike))}). Check which model this is, and the "
        "units and spellings of the file."
    )


def _unlike(column: Column, reference: Counts, new: Counts) -> str:
    known, cells, new_cells = new[:-1].sum(), reference[1:-1], new[1:-1]
    if known < _FEWEST:
        return ""
    if column["kind"] == "category":
        unseen = unseen_rate(new)
        said = f"{column['name']}: {percent(unseen)} % of the cells hold levels never seen in training"
        return said if unseen - unseen_rate(reference) > _MOST else ""
    edges = column["edges"]
    for end, where in ((0, "at most"), (-1, "above")) if edges else ():
        before, now = cells[end] / max(cells.sum(), 1), new_cells[end] / known
        if now > _MOST and before < _HARDLY_ANY:
            far = f"{where} {edges[end]:,.6g}, {percent(before)} % in training"
            return f"{column['name']}: {percent(now)} % of the values are {far}"
    return ""


class _Shift(NamedTuple):
    """How far a column has moved in one way."""

    part: str
    statistic: float  # share of rows
    threshold: float  # share of rows

    @classmethod
    def of(cls, part: str, statistic: float, chance: float, smallest: float) -> "_Shift":
        return cls(part, round(statistic, _DIGITS), round(max(chance, smallest), _DIGITS))

    @property
    def alarm(self) -> bool:
        return self.statistic > self.threshold

    @property
    def order(self) -> tuple[bool, float]:
        """By which the furthest is found: in terms of its threshold."""
        return self.alarm, self.statistic / max(self.threshold, 10.0**-_DIGITS)


def _compare(column: Column, new: Counts, sensitivity: Sensitivity, level: float) -> dict[str, Any]:
    reference = np.array(column["counts"])
    shifts = _shifts(column, reference, new, sensitivity, level) if new.any() else ()
    furthest = max(shifts, key=lambda shift: shift.order, default=_Shift(_MISSING, 0.0, 1.0))
    rates = {"missing_rate": missing_rate(new), "missing_rate_training": missing_rate(reference)}
    if column["kind"] == "category":
        rates |= {"new_rate": unseen_rate(new), "new_rate_expected": unseen_rate(reference)}
    return {
        "statistic": furthest.statistic,
        "threshold": furthest.threshold,
        "alarm": furthest.alarm,
        "part": furthest.part,
        "kind": column["kind"],
        "n": int(new.sum()),
        **rates,
        "sentence": _sentence(column, reference, new, furthest) if furthest.alarm else "",
    }


def _shifts(column: Column, reference: Counts, new: Counts, sensitivity: Sensitivity, level: float) -> Iterator[_Shift]:
    is_category = column["kind"] == "category"
    cells, new_cells = held_again(reference[1:-1], column.get("pairs", 0)), new[1:-1]
    if column["edges"] and cells.any() and new_cells.any():
        distance = total_variation if is_category else ordered_distance
        chance = chance_distance(cells, new_cells, distance, level=level * _SHARE[_VALUES])
        yield _Shift.of(_VALUES, float(distance(cells, new_cells)), chance, sensitivity.smallest_distance)
    if is_category and reference[:-1].any() and new[:-1].any():
        expected = expected_new(reference[:-1].sum(), reference[0], column["pairs"])
        chance = chance_gap(expected, (new[0], new_cells.sum()), level=level * _SHARE[_UNSEEN])
        excess = max(unseen_rate(new) - unseen_rate(reference), 0.0)
        yield _Shift.of(_UNSEEN, excess, chance, sensitivity.smallest_rate)
    gap = abs(missing_rate(new) - missing_rate(reference))
    missing, new_missing = ((counts[-1], counts[:-1].sum()) for counts in (reference, new))
    chance = chance_gap(missing, new_missing, level=level * _SHARE[_MISSING])
    yield _Shift.of(_MISSING, gap, chance, sensitivity.smallest_rate)


def _sentence(column: Column, reference: Counts, new: Counts, shift: _Shift) -> str:
    """Say what moved, from what to what, how far, and what to do."""
    if shift.part == _MISSING:
        before, now = percent(missing_rate(reference)), percent(missing_rate(new))
        moved = f"missing in {before} % of the training rows, {now} % here"
    elif shift.part == _UNSEEN:
        before, now = percent(unseen_rate(reference)), percent(unseen_rate(new))
        moved = f"{now} % of these rows hold a level that no training row held, {before} % were to be expected"
    elif column["kind"] == "category":
        moved = _level(column, reference[1:-1], new[1:-1])
    else:
        moved = _middle(column["edges"], reference[1:-1], new[1:-1])
    far = f"moved by {shift.statistic:.3f}, alarm above {shift.threshold:.3f}"
    return f"{column['name']}: {moved} ({far}). {_ADVICE[shift.part]}"


def _level(column: Column, reference: Counts, new: Counts) -> str:
    """The level, or run of levels in the order of the mapping, whose share moved most."""
    before, now = reference / reference.sum(), new / new.sum()
    most = int(np.abs(now - before).argmax())
    inside = np.searchsorted(column["edges"], np.arange(len(column["levels"]))) == most
    levels = [level for level, here in zip(column["levels"], inside, strict=True) if here and level is not None]
    name = " to ".join(dict.fromkeys([levels[0], levels[-1]]))
    return f"{name} in {percent(before[most])} % of the training rows, {percent(now[most])} % here"


def _middle(edges: list[float], reference: Counts, new: Counts) -> str:
    """The medians, and between what the middle half of the values lies."""
    (low, median, high), (new_low, new_median, new_high) = (_quartiles(edges, counts) for counts in (reference, new))
    halves = " to ".join(dict.fromkeys([low, high])), " to ".join(dict.fromkeys([new_low, new_high]))
    return f"median {median} in training, {new_median} here; middle half {halves[0]}, here {halves[1]}"


def _quartiles(edges: list[float], counts: Counts) -> list[str]:
    """The upper ends of the cells where a quarter, half and three quarters of the values are reached."""
    ends = [f"{edge:,.6g}" for edge in edges]
    names = [f"at most {ends[0]}", *ends[1:], f"above {ends[-1]}"]
    return [names[cell] for cell in np.searchsorted(np.cumsum(counts), _QUARTERS * counts.sum())]
