"""What does a resource of FHIR R4 say of a visit? Encounter, Patient, Coverage, Condition, alone or in a Bundle."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.events import Event, Kind
from hi_ml.data.sources.hl7 import YEARS, Reader, years

_CLASSES = {"IMP": "I", "ACUTE": "I", "NONAC": "I", "AMB": "O", "SS": "O", "EMER": "E", "PRENC": "P", "OBSENC": "B"}
_STATES: dict[str, tuple[Kind, ...]] = {
    "planned": ("plan",),
    "arrived": ("admit",), "triaged": ("admit",),
    "in-progress": ("cancel_discharge", "admit"), "onleave": ("cancel_discharge", "admit"),
    "finished": ("discharge",),
    "cancelled": ("cancel_plan", "cancel_admit"), "entered-in-error": ("cancel_plan", "cancel_admit"),
}  # fmt: skip
_SEXES = {"female": "F", "male": "M", "other": "O", "unknown": "U"}  # as PID-8 says it
# What is said of a visit or a patient by further kinds of resources: which fields name the one and the other.
_SAYS = {"Patient": ("", "id"), "Condition": ("encounter", "subject"), "Coverage": ("", "beneficiary")}
_LONGEST = 100  # characters of a cell
_DIGITS = 15  # of the number of an event
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_STATUS = ("Parameters", "SubscriptionStatus")  # how a notification of R4, and of R4B, says what it is
Resource = Mapping[str, Any]


class Notice(NamedTuple):
    """What a notification of a subscription says of itself."""

    subscription: str
    events: frozenset[int]  # the numbers of those that it tells with their resources
    last: int  # the highest number so far


@dataclass(frozen=True)
class Resources:
    """Reads the resources of one site; what fills which column, the feed's YAML says in the fields of HL7 v2."""

    reader: Reader

    def parts(self, content: bytes) -> Iterator[Resource]:
        """Yield the resources of a posted text.

        Raises
        ------
        MessageRefused
            If it is no JSON, or no resource.
        """
        try:
            whole = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise MessageRefused("AR", "content", "expected JSON") from error
        if not isinstance(whole, dict) or not isinstance(whole.get("resourceType"), str):
            raise MessageRefused("AR", "resourceType", "expected a resource of FHIR R4")
        if whole["resourceType"] != "Bundle":
            yield whole
            return
        for entry in _list(whole, "entry"):
            if isinstance(entry.get("resource"), dict):
                yield entry["resource"]

    @staticmethod
    def notice(parts: Sequence[Resource]) -> Notice | None:
        """Return what the resources of a Bundle say of the subscription that sends them; None where they say nothing.

        Raises
        ------
        MessageRefused
            If they name none that can be asked for what was missed.
        """
        if not parts or parts[0].get("resourceType") not in _STATUS:
            return None
        said = _flat(parts[0])
        named = [_number(_dict({"at": it}, "at")) for name, it in said if name == "subscription"]
        numbers = [_whole(value) for name, value in said if name == "eventnumber"]
        last = [_whole(value) for name, value in said if name == "eventssincesubscriptionstart"]
        if not (named or numbers or last):
            return None  # parameters of something else
        if not named or not _ID.fullmatch(named[0]):
            raise MessageRefused("AE", "Bundle.entry[0].subscription", "expected a reference to a Subscription")
        return Notice(named[0], frozenset(numbers if len(parts) > 1 else ()), max([0, *numbers, *last]))

    def events(self, resource: Resource, received: datetime) -> list[Event]:
        """Say what a resource says; nothing for one of another kind.

        Raises
        ------
        MessageRefused
            If it says what cannot be.
        """
        kind, meta = resource.get("resourceType"), _dict(resource, "meta")
        recorded = self._moment(_text(meta, "lastUpdated"), "meta.lastUpdated") or received.astimezone(self.reader.zone)
        control = f"{kind}/{_text(resource, 'id')}/{_text(meta, 'versionId')}"
        if kind == "Encounter":
            return self._encounter(resource, recorded, control)
        if kind not in _SAYS or (kind == "Condition" and "encounter" not in resource):
            return []  # a condition of no visit may be long past, or of the family
        cells = {"Patient": self._person, "Condition": _diagnosis, "Coverage": _payer}[kind](resource, recorded)
        visit, patient = (self._key_of(resource, where) if where else "" for where in _SAYS[kind])
        features = self._features(cells)
        return [Event("update", recorded, recorded, "FHIR", control, visit, patient, features=features)]

    def _person(self, resource: Resource, recorded: datetime) -> dict[str, str]:
        born = self._moment(_text(resource, "birthDate"), "birthDate")
        age = "" if born is None or born > recorded else str(years(born, recorded))
        return {"PID-8": _SEXES.get(_text(resource, "gender"), ""), "PID-7": age}

    def _encounter(self, resource: Resource, recorded: datetime, control: str) -> list[Event]:
        kinds = _STATES.get(_text(resource, "status"))
        if kinds is None:
            raise MessageRefused("AE", "Encounter.status", f"expected one of {', '.join(_STATES)}")
        period = _dict(resource, "period")
        start, end = (self._moment(_text(period, each), f"Encounter.period.{each}") for each in ("start", "end"))
        if start is None and ("admit" in kinds or "discharge" in kinds):
            raise MessageRefused("AE", "Encounter.period", "expected its start")
        if end is None and "discharge" in kinds:
            raise MessageRefused("AE", "Encounter.period", "expected its end, since the encounter is finished")
        if start is not None and end is not None and end.timestamp() < start.timestamp():
            raise MessageRefused("AE", "Encounter.period", "it ends before it begins")
        places = [_dict(at, "location") for at in _list(resource, "location") if at.get("status") != "completed"]
        unit = _text(places[-1], "display") or _number(places[-1]) if places else ""
        hospital = _text(_dict(resource, "serviceProvider"), "display")
        happened = (end if kinds[-1] == "discharge" else start) or recorded
        said = Event(
            kinds[-1], recorded, happened, "FHIR", control, self._key_of(resource, "id"),
            self._key_of(resource, "subject"), "", _CLASSES.get(_text(_dict(resource, "class"), "code"), ""),
            unit[:_LONGEST], hospital[:_LONGEST], start, end,
            self._features({"PV1-3": hospital, "PV1-4": _code(_dict(resource, "priority"))}),
        )  # fmt: skip
        return [replace(said, kind=kind) for kind in kinds]

    def _features(self, cells: Mapping[str, str]) -> dict[str, str]:
        """Fill the columns that the feed fills from these fields of HL7 v2."""
        said = {
            role: (codes, cells.get(f"{address.segment}-{address.field}", "")[:_LONGEST])
            for role, address, codes in self.reader.feed.cells
        }
        return {role: codes.get(cell, cell) for role, (codes, cell) in said.items() if cell}

    def _key_of(self, resource: Resource, field: str) -> str:
        """The key of what a field names, whatever server stands before it."""
        number = _text(resource, "id") if field == "id" else _number(_dict(resource, field))
        if not number:
            raise MessageRefused("AE", f"{resource.get('resourceType')}.{field}", "expected the number that it goes by")
        return self.reader.key(number)

    def _moment(self, text: str, field: str) -> datetime | None:
        if not text:
            return None
        whole = text if len(text) > len("2026-11") else f"{text}{'-01-01'[(len(text) - 4) :]}"
        try:
            moment = datetime.fromisoformat(whole)
        except ValueError as error:
            raise MessageRefused("AE", field, "expected a date or a time of FHIR") from error
        if not YEARS[0] <= moment.year <= YEARS[1]:
            raise MessageRefused("AE", field, "expected a year of people who live")
        zone = self.reader.zone
        return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)


def _diagnosis(resource: Resource, _recorded: datetime) -> dict[str, str]:
    return {"DG1-3": _code(_dict(resource, "code"))}


def _payer(resource: Resource, _recorded: datetime) -> dict[str, str]:
    """Who pays, where it is an organisation: a person who pays has a name."""
    payers = (payer for payer in _list(resource, "payor") if "Organization/" in _text(payer, "reference"))
    return {"IN1-4": next((_text(payer, "display") or _number(payer) for payer in payers), "")}


def _code(concept: Resource) -> str:
    return next((_text(coding, "code") for coding in _list(concept, "coding")), "")


def _flat(status: Resource) -> list[tuple[str, Any]]:
    """The names and values of a status, however R4 (Parameters) or R4B (SubscriptionStatus) nests and spells them."""
    said: list[tuple[str, Any]] = []
    for one in [*_list(status, "parameter"), *_list(status, "part")]:
        value = next((value for key, value in one.items() if key.startswith("value")), None)
        said += [(_text(one, "name").replace("-", "").lower(), value), *_flat(one)]
    said += [("subscription", status["subscription"])] if "subscription" in status else []
    for one in [status, *_list(status, "notificationEvent")]:
        said += [(key.lower(), one[key]) for key in ("eventsSinceSubscriptionStart", "eventNumber") if key in one]
    return said


def _whole(value: Any) -> int:
    return int(value) if str(value).isdecimal() and len(str(value)) <= _DIGITS else 0


def _number(reference: Resource) -> str:
    return _text(reference, "reference").rstrip("/").rpartition("/")[2].removeprefix("urn:uuid:")


def _dict(resource: Resource, name: str) -> Resource:
    value = resource.get(name)
    return value if isinstance(value, dict) else {}


def _list(resource: Resource, name: str) -> list[Resource]:
    value = resource.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(resource: Resource, name: str) -> str:
    value = resource.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""  # halves of a character
