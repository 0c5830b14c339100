"""Do intervals hold the truth as often as they promise, and for whom not?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.app.text import number, percent
from hi_ml.evaluation.conformal import Codes, Floats, Mask
from hi_ml.statistics import conformal
from hi_ml.statistics.disclosure import withheld
from hi_ml.statistics.groups import Units

SCORES = ("coverage", "width", "set_size")  # judged against the level that was asked for, not by more or less
LABELS = "labels"  # the unit of the size of a set
_BAND = 0.95  # confidence of the band of coverages that chance alone explains
_NAMED = 3  # of those that are missed, in a sentence


@dataclass(frozen=True)
class Part:
    """Some of the test admissions."""

    by: str  # a column, or what else the admissions were cut by
    name: str
    inside: Mask  # bool, shape (n,)
    behind: int  # independent calibration admissions behind the threshold


@dataclass(frozen=True)
class Checked:
    """What the intervals, or sets of labels, of the test admissions turned out to be."""

    covered: Mask  # bool, shape (n,); whether the truth of the row that stands for its admission is inside
    size: Floats  # float64, shape (n,); width, or number of labels
    units: Units  # of these rows
    baseline_coverage: float  # of what knows nothing
    baseline_size: float  # its mean
    level: float  # the coverage that was asked for
    unit: str  # of the size

    def coverage(self, part: Part) -> float:
        """Return the share whose truth is inside."""
        return float(self.covered[part.inside].mean())

    def band(self, part: Part, *, confidence: float = _BAND) -> tuple[float, float]:
        """Bound the coverages that chance explains."""
        n = conformal.effective(self.units.only(part.inside), self.covered[part.inside])
        return conformal.coverage_band(part.behind, n, level=self.level, confidence=confidence)


@dataclass(frozen=True)
class Slices:
    """A cut through the test admissions."""

    by: str
    codes: Codes  # int64, shape (n,); positions in ``names``; what is outside is in no slice
    names: list[str]
    behind: list[int]  # independent calibration admissions behind the threshold of each

    def parts(self) -> Iterator[Part]:
        """Yield each slice that has rows."""
        for code, (name, behind) in enumerate(zip(self.names, self.behind, strict=True)):
            if (inside := self.codes == code).any():
                yield Part(self.by, name, inside, behind)


def scores(checked: Checked) -> pd.DataFrame:
    """Score coverage and size, laid out as by `hi_ml.evaluation.judgement.scores`; 95 % t intervals over units.

    The score of the size is ``width`` or, for sets of labels, ``set_size``. Best is a coverage at the level that was
    asked for, neither below nor above, and then a small size.
    """
    size = "set_size" if checked.unit == LABELS else "width"
    coverage, mean = (checked.units.ratio(values) for values in (checked.covered.astype(float), checked.size))
    ends = (max(0.0, coverage.low), min(1.0, coverage.high))  # a t interval does not know that shares end there
    rows = [
        ("coverage", "test", coverage.value, *ends, checked.baseline_coverage, "share"),
        (size, "test", mean.value, mean.low, mean.high, checked.baseline_size, checked.unit),
    ]
    return pd.DataFrame(rows, columns=["score", "part", "value", "low", "high", "baseline", "unit"])


def slice_table(checked: Checked, slices: Slices, *, behind: int, smallest: int = 1) -> pd.DataFrame:
    """Measure coverage and mean size of all test admissions, and of slices of them.

    Parameters
    ----------
    behind : int
        Independent calibration admissions behind the threshold of all.
    smallest : int
        Patients from which on a slice is told of.

    Returns
    -------
    DataFrame
        ``by, slice, n, coverage, low, high, level, size, baseline_size, unit``; low and high bound the coverages that
        chance explains, at 95 %. The first line is of all admissions; a slice without one has none.
    """
    everyone = Part("", "all", np.full(len(checked.covered), fill_value=True), behind)
    parts = list(slices.parts())
    sizes = np.array([len(checked.units.only(part.inside)) for part in parts], dtype=np.int64)
    shown = [part for part, out in zip(parts, withheld(sizes, smallest), strict=True) if not out]
    return pd.DataFrame([_line(checked, part) for part in (everyone, *shown)])


def sentence(checked: Checked) -> str:
    """Say what was reached."""
    coverage, size = scores(checked).to_dict("records")
    what, verb, wide = ("label sets", "hold", "") if checked.unit == LABELS else ("intervals", "are", " wide")
    counted = checked.units.describe(checked.units.design_effect(checked.covered.astype(float)))
    return (
        f"{100 * checked.level:g} % {what} cover {percent(coverage['value'])} % of the test part ({counted}; "
        f"95 % interval {percent(coverage['low'])} to {percent(coverage['high'])}); on average they {verb} "
        f"{number(size['value'], digits=3)} {checked.unit}{wide}, where knowing nothing takes "
        f"{number(size['baseline'], digits=3)} to cover {percent(coverage['baseline'])} %."
    )


def _line(checked: Checked, part: Part) -> dict[str, Any]:
    low, high = checked.band(part)
    return {
        "by": part.by,
        "slice": part.name,
        "n": int(part.inside.sum()),
        "coverage": checked.coverage(part),
        "low": low,
        "high": high,
        "level": checked.level,
        "size": float(checked.size[part.inside].mean()),
        "baseline_size": checked.baseline_size,
        "unit": checked.unit,
    }


def broken(checked: Checked, table: pd.DataFrame) -> str:
    """Say that the coverage lies below the level by more than chance explains; empty where it does not."""
    everyone = table.iloc[0]
    if everyone["coverage"] >= everyone["low"]:
        return ""
    what = "Label sets" if checked.unit == LABELS else "Intervals"
    return f"{what} do not keep their level: chance explains coverages from {percent(everyone['low'])} % on."


def missed(checked: Checked, parts: Iterable[Part]) -> list[Part]:
    """Return the parts that are covered less often than their simultaneous band (Bonferroni) allows, worst first."""
    parts = sorted(parts, key=checked.coverage)
    confidence = 1 - (1 - _BAND) / max(len(parts), 1)
    return [part for part in parts if checked.coverage(part) < checked.band(part, confidence=confidence)[0]]


def listed(checked: Checked, parts: Sequence[Part]) -> str:
    """Say of the first few how many of their truths are inside."""
    words = [
        f"{part.by} {part.name} ({percent(checked.coverage(part))} % of its {part.inside.sum():,} held)"
        for part in parts[:_NAMED]
    ]
    return ", ".join(words) + (f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else "")
