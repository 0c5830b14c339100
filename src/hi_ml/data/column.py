"""What one column of a table is: its kind, what may stand in it, and when it is known."""

import codecs
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from math import inf
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, FiniteFloat
from pydantic.dataclasses import dataclass

from hi_ml.scorer.serving import band_ends, comparable

_LINE = f'"Name",{"a" * 99}\r\n'  # any encoding of text has it


def _one_character(separator: str) -> str:
    tab = separator.replace("\\t", "\t")  # as it arrives from a command line
    if len(tab) != 1 or not tab.isascii() or tab.isalnum() or tab in '"\r\n\0':
        raise ValueError('expected one character that stands in no value, such as "," ";" "|" or "\\t"')
    return tab


def _encoding_name(name: str) -> str:
    expected = ValueError("expected an encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16")
    try:
        decoder = codecs.getincrementaldecoder(name)()
        written = [decoder.decode(bytes([byte])) for byte in _LINE.encode(name)]  # idna, say, is for words
        written.append(decoder.decode(b"", final=True))
    except (LookupError, ValueError) as error:
        raise expected from error
    if "".join(written) != _LINE:
        raise expected
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


def _zone_name(zone: str) -> str:
    try:
        return ZoneInfo(zone).key
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError("expected a time zone of the IANA list, such as Europe/Berlin or America/New_York") from error


def under_own_name(columns: object) -> object:
    """Let a column that has no ``from`` stand in the source under the name of its role."""
    if not isinstance(columns, Mapping):
        return columns
    return {role: {"from": role, **node} if isinstance(node, Mapping) else node for role, node in columns.items()}


def _as_word(value: object) -> object:
    if value is None or isinstance(value, bool):
        raise ValueError(
            "expected a word; YAML takes a bare No, Yes, On, Off or null for something else: put it in quotes"
        )
    return comparable(str(value)) if isinstance(value, int | float) else value


def listed(words: object) -> object:
    """Take one word for a list of one."""
    return [words] if isinstance(words, str | int | float) or words is None else words


Separator = Annotated[str, AfterValidator(_one_character)]
Encoding = Annotated[str, AfterValidator(_encoding_name)]
DateFormat = Annotated[str, AfterValidator(_date_format)]
Word = Annotated[str, BeforeValidator(_as_word)]  # of a table; a code that is a number equals its text
Zone = Annotated[str, AfterValidator(_zone_name)]
Decimal = Literal[".", ","]
Thousands = Literal[",", ".", " ", "'"]
Moment = Literal["admission", "stay", "discharge", "after"]
Kind = Literal["number", "category", "date", "identifier", "text"]
SourceName = Annotated[str, Field(min_length=1)]
_KEYS: dict[tuple[Kind, ...], tuple[str, ...]] = {  # that only some kinds can have
    ("number", "date"): ("low", "high"),
    ("number",): ("flag_below", "top", "decimal", "thousands", "money"),
    ("date",): ("format", "zone"),
    ("category",): ("groups",),
    ("number", "category"): ("bands", "levels"),
}


WRITTEN: dict[Kind | None, tuple[str, ...]] = {"number": ("decimal", "thousands", "money"), "date": ("zone",)}


def plain(bound: float | date | None) -> float | str | None:
    """Write a bound as JSON and YAML do."""
    return bound.isoformat() if isinstance(bound, date) else bound


def _end(bound: float | date) -> str:
    return bound.isoformat() if isinstance(bound, date) else f"{bound:g}"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", validate_by_name=True))
class Column:
    """One column of the source."""

    kind: Kind | None = None  # None: as its other keys, or its values, say
    known: Moment | None = None  # from which the value exists; None: as ``known`` of the dataset says, else `after`
    # its name in the file: ``from`` in YAML, the role where that is left out; None declares that the table
    # lacks it; several are the key of an identifier
    source: SourceName | tuple[SourceName, ...] | None = Field(default=None, alias="from")
    private: bool = False  # a private column is used to find copies and patients, and never leaves the reader
    organisations: bool = False  # a category of their names, which may be people's: those are not looked for
    unit: str = ""
    # allowed range of a number, or of a date, ends included; a cell outside it is rejected
    low: FiniteFloat | date | None = None
    high: FiniteFloat | date | None = None
    decimal: Decimal | None = None  # the marks in a number as text; None: as the dataset says
    thousands: Thousands | None = None
    money: str | None = Field(default=None, min_length=1)  # the sign of a currency that stands beside the number
    flag_below: FiniteFloat | None = None  # a number below it is kept, counted and reported (negative bills exist)
    format: DateFormat | None = None  # of a date as text (strftime); None means ISO 8601
    zone: Zone | None = None  # of the ward's clock, of moments in UTC or with an offset; None: as the dataset says
    # what two spellings of one category have in common, see `hi_ml.scorer.serving.key`
    spelling: Literal["exact", "case", "words"] = "case"
    missing: list[Word] | None = None  # words that mean "no value" here; None takes those of the dataset
    # what codes stand for: by code, null for missing; or a CSV of key and label. A code without label stays a code
    levels: dict[Word, Word | None] | str | None = None
    # of codes, which adds ``<role>_group``: icd9_chapters, icd10_chapters, a list of [lowest, highest, group], or a CSV
    groups: str | list[tuple[Word, Word, str]] | None = None
    # whether values are bands, "30-49" or "70 or older": a number (the midpoint if true, or the lower end), with the
    # ordered category ``<role>_band`` beside it; of kind category, with ``<role>_number`` beside it
    bands: bool | Literal["lower", "midpoint"] = False
    top: Annotated[list[Word], BeforeValidator(listed)] = Field(default_factory=list)  # words for "so many or more"
    part: Literal["", "group", "band", "number"] = ""  # of what stands in the cells, where that is two columns

    def __post_init__(self) -> None:
        """Check that what is said of the column fits its kind."""
        for kinds, names in _KEYS.items():
            said = self._said(names)
            if said and self.kind not in (None, *kinds):
                raise ValueError(
                    f"only kind {' or '.join(kinds)} can have {', '.join(said)}, this column is of kind {self.kind}"
                )
        if isinstance(self.source, tuple) and self.kind not in (None, "identifier"):
            raise ValueError(f"only kind identifier is made of several columns, this one is of kind {self.kind}")
        if strange := [word for word in self.top if (band_ends(word) or (0.0, 0.0))[1] != inf]:
            raise ValueError(
                f"top takes words such as 120+ or '> 89', of which the number can be told; found {strange}"
            )
        ends = [end for end in (self.low, self.high) if end is not None]
        if wrong := [end for end in ends if self.kind and isinstance(end, date) != (self.kind == "date")]:
            expected = "a date, such as 2020-01-31" if self.kind == "date" else "a number"
            raise ValueError(f"low and high of kind {self.kind}: expected {expected}, found {wrong[0]}")
        if len(ends) == 2 and ends[0] > ends[1]:  # type: ignore[operator]  # noqa: PLR2004 -- both, of one kind
            raise ValueError(f"low is {_end(ends[0])}, above high, which is {_end(ends[1])}")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")

    def _said(self, names: tuple[str, ...]) -> list[str]:
        values = {name: getattr(self, name) for name in names}
        return [name for name, value in values.items() if value is not None and value is not False and value != []]

    @property
    def sources(self) -> tuple[str, ...]:
        """Its names in the file: one, several of a key of several columns, or none."""
        return (self.source,) if isinstance(self.source, str) else self.source or ()

    def said_kind(self) -> Kind | None:
        """Return the kind, as its keys say it; None where they do not."""
        if self.kind is not None or not isinstance(self.source, str):
            return self.kind or "identifier"
        said = {name for names in _KEYS.values() for name in self._said(names)}
        if {"format", "zone"} & said or any(isinstance(end, date) for end in (self.low, self.high)):
            return "date"
        if self.unit or said - {"levels", "groups"}:
            return "number"
        return "category" if said else None

    def derived(self) -> "Column | None":
        """Return the column that groups or bands add."""
        if self.part or not (self.groups or self.bands):
            return None
        if self.groups:
            return replace(self, kind="category", part="group", levels=None)
        if self.kind == "category":
            return replace(self, kind="number", part="number")
        plain = replace(self, decimal=None, thousands=None, money=None, low=None, high=None, flag_below=None)
        return replace(plain, kind="category", part="band", unit="", top=[])
