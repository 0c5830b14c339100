"""What does the service say of the next days? Each stay by the model that is champion now, all of them as a board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.errors import ModelUnknown
from hi_ml.prediction.feed.census import NEVER, Days, Now, Rates, Stays, forecast
from hi_ml.prediction.feed.ledger import ward
from hi_ml.prediction.feed.log import ScoreRow
from hi_ml.prediction.feed.remaining import Law, hazards, staying
from hi_ml.prediction.feed.visits import Visit
from hi_ml.prediction.load import LoadedModel, load_model, version_of
from hi_ml.scorer import serving
from hi_ml.statistics.estimates import Floats

_EPOCH = date(1970, 1, 1)
_CURVE = 61  # days of a curve that is kept
_SATURDAY = 5
_LEAST = 1e-6  # chance, below which an end of a distribution is not shown
_ALL = "all"
_UNPROVEN = "Whether the model adds anything to counting, a replay says: python -m hi_ml.board evaluate=true dataset={}"


@dataclass
class Forecaster:
    """The outlook of a site."""

    dataset: str
    uri: str | None  # of the model; None: the champion of the dataset, if there is one
    counted: str  # class of the patients that the census counts
    horizons: Sequence[int]  # days ahead
    level: float  # with which probability intervals hold the census
    units: Sequence[str] | None  # on the board; None: all
    _model: LoadedModel | None = field(default=None, init=False)

    @property
    def model(self) -> str:
        """Which version predicts; empty where none does."""
        return self._model.uri if self._model else ""

    def refresh(self) -> None:
        """Take a new champion, if there is one; without any, all stays together tell.

        Raises
        ------
        HiMlError
            If the model that was asked for by its own name cannot be used.
        """
        uri = self.uri or f"models:/{self.dataset}.length_of_stay@champion"
        try:
            if version_of(uri) != self.model:
                self._model = load_model(uri)
        except ModelUnknown:
            if self.uri is not None:
                raise

    def score(self, visits: Sequence[Visit], position: int) -> list[ScoreRow]:
        """Predict stays; none of a visit whose cells break a rule of the table."""
        model = self._model
        rows = [] if model is None else [(visit, _answer(model.scorer, visit)) for visit in visits]
        return [
            ScoreRow(position, visit.visit, self.model, self._curve(*row), row[1], row[2]) for visit, row in rows if row
        ]

    def _curve(self, prediction: float, low: float, high: float) -> list[float]:
        chances = self._claimed.survival(np.array([prediction]), np.array([low]), np.array([high]), _CURVE)[0]
        return [float(chance) for chance in chances]

    @cached_property
    def _claimed(self) -> Law:
        return Law.claimed(self.level)

    def board(
        self, here: Sequence[Visit], scores: Mapping[str, ScoreRow], history: Sequence[Visit], at: datetime
    ) -> dict[str, Any]:
        """Say how many beds will be taken at the end of each of the next days, by unit and together."""
        past = [visit for visit in history if visit.patient_class == self.counted and visit.admitted]
        stays, today = _stays(past), _day(at)
        if not past:
            return {"verdict": "not yet known", "verdict_sentence": "Nobody was seen to come.", "horizons": []}
        rates, now = Rates.of(stays, today), _gone(past, at)
        shares = _shares(past)
        groups = {_ALL: list(here)} | {name: [v for v in here if ward(v) == name] for name in sorted(map(ward, here))}
        shown = {name: who for name, who in groups.items() if name == _ALL or self.units is None or name in self.units}
        laws = {
            name: self._law(who, scores, rates, today, now, 1.0 if name == _ALL else shares.get(name, 0.0))
            for name, who in shown.items()
        }
        leaving = self._leaving(here, scores, rates, today, now)
        return {
            "verdict": "not yet known",
            "verdict_sentence": _UNPROVEN.format(self.dataset),
            "model": self.model or None,
            "horizons": [self._horizon(days, at, laws, leaving) for days in self.horizons],
            "over": _over(here, scores, at),
        }

    def _hazard(self, who: Sequence[Visit], scores: Mapping[str, ScoreRow], rates: Rates) -> Floats:
        """The hazards of each, shape (n, size): of the model where it has said something, else of all stays."""
        size = len(rates.hazard)
        curves = np.zeros((len(who), size))
        for row, visit in zip(curves, who, strict=True):
            if visit.visit in scores:
                curve = scores[visit.visit].curve[:size]
                row[: len(curve)] = curve
        return hazards(curves, rates.hazard)

    def _law(
        self, who: Sequence[Visit], scores: Mapping[str, ScoreRow], rates: Rates, today: int, now: Now, share: float
    ) -> Floats:
        hazard, elapsed = self._hazard(who, scores, rates), _elapsed(who, today)
        return forecast(rates, hazard, elapsed, today=today, horizons=max(self.horizons), now=now, share=share)

    def _leaving(
        self, here: Sequence[Visit], scores: Mapping[str, ScoreRow], rates: Rates, today: int, now: Now
    ) -> Floats:
        """How many of those in house are expected to leave on each of the next days, shape (horizons,)."""
        hazard, elapsed, ahead = self._hazard(here, scores, rates), _elapsed(here, today), max(self.horizons)
        factor = rates.of_days(today, ahead)
        chances = [
            staying(hazard, elapsed, factors, before=now.gone, today=float(factor[0])).sum(axis=1)
            for factors in (np.zeros(1), factor[1:])
        ]
        return -np.diff(np.concatenate(chances))

    def _horizon(self, days: int, at: datetime, laws: Mapping[str, Floats], leaving: Floats) -> dict[str, Any]:
        then = at.date() + timedelta(days=days)
        return {
            "days": days,
            "date": then.isoformat(),
            "weekend": then.weekday() >= _SATURDAY,
            "units": {name: self._summary(law[days - 1]) for name, law in laws.items()},
            "discharges": round(float(leaving[days - 1]), 3),
        }

    def _summary(self, law: Floats) -> dict[str, Any]:
        levels = ((1 - self.level) / 2, 0.5, (1 + self.level) / 2)
        below = np.cumsum(law)
        shown = np.flatnonzero((below > _LEAST) & (below - law < 1 - _LEAST))
        return {
            "mean": round(float(law @ np.arange(len(law))), 3),
            "quantiles": {f"{level:.4g}": int(np.searchsorted(below, level)) for level in levels},
            "first": int(shown[0]),
            "distribution": [round(float(chance), 8) for chance in law[shown[0] : shown[-1] + 1]],
        }


def _answer(scorer: serving.Scorer, visit: Visit) -> tuple[float, float, float] | None:
    cells = {spec["source"]: visit.features.get(spec["role"]) for spec in serving.inputs(scorer.mapping["columns"])}
    try:
        answer = scorer.predict_row(cells)
    except ValueError:  # a rule is broken: an age of 150
        return None
    prediction = float(answer["prediction"])
    return prediction, float(answer.get("low", prediction)), float(answer.get("high", prediction))


def _day(moment: datetime) -> int:
    return (moment.date() - _EPOCH).days


def _stays(past: Sequence[Visit]) -> Stays:
    admitted = np.array([_day(visit.admitted) for visit in past if visit.admitted], dtype=np.int64)
    left = np.array([NEVER if v.discharged is None else _day(v.discharged) for v in past], dtype=np.int64)
    return Stays(admitted, np.maximum(left, admitted))


def _elapsed(who: Sequence[Visit], today: int) -> Days:
    days: NDArray[np.int64] = np.array([today - _day(v.admitted) if v.admitted else 0 for v in who], dtype=np.int64)
    return np.maximum(days, 0)


def _gone(past: Sequence[Visit], at: datetime) -> Now:
    """How much of the day's discharges and arrivals is over by this time of the day, as on other days."""
    gone = [visit.discharged.time() <= at.time() for visit in past if visit.discharged]
    come = [visit.admitted.time() <= at.time() for visit in past if visit.admitted]
    return Now(float(np.mean(gone)) if gone else 1.0, float(np.mean(come)) if come else 1.0)


def _shares(past: Sequence[Visit]) -> dict[str, float]:
    """Which part of all visits each unit has."""
    wards, counts = np.unique([ward(visit) for visit in past], return_counts=True)
    return dict(zip(wards.tolist(), (counts / counts.sum()).tolist(), strict=True))


def _over(here: Sequence[Visit], scores: Mapping[str, ScoreRow], at: datetime) -> list[dict[str, Any]]:
    """Who is there longer than was predicted, the longest first; by the beginnings of their keys."""
    late = [(visit.days(at), visit, scores[visit.visit].high) for visit in here if visit.visit in scores]
    rows = [
        {"visit": visit.visit[:8], "unit": ward(visit), "days": round(days, 1), "high": round(high, 1)}
        for days, visit, high in late
        if days > high
    ]
    return sorted(rows, key=lambda row: -float(row["days"]))
