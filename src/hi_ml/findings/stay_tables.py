"""How long do admissions stay, by type, month and condition? Sums, and the tables of the charts."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.findings.aggregates import counts, mean_table, moments_of, sums
from hi_ml.findings.distinct import among
from hi_ml.statistics.effect import LEVEL
from hi_ml.statistics.means import comparable, differences
from hi_ml.statistics.moments import Moments


def stay_sums(rows: pd.DataFrame, emergency: str, *also: str) -> pd.DataFrame:
    """Count and sum the stays of emergency and other admissions: all that the closed forms need.

    Parameters
    ----------
    rows : DataFrame
        With `length_of_stay` in days and `admission_type`.
    emergency : str
        The admission type that is one, in any case.
    *also : str
        Further keys, such as `condition`.

    Returns
    -------
    DataFrame
        Columns `n, total, squares`, indexed by `emergency` (bool) and the further keys.
    """
    known = rows[rows["admission_type"].notna()]
    marked = known.assign(emergency=among(known["admission_type"], [emergency]))
    return sums(marked, ["emergency", *also], "length_of_stay")


def stay_by_month(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the mean stay of each admission type by month of admission.

    Returns
    -------
    DataFrame
        `month` (its first day), `admission_type, n, mean, low, high` in days; the 95 % limits are NaN for a single
        admission.
    """
    known = rows[rows["admitted_on"].notna()]
    month = known["admitted_on"].dt.to_period("M").dt.to_timestamp()
    return mean_table(sums(known.assign(month=month), ["month", "admission_type"], "length_of_stay"))


def stay_distribution(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the stays of each admission type by whole days.

    Returns
    -------
    DataFrame
        `admission_type, days, n, share` (of the type), `mean` (of the type, in days).
    """
    known = rows[rows["length_of_stay"].notna() & rows["admission_type"].notna()]
    days = np.floor(known["length_of_stay"]).astype("int64")
    table = counts(known.assign(days=days), ["admission_type", "days"]).reset_index()
    means = known.groupby("admission_type", observed=True)["length_of_stay"].mean()
    share = table["n"] / table.groupby("admission_type")["n"].transform("sum")
    return table.assign(share=share, mean=table["admission_type"].map(means))


def stay_by_condition(table: pd.DataFrame, smallest_group: int, smallest_effect: float) -> pd.DataFrame:
    """Give the difference of mean stays, emergency less others, within each condition.

    Parameters
    ----------
    table : DataFrame
        From `stay_sums` with `condition`.
    smallest_group : int
        Admissions needed on both sides.
    smallest_effect : float
        Days that matter.

    Returns
    -------
    DataFrame
        `condition, estimate, low, high, low90, high90, error` (standard error), `p_value, n, smallest_effect`;
        conditions with too few or constant stays are left out.
    """
    conditions = np.array(sorted(table.index.get_level_values("condition").unique()), dtype=object)
    first, second = (_side(table, emergency, conditions) for emergency in (True, False))
    usable = comparable(first, second, smallest_group)
    effect = differences(first.at(usable), second.at(usable))
    low, high = effect.limits()
    low90, high90 = effect.limits(2 * LEVEL)
    return pd.DataFrame(
        {
            "condition": conditions[usable],
            "estimate": effect.estimate,
            "low": low,
            "high": high,
            "low90": low90,
            "high90": high90,
            "error": effect.error,
            "p_value": effect.p_value,
            "n": (first.n + second.n)[usable].astype(np.int64),
            "smallest_effect": smallest_effect,
        }
    )


def _side(table: pd.DataFrame, emergency: bool, conditions: NDArray[np.object_]) -> Moments:
    cells = pd.MultiIndex.from_product([[emergency], conditions], names=["emergency", "condition"])
    return moments_of(table.reindex(cells, fill_value=0.0))
