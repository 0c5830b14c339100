"""Small tables of counts and sums that closed-form evidence needs: parts of a table add up to the whole.

Where patients come again, such a table has the patient as its last key: all that is needed to tell how sure a mean is.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hi_ml.statistics.estimates import Floats, Integers
from hi_ml.statistics.means import mean_limits
from hi_ml.statistics.moments import Clusters, Moments, clustered

UNIT = "unit of inference"
"""The column that numbers the patients, or the hospitals; a table has it only where one of them comes again."""
TIMES = "number of admissions"
"""The column that says for how many admissions a row of a table stands; without it, each row is one."""
SUMS = ("n", "total", "squares", "base")


def counts(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Count rows per combination of keys; a row that lacks a key is left out.

    Parameters
    ----------
    keys : sequence of str
        Columns.

    Returns
    -------
    DataFrame
        Column `n`, indexed by the keys, and the unit of inference where the frame has it.
    """
    grouped = frame.groupby(_with_unit(frame, keys), observed=True)
    return (grouped[TIMES].sum() if TIMES in frame else grouped.size()).to_frame("n")


def sums(frame: pd.DataFrame, keys: Sequence[str], value: str, centre: float | None = None) -> pd.DataFrame:
    """Count, sum and sum the squares of a value per combination of keys; a row that lacks any is left out.

    Parameters
    ----------
    value : str
        A column of numbers.
    centre : float, optional
        From which they are measured, so that large values of small spread keep their digits; their mean, rounded, if
        left out.

    Returns
    -------
    DataFrame
        Columns `n`, `total` and `squares` of what lies above the centre, and `base` (n times the centre), indexed by
        the keys, and the unit of inference where the frame has it.
    """
    number, by, times = frame[value].astype("float64"), _with_unit(frame, keys), times_of(frame)
    if centre is None:
        centre = centre_of(float((times * number).sum()), float(times[number.notna()].sum()))
    above = number - centre
    complete = frame[by].assign(n=times, total=times * above, squares=times * above**2, base=times * centre)
    return complete[number.notna()].groupby(by, observed=True)[list(SUMS)].sum()


def centre_of(total: float, n: float) -> float:
    """Return from where n numbers are best measured: from their mean; a whole number, so that whole ones stay exact."""
    return float(np.rint(total / n)) if n else 0.0


def times_of(frame: pd.DataFrame) -> "pd.Series[float]":
    """Say for how many admissions each row stands."""
    return frame[TIMES].astype("float64") if TIMES in frame else pd.Series(1.0, frame.index)


def admissions_in(frame: pd.DataFrame) -> int:
    """Count the admissions that a table stands for."""
    return int(frame[TIMES].sum()) if TIMES in frame else len(frame)


def sizes_of(labels: "pd.Series[Any]", frame: pd.DataFrame) -> "pd.Series[int]":
    """Count the admissions of each label of the rows of a frame, the largest first, equal ones by label."""
    sizes = frame[TIMES].groupby(labels.to_numpy()).sum() if TIMES in frame else labels.value_counts(sort=False)
    return sizes.sort_index().sort_values(ascending=False, kind="stable")


def each_admission(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each admission."""
    if TIMES not in frame:
        return frame
    return frame.loc[frame.index.repeat(frame[TIMES])].drop(columns=TIMES).reset_index(drop=True)


def _with_unit(frame: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    return [*keys, *([UNIT] if UNIT in frame else [])]


def keys_of(table: pd.DataFrame) -> list[str]:
    """Name the keys of a table but for the unit of inference."""
    return [str(name) for name in table.index.names if name != UNIT]


def sizes(table: pd.DataFrame) -> "pd.Series[int]":
    """Count the rows per combination of keys, the patients added up."""
    return over(table, keys_of(table))["n"].astype("int64")


def units_of(frame: pd.DataFrame) -> Integers | None:
    """Return the number of each row's patient, or of its hospital; None where none comes again."""
    return frame[UNIT].to_numpy(dtype=np.int64) if UNIT in frame else None


def patients(table: pd.DataFrame, keys: Sequence[str]) -> "pd.Series[int]":
    """Count, per combination of these keys, the units of inference that have an admission there."""
    whole = over_units(table, keys)
    if UNIT not in whole.index.names:
        return whole["n"].astype("int64")
    return whole.loc[whole["n"] > 0, "n"].groupby(level=list(keys), observed=True).size()


def add_up(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Add up the tables of disjoint parts of the rows.

    Parameters
    ----------
    parts : iterable of DataFrame
        Made by `counts` or by `sums`, with the same keys.
    """
    tables = list(parts)
    if "base" in tables[0]:
        centre = _centre(pd.concat(tables))
        tables = [_measured_from(table, centre) for table in tables]
    names = list(tables[0].index.names)
    return pd.concat(tables).groupby(level=names, observed=True).sum()


def _centre(table: pd.DataFrame) -> float:
    n = float(table["n"].sum())
    return float(np.rint(table["base"].sum() / n)) if n else 0.0


def _measured_from(table: pd.DataFrame, centre: float) -> pd.DataFrame:
    further = _centre(table) - centre
    total, squares = table["total"] + table["n"] * further, table["squares"] + further * (2 * table["total"])
    return table.assign(total=total, squares=squares + table["n"] * further**2, base=table["n"] * centre)


def over(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Add up a table over all keys but these."""
    return table.groupby(level=list(keys), observed=True).sum()


def over_units(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Add up a table over all keys but these and the unit of inference."""
    return over(table, [*keys, *(name for name in table.index.names if name == UNIT)])


def moments_of(table: pd.DataFrame, groups: pd.Index | None = None) -> Moments:
    """Hand a table of sums to the statistics.

    Parameters
    ----------
    table : DataFrame
        Made by `sums`.
    groups : Index, optional
        The combinations of keys that are wanted, in this order, absent ones as empty; else those of the table in its
        own order.
    """
    whole = over(table, keys_of(table)) if UNIT in table.index.names else table
    if groups is not None:
        ordered = whole.reorder_levels(list(map(str, groups.names))) if groups.nlevels > 1 else whole
        chosen = ordered.reindex(groups, fill_value=0.0)
    else:
        chosen = whole
    n, total, squares = (chosen[column].to_numpy(dtype=np.float64) for column in SUMS[:3])
    return Moments(n, total, squares, clusters_of(table, chosen.index), _centre(whole))


def clusters_of(table: pd.DataFrame, groups: pd.Index) -> Clusters | None:
    """Spread what each patient has in these groups; None where no patient is a key.

    Parameters
    ----------
    table : DataFrame
        Made by `counts` or by `sums`.
    """
    if UNIT not in table.index.names:
        return None
    own = table.reset_index(UNIT)
    ordered = own.reorder_levels(list(map(str, groups.names))) if groups.nlevels > 1 else own
    group = groups.get_indexer(ordered.index)
    unit, inside = table.index.get_level_values(UNIT).to_numpy(), group >= 0
    n = table["n"].to_numpy(dtype=np.float64)
    total = table["total"].to_numpy(dtype=np.float64) if "total" in table else n
    return clustered(n[inside], total[inside], group[inside], unit[inside], len(groups))


def having(table: pd.DataFrame, within: ArrayLike) -> pd.DataFrame:
    """Turn counts into the sums of an indicator: 1 for the rows of the table that are marked, else 0.

    Parameters
    ----------
    table : DataFrame
        Made by `counts`.
    within : array of bool, shape (rows of the table,)
    """
    marked = table["n"].to_numpy() * np.asarray(within)
    return table.assign(total=marked, squares=marked, base=0.0).astype("float64")


def mean_table(table: pd.DataFrame) -> pd.DataFrame:
    """Give the mean of each combination of keys with its 95 % limits.

    Parameters
    ----------
    table : DataFrame
        Made by `sums`.

    Returns
    -------
    DataFrame
        The keys and `n, mean, low, high`; the limits are NaN for a single value or patient.
    """
    groups = moments_of(table)
    low, high = mean_limits(groups)
    keys = over(table, keys_of(table)).index.to_frame(index=False)
    return keys.assign(n=groups.n.astype(np.int64), mean=groups.mean, low=low, high=high)


def fill_cells(table: pd.DataFrame, last: Sequence[str]) -> pd.DataFrame:
    """Add the combinations of keys that do not occur, as 0.

    Parameters
    ----------
    table : DataFrame
        Made by `counts` or `sums`, with two keys or more.
    last : sequence of str
        Keys that come last, the others in front of them.

    Returns
    -------
    DataFrame
        Sorted, with every combination of the levels of all keys; patients are added up.
    """
    table = over(table, keys_of(table))
    order = [name for name in keys_of(table) if name not in last] + list(last)
    levels = [table.index.get_level_values(name).unique().sort_values() for name in order]
    return table.reorder_levels(order).reindex(pd.MultiIndex.from_product(levels, names=order), fill_value=0)


def cube(table: pd.DataFrame, keys: tuple[str, str]) -> Floats:
    """Spread counts over strata x rows x columns, empty cells as 0; shape (strata, rows, columns).

    Parameters
    ----------
    table : DataFrame
        Made by `counts`; what is no key of the cube is a stratum.
    keys : tuple of str
        The keys that become rows and columns, each in the order of its labels.
    """
    full = fill_cells(table, keys)
    rows, columns = (full.index.get_level_values(key).nunique() for key in keys)
    strata = len(full) // max(rows * columns, 1)
    return full["n"].to_numpy(dtype=np.float64).reshape(strata, rows, columns)


def cube_clusters(table: pd.DataFrame, keys: tuple[str, str]) -> Clusters | None:
    """Spread counts as `cube` does, all cells in one line, patient by patient; None where no patient comes again."""
    return clusters_of(table, fill_cells(table, keys).index) if UNIT in table.index.names else None


def crosstab(table: pd.DataFrame, keys: tuple[str, str]) -> pd.DataFrame:
    """Count by two keys, all other keys added up, empty cells as 0.

    Parameters
    ----------
    table : DataFrame
        Made by `counts`.
    keys : tuple of str
        The keys that become rows and columns.
    """
    two = over(table, keys)
    rows, columns = (two.index.get_level_values(key).unique().sort_values() for key in keys)
    return pd.DataFrame(cube(two, keys)[0], index=rows, columns=columns)
