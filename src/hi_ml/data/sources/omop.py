"""Which admissions does a folder of tables in the OMOP common data model hold, 5.3 or 5.4?

``source: {reader: omop, path: <folder>}`` reads the visits, and of each what ``person``, ``care_site``,
``condition_occurrence``, ``cost``, ``death`` and ``observation_period`` say of it, CSV or Parquet, names in upper or
lower case. Concepts are told in words where ``concept`` is there.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.location import way_of
from hi_ml.data.schema import MISSING_WORDS, Dataset
from hi_ml.data.sources import files
from hi_ml.data.sources.csv import likely_form
from hi_ml.data.sources.stays import DerivedSource, Moments, age, history
from hi_ml.data.sources.table import open_source
from hi_ml.scorer.serving import comparable, convert

READER = "omop"
_TABLES = (
    "visit_occurrence", "person", "care_site", "condition_occurrence", "cost", "death", "observation_period", "concept",
)  # fmt: skip
_NEEDED = {
    "visit_occurrence": ("visit_occurrence_id", "person_id", "visit_start_date"),
    "person": ("person_id",),
    "concept": ("concept_id", "concept_name"),
}
_REQUIRED = ("visit_occurrence", "person")
_INPATIENT = ["9201", "262"]  # Inpatient Visit; Emergency Room and Inpatient Visit
_ALL = "all"
_PRIMARY = ["32901", "32902", "32903", "44786627", "38000183", "38000199"]  # statuses and types of a main diagnosis
_MAIN = ("condition_status_concept_id", "condition_type_concept_id")
_MONEY = ("total_charge", "total_cost", "total_paid")


@settings(frozen=True, config=STRICT)
class Visits:
    """Which visits are admissions: the keys beside ``reader: omop``."""

    path: str
    visits: list[str] = field(default_factory=lambda: list(_INPATIENT))  # their visit_concept_id; all: every one

    @classmethod
    def of(cls, location: str) -> "Visits":
        """Take an address apart."""
        path, said = way_of(location)
        plain: dict[str, Any] = {key: words if key == "visits" else words[0] for key, words in said.items()}
        return cls(path=path, **plain)

    @property
    def root(self) -> Path:
        """The folder."""
        return Path(self.path).expanduser()


@dataclass(frozen=True)
class _Table:
    """Some columns of one table, under their names in lower case; one that is absent is null."""

    cells: Mapping[str, pa.Array]
    rows: int

    def raw(self, name: str) -> pa.Array:
        return self.cells.get(name, pa.nulls(self.rows, pa.string()))

    def ids(self, *names: str) -> pa.Array:
        """Of the first of these columns that is there."""
        present = next((name for name in names if name in self.cells), names[0])
        coded = _typed(self.raw(present), "identifier")
        return pa.array(map(comparable, coded.dictionary.to_pylist()), pa.string()).take(coded.indices)

    def numbers(self, name: str) -> NDArray[np.float64]:
        return np.asarray(_typed(self.raw(name), "number").to_numpy(zero_copy_only=False), dtype=float)

    def moments(self, stem: str) -> pa.Array:
        """The moment where it is known, else the day, as they are written."""
        return _either(self.raw(f"{stem}_datetime"), self.raw(f"{stem}_date"))


@dataclass(frozen=True)
class OmopSource(DerivedSource):
    """The admissions of a folder of OMOP tables, at ``omop:<path>``."""

    location: str
    way: Visits
    dataset: Dataset

    @staticmethod
    def opens(location: str, _: bytes) -> bool:
        """Tell whether it is such an address, or a folder with a table of visits."""
        return location.startswith(f"{READER}:") or (
            files.is_folder(location) and "visit_occurrence" in _paths(Path(location).expanduser())
        )

    @staticmethod
    def rules(location: str) -> dict[str, Any]:
        """Say which visits are admissions."""
        return {"reader": READER, "visits": Visits.of(location).visits}

    @classmethod
    def open(cls, location: str, dataset: Dataset) -> "OmopSource":
        """Look for the tables.

        Raises
        ------
        SourceUnreadable
            If visits or persons are absent.
        """
        way = Visits.of(location)
        found = _paths(way.root)
        if lacking := [name for name in _REQUIRED if name not in found]:
            raise SourceUnreadable.no_standard(way.path, READER, f"{lacking[0]}.csv or {lacking[0]}.parquet")
        return cls(location, way, dataset)

    def sha256(self) -> str:
        """Return the digest of all tables, and of how they are read."""
        digest = hashlib.sha256(repr(replace(self.way, path="")).encode())
        for name, paths in sorted(_paths(self.way.root).items()):
            for path in paths:
                digest.update(f"{name} {files.sha256(str(path))}".encode())
        return digest.hexdigest()

    @cached_property
    def table(self) -> pa.Table:
        """The admissions, in the order of the visits."""
        visit, person = self._read("visit_occurrence"), self._read("person")
        kind = visit.ids("visit_concept_id")
        if _ALL not in self.way.visits:
            chosen = pc.fill_null(pc.is_in(kind, pa.array(self.way.visits)), fill_value=False)
            if not pc.any(chosen).as_py():
                raise SourceUnreadable.no_visits(self.way.path, self.way.visits, _commonest(kind))
            visit = _Table({name: cells.filter(chosen) for name, cells in visit.cells.items()}, pc.sum(chosen).as_py())
        key, who = visit.ids("visit_occurrence_id"), visit.ids("person_id")
        begun, ended = visit.moments("visit_start"), visit.moments("visit_end")
        start, end = _times(begun), _times(ended)
        owner = pc.index_in(who, person.ids("person_id"))
        site, death = self._read("care_site"), self._read("death")
        at = pc.index_in(visit.ids("care_site_id"), site.ids("care_site_id"))
        died = _extreme(death.ids("person_id"), _times(death.moments("death")), who, "min")
        past = self._past(who, start, end)
        return pa.table(
            {
                "visit_occurrence_id": key,
                "person_id": who,
                "admitted_on": begun,
                "visit": self._words(visit, "visit"),
                "admission_source": self._words(visit, "admitted_from", "admitting_source"),
                "care_site": site.ids("care_site_name").take(at),
                "place_of_service": self._words(site, "place_of_service").take(at),
                "age": age(_born(person)[_index(owner)], start),
                "sex": self._words(person, "gender").take(owner),
                "race": self._words(person, "race").take(owner),
                "ethnicity": self._words(person, "ethnicity").take(owner),
                "earlier_admissions": past["earlier_admissions"],
                "days_since_discharge": past["days_since_discharge"],
                "discharged_on": ended,
                "disposition": self._words(visit, "discharged_to", "discharge_to"),
                **self._conditions(key),
                **self._costs(key),
                "died_on": pa.array(died),
                "readmitted": pc.if_else(pa.array(died <= end), pa.scalar(None, pa.string()), past["readmitted"]),
            }
        )

    def _past(self, who: pa.Array, start: Moments, end: Moments) -> dict[str, pa.Array]:
        """What the stays of a person say of each other, in the order of the visits."""
        period = self._read("observation_period")
        followed = _extreme(period.ids("person_id"), _times(period.moments("observation_period_end")), who, "max")
        followed = np.where(np.isnat(followed), np.fmax.reduce(end, initial=np.datetime64("NaT")), followed)
        code = who.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        order = np.lexsort((end, start, code))
        back = pa.array(np.argsort(order))
        told = history(code[order], start[order], end[order], followed[order])
        return {name: cells.take(back) for name, cells in told.items()}

    def _conditions(self, visit: pa.Array) -> dict[str, pa.Array]:
        """The main condition of each visit, its code in the hospital's own words, and how many there are.

        That is one of a primary status or type, else the first by its number.
        """
        table = self._read("condition_occurrence")
        owner = table.ids("visit_occurrence_id")
        primary = [pc.is_in(table.ids(name), pa.array(_PRIMARY)) for name in _MAIN]
        further = ~np.logical_or(*(mask.to_numpy(zero_copy_only=False) for mask in primary))
        order = pa.array(np.lexsort((table.numbers("condition_occurrence_id"), further)))
        first = order.take(pc.index_in(visit, owner.take(order)))
        counts = pc.value_counts(owner)
        count = counts.field("counts").take(pc.index_in(visit, counts.field("values")))
        return {
            "condition": self._words(table, "condition").take(first),
            "condition_code": table.ids("condition_source_value").take(first),
            "conditions": pc.fill_null(count, 0) if table.rows else count,
        }

    def _costs(self, visit: pa.Array) -> dict[str, pa.Array]:
        """The sums of what each visit costs."""
        table = self._read("cost")
        owner, domain = table.ids("cost_event_id"), pc.utf8_lower(table.ids("cost_domain_id"))
        ours = pc.fill_null(pc.equal(domain, "visit"), fill_value="cost_domain_id" not in table.cells)
        rows = pa.table({name: pa.array(table.numbers(name), from_pandas=True) for name in _MONEY} | {"owner": owner})
        sums = rows.filter(ours).group_by("owner").aggregate([(name, "sum") for name in _MONEY])
        place = pc.index_in(visit, sums["owner"].combine_chunks())
        return {name: sums[f"{name}_sum"].combine_chunks().take(place) for name in _MONEY}

    def _words(self, table: _Table, *stems: str) -> pa.Array:
        """What a concept is called; where there is none, the word of the source."""
        ids = table.ids(*(f"{stem}_concept_id" for stem in stems))
        ids = pc.if_else(pc.equal(ids, "0"), pa.scalar(None, pa.string()), ids)
        named = self._concepts.get("concept_name", pa.array([], pa.string()))
        known = self._concepts.get("concept_id", pa.array([], pa.string()))
        told = pc.coalesce(named.take(pc.index_in(ids, known)), ids)
        return pc.coalesce(told, table.ids(*(f"{stem}_source_value" for stem in stems)))

    @cached_property
    def _concepts(self) -> dict[str, pa.Array]:
        """The names of the concepts that the tables speak of; a vocabulary has millions."""
        asked: set[str] = set()
        for name in ("visit_occurrence", "person", "care_site", "condition_occurrence"):
            table = self._read(name)
            columns = [column for column in table.cells if column.endswith("_concept_id")]
            asked.update(*(table.ids(column).unique().to_pylist() for column in columns))
        table = self._read("concept", among=pa.array(asked - {None}, pa.string()))
        return {"concept_id": table.ids("concept_id"), "concept_name": table.ids("concept_name")}

    @cached_property
    def _kept(self) -> dict[str, _Table]:
        return {}

    def _read(self, name: str, *, among: pa.Array | None = None) -> _Table:
        """One table, of concepts those that are asked for; without rows where it is absent."""
        if name not in self._kept:
            self._kept[name] = self._fetch(name, among)
        return self._kept[name]

    def _fetch(self, name: str, among: pa.Array | None) -> _Table:
        parts = []
        for path in _paths(self.way.root).get(name, ()):
            form: dict[str, Any] = likely_form(str(path))
            source = open_source(str(path), replace(self.dataset, **form))
            there = {column.lower(): column for column in source.schema.names}
            if lacking := [column for column in _NEEDED.get(name, ()) if column not in there]:
                raise SourceUnreadable.no_standard(str(path), READER, f"the column {lacking[0]}")
            columns = {lower: column for lower, column in there.items() if _is_read(lower, name)}
            for piece in source.pieces(list(columns.values())):
                table = piece.table.rename_columns(list(columns))
                if among is not None:
                    table = table.filter(pc.is_in(table["concept_id"].cast(pa.string()), among))
                parts.append(table)
        if not parts:
            return _Table({}, 0)
        whole = pa.concat_tables(parts, promote_options="permissive").unify_dictionaries()
        return _Table({column: whole[column].combine_chunks() for column in whole.column_names}, len(whole))


def _is_read(column: str, table: str) -> bool:
    if table == "concept":
        return column in ("concept_id", "concept_name")
    return column.endswith(("_id", "_date", "_datetime", "_value", "_name", "_of_birth")) or column in _MONEY


def _paths(root: Path) -> dict[str, list[Path]]:
    """The files of each table: one of its name, or all in a folder of its name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        name = path.name.partition(".")[0].lower()
        if name in _TABLES:
            inside = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
            found.setdefault(name, []).extend(sorted(one for one in inside if not one.name.startswith((".", "_"))))
    return {name: paths for name, paths in found.items() if paths}


def _typed(cells: pa.Array, kind: str) -> pa.Array:
    return convert(cells, {"kind": kind, "missing": MISSING_WORDS, "low": None, "high": None, "format": None})[0]


def _times(cells: pa.Array) -> Moments:
    return np.asarray(_typed(cells, "date").to_numpy(zero_copy_only=False)).astype("datetime64[us]")


def _either(one: pa.Array, other: pa.Array) -> pa.Array:
    """The first cell that says something, as it is written; two kinds of dates become moments."""
    one, other = (cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells for cells in (one, other))
    if pa.types.is_string(one.type) and one.null_count < len(one):
        one = pc.if_else(pc.equal(pc.utf8_trim_whitespace(one), ""), pa.scalar(None, pa.string()), one)
    if one.null_count == len(one):
        return other
    if other.null_count == len(other):
        return one
    if pa.types.is_temporal(one.type) and pa.types.is_temporal(other.type):
        other = other.cast(one.type)
    return pc.coalesce(one, other if other.type == one.type else other.cast(pa.string()))


def _born(person: _Table) -> Moments:
    """The day of birth, as far as it is told; its last cell is for who is unknown."""
    told = _times(person.raw("birth_datetime"))
    year, month, day = (person.numbers(f"{part}_of_birth") for part in ("year", "month", "day"))
    known = np.isfinite(year)
    months = np.where(known, (year - 1970) * 12 + np.where(np.isfinite(month), month - 1, 0), 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(np.isfinite(day), day - 1, 0).astype("timedelta64[D]")
    days = np.where(known, days.astype("datetime64[us]"), np.datetime64("NaT"))
    return np.append(np.where(np.isnat(told), days, told), np.datetime64("NaT"))


def _index(owner: pa.Array) -> NDArray[np.int64]:
    return np.asarray(owner.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _extreme(owner: pa.Array, time: Moments, who: pa.Array, which: str) -> Moments:
    """The first or the last time that stands for each of those asked about, NaT where there is none."""
    rows = pa.table({"owner": owner, "time": pa.array(time)}).group_by("owner").aggregate([("time", which)])
    found = rows[f"time_{which}"].combine_chunks().take(pc.index_in(who, rows["owner"].combine_chunks()))
    return np.asarray(found.to_numpy(zero_copy_only=False)).astype("datetime64[us]")


def _commonest(kind: pa.Array) -> list[str]:
    counts = sorted(pc.value_counts(kind).to_pylist(), key=lambda one: -one["counts"])
    return [str(one["values"]) for one in counts]


SOURCE = OmopSource
