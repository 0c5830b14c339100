"""How do the conditions' shares of admissions change with age?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hi_ml.findings.aggregates import counts, crosstab
from hi_ml.findings.distinct import among
from hi_ml.statistics.effect import Effect, Margin
from hi_ml.statistics.multiplicity import discoveries
from hi_ml.statistics.proportions import Share, Trend, share_difference, share_trend, wilson

YEARS_A_DECADE = 10


def age_counts(rows: pd.DataFrame, split_age: float) -> pd.DataFrame:
    """Count admissions by side of the split, decade of age and condition: all that the closed forms need.

    Parameters
    ----------
    rows : DataFrame
        With `age` in years and `condition`.
    split_age : float
        Years.

    Returns
    -------
    DataFrame
        Column `n`, indexed by `older` (bool), `decade` (its first year) and `condition`.
    """
    known = rows.loc[rows["age"].notna() & rows["condition"].notna(), ["age", "condition"]]
    decade = (known["age"] // YEARS_A_DECADE * YEARS_A_DECADE).astype("int64")
    return counts(known.assign(older=known["age"] >= split_age, decade=decade), ["older", "decade", "condition"])


def difference(table: pd.DataFrame, levels: Sequence[str], smallest: float, *, old: bool = True) -> Effect:
    """Compare the share of some conditions between the sides of the split.

    Parameters
    ----------
    table : DataFrame
        From `age_counts`, with admissions on both sides.
    levels : sequence of str
        Conditions, in any case.
    smallest : float
        Smallest difference of shares that matters.
    old : bool
        Whether to take old less young; else young less old.
    """
    older = table.index.get_level_values("older").to_numpy(dtype=bool)
    within = having(table, levels).to_numpy()
    n = table["n"].to_numpy(dtype=np.float64)
    first, second = (
        Share(float(n[side & within].sum()), float(n[side].sum())) for side in (older == old, older != old)
    )
    return share_difference(first, second, margin=Margin(smallest))


def trend(table: pd.DataFrame, levels: Sequence[str]) -> Trend | None:
    """Fit a line to the share of some conditions over the decades of age.

    Parameters
    ----------
    table : DataFrame
        From `age_counts`.
    levels : sequence of str
        Conditions, in any case.

    Returns
    -------
    Trend or None
        Per decade; None where there is one decade only, or nothing to vary.
    """
    decades = crosstab(table, ("decade", "condition"))
    n = decades.sum(axis=1).to_numpy()
    count = decades.loc[:, among(decades.columns.to_series(), levels)].sum(axis=1).to_numpy()
    if n.size == 1 or count.sum() in (0, n.sum()):
        return None
    return share_trend(count, n, decades.index.to_numpy() / YEARS_A_DECADE)


def having(table: pd.DataFrame, levels: Sequence[str]) -> "pd.Series[bool]":
    """Mark the rows of a table whose condition is one of the levels, in any case."""
    return among(table.index.get_level_values("condition").to_series(), levels)


def share_by_decade(table: pd.DataFrame) -> pd.DataFrame:
    """Give each condition's share of the admissions of each decade of age, with Wilson's 95 % limits.

    Parameters
    ----------
    table : DataFrame
        From `age_counts`.

    Returns
    -------
    DataFrame
        `decade, condition, n` (admissions of the decade), `count, share, low, high`.
    """
    decades = crosstab(table, ("decade", "condition"))
    long = decades.reset_index().melt(id_vars="decade", var_name="condition", value_name="count")
    n = long["decade"].map(decades.sum(axis=1))
    low, high = wilson(long["count"], n)
    long = long.assign(n=n, share=long["count"] / n, low=low, high=high).astype({"n": "int64", "count": "int64"})
    return long[["decade", "condition", "n", "count", "share", "low", "high"]]


def condition_forest(table: pd.DataFrame, claimed: Sequence[str], smallest: float) -> pd.DataFrame:
    """Give the difference of shares, old less young, of every condition.

    Parameters
    ----------
    table : DataFrame
        From `age_counts`, with admissions on both sides.
    claimed : sequence of str
        Conditions that the claim is about.
    smallest : float
        Smallest difference of shares that matters.

    Returns
    -------
    DataFrame
        `condition, estimate, low, high, low90, high90, p_value, discovery` (Benjamini-Hochberg over the conditions),
        `claimed, n, smallest_effect`.
    """
    levels = sorted(table.index.get_level_values("condition").unique())
    effects = [difference(table, [level], smallest) for level in levels]
    forest = pd.DataFrame(
        [(effect.estimate, effect.low, effect.high, effect.low90, effect.high90, effect.p_zero) for effect in effects],
        columns=["estimate", "low", "high", "low90", "high90", "p_value"],
    )
    forest.insert(0, "condition", levels)
    return forest.assign(
        discovery=discoveries(forest["p_value"]),
        claimed=among(forest["condition"], claimed),
        n=[effect.n for effect in effects],
        smallest_effect=smallest,
    )
