"""How often did intervals hold the truth, and how wide are they, against knowing nothing?

What does a conformal threshold leave possible: an interval of amounts, or a set of labels?

Calibration and scoring cannot drift apart: the regions are made by the functions of `hi_ml.scorer.serving`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.text import number, percent
from hi_ml.scorer import serving
from hi_ml.statistics import conformal
from hi_ml.statistics.groups import mean_interval

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
SCORES = ("coverage", "width", "set_size")  # judged against the level that was asked for, not by more or less
LABELS = "labels"  # the unit of the size of a set
BAND = 0.95  # confidence of the band of coverages that chance alone explains


@dataclass(frozen=True)
class Checked:
    """What the intervals, or sets of labels, of the test groups turned out to be."""

    held: Floats  # float64, shape (n_groups,); 1 where the truth of the row that stands for its group is inside, else 0
    size: Floats  # float64, shape (n_groups,); width, or number of labels
    nothing: tuple[float, float]  # coverage and mean size of what knows nothing
    level: float  # the coverage that was asked for
    unit: str  # of the size


@dataclass(frozen=True)
class Slices:
    """A cut through the test groups."""

    by: str
    codes: Codes  # int64, shape (n_groups,); places in ``names``; what is outside is in no slice
    names: list[str]
    calibrated: list[int]  # calibration groups behind the threshold of each


def scores(checked: Checked) -> pd.DataFrame:
    """Score coverage and size, laid out as by `hi_ml.modeling.judgement.scores`; 95 % t intervals over groups.

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


Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Intervals:
    """Intervals of amounts."""

    low: Floats  # float64, shape (n,)
    high: Floats  # float64, shape (n,)

    def hold(self, target: Floats) -> Floats:
        """Tell with 1 and 0 which intervals hold the truth, shape (n,)."""
        return ((self.low <= target) & (target <= self.high)).astype(float)

    @property
    def size(self) -> Floats:
        """Width in the unit of the amounts, shape (n,)."""
        return np.asarray(self.high - self.low)

    def columns(self, labels: list[str]) -> dict[str, NDArray[Any]]:
        """Lay out for a table of predictions."""
        del labels
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True)
class LabelSets:
    """Sets of labels."""

    inside: Mask  # bool, shape (n, n_labels)

    def hold(self, target: Floats) -> Floats:
        """Tell with 1 and 0 which sets hold the truth, shape (n,)."""
        return self.inside[np.arange(len(target)), target.astype(np.int64)].astype(float)

    @property
    def size(self) -> Floats:
        """Number of labels, shape (n,)."""
        return np.asarray(self.inside.sum(axis=1), dtype=float)

    def columns(self, labels: list[str]) -> dict[str, NDArray[Any]]:
        """Lay out for a table of predictions."""
        patterns, place = np.unique(self.inside, axis=0, return_inverse=True)
        joined = ["|".join(np.array(labels, dtype=object)[pattern]) for pattern in patterns]
        return {"prediction_set": np.array(joined, dtype=object)[place.ravel()]}


Region = Intervals | LabelSets


@dataclass(frozen=True)
class Amounts:
    """Predicted amounts with bounds of which it is not known yet how good they are."""

    prediction: Floats  # float64, shape (n,); the bounds are learned quantiles, or both the prediction
    low: Floats
    high: Floats
    whole: bool  # whether the truth counts whole units

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each truth, shape (n,)."""
        return conformal.amount_scores(target, self.prediction, self.low, self.high)

    def region(self, threshold: float | Floats) -> Intervals:
        """Return the intervals of one threshold, or of one per row."""
        return Intervals(*serving.widen(self.prediction, self.low, self.high, threshold, whole=self.whole))


@dataclass(frozen=True)
class Shares:
    """Predicted probabilities of labels."""

    shares: Floats  # float64, shape (n, n_labels)

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each true label, shape (n,)."""
        return conformal.label_scores(target.astype(np.int64), self.shares)

    def region(self, threshold: float | Floats) -> LabelSets:
        """Return the sets of one threshold, or of one per row."""
        return LabelSets(serving.label_set(self.shares, threshold))


Forecast = Amounts | Shares


@dataclass(frozen=True)
class Thresholds:
    """How far regions reach: of all rows together, and of each level of a column apart."""

    all: float  # of every row without one of its own
    # float64, shape (n_levels,); infinite for a level of too few calibration groups, or that no training row
    # held
    own: Floats
    groups: list[int]  # calibration groups behind the threshold of each level, all of them where it has none of its own

    @classmethod
    def of(cls, scores: Floats, codes: Codes, taught: Mask, level: float) -> "Thresholds":
        """Calibrate.

        Parameters
        ----------
        scores : array of float64, shape (n,)
            Nonconformity of the calibration rows, one per group.
        codes : array of int64, shape (n,)
            Their levels; -1 where missing.
        taught : array of bool, shape (n_levels,)
            Whether the training rows held a level.
        level : float
            With which probability the regions hold the truth.
        """
        parts = [scores[codes == code] if held else scores[:0] for code, held in enumerate(taught)]
        own = np.array([conformal.threshold(part, level) for part in parts], dtype=float)
        groups = [len(part if np.isfinite(q) else scores) for part, q in zip(parts, own, strict=True)]
        return cls(conformal.threshold(scores, level), own, groups)

    def of_rows(self, codes: Codes) -> Floats:
        """Look up the threshold of each row by its level, shape (n,); -1 stands for no level."""
        return np.append(np.where(np.isfinite(self.own), self.own, self.all), self.all)[codes]

    def described(self) -> dict[str, Any]:
        """Lay out for JSON, as `hi_ml.scorer.serving` reads it."""
        own = [float(q) if np.isfinite(q) else None for q in self.own]
        return {"all": self.all, "levels": own or None}
