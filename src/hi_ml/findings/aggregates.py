"""Small tables of counts and sums that closed-form evidence needs: parts of a table add up to the whole."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from hi_ml.statistics.effect import Floats
from hi_ml.statistics.means import Moments

SUMS = ("n", "total", "squares")


def counts(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Count rows per combination of keys; a row that lacks a key is left out.

    Parameters
    ----------
    frame : DataFrame
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
    frame : DataFrame
    keys : sequence of str
    value : str
        A column of numbers.

    Returns
    -------
    DataFrame
        Columns `n, total, squares`, indexed by the keys.
    """
    number = frame[value].astype("float64")
    known = frame[list(keys)].assign(n=1.0, total=number, squares=number**2)[number.notna()]
    return known.groupby(list(keys), observed=True)[list(SUMS)].sum()


def added(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
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


def cube(table: pd.DataFrame, column: str, keys: tuple[str, str]) -> tuple[Floats, pd.Index, pd.Index]:
    """Spread a table over strata x rows x columns, empty cells as 0.

    Parameters
    ----------
    table : DataFrame
        Made by `counts` or `sums`; what is no key of the cube is a stratum.
    column : str
        `n`, `total` or `squares`.
    keys : tuple of str
        Names of the index levels that become rows and columns.

    Returns
    -------
    values : ndarray of float64, shape (strata, rows, columns)
    rows, columns : Index
        Their labels.
    """
    strata = [name for name in table.index.names if name not in keys]
    rows, columns = (table.index.get_level_values(key).unique().sort_values() for key in keys)
    stratum = table.groupby(level=strata, observed=True).ngroup().to_numpy() if strata else np.zeros(len(table), int)
    values = np.zeros((int(stratum.max(initial=-1)) + 1, len(rows), len(columns)))
    places = stratum, rows.get_indexer(_level(table, keys[0])), columns.get_indexer(_level(table, keys[1]))
    np.add.at(values, places, table[column].to_numpy(dtype=np.float64))
    return values, rows, columns


def crosstab(table: pd.DataFrame, keys: tuple[str, str]) -> pd.DataFrame:
    """Count by two keys, all other keys added up, empty cells as 0.

    Parameters
    ----------
    table : DataFrame
        Made by `counts`.
    keys : tuple of str
        Names of the index levels that become rows and columns.
    """
    values, rows, columns = cube(over(table, keys), "n", keys)
    return pd.DataFrame(values.sum(axis=0), index=rows, columns=columns)


def _level(table: pd.DataFrame, name: str) -> pd.Index:
    return table.index.get_level_values(name)
