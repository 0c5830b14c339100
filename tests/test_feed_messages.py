"""Messages of HL7 v2, however they are cut, ended and written; python-hl7 is the oracle of the cutting."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hl7 as oracle
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hi_ml.app.config import build, conf_dir
from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.hl7 import Feed, Header, Reader, moment
from hi_ml.data.sources.wire import NOBODY, Framer, acknowledge, frame

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NODE = yaml.safe_load((conf_dir() / "feed" / "default.yaml").read_text())
READER = Reader(build(Feed, NODE), lambda number: f"<{number}>", ZoneInfo("Europe/Berlin"))


def message(trigger="A01", *, pid="PID|1||77^^^H^MR||Doe^Jane||19600520|F", pv1=None, **header):
    """A message as a hospital sends it, with CR at the end of each line."""
    of = {"type": "ADT", "control": "1", "version": "2.5", "charset": "", "accept": "", "application": ""} | header
    pv1 = pv1 or "PV1|1|I|W1^2^B^Mercy&9&ISO|U" + "|" * 15 + "V1^^^H" + "|" * 25 + "20260228"
    head = f"MSH|^~\\&|ADT|H|HI|ML|20260301080000||{of['type']}^{trigger}^X|{of['control']}|P|{of['version']}"
    head += f"|||{of['accept']}|{of['application']}||{of['charset']}"
    lines = [head, "EVN||20260301075900", pid, "NK1|1|Secret^Name", pv1, "DG1|1||Asthma^x", "IN1|1|||Aetna&a^b", ""]
    return "\r".join(lines).encode()


def events(content):
    return READER.events(READER.parse(content), NOW)


def test_an_admission_says_who_lies_where_since_when():
    (event,) = events(message())
    assert (event.kind, event.visit, event.patient, event.patient_class) == ("admit", "<V1>", "<77>", "I")
    assert (event.unit, event.hospital, event.sender, event.control) == ("W1", "Mercy", "ADT|H", "1")
    assert event.recorded == datetime(2026, 3, 1, 7, 59, tzinfo=READER.zone)
    assert event.admitted == event.happened == datetime(2026, 2, 28, tzinfo=READER.zone)
    assert event.features == {
        "age": "65", "sex": "Female", "condition": "Asthma", "insurer": "Aetna", "admission_type": "Urgent",
        "hospital": "Mercy",
    }  # fmt: skip
    assert "Doe" not in repr(event)
    assert "1960" not in repr(event)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\n\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\r\n "])
def test_line_ends_and_marks_change_nothing(end, mark):
    assert events(mark + message().replace(b"\r", end)) == events(message())


@pytest.mark.parametrize(
    ("trigger", "kinds"),
    [
        ("A01", ["admit"]), ("A04", ["admit"]), ("A05", ["plan"]), ("A02", ["transfer"]), ("A03", ["discharge"]),
        ("A06", ["class"]), ("A07", ["class"]), ("A08", ["update"]), ("A11", ["cancel_admit"]), ("A14", ["plan"]),
        ("A12", ["cancel_transfer"]), ("A13", ["cancel_discharge"]), ("A38", ["cancel_plan"]), ("A31", ["update"]),
        ("A09", []), ("A60", []), ("Z99", []),
    ],
)  # fmt: skip
def test_the_trigger_is_that_of_the_header(trigger, kinds):
    content = message(trigger).replace(b"EVN||", b"EVN|A40|")
    assert [event.kind for event in events(content)] == kinds


def test_merges_name_who_stays_and_who_goes_each_with_its_own():
    two = message("A40") + b"MRG|5^^^H^MR\rPID|2||88^^^H^MR\rMRG|6^^^H^MR\r"
    assert [(e.kind, e.patient, e.prior, e.visit) for e in events(two)] == [
        ("merge_patient", "<77>", "<5>", ""),
        ("merge_patient", "<88>", "<6>", ""),
    ]
    moves = message("A45").replace(b"PV1", b"MRG|5||||V0\rPV1")
    assert [(e.kind, e.visit, e.prior, e.patient) for e in events(moves)] == [("move_visit", "<V1>", "<V0>", "<77>")]


def test_what_is_said_of_a_person_is_of_all_visits_and_says_nothing_of_where_they_are():
    (event,) = events(message("A31"))
    assert (event.visit, event.patient, event.unit, event.admitted) == ("", "<77>", "", None)
    assert set(event.features) == {"age", "sex"}


@pytest.mark.parametrize(
    ("content", "code", "field"),
    [
        (b"", "AR", "MSH-1"),
        (b"GET / HTTP/1.1\r\n\r\n", "AR", "MSH-1"),
        (message(control=""), "AR", "MSH-10"),
        (message(version="3.0"), "AR", "MSH-12"),
        (message(version=""), "AR", "MSH-12"),
        (message(charset="KLINGON"), "AR", "MSH-18"),
        (message() + message(), "AR", "MSH"),
        (message(pv1="PV1|1|I"), "AE", "PV1-19"),
        (message("A31", pid="PID|1"), "AE", "PID-3"),
        (message().replace(b"|20260228", b"|2026022x"), "AE", "PV1-44"),
        (message().replace(b"|20260228", b"|20260231"), "AE", "PV1-44"),
        (message().replace(b"|20260228", b"|00010101000000+1400"), "AE", "PV1-44"),
        (message("A03").replace(b"|20260228", b"|20260228|20260227"), "AE", "PV1-45"),
        (message("A40") + b"PID|1||7\rMRG|8\r" * 501, "AE", "PID"),
        (message("A40"), "AE", "MRG-1"),
        (message("A40") + b"MRG|77^^^H^MR\r", "AE", "MRG-1"),
        (message("A50"), "AE", "MRG-5"),
        (message("A50").replace(b"PV1", b"MRG|5||||V1\rPV1"), "AE", "MRG-5"),
        (message().replace(b"Asthma", b"Asthm\xff"), "AE", "DG1-3"),
        (message().replace(b"Asthma", b"A" * 101), "AE", "DG1-3"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field_and_without_what_stands_there(content, code, field):
    with pytest.raises(MessageRefused) as refused:
        events(content)
    assert (refused.value.code, refused.value.field) == (code, field)
    assert "Doe" not in str(refused.value)


def test_bytes_outside_of_the_charset_hurt_only_where_they_are_wanted():
    assert events(message().replace(b"Jane", b"J\xe4ne")) == events(message())
    assert events(message(charset="8859/1").replace(b"Asthma", b"\xe4"))[0].features["condition"] == "ä"
    assert events(message(charset="UNICODE UTF-8").replace(b"Asthma", "ä".encode()))[0].features["condition"] == "ä"


def test_escapes_are_undone_after_the_cutting_and_two_quotes_take_back():
    (event,) = events(message().replace(b"Asthma^x", rb"A\T\B\S\C\X2D\D\.br\E\H\F\N\^x"))
    assert event.features["condition"] == "A&B^C-D EF"
    (event,) = events(message("A08").replace(b"Asthma^x", b'""'))
    assert event.features["condition"] == ""


def test_numbers_of_the_wanted_type_name_the_patient_and_their_giver_counts_where_it_is_to():
    two = message(pid="PID|1||1^^^SSA^SS~2^^^H&9^MR||||x|M")
    assert events(two)[0].patient == "<2>"
    assert "age" not in events(two)[0].features
    apart = replace(READER, feed=build(Feed, NODE | {"authority": True}))
    assert apart.events(apart.parse(two), NOW)[0].patient == "<2^H>"
    assert events(message(pid="PID|||3|||||||||||||||V9", pv1="PV1||I"))[0].visit == "<V9>"


def test_other_kinds_of_messages_fill_columns_where_the_feed_asks_and_open_no_visit():
    results = message("R01", type="ORU") + b"OBX|1|NM|glucose||7.1\rOBX|2|TX|text||Jane is ill\r"
    assert events(results) == []
    node = NODE | {"updates": ["ORU^R01"], "columns": {"test_result": "OBX-5"}}
    asked = replace(READER, feed=build(Feed, node))
    (event,) = asked.events(asked.parse(results), NOW)
    assert (event.kind, event.features, event.admitted) == ("update", {"test_result": "7.1"}, None)
    (event,) = asked.events(asked.parse(results.replace(b"NM", b"TX")), NOW)
    assert event.features == {}


@pytest.mark.parametrize("field", ["PID-5", "PID-11.1", "PID-3", "PV1-7", "NK1-2", "DG1-4", "age", "PV1"])
def test_no_column_is_filled_from_what_names_a_person(field):
    with pytest.raises(ValidationError, match="expected a field"):
        build(Feed, NODE | {"columns": {"age": field}})


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026", "2026-01-01T00:00:00+01:00"),
        ("202607011200", "2026-07-01T12:00:00+02:00"),
        ("20260701120030.25-0500", "2026-07-01T19:00:30.250000+02:00"),
        ("20261025023000+0100", "2026-10-25T02:30:00+01:00"),  # the hour that comes twice
        ("20261025023000+0200", "2026-10-25T02:30:00+02:00"),
    ],
)
def test_every_time_comes_in_the_zone_of_the_site(text, iso):
    assert moment(text, READER.zone).isoformat() == iso


@pytest.mark.parametrize("ends", [b"202610250250|202610250210", b"202610250250+0200|202610250210+0100"])
def test_where_a_clock_is_put_back_an_end_may_be_written_before_its_begin(ends):
    (event,) = events(message("A03").replace(b"|20260228", b"|" + ends))
    assert event.discharged.timestamp() - event.admitted.timestamp() == 20 * 60


def test_an_end_of_the_year_9999_is_none():
    (event,) = events(message().replace(b"|20260228", b"|20260228|99991231"))
    assert event.discharged is None


@given(st.binary(max_size=300))
def test_any_bytes_end_in_events_or_in_a_refusal(content):
    for tried in (content, message()[: len(content)] + content, message().replace(b"PV1|1", content)):
        refused = None
        try:
            READER.events(READER.parse(tried), NOW)
        except MessageRefused as error:
            refused = error
        assert refused is None or acknowledge(refused.header or NOBODY, NOW, refused)


def answers(content, refused=None, **how):
    return [oracle.parse(one.decode()) for one in acknowledge(READER.parse(content).header, NOW, refused, **how)]


def test_an_answer_names_the_message_and_turns_sender_and_receiver():
    (answer,) = answers(message(control="X|7".replace("|", "")))
    assert (str(answer["MSA"][0][1]), str(answer["MSA"][0][2])) == ("AA", "X7")
    assert [str(answer["MSH"][0][i]) for i in (3, 4, 5, 6, 12)] == ["HI", "ML", "ADT", "H", "2.5"]
    assert str(answer["MSH"][0][9]) == "ACK^A01^ACK"
    (answer,) = answers(message(), MessageRefused("AE", "PV1-19", "no | number"))
    assert (str(answer["MSA"][0][1]), str(answer["ERR"][0][2])) == ("AE", "PV1^1^19")
    assert answers(message(), busy=True)[0]["MSA"][0][1] == ["AE"]


@pytest.mark.parametrize(
    ("accept", "application", "good", "bad"),
    [
        ("", "", ["AA"], ["AE"]),
        ("AL", "", ["CA"], ["CE"]),
        ("AL", "NE", ["CA"], ["CE"]),
        ("NE", "NE", [], []),
        ("NE", "AL", ["AA"], ["AE"]),
        ("ER", "SU", ["AA"], ["CE"]),
        ("AL", "AL", ["CA", "AA"], ["CE", "AE"]),
    ],
)
def test_the_enhanced_mode_answers_what_was_asked_for(accept, application, good, bad):
    content = message(accept=accept, application=application)
    refused = MessageRefused("AE", "PV1-19", "no number")
    for expected, said in ((good, answers(content)), (bad, answers(content, refused))):
        assert [str(answer["MSA"][0][1]) for answer in said] == expected


STREAM = b"\r\n" + frame(b"MSH|a") + b"\x00\x00" + b"\x0bMSH|b\x1c" + frame(b"MSH|c\x0bd") + frame(b"MSH|lost\x0bMSH|e")


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_of_the_stream_gives_the_same_messages(cuts):
    framer, messages = Framer(1000), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(STREAM)], strict=True):
        messages += framer.feed(STREAM[start:end])
    assert [m.content for m in messages] == [b"MSH|a", b"MSH|b", b"MSH|c\x0bd", b"MSH|e"]


@pytest.mark.parametrize("step", [1_000, 2**20 + 7])
def test_a_message_of_the_limit_passes_and_one_byte_more_is_cut_to_its_header(step):
    longest = 2**20
    stream = frame(b"MSH|" + b"x" * (longest - 4)) + frame(b"MSH|" + b"x" * (longest - 3)) + frame(b"MSH|after")
    framer, messages = Framer(longest), []
    for start in range(0, len(stream), step):
        messages += framer.feed(stream[start : start + step])
    assert [(m.whole, len(m.content)) for m in messages] == [(True, longest), (False, 4096), (True, 9)]
    assert messages[1].content.startswith(b"MSH|")


def test_python_hl7_reads_what_we_read():
    theirs = oracle.parse(message().decode())
    ours = READER.parse(message())
    assert ours.header == Header(
        "|", "^~\\&", "ADT|H", "HI|ML", "ADT^A01", str(theirs["MSH"][0][10]), "P", str(theirs["MSH"][0][12])
    )
    for line in ours.segments[1:]:
        assert line[1:] == [str(field) for field in theirs.segment(line[0])[1:]]
