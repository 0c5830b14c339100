"""SHAP contributions, one column per source column, laid out as the tables that the explanation charts draw.

`values` holds the contributions and `features` what the rows hold in the same columns, numbers or text; both have one
line per row, under the row's own label, no label twice. Nothing random: where rows are thinned, every k-th is kept.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

Floats = NDArray[np.float64]

QUANTILES = {"q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9}


def swarm_table(values: pd.DataFrame, features: pd.DataFrame, *, columns: int = 10, rows: int = 400) -> pd.DataFrame:
    """Lay out one point per row for the columns that contribute most.

    Returns
    -------
    DataFrame
        `column, row, contribution, value` (as text), `shade` (0 to 1, the rank of a number among the rows shown; NaN
        for text and for missing numbers), largest mean absolute contribution first.
    """
    kept = _thinned(values, rows)
    parts = [
        pd.DataFrame(
            {
                "column": column,
                "row": values.index[kept],
                "contribution": values[column].to_numpy()[kept],
                "value": _texts(features[column].iloc[kept]),
                "shade": _shade(features[column].iloc[kept]),
            }
        )
        for column in _largest_first(values)[:columns]
    ]
    return pd.concat(parts, ignore_index=True)


def dependence_table(
    values: pd.DataFrame, features: pd.DataFrame, *, columns: int = 4, rows: int = 500, levels: int = 8
) -> pd.DataFrame:
    """Lay out how the contribution of each of the largest columns depends on the column's own value.

    Returns
    -------
    DataFrame
        For numbers one line per row shown: `column, kind` (`point`), `row, number, contribution`. For text one line
        per level: `column, kind` (`level`), `level, n` and the quantiles `q10, q25, q50, q75, q90` of the
        contribution, in order of the median; levels beyond the most frequent are pooled.
    """
    kept = _thinned(values, rows)
    parts = []
    for column in _largest_first(values)[:columns]:
        feature, contribution = features[column], values[column]
        if _is_number(feature):
            points = {"row": values.index, "number": feature.to_numpy(float, na_value=np.nan)}
            part = pd.DataFrame({**points, "contribution": contribution.to_numpy()}).iloc[kept].assign(kind="point")
        else:
            part = _quantiles_by_level(_pooled(_texts(feature), levels), contribution).assign(kind="level")
        parts.append(part.assign(column=column))
    order = ["column", "kind", "row", "number", "contribution", "level", "n", *QUANTILES]
    table = pd.concat(parts, ignore_index=True).reindex(columns=order)
    return table.assign(row=table["row"].convert_dtypes(), n=table["n"].convert_dtypes())  # whole, where not missing


def typical_rows(values: pd.DataFrame, base_value: float) -> dict[str, Hashable]:
    """Choose a low, a middle and a high prediction: the rows at 5, 50 and 95 % of all, none of them twice."""
    order = np.argsort((values.sum(axis=1) + base_value).to_numpy(), kind="stable")
    places = {name: round(share * (len(order) - 1)) for name, share in (("Middle", 0.5), ("Low", 0.05), ("High", 0.95))}
    first = {place: name for name, place in reversed(places.items())}  # of equal places, the middle one stays
    return {first[place]: values.index[order[place]] for place in sorted(first)}


def waterfall_table(
    values: pd.DataFrame,
    features: pd.DataFrame,
    base_value: float,
    *,
    rows: Mapping[str, Hashable],
    columns: int = 5,
) -> pd.DataFrame:
    """Lay out how single predictions build up from the base value, largest contribution first.

    Parameters
    ----------
    values, features : DataFrame
    base_value : float
        What the contributions are added to.
    rows : mapping of str to row label
        The rows to show, by what they are called; see `typical_rows`.
    columns : int
        The rest is pooled.

    Returns
    -------
    DataFrame
        `panel, row, column, value` (as text), `contribution, low, high` (ends of the bar), `base_value, prediction`.
    """
    parts = []
    for panel, row in rows.items():
        at = values.index.get_loc(row)
        contribution = values.iloc[at].astype(float)
        contribution = contribution.iloc[np.argsort(-contribution.abs().to_numpy(), kind="stable")]
        shown = contribution.iloc[:columns]
        part = pd.DataFrame({"column": shown.index, "contribution": shown.to_numpy()})
        part["value"] = [_text(features[column].iloc[at]) for column in shown.index]
        if rest := len(contribution) - len(shown):
            pooled = {
                "column": f"{rest} other column{'s' * (rest > 1)}",
                "contribution": contribution.iloc[columns:].sum(),
                "value": "",
            }
            part = pd.concat([part, pd.DataFrame([pooled])], ignore_index=True)
        end = base_value + part["contribution"].cumsum()
        start = end - part["contribution"]
        part = part.assign(panel=panel, row=values.index[at], low=np.minimum(start, end), high=np.maximum(start, end))
        parts.append(part.assign(base_value=base_value, prediction=base_value + contribution.sum()))
    order = ["panel", "row", "column", "value", "contribution", "low", "high", "base_value", "prediction"]
    return pd.concat(parts, ignore_index=True)[order]


def _largest_first(values: pd.DataFrame) -> list[str]:
    return list(values.abs().mean().sort_values(ascending=False, kind="stable").index)


def _thinned(values: pd.DataFrame, rows: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, len(values) - 1, min(rows, len(values))).round().astype(np.intp))


def _is_number(feature: "pd.Series[Any]") -> bool:
    return is_numeric_dtype(feature) and not is_bool_dtype(feature)


def _shade(feature: "pd.Series[Any]") -> Floats:
    if not _is_number(feature):
        return np.full(len(feature), np.nan)
    rank = feature.rank().to_numpy(float, na_value=np.nan)
    spread = np.nanmax(rank) - np.nanmin(rank) if np.isfinite(rank).any() else 0.0
    return (rank - np.nanmin(rank)) / spread if spread else np.where(np.isfinite(rank), 0.5, np.nan)


def _texts(feature: "pd.Series[Any]") -> "pd.Series[str]":
    codes, distinct = pd.factorize(feature, use_na_sentinel=False)
    return pd.Series(np.array([_text(value) for value in distinct], dtype=object)[codes], dtype=object)


def _text(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    return f"{value:,.6g}" if isinstance(value, float | np.floating) else str(value)


def _pooled(levels: "pd.Series[str]", most: int) -> "pd.Series[str]":
    frequent = levels.value_counts().index
    if len(frequent) <= most:
        return levels
    rare = f"{len(frequent) - most + 1} other levels"
    return levels.where(levels.isin(frequent[: most - 1]), rare)


def _quantiles_by_level(levels: "pd.Series[str]", contribution: "pd.Series[float]") -> pd.DataFrame:
    grouped = pd.Series(contribution.to_numpy()).groupby(levels.to_numpy())
    table = pd.DataFrame({name: grouped.quantile(share) for name, share in QUANTILES.items()}).assign(n=grouped.size())
    return table.rename_axis("level").reset_index().sort_values("q50", kind="stable")
