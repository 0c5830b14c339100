"""What was received is kept: events and dead letters, appended, on the disk before the sender hears of it."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from sys import intern
from threading import Lock
from typing import Any, NamedTuple

from hi_ml.app.errors import MessageRefused, OutputFailed
from hi_ml.data.sources.events import Event
from hi_ml.prediction.feed.visits import Visit, fold

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message(position INTEGER PRIMARY KEY, received REAL, sender TEXT, control TEXT, trigger TEXT,
  sha256 BLOB UNIQUE);
CREATE TABLE IF NOT EXISTS event(position INTEGER, part INTEGER, visit TEXT, patient TEXT, prior TEXT, recorded REAL,
  body TEXT, PRIMARY KEY(position, part)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS event_visit ON event(visit);
CREATE INDEX IF NOT EXISTS event_patient ON event(patient) WHERE visit = '';
CREATE INDEX IF NOT EXISTS event_prior ON event(prior) WHERE prior != '';
CREATE TABLE IF NOT EXISTS dead(id INTEGER PRIMARY KEY, received REAL, code TEXT, field TEXT, reason TEXT,
  sha256 BLOB UNIQUE, times INTEGER DEFAULT 1);
CREATE TABLE IF NOT EXISTS raw(position INTEGER PRIMARY KEY, received REAL, content BLOB);
CREATE TABLE IF NOT EXISTS visit(visit TEXT PRIMARY KEY, position INTEGER, status TEXT, patient TEXT, admitted REAL,
  discharged REAL, body TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS visit_status ON visit(status) WHERE status IN ('in', 'planned');
CREATE INDEX IF NOT EXISTS visit_patient ON visit(patient);
CREATE TABLE IF NOT EXISTS change(position INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS score(position INTEGER, visit TEXT, model TEXT, curve TEXT, low REAL, high REAL);
CREATE INDEX IF NOT EXISTS score_visit ON score(visit);
CREATE TABLE IF NOT EXISTS state(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_PATIENCE = 10.0  # seconds to wait for another process that writes
KEPT_CHANGES = 50_000
"""Positions from which a reader of /events can go on."""
_DAY = 86_400.0  # seconds


class Entry(NamedTuple):
    """One message, ready to be kept."""

    sha256: bytes  # of its content as it came
    received: float  # seconds since 1970
    sender: str = ""
    control: str = ""
    trigger: str = ""
    events: Sequence[Event] = ()
    refused: MessageRefused | None = None  # then it becomes a dead letter
    raw: bytes | None = None  # where raw messages are to be kept


class ScoreRow(NamedTuple):
    """What was predicted of a visit when its events up to ``position`` were heard; appended, never updated."""

    position: int
    visit: str
    model: str  # which version: ``models:/<name>/<version>``
    curve: Sequence[float]  # chance to stay longer than 0, 1, 2, ... days from admission on
    low: float  # days: the interval of the whole stay
    high: float


@dataclass(frozen=True)
class Log:
    """The log of one site, in one SQLite file; each thread takes a `sibling` of its own."""

    path: Path
    zone: tzinfo
    database: sqlite3.Connection
    _writing: Lock  # one writer at a time, without SQLite's waiting

    @classmethod
    def open(cls, path: Path, zone: tzinfo, *, read_only: bool = False) -> "Log":
        """Open a log, or begin one that its user alone may read.

        Raises
        ------
        OutputFailed
            If there is none to read, or it is none of ours.
        """
        if not path.exists():
            if read_only:
                raise OutputFailed.no_log(path)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            database = _connect(path)
            if not read_only:
                database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise OutputFailed.not_a_log(path, str(error)) from error
        return cls(path, zone, database, Lock())

    def sibling(self) -> "Log":
        """Open the same log for another thread."""
        return replace(self, database=_connect(self.path))

    def close(self) -> None:
        """Leave everything in the one file, and close it."""
        self.database.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing; when it ends well, it is on the disk."""
        with self._writing:
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise

    def append(self, entries: Iterable[Entry]) -> list[int | None]:
        """Keep messages in one commit, and return their positions; None for a repeat, and for a dead letter."""
        with self.writing() as database:
            return [self._append(database, entry) for entry in entries]

    def _append(self, database: sqlite3.Connection, entry: Entry) -> int | None:
        if entry.refused:
            letter = (entry.received, entry.refused.code, entry.refused.field, entry.refused.reason, entry.sha256)
            database.execute(
                "INSERT INTO dead(received, code, field, reason, sha256) VALUES(?, ?, ?, ?, ?) "
                "ON CONFLICT(sha256) DO UPDATE SET times = times + 1",
                letter,
            )
            return None
        cursor = database.execute(
            "INSERT INTO message(received, sender, control, trigger, sha256) VALUES(?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (entry.received, entry.sender, entry.control, entry.trigger, entry.sha256),
        )
        if not cursor.rowcount:
            return None
        position = cursor.lastrowid or 0
        database.executemany(
            "INSERT INTO event VALUES(?, ?, ?, ?, ?, ?, ?)",
            [
                (position, part, event.visit, event.patient, event.prior, event.recorded.timestamp(), _written(event))
                for part, event in enumerate(entry.events)
            ],
        )
        if entry.raw is not None:
            database.execute("INSERT INTO raw VALUES(?, ?, ?)", (position, entry.received, entry.raw))
        return position

    def drop_raw(self, days: float, now: float) -> None:
        """Remove raw messages that have been kept for so many days."""
        with self.writing() as database:
            database.execute("DELETE FROM raw WHERE received < ?", (now - days * _DAY,))

    def last(self) -> tuple[int, float | None]:
        """Return the position of the last message and when it came; 0 and None where there is none."""
        row = self.database.execute("SELECT position, received FROM message ORDER BY position DESC LIMIT 1").fetchone()
        return row or (0, None)

    def after(self, position: int, most: int) -> list[tuple[int, list[Event]]]:
        """Return the next messages with their events, in the order in which they came."""
        rows = self.database.execute(
            "SELECT m.position, e.body FROM (SELECT position FROM message WHERE position > ? ORDER BY position LIMIT ?)"
            " m LEFT JOIN event e USING(position) ORDER BY m.position, e.part",
            (position, most),
        )
        messages: dict[int, list[Event]] = {}
        for at, body in rows:
            messages.setdefault(at, []).extend([self._read(body)] if body else [])
        return list(messages.items())

    def events_of(self, visits: Collection[str], until: int) -> list[Event]:
        """Return the events of a visit, under all its numbers, up to a position."""
        return self._events("visit", visits, until)

    def events_of_patients(self, patients: Collection[str], until: int) -> list[Event]:
        """Return the events of a patient that are of no single visit, up to a position."""
        return self._events("visit = '' AND patient", patients, until)

    def _events(self, whose: str, keys: Collection[str], until: int) -> list[Event]:
        marks = ", ".join("?" * len(keys))
        query = f"SELECT body FROM event WHERE {whose} IN ({marks}) AND position <= ?"  # noqa: S608 -- marks
        return [self._read(body) for (body,) in self.database.execute(query, (*keys, until))]

    def renames(self, until: int) -> list[Event]:
        """Return all merges and moves up to a position."""
        query = "SELECT body FROM event WHERE prior != '' AND position <= ?"
        return [self._read(body) for (body,) in self.database.execute(query, (until,))]

    def visits(self, *statuses: str) -> list[Visit]:
        """Return the visits of these statuses, as they were folded last."""
        marks = ", ".join("?" * len(statuses))
        query = f"SELECT visit, body FROM visit WHERE status IN ({marks}) AND position > ?"  # noqa: S608 -- marks
        return [self._visit(*row) for row in self.database.execute(query, (*statuses, self.state("epoch", 0)))]

    def visits_of(self, patients: Collection[str]) -> list[str]:
        """Return the keys of the visits of a patient, under all its numbers."""
        marks = ", ".join("?" * len(patients))
        query = f"SELECT visit FROM visit WHERE patient IN ({marks})"  # noqa: S608 -- marks
        return [visit for (visit,) in self.database.execute(query, (*patients,))]

    def history(self, since: datetime) -> list[Visit]:
        """Return whoever was in house at any time since, those who still are included."""
        query = "SELECT visit, body FROM visit WHERE status = 'out' AND discharged >= ?"
        return [self._visit(*row) for row in self.database.execute(query, (since.timestamp(),))] + self.visits("in")

    def visits_at(self, at: datetime) -> list[Visit]:
        """Fold again what was recorded up to a moment, however much later it came: every visit as it stood then."""
        query = "SELECT body FROM event WHERE recorded <= ?"
        events = [self._read(body) for (body,) in self.database.execute(query, (at.timestamp(),))]
        visits = names([event for event in events if event.kind == "move_visit"])
        people = names([event for event in events if event.kind == "merge_patient"])
        of_visit: dict[str, list[Event]] = {}
        of_patient: dict[str, list[Event]] = {}
        for event in events:
            if event.visit:
                of_visit.setdefault(visits.get(event.visit, event.visit), []).append(event)
            elif event.kind == "update":
                of_patient.setdefault(people.get(event.patient, event.patient), []).append(event)
        return [folded(visit, own, of_patient, people) for visit, own in of_visit.items()]

    def scores(self, visits: Collection[str]) -> dict[str, ScoreRow]:
        """Return the newest score of each visit that has one."""
        newest = {}
        for visit in visits:
            row = self.database.execute(
                "SELECT * FROM score WHERE visit = ? ORDER BY position DESC, rowid DESC LIMIT 1", (visit,)
            ).fetchone()
            if row:
                newest[visit] = ScoreRow(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5])
        return newest

    def changes(self, after: int, most: int) -> list[tuple[int, str]]:
        """Return what changed in the census with each message behind a position, as JSON."""
        query = "SELECT position, body FROM change WHERE position > ? ORDER BY position LIMIT ?"
        return self.database.execute(query, (after, most)).fetchall()

    def dead(self, most: int) -> tuple[int, list[dict[str, Any]]]:
        """Count the dead letters, and list the last of them: why and where, never what."""
        (count,) = self.database.execute("SELECT count(*) FROM dead").fetchone()
        rows = self.database.execute(
            "SELECT received, code, field, reason, hex(sha256), times FROM dead ORDER BY id DESC LIMIT ?", (most,)
        )
        keys = ("received", "code", "field", "reason", "sha256", "times")
        return count, [
            dict(zip(keys, (self.moment(row[0]).isoformat(timespec="seconds"), *row[1:]), strict=True)) for row in rows
        ]

    def state(self, key: str, default: Any) -> Any:
        """Look up what was noted last."""
        row = self.database.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def note(self, key: str, value: str) -> None:
        """Note what `state` is to find."""
        with self.writing() as database:
            database.execute("INSERT OR REPLACE INTO state VALUES(?, ?)", (key, value))

    def keep(
        self,
        position: int,
        visits: Iterable[Visit],
        gone: Iterable[str],
        changes: Iterable[tuple[int, str]],
        scores: Iterable[ScoreRow] = (),
    ) -> None:
        """Note that all messages up to a position are folded, and what came of it."""
        with self.writing() as database:
            database.executemany("DELETE FROM visit WHERE visit = ?", [(visit,) for visit in gone])
            database.executemany(
                "INSERT OR REPLACE INTO visit VALUES(?, ?, ?, ?, ?, ?, ?)",
                [
                    (v.visit, position, v.status, v.patient, _seconds(v.admitted), _seconds(v.discharged), _body(v))
                    for v in visits
                ],
            )
            database.executemany("INSERT OR REPLACE INTO change VALUES(?, ?)", changes)
            database.execute("DELETE FROM change WHERE position <= ?", (position - KEPT_CHANGES,))
            self._add_scores(database, scores)
            database.execute("INSERT OR REPLACE INTO state VALUES('folded', ?)", (position,))

    def add_scores(self, scores: Iterable[ScoreRow]) -> None:
        """Append what was predicted."""
        with self.writing() as database:
            self._add_scores(database, scores)

    def _add_scores(self, database: sqlite3.Connection, scores: Iterable[ScoreRow]) -> None:
        rows = [(*row[:3], json.dumps([round(p, 6) for p in row.curve]), row.low, row.high) for row in scores]
        database.executemany("INSERT INTO score VALUES(?, ?, ?, ?, ?, ?)", rows)

    def same_key(self, fingerprint: str) -> bool:
        """Whether the site's key is the one of before; if not, visits of before are left behind."""
        before = self.state("key", fingerprint)
        with self.writing() as database:
            database.execute("INSERT OR REPLACE INTO state VALUES('key', ?)", (fingerprint,))
            if before != fingerprint:
                database.execute("INSERT OR REPLACE INTO state VALUES('epoch', ?)", (self.last()[0],))
        return bool(before == fingerprint)

    def moment(self, seconds: float) -> datetime:
        """Write a time of the log in the zone of the site."""
        return datetime.fromtimestamp(seconds, self.zone)

    def _moment(self, seconds: float | None) -> datetime | None:
        return None if seconds is None else self.moment(seconds)

    def _read(self, body: str) -> Event:
        kind, recorded, happened, admitted, discharged, *rest, features = json.loads(body)
        sender, control, visit, patient, prior, patient_class, unit, hospital = rest
        return Event(
            kind, self.moment(recorded), self.moment(happened), sender, control, visit, patient, prior, patient_class,
            unit, hospital, self._moment(admitted), self._moment(discharged), features,
        )  # fmt: skip

    def _visit(self, visit: str, body: str) -> Visit:
        patient, status, patient_class, unit, hospital, admitted, discharged, features = json.loads(body)
        start, end = self._moment(admitted), self._moment(discharged)
        cells = {intern(role): intern(cell) for role, cell in features.items()}  # a year of visits repeats a few words
        return Visit(visit, patient, status, patient_class, intern(unit), intern(hospital), start, end, cells)


def names(renames: Iterable[Event]) -> dict[str, str]:
    """Say under which key goes what was merged or moved: the one that stayed in the last merge of those that are one.

    Circles do no harm: two that were merged into each other are one.
    """
    group: dict[str, set[str]] = {}
    survivor: dict[int, str] = {}
    for event in sorted(renames, key=lambda event: event.order):
        stays = event.visit or event.patient
        one = group.get(stays, {stays}) | group.get(event.prior, {event.prior})
        group |= dict.fromkeys(one, one)
        survivor[id(one)] = stays
    return {key: survivor[id(one)] for key, one in group.items()}


def folded(visit: str, events: Sequence[Event], of_patient: Any, people: dict[str, str]) -> Visit:
    """Fold a visit with what was said of its patient alone, under whichever number."""
    patients = {people.get(event.patient, event.patient) for event in events}
    alone = [event for patient in patients for event in of_patient.get(patient, ())]
    state = fold(visit, [*events, *alone])
    return replace(state, patient=people.get(state.patient, state.patient))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that writes to a log.

    Raises
    ------
    OutputFailed
        If another one does.
    """
    handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise OutputFailed.busy(path) from error
    try:
        yield
    finally:
        os.close(handle)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")  # a commit is on the disk when it returns
    return database


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _written(event: Event) -> str:
    return json.dumps([
        event.kind, event.recorded.timestamp(), event.happened.timestamp(), _seconds(event.admitted),
        _seconds(event.discharged), event.sender, event.control, event.visit, event.patient, event.prior,
        event.patient_class, event.unit, event.hospital, dict(event.features),
    ], ensure_ascii=False, separators=(",", ":"))  # fmt: skip


def _body(visit: Visit) -> str:
    return json.dumps([
        visit.patient, visit.status, visit.patient_class, visit.unit, visit.hospital, _seconds(visit.admitted),
        _seconds(visit.discharged), dict(visit.features),
    ], ensure_ascii=False, separators=(",", ":"))  # fmt: skip
