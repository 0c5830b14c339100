"""Who is in house? Each message of the log folds its visit anew; what changed is noted, position by position."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hi_ml.data.sources.events import Event
from hi_ml.prediction.feed.log import Log, ScoreRow, folded, names
from hi_ml.prediction.feed.visits import Visit

_BATCH = 500  # messages folded in one commit
Scoring = Callable[[Sequence[Visit], int], Sequence[ScoreRow]]  # of visits as they stand at a position


def _no_scores(_visits: Sequence[Visit], _position: int) -> Sequence[ScoreRow]:
    return ()


@dataclass
class Ledger:
    """The visits of a log, and the census of those in house."""

    log: Log
    counted: str  # class of the patients that the census counts: I
    score: Scoring = _no_scores
    position: int = 0  # up to which messages are folded
    here: dict[str, Visit] = field(default_factory=dict)  # counted visits in house
    census: Counter[str] = field(default_factory=Counter)  # of them, by `ward`
    _visits: dict[str, str] = field(default_factory=dict)  # under which key goes what was moved
    _people: dict[str, str] = field(default_factory=dict)
    _stirred: set[str] = field(default_factory=set)  # wards that somebody left or entered with the present message

    @classmethod
    def of(cls, log: Log, counted: str, score: Scoring = _no_scores) -> "Ledger":
        """Take up where the last process ended."""
        ledger = cls(log, counted, score, log.state("folded", 0))
        for visit in log.visits("in"):
            ledger._count(visit)
        ledger._rename(ledger.position)
        return ledger

    def catch_up(self) -> int:
        """Fold the messages that have come since, at most a batch of them, and return how many there were."""
        messages = self.log.after(self.position, _BATCH)
        if not messages:
            return 0
        states: dict[str, Visit] = {}
        before: dict[str, Visit | None] = {}
        gone: set[str] = set()
        changes = []
        for position, events in messages:
            self._stirred.clear()
            if any(event.prior for event in events):
                self._rename(position)
                gone |= self._moved(events, states)
            for key in dict.fromkeys(key for event in events for key in self._touched(event, states)):
                before.setdefault(key, self.here.get(key))
                states[key] = self._folded(key, position)
                self._count(states[key])
            changes.append((position, self._change(position, events)))
        last = messages[-1][0]
        changed = [visit for key, visit in self.here.items() if key in before and _differs(visit, before[key])]
        self.log.keep(last, states.values(), gone - states.keys(), changes, self.score(changed, last))
        self.position = last
        return len(messages)

    def _moved(self, events: Sequence[Event], states: dict[str, Visit]) -> set[str]:
        """Take out what goes under another key from now on."""
        moves = [event for event in events if event.kind == "move_visit"]
        old = {key for event in moves for key in self._same(self._visits, event.visit) - {self._visits[event.visit]}}
        for key in old:
            states.pop(key, None)
            self._remove(key)
        return old

    def _touched(self, event: Event, states: dict[str, Visit]) -> list[str]:
        """The keys of the visits that an event may change."""
        if event.visit:
            return [self._visits.get(event.visit, event.visit)]
        numbers = self._same(self._people, event.patient)
        new = [key for key, visit in states.items() if visit.patient in numbers]
        return [self._visits.get(key, key) for key in dict.fromkeys([*self.log.visits_of(numbers), *new])]

    def _folded(self, key: str, until: int) -> Visit:
        events = self.log.events_of(self._same(self._visits, key), until)
        people = {number for event in events for number in self._same(self._people, event.patient) if number}
        alone: dict[str, list[Event]] = {}
        for event in self.log.events_of_patients(people, until):
            if event.kind == "update":
                alone.setdefault(self._people.get(event.patient, event.patient), []).append(event)
        return folded(key, events, alone, self._people)

    def _same(self, renamed: dict[str, str], key: str) -> set[str]:
        """All keys of what goes under a key."""
        if key not in renamed:
            return {key}
        return {each for each, name in renamed.items() if name == renamed[key]}

    def _rename(self, until: int) -> None:
        renames = self.log.renames(until)
        self._visits = names(event for event in renames if event.kind == "move_visit")
        self._people = names(event for event in renames if event.kind == "merge_patient")

    def _count(self, visit: Visit) -> None:
        """Bring the census up to date with one visit."""
        self._remove(visit.visit)
        if visit.status == "in" and visit.patient_class == self.counted:
            self.here[visit.visit] = visit
            self.census[ward(visit)] += 1
            self._stirred.add(ward(visit))

    def _remove(self, key: str) -> None:
        before = self.here.pop(key, None)
        if before is not None:
            self.census[ward(before)] -= 1
            self._stirred.add(ward(before))
            if not self.census[ward(before)]:
                del self.census[ward(before)]

    def _change(self, position: int, events: Sequence[Event]) -> str:
        """Write what a message changed: the census after it, and that of the wards it concerns."""
        wards = {name: self.census.get(name, 0) for name in sorted(self._stirred)}
        kinds = [event.kind for event in events]
        return json.dumps({"position": position, "kinds": kinds, "census": len(self.here), "units": wards})


def _differs(visit: Visit, before: Visit | None) -> bool:
    """Whether another stay is to be expected than before."""
    return before is None or (visit.features, visit.unit, visit.admitted) != (
        before.features,
        before.unit,
        before.admitted,
    )


def ward(visit: Visit) -> str:
    """Name where somebody lies: hospital and unit."""
    return " / ".join(part for part in (visit.hospital, visit.unit) if part) or "unknown"
