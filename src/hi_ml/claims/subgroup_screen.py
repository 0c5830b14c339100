"""How often would some subgroup look special by chance? Every contrast of stays within every stratum."""

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
import pandas as pd

from hi_ml.claims.aggregates import times_of, units_of
from hi_ml.claims.distinct import Rows, commonest
from hi_ml.statistics.bins import bins
from hi_ml.statistics.estimates import Integers
from hi_ml.statistics.means import comparable, differences
from hi_ml.statistics.moments import moments
from hi_ml.statistics.multiplicity import discoveries

_Coded = tuple[str, Integers, pd.Index]
"""Name of a column, the code of each row (-1 for missing), and its levels."""
ROLES = ("sex", "blood_type", "condition", "insurer", "admission_type", "medication", "test_result")
NAMES = {"age": "age band", "admitted_on": "year"}  # of what columns become
COLUMNS = ["column", "level", "within", "stratum", "estimate", "low", "high", "p_value", "n"]


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
    tables: dict[tuple[str, str], pd.DataFrame] = {}
    roles = [role for role in (*ROLES, "age", "admitted_on") if role in rows.roles]
    for pair in combinations(roles, 2):
        taken = rows.take([*pair, "length_of_stay"])
        taken = taken[taken["length_of_stay"].notna()]
        coded = [(NAMES.get(role, role), *pd.factorize(_labels(taken, role, age_bands), sort=True)) for role in pair]
        for way in permutations((0, 1)):
            column, stratum = (coded[at] for at in way)
            tables[column[0], stratum[0]] = _contrasts(taken, column, stratum, smallest_group)
    if not tables:
        return pd.DataFrame(columns=[*COLUMNS, "discovery"])
    names = [NAMES.get(role, role) for role in roles]
    screen = pd.concat([tables[pair] for pair in permutations(names, 2)], ignore_index=True)
    return screen.assign(discovery=discoveries(screen["p_value"])).sort_values(
        "p_value", kind="stable", ignore_index=True
    )


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


def _contrasts(rows: pd.DataFrame, column: _Coded, stratum: _Coded, smallest_group: int) -> pd.DataFrame:
    both = (column[1] >= 0) & (stratum[1] >= 0)
    levels, strata, known = len(column[2]), len(stratum[2]), rows[both]
    cell_of, days = column[1][both] * strata + stratum[1][both], known["length_of_stay"].to_numpy(dtype=np.float64)
    cells = moments(days, cell_of, levels * strata, units_of(known), np.asarray(times_of(known), dtype=np.float64))
    cell = np.arange(levels * strata)
    rest = cells.pooled([cell % strata == number for number in range(strata)]).at(cell % strata).less(cells)
    usable = comparable(cells, rest, smallest_group)
    effect = differences(cells.at(usable), rest.at(usable))
    low, high = effect.limits()
    return pd.DataFrame(
        {
            "column": column[0],
            "level": np.asarray(column[2])[cell[usable] // strata],
            "within": stratum[0],
            "stratum": np.asarray(stratum[2])[cell[usable] % strata],
            "estimate": effect.estimate,
            "low": low,
            "high": high,
            "p_value": effect.p_value,
            "n": (cells.n + rest.n)[usable].astype(np.int64),
        }
    )
