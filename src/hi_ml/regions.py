"""What does a conformal threshold leave possible: an interval of amounts, or a set of labels?

Calibration and scoring cannot drift apart: the regions are made by the functions of `hi_ml.serving`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_ml import serving
from hi_ml.statistics import conformal

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Intervals:
    """Intervals of amounts.

    Attributes
    ----------
    low, high : array of float64, shape (n,)
    """

    low: Floats
    high: Floats

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
    """Sets of labels.

    Attributes
    ----------
    inside : array of bool, shape (n, n_labels)
    """

    inside: Mask

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
    """Predicted amounts with bounds of which it is not known yet how good they are.

    Attributes
    ----------
    prediction, low, high : array of float64, shape (n,)
        The bounds are learned quantiles, or both the prediction.
    whole : bool
        Whether the truth counts whole units.
    """

    prediction: Floats
    low: Floats
    high: Floats
    whole: bool

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each truth, shape (n,)."""
        return conformal.amount_scores(target, self.prediction, self.low, self.high)

    def region(self, threshold: float | Floats) -> Intervals:
        """Return the intervals of one threshold, or of one per row."""
        return Intervals(*serving.bounded(self.prediction, self.low, self.high, threshold, whole=self.whole))


@dataclass(frozen=True)
class Shares:
    """Predicted probabilities of labels.

    Attributes
    ----------
    shares : array of float64, shape (n, n_labels)
    """

    shares: Floats

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each true label, shape (n,)."""
        return conformal.label_scores(target.astype(np.int64), self.shares)

    def region(self, threshold: float | Floats) -> LabelSets:
        """Return the sets of one threshold, or of one per row."""
        return LabelSets(serving.label_set(self.shares, threshold))


Forecast = Amounts | Shares


@dataclass(frozen=True)
class Thresholds:
    """How far regions reach: of all rows together, and of each level of a column apart.

    Attributes
    ----------
    all : float
        Of every row without one of its own.
    own : array of float64, shape (n_levels,)
        Infinite for a level of too few calibration groups, or that no training row held.
    groups : list of int
        Calibration groups behind the threshold of each level, all of them where it has none of its own.
    """

    all: float
    own: Floats
    groups: list[int]

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
        """Lay out for JSON, as `hi_ml.serving` reads it."""
        own = [float(q) if np.isfinite(q) else None for q in self.own]
        return {"all": self.all, "levels": own or None}
