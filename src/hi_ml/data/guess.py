"""What is a column that nobody has described? A guess of its role, kind and privacy, and the evidence for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.app.text import as_name
from hi_ml.data.column import Kind
from hi_ml.data.guess_kind import ColumnCells, Integers, kind_of, number, own_words
from hi_ml.data.schema import MISSING_WORDS

_ROLES = {  # by role, words that a column's name is made of
    "patient_id": r"(patient|pat|subject|person|member)( ?(id|nr|nbr|no|num|number|key))?|mrn|medical record number",
    "patient_name": r"(patient|full|first|last)? ?name",
    "age": r"(patient )?age( group| at admission| in years| years)?",
    "sex": r"sex|gender",
    "blood_type": r"blood (type|group)",
    "condition": r"(medical |main |primary |principal )?(condition|diagnosis)( code)?|diag 1",
    "admitted_on": r"(date of admission|admission|admit|admitted|adm)( date| on| time| datetime| dt)?",
    "discharged_on": r"(date of discharge|discharge|discharged|disch)( date| on| time| datetime| dt)?",
    "disposition": r"(discharge )?disposition( id| code)?",
    "length_of_stay": r"length of stay|los( days)?|stay( days)?|time in hospital|days in hospital",
    "doctor": r"doctor|physician|attending( physician)?|consultant|surgeon",
    "hospital": r"hospital|hospital name|facility( name)?",
    "insurer": r"insurer|insurance( provider| company)?|payer|payor",
    "billed": r"billed|bill(ing)?( amount)?|(total )?(charges?|costs?)",
    "room": r"room( number| no)?",
    "admission_type": r"(admission|admit) type( id| code)?|type of admission",
    "medication": r"medications?|drug",
    "test_result": r"test results?",
}
_DATES = ("admitted_on", "discharged_on")
_NUMBERS = ("length_of_stay", "billed")
_CATEGORIES = (
    "sex", "blood_type", "condition", "hospital", "insurer", "disposition", "admission_type", "medication",
    "test_result",
)  # fmt: skip
_PRIVATE = ("patient_name", "patient_id", "doctor")
_UNITS = {"age": "years", "length_of_stay": "days", "billed": "currency"}
_PERSONAL = re.compile(r"\b(name|address|street|phone|mobile|e?mail|ssn|nhs|birth|dob|zip|postal|postcode|passport)\b")
_WORDS = frozenset([*MISSING_WORDS, "unknown", "unknown/invalid", "not available", "missing", "#n/a", "-", "--", "."])
_SHOWN = 10  # levels


@dataclass(frozen=True)
class ColumnGuess:
    """A column of the file, as far as its name and its cells tell."""

    name: str  # in the file
    role: str
    kind: Kind
    private: bool
    rows: int
    known: int  # cells with a value
    words: tuple[str, ...]  # that seem to mean "no value"
    levels: Mapping[str, int]  # rows of each word that stands in it
    codes: Integers  # position among the levels of each row, -1 where missing; shape (n,)
    numbers: NDArray[np.float64] | None  # of each row, of a number or a date (days since 1970)
    keys: Mapping[str, Any] = field(default_factory=dict)  # of the YAML, beyond kind and privacy
    why: str = ""  # the evidence
    orders: tuple[int, int, int] | None = None  # dates that can only begin with the day, with the month, with either

    @property
    def is_mixed(self) -> bool:
        """Whether the order of its dates cannot be told, so that it is not guessed."""
        return self.orders is not None and "format" not in self.keys

    def shown(self, smallest: int) -> list[tuple[str, int]]:
        """List the commonest levels, of so many rows or more, of a column that is not private."""
        if self.private or self.is_mixed or self.kind not in ("category", "number"):
            return []
        rows = sorted(self.levels.items(), key=lambda level: (-level[1], level[0]))
        return [level for level in rows[:_SHOWN] if level[1] >= smallest]


def guess_columns(table: pa.Table) -> list[ColumnGuess]:
    """Guess what every column of a table is.

    Parameters
    ----------
    table : pyarrow.Table
        Text from a CSV, typed from Parquet.
    """
    cells = {name: ColumnCells.of(table[name]) for name in table.column_names}
    words = _missing_words(cells.values())
    taken: set[str] = set()
    guesses = []
    for name, column in cells.items():
        guess = _guess(name, column, words, taken)
        taken.add(guess.role)
        guesses.append(guess)
    return guesses


def computed_stay(guesses: Sequence[ColumnGuess]) -> ColumnGuess | None:
    """Return the length of stay in days that two dates of the table make; None where it has its own, or lacks one."""
    dates = {guess.role: guess.numbers for guess in guesses if guess.role in (*_DATES, "length_of_stay")}
    if set(dates) != set(_DATES) or any(numbers is None for numbers in dates.values()):
        return None
    days = np.asarray(dates["discharged_on"]) - np.asarray(dates["admitted_on"])
    codes, each = pd.factorize(days)
    rows = np.bincount(codes[codes >= 0], minlength=len(each))
    levels = {f"{value:g}": int(n) for value, n in zip(each, rows, strict=True)}
    role, unit = "length_of_stay", {"unit": "days"}
    return ColumnGuess(role, role, "number", False, len(days), int(rows.sum()), (), levels, codes, days, unit)


def _missing_words(cells: Any) -> frozenset[str]:
    """Tell which words mean missing: not "none", where the table has another word for that."""
    there = {text.casefold() for column in cells for text in column.texts} & _WORDS
    return frozenset(there - {"none"} or there) | {""}


def _guess(name: str, column: ColumnCells, words: frozenset[str], taken: set[str]) -> ColumnGuess:
    plain = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().casefold()
    role = next((role for role, words in _ROLES.items() if role not in taken and re.fullmatch(words, plain)), None)
    hint = plain if role in (None, "patient_id") else ""
    cells = column.without(words)
    kind, keys, typed, orders = kind_of(hint, cells)
    if own := own_words(cells):
        numbers = column.without(words | own)
        if (guessed := number(hint, numbers)) and guessed[0] == "number":
            cells, (kind, keys, typed, orders) = numbers, guessed
            keys = {**keys, "missing": ["", *cells.words]}
    rows, n = cells.rows, len(cells.codes)
    known = int((cells.codes >= 0).sum())
    kind, role = _agreed(kind, role, keys)
    private = role in _PRIVATE or kind in ("text", "identifier") or bool(_PERSONAL.search(plain) and role is None)
    private = private and role != "hospital"
    if role in _UNITS and kind == "number":
        keys = {**keys, "unit": _UNITS[role]}
    values = None if typed is None else np.append(typed, np.nan)[cells.codes]
    return ColumnGuess(
        name=name,
        role=role or _free(re.sub(r"[ _-]+", "_", as_name(name)).strip("_") or "column", taken),
        kind=kind,
        private=private,
        rows=n,
        known=known,
        words=() if "missing" in keys else cells.words,
        levels=dict(zip(cells.texts, rows.tolist(), strict=True)),
        codes=cells.codes,
        numbers=values,
        keys=keys,
        orders=orders,
    )


def _free(role: str, taken: set[str]) -> str:
    named = role if role not in _ROLES else f"{role}_as_named"
    while named in taken or named in ("row", "class", "base_value"):
        named += "_"
    return named


def _agreed(kind: Kind, role: str | None, keys: dict[str, Any]) -> tuple[Kind, str | None]:
    """Drop a role that the cells contradict, and let a role say what cells cannot."""
    if role in _DATES or role in _NUMBERS:
        return kind, role if kind == ("date" if role in _DATES else "number") and "bands" not in keys else None
    if role in _CATEGORIES and kind in ("text", "identifier", "number"):
        return ("category", role) if kind != "number" or role != "hospital" else (kind, role)
    if role in ("patient_name", "doctor") and kind != "date":
        return "text", role
    if role == "patient_id":
        return "identifier", role
    return kind, role
