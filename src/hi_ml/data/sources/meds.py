"""Which admissions does a folder in the Medical Event Data Standard hold, and what was known of each by its cut-off?

``source: {reader: meds, path: <folder>, cut: before}`` reads ``data/**/*.parquet``, the events of all subjects, and
what ``metadata`` knows of codes and splits. An admission begins with a code of ``start`` and ends with the next one of
``end``. Events until the ``moment`` become columns: ``last <code>``, its latest number, ``count <code>``, how often it
was there, and where that is asked for ``text <code>``, its latest text.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid, SourceUnreadable
from hi_ml.data.columns import name_columns
from hi_ml.data.location import way_of
from hi_ml.data.schema import Dataset
from hi_ml.data.sources import files
from hi_ml.data.sources.meds_events import BIRTH, DEATH, SEX, STATIC, Events, Integers, of_subject, shards
from hi_ml.data.sources.stays import DerivedSource, Moments, age, history

READER = "meds"
_FORMS = ("last", "count", "text")  # of a column that events become
_MADE = tuple(f"{form} " for form in _FORMS)
_LISTS = ("start", "end", "codes")
_HOUR = np.timedelta64(1, "h")


@settings(frozen=True, config=STRICT)
class Way:
    """How events become admissions: the keys beside ``reader: meds``."""

    path: str
    cut: Literal["before", "at"]  # is an event at exactly the moment left out, or taken?
    moment: Literal["admission", "discharge"] = "admission"  # until which events are taken
    start: list[str] = field(default_factory=lambda: ["HOSPITAL_ADMISSION"])  # codes, or what stands before their //
    end: list[str] = field(default_factory=lambda: ["HOSPITAL_DISCHARGE"])
    # what becomes columns: codes, what stands before their // or their parents, alone or behind last, count or text;
    # none: the ``most`` codes that most subjects have
    codes: list[str] = field(default_factory=list)
    most: int = Field(default=50, ge=0)

    @classmethod
    def of(cls, location: str) -> "Way":
        """Take an address apart."""
        path, said = way_of(location)
        if "cut" not in said:
            raise ConfigurationInvalid.no_cut(path)
        plain: dict[str, Any] = {key: words if key in _LISTS else words[0] for key, words in said.items()}
        return cls(path=path, **plain)

    @property
    def root(self) -> Path:
        """The folder."""
        return Path(self.path).expanduser()


@dataclass(frozen=True)
class MedsSource(DerivedSource):
    """The admissions of a MEDS folder, at ``meds:<path>#cut=...``."""

    location: str
    way: Way
    events: Events
    asked: tuple[str, ...] = ()  # columns that somebody needs, whether there are such events or not

    @staticmethod
    def opens(location: str, _: bytes) -> bool:
        """Tell whether it is such an address, or a folder that is laid out so."""
        return location.startswith(f"{READER}:") or files.is_folder(f"{location}/metadata")

    @staticmethod
    def rules(location: str) -> dict[str, Any]:
        """Say how admissions are made of events; which columns there are is no rule."""
        way = Way.of(location)
        return {"reader": READER, "cut": way.cut, "moment": way.moment, "start": way.start, "end": way.end}

    @classmethod
    def open(cls, location: str, dataset: Dataset) -> "MedsSource":
        """Read the events.

        Raises
        ------
        SourceUnreadable
            If there are none, or none that begins an admission.
        ConfigurationInvalid
            If it is not said whether an event at the moment itself is known, or columns are called known before it.
        """
        way = Way.of(location)
        texts = any(code.startswith("text ") for code in way.codes)
        source = cls(location, way, Events.read(way.root, way.start, text=texts))
        if way.moment == "discharge":
            columns = name_columns(dataset, source.schema.names).present().values()
            early = [one.sources[0] for one in columns if one.known in ("admission", "stay")]
            if late := [name for name in early if name.partition(" ")[0] in (*_FORMS, "events", "hours_since_event")]:
                raise ConfigurationInvalid.known_too_early(late[0])
        return source

    def asking(self, names: Sequence[str]) -> "MedsSource":
        """Return it with columns that somebody needs, empty where no event fills them."""
        lacking = [name for name in names if name not in self.schema.names and name.startswith((STATIC, *_MADE))]
        return replace(self, asked=tuple(lacking)) if lacking else self

    def sha256(self) -> str:
        """Return the digest of all files, and of how they are read."""
        digest = hashlib.sha256(repr(replace(self.way, path="")).encode())
        for path in [*shards(self.way.root), *sorted(self.way.root.glob("metadata/*.parquet"))]:
            digest.update(f"{path.relative_to(self.way.root).as_posix()} {files.sha256(str(path))}".encode())
        return digest.hexdigest()

    @cached_property
    def table(self) -> pa.Table:
        """The admissions, by subject and start."""
        events, way = self.events, self.way
        starts, ends = events.stays(way.start, way.end)
        if not len(starts):
            raise SourceUnreadable.no_start(way.path, way.start, [events.names[code] for code in events.commonest])
        subject, start = events.subject[starts], events.time[starts]
        end = np.where(ends >= 0, events.time[ends], np.datetime64("NaT"))
        began, ended = events.words(starts, way.start), events.words(ends, way.end)
        died = events.first(DEATH, subject)
        past = history(subject, start, end, np.full(len(start), events.time.max()))
        return pa.table(
            {
                "subject_id": pa.array(subject),
                "subject_split": self._split(subject),
                "admitted_on": pa.array(start),
                "age": age(events.first(BIRTH, subject), start),
                "sex": events.sex(subject),
                "admission_type": began[0],
                "admission_source": began[1],
                **events.lasting(subject),
                **{name: pa.nulls(len(subject), pa.string()) for name in self.asked if name.startswith(STATIC)},
                **events.said_at(subject, start),
                "earlier_admissions": past["earlier_admissions"],
                "days_since_discharge": past["days_since_discharge"],
                **self._features(subject, start if way.moment == "admission" else end),
                "discharged_on": pa.array(end),
                "disposition": ended[0],
                "died_on": pa.array(died),
                "readmitted": pc.if_else(pa.array(died <= end), pa.scalar(None, pa.string()), past["readmitted"]),
            }
        )

    def _features(self, subject: Integers, moment: Moments) -> dict[str, pa.Array]:
        """What the events until the moment say: how many there are, a column for each code, and when the last was."""
        events = self.events
        first, stop = events.first_of(subject), events.until(subject, moment, at=self.way.cut == "at")
        since = (moment - events.time[np.maximum(stop - 1, 0)]) / _HOUR
        asked = [name for name in self.asked if not name.startswith(STATIC)]
        columns = {
            "events": pa.array(stop - first),
            **{name: self._feature(name, first, stop) for name in (*self._wanted(), *asked)},
            "hours_since_event": pa.array(np.where(stop > first, since, np.nan), from_pandas=True),
        }
        unknown = pa.array(np.isnat(moment))
        return {name: pc.if_else(unknown, pa.scalar(None, cells.type), cells) for name, cells in columns.items()}

    def _feature(self, name: str, first: Integers, stop: Integers) -> pa.Array:
        form, _, code = name.partition(" ")
        events, texts = self.events, self.events.text
        position = events.positions(events.meant(code))
        if form == "last":
            position = position[~np.isnan(events.number[position])]
        elif form == "text" and texts is not None:
            position = position[texts.is_valid().to_numpy(zero_copy_only=False)[position]]
        upto = np.searchsorted(position, stop)
        if form == "count":
            return pa.array(upto - np.searchsorted(position, first))
        latest = np.append(position, -1)[upto - 1]
        there = (upto > 0) & (latest >= first)
        if form == "text":
            return (pa.nulls(1, pa.string()) if texts is None else texts).take(pa.array(latest, mask=~there))
        return pa.array(np.where(there, events.number[latest].astype(float), np.nan), from_pandas=True)

    def _wanted(self) -> list[str]:
        """The columns that events become, by name."""
        events, way = self.events, self.way
        if way.codes:
            pairs = [[code] if code.startswith(_MADE) else [f"last {code}", f"count {code}"] for code in way.codes]
            return list(dict.fromkeys(name for names in pairs for name in names))
        own = {*events.belonging([*way.start, *way.end, BIRTH, DEATH, *SEX])}
        common = [code for code in events.commonest if code not in own][: way.most]
        valued = np.bincount(events.code[~np.isnan(events.number)], minlength=len(events.names)) > 0
        return [f"{'last' if valued[code] else 'count'} {events.names[code]}" for code in common]

    def _split(self, subject: Integers) -> pa.Array:
        path = self.way.root / "metadata" / "subject_splits.parquet"
        if not path.is_file():
            return pa.nulls(len(subject), pa.string())
        table = pq.read_table(path, columns=["subject_id", "split"])
        words = {"subject_id": table["subject_id"].cast(pa.int64()), "word": table["split"].cast(pa.string())}
        return of_subject(pa.table(words), subject)


SOURCE = MedsSource
