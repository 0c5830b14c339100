"""A hospital's feed whose truth is known: who comes and goes on which day, and the messages that say so."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from hi_ml.app.files import atomic
from hi_ml.data.simulation.admissions import draw_admissions
from hi_ml.data.simulation.process import planted_process
from hi_ml.data.simulation.simulate import FIRST_DAY, Simulated, write_table
from hi_ml.data.simulation.truth import coefficients
from hi_ml.data.simulation.vocabulary import CONDITIONS, hospital_names
from hi_ml.statistics.estimates import Floats

PER_DAY = 27.4
"""Mean arrivals of a day."""
UNITS = 8
_MONDAY, _SATURDAY = 0, 5
_ADMITTED, _DISCHARGED = (6 * 60, 23 * 60), (9 * 60, 18 * 60)
"""Minutes of the day between which people come, and go."""
_CORRECTED, _CANCELLED, _TAKEN_BACK, _MERGED, _MOVED = 0.03, 0.01, 0.01, 0.01, 0.15
"""Shares of visits whose condition is corrected, whose like is cancelled, whose discharge is taken back at first, whose
patient gets another number, and who change the unit."""
_AT_HOME = 0.8  # share of the visits that go to the unit of their condition
_TYPES = {"Elective": "R", "Emergency": "E", "Urgent": "U", None: ""}


@dataclass(frozen=True)
class Rhythm:
    """What days have in common for all who come and go on them."""

    arrivals: tuple[float, ...]  # by weekday from Monday, relative to the mean of all days
    spread: float  # variance of a factor, gamma with mean 1, of each day's arrivals
    deferred: float  # chance that a discharge due at a weekend is put off to Monday
    shocks: float  # share of the days on which discharges slip
    slip: float  # chance then, for each that is due, to be due the next day


RHYTHMS = {
    "plain": Rhythm((1.0,) * 7, 0.0, 0.0, 0.0, 0.0),
    "hard": Rhythm((1.14, 1.1, 1.1, 1.1, 1.06, 0.75, 0.75), 0.036, 0.6, 0.1, 0.7),
}
"""``hard``: arrivals whose variance is 2.7 times their mean, weekends, and days on which most discharges slip."""


@dataclass(frozen=True)
class Stream:
    """What came and went, and the messages of it."""

    simulated: Simulated  # the visits: a discharge after the last day is missing in its table
    # one row a visit, in the order of admission: `admitted`, `planned` and `left` (days from the first day), `mean`
    # (days, of the law of the planned stay), `unit` when admitted, and the moments `came` and `went`
    visits: pd.DataFrame
    rhythm: Rhythm
    shocks: NDArray[np.bool_]  # shape (days + slack,); on which days discharges slipped
    days: int  # that the feed lasts
    messages: list[tuple[datetime, str]]  # in order of time


def stream(
    scenario: str = "plain", rows: int = 55_500, *, seed: int = 0, effect: float = 2.0, hospitals: int | None = None
) -> Stream:
    """Simulate a feed of so many visits, at 27.4 a day.

    Parameters
    ----------
    scenario : {"plain", "hard"}
        Of `RHYTHMS`.
    effect : float
        As for `hi_ml.data.simulation.simulate` with its scenario ``planted``, which says how long people stay.
    hospitals : int, optional
        One if not given.

    Raises
    ------
    ValueError
        If there is no such scenario, or a number is out of range.
    """
    if scenario not in RHYTHMS:
        raise ValueError(f"The scenario of a stream must be plain or hard; found {scenario!r}. Choose one of them.")
    if rows < 1 or seed < 0:
        raise ValueError(f"A stream takes at least one visit and a seed from 0; found {rows} and {seed}.")
    rhythm, count = RHYTHMS[scenario], hospitals or 1
    effects, naming, admitting, writing, coming, going, saying = SeedSequence(seed).spawn(7)
    process = planted_process(effect, count, default_rng(effects))
    names = tuple(hospital_names(count, default_rng(naming)))
    admissions = draw_admissions(process, rows, admitting).assign(patient=np.arange(rows))
    admissions["admitted"] = _arrivals(rhythm, rows, default_rng(coming))
    days = int(admissions["admitted"].iloc[-1]) + 1
    planned = admissions["stay"].to_numpy() + admissions["admitted"].to_numpy()
    left, shocks = _departures(rhythm, planned, default_rng(going))
    codes = (admissions[name].to_numpy() for name in ("age", "condition", "admission_type", "medication"))
    mean = process.stay.mean(*codes)
    admissions["stay"] = left - admissions["admitted"]
    table = write_table(admissions, names, writing)
    table = table.set_column(
        table.column_names.index("Discharge Date"), "Discharge Date", _until(table["Discharge Date"], left < days)
    )
    rng = default_rng(saying)
    visits = pd.DataFrame({"admitted": admissions["admitted"], "planned": planned, "left": left, "mean": mean})
    unit = np.where(rng.random(rows) < _AT_HOME, admissions["condition"] % UNITS, rng.integers(UNITS, size=rows))
    visits["unit"] = [f"W{number + 1}" for number in unit]
    visits["came"], visits["went"] = _moments(visits["admitted"], _ADMITTED, rng), _moments(left, _DISCHARGED, rng)
    simulated = Simulated(table, np.arange(rows), admissions["patient"].to_numpy(), admissions, names, process, seed)
    end = datetime.combine(FIRST_DAY, datetime.min.time()) + timedelta(days=days)
    messages = [(at, text) for at, text in _messages(visits, table, rng) if at < end]
    messages.sort(key=lambda message: message[0])
    return Stream(simulated, visits, rhythm, shocks, days, messages)


def write_stream(simulated: Stream, output: Path) -> list[Path]:
    """Write the feed, and beside it its visits as a table and what they were drawn from.

    Parameters
    ----------
    output : Path
        ``<stem>.hl7``; segments end with CR, messages with LF. Beside it go ``<stem>.csv``, the fifteen columns and
        ``Visit`` and ``Unit``, and ``<stem>.truth.json``. Missing folders are made.
    """
    table = simulated.simulated.table.append_column("Visit", pa.array(_numbers("V", len(simulated.visits))))
    table = table.append_column("Unit", pa.array(simulated.visits["unit"].tolist()))
    truth = {
        "rhythm": asdict(simulated.rhythm),
        "days": simulated.days,
        "first_day": FIRST_DAY.isoformat(),
        "days_on_which_discharges_slipped": np.flatnonzero(simulated.shocks[: simulated.days]).tolist(),
        "census": census(simulated).tolist(),
        "coefficients": coefficients(simulated.simulated),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    paths = [output, output.with_suffix(".csv"), output.with_suffix(".truth.json")]
    with ExitStack() as whole:
        feed, visits, facts = (whole.enter_context(atomic(path)) for path in paths)
        feed.write_text("".join(f"{text}\n" for _, text in simulated.messages), encoding="utf-8", newline="")
        pv.write_csv(table, visits)
        facts.write_text(json.dumps(truth, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return paths


def census(simulated: Stream) -> NDArray[np.int64]:
    """Count who is in house at the end of each day, shape (days,)."""
    ends = [np.bincount(simulated.visits[end], minlength=simulated.days) for end in ("admitted", "left")]
    return np.cumsum(ends[0][: simulated.days] - ends[1][: simulated.days])


def _arrivals(rhythm: Rhythm, rows: int, rng: Generator) -> NDArray[np.int64]:
    """The days of so many arrivals, in order."""
    most = int(rows / PER_DAY * 1.5) + 60
    rates = PER_DAY * np.array(rhythm.arrivals)[weekday(np.arange(most))]
    if rhythm.spread:
        rates = rates * rng.gamma(1 / rhythm.spread, rhythm.spread, most)
    return np.repeat(np.arange(most), rng.poisson(rates))[:rows]


def weekday(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """The weekdays of days from the first day; 0 is Monday."""
    return (np.asarray(days) + FIRST_DAY.weekday()) % 7


def _departures(
    rhythm: Rhythm, planned: NDArray[np.int64], rng: Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The days on which people leave, and the days on which discharges slip."""
    left = planned.copy()
    late = (weekday(left) >= _SATURDAY) & (rng.random(len(left)) < rhythm.deferred)
    left[late] += 7 - weekday(left[late])
    shocks = rng.random(int(left.max()) + 60) < rhythm.shocks
    slips = np.flatnonzero(shocks[left])
    while len(slips := slips[rng.random(len(slips)) < rhythm.slip]):
        left[slips] += 1
        slips = slips[shocks[left[slips]]]
    return left, shocks


def _until(dates: pa.ChunkedArray, known: NDArray[np.bool_]) -> pa.Array:
    return pa.array(np.where(known, dates.to_numpy().astype("datetime64[D]"), np.datetime64("NaT")), pa.date32())


def _moments(days: Any, between: tuple[int, int], rng: Generator) -> NDArray[np.datetime64]:
    minutes = np.asarray(days) * 24 * 60 + rng.integers(*between, len(days))
    return np.datetime64(FIRST_DAY, "s") + minutes.astype("timedelta64[m]")


def _numbers(letter: str, count: int) -> list[str]:
    return [f"{letter}{number:07d}" for number in range(1, count + 1)]


@dataclass(frozen=True)
class _Visit:
    """What the messages of a visit repeat."""

    number: str
    patient: str
    name: str
    born: str
    sex: str
    condition: str
    insurer: str
    kind: str
    hospital: str
    came: datetime

    def message(
        self, trigger: str, at: datetime, unit: str, *, went: datetime | None = None, merged: str = ""
    ) -> tuple[datetime, str]:
        stamp, (given, _, family) = f"{at:%Y%m%d%H%M%S}", self.name.partition(" ")
        control = f"{self.number}{trigger}{stamp}"
        pv1 = ["1", "I", f"{unit}^^^{self.hospital}", self.kind, *[""] * 14, self.number, *[""] * 24]
        pv1 += [f"{self.came:%Y%m%d%H%M%S}", f"{went:%Y%m%d%H%M%S}" if went else ""]
        lines = [
            f"MSH|^~\\&|SIM|{self.hospital}|HI_ML|LIVE|{stamp}||ADT^{trigger}|{control}|P|2.5||||||UNICODE UTF-8",
            f"EVN||{stamp}",
            f"PID|1||{self.patient}^^^SITE^MR||{family}^{given}||{self.born}|{self.sex}",
        ]
        if merged:
            lines.append(f"MRG|{merged}^^^SITE^MR")
        else:
            lines += [f"PV1|{'|'.join(pv1)}", f"DG1|1||{self.condition}"]
            lines.append(f"IN1|1|PLAN|COMPANY|{self.insurer}")
        return at, "\r".join([*lines, ""])


def _messages(visits: pd.DataFrame, table: pa.Table, rng: Generator) -> Iterator[tuple[datetime, str]]:
    """All messages, visit by visit."""
    numbers = _numbers("V", len(visits)), _numbers("P", len(visits))
    names = ("Name", "Age", "Gender", "Medical Condition", "Insurance Provider", "Admission Type", "Hospital")
    cells = (table[name].to_pylist() for name in names)
    ends = (visits["came"].dt.to_pydatetime(), visits["went"].dt.to_pydatetime())
    chances, draws = rng.random((len(visits), 5)), rng.random((len(visits), 4))
    rows = zip(*numbers, *cells, *ends, visits["unit"], chances, draws, strict=True)
    for number, patient, name, age, sex, condition, insurer, kind, hospital, came, went, unit, chance, draw in rows:
        born = came.replace(year=came.year - age, day=min(came.day, 28)) - timedelta(days=int(draw[0] * 330))
        visit = _Visit(
            number, patient, name, f"{born:%Y%m%d}", sex[0], condition, insurer, _TYPES[kind], hospital, came
        )
        yield from _course(visit, went, unit, chance, draw)


def _course(visit: _Visit, went: datetime, unit: str, chance: Floats, draw: Floats) -> Iterator[tuple[datetime, str]]:
    """The messages of one visit, and of one that never was."""
    corrected, cancelled, taken_back, merged, moved = chance < (_CORRECTED, _CANCELLED, _TAKEN_BACK, _MERGED, _MOVED)
    hours, came, other = timedelta(hours=0.2 + 2 * draw[1]), visit.came, f"W{1 + int(draw[2] * UNITS)}"
    wrong = CONDITIONS[int(draw[3] * len(CONDITIONS))] if corrected else visit.condition
    temporary = f"T{visit.patient[1:]}" if merged else visit.patient
    yield replace(visit, condition=wrong, patient=temporary).message("A01", came, unit)
    if corrected:
        yield replace(visit, patient=temporary).message("A08", came + hours, unit)
    if merged:
        yield visit.message("A40", came + 2 * hours, unit, merged=temporary)
    if cancelled:
        ghost = replace(visit, number=f"X{visit.number[1:]}", patient=f"X{visit.patient[1:]}")
        yield ghost.message("A01", came, unit)
        yield ghost.message("A11", came + hours, unit)
    between = came + (went - came) * (0.3 + 0.3 * draw[2])
    if taken_back:
        yield visit.message("A03", between, unit, went=between)
        yield visit.message("A13", between + timedelta(minutes=9), unit)
    if moved:
        yield visit.message("A02", between + timedelta(minutes=20), other)
    yield visit.message("A03", went, other if moved else unit, went=went)
