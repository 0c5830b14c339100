"""What does a conformal threshold leave possible: an interval of amounts, or a set of labels?

Calibration and scoring cannot drift apart: the sets are made by the functions of `hi_ml.scorer.serving`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_ml.scorer import serving
from hi_ml.statistics import conformal

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class AmountIntervals:
    """Intervals of amounts."""

    low: Floats  # float64, shape (n,)
    high: Floats  # float64, shape (n,)

    def covers(self, target: Floats) -> Mask:
        """Tell which intervals hold the truth, shape (n,)."""
        return np.asarray((self.low <= target) & (target <= self.high))

    @property
    def size(self) -> Floats:
        """Width in the unit of the amounts, shape (n,)."""
        return np.asarray(self.high - self.low)

    def columns(self, _: list[str]) -> dict[str, NDArray[Any]]:
        """Lay out for a table of predictions."""
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True)
class LabelSets:
    """Sets of labels."""

    inside: Mask  # bool, shape (n, n_labels)

    def covers(self, target: Floats) -> Mask:
        """Tell which sets hold the truth, shape (n,)."""
        return self.inside[np.arange(len(target)), target.astype(np.int64)]

    @property
    def size(self) -> Floats:
        """Number of labels, shape (n,)."""
        return np.asarray(self.inside.sum(axis=1), dtype=float)

    def columns(self, labels: list[str]) -> dict[str, NDArray[Any]]:
        """Lay out for a table of predictions."""
        patterns, index = np.unique(self.inside, axis=0, return_inverse=True)
        joined = ["|".join(np.array(labels, dtype=object)[pattern]) for pattern in patterns]
        return {"prediction_set": np.array(joined, dtype=object)[index.ravel()]}


@dataclass(frozen=True)
class AmountForecast:
    """Predicted amounts with bounds of which it is not known yet how good they are."""

    prediction: Floats  # float64, shape (n,); the bounds are learned quantiles, or both the prediction
    low: Floats
    high: Floats
    whole: bool  # whether the truth counts whole units

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each truth, shape (n,)."""
        return conformal.amount_scores(target, self.prediction, self.low, self.high)

    def prediction_set(self, threshold: float | Floats) -> AmountIntervals:
        """Return the intervals of one threshold, or of one per row."""
        return AmountIntervals(*serving.widen(self.prediction, self.low, self.high, threshold, whole=self.whole))


@dataclass(frozen=True)
class ClassForecast:
    """Predicted probabilities of labels."""

    probabilities: Floats  # float64, shape (n, n_labels)

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each true label, shape (n,)."""
        return conformal.label_scores(target.astype(np.int64), self.probabilities)

    def prediction_set(self, threshold: float | Floats) -> LabelSets:
        """Return the sets of one threshold, or of one per row."""
        return LabelSets(serving.label_set(self.probabilities, threshold))


Forecast = AmountForecast | ClassForecast


@dataclass(frozen=True)
class Thresholds:
    """How far prediction sets reach: of all rows together, and of each level of a column apart."""

    all: float  # of every row without one of its own
    # float64, shape (n_levels,); infinite for a level of too few calibration groups, or that no training row has
    own: Floats
    groups: list[int]  # calibration groups behind the threshold of each level, all of them where it has none of its own

    @classmethod
    def of(cls, scores: Floats, codes: Codes, in_training: Mask, level: float) -> "Thresholds":
        """Calibrate.

        Parameters
        ----------
        scores : array of float64, shape (n,)
            Nonconformity of the calibration rows, one per group.
        codes : array of int64, shape (n,)
            Their levels; -1 where missing.
        in_training : array of bool, shape (n_levels,)
            Whether a training row has the level.
        level : float
            With which probability the sets hold the truth.
        """
        parts = [scores[codes == code] if present else scores[:0] for code, present in enumerate(in_training)]
        own = np.array([conformal.threshold(part, level) for part in parts], dtype=float)
        groups = [len(part if np.isfinite(q) else scores) for part, q in zip(parts, own, strict=True)]
        return cls(conformal.threshold(scores, level), own, groups)

    def of_rows(self, codes: Codes) -> Floats:
        """Look up the threshold of each row by its level, shape (n,); -1 stands for no level."""
        return np.append(np.where(np.isfinite(self.own), self.own, self.all), self.all)[codes]

    def describe(self) -> dict[str, Any]:
        """Lay out for JSON, as `hi_ml.scorer.serving` reads it."""
        own = [float(q) if np.isfinite(q) else None for q in self.own]
        return {"all": self.all, "levels": own or None}
