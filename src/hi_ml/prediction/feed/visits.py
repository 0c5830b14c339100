"""What is a visit? The fold of its events in the order in which they were recorded, whenever they came."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from hi_ml.data.sources.events import Event

_STRUCK = {"cancel_plan": "plan", "cancel_transfer": "transfer", "cancel_discharge": "discharge"}
_DAY = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class Visit:
    """A stay of one person, as far as its events say; names are keys, times are of the site's zone."""

    visit: str
    patient: str = ""
    # unheard: no event says that somebody came, or will
    status: Literal["unheard", "planned", "in", "out", "cancelled"] = "unheard"
    patient_class: str = ""  # as in `Event`
    unit: str = ""
    hospital: str = ""
    admitted: datetime | None = None
    discharged: datetime | None = None
    features: Mapping[str, str] = field(default_factory=dict)  # cells by role of the dataset, admitted_on among them

    def days(self, at: datetime) -> float:
        """Return the days stayed until a moment, or until the end if that came before; 0 where none is known."""
        if self.admitted is None:
            return 0.0
        end = at if self.discharged is None else min(at, self.discharged)
        return max(0.0, (end.timestamp() - self.admitted.timestamp()) / _DAY)


def fold(visit: str, events: Iterable[Event]) -> Visit:
    """Make a visit of its events, whichever order they come in and however often.

    Parameters
    ----------
    visit : str
        The key that the visit goes by; its events may have had others before a merge.
    events : iterable of Event
        Those of the visit, and those of its patient alone.
    """
    distinct = {event.order: event for event in events}
    state = Visit(visit)
    for event in _effective(distinct[order] for order in sorted(distinct)):
        state = _after(state, event)
    day = {"admitted_on": state.admitted.date().isoformat()} if state.admitted else {}
    return replace(state, features={role: cell for role, cell in state.features.items() if cell} | day)


def _effective(events: Iterable[Event]) -> list[Event]:
    """Leave out what was cancelled later: the last of its kind, with an admission all that followed or needs it."""
    kept: list[Event] = []
    for event in events:
        if event.kind == "cancel_admit":
            first = _arrival_of(kept)
            kept = [past for i, past in enumerate(kept) if i < first or past.kind == "plan" or not past.visit]
        elif event.kind in _STRUCK:
            struck = _run_of(kept, _STRUCK[event.kind])
            kept = [past for i, past in enumerate(kept) if i not in struck]
        kept.append(event)
    return kept


def _run_of(kept: list[Event], kind: str) -> set[int]:
    """Where the last event of a kind was told, and told again: a discharge since an arrival, a transfer to one unit."""
    told = [i for i, past in enumerate(kept) if past.kind == kind]
    if not told:
        return set()
    unit = kept[told[-1]].unit
    begun = max((i for i, past in enumerate(kept[: told[-1]]) if _parts(past, kind, unit)), default=-1)
    return {i for i in told if i > begun}


def _parts(past: Event, kind: str, unit: str) -> bool:
    return past.kind in ("admit", "class") or (past.kind == kind == "transfer" and past.unit != unit)


def _arrival_of(kept: list[Event]) -> int:
    """Where the last arrival was told first, which may have been said again since; 0 where it was never told."""
    arrivals = [i for i, past in enumerate(kept) if past.kind in ("admit", "class")]
    if not arrivals or kept[arrivals[-1]].kind == "class":
        return arrivals[-1] if arrivals else 0
    other = max((i for i, past in enumerate(kept) if past.kind in ("class", "discharge")), default=-1)
    return next((i for i in arrivals if i > other), arrivals[-1])


def _after(state: Visit, event: Event) -> Visit:
    """Take one event that was not cancelled into a visit."""
    return replace(
        state,
        **_presence(state, event),
        patient=event.patient or state.patient,
        patient_class=event.patient_class or state.patient_class,
        unit=event.unit or state.unit,
        hospital=event.hospital or state.hospital,
        features={**state.features, **event.features},
    )


def _presence(state: Visit, event: Event) -> dict[str, Any]:
    """Say what an event changes of whether somebody is there, since when and until when."""
    if event.kind in ("admit", "class"):
        return _arrival(state, event)
    if event.kind == "discharge":
        end = event.discharged or event.happened
        return {"status": "out", "admitted": event.admitted or state.admitted, "discharged": end}
    if event.kind == "plan":
        return {"status": "planned"} if state.status in ("unheard", "cancelled") else {}
    if event.kind in ("cancel_admit", "cancel_plan"):
        return {"status": "cancelled"} if state.status == "unheard" else {}
    return _correction(state, event)


def _correction(state: Visit, event: Event) -> dict[str, Any]:
    if state.status == "unheard" and _shows_presence(event):
        return {"status": "in", "admitted": event.admitted or event.happened}
    if state.status == "out" and event.kind == "update":  # a correction of both ends
        return {"admitted": event.admitted or state.admitted, "discharged": event.discharged or state.discharged}
    return {"admitted": event.admitted or state.admitted} if state.status == "in" else {}


def _arrival(state: Visit, event: Event) -> dict[str, Any]:
    start = event.admitted or event.happened
    if (
        state.discharged is not None and start.timestamp() <= state.discharged.timestamp()
    ):  # written down after the discharge
        return {"admitted": start}
    if state.status == "in" and event.kind == "admit":  # said again
        start = event.admitted or state.admitted or start
    return {"status": "in", "admitted": start, "discharged": None}


def _shows_presence(event: Event) -> bool:
    """Whether an event of a visit whose admission was never heard of shows that somebody is there."""
    if event.kind == "update":
        return bool(event.visit) and event.admitted is not None and event.discharged is None
    return event.kind in ("transfer", "cancel_transfer", "cancel_discharge")
