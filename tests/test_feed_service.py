"""The service as senders and readers meet it: one process for all tests that do not end it."""

import json
import sqlite3
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread

import pytest

from hi_ml.data.sources.wire import frame
from live import Line, adt, events, listening, until

MARKS = count()


@pytest.fixture(scope="module")
def server():
    """A server of FHIR that has notifications, of which it sends again what it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(notification("e2", "e3", last=4, first=2)).encode())

        def log_message(self, *_):
            """Say nothing."""

    asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


@pytest.fixture(scope="module")
def service(tmp_path_factory, server):
    words = ["mllp.max_bytes=4096", "board_seconds=0.5", "queue=200", f"fhir.server={server[0]}"]
    with listening(tmp_path_factory.mktemp("live"), *words) as running:
        yield running


@pytest.fixture
def line(service):
    one = Line(service.mllp)
    yield one
    one.socket.close()


def position(service):
    return json.loads(service.get("ready"))["position"]


def settled(service):
    """The census, once all is counted that was acknowledged before: a message of its own was counted after it."""
    ward = f"Last {next(MARKS)}"
    last = encounter_of(ward) | {"location": [{"location": {"display": ward}}]}
    assert service.post(last)[0] == 200
    until(service.board, lambda board: f"Mercy / {ward}" in board["units"])
    return service.board()["census"]


def counts(service):
    return dict(each.rsplit(" ", 1) for each in service.get("metrics").splitlines())


def test_an_admission_is_counted_a_discharge_not_any_more_and_a_repeat_changes_nothing(service, line):
    before = settled(service)
    assert line.ask(adt("a1")) == ("AA", "a1")
    assert line.ask(adt("a1")) == ("AA", "a1")
    assert line.ask(adt("a2", kind="O")) == ("AA", "a2")
    board = until(service.board, lambda board: board["census"] == before + 1)
    assert board["units"]["Mercy / W1"] >= 1
    assert line.ask(adt("a3", "A03", visit="a1", at="", end="20261129")) == ("AA", "a3")
    until(service.board, lambda board: board["census"] == before)


def test_answers_come_in_the_order_of_the_messages_however_many_wait(line):
    line.send(*(adt(f"o{i}", kind="O") for i in range(150)))
    assert [line.hear()[1] for _ in range(150)] == [f"o{i}" for i in range(150)]


def test_what_cannot_be_is_answered_with_its_reason_and_kept_as_a_dead_letter_without_a_word_of_it(service, line):
    before = json.loads(service.get("dead"))["count"]
    assert line.ask(b"nonsense Canary") == ("AR", "")
    assert line.ask(adt("d1").replace(b"|Vd1|", b"||")) == ("AE", "d1")
    assert line.ask(adt("d1").replace(b"|Vd1|", b"||")) == ("AE", "d1")
    assert line.ask(adt("d2", end="20250101")) == ("AE", "d2")
    assert line.ask(adt("d3") + b"OBX|" + b"x" * 4096) == ("AR", "d3")
    dead = json.loads(service.get("dead"))
    assert dead["count"] == before + 4
    assert [letter["field"] for letter in dead["letters"][:4]] == ["MSH", "PV1-45", "PV1-19", "MSH-1"]
    assert dead["letters"][2]["times"] == 2
    assert "Canary" not in json.dumps(dead)


def test_moves_and_merges_join_what_came_under_two_numbers(service, line):
    before = settled(service)
    line.ask(adt("m1", visit="m1"))
    line.ask(adt("m2", visit="m2", patient="other"))
    until(service.board, lambda board: board["census"] == before + 2)
    assert line.ask(adt("m3", "A45", visit="m2", prior="Vm1", seen="20261129090000")) == ("AA", "m3")
    until(service.board, lambda board: board["census"] == before + 1)
    line.ask(adt("m4", "A03", visit="m1", end="20261130", seen="20261130090000"))  # under its old number
    until(service.board, lambda board: board["census"] == before)


def test_every_change_is_told_once_and_in_order_to_whoever_comes_back(service, line):
    start = until(lambda: counts(service), lambda now: now["hi_ml_log_position"] == now["hi_ml_folded_position"])
    start = int(start["hi_ml_log_position"])
    for i in range(5):
        line.ask(adt(f"s{i}"))
    until(lambda: position(service), lambda now: now >= start + 5)
    stream = events(service, last=start)
    told = [event for event in (next(stream) for _ in range(6)) if event[0] == "change"]
    assert [number for _, number, _ in told] == list(range(start + 1, start + 6))
    census = [json.loads(data)["census"] for _, _, data in told]
    assert census == list(range(census[0], census[0] + 5))
    stream.close()
    fresh = events(service)
    kind, number, data = next(fresh)
    assert (kind, number, json.loads(data)["census"]) == ("state", start + 5, census[-1])
    line.ask(adt("s9"))
    assert next(event for event in fresh if event[0] == "change")[1] == start + 6
    fresh.close()


def encounter_of(number):
    return {
        "resourceType": "Encounter", "id": number, "status": "in-progress", "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p1", "display": "Zyx Canary"}, "period": {"start": "2026-11-28T10:00:00Z"},
        "location": [{"location": {"display": "F1"}}], "serviceProvider": {"display": "Mercy"},
    }  # fmt: skip


def notification(*numbers, last, first=0):
    """A notification of R4, which tells of visits, or of nothing but how many there were so far."""
    events = [
        {"name": "notification-event", "part": [{"name": "event-number", "valueString": str(first + i)}]}
        for i in range(len(numbers))
    ]
    status = {"resourceType": "Parameters", "parameter": [
        {"name": "subscription", "valueReference": {"reference": "https://server/r4/Subscription/s1"}},
        {"name": "type", "valueCode": "event-notification" if numbers else "heartbeat"},
        {"name": "events-since-subscription-start", "valueString": str(last)}, *events,
    ]}  # fmt: skip
    entries = [{"resource": each} for each in (status, *map(encounter_of, numbers))]
    return {"resourceType": "Bundle", "type": "history", "entry": entries}


def test_notifications_that_were_missed_are_asked_for(service, server):
    before = settled(service)
    assert service.post(notification("e1", last=1, first=1))[0] == 200
    assert service.post(notification("e4", last=4, first=4))[0] == 200
    until(service.board, lambda board: board["census"] == before + 4)
    query = "eventsSinceNumber=2&eventsUntilNumber=4&content=full-resource"
    assert server[1] == [f"/Subscription/s1/$events?{query}"]
    assert counts(service)["hi_ml_missing_notifications"] == "0"
    assert service.post(notification(last=6))[0] == 200  # a heartbeat: two never came, and do not now
    until(lambda: counts(service), lambda now: now["hi_ml_missing_notifications"] == "2")
    assert "eventsSinceNumber=5&eventsUntilNumber=6" in server[1][1]
    alarms = until(service.board, lambda board: board.get("alarms"))["alarms"]
    assert alarms[0]["sentence"].startswith("2 notifications of the FHIR subscription s1 are missing")
    strange = notification(last=6)
    strange["entry"][0]["resource"]["parameter"][0]["valueReference"]["reference"] = "../../x y"
    assert service.post(strange)[0] == 400


def test_resources_of_fhir_are_kept_one_by_one(service):
    before = settled(service)
    encounter = encounter_of("e9")
    patient = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1960-05-20"}
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": encounter}, {"resource": patient}],
    }
    status, answer = service.post(bundle)
    assert (status, [each["response"]["status"] for each in answer["entry"]]) == (200, ["200 OK"] * 2)
    until(service.board, lambda board: board["census"] == before + 1)
    status, answer = service.post({key: value for key, value in encounter.items() if key != "period"})
    assert (status, answer["issue"][0]["expression"]) == (422, ["Encounter.period"])
    assert service.post({"resourceType": "Observation"})[0] == 200
    many = [{"resource": {"resourceType": "Encounter", "id": f"none{i}"}} for i in range(450)]  # more than the queue
    status, answer = service.post(bundle | {"entry": many})
    assert (status, {each["response"]["status"][:3] for each in answer["entry"]}) == (200, {"422"})
    assert service.post([])[0] == 400
    finished = encounter | {"status": "finished", "period": encounter["period"] | {"end": "2026-11-29T10:00:00Z"}}
    assert service.post(finished)[0] == 200
    until(service.board, lambda board: board["census"] == before)


def test_counts_are_there_for_prometheus_and_name_nobody(service, line):
    line.ask(adt("p1"))
    counted = counts(service)
    assert int(counted['hi_ml_answers_total{code="AA"}']) >= 1
    assert int(counted["hi_ml_answer_seconds_count"]) >= 1
    assert counted["hi_ml_ready"] == "1"
    assert service.get("health") == '{"status":"ok"}'


def test_a_page_of_another_site_is_not_answered(service):
    with pytest.raises(urllib.error.HTTPError, match="421"):
        service.get("board.json", Host="evil.example:80")
    with pytest.raises(json.JSONDecodeError):
        service.post(encounter_of("evil"), Origin="https://evil.example")


@pytest.mark.slow
def test_half_a_character_and_a_patient_of_the_future_stop_nothing(service, line):
    half = encounter_of("half \ud800") | {"serviceProvider": {"display": "\udc00"}}
    assert service.post(half)[0] == 200
    assert line.ask(adt("f1", unit="W2199", at="21990101", seen="21990101000000")) == ("AA", "f1")
    assert line.ask(adt("f2", kind="O", unit="W2200")) == ("AA", "f2")
    wards = ("? / F1", "Mercy / W2199", "Mercy / W2200")
    until(service.board, lambda board: [board["units"].get(ward, 0) for ward in wards] == [1, 1, 0])
    until(service.board, lambda board: board["drawn_position"] >= position(service))
    assert json.loads(service.get("ready"))["ready"]


def test_a_reader_that_was_away_for_too_long_begins_anew(service):
    stream = events(service, last=10**9)
    assert next(stream)[0] == "state"
    stream.close()


def test_the_page_loads_nothing_from_elsewhere(service):
    page = service.get("")
    assert "EventSource" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_no_name_number_or_text_of_a_person_reaches_the_disk(service, line):
    line.ask(adt("c1", patient="MRNCANARY"))
    until(service.board, lambda board: board["census"] >= 1)
    files = [path for path in service.folder.rglob("*") if path.is_file()]
    assert {"live.sqlite", "key"} <= {path.name for path in files}
    assert [path for path in files if b"canary" in path.read_bytes().lower() or b"19600520" in path.read_bytes()] == []
    assert [oct(path.stat().st_mode & 0o777) for path in files] == ["0o600"] * len(files)
    assert sqlite3.connect(service.folder / "live.sqlite").execute("SELECT count(*) FROM raw").fetchone() == (0,)


def test_a_stranger_who_sends_anything_harms_nothing(service, line):
    for content in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x0b" * 5000,
        b"\x16\x03\x01" + bytes(range(256)),
        frame(b"\x00" * 100),
    ):
        stranger = Line(service.mllp)
        stranger.socket.sendall(content)
        stranger.socket.close()
    assert line.ask(adt("x1", kind="O")) == ("AA", "x1")


@pytest.mark.slow
def test_a_signal_ends_it_with_readers_and_senders_there_and_the_next_goes_on_where_it_was(tmp_path):
    with listening(tmp_path) as service:
        stream, line = events(service), Line(service.mllp)
        next(stream)
        for i in range(20):
            line.send(adt(i))
        heard = [line.hear() for _ in range(20)]
        assert service.end() == (143, "\nInterrupted. Nothing half-written was kept.\n")
        stream.close()
        line.socket.close()
    assert heard == [("AA", str(i)) for i in range(20)]
    with listening(tmp_path) as service:
        assert service.board()["census"] == 20
        stream = events(service, last=15)
        assert next(event for event in stream if event[0] == "change")[1] == 16
        stream.close()
        with pytest.raises(AssertionError, match="is being written by another process"), listening(tmp_path):
            pass
