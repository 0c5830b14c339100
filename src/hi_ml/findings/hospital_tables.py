"""Which hospitals stand out, once small ones are kept from doing so by luck? The tables of the charts."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.findings.aggregates import moments_of
from hi_ml.statistics.effect import Floats
from hi_ml.statistics.means import mean_limits
from hi_ml.statistics.shrinkage import funnel, shrunken
from hi_ml.statistics.variance_components import BetweenGroups

LEVELS = {"95": 0.95, "998": 0.998}
"""Warning and alarm limits of a funnel, by custom."""
POINTS = 60
"""Volumes at which the limits are drawn."""


def hospital_tables(table: pd.DataFrame, between: BetweenGroups, smallest_volume: int) -> dict[str, pd.DataFrame]:
    """Make the tables of the hospital charts.

    Parameters
    ----------
    table : DataFrame
        From `hospital_sums`.
    between : BetweenGroups
    smallest_volume : int
        Admissions from which a hospital is shown.

    Returns
    -------
    dict of str to DataFrame
        `hospital_funnel`: `hospital, n, mean, centre, low95, high95, low998, high998, outside95, outside998`, largest
        first. `funnel_limits`: the same limits over the volumes shown, `n, centre, low95 ...`. `hospital_effects`:
        `hospital, n, mean, mean_low, mean_high, effect, low, high`, by effect, in currency; every effect is 0 where
        the variance between hospitals is estimated as 0.
    """
    shown = table[table["n"] >= smallest_volume].sort_values("n", ascending=False, kind="stable")
    groups, centre = moments_of(shown), float(table["total"].sum() / table["n"].sum())
    mean_low, mean_high = mean_limits(groups)
    effect, low, high = shrunken(groups, between)
    hospitals = pd.DataFrame({"hospital": shown.index, "n": groups.n.astype(np.int64), "mean": groups.mean})
    limits = _limits(groups.n, centre, between.within)
    outside = {f"outside{name}": _outside(groups.mean, limits, name) for name in LEVELS}
    largest = max(float(groups.n.max(initial=0)), smallest_volume)
    volumes = np.unique(np.geomspace(smallest_volume, largest, POINTS).round())
    effects = hospitals.assign(mean_low=mean_low, mean_high=mean_high, effect=effect, low=low, high=high)
    return {
        "hospital_funnel": hospitals.assign(**limits, **outside),
        "funnel_limits": pd.DataFrame({"n": volumes.astype(np.int64), **_limits(volumes, centre, between.within)}),
        "hospital_effects": effects.sort_values("effect", kind="stable", ignore_index=True),
    }


def _limits(volumes: Floats, centre: float, within: float) -> dict[str, Floats]:
    limits = {"centre": np.full_like(volumes, centre)}
    for name, level in LEVELS.items():
        limits[f"low{name}"], limits[f"high{name}"] = funnel(volumes, centre=centre, within=within, level=level)
    return limits


def _outside(mean: Floats, limits: dict[str, Floats], name: str) -> NDArray[np.bool_]:
    return (mean < limits[f"low{name}"]) | (mean > limits[f"high{name}"])
