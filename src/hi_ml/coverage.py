"""How often did intervals hold the truth, and how wide are they, against knowing nothing?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.statistics import conformal
from hi_ml.statistics.grouped import mean_interval
from hi_ml.wording import number, percent

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
SCORES = ("coverage", "width", "set_size")  # judged against the level that was asked for, not by more or less
LABELS = "labels"  # the unit of the size of a set
BAND = 0.95  # confidence of the band of coverages that chance alone explains


@dataclass(frozen=True)
class Checked:
    """What the intervals, or sets of labels, of the test groups turned out to be.

    Attributes
    ----------
    held : array of float64, shape (n_groups,)
        1 where the truth of the row that stands for its group is inside, else 0.
    size : array of float64, shape (n_groups,)
        Width, or number of labels.
    nothing : (float, float)
        Coverage and mean size of what knows nothing.
    level : float
        The coverage that was asked for.
    unit : str
        Of the size.
    """

    held: Floats
    size: Floats
    nothing: tuple[float, float]
    level: float
    unit: str


@dataclass(frozen=True)
class Slices:
    """A cut through the test groups.

    Attributes
    ----------
    by : str
    codes : array of int64, shape (n_groups,)
        Places in ``names``; what is outside is in no slice.
    names : list of str
    calibrated : list of int
        Calibration groups behind the threshold of each.
    """

    by: str
    codes: Codes
    names: list[str]
    calibrated: list[int]


def scores(checked: Checked) -> pd.DataFrame:
    """Score coverage and size, laid out as by `hi_ml.scoring.scores`; 95 % t intervals over groups.

    The score of the size is ``width`` or, for sets of labels, ``set_size``. Best is a coverage at the level that was
    asked for, neither below nor above, and then a small size.
    """
    size = "set_size" if checked.unit == LABELS else "width"
    parts = [("coverage", checked.held, "share"), (size, checked.size, checked.unit)]
    found = [(name, mean_interval(values), unit) for name, values, unit in parts]
    rows = [
        (name, "test", one.value, one.low, one.high, nothing, unit)
        for (name, one, unit), nothing in zip(found, checked.nothing, strict=True)
    ]
    return pd.DataFrame(rows, columns=["score", "part", "value", "low", "high", "baseline", "unit"])


def table(checked: Checked, slices: Slices, *, calibrated: int) -> pd.DataFrame:
    """Measure coverage and mean size of all test groups, and of slices of them.

    Parameters
    ----------
    checked : Checked
    slices : Slices
    calibrated : int
        Calibration groups behind the threshold of all.

    Returns
    -------
    DataFrame
        ``by, slice, n, coverage, low, high, level, size, baseline_size, unit``; low and high bound the coverages that
        chance explains, at 95 %. The first line is of all groups; a slice without a group has none.
    """
    return pd.DataFrame(_lines(checked, slices, calibrated))


def sentence(checked: Checked) -> str:
    """Say what was reached."""
    coverage, size = scores(checked).to_dict("records")
    what, verb, wide = ("label sets", "hold", "") if checked.unit == LABELS else ("intervals", "are", " wide")
    return (
        f"{100 * checked.level:g} % {what} cover {percent(coverage['value'])} % of the test groups (95 % interval "
        f"{percent(coverage['low'])} to {percent(coverage['high'])}); on average they {verb} "
        f"{number(size['value'], digits=3)} {checked.unit}{wide}, where knowing nothing takes "
        f"{number(size['baseline'], digits=3)} to cover {percent(coverage['baseline'])} %."
    )


def _lines(checked: Checked, slices: Slices, calibrated: int) -> Iterator[dict[str, Any]]:
    everyone = np.full(len(checked.held), fill_value=True)
    parts = [("", "all", everyone, calibrated)]
    parts += [
        (slices.by, name, slices.codes == code, groups)
        for code, (name, groups) in enumerate(zip(slices.names, slices.calibrated, strict=True))
    ]
    for by, name, inside, groups in parts:
        n = int(inside.sum())
        if not n:
            continue
        low, high = conformal.coverage_band(groups, n, level=checked.level, confidence=BAND)
        yield {
            "by": by,
            "slice": name,
            "n": n,
            "coverage": float(checked.held[inside].mean()),
            "low": low,
            "high": high,
            "level": checked.level,
            "size": float(checked.size[inside].mean()),
            "baseline_size": checked.nothing[1],
            "unit": checked.unit,
        }
