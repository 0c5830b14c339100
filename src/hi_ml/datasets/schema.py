"""What a dataset is: its source, and for each column what it means and what may be in it."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hi_ml.config import STRICT

# The roles that hi_ml knows; any other column may be added under its own name.
ROLES = (
    "patient_id", "patient_name", "age", "sex", "blood_type", "condition", "admitted_on", "discharged_on",
    "length_of_stay", "doctor", "hospital", "insurer", "billed", "room", "admission_type", "medication", "test_result",
)  # fmt: skip

MISSING_WORDS = ["", "na", "n/a", "nan", "null", "none", "?"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", validate_by_name=True))
class Column:
    """One column of the source.

    Attributes
    ----------
    source : str or None
        Its name in the file (``from`` in YAML); None declares that the table lacks it.
    kind : {"number", "category", "date", "identifier", "text"}
    known : {"admission", "stay", "discharge", "after"}
        The moment from which the value exists.
    private : bool
        A private column is used to find copies and patients, and never leaves the reader.
    unit : str
    low, high : float or None
        Allowed range of a number, ends included; a cell outside it is rejected.
    flag_below : float or None
        A number below it is kept, counted and reported (negative bills exist).
    format : str or None
        Of a date as text (strftime); None means ISO 8601.
    spelling : {"exact", "case", "words"}
        What two spellings of one category have in common, see `hi_ml.serving.key`.
    """

    kind: Literal["number", "category", "date", "identifier", "text"]
    known: Literal["admission", "stay", "discharge", "after"]
    source: str | None = Field(default=None, alias="from")
    private: bool = False
    unit: str = ""
    low: float | None = None
    high: float | None = None
    flag_below: float | None = None
    format: str | None = None
    spelling: Literal["exact", "case", "words"] = "case"


@dataclass(frozen=True, config=STRICT)
class Dataset:
    """A table, its columns and what its owner declares of it.

    Attributes
    ----------
    name : str
    source : str or None
        A CSV or Parquet file or a glob of them; None simulates one.
    get : str
        Where a user finds the file.
    separator, encoding : str
        Of a CSV.
    max_rejected : float
        Share of rows that may be unreadable before the run stops.
    missing : list of str
        Words that mean "no value", in any case.
    stay : {"nights", "inclusive"}
        Length of stay from two dates: their difference, or that plus one.
    columns : dict of str to Column
        By role.
    acute_conditions, severe_conditions, advanced_medications : list of str or None
        Declarations that claims need; None leaves what needs them untested.
    scenario, rows, seed, effect, hospitals
        Of the simulation.
    """

    name: str
    columns: dict[str, Column]
    source: str | None = None
    get: str = ""
    separator: str = ","
    encoding: str = "utf-8"
    max_rejected: float = 0.05
    missing: list[str] = Field(default_factory=lambda: list(MISSING_WORDS))
    stay: Literal["nights", "inclusive"] = "nights"
    acute_conditions: list[str] | None = None
    severe_conditions: list[str] | None = None
    advanced_medications: list[str] | None = None
    scenario: str = "planted"
    rows: int = 55_500
    seed: int = 0
    effect: float = 2.0
    hospitals: int | None = None

    def present(self) -> dict[str, Column]:
        """Return the columns that the table has, by role."""
        return {role: column for role, column in self.columns.items() if column.source is not None}

    def computes_stay(self) -> bool:
        """Tell whether the length of stay comes from the two dates."""
        present = self.present()
        return "length_of_stay" not in present and {"admitted_on", "discharged_on"} <= set(present)

    def spec(self, role: str) -> dict[str, Any]:
        """Describe one column as `hi_ml.serving` takes it: plain values, ready for JSON.

        A length of stay that the source lacks is described by the two dates it is computed from.
        """
        if role == "length_of_stay" and self.computes_stay():
            dates = [self.spec("admitted_on"), self.spec("discharged_on")]
            return {"role": role, "kind": "stay", "between": dates, "inclusive": self.stay == "inclusive"}
        column = self.columns[role]
        return {
            "role": role,
            "source": column.source,
            "kind": column.kind,
            "missing": self.missing,
            "low": column.low,
            "high": column.high,
            "format": column.format,
            "spelling": column.spelling,
        }
