"""What kind of value stands in a column that nobody has described, and how is it written?"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.data.column import Kind
from hi_ml.scorer.serving import band_ends, comparable, convert

Integers = NDArray[np.int64]
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
_OWN_WORDS = 3  # of a column of numbers, at most, that mean missing there
_OFTEN = 5  # rows of each of them, and numbers for each
_FEW = 100  # levels of a numeric code that is a category
_ALONE = 100  # values, all of them different, from which on they tell rows and nothing else
_DIFFERENT = 0.5  # share of the known cells that are different from which on text is no category
_CONVINCING = 0.8  # share of the words of a column that decides what it is
_MONTHS = 12
_STRAY = 0.01  # share of the cells of a column of dates that may be none

Guessed = tuple[Kind, dict[str, Any], NDArray[np.float64] | None, tuple[int, int, int] | None]
"""The kind, its keys in the YAML, the typed values of the texts, how many dates can be read in which order."""


@dataclass(frozen=True)
class ColumnCells:
    """Each text of a column once, and where it stands."""

    texts: list[str]
    codes: Integers  # -1 where missing
    words: tuple[str, ...] = ()  # that mean missing
    kind: Kind | None = None  # where the file itself says it

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "ColumnCells":
        """Number the texts of a column."""
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
        """How often each text stands there."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))

    def without(self, words: frozenset[str]) -> "ColumnCells":
        """Take out the words for missing, and what stands nowhere, and number the others anew."""
        folded = [text.casefold() for text in self.texts]
        rows = self.rows
        keep = np.array([bool(n) and text not in words for text, n in zip(folded, rows, strict=True)], dtype=bool)
        anew = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)
        out = {self.texts[i] for i in np.flatnonzero(~keep & (rows > 0)) if self.texts[i]}
        return ColumnCells(
            [self.texts[i] for i in np.flatnonzero(keep)], anew[self.codes], tuple(sorted(out)), self.kind
        )


def own_words(cells: ColumnCells) -> frozenset[str]:
    """Tell which words of a column mean missing there alone: some that stand often between numbers."""
    words = [i for i, text in enumerate(cells.texts) if not any(map(str.isdigit, text))]
    if not 0 < len(words) <= _OWN_WORDS or (cells.rows[words] < _OFTEN).any() or len(cells.texts) < _OFTEN * len(words):
        return frozenset()
    return frozenset(cells.texts[i].casefold() for i in words)


def kind_of(plain: str, cells: ColumnCells) -> Guessed:
    """Tell a number, a date, bands or words, with what the column's plain name adds."""
    if not cells.texts:
        return "category", {}, None, None
    guesses = (number(plain, cells), _date(cells), _written_dates(cells), _banded(cells))
    return next((guess for guess in guesses if guess), None) or _wordy(plain, cells)


def number(plain: str, cells: ColumnCells) -> Guessed | None:
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


def _date(cells: ColumnCells) -> Guessed | None:
    dates, _ = _typed(cells.texts, "date")
    none = cells.rows[np.isnan(dates)].sum()
    return None if none > _STRAY * cells.rows.sum() else ("date", {}, dates, None)


def _banded(cells: ColumnCells) -> Guessed | None:
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


def _wordy(plain: str, cells: ColumnCells) -> Guessed:
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
        days = pd.Series(typed.to_pandas()).to_numpy(dtype="datetime64[us]").astype("datetime64[D]")
        return np.where(np.isnat(days), np.nan, days.astype(float)), bool(faults)
    return typed.to_numpy(zero_copy_only=False), bool(faults)


def _written_dates(cells: ColumnCells) -> Guessed | None:
    """Tell the order of day and month, where dates are written with both as numbers; mixed ones are not guessed.

    A few cells that are no date at all, such as the 31st of February, leave the order of the others as sure as it is.
    """
    matches = [_ORDERED.fullmatch(text) for text in cells.texts]
    if sum(match is not None for match in matches) < _CONVINCING * len(matches):
        return None
    rows, mark = cells.rows, Counter(match[2] for match in matches if match).most_common(1)[0][0]
    ends = [
        (int(match[1]), int(match[3]), n)
        for match, n in zip(matches, rows.tolist(), strict=True)
        if match and match[2] == mark
    ]
    day = sum(n for one, other, n in ends if other <= _MONTHS < one)
    month = sum(n for one, other, n in ends if one <= _MONTHS < other)
    either = sum(n for one, other, n in ends if max(one, other) <= _MONTHS)
    orders, most = (day, month, either), _STRAY * rows.sum()
    if bool(day) == bool(month) or rows.sum() - sum(orders) > most:
        return "date", {}, None, orders
    written = f"%d{mark}%m{mark}%Y" if day else f"%m{mark}%d{mark}%Y"
    days, _ = _typed(cells.texts, "date", format=written)
    if rows[np.isnan(days)].sum() > most:
        return "date", {}, None, orders
    return "date", {"format": written}, days, orders
