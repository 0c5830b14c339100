"""What is a column that nobody has described? A guess of its role, kind and privacy, and the evidence for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.text import as_name
from hi_ml.data.column import Kind
from hi_ml.data.schema import MISSING_WORDS
from hi_ml.scorer.serving import band_ends, comparable, convert

Integers = NDArray[np.int64]
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
    "sex",
    "blood_type",
    "condition",
    "hospital",
    "insurer",
    "disposition",
    "admission_type",
    "medication",
    "test_result",
)
_PRIVATE = ("patient_name", "patient_id", "doctor")
_UNITS = {"age": "years", "length_of_stay": "days", "billed": "currency"}
_PERSONAL = re.compile(r"\b(name|address|street|phone|mobile|e?mail|ssn|nhs|birth|dob|zip|postal|postcode|passport)\b")
_CODED = re.compile(r"\b(id|code|type|class|category|flag|group|nr|nbr|ccn)\b")
_NUMBERED = re.compile(r"\b(id|nr|nbr|number|key|uuid|mrn)\b")
_NUMBER_OF_ONE = re.compile(r"([^\W\d_]{1,8}[ _./-]?)\d{3,}")  # of a person or a case, whatever the column's name
_ORDERED = re.compile(r"\s*(\d{1,2})([/.-])(\d{1,2})[/.-](\d{4})(?:[ T].*)?")
_MONEY = re.compile(
    r"[$€£¥₹₽₩₺₫₱₪฿]|\b(?:EUR|USD|GBP|CHF|JPY|INR|CNY|SEK|NOK|DKK|PLN|CZK|HUF|RUB|BRL|AUD|CAD|Rs)\b|\bkr\b|zł"
)
_MARKS: tuple[dict[str, str], ...] = (  # of a number, the likeliest first
    {},
    {"decimal": ","},
    {"thousands": ","},
    *({"decimal": ",", "thousands": mark} for mark in ". "),
    *({"thousands": mark} for mark in " '’"),
)
_COMMA = re.compile(r"\s*[+-]?\d+(?:,(\d+))?\s*")
_WORDS = frozenset([*MISSING_WORDS, "unknown", "unknown/invalid", "not available", "missing", "#n/a", "-", "--", "."])
_OWN_WORDS = 3  # of a column of numbers, at most, that mean missing there
_OFTEN = 5  # rows of each of them, and numbers for each
_FEW = 100  # levels of a numeric code that is a category
_ALONE = 100  # values, all of them different, from which on they tell rows and nothing else
_DIFFERENT = 0.5  # share of the known cells that are different from which on text is no category
_CONVINCING = 0.8  # share of the words of a column that decides what it is
_MONTHS = 12


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


_SHOWN = 10


def guess_columns(table: pa.Table) -> list[ColumnGuess]:
    """Guess what every column of a table is.

    Parameters
    ----------
    table : pyarrow.Table
        Text from a CSV, typed from Parquet.
    """
    cells = {name: _Cells.of(table[name]) for name in table.column_names}
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


@dataclass(frozen=True)
class _Cells:
    """Each text of a column once, and where it stands."""

    texts: list[str]
    codes: Integers  # -1 where missing
    words: tuple[str, ...] = ()  # that mean missing
    kind: Kind | None = None  # where the file itself says it

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "_Cells":
        kind: Kind | None = "date" if pa.types.is_temporal(column.type) else None
        if not pa.types.is_dictionary(column.type):
            column = pc.cast(column, pa.string()).dictionary_encode()
        array = column.unify_dictionaries().combine_chunks()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        texts = [comparable(str(text)) for text in array.dictionary.to_pylist()]
        codes = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(texts, codes, (), kind)

    @property
    def rows(self) -> Integers:
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))

    def without(self, words: frozenset[str]) -> "_Cells":
        """Take out the words for missing, and what stands nowhere, and number the others anew."""
        folded = [text.casefold() for text in self.texts]
        rows = self.rows
        keep = np.array([bool(n) and text not in words for text, n in zip(folded, rows, strict=True)], dtype=bool)
        anew = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)
        out = {self.texts[i] for i in np.flatnonzero(~keep & (rows > 0)) if self.texts[i]}
        return _Cells([self.texts[i] for i in np.flatnonzero(keep)], anew[self.codes], tuple(sorted(out)), self.kind)


def _missing_words(cells: Any) -> frozenset[str]:
    """Tell which words mean missing: not "none", where the table has another word for that."""
    there = {text.casefold() for column in cells for text in column.texts} & _WORDS
    return frozenset(there - {"none"} or there) | {""}


def _own_words(cells: _Cells) -> frozenset[str]:
    """Tell which words of a column mean missing there alone: some that stand often between numbers."""
    words = [i for i, text in enumerate(cells.texts) if not any(map(str.isdigit, text))]
    if not 0 < len(words) <= _OWN_WORDS or (cells.rows[words] < _OFTEN).any() or len(cells.texts) < _OFTEN * len(words):
        return frozenset()
    return frozenset(cells.texts[i].casefold() for i in words)


def _guess(name: str, column: _Cells, words: frozenset[str], taken: set[str]) -> ColumnGuess:
    plain = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().casefold()
    role = next((role for role, words in _ROLES.items() if role not in taken and re.fullmatch(words, plain)), None)
    hint = plain if role in (None, "patient_id") else ""
    cells = column.without(words)
    kind, keys, typed, orders = _kind(hint, cells)
    if own := _own_words(cells):
        numbers = column.without(words | own)
        if (guessed := _number(hint, numbers)) and guessed[0] == "number":
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


Guessed = tuple[Kind, dict[str, Any], NDArray[np.float64] | None, tuple[int, int, int] | None]


def _kind(plain: str, cells: _Cells) -> Guessed:
    if not cells.texts:
        return "category", {}, None, None
    guesses = (_number(plain, cells), _date(cells), _written_dates(cells), _banded(cells))
    return next((guess for guess in guesses if guess), None) or _wordy(plain, cells)


def _number(plain: str, cells: _Cells) -> Guessed | None:
    """Tell a number from a code of digits, and from the number of a row or a person."""
    texts, known = cells.texts, int((cells.codes >= 0).sum())
    if cells.kind is not None or not any(map(str.isdigit, texts[0])):
        return None
    sign = _MONEY.search(texts[0])
    money = {"money": sign[0]} if sign and all(sign[0] in text for text in texts) else {}
    marks = (money | marks for marks in _MARKS if marks != {"decimal": ","} or money or _has_decimal_commas(texts))
    written = next((one for one in marks if not _typed(texts, "number", **one)[1]), None)
    if written is None:
        return None
    typed, _ = _typed(texts, "number", **written)
    if written:
        return "number", dict(written), typed, None
    whole = bool(np.equal(np.floor(typed), typed).all())
    if whole and (known == len(texts) >= _ALONE or (_NUMBERED.search(plain) and len(texts) > max(_FEW, known // 10))):
        return "identifier", {}, None, None
    coded = whole and _CODED.search(plain) and len(texts) <= _FEW
    if coded or len(texts) == 2 or any(re.match(r"0\d", text) for text in texts):  # noqa: PLR2004 -- yes and no
        return "category", {}, None, None
    return "number", {}, typed, None


def _date(cells: _Cells) -> Guessed | None:
    dates, faults = _typed(cells.texts, "date")
    return None if faults else ("date", {}, dates, None)


def _banded(cells: _Cells) -> Guessed | None:
    ends = [band_ends(text) for text in cells.texts]
    bands = [end for end in ends if end is not None]
    if len(bands) < max(_CONVINCING * len(ends), 2):
        return None
    if len(bands) < len(ends):
        return "category", {}, None, None
    return (
        "number",
        {"bands": True},
        np.array([low if np.isinf(high) else (low + high) / 2 for low, high in bands]),
        None,
    )


def _wordy(plain: str, cells: _Cells) -> Guessed:
    different, known = len(cells.texts), int((cells.codes >= 0).sum())
    if known == different >= _ALONE:
        return ("text" if any(" " in text for text in cells.texts) else "identifier"), {}, None, None
    if different > max(_FEW, known // 10) and (
        _NUMBERED.search(plain) or (_are_numbered(cells.texts) and not _CODED.search(plain))
    ):
        return "identifier", {}, None, None
    return ("text" if different > max(_ALONE, _DIFFERENT * known) else "category"), {}, None, None


def _are_numbered(texts: Sequence[str]) -> bool:
    """Tell whether all are a number behind the same letters, in any script, as codes of diseases are not."""
    prefixes = {match[1] if (match := _NUMBER_OF_ONE.fullmatch(text)) else None for text in texts}
    return len(prefixes) == 1 and None not in prefixes


def _has_decimal_commas(texts: Sequence[str]) -> bool:
    """Tell whether commas stand before decimals, as they do not where three digits follow each of them."""
    behind = [match[1] or "" for text in texts if (match := _COMMA.fullmatch(text))]
    return len(behind) == len(texts) and any(len(digits) not in (0, 3) for digits in behind)


def _typed(texts: Sequence[str], kind: Kind, **marks: str) -> tuple[NDArray[np.float64], bool]:
    """Read texts as numbers, or dates as days since 1970, and say whether some are none."""
    typed, faults = convert(pa.array(texts, pa.string()), {"kind": kind, "missing": [], **marks})
    if kind == "date":
        days = pd.Series(typed.to_pandas()).to_numpy(dtype="datetime64[us]").astype("datetime64[D]").astype(float)
        return days, bool(faults)
    return typed.to_numpy(zero_copy_only=False), bool(faults)


def _written_dates(cells: _Cells) -> Guessed | None:
    """Tell the order of day and month, where dates are written with both as numbers; mixed ones are not guessed."""
    matches = [_ORDERED.fullmatch(text) for text in cells.texts]
    if sum(match is not None for match in matches) < _CONVINCING * len(matches):
        return None
    rows = cells.rows
    ends = [(int(match[1]), int(match[3]), n) for match, n in zip(matches, rows.tolist(), strict=True) if match]
    day = sum(n for one, _, n in ends if one > _MONTHS)
    month = sum(n for _, other, n in ends if other > _MONTHS)
    either = sum(n for one, other, n in ends if one <= _MONTHS and other <= _MONTHS)
    marks = {match[2] for match in matches if match}
    if bool(day) == bool(month) or len(marks) > 1 or not all(matches):
        return "date", {}, None, (day, month, either)
    (mark,) = marks
    written = f"%d{mark}%m{mark}%Y" if day else f"%m{mark}%d{mark}%Y"
    typed, faults = convert(pa.array(cells.texts, pa.string()), {"kind": "date", "missing": [], "format": written})
    if faults:
        return "date", {}, None, (day, month, either)
    days = typed.to_pandas().to_numpy(dtype="datetime64[us]").astype("datetime64[D]").astype(float)
    return "date", {"format": written}, days, (day, month, either)


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
