"""Resources of FHIR, and tables, as senders of events; shapes as those of the official examples of R4."""

import json
from datetime import UTC, datetime
from itertools import pairwise

import pandas as pd
import pytest
import yaml

from hi_ml.app.config import build, conf_dir
from hi_ml.app.errors import ConfigurationInvalid, MessageRefused, SourceUnreadable
from hi_ml.data.sources.fhir import Resources
from hi_ml.data.sources.hl7 import Feed, Reader
from hi_ml.prediction.feed.sender import Fault, Sent, as_if_now, as_time_goes, read_messages, wall_clock
from hi_ml.prediction.feed.table import read_table
from hi_ml.prediction.feed.visits import fold

FEED = build(Feed, yaml.safe_load((conf_dir() / "feed" / "default.yaml").read_text()))
READER = Reader(FEED, lambda number: f"<{number}>", UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ENCOUNTER = {
    "resourceType": "Encounter", "id": "e", "status": "in-progress", "class": {"code": "IMP"},
    "subject": {"reference": "https://server/fhir/Patient/p", "display": "Zyx Canary"},
    "period": {"start": "2026-02-27T10:00:00+01:00"}, "priority": {"coding": [{"code": "E"}]},
    "location": [{"location": {"display": "W0"}, "status": "completed"}, {"location": {"reference": "Location/W1"}}],
    "serviceProvider": {"display": "Mercy"},
}  # fmt: skip


def events(resource):
    content = json.dumps(resource).encode()
    resources = Resources(READER)
    return [event for part in resources.parts(content) for event in resources.events(part, NOW)]


def test_an_encounter_is_a_visit_and_its_newest_state_wins():
    visit = fold("e", events(ENCOUNTER))
    assert (visit.visit, visit.patient, visit.status, visit.patient_class) == ("e", "<p>", "in", "I")
    assert (visit.unit, visit.hospital, visit.admitted) == ("W1", "Mercy", datetime(2026, 2, 27, 9, tzinfo=UTC))
    assert visit.features == {"admission_type": "Emergency", "hospital": "Mercy", "admitted_on": "2026-02-27"}
    assert "Canary" not in repr(visit)
    ended = ENCOUNTER | {"status": "finished", "period": ENCOUNTER["period"] | {"end": "2026-02-28"}}
    ended |= {"meta": {"lastUpdated": "2026-03-02T00:00:00Z"}}
    again = ENCOUNTER | {"meta": {"lastUpdated": "2026-03-03T00:00:00Z"}}
    void = ENCOUNTER | {"status": "entered-in-error", "meta": {"lastUpdated": "2026-03-04T00:00:00Z"}}
    story = [events(ENCOUNTER), events(ended), events(again), events(void)]
    states = [fold("e", [event for said in story[:n] for event in said]).status for n in range(1, 5)]
    assert states == ["in", "out", "in", "cancelled"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"period": None}, "Encounter.period"),
        ({"period": {"end": "2026-02-28"}}, "Encounter.period"),
        ({"status": "finished"}, "Encounter.period"),
        ({"status": "finished", "period": {"start": "2026-02-28", "end": "2026-02-27"}}, "Encounter.period"),
        ({"period": {"start": "yesterday"}}, "Encounter.period.start"),
        ({"period": {"start": "0001-01-01T00:00:00+14:00"}}, "Encounter.period.start"),
        ({"status": "dreaming"}, "Encounter.status"),
        ({"id": 7}, "Encounter.id"),
        ({"subject": []}, "Encounter.subject"),
    ],
)
def test_an_encounter_that_cannot_be_is_refused_with_its_field(change, field):
    with pytest.raises(MessageRefused) as refused:
        events(ENCOUNTER | change)
    assert (refused.value.code, refused.value.field) == ("AE", field)


def test_persons_payers_and_diagnoses_fill_columns_and_name_nobody():
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960", "name": [{"family": "X"}]}
    code = {"coding": [{"code": "J45", "display": "Zyx"}], "text": "Canary"}
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}, "code": code}
    of_visit = condition | {"encounter": {"reference": "urn:uuid:e"}}
    payor = [{"reference": "Patient/p", "display": "Zyx Canary"}, {"reference": "Organization/2", "display": "Aetna"}]
    coverage = {"resourceType": "Coverage", "id": "k", "beneficiary": {"reference": "Patient/p"}, "payor": payor}
    said = [events(each) for each in (patient, condition, of_visit, coverage, {"resourceType": "Group"})]
    assert [[(e.kind, e.visit, e.patient, e.features) for e in each] for each in said] == [
        [("update", "", "<p>", {"sex": "Female", "age": "66"})],
        [],
        [("update", "<e>", "<p>", {"condition": "J45"})],
        [("update", "", "<p>", {"insurer": "Aetna"})],
        [],
    ]


def test_a_notification_of_r4b_names_its_subscription_and_its_events():
    status = {
        "resourceType": "SubscriptionStatus", "type": "event-notification", "eventsSinceSubscriptionStart": "310",
        "subscription": {"reference": "Subscription/s"},
        "notificationEvent": [{"eventNumber": "309"}, {"eventNumber": 310}],
    }  # fmt: skip
    assert Resources.notice([status, ENCOUNTER]) == ("s", {309, 310}, 310)
    assert Resources.notice([status]) == ("s", set(), 310)  # what it tells of must be asked for
    assert Resources.notice([ENCOUNTER]) is Resources.notice([{"resourceType": "Parameters"}]) is None


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b'{"resourceType": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_resource_is_refused(content):
    with pytest.raises(MessageRefused, match="expected"):
        list(Resources(READER).parts(content))


def test_a_table_comes_as_the_messages_that_would_have_told_it(described, admissions_csv):
    dataset, cells = described(admissions_csv), pd.read_csv(admissions_csv)
    said = [READER.events(READER.parse(message.content), NOW) for message in read_table(admissions_csv, dataset, FEED)]
    assert [e.recorded for each in said for e in each] == sorted(e.recorded for each in said for e in each)
    visits = {}
    for (event,) in said:
        visits.setdefault(event.visit, []).append(event)
    visit = fold("1", visits["<V1>"])
    row = cells.iloc[0]
    assert (visit.status, str(visit.discharged.date())) == ("out", row["Discharge Date"])
    assert visit.features["admitted_on"] == row["Date of Admission"]
    for role, name in (("age", "Age"), ("sex", "Gender"), ("condition", "Medical Condition")):
        assert visit.features[role] == str(row[name]).removesuffix(".0")
    assert visit.features["admission_type"] == row["Admission Type"]


def test_a_table_without_its_columns_is_refused(described, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceUnreadable):
        read_table(tmp_path / "other.csv", described(tmp_path / "other.csv"), FEED)


def test_files_of_messages_are_read_framed_or_not(tmp_path):
    one, two = b"MSH|^~\\&|A||||20260101000000\rPID|1\r", b"MSH|^~\\&|B\rPV1|1\r"
    for name, content in (
        ("plain.hl7", one + two),
        ("blank.hl7", one.replace(b"\r", b"\r\n") + b"\n\n" + two.replace(b"\r", b"\n")),
        ("framed.hl7", b"\x0b" + one + b"\x1c\r\x0b" + two + b"\x1c\r"),
    ):
        (tmp_path / name).write_bytes(content)
        assert [message.content for message in read_messages(tmp_path / name)] == [one, two]
    assert read_messages(tmp_path / "plain.hl7")[0].at == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    (tmp_path / "bulk.ndjson").write_text('{"a": 1}\n\n{"b": 2}\n')
    assert len(read_messages(tmp_path / "bulk.ndjson")) == 2


def test_a_feed_of_long_ago_comes_as_if_its_last_week_were_this_one():
    said = (
        b"MSH|^~\\&|A||||20190508101500\rEVN||20190508101500\rPID|1||7||||19600520\rPV1|1|I" + b"|" * 42 + b"20190507\r"
    )
    one = Sent(said, datetime(2019, 5, 8, 10, 15, tzinfo=UTC).timestamp())
    now = datetime(2026, 11, 29, 9, tzinfo=UTC)  # a Sunday; the message is of a Wednesday
    past, (moved,) = one._replace(at=one.at - 86_400), as_if_now([one], now.timestamp())
    assert datetime.fromtimestamp(moved.at, UTC) == datetime(2026, 12, 2, 10, 15, tzinfo=UTC)
    assert moved.content.count(b"20261202101500") == 2
    assert b"|20261201\r" in moved.content
    assert [b"19671215" in moved.content, b"2019" in moved.content] == [True, False]
    assert as_if_now([one._replace(content=said.replace(b"|20190507", b"|20190231"))], now.timestamp())  # no such day
    waits = []
    assert [each.at for each in as_if_now([past, one], now.timestamp())] == [moved.at - 86_400, moved.at]
    list(as_time_goes([Sent(b"", 0.0), Sent(b"", wall_clock() + 60)], waits.append))
    assert waits == [0.0, pytest.approx(60, abs=1)]
    with pytest.raises(ConfigurationInvalid, match="1 of these do not say when"):
        as_if_now([one, Sent(b"{}", None)], 0.0)


def test_a_bad_line_loses_nothing_and_errs_as_often_as_it_is_to():
    messages = [Sent(f"{i}".encode(), None) for i in range(2000)]
    line = Fault(disorder=0.05, repeat=0.1, drop=0.02, seed=3).apply(messages)
    assert {one.content for one in line} == {one.content for one in messages}
    assert len(line) - len(messages) == pytest.approx(200, abs=45)
    order = [int(one.content) for one in line]
    assert sum(b < a for a, b in pairwise(order)) == pytest.approx(100, abs=45)
    assert sum(one.broken for one in line) == pytest.approx(44, abs=25)
    assert Fault(disorder=0.0, repeat=0.0, drop=0.0, seed=3).apply(messages) == messages
