"""The log and the visits folded from it: what is kept, what a lost key costs, what fails alone."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hi_ml.app.errors import OutputFailed
from hi_ml.data.sources.events import Event
from hi_ml.prediction.feed.ledger import Ledger
from hi_ml.prediction.feed.live import Live
from hi_ml.prediction.feed.log import Entry, Log, ScoreRow, names

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Counting:
    """The outlook of a service without a model: nothing is predicted."""

    model = ""

    def refresh(self):
        """Nothing can come."""

    def score(self, _visits, _position):
        """Predict nothing."""
        return ()

    def board(self, *_of):
        """Say that nothing is known."""
        return {"verdict": "not yet known", "verdict_sentence": "No model and no history.", "horizons": []}


def event(number, kind="admit", *, visit="v", patient="p", **changes):
    at = START + timedelta(hours=number)
    return Event(kind, at, at, "ADT", str(number), visit, patient, patient_class="I" if visit else "", **changes)


@pytest.fixture
def log(tmp_path):
    opened = Log.open(tmp_path / "live.sqlite", UTC)
    yield opened
    opened.close()


def heard(log, *events):
    """Append each event as a message of its own."""
    start = log.last()[0]
    return log.append(Entry(f"{start + i}".encode(), float(i), events=[each]) for i, each in enumerate(events))


def test_what_is_read_is_what_was_written_and_a_repeat_has_no_position(log):
    events = [event(1, unit="Ä", features={"age": "7"}, admitted=START), event(2, "discharge", discharged=START)]
    assert heard(log, *events) == [1, 2]
    assert log.append([Entry(b"0", 9.0, events=[event(5)]), Entry(b"new", 9.0)]) == [None, 3]
    assert log.after(0, 10) == [(1, events[:1]), (2, events[1:]), (3, [])]
    assert log.last() == (3, 9.0)


def test_a_commit_that_fails_keeps_nothing_of_it(log):
    with pytest.raises(sqlite3.Error):
        log.append([Entry(b"a", 1.0), Entry(b"b", 1.0, sender={})])
    assert log.last() == (0, None)
    assert log.append([Entry(b"a", 1.0)]) == [1]


@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_said_of_a_person_reaches_all_visits_under_any_of_their_numbers(log, swapped):
    said = [
        event(1, visit="v", patient="old"),
        event(2, "merge_patient", visit="", patient="new", prior="old"),
        event(3, "update", visit="", patient="new", features={"sex": "Female"}),
        event(4, visit="w", patient="new"),
    ]
    ledger = Ledger.of(log, "I")
    heard(log, *(reversed(said) if swapped else said))
    ledger.catch_up()
    assert {visit.features["sex"] for visit in ledger.here.values()} == {"Female"}
    assert {visit.patient for visit in ledger.here.values()} == {"new"}
    assert (
        Ledger.of(log, "I").here
        == ledger.here
        == {visit.visit: visit for visit in log.visits_at(START.replace(year=2027))}
    )


def test_circles_of_merges_end_under_the_name_of_the_last():
    merges = [event(1, "merge_patient", visit="", patient="a", prior="b"),
              event(2, "merge_patient", visit="", patient="b", prior="a"),
              event(3, "merge_patient", visit="", patient="c", prior="d")]  # fmt: skip
    assert names(merges) == names(merges[::-1]) == {"a": "b", "b": "b", "c": "c", "d": "c"}


def test_a_board_of_the_past_knows_what_was_recorded_until_then(log):
    heard(log, event(1), event(5, "discharge"), event(3, visit="w"))
    then = log.visits_at(START + timedelta(hours=4))
    assert {visit.visit: visit.status for visit in then} == {"v": "in", "w": "in"}
    assert {visit.visit: visit.status for visit in log.visits_at(START + timedelta(hours=5))} == {"v": "out", "w": "in"}


def test_with_another_key_what_came_before_is_not_counted_any_more(log):
    assert log.same_key("one")
    heard(log, event(1))
    Ledger.of(log, "I").catch_up()
    assert log.same_key("one")
    assert not log.same_key("another")
    ledger = Ledger.of(log, "I")
    heard(log, event(2, visit="other name of v"))
    ledger.catch_up()
    assert set(ledger.here) == set(Ledger.of(log, "I").here) == {"other name of v"}
    assert [visit.visit for visit in log.history(START)] == ["other name of v"]


def test_scores_are_appended_and_asked_for_when_features_change(log):
    asked = []

    def score(visits, position):
        asked.append([visit.visit for visit in visits])
        return [ScoreRow(position, visit.visit, f"m{len(asked)}", [1.0, 0.5], 1.0, 2.0) for visit in visits]

    ledger = Ledger.of(log, "I", score)
    for one in (event(1), event(2, "update"), event(3, "update", features={"age": "8"}), event(4, "discharge")):
        heard(log, one)
        ledger.catch_up()
    assert asked == [["v"], [], ["v"], []]
    assert log.scores(["v", "w"])["v"] == ScoreRow(3, "v", "m3", [1.0, 0.5], 1.0, 2.0)
    assert log.database.execute("SELECT position, model FROM score").fetchall() == [(1, "m1"), (3, "m3")]


def test_a_model_that_fails_leaves_the_census_as_it_is_and_says_so(log):
    class Broken(Counting):
        def score(self, visits, position):  # noqa: ARG002 -- as the protocol has it
            raise ValueError("Jane Doe")

    ledger = Ledger.of(log, "I")
    live = Live(log, ledger, committer=type("Still", (), {"failure": ""})(), outlook=Broken(), board_seconds=1,
                keep_raw_days=0, silent=False, tell=lambda: None, announce=lambda _: None)  # fmt: skip
    ledger.score = live.score
    live._stop.set()
    heard(log, event(1))
    ledger.catch_up()
    assert len(ledger.here) == 1
    (problem,) = live.problems()
    assert problem.startswith("score: ValueError at test_feed_log.py:")
    live.outlook = Counting()
    heard(log, event(2, visit="w"))
    ledger.catch_up()
    assert live.problems() == []


def test_alarms_are_announced_when_they_change_and_say_since_when_they_last(log):
    told, now = [], []

    class Alarming(Counting):
        def board(self, *_of):
            return {"alarms": [{"name": name, "sentence": "Look."} for name in now]}

    def announce(alarms):
        told.append([alarm["name"] for alarm in alarms])
        if len(told) == 1:
            raise OSError  # MLflow is down

    def started():
        return Live(log, Ledger.of(log, "I"), committer=type("Still", (), {"failure": ""})(), outlook=Alarming(),
                    board_seconds=1, keep_raw_days=0, silent=False, tell=lambda: None, announce=announce)  # fmt: skip

    live = started()
    live._stop.set()
    for now in ([], ["stays"], ["stays"], ["stays"], []):  # noqa: B007 -- read by the board
        live._draw_once(log)
        assert live.is_ready()
    assert told == [["stays"], ["stays"], []]
    log.note("alarms", '{"stays": "2026-01-01"}')
    now = ["stays", "coverage"]
    again = started()
    again._draw_once(log)
    assert [alarm["since"][:7] for alarm in again.board["alarms"]] == ["2026-01", f"{datetime.now(UTC):%Y-%m}"]


def test_raw_messages_are_kept_only_so_long(log):
    log.append([Entry(b"a", 100.0, raw=b"MSH"), Entry(b"b", 90_000.0, raw=b"MSH")])
    log.drop_raw(1, 90_000.0)
    assert log.database.execute("SELECT position FROM raw").fetchall() == [(2,)]


def test_a_file_that_is_no_log_and_a_log_that_is_not_there_are_refused(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n" * 1000)
    with pytest.raises(OutputFailed, match=r"table.csv is no log of listen"):
        Log.open(tmp_path / "table.csv", UTC)
    with pytest.raises(OutputFailed, match="There is no log at"):
        Log.open(tmp_path / "absent", UTC, read_only=True)


def test_replaying_the_whole_log_changes_no_row(log):
    tables = ["SELECT * FROM message", "SELECT * FROM event", "SELECT * FROM visit"]

    def dump():
        return [log.database.execute(query).fetchall() for query in tables]

    said = [event(1), event(2, "transfer", unit="W"), event(3, "discharge"), event(4, visit="w")]
    heard(log, *said)
    ledger = Ledger.of(log, "I")
    ledger.catch_up()
    before = dump()
    log.append(Entry(f"{i}".encode(), 99.0, events=[each]) for i, each in enumerate(said))
    ledger.catch_up()
    assert dump() == before
    ledger.position = 0
    ledger.catch_up()
    assert dump() == before
    assert replace(ledger.here["w"]) == ledger.here["w"]
