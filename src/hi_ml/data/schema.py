"""What a dataset is: its source, and for each column what it means and what may be in it."""

import codecs
from collections.abc import Mapping
from dataclasses import InitVar
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, FiniteFloat
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT, Name
from hi_ml.data.location import Location, address_of
from hi_ml.scorer.serving import LONGEST_STAY

# The roles that hi_ml knows; any other column may be added under its own name.
ROLES = (
    "patient_id", "patient_name", "age", "sex", "blood_type", "condition", "admitted_on", "discharged_on",
    "disposition", "length_of_stay", "doctor", "hospital", "insurer", "billed", "room", "admission_type", "medication",
    "test_result",
)  # fmt: skip
_KINDS = {"admitted_on": "date", "discharged_on": "date", "length_of_stay": "number", "billed": "number"}
_DAYS = ("", "days", "nights")
_TAKEN = ("row", "class", "base_value")  # columns beside the roles in explanation/shap_values.parquet

MISSING_WORDS = ["", "na", "n/a", "nan", "null", "none", "?"]


def _one_character(separator: str) -> str:
    tab = separator.replace("\\t", "\t")  # as it arrives from a command line
    if len(tab) != 1 or not tab.isascii() or tab.isalnum() or tab in '"\r\n\0':
        raise ValueError('expected one character that stands in no value, such as "," ";" "|" or "\\t"')
    return tab


def _encoding_name(name: str) -> str:
    try:
        "a".encode(name)  # refuses codecs that are no encodings of text (hex, rot13) too
    except (LookupError, ValueError) as error:
        raise ValueError("expected an encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16") from error
    return codecs.lookup(name).name


def _date_format(written: str) -> str:
    day = datetime(2024, 2, 1, tzinfo=UTC)
    try:
        read = pd.to_datetime(day.strftime(written), format=written, utc=True)
    except ValueError as error:
        raise ValueError(f"expected the strftime format of a date, such as %d/%m/%Y: {error}") from error
    if read != day:
        raise ValueError("expected the strftime format of a whole date, such as %d/%m/%Y")
    return written


def _under_own_name(columns: object) -> object:
    if not isinstance(columns, Mapping):
        return columns
    return {role: {"from": role, **node} if isinstance(node, Mapping) else node for role, node in columns.items()}


def _without_null(declarations: object) -> object:
    if not isinstance(declarations, Mapping):
        return declarations
    return {key: words for key, words in declarations.items() if words is not None}


Separator = Annotated[str, AfterValidator(_one_character)]
Encoding = Annotated[str, AfterValidator(_encoding_name)]
DateFormat = Annotated[str, AfterValidator(_date_format)]
Moment = Literal["admission", "stay", "discharge", "after"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", validate_by_name=True))
class Column:
    """One column of the source."""

    kind: Literal["number", "category", "date", "identifier", "text"]
    known: Moment  # from which the value exists
    # its name in the file: ``from`` in YAML, the role where that is left out; None declares that the table
    # lacks it
    source: str | None = Field(default=None, alias="from", min_length=1)
    private: bool = False  # a private column is used to find copies and patients, and never leaves the reader
    unit: str = ""
    low: FiniteFloat | None = None  # allowed range of a number, ends included; a cell outside it is rejected
    high: FiniteFloat | None = None
    flag_below: FiniteFloat | None = None  # a number below it is kept, counted and reported (negative bills exist)
    format: DateFormat | None = None  # of a date as text (strftime); None means ISO 8601
    # what two spellings of one category have in common, see `hi_ml.scorer.serving.key`
    spelling: Literal["exact", "case", "words"] = "case"

    def __post_init__(self) -> None:
        """Check that what is said of the column fits its kind."""
        bounds = [name for name in ("low", "high", "flag_below") if getattr(self, name) is not None]
        if bounds and self.kind != "number":
            raise ValueError(f"only kind number can have {', '.join(bounds)}, this column is of kind {self.kind}")
        if self.format is not None and self.kind != "date":
            raise ValueError(f"only kind date can have a format, this column is of kind {self.kind}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low is {self.low:g}, above high, which is {self.high:g}")


@dataclass(frozen=True, config=STRICT)
class Dataset:
    """A table, its columns and what its owner declares of it."""

    name: Name
    columns: Annotated[dict[Name, Column], BeforeValidator(_under_own_name)]  # by role
    # a CSV or Parquet file, a glob of them, an address, or a database; None simulates a table of ``scenario``
    source: Location | None = None
    get: str = ""  # where a user finds the file
    separator: Separator = ","  # of a CSV
    encoding: Encoding = "utf-8"  # of a CSV
    max_rejected: float = Field(default=0.05, ge=0, le=1)  # share of rows that may be unreadable before the run stops
    missing: list[str] = Field(default_factory=lambda: list(MISSING_WORDS))  # words that mean "no value", in any case
    stay: Literal["nights", "inclusive"] = "nights"  # length of stay from two dates: their difference, or that plus one
    # words of the table that claims need, by name; what needs an absent one stays untested
    declarations: Annotated[dict[Name, list[str]], BeforeValidator(_without_null)] = Field(default_factory=dict)
    acute_conditions: InitVar[list[str] | None] = None  # three that need not stand below ``declarations:``
    severe_conditions: InitVar[list[str] | None] = None
    advanced_medications: InitVar[list[str] | None] = None
    scenario: str | None = None  # of the simulation; a dataset without a scenario needs a source
    rows: int = 55_500
    seed: int = Field(default=0, ge=0)
    effect: float = 2.0
    hospitals: int | None = None

    def __post_init__(self, *beside: list[str] | None) -> None:
        """Check what no single key can show to be wrong."""
        for key, words in zip(("acute_conditions", "severe_conditions", "advanced_medications"), beside, strict=True):
            if words is not None and self.declarations.setdefault(key, words) != words:
                raise ValueError(f"{key} and declarations.{key} differ; keep one of them")
        if self.source is None and self.scenario is None:
            raise ValueError("source is null, and there is no scenario to simulate; set dataset.source=<path>")
        present = self.present()
        if not present:
            raise ValueError("every column is declared absent; set columns.<role>.from of at least one")
        for role, column in present.items():
            if role in _TAKEN:
                raise ValueError(f"columns.{role}: the name is taken by a column of the results; choose another")
            if column.kind != _KINDS.get(role, column.kind):
                raise ValueError(f"columns.{role}.kind is {column.kind}; expected {_KINDS[role]}")
        public = {column.source for column in present.values() if not column.private}
        if both := [role for role, column in present.items() if column.private and column.source in public]:
            raise ValueError(f"columns.{both[0]} is private, and another role shows the same column of the source")

    @property
    def origin(self) -> str:
        """Where the table comes from: its source, or the address of a simulation."""
        return address_of(self.source) if self.source else f"simulated:{self.scenario}"

    def present(self) -> dict[str, Column]:
        """Return the columns that the table has, by role."""
        return {role: column for role, column in self.columns.items() if column.source is not None}

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
        return {
            "role": role,
            "source": column.source,
            "kind": column.kind,
            "missing": self.missing,
            "low": low,
            "high": high,
            "format": column.format,
            "spelling": column.spelling,
        }

    def span(self) -> list[dict[str, Any]]:
        """Describe the stay between the two dates, in a list; an empty one where the table lacks a date."""
        if not {"admitted_on", "discharged_on"} <= set(self.present()):
            return []
        dates = [self.spec("admitted_on"), self.spec("discharged_on")]
        low, high = self._range("length_of_stay")
        inclusive = self.stay == "inclusive"
        span = {"role": "length_of_stay", "kind": "stay", "between": dates, "inclusive": inclusive}
        return [{**span, "low": low, "high": high}]

    def _range(self, role: str) -> tuple[float | None, float | None]:
        """Return the lowest and the highest value that a column may hold; of a stay in days, what people stay."""
        column = self.columns.get(role)
        low, high = (None, None) if column is None else (column.low, column.high)
        if role == "length_of_stay" and (column is None or column.unit in _DAYS):
            return 0.0 if low is None else low, LONGEST_STAY if high is None else high
        return low, high
