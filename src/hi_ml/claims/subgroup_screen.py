"""How often would some subgroup look special by chance? Every contrast of stays within every stratum."""

from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.claims.aggregates import TIMES, UNIT, times_of, units_of
from hi_ml.claims.distinct import Rows, commonest
from hi_ml.statistics.bins import bins
from hi_ml.statistics.estimates import Floats, Integers
from hi_ml.statistics.means import comparable, differences
from hi_ml.statistics.moments import moments
from hi_ml.statistics.multiplicity import discoveries

ROLES = ("sex", "blood_type", "condition", "insurer", "admission_type", "medication", "test_result")
NAMES = {"age": "age band", "admitted_on": "year"}  # of what columns become
COLUMNS = ["column", "level", "within", "stratum", "estimate", "low", "high", "p_value", "n"]


class _Stays(NamedTuple):
    """Known stays, and what of some columns stands beside them."""

    days: Floats  # shape (n,), as are times and units
    times: Floats  # admissions that each stands for
    units: Integers | None
    coded: dict[str, tuple[NDArray[np.int32], NDArray[np.object_]]]  # by role: codes, -1 for missing, and levels


def stay_screen(rows: Rows, age_bands: Sequence[float], smallest_group: int) -> pd.DataFrame:
    """Compare each level of each column with the rest, within each level of each other column.

    Parameters
    ----------
    rows : Rows
        With `length_of_stay` in days; categories, `age` and `admitted_on` are used where they are there.
    age_bands : sequence of float
        Ages, in years, at which a band begins.
    smallest_group : int
        Admissions needed on both sides.

    Returns
    -------
    DataFrame
        `column, level, within, stratum, estimate` (mean stay of the level less that of the rest, days), `low, high,
        p_value, n, discovery` (Benjamini-Hochberg over all of them), smallest p-value first.
    """
    roles = [role for role in (*ROLES, "age", "admitted_on") if role in rows.roles]
    whole = None if rows.narrow else _stays(rows, roles, age_bands)
    found = {}
    for pair in combinations(roles, 2):
        stays = whole or _stays(rows, pair, age_bands)
        for column, stratum in permutations(pair):
            found[column, stratum] = _contrasts(stays, column, stratum, smallest_group)
    if not found:
        return pd.DataFrame(columns=[*COLUMNS, "discovery"])
    ordered = [found[pair] for pair in permutations(roles, 2)]
    screen = pd.DataFrame({name: np.concatenate([table[name] for table in ordered]) for name in COLUMNS})
    screen = screen.assign(discovery=discoveries(screen["p_value"]))
    return screen.sort_values("p_value", kind="stable", key=_to_ten_digits, ignore_index=True)


def _to_ten_digits(p_value: "pd.Series[float]") -> "pd.Series[float]":
    """Leave out what rounding makes of equal ones: of two levels, each less the other."""
    return p_value.map("{:.9e}".format).astype("float64")


def age_bins(age: "pd.Series[float]", begins: Sequence[float]) -> "pd.Series[str]":
    """Name the bin of each age; missing stays missing.

    Examples
    --------
    >>> age_bins(pd.Series([20.0, 35.0, 80.0]), [35, 50]).tolist()
    ['under 35 years', '35 to 49 years', '50 years and over']
    """
    codes, names = bins(age, sorted(set(begins)), "years")
    return pd.Series(np.array([*names, None], dtype=object)[codes], age.index, dtype="str")  # -1 is the last


def _labels(rows: pd.DataFrame, role: str, age_bands: Sequence[float]) -> "pd.Series[str]":
    if role == "age":
        return age_bins(rows["age"], age_bands)
    return rows["admitted_on"].dt.strftime("%Y") if role == "admitted_on" else commonest(rows, role)


def _stays(rows: Rows, roles: Sequence[str], age_bands: Sequence[float]) -> _Stays:
    taken = rows.take([*roles, "length_of_stay"])
    known, beside = taken["length_of_stay"].notna(), [name for name in (UNIT, TIMES) if name in taken]
    coded = {}
    for role in roles:  # one column at once, since a copy of all may be large
        code, levels = pd.factorize(_labels(taken.loc[known, [role, *beside]], role, age_bands), sort=True)
        coded[role] = (code.astype(np.int32), np.asarray(levels, dtype=object))
    stays = taken.loc[known, ["length_of_stay", *beside]]
    days, times = (np.asarray(column, dtype=np.float64) for column in (stays["length_of_stay"], times_of(stays)))
    return _Stays(days, times, units_of(stays), coded)


def _contrasts(stays: _Stays, column: str, stratum: str, smallest_group: int) -> dict[str, NDArray[Any]]:
    (code, levels), (within, strata) = stays.coded[column], stays.coded[stratum]
    both = (code >= 0) & (within >= 0)
    cell = np.arange(len(levels) * len(strata))
    level_of, stratum_of = cell // max(len(strata), 1), cell % max(len(strata), 1)
    units = None if stays.units is None else stays.units[both]
    cells = moments(stays.days[both], code[both] * len(strata) + within[both], cell.size, units, stays.times[both])
    rest = cells.pooled([stratum_of == number for number in range(len(strata))]).at(stratum_of).less(cells)
    usable = comparable(cells, rest, smallest_group)
    effect = differences(cells.at(usable), rest.at(usable))
    low, high = effect.limits()
    return {
        "column": np.full(int(usable.sum()), NAMES.get(column, column), dtype=object),
        "level": levels[level_of[usable]],
        "within": np.full(int(usable.sum()), NAMES.get(stratum, stratum), dtype=object),
        "stratum": strata[stratum_of[usable]],
        "estimate": effect.estimate,
        "low": low,
        "high": high,
        "p_value": effect.p_value,
        "n": (cells.n + rest.n)[usable].astype(np.int64),
    }
