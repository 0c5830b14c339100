"""Small tables of counts and sums that closed-form evidence needs: parts of a table add up to the whole."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from hi_ml.statistics.estimates import Floats
from hi_ml.statistics.means import mean_limits
from hi_ml.statistics.moments import Moments

SUMS = ("n", "total", "squares")


def counts(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Count rows per combination of keys; a row that lacks a key is left out.

    Parameters
    ----------
    keys : sequence of str
        Columns.

    Returns
    -------
    DataFrame
        Column `n`, indexed by the keys.
    """
    return frame.groupby(list(keys), observed=True).size().to_frame("n")


def sums(frame: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Count, sum and sum the squares of a value per combination of keys; a row that lacks any is left out.

    Parameters
    ----------
    value : str
        A column of numbers.

    Returns
    -------
    DataFrame
        Columns `n, total, squares`, indexed by the keys.
    """
    number = frame[value].astype("float64")
    complete = frame[list(keys)].assign(n=1.0, total=number, squares=number**2)[number.notna()]
    return complete.groupby(list(keys), observed=True)[list(SUMS)].sum()


def add_up(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Add up the tables of disjoint parts of the rows.

    Parameters
    ----------
    parts : iterable of DataFrame
        Made by `counts` or by `sums`, with the same keys.
    """
    tables = list(parts)
    names = list(tables[0].index.names)
    return pd.concat(tables).groupby(level=names, observed=True).sum()


def over(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Add up a table over all keys but these."""
    return table.groupby(level=list(keys), observed=True).sum()


def moments_of(table: pd.DataFrame) -> Moments:
    """Hand the rows of a table of sums to the statistics."""
    return Moments(*(table[column].to_numpy(dtype=np.float64) for column in SUMS))


def mean_table(table: pd.DataFrame) -> pd.DataFrame:
    """Give the mean of each combination of keys with its 95 % limits.

    Parameters
    ----------
    table : DataFrame
        Made by `sums`.

    Returns
    -------
    DataFrame
        The keys and `n, mean, low, high`; the limits are NaN for a single value.
    """
    groups = moments_of(table)
    low, high = mean_limits(groups)
    keys = table.index.to_frame(index=False)
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
        Sorted, with every combination of the levels of all keys.
    """
    order = [str(name) for name in table.index.names if name not in last] + list(last)
    levels = [table.index.get_level_values(name).unique().sort_values() for name in order]
    return table.reorder_levels(order).reindex(pd.MultiIndex.from_product(levels, names=order), fill_value=0)


def cube(table: pd.DataFrame, keys: tuple[str, str]) -> Floats:
    """Spread counts over strata x rows x columns, empty cells as 0.

    Parameters
    ----------
    table : DataFrame
        Made by `counts`; what is no key of the cube is a stratum.
    keys : tuple of str
        The keys that become rows and columns, each in the order of its labels.

    Returns
    -------
    ndarray of float64, shape (strata, rows, columns)
    """
    full = fill_cells(table, keys)
    rows, columns = (full.index.get_level_values(key).nunique() for key in keys)
    strata = len(full) // max(rows * columns, 1)
    return full["n"].to_numpy(dtype=np.float64).reshape(strata, rows, columns)


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
