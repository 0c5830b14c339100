"""What does a conformal threshold leave possible: an interval of amounts, or a set of labels?

Calibration and scoring cannot drift apart: the sets are made by the functions of `hi_ml.scorer.serving`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_ml.scorer import serving
from hi_ml.statistics import conformal
from hi_ml.statistics.groups import Units

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

    prediction: Floats  # float64, shape (n,); the bounds are as `hi_ml.scorer.serving.outer` returns them
    low: Floats
    high: Floats
    whole: bool  # whether the truth counts whole units
    floor: float | None = None  # the smallest truth, where intervals shall know it

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each truth, shape (n,)."""
        return conformal.amount_scores(target, self.prediction, self.low, self.high)

    def prediction_set(self, threshold: float | Floats) -> AmountIntervals:
        """Return the intervals of one threshold, or of one per row."""
        bounds = self.prediction, self.low, self.high
        return AmountIntervals(*serving.widen(*bounds, threshold, whole=self.whole, floor=self.floor))

    def mean_width(self, target: Floats, level: float) -> float:
        """Return how wide intervals are on average that cover a share of these truths."""
        return float(self.prediction_set(conformal.threshold(self.scores(target), level)).size.mean())


@dataclass(frozen=True)
class ClassForecast:
    """Predicted probabilities of labels."""

    probabilities: Floats  # float64, shape (n, n_labels)

    def scores(self, target: Floats) -> Floats:
        """Return the nonconformity of each true label, shape (n,)."""
        return conformal.label_scores(target.astype(np.int64), self.probabilities)

    def prediction_set(self, threshold: float | Floats) -> LabelSets:
        """Return the sets of one threshold, of one per row or, shape (1, n_labels), of one per label."""
        return LabelSets(serving.label_set(self.probabilities, threshold))


Forecast = AmountForecast | ClassForecast


@dataclass(frozen=True)
class Thresholds:
    """How far prediction sets reach: of all rows together, and of each level of a column, or each label, apart."""

    all: float  # of every row without one of its own
    # float64, shape (n_levels,); infinite for a level of too few calibration units, or that no training row has
    own: Floats
    # independent calibration admissions (see `hi_ml.statistics.conformal.effective`) behind the threshold of all, and
    # behind that of each level: those of all where it has none of its own
    behind_all: int
    behind: list[int]

    @classmethod
    def of(
        cls, scores: Floats, units: Units, codes: Codes, in_training: Mask, *, level: float, fewest: int = 1
    ) -> "Thresholds":
        """Calibrate.

        Parameters
        ----------
        scores : array of float64, shape (n,)
            Nonconformity of the calibration admissions, copies counted once.
        units : Units
            Of the same rows.
        codes : array of int64, shape (n,)
            Their levels; -1 where missing.
        in_training : array of bool, shape (n_levels,)
            Whether a training row has the level.
        level : float
            With which probability the sets hold the truth.
        fewest : int
            Calibration admissions of a level from which on it gets a threshold of its own.
        """
        everyone = conformal.threshold(scores, level, len(units))
        least = conformal.fewest(level)
        behind_all = max(least, conformal.effective(units, scores <= everyone))
        own, behind = np.full(len(in_training), np.inf), [behind_all] * len(in_training)
        for code in np.flatnonzero(in_training):
            inside = codes == code
            part, some = scores[inside], units.only(inside)
            if len(part) >= fewest:
                own[code] = conformal.threshold(part, level, len(some))
            if np.isfinite(own[code]):
                behind[code] = max(least, conformal.effective(some, part <= own[code]))
        return cls(everyone, own, behind_all, behind)

    @property
    def of_levels(self) -> Floats:
        """The threshold of each level, shape (n_levels,)."""
        return np.where(np.isfinite(self.own), self.own, self.all)

    def of_rows(self, codes: Codes) -> Floats:
        """Look up the threshold of each row by its level, shape (n,); -1 stands for no level."""
        return np.append(self.of_levels, self.all)[codes]

    def describe(self) -> dict[str, Any]:
        """Lay out for JSON, as `hi_ml.scorer.serving` reads it."""
        own = [float(q) if np.isfinite(q) else None for q in self.own]
        return {"all": self.all, "levels": own or None}
