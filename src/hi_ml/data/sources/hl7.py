"""What does an HL7 v2 message say of a visit? The few fields that the feed's YAML names; all others are dropped."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cached_property
from itertools import islice
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from hi_ml.app.config import STRICT, Name
from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.events import Event, Kind

Key = Callable[[str], str]  # the key of a number, under which it may be kept

_WANTED = {"MSH", "EVN", "PID", "PV1", "PV2", "DG1", "IN1", "OBX", "FT1", "MRG"}
# What may leave a message as a cell: neither a name, an address, a number of a person nor free text; PID-7 as years.
_SHOWN = {
    "PID": {7, 8, 10, 15, 16, 17, 22, 26},
    "PV1": {2, 3, 4, 6, 10, 11, 12, 13, 14, 15, 16, 18, 20, 36, 37, 38, 39, 41},
    "PV2": {2, 3, 7, 10, 11, 21, 22, 25, 38},
    "DG1": {2, 3, 6, 15, 17},
    "IN1": {2, 3, 4, 15},
    "OBX": {3, 5, 6, 8, 11},
    "FT1": {6, 7, 10, 11, 13, 16, 18, 19, 25},
}
_CODED = {"NM", "CE", "CWE", "CNE", "IS", "ID"}  # kinds of OBX-5 that hold no free text
_LONGEST_CELL = 100  # characters: a longer one is no code
_KINDS: dict[str, Kind] = {
    "A01": "admit", "A04": "admit", "A05": "plan", "A14": "plan", "A02": "transfer", "A03": "discharge",
    "A06": "class", "A07": "class", "A08": "update", "A28": "update", "A31": "update",
    "A11": "cancel_admit", "A12": "cancel_transfer", "A13": "cancel_discharge", "A27": "cancel_plan",
    "A38": "cancel_plan", "A34": "merge_patient", "A40": "merge_patient", "A45": "move_visit", "A50": "move_visit",
}  # fmt: skip
_OF_PATIENTS = {"ADT^A28", "ADT^A31"}  # that speak of a person, whatever visit they name
_CHARSETS = {"": "", "ASCII": "ascii", "UNICODE UTF-8": "utf-8", "UNICODE": "utf-8", "UTF-8": "utf-8"}
_LATIN = re.compile(r"8859/(\d+)")
_ESCAPE = re.compile(r"\\([FSTRE]|X[0-9A-Fa-f]*|\.[^\\]*|[HN])\\")
_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6})\d*)?([+-]\d{4})?")
_FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-(\d+)(?:\.(\d+))?")
_BROKEN = "\ufffd"  # what stands for bytes outside of the charset
_STRANGE = "found bytes outside of its charset (MSH-18, or else mllp.charset)"
_TAKEN_BACK = '""'
_NEVER = "9999"  # the year of an end that is open
YEARS = (1850, 2200)
_MOST_GROUPS = 500  # visits or patients that one message may speak of
_VERSION = re.compile(r"2(\.\d+)*")


class Header(NamedTuple):
    """The first segment of a message: who sent it, and how it is to be answered."""

    separator: str
    encoding: str  # the other separators: of components, repetitions, escapes and subcomponents
    sender: str  # MSH-3 and MSH-4
    receiver: str
    trigger: str  # MSH-9: ADT^A01
    control: str
    processing: str
    version: str
    accept: str = ""  # MSH-15: when an acceptance is wanted; empty in the original mode
    application: str = ""

    @property
    def enhanced(self) -> bool:
        """Whether the sender asks by MSH-15 or MSH-16 for what it wants to hear."""
        return bool(self.accept or self.application)


class Message(NamedTuple):
    """A message, cut into its segments; those that nobody asks for are left out."""

    header: Header
    segments: list[list[str]]


class CellAddress(NamedTuple):
    """Where a cell stands in a message."""

    segment: str
    field: int
    component: int

    @classmethod
    def of(cls, written: str) -> "CellAddress":
        """Read an address like PV1-3.4.

        Raises
        ------
        ValueError
            If it is none.
        """
        match = _FIELD.fullmatch(written)
        if match is None:
            raise ValueError("expected a field such as PID-8, or a component such as PV1-3.4")
        return cls(match[1], int(match[2]), int(match[3] or 1))


def _shown(written: str) -> str:
    address = CellAddress.of(written)
    if address.field not in _SHOWN.get(address.segment, ()):
        listed = "; ".join(f"{name} {', '.join(map(str, sorted(fields)))}" for name, fields in _SHOWN.items())
        raise ValueError(f"expected a field that holds no name, number or text of a person: {listed}")
    return written


def _as_from(node: object) -> object:
    return {"from": node} if isinstance(node, str) else node


@checked(frozen=True, config=ConfigDict(extra="forbid", validate_by_name=True))
class Filled:
    """One column of the dataset, and what fills it."""

    source: Annotated[str, AfterValidator(_shown)] = Field(alias="from")
    codes: dict[str, str] = Field(default_factory=dict)  # the table's word for the sender's; others pass as they are


@checked(frozen=True, config=STRICT)
class Feed:
    """Which field of a message says what: one option of ``conf/feed``."""

    name: Name
    columns: dict[Name, Annotated[Filled, BeforeValidator(_as_from)]]  # by role of the dataset
    unit: Annotated[str, AfterValidator(_shown)]
    patient_type: str | None  # PID-3.5 of the number that names the patient; null, or where none is so: the first
    authority: bool  # whether numbers differ by who gave them (PID-3.4, PV1-19.4), where hospitals share a feed
    updates: list[str]  # further kinds of messages that fill columns, such as ORU^R01

    @cached_property
    def cells(self) -> list[tuple[str, CellAddress, dict[str, str]]]:
        """The columns, ready to be read: role, address, codes."""
        return [(role, CellAddress.of(filled.source), filled.codes) for role, filled in self.columns.items()]

    @cached_property
    def ward(self) -> CellAddress:
        """Where the unit stands."""
        return CellAddress.of(self.unit)


@dataclass(frozen=True)
class Reader:
    """Reads the messages of one site."""

    feed: Feed
    key: Key
    zone: tzinfo  # of times without an offset; all times come in it
    charset: str = "utf-8"  # of messages that do not say theirs (MSH-18)

    def parse(self, content: bytes) -> Message:
        """Cut a message into its segments, whatever ends their lines.

        Raises
        ------
        MessageRefused
            If nobody could say what it is, or in which version.
        """
        content = content.removeprefix(b"\xef\xbb\xbf").lstrip()
        head = re.split(rb"[\r\n]", content, maxsplit=1)[0].decode("latin-1")
        header, charset = _header(head)
        text = content.decode(charset or self.charset, "replace").replace("\n", "\r")
        lines = text.split("\r")
        if sum(line.startswith("MSH") for line in lines) > 1:
            raise MessageRefused("AR", "MSH", "two messages stand in one frame")
        return Message(header, [line.split(header.separator) for line in lines if line[:3] in _WANTED])

    def events(self, message: Message, received: datetime) -> list[Event]:
        """Say what happened; nothing, for a message of a kind that says nothing of visits.

        Raises
        ------
        MessageRefused
            If it is of a kind that does, and says what cannot be.
        """
        kind = self._kind(message)
        if kind is None:
            return []
        stamp = next((line for line in message.segments if line[0] == "EVN"), [])
        header = message.segments[0]
        recorded = self._moment(stamp, 2) or self._moment(header, 6) or received.astimezone(self.zone)
        happened = self._moment(stamp, 6)
        groups = list(islice(_groups(message.segments), _MOST_GROUPS + 1))
        if len(groups) > _MOST_GROUPS:
            raise MessageRefused("AE", "PID", f"expected at most {_MOST_GROUPS} patients or visits")
        if message.header.trigger in _OF_PATIENTS:
            groups = [{"PID": lines["PID"]} for lines in groups if "PID" in lines]
        return [_Group(self, message.header, lines).event(kind, recorded, happened) for lines in groups]

    def _kind(self, message: Message) -> Kind | None:
        trigger = message.header.trigger
        if trigger.startswith("ADT^"):
            return _KINDS.get(trigger[4:])
        return "update" if trigger in self.feed.updates else None

    def _moment(self, line: list[str], field: int) -> datetime | None:
        """A time that may be wrong, since another stands in for it."""
        try:
            return moment(line[field], self.zone) if len(line) > field else None
        except ValueError:
            return None


@dataclass(frozen=True)
class _Group:
    """The segments of a message that speak of one visit or patient, by name."""

    reader: Reader
    header: Header
    lines: Mapping[str, list[str]]

    def event(self, kind: Kind, recorded: datetime, happened: datetime | None) -> Event:
        if kind == "merge_patient":
            return self._merge(recorded, happened)
        of_patient = self.header.trigger in _OF_PATIENTS
        visit = "" if of_patient else self._number("PV1", 19) or self._number("PID", 18)
        if of_patient and not self._number("PID", 3):
            raise MessageRefused("AE", "PID-3", "expected the number of the patient")
        if not (visit or of_patient):
            raise MessageRefused("AE", "PV1-19", "expected the number of the visit, there or in PID-18")
        prior = self._prior(visit) if kind == "move_visit" else ""
        admitted, discharged = (None, None) if self._is_foreign else self._span()
        own = {"admit": admitted, "discharge": discharged}.get(kind)
        happened = happened or own or recorded
        features = self._features(admitted or happened)
        return Event(
            "update" if kind == "move_visit" and not prior else kind, recorded, happened,
            self.header.sender, self.header.control, visit, self._number("PID", 3), prior,
            (self._cell(CellAddress("PV1", 2, 1)) or "").upper(), self._cell(self.reader.feed.ward) or "",
            features.get("hospital", ""), admitted, discharged, features,
        )  # fmt: skip

    def _merge(self, recorded: datetime, happened: datetime | None) -> Event:
        stays, goes = self._number("PID", 3), self._number("MRG", 1)
        if not (stays and goes) or stays == goes:
            missing = "MRG-1" if stays else "PID-3"
            raise MessageRefused("AE", missing, "expected the numbers of two patients, of which one stays")
        sender, control = self.header.sender, self.header.control
        return Event("merge_patient", recorded, happened or recorded, sender, control, patient=stays, prior=goes)

    def _prior(self, visit: str) -> str:
        prior = self._number("MRG", 5)
        renames = self.header.trigger == "ADT^A50"
        if not prior or (renames and prior == visit):
            raise MessageRefused("AE", "MRG-5", "expected the number that the visit had before")
        return "" if prior == visit else prior

    @property
    def _is_foreign(self) -> bool:
        """Whether the message is none of admission: what it says of the stay's ends is a copy."""
        return not self.header.trigger.startswith("ADT^")

    def _span(self) -> tuple[datetime | None, datetime | None]:
        ends = []
        for field in (44, 45):
            text = self._field("PV1", field)
            try:
                ends.append(moment(text, self.reader.zone))
            except ValueError as error:
                raise MessageRefused("AE", f"PV1-{field}", "expected a date, or a date and time") from error
        start, end = ends
        if start is not None and end is not None:
            end = later_of_two(end, start)
            if end.timestamp() < start.timestamp():
                raise MessageRefused("AE", "PV1-45", "the visit ends before it begins (PV1-44)")
        return start, end

    def _features(self, at: datetime) -> dict[str, str]:
        features = {}
        for role, address, codes in self.reader.feed.cells:
            cell = self._age(at) if address[:2] == ("PID", 7) else self._cell(address)
            if cell is not None:
                features[role] = codes.get(cell, cell)
        return features

    def _age(self, at: datetime) -> str | None:
        """The years of a person at a moment: a date of birth stays in its message."""
        text = self._field("PID", 7)
        if text == _TAKEN_BACK:
            return ""
        try:
            born = moment(text, self.reader.zone)
        except ValueError:
            return None
        if born is None or born > at:
            return None
        return str(years(born, at))

    def _cell(self, address: CellAddress) -> str | None:
        """What a component says; empty where it takes back, None where it says nothing."""
        segment, field, component = address
        text = self._field(segment, field)
        if text == _TAKEN_BACK:
            return ""
        if not text or (segment == "OBX" and field == 5 and self._field("OBX", 2) not in _CODED):  # noqa: PLR2004
            return None
        between, again, escape, sub = tuple(self.header.encoding)
        parts = text.split(again, 1)[0].split(between)
        if len(parts) < component:
            return None
        cell = _unescaped(parts[component - 1].split(sub, 1)[0], escape, self.header).strip()
        if cell == _TAKEN_BACK:
            return ""
        if _BROKEN in cell or len(cell) > _LONGEST_CELL:
            reason = _STRANGE if _BROKEN in cell else f"expected a code, found more than {_LONGEST_CELL} characters"
            raise MessageRefused("AE", f"{segment}-{field}", reason)
        return cell or None

    def _number(self, segment: str, field: int) -> str:
        """The key of a number of a visit or a patient; empty where there is none."""
        between, again, _, sub = tuple(self.header.encoding)
        numbers = [number.split(between) for number in self._field(segment, field).split(again)]
        if segment in ("PID", "MRG") and self.reader.feed.patient_type:
            wanted = [parts for parts in numbers if parts[4:5] == [self.reader.feed.patient_type]]
            numbers = wanted or numbers
        parts = [part.strip() for part in numbers[0]]
        if not parts[0] or parts[0] == _TAKEN_BACK:
            return ""
        if _BROKEN in parts[0]:
            raise MessageRefused(
                "AE", f"{segment}-{field}", "found bytes outside of its charset (MSH-18, mllp.charset)"
            )
        giver = parts[3].split(sub)[0] if self.reader.feed.authority and len(parts) > 3 else ""  # noqa: PLR2004
        return self.reader.key(f"{parts[0]}^{giver}" if giver else parts[0])

    def _field(self, segment: str, field: int) -> str:
        line = self.lines.get(segment, ())
        return line[field] if len(line) > field else ""


def _header(head: str) -> tuple[Header, str]:
    """Read the first line, and the charset that it names; empty where it names none."""
    if not head.startswith("MSH") or len(head) < 8 or head[3].isalnum():  # noqa: PLR2004 -- MSH|^~\&
        raise MessageRefused("AR", "MSH-1", "expected a message that begins with MSH and its separators")
    fields = [*head.split(head[3]), *[""] * 18][:18]
    encoding = (fields[1] + "^~\\&"[len(fields[1]) :])[:4]
    kind = fields[8].split(encoding[0])
    header = Header(
        head[3], encoding, f"{fields[2]}|{fields[3]}", f"{fields[4]}|{fields[5]}", "^".join(kind[:2]),
        fields[9].strip(), fields[10], fields[11].split(encoding[0])[0].strip(), fields[14].strip(), fields[15].strip(),
    )  # fmt: skip
    if not kind[0] or not header.control:
        raise MessageRefused(
            "AR", "MSH-10" if kind[0] else "MSH-9", "expected a kind of message and its number", header
        )
    if not _VERSION.fullmatch(header.version):
        raise MessageRefused("AR", "MSH-12", "expected a version 2 of HL7", header)
    name = fields[17].split(encoding[1])[0].strip().upper()
    latin = _LATIN.fullmatch(name)
    charset = f"iso8859-{latin[1]}" if latin else _CHARSETS.get(name)
    if charset is None:
        raise MessageRefused("AR", "MSH-18", "expected a charset such as UNICODE UTF-8, ASCII or 8859/1", header)
    return header, charset


def _groups(segments: list[list[str]]) -> Iterator[Mapping[str, list[str]]]:
    """Part what a message says of one visit or patient from what it says of the next (PID MRG PID MRG PV1 MRG PV1)."""
    group: dict[str, list[str]] = {}
    for line in segments:
        name = line[0]
        if name in ("PID", "MRG") and name in group:
            yield group
            group = {} if name == "PID" else {"PID": group["PID"]} if "PID" in group else {}
        group.setdefault(name, line)
    yield group


def years(born: datetime, at: datetime) -> int:
    """Return how old somebody is."""
    return at.year - born.year - ((at.month, at.day) < (born.month, born.day))


def moment(text: str, zone: tzinfo) -> datetime | None:
    """Read a time of HL7 in the zone of the site; None for nothing.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> from datetime import UTC
    >>> moment("20261129081500+0100", UTC).isoformat(), moment("2026", UTC).isoformat()
    ('2026-11-29T07:15:00+00:00', '2026-01-01T00:00:00+00:00')
    """
    text = text.split("^", 1)[0].strip()
    if text in ("", _TAKEN_BACK) or text.startswith(_NEVER):
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("expected YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if not YEARS[0] <= int(year) <= YEARS[1]:
        raise ValueError("expected a year of people who live")
    local = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
        int((fraction or "0").ljust(6, "0")), tzinfo=_offset(offset) if offset else zone,
    )  # fmt: skip
    return local.astimezone(zone)


def later_of_two(end: datetime, start: datetime) -> datetime:
    """Take the second of the two hours of one name, where a clock is put back between two moments."""
    return end.replace(fold=1) if end.timestamp() < start.timestamp() <= end.replace(fold=1).timestamp() else end


def _offset(text: str) -> timezone:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _unescaped(text: str, escape: str, header: Header) -> str:
    """Undo the escapes of a component, after it was cut."""
    if escape not in text:
        return text
    between, again, mark, sub = tuple(header.encoding)
    plain = {"F": header.separator, "S": between, "R": again, "E": mark, "T": sub}

    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code in plain:
            return plain[code]
        if code.startswith("X") and len(code) % 2:
            return bytes.fromhex(code[1:]).decode("utf-8", "replace")
        return " " if code.startswith(".") else ""

    return _ESCAPE.sub(one, text.replace(escape, "\\"))
