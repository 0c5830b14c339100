"""Has one column moved further than chance can move it, and further than does not matter?"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.config import STRICT
from hi_ml.drift.profiles import missing_rate, new_rate
from hi_ml.drift.sentences import MISSING, NEW, VALUES, Measured, sentence
from hi_ml.statistics.drift import chance_distance, chance_gap, ordered_distance, total_variation
from hi_ml.statistics.novelty import expected_new, held_again

Counts = NDArray[np.int64]
# Of a column's chance of a false alarm: what moves in all rows is harder to see than what appears.
_SHARE = {VALUES: 0.8, MISSING: 0.1, NEW: 0.1}
_DIGITS = 6  # of a distance: equal ones must compare as equal, in whatever order they were summed


@dataclass(frozen=True, config=STRICT)
class Sensitivity:
    """From where on a column drifts.

    Attributes
    ----------
    level : float
        Chance that a batch from the training distribution raises any alarm, at most.
    smallest_distance : float
        Share of rows whose values have moved: less does not matter.
    smallest_rate : float
        Share of rows that are missing, more or less than in training, or hold a new level: less does not matter.
    """

    level: Annotated[float, Field(gt=0, lt=1)] = 0.05
    smallest_distance: Annotated[float, Field(ge=0, le=1)] = 0.1
    smallest_rate: Annotated[float, Field(ge=0, le=1)] = 0.05


def compared(column: Mapping[str, Any], new: Counts, asked: Sensitivity, *, family: int) -> dict[str, Any]:
    """Compare one column with its profile.

    Parameters
    ----------
    column : mapping
        From the profile.
    new : array of int64, shape (n_cells + 2,)
        Counts of the new rows, laid out as in the profile.
    asked : Sensitivity
    family : int
        Number of columns that share the chance of a false alarm (Bonferroni: however they go together).

    Returns
    -------
    dict
        See `hi_ml.drift.Drift.report`.
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
