"""How often would some subgroup look special by chance? Every contrast of stays within every stratum."""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from hi_ml.claims.aggregates import units_of
from hi_ml.claims.distinct import commonest
from hi_ml.statistics.bins import bins
from hi_ml.statistics.estimates import Floats, Integers
from hi_ml.statistics.means import comparable, differences
from hi_ml.statistics.moments import moments
from hi_ml.statistics.multiplicity import discoveries

_Coded = tuple[str, Integers, pd.Index]
"""Name of a column, the code of each row (-1 for missing), and its levels."""
ROLES = ("sex", "blood_type", "condition", "insurer", "admission_type", "medication", "test_result")
COLUMNS = ["column", "level", "within", "stratum", "estimate", "low", "high", "p_value", "n"]


def stay_screen(rows: pd.DataFrame, age_bands: Sequence[float], smallest_group: int) -> pd.DataFrame:
    """Compare each level of each column with the rest, within each level of each other column.

    Parameters
    ----------
    rows : DataFrame
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
    complete = rows[rows["length_of_stay"].notna()]
    days, units = complete["length_of_stay"].to_numpy(dtype=np.float64), units_of(complete)
    coded = {name: pd.factorize(labels, sort=True) for name, labels in _categories(complete, age_bands)}
    tables = [
        _contrasts(days, units, (column, *coded[column]), (stratum, *coded[stratum]), smallest_group)
        for column, stratum in permutations(coded, 2)
    ]
    if not tables:
        return pd.DataFrame(columns=[*COLUMNS, "discovery"])
    screen = pd.concat(tables, ignore_index=True)
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


def _categories(rows: pd.DataFrame, age_bands: Sequence[float]) -> Iterator[tuple[str, "pd.Series[str]"]]:
    for role in ROLES:
        if role in rows:
            yield role, commonest(rows[role])
    if "age" in rows:
        yield "age band", age_bins(rows["age"], age_bands)
    if "admitted_on" in rows:
        yield "year", rows["admitted_on"].dt.strftime("%Y")


def _contrasts(
    days: Floats, units: Integers | None, column: _Coded, stratum: _Coded, smallest_group: int
) -> pd.DataFrame:
    both = (column[1] >= 0) & (stratum[1] >= 0)
    levels, strata = len(column[2]), len(stratum[2])
    cell_of, patients = column[1][both] * strata + stratum[1][both], None if units is None else units[both]
    cells = moments(days[both], cell_of, levels * strata, patients)
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
