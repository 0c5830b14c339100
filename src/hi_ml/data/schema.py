"""What a dataset is: its source, and for each column what it means and what may be in it."""

from collections.abc import Mapping
from dataclasses import InitVar, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT, Name
from hi_ml.data.codes import CHAPTERS, chapters
from hi_ml.data.column import (
    WRITTEN,
    Column,
    Decimal,
    Encoding,
    Kind,
    Moment,
    Separator,
    SourceName,
    Thousands,
    Word,
    Zone,
    listed,
    plain,
    under_own_name,
)
from hi_ml.data.location import Location, address_of
from hi_ml.scorer.serving import LONGEST_STAY, band_ends, key

# The roles that hi_ml knows; any other column may be added under its own name.
ROLES = (
    "patient_id", "patient_name", "age", "sex", "blood_type", "condition", "admitted_on", "discharged_on",
    "disposition", "length_of_stay", "doctor", "hospital", "insurer", "billed", "room", "admission_type", "medication",
    "test_result",
)  # fmt: skip
_KINDS: dict[str, "Kind"] = {
    "admitted_on": "date", "discharged_on": "date", "length_of_stay": "number", "billed": "number",
}  # fmt: skip
_DAYS = ("", "days", "nights")
_TAKEN = ("row", "class", "base_value")  # columns beside the roles in explanation/shap_values.parquet

MISSING_WORDS = ["", "na", "n/a", "nan", "null", "none", "?"]


def _convention(stay: object) -> object:
    return stay["counts"] if isinstance(stay, Mapping) and set(stay) == {"counts"} else stay


def _without_null(declarations: object) -> object:
    if not isinstance(declarations, Mapping):
        return declarations
    return {key: words for key, words in declarations.items() if words is not None}


@dataclass(frozen=True, config=STRICT)
class Bounds:
    """Some of the values of a number or a date."""

    below: float | str | None = None
    above: float | str | None = None


@dataclass(frozen=True, config=STRICT)
class DropRule:
    """Rows that are left out."""

    # what must hold of each role: one of its words or codes, null for missing, or below and above of a number or a date
    where: dict[Name, Annotated[list[Word | None], BeforeValidator(listed)] | Bounds]
    why: Annotated[str, Field(min_length=1)]  # for the attrition table


def _with_on(joins: object) -> object:
    """Take the key ``on`` for the word that it is: YAML reads a bare one as true."""
    if not isinstance(joins, Mapping):
        return joins
    return {
        name: {"on" if key is True else key: value for key, value in join.items()}
        if isinstance(join, Mapping)
        else join
        for name, join in joins.items()
    }


_Keys = dict[str, SourceName | tuple[SourceName, ...] | None]


def _same_names(keys: object) -> object:
    return dict.fromkeys(keys) if isinstance(keys, list) else keys


@dataclass(frozen=True, config=STRICT)
class Join:
    """Another table, of which each row is known by a key."""

    source: Location
    # role, or column of the file, by which a row is known, and its name in the other table (several, of a role that is
    # made of several columns); a list where names agree
    on: Annotated[
        dict[str, SourceName | tuple[SourceName, ...] | None], BeforeValidator(_same_names), Field(min_length=1)
    ]
    # by role; ``from`` is the name in the other table
    columns: Annotated[dict[Name, Column], BeforeValidator(under_own_name), Field(min_length=1)]
    known: Moment | None = None  # from which its columns exist, where they do not say so themselves
    least_match: float = Field(default=0.0, ge=0, le=1)  # share of the rows that it must know; none at all never does
    level: Name | None = None  # role of the unit that its columns belong to, such as hospital; None: the row's own
    # role of a date, and the column of the other table: of several rows of one key the newest from before that day
    latest_before: dict[Name, str] | str | None = None
    separator: Separator | None = None  # of a CSV; None takes that of the dataset, as for the next
    encoding: Encoding | None = None

    def dated(self) -> tuple[str, str] | None:
        """Return the role and the column of `latest_before`; where no column is named, the only date among its own."""
        if not isinstance(self.latest_before, str):
            return next(iter(self.latest_before.items())) if self.latest_before else None
        dates = [column.sources[0] for column in self.columns.values() if column.said_kind() == "date"]
        if len(dates) != 1:
            raise ValueError(
                f"latest_before: {self.latest_before} does not say which column of the other table is its date: "
                f"latest_before: {{{self.latest_before}: <column>}}"
            )
        return self.latest_before, dates[0]


@dataclass(frozen=True, config=STRICT)
class Dataset:
    """A table, its columns and what its owner declares of it."""

    name: Name
    columns: Annotated[dict[Name, Column], BeforeValidator(under_own_name)]  # by role
    # a CSV or Parquet file, a glob of them, an address, or a database; None simulates a table of ``scenario``
    source: Location | None = None
    get: str = ""  # where a user finds the file
    separator: Separator = ","  # of a CSV
    encoding: Encoding = "utf-8"  # of a CSV
    max_bytes: int = Field(default=16 << 30, ge=1)  # that a compressed file may hold
    decimal: Decimal | None = None  # of its numbers as text, where a column does not say otherwise; None: a point
    thousands: Thousands | None = None  # likewise; None: there are none
    zone: Zone | None = None  # of the ward's clock, likewise, of moments in UTC or with an offset; None: as written
    max_rejected: float = Field(default=0.05, ge=0, le=1)  # share of rows that may be unreadable before the run stops
    missing: list[Word] = Field(default_factory=lambda: list(MISSING_WORDS))  # words that mean "no value", in any case
    # what a length of stay counts, stated or computed from two dates: their difference, or that plus one
    stay: Annotated[Literal["nights", "inclusive"], BeforeValidator(_convention)] = "nights"
    # moments of columns by name in the file, globs (``diag_*``) and ranges (``a..b``); a column's own ``known`` wins
    known: dict[Moment, list[str]] = Field(default_factory=dict)
    drop: list[DropRule] = Field(default_factory=list)  # rows that are left out by rule, in this order
    first_by: Name | None = None  # role of whose values only the first row is kept, such as patient_id; after ``drop``
    # words of the table that claims need, by name; what needs an absent one stays untested
    declarations: Annotated[dict[Name, list[Word]], BeforeValidator(_without_null)] = Field(default_factory=dict)
    patient_id: InitVar[list[str] | None] = None  # roles or columns of the file that together tell a patient
    acute_conditions: InitVar[list[str] | None] = None  # three that need not stand below ``declarations:``
    severe_conditions: InitVar[list[str] | None] = None
    advanced_medications: InitVar[list[str] | None] = None
    # other tables, joined in this order by keys; what they know stands under ``columns`` of each
    joins: Annotated[dict[Name, Join], BeforeValidator(_with_on)] = Field(default_factory=dict)
    scenario: str | None = None  # of the simulation; a dataset without a scenario needs a source
    rows: int = 55_500
    seed: int = Field(default=0, ge=0)
    effect: float = 2.0
    hospitals: int | None = None

    def __post_init__(self, patient_id: list[str] | None, *beside: list[str] | None) -> None:
        """Check what no single key can show to be wrong."""
        for name, words in zip(("acute_conditions", "severe_conditions", "advanced_medications"), beside, strict=True):
            if words is not None and self.declarations.setdefault(name, words) != words:
                raise ValueError(f"{name} and declarations.{name} differ; keep one of them")
        if self.source is None and self.scenario is None:
            raise ValueError("source is null, and there is no scenario to simulate; set dataset.source=<path>")
        if patient_id:
            names = tuple(name for part in patient_id for name in self._names_of(part))
            said: dict[str, Any] = {"from": names, "private": True}
            self.columns["patient_id"] = Column(**said)
        self._add_joined()
        self._complete()
        self._check(self.present())

    def _check(self, present: dict[str, Column]) -> None:
        if not present and not self.known:
            raise ValueError("every column is declared absent; set columns.<role>.from of at least one")
        for role, column in present.items():
            if role in _TAKEN:
                raise ValueError(f"columns.{role}: the name is taken by a column of the results; choose another")
            if column.kind is not None and column.kind != _KINDS.get(role, column.kind):
                raise ValueError(f"columns.{role}.kind is {column.kind}; expected {_KINDS[role]}")
        if self.first_by is not None and self.first_by not in present and not self.known:
            raise ValueError(
                f"first_by is {self.first_by}, of which there is no column; set columns.{self.first_by}.from"
            )
        public = {column.source for column in present.values() if not column.private}
        if both := [role for role, column in present.items() if column.private and column.source in public]:
            raise ValueError(f"columns.{both[0]} is private, and another role shows the same column of the source")

    @property
    def origin(self) -> str:
        """Where the table comes from: its source, or the address of a simulation."""
        return address_of(self.source) if self.source else f"simulated:{self.scenario}"

    def _names_of(self, part: str) -> tuple[str, ...]:
        """Return the names in the file of a role, or of a column of the file."""
        return self.columns[part].sources if part in self.columns else (part,)

    def _complete(self) -> None:
        """Say the kinds that other keys say, and add the columns that groups and bands make."""
        for role, column in self.present().items():
            complete = replace(column, kind=column.said_kind() or _KINDS.get(role))
            self.columns[role] = complete
            if (derived := complete.derived()) is not None:
                self.columns.setdefault(f"{role}_{derived.part}", derived)

    def private_sources(self) -> dict[str, str]:
        """Return the kinds of the columns of the file that no public role shows, by name."""
        present = self.present().values()
        shown = {name for column in present if not column.private for name in column.sources}
        private = {name: str(column.kind) for column in present if column.private for name in column.sources}
        return {name: kind for name, kind in private.items() if name not in shown}

    def _add_joined(self) -> None:
        """Describe what is joined as columns of the table: each stands there under its role."""
        for name, join in self.joins.items():
            if (dated := join.dated()) and not (dated[0] in self.columns and self.columns[dated[0]].sources):
                raise ValueError(f"joins.{name}.latest_before: there is no column of role {dated[0]}")
            if join.level is not None and join.level not in self.columns:
                raise ValueError(f"joins.{name}.level: there is no column of role {join.level}")
            for role, column in join.columns.items():
                held = self.columns.get(role)
                if held is None or held.source is None:
                    named: dict[str, Any] = {"source": role, "known": column.known or join.known}
                    self.columns[role] = replace(column, **named)
                elif held.source != role:
                    raise ValueError(f"joins.{name}.columns.{role}: columns has that role too; choose another")

    def joined_roles(self) -> list[str]:
        """Return the roles that other tables give."""
        return [role for join in self.joins.values() for role in join.columns]

    def level_of(self, role: str) -> str | None:
        """Return the role of the unit that a joined column belongs to, such as hospital."""
        return next((join.level for join in self.joins.values() if role in join.columns), None)

    def joined(self, name: str) -> dict[str, Any]:
        """Describe a join in plain values, ready for JSON: the mapping of a model carries them."""
        join = self.joins[name]
        dated = join.dated()
        before = None
        if dated is not None:
            own = next((column for column in join.columns.values() if column.sources[0] == dated[1]), None)
            written = own.format if own is not None else None
            before = {"row": self.spec(dated[0]), "column": dated[1], "kind": "date", "format": written}
        return {
            "name": name,
            "source": address_of(join.source),
            "on": [pair for left, right in join.on.items() for pair in self._pairs(left, right)],
            "columns": {role: column.sources[0] for role, column in join.columns.items()},
            "latest_before": before,
            "level": join.level,
            "least_match": join.least_match,
            "missing": self.missing,
            "separator": join.separator or self.separator,
            "encoding": join.encoding or self.encoding,
        }

    def keys_of_joins(self) -> dict[str, tuple[str, ...]]:
        """Return the columns of the file that joins need, by the key that names them."""
        given = self.joined_roles()
        pairs = ((name, left) for name in self.joins for left, _ in self.joined(name)["on"])
        return {f"joins.{name}.on.{left}": (left,) for name, left in pairs if left not in given}

    def _pairs(self, left: str, right: str | tuple[str, ...] | None) -> list[list[str]]:
        """Pair the columns of a role, or one of the file, with those of another table."""
        own = self._names_of(left)
        if right is None:  # of the same name
            right = own if len(own) > 1 else left
        others = (right,) if isinstance(right, str) else right
        if len(own) != len(others):
            raise ValueError(f"on.{left}: expected {len(own)} columns of the other table, found {len(others)}")
        return [[one, other] for one, other in zip(own, others, strict=True)]

    def present(self) -> dict[str, Column]:
        """Return the columns that the table has, by role."""
        return {role: column for role, column in self.columns.items() if column.sources}

    def spellings(self) -> dict[str, str]:
        """Return what two spellings of one category have in common, by role."""
        return {role: column.spelling for role, column in self.columns.items()}

    def computes_stay(self) -> bool:
        """Tell whether the length of stay comes from the two dates."""
        present = self.present()
        return "length_of_stay" not in present and {"admitted_on", "discharged_on"} <= set(present)

    def spec(self, role: str) -> dict[str, Any]:
        """Describe one column as `hi_ml.scorer.serving` takes it: plain values, ready for JSON.

        A length of stay that the source lacks is described by the two dates it is computed from.
        """
        if role == "length_of_stay" and self.computes_stay():
            return self.span()[0]
        column = self.columns[role]
        low, high = self._range(role)
        missing = self.missing if column.missing is None else column.missing
        spec = {
            "role": role,
            "source": column.source,
            "kind": column.kind,
            "missing": missing,
            "low": low,
            "high": high,
            "format": column.format,
            "spelling": column.spelling,
            **self._marks(column),
        }
        return spec | _meaning(column, missing)

    def _marks(self, column: Column) -> dict[str, str]:
        """Return how the cells of a column are written where that is declared."""
        marks = {name: getattr(column, name) or getattr(self, name, None) for name in WRITTEN.get(column.kind, ())}
        return {name: mark for name, mark in marks.items() if mark is not None}

    def span(self) -> list[dict[str, Any]]:
        """Describe the stay between the two dates, in a list; an empty one where the table lacks a date."""
        if not {"admitted_on", "discharged_on"} <= set(self.present()):
            return []
        dates = [self.spec("admitted_on"), self.spec("discharged_on")]
        low, high = self._range("length_of_stay")
        inclusive = self.stay == "inclusive"
        span = {"role": "length_of_stay", "kind": "stay", "between": dates, "inclusive": inclusive}
        return [{**span, "low": low, "high": high}]

    def _range(self, role: str) -> tuple[float | str | None, float | str | None]:
        """Return the lowest and the highest value that a column may hold; of a stay in days, what people stay."""
        column = self.columns.get(role)
        low, high = (None, None) if column is None else (plain(column.low), plain(column.high))
        if role == "length_of_stay" and (column is None or column.unit in _DAYS):
            shortest = float(self.stay == "inclusive")
            return shortest if low is None else low, LONGEST_STAY if high is None else high
        return low, high


def _meaning(column: Column, missing: list[str]) -> dict[str, Any]:
    """Say what the cells of a column stand for, where that is not what they are; as `Dataset.spec`."""
    meaning: dict[str, Any] = {}
    if isinstance(column.levels, dict) and column.part != "group":
        nothing = {word.casefold() for word in missing}
        labels = {code: None if (label or "").casefold() in nothing else label for code, label in column.levels.items()}
        meaning["labels"] = {key(code, "case"): label for code, label in labels.items()}
        meaning["missing"] = [*missing, *(code for code, label in labels.items() if label is None)]
    if column.groups and column.part == "group":
        named = isinstance(column.groups, str) and column.groups in CHAPTERS
        meaning |= chapters(str(column.groups)) if named else {"ranges": column.groups}
    if column.bands:
        meaning["bands"] = "midpoint" if column.bands is True else column.bands
    if column.top:
        ends = {key(word, "case"): band_ends(word) for word in column.top}
        meaning["top"] = {word: pair[0] for word, pair in ends.items() if pair is not None}
    return meaning
