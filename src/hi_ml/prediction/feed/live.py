"""What stands behind every answer of the service: the log, its visits, the board, and what was counted."""

import bisect
import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any, Protocol

from hi_ml.prediction.feed.ledger import Ledger
from hi_ml.prediction.feed.log import Log, ScoreRow
from hi_ml.prediction.feed.receipt import Committer
from hi_ml.prediction.feed.visits import Visit

_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds until the answer
_PAUSE = 0.02  # seconds in which messages gather before they are folded
_HISTORY = timedelta(days=400)  # of visits from which arrivals and stays are learned
_AN_HOUR = 3600.0
_SOON = 10.0  # seconds
_ANNOUNCE, _SINCE = "announce", "alarms"


class Outlook(Protocol):
    """Says what is to come."""

    @property
    def model(self) -> str:
        """Which version predicts; empty where none does."""

    def refresh(self) -> None:
        """Take a new champion, if there is one."""

    def score(self, visits: Sequence[Visit], position: int) -> Sequence[ScoreRow]:
        """Predict the stays of visits as they stand at a position of the log."""

    def board(
        self, here: Sequence[Visit], scores: Mapping[str, ScoreRow], history: Sequence[Visit], at: datetime
    ) -> dict[str, Any]:
        """Say how many beds will be taken."""


@dataclass
class Live:
    """The service's state. The event loop reads it; two threads of its own write: one folds, one draws the board."""

    log: Log  # of the event loop
    ledger: Ledger
    committer: Committer
    outlook: Outlook
    board_seconds: float  # between two boards
    keep_raw_days: float
    silent: bool  # scores are kept and not shown
    tell: Callable[[], None]  # called from any thread when there is news
    announce: Callable[[Sequence[Mapping[str, str]]], None]  # tells MLflow which alarms there are
    board: dict[str, Any] = field(default_factory=dict)  # the last one, with the position it was drawn at
    answers: Counter[str] = field(default_factory=Counter)  # messages by what their sender heard
    repeats: int = 0
    waits: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))  # answers by how long they took
    waited: float = 0.0  # seconds, all together
    failures: dict[str, str] = field(default_factory=dict)  # by what is to be done: where it failed last
    heard: float | None = None  # when the last message came
    missing: dict[str, int] = field(default_factory=dict)  # events of each FHIR subscription that were never heard
    _announced: list[dict[str, str]] = field(default_factory=list)
    _stop: Flag = field(default_factory=Flag)
    _news: Flag = field(default_factory=Flag)
    _threads: list[Thread] = field(default_factory=list)

    def start(self) -> None:
        """Fold what the last process left, then go on in threads."""
        self.heard = self.log.last()[1]
        while self.ledger.catch_up():
            pass
        for work in (self._fold, self._draw):
            self._threads.append(Thread(target=work, name=work.__name__.strip("_"), daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """End the threads, when what was committed is folded."""
        self._stop.set()
        self._news.set()
        for thread, seconds in zip(self._threads, (_AN_HOUR, _SOON), strict=False):
            thread.join(seconds)  # a board may wait for MLflow: nothing is lost with it

    def appended(self) -> None:
        """Hear that the log has grown."""
        self._news.set()

    def answered(self, code: str, seconds: float) -> None:
        """Count an answer."""
        self.answers[code] += 1
        self.waits[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self.waited += seconds

    def state(self) -> dict[str, Any]:
        """Say how it stands: census, board, dead letters; what /board.json shows."""
        now = datetime.now(self.log.zone)
        dead, _ = self.log.dead(0)
        shown = {} if self.silent else self.board
        return {
            "as_of": now.isoformat(timespec="seconds"),
            "position": self.ledger.position,
            "census": len(self.ledger.here),
            "units": dict(sorted(self.ledger.census.items())),
            "dead_letters": dead,
            "last_message": None if self.heard is None else self.log.moment(self.heard).isoformat(timespec="seconds"),
            "verdict": "not yet known",
            "horizons": [],
            **shown,
        }

    def census(self) -> str:
        """Say who is in house, as a change of the log says it."""
        ledger = self.ledger
        return json.dumps({"position": ledger.position, "census": len(ledger.here), "units": dict(ledger.census)})

    def problems(self) -> list[str]:
        """Say what fails; nothing where all is well."""
        failed = [f"{name}: {reason}" for name, reason in sorted(self.failures.items())]
        return [f"commit: {self.committer.failure}", *failed] if self.committer.failure else failed

    def is_ready(self) -> bool:
        """Whether messages are taken and shown; without MLflow they are too."""
        return not self.committer.failure and not self.failures.keys() - {_ANNOUNCE}

    def score(self, visits: Sequence[Visit], position: int) -> Sequence[ScoreRow]:
        """Predict, where that can be done: who is in house is known without."""
        scores: list[ScoreRow] = []
        self._carefully("score", lambda: scores.extend(self.outlook.score(visits, position)))
        return scores

    def _fold(self) -> None:
        while not self._stop.is_set():
            self._news.wait()
            time.sleep(_PAUSE)
            self._news.clear()
            if not self._carefully("fold", self._catch_up):
                self._news.set()  # it is tried again
        self._carefully("fold", self._catch_up)

    def _catch_up(self) -> None:
        while self.ledger.catch_up():
            self.tell()

    def _draw(self) -> None:
        log, swept = self.log.sibling(), 0.0
        while not self._stop.is_set():
            self._carefully("draw", lambda: self._draw_once(log))
            if time.time() - swept > _AN_HOUR:
                self._carefully("sweep", lambda: log.drop_raw(self.keep_raw_days, time.time()))
                swept = time.time()
            self._stop.wait(self.board_seconds)
        log.close()

    def _draw_once(self, log: Log) -> None:
        self.outlook.refresh()
        at, position = datetime.now(log.zone), self.ledger.position
        here = list(self.ledger.here.values())
        scores = log.scores([visit.visit for visit in here])
        scores = {key: row for key, row in scores.items() if row.model == self.outlook.model}
        new = self.score([visit for visit in here if visit.visit not in scores], position)  # of a new champion
        log.add_scores(new)
        scores |= {row.visit: row for row in new}
        drawn = self.outlook.board(here, scores, log.history(at - _HISTORY), at)
        drawn["alarms"] = self._dated(log, [*drawn.get("alarms", ()), *self._gaps()], at)
        self.board = {**drawn, "drawn_at": at.isoformat(timespec="seconds"), "drawn_position": position}
        self.tell()
        if self._announced != drawn["alarms"] and self._carefully(_ANNOUNCE, lambda: self.announce(drawn["alarms"])):
            self._announced = drawn["alarms"]

    def _gaps(self) -> list[dict[str, str]]:
        return [
            {"name": f"subscription {name}", "sentence": f"{count:,} notifications of the FHIR subscription {name} are "
             "missing, and its server did not send them again (fhir.server)."}
            for name, count in sorted(self.missing.items()) if count
        ]  # fmt: skip

    @staticmethod
    def _dated(log: Log, alarms: Sequence[Mapping[str, str]], at: datetime) -> list[dict[str, str]]:
        """Say since when each alarm lasts, over a restart too."""
        before = json.loads(log.state(_SINCE, "{}"))
        since = {one["name"]: before.get(one["name"], at.date().isoformat()) for one in alarms}
        if since != before:
            log.note(_SINCE, json.dumps(since))
        return [{**one, "since": since[one["name"]]} for one in alarms]

    def _carefully(self, name: str, work: Callable[[], None]) -> bool:
        """Do what may fail now and go well later: the log is there, and /ready says where it failed, never on what."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- receiving goes on, whatever is wrong with what is made of it
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self.failures[name] = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
            self._stop.wait(1)
            return False
        self.failures.pop(name, None)
        return True

    def metrics(self) -> str:
        """Write all counts as Prometheus reads them; no label names a person."""
        now = time.time()
        dead, _ = self.log.dead(0)
        lines = [f'hi_ml_answers_total{{code="{code}"}} {count}' for code, count in sorted(self.answers.items())]
        lines += [f'hi_ml_census{{unit="{_quoted(unit)}"}} {n}' for unit, n in sorted(self.ledger.census.items())]
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self.waits, strict=True):
            total += count
            lines.append(f'hi_ml_answer_seconds_bucket{{le="{bound}"}} {total}')
        alarms = [f'hi_ml_alarm{{name="{_quoted(alarm["name"])}"}} 1' for alarm in self.board.get("alarms", ())]
        plain = {
            "hi_ml_answer_seconds_sum": round(self.waited, 6),
            "hi_ml_answer_seconds_count": total,
            "hi_ml_repeats_total": self.repeats,
            "hi_ml_dead_letters": dead,
            "hi_ml_missing_notifications": sum(self.missing.values()),
            "hi_ml_visits_in_house": len(self.ledger.here),
            "hi_ml_log_position": self.log.last()[0],
            "hi_ml_folded_position": self.ledger.position,
            "hi_ml_queue": self.committer.waiting(),
            "hi_ml_ready": int(self.is_ready()),
            "hi_ml_last_message_age_seconds": "NaN" if self.heard is None else round(now - self.heard, 3),
        }
        return "\n".join([*lines, *(f"{name} {value}" for name, value in plain.items()), *alarms, ""])


def _quoted(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
