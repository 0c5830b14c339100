"""What a hospital says of a visit in one message, whichever format it came in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal[
    "admit", "plan", "transfer", "discharge", "update", "class",
    "cancel_admit", "cancel_plan", "cancel_transfer", "cancel_discharge",
    "merge_patient", "move_visit",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a visit, or to a patient; every time is of the site's zone, names are keys."""

    kind: Kind
    recorded: datetime  # when the sender wrote it down
    happened: datetime  # when it happened; as recorded where the sender does not say
    sender: str
    control: str  # the sender's number of the message
    visit: str = ""  # the visit number as a key; empty where the event is of a patient
    patient: str = ""
    prior: str = ""  # of a merge or a move: the key of the patient or visit that goes
    patient_class: str = ""  # as in HL7: I inpatient, O outpatient, E emergency, P planned; empty where not said
    unit: str = ""
    hospital: str = ""
    admitted: datetime | None = None
    discharged: datetime | None = None  # of a discharge; elsewhere it says nothing
    # cells by role of the dataset; one that is empty was taken back, one that is absent was not said
    features: Mapping[str, str] = field(default_factory=dict)

    @property
    def order(self) -> tuple[str, ...]:
        """The place of the event among all others: equal only for equal events, whenever they came."""
        return (
            *(_utc(moment) for moment in (self.recorded, self.happened)), self.sender, self.control.rjust(20),
            self.kind, self.visit, self.patient, self.prior, self.patient_class, self.unit, self.hospital,
            str(self.admitted), str(self.discharged), repr(sorted(self.features.items())),
        )  # fmt: skip


def _utc(moment: datetime) -> str:
    return f"{moment.timestamp():020.6f}"
