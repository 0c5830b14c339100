"""Who is in house becomes the beds of the next days: what the service, and the command `board`, show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT, Files
from hi_ml.app.errors import ModelUnknown
from hi_ml.data.schema import Dataset
from hi_ml.prediction import drift
from hi_ml.prediction.feed import watch
from hi_ml.prediction.feed.backtest import COUNTING, MODEL, Predicted, backtest, extra_variance, methods
from hi_ml.prediction.feed.census import LONGEST, NEVER, Days, Now, Rates, Stays, forecast
from hi_ml.prediction.feed.laws import WEEK, Law, hazards, staying, weekday
from hi_ml.prediction.feed.ledger import ward
from hi_ml.prediction.feed.log import ScoreRow
from hi_ml.prediction.feed.settings import LogSettings, Zone
from hi_ml.prediction.feed.visits import Visit
from hi_ml.prediction.load import LoadedModel, load_model, version_of
from hi_ml.scorer.serving import Numbers, convert, inputs
from hi_ml.statistics.counts import moments, quantile, widen
from hi_ml.statistics.estimates import Floats

_EPOCH, _DAY = date(1970, 1, 1), timedelta(days=1)
_KNOWN = 60  # days of history before forecasts are widened by the errors of those before
_JUDGED, _REPLAYED = 180, 60  # days of history before the board is judged, and of them that are replayed for it
_RECENT = 90  # days in which the arrivals of a unit, and the hours of the day, are counted
_MOST_UNITS = 60
_SLOWEST = 0.05  # hazard of a day, at least, of whoever has outstayed the like
_NOBODY = 1e-6  # chance below which a number of beds is not written down
_REMEMBERED = 100_000  # predictions
_SOON = "not yet known"


@settings(frozen=True, config=STRICT)
class OutlookSettings:
    """What the service and its board are asked alike."""

    dataset: Dataset
    log: LogSettings
    zone: Zone  # of the site, for times without an offset; None: that of the machine
    counted: str  # class of the patients that the census counts
    model_uri: str | None  # None: the champion, or counting alone where there is none yet
    units: list[str] | None  # of the board; None: all
    horizons: list[Annotated[int, Field(ge=1, le=60)]]  # days ahead
    interval: Annotated[float, Field(gt=0, lt=1)]
    files: Files

    def outlook(self, **more: Any) -> "Forecaster":
        """Make the outlook, with the model that there is now; raises as its `refresh`."""
        uri = self.model_uri or f"models:/{self.dataset.name}.length_of_stay@champion"
        made = Forecaster(
            self.dataset, uri, self.horizons, self.interval, self.counted,
            required=self.model_uri is not None, units=self.units, **more,
        )  # fmt: skip
        made.refresh()
        return made


@dataclass(frozen=True)
class Today:
    """What is learned once a day."""

    since: tuple[Any, ...]  # on which day, by which model, from how many visits: twice as many tell more
    law: Law
    extra: Floats  # float64, shape (horizons,); variance of the census that independence leaves out
    level: float  # that intervals of stays aim at, so that they hold as many as they promise
    judged: dict[str, Any]  # verdict, verdict_sentence, coverage, alarms


@dataclass
class Forecaster:
    """The outlook of a site."""

    dataset: Dataset
    uri: str
    horizons: Sequence[int]
    interval: float  # with which probability intervals hold stays, and the census
    counted: str = "I"  # class of the patients that the census counts
    required: bool = True  # whether a model has to be there; else stays are counted as long as there is none
    units: Sequence[str] | None = None  # of the board; None: all
    smallest_gain: float = 0.02  # share of the CRPS of counting
    _model: LoadedModel | None = None
    _today: Today | None = None
    _predicted: dict[tuple[str, bytes], tuple[float, float, float]] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Which version predicts; empty where none does."""
        return self._model.uri if self._model else ""

    def refresh(self) -> None:
        """Take a new champion, if there is one; what was predicted before stays.

        Raises
        ------
        ModelUnknown, ModelRefused
            If there is no model, and there has to be one, or it may not be used.
        """
        try:
            version = version_of(self.uri)
            if self.model != version:
                self._model = load_model(version)
        except ModelUnknown:
            if self.required and self._model is None:
                raise

    def score(self, visits: Sequence[Visit], position: int) -> list[ScoreRow]:
        """Predict the whole stay of visits as they stand at a position of the log."""
        model = self._model
        if model is None:
            return []
        amounts = self._amounts(model, visits)
        law, level = (self._today.law, self._today.level) if self._today else (_claimed(model), None)
        prediction, low, high = amounts
        curves = law.survival(prediction, low, high, LONGEST)
        if level is not None:
            low, high = ((curves > 1 - share).sum(axis=1) for share in ((1 - level) / 2, (1 + level) / 2))
        rows = []
        for visit, middle, curve, *ends in zip(visits, prediction, curves, low, high, strict=True):
            if not np.isnan(middle):
                some = curve[: int((curve > _NOBODY).sum()) + 1].round(5).tolist()
                rows.append(ScoreRow(position, visit.visit, model.uri, some, float(ends[0]), float(ends[1])))
        return rows

    def board(
        self, here: Sequence[Visit], scores: Mapping[str, ScoreRow], history: Sequence[Visit], at: datetime
    ) -> dict[str, Any]:
        """Say how many beds will be taken, as plain values.

        Parameters
        ----------
        here : sequence of Visit
            Whoever the census counts.
        history : sequence of Visit
            Whoever was in house in the last year, of any class.
        """
        model, day, most = self._model, _number(at), max(self.horizons)
        history = [visit for visit in history if visit.admitted and visit.patient_class == self.counted]
        stays = _stays(history)
        today = self._learn(model, history, stays, day, most)
        rates = Rates.of(stays, day - 1)
        elapsed = np.array([max(0, day - _number(visit.admitted or at)) for visit in here], dtype=np.int64)
        own = self._hazards(model, here, today.law, rates)
        now = _now(history, at)
        wards = np.array([ward(visit) for visit in here], dtype=object)
        shares = _shares(history, at)
        laws = {"all": widened(forecast(rates, own, elapsed, today=day, horizons=most, now=now), today.extra)}
        for name in self._names(wards, shares):
            inside, share = wards == name, shares.get(name, 0.0)
            law = forecast(rates, own[inside], elapsed[inside], today=day, horizons=most, now=now, share=share)
            laws[name] = widened(law, today.extra * share**2)
        gone = self._discharges(rates, own, elapsed, laws["all"], day=day, now=now)
        high = {visit.visit: scores[visit.visit].high for visit in here if visit.visit in scores}
        over = [
            {"visit": visit.visit[:8], "unit": ward(visit), "days": round(visit.days(at), 1), "high": high[visit.visit]}
            for visit in here
            if visit.visit in high and visit.days(at) > high[visit.visit]
        ]
        days = [self._said(laws, ahead, float(gone[ahead - 1]), at) for ahead in self.horizons]
        return {**today.judged, "model": model.uri if model else None, "horizons": days, "over": over}

    def _hazards(self, model: LoadedModel | None, here: Sequence[Visit], law: Law, rates: Rates) -> Floats:
        """The hazards of each, by the model; those of all stays where there is none, or it cannot tell."""
        everyone = np.pad(rates.hazard, (0, LONGEST - len(rates.hazard)), mode="edge")
        own = np.broadcast_to(everyone, (len(here), LONGEST))
        if model is None or not len(here):
            return own
        prediction, low, high = self._amounts(model, here)
        curves = law.survival(prediction, low, high, LONGEST)
        strange = np.isnan(prediction)[:, None]
        return np.where(strange, own, hazards(np.nan_to_num(curves), np.maximum(everyone, _SLOWEST)))

    def _said(self, laws: Mapping[str, Floats], ahead: int, gone: float, at: datetime) -> dict[str, Any]:
        coming = at.date() + ahead * _DAY
        units = {name: _describe(law[ahead - 1], self.interval) for name, law in laws.items()}
        return {
            "days": ahead,
            "date": coming.isoformat(),
            "weekend": coming.weekday() >= WEEK - 2,
            "units": units,
            "discharges": round(gone, 2),
        }

    def _names(self, wards: Any, shares: Mapping[str, float]) -> list[str]:
        if self.units is not None:
            return list(self.units)
        fullest = Counter({**shares, **Counter(wards.tolist())}).most_common(_MOST_UNITS)
        return sorted(name for name, _ in fullest)

    @staticmethod
    def _discharges(rates: Rates, own: Floats, elapsed: Days, law: Floats, *, day: int, now: Now) -> Floats:
        """The mean discharges of each next day: who was there and came, less who is there at its end."""
        factor = float(rates.weekdays[weekday(day)])
        tonight = staying(own, elapsed, np.zeros(1), before=now.gone, today=factor).sum() if len(elapsed) else 0.0
        mean, coming = moments(law)[0], rates.arrivals.mean[weekday(day + np.arange(len(law) + 1))]
        before = np.append(tonight + coming[0] * (1 - now.come), mean[:-1])
        return np.maximum(before + coming[1:] - mean, 0.0)

    def _learn(self, model: LoadedModel | None, history: Sequence[Visit], stays: Stays, day: int, most: int) -> Today:
        """Learn once a day how stays lie around predictions, what the board has missed, and what to look at."""
        name = model.uri if model else ""
        since = (day, name, len(history).bit_length())
        if self._today is not None and self._today.since == since:
            return self._today
        claimed = _claimed(model) if model else Law.claimed(self.interval)
        if model is not None:
            prediction, low, high = self._amounts(model, history)
        else:
            prediction, low, high = np.full((3, len(history)), np.nan)
        predicted = Predicted(prediction, low, high, new=~np.isnan(high), claimed=claimed)
        way, extra, span = COUNTING, np.zeros(most), day - stays.first if len(history) else 0
        if model is not None and predicted.new.all():
            way = MODEL
        if span > _KNOWN:
            extra = extra_variance(methods(stays, predicted, most)[way], stays, day, most)
        judged: dict[str, Any] = {"verdict": _SOON, "verdict_sentence": "", "coverage": None, "alarms": []}
        if way == COUNTING:
            judged["verdict_sentence"] = "No model predicts these stays: all are counted alike."
        elif span > _JUDGED:
            replay = backtest(
                stays, predicted, cut=day - _REPLAYED - most, last=day - 1, horizons=self.horizons,
                level=self.interval, smallest_gain=self.smallest_gain,
            )  # fmt: skip
            judged |= {"verdict": replay.verdict, "verdict_sentence": replay.sentence}
        else:
            judged["verdict_sentence"] = f"The board is judged from {_JUDGED} days of history on; there are {span}."
        level, alarms = self.interval, [watch.watch_stays(stays, day - 1)] if len(history) else []
        law = predicted.law(stays, day - 1)
        if predicted.new.any():
            new = Stays(stays.admitted[predicted.new], stays.left[predicted.new])
            misses, counts = watch.misses_by_week(new, low[predicted.new], high[predicted.new], day - 1)
            sentence, alarm = watch.tell_coverage(misses, counts, self.interval)
            judged["coverage"] = {"sentence": sentence}
            alarms.append(alarm)
            level = watch.adapted_level(self.interval, misses)
        if model is not None and (profile := drift.load(model.folder)):
            here = watch.is_recent(stays.admitted, day - 1)
            recent = [visit for visit, of_late in zip(history, here, strict=True) if of_late]
            told = [visit for visit in recent if _numbers(model, [_cells(model, visit)]) is not None]
            numbers = _numbers(model, [_cells(model, visit) for visit in told])
            alarms += watch.watch_columns(profile, drift.count_rows(profile, numbers)) if numbers else []
        judged["alarms"] = [{"name": one.name, "sentence": one.sentence} for one in alarms if one]
        self._today = Today(since, law, extra, level, judged)
        return self._today

    def _amounts(self, model: LoadedModel, visits: Sequence[Visit]) -> Floats:
        """Prediction, low and high bound in nights, shape (3, n); NaN where nothing can be predicted."""
        known = self._predicted = {} if len(self._predicted) > _REMEMBERED else self._predicted
        keys = [(model.uri, _digest(visit)) for visit in visits]
        new = {key: visit for key, visit in zip(keys, visits, strict=True) if key not in known}
        if new:
            amounts = self._ask(model, list(new.values()))
            known.update(zip(new, map(tuple, amounts.T.tolist()), strict=True))
        return np.array([known[key] for key in keys]).reshape(-1, 3).T

    def _ask(self, model: LoadedModel, visits: Sequence[Visit]) -> Floats:
        scorer, rows = model.scorer, [_cells(model, visit) for visit in visits]
        numbers = _numbers(model, rows)
        if numbers is None:  # of some hardly anything is known: they are not predicted
            return (
                np.hstack([self._ask(model, [one]) for one in visits]) if len(visits) > 1 else np.full((3, 1), np.nan)
            )
        answer = scorer.answer(scorer.encode(numbers), numbers)
        bounds = ("prediction", "low", "high") if "low" in answer.column_names else ("prediction",) * 3
        nights = np.array([answer[name].to_numpy() for name in bounds])
        return nights - float(self.dataset.stay == "inclusive")


def _numbers(model: LoadedModel, rows: Sequence[dict[str, Any]]) -> dict[str, Numbers] | None:
    """Read rows as the scorer does, without the cells that cannot be believed; None where one tells hardly anything."""
    few, columns = model.scorer.few, {source: [row[source] for row in rows] for source in (rows or [{}])[0]}
    numbers = few(columns) if rows else None
    if rows and numbers is None:
        for spec in inputs(model.scorer.mapping["columns"]):
            cells = columns[spec["source"]]
            strange = {cell for cell in {*cells} - {None} if convert(pa.array([cell]), spec)[1]}
            columns[spec["source"]] = [None if cell in strange else cell for cell in cells]
        numbers = few(columns)
    return numbers


def _cells(model: LoadedModel, visit: Visit) -> dict[str, Any]:
    """What is known of a visit, by the columns of the model's table."""
    cells: dict[str, Any] = {}
    for spec in inputs(model.scorer.mapping["columns"]):
        is_admission = spec["role"] == "admitted_on" and visit.admitted is not None
        cells[spec["source"]] = (
            visit.admitted.date() if is_admission and visit.admitted else visit.features.get(spec["role"])
        )
    return cells


def _digest(visit: Visit) -> bytes:
    """All that a model may know of a visit: a hundred thousand of these are remembered."""
    day = visit.admitted and visit.admitted.date()
    return blake2b(repr((day, sorted(visit.features.items()))).encode(), digest_size=16).digest()


def _claimed(model: LoadedModel) -> Law:
    interval = model.scorer.mapping.get("interval") or {"level": 0.9}
    return Law.claimed(float(interval["level"]), from_floor=len(model.scorer.bounds or ()) == 1)


def widened(laws: Floats, extra: Floats) -> Floats:
    """Widen the distributions of each next day by a variance of its own; shape (horizons, some size)."""
    parts = [widen(law, float(variance)) for law, variance in zip(laws, extra, strict=True)]
    size = max(map(len, parts))
    return np.array([np.pad(part, (0, size - len(part))) for part in parts])


def _describe(law: Floats, level: float) -> dict[str, Any]:
    likely = np.flatnonzero(law > _NOBODY)
    first, last = (int(likely[0]), int(likely[-1])) if len(likely) else (0, 0)
    shares = ((1 - level) / 2, 0.5, (1 + level) / 2)
    return {
        "mean": round(float(moments(law)[0]), 3),
        "quantiles": {f"{share:.4g}": int(quantile(law, share)) for share in shares},
        "first": first,
        "distribution": law[first : last + 1].round(7).tolist(),
    }


def _number(moment: datetime) -> int:
    return moment.date().toordinal() - _EPOCH.toordinal()


def _stays(history: Sequence[Visit]) -> Stays:
    admitted = [_number(visit.admitted) for visit in history if visit.admitted]
    left = [_number(visit.discharged) if visit.discharged else NEVER for visit in history if visit.admitted]
    return Stays(np.array(admitted, dtype=np.int64), np.array(left, dtype=np.int64))


def _now(history: Sequence[Visit], at: datetime) -> Now:
    """How far today has gone, by the hours of those who came and went of late."""
    past = at - timedelta(seconds=_RECENT * 86_400)

    def share(moments: Sequence[datetime]) -> float:
        seconds = [moment.hour * 3600 + moment.minute * 60 + moment.second for moment in moments if moment > past]
        now = at.hour * 3600 + at.minute * 60 + at.second
        if not any(seconds):  # dates without an hour
            return now / 86_400
        return float(np.mean(np.array(seconds) <= now))

    return Now(
        gone=share([visit.discharged for visit in history if visit.discharged]),
        come=share([visit.admitted for visit in history if visit.admitted]),
    )


def _shares(history: Sequence[Visit], at: datetime) -> dict[str, float]:
    """Of the arrivals of late, by unit."""
    past = at - timedelta(seconds=_RECENT * 86_400)
    names, counts = np.unique(
        [ward(visit) for visit in history if visit.admitted and visit.admitted > past], return_counts=True
    )
    return dict(zip(names.tolist(), (counts / counts.sum()).tolist(), strict=True))
