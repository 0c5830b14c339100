"""What can be read, or could be, if one knew how: marks, orders, zones, values too common, ends cut off."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import setting
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import Piece, is_text
from hi_ml.scorer.serving import band_ends

_FEWEST = 20  # cells from which a habit of writing shows
_FEWEST_ALIKE, _SHARE_ALIKE = 3, 0.01  # of the cells that can be read: so many equal outermost ones are no measurement
_TIMES_COMMONER = 5  # than any other value: so common is a code among measurements
_FEWEST_OTHERS = 10  # different values, among which another can lie far off
_CODES = {sign * int("9" * digits) for digits in range(2, 7) for sign in (1, -1)} | {-1, -9}
_POINT_AND_THREE = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
_NO_POINT = r"^[+-]?\d{1,3}$"
_COMMAS: tuple[tuple[str, tuple[dict[str, str], ...]], ...] = (  # what a cell with commas can mean, surest first
    (r"[+-]?[1-9]\d{0,2}(,\d{3})+\.\d+|[+-]?[1-9]\d{0,2}(,\d{3}){2,}", ({"thousands": ","},)),
    (r"[+-]?[1-9]\d{0,2}(\.\d{3})+,\d+|[+-]?[1-9]\d{0,2}(\.\d{3}){2,}", ({"decimal": ",", "thousands": "."},)),
    (r"[+-]?(\d+,(\d{1,2}|\d{4,})|0\d*,\d+|\d{4,},\d+)", ({"decimal": ","},)),
    (r"[+-]?[1-9]\d{0,2},\d{3}", ({"thousands": ","}, {"decimal": ","})),
)
_MONEY = r"[+-]?\s*\p{Sc}\s*[+-]?[\d.,]+|[+-]?[\d.,]+\s*\p{Sc}"
_ONE_NUMBER = r"^\D{0,20}\d+([.,]\d+)?\D{0,30}$"  # of what may be a bound
_DATE = re.compile(r"(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})(?!\d)")
_MONTHS, _DAYS, _OF_A_YEAR = 12, 31, 4  # the largest month and day, the digits of a year
_DAY_FIRST, _MONTH_FIRST, _YEAR_FIRST, _EITHER = "day first", "month first", "year first", "day or month first"
_FORMATS = {_DAY_FIRST: "%d{0}%m{0}%Y", _MONTH_FIRST: "%m{0}%d{0}%Y", _YEAR_FIRST: "%Y{0}%m{0}%d"}
_BEGINS = {"%d": _DAY_FIRST, "%m": _MONTH_FIRST, "%Y": _YEAR_FIRST}  # order, by how a format begins
_WRITE_AS_ISO = "Let the export write YYYY-MM-DD"
_WRITE_ALIKE = "No key can tell them apart: let the export write all as YYYY-MM-DD"
_WAYS = (  # of writing a date other than by three numbers with a year of four digits
    "%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%d. %B %Y",
    "%d.%m.%y", "%d/%m/%y", "%m/%d/%y",
)  # fmt: skip
_TIMES_OF_DAY = ("", " %H:%M", " %H:%M:%S")
_OF_PEOPLE = pd.Timestamp("1800-01-01"), pd.Timestamp("2200-01-01")  # between these lie their days
_FIT = 0.9  # of the texts: a way of writing is known by so many
_ENOUGH = 1000  # different texts by which a way of writing is known
_UTC = ("UTC", "Etc/UTC", "GMT", "Z", "+00:00")
_OFFSET = r":\d{2}(\.\d+)?\s*([Zz]|[+-]\d{2}:?(\d{2})?)$"


@dataclass(frozen=True)
class Doubts:
    """What is to be said of a table before anyone believes it, a clause each."""

    causes: tuple[str, ...]  # why cells could not be read, with what to do
    warnings: tuple[str, ...]  # of cells that could


@dataclass(frozen=True)
class _Texts:
    """Different texts of a column, and how many rows hold each."""

    text: pa.Array
    count: NDArray[np.int64]

    def only(self, pattern: str) -> "_Texts":
        mask = pc.fill_null(pc.match_substring_regex(self.text, pattern, ignore_case=True), fill_value=False)
        return _Texts(self.text.filter(mask), self.count[mask.to_numpy(zero_copy_only=False)])

    def counts(self) -> Counter[str]:
        """Rows by text, white space around it left out."""
        tally: Counter[str] = Counter()
        for text, count in zip(self.text.to_pylist(), self.count.tolist(), strict=True):
            tally[(text or "").strip()] += count
        return tally

    def __len__(self) -> int:
        return int(self.count.sum())


@dataclass(frozen=True)
class _Column:
    """A column as it is written and as it was read."""

    role: str
    spec: Mapping[str, Any]
    private: bool
    kind: pa.DataType  # as it is written
    typed: pa.Array
    read: _Texts  # of a column of text
    lost: _Texts  # texts that could not be read, missing ones too

    def set(self, key: str, value: Any) -> str:
        return setting(f"dataset.columns.{self.role}.{key}", value)

    def some(self, texts: _Texts) -> str:
        """How many cells, and one of them, unless the column is private."""
        return self.named(texts.counts())

    def named(self, counts: Counter[str]) -> str:
        """Say so of cells that were counted by text."""
        such = "" if self.private else f" (such as {counts.most_common(1)[0][0]!r})"
        return f"{(n := counts.total()):,} cell{'s' * (n != 1)}{such}"


def doubts(raw: Piece, dataset: Dataset, typed: Mapping[str, pa.Array]) -> Doubts:
    """Ask of every number and date whether another reading than the one that was taken is the likelier.

    Parameters
    ----------
    typed : mapping of str to pyarrow.Array, shape (n,)
        By role, all rows of the raw table, as `hi_ml.scorer.serving.convert` returns them.
    """
    causes: list[str] = []
    warnings: list[str] = []
    for role, described in dataset.present().items():
        if described.kind not in ("number", "date"):
            continue
        column = _column(role, dataset, raw.table.column(str(described.source)), typed[role])
        said = list(_orders(column) if described.kind == "date" else (*_marks(column), *_bounds(column)))
        causes += said or _of_another_kind(column)
        warnings += _zones(column) if described.kind == "date" else _points(column)
        warnings += _too_common(column)
    return Doubts(tuple(causes), tuple(warnings))


def _column(role: str, dataset: Dataset, written: pa.ChunkedArray, typed: pa.Array) -> _Column:
    plain = written.type.value_type if pa.types.is_dictionary(written.type) else written.type
    read = lost = _Texts(pa.array([], pa.string()), np.array([], dtype=np.int64))
    if is_text(plain):
        cells = written if pa.types.is_dictionary(written.type) else written.dictionary_encode()
        cells = cells.unify_dictionaries().combine_chunks()
        cells = cells.chunk(0) if isinstance(cells, pa.ChunkedArray) else cells
        texts, valid = pc.cast(cells.dictionary, pa.string()), typed.is_valid().to_numpy(zero_copy_only=False)
        index = pc.fill_null(pc.cast(cells.indices, pa.int64()), len(texts)).to_numpy(zero_copy_only=False)
        read, lost = (_texts(texts, np.bincount(index[mask], minlength=len(texts) + 1)) for mask in (valid, ~valid))
    return _Column(role, dataset.spec(role), dataset.columns[role].private, plain, typed, read, lost)


def _texts(texts: pa.Array, count: NDArray[np.int64]) -> _Texts:
    present = count[:-1] > 0
    return _Texts(texts.filter(pa.array(present)), count[:-1][present])


def _marks(column: _Column) -> Iterator[str]:
    """Cells that are no numbers as a program writes them, but as a country or a cashier does."""
    source = column.spec["source"]
    for pattern, readings in _COMMAS:
        if not len(cells := column.lost.only(rf"^\s*({pattern})\s*$")):
            continue
        ways = " or ".join(" ".join(column.set(mark, sign) for mark, sign in marks.items()) for marks in readings)
        both = ", which may part thousands or be the decimal mark" if len(readings) > 1 else ""
        yield f"{source}: {column.some(cells)} are written with a comma{both}. Say how: {ways}"
        return
    if len(cells := column.lost.only(rf"^\s*({_MONEY})\s*$")):
        sign = next(mark for mark in next(iter(cells.counts())) if unicodedata.category(mark) == "Sc")
        yield f"{source}: {column.some(cells)} carry the sign of a currency. Say so: {column.set('money', sign)}"


def _points(column: _Column) -> Iterator[str]:
    """Numbers of which each with a point has three digits behind it: the point may part thousands."""
    cells = column.read.only(_POINT_AND_THREE)
    n = len(cells)
    if {"decimal", "thousands"} & set(column.spec) or n < max(_FEWEST, len(column.read) / 2):
        return
    if n + len(column.read.only(_NO_POINT)) < len(column.read):
        return
    example = cells.text[0].as_py()
    one = "" if column.private else f" ({example} was read as {example}, and may be {example.replace('.', '')})"
    yield (
        f"{column.spec['source']}: {n:,} cells have a point and exactly three digits behind it{one}. Say what it is: "
        f"{column.set('thousands', '.')} or {column.set('decimal', '.')}"
    )


def _bounds(column: _Column) -> Iterator[str]:
    """Cells that say "so many or more", or "or fewer", where no key says what becomes of them."""
    source, counts = column.spec["source"], column.lost.only(_ONE_NUMBER).counts()
    ends = {text: band_ends(text) or (0.0, 0.0) for text in counts}
    highest = Counter({text: counts[text] for text, (_, high) in ends.items() if high == math.inf})
    lowest = Counter({text: counts[text] for text, (low, high) in ends.items() if low == 0 < high < math.inf})
    if highest:
        keys = "" if column.private else f": {column.set('top', highest.most_common(1)[0][0])}"
        yield (
            f"{source}: top codes in {column.named(highest)}, so the largest values are what was set aside. Declare "
            f"them and they are kept{keys}"
        )
    if lowest:
        nothing = [*column.spec["missing"], *sorted(lowest)]
        keys = "" if column.private else f": {column.set('missing', nothing)}"
        yield (
            f"{source}: codes for so many or fewer in {column.named(lowest)}, so the smallest values are what was set "
            f"aside. No key makes numbers of them: let the export write one, or call them missing and the rows are kept"
            f"{keys}"
        )


def _of_another_kind(column: _Column) -> Iterator[str]:
    """Most cells are no dates, or no numbers, as the column is said to hold."""
    source, what = column.spec["source"], f"{column.spec['kind']}s"
    lost = {text for text in column.lost.counts() if text and text not in column.spec["missing"]}
    n = sum(count for text, count in column.lost.counts().items() if text in lost)
    if what == "dates" and pa.types.is_integer(column.kind):
        yield f"{source} holds whole numbers, of which each could be any day. {_WRITE_AS_ISO}"
    elif n > len(column.read) and (ways := _fitting(column.lost, _WAYS) if what == "dates" else []):
        keys = " or ".join(column.set("format", way) for way in ways)
        how = column.spec.get("format") or "YYYY-MM-DD"
        yield f"{source}: {n:,} cells are written otherwise than {how}. Say how: {keys}"
    elif n > len(column.read):
        other = f"dataset.columns.{column.role}.from"
        more = f", or say how they are written: dataset.columns.{column.role}.format" if what == "dates" else ""
        yield f"{source}: {n:,} cells are no {what}. Name the column that holds {what}: {other}{more}"


def _fitting(texts: _Texts, ways: Iterable[str]) -> list[str]:
    """The ways of writing a date that fit most texts: some may be missing, or no dates."""
    some = pd.Series(texts.text.to_pylist()[:_ENOUGH]).str.strip()
    read = ((way, pd.to_datetime(some, format=way, errors="coerce")) for way in ways)
    return [way for way, dates in read if dates.between(*_OF_PEOPLE).mean() > _FIT]


def orders_of(dates: Iterable[str]) -> str:
    """Count the orders in which dates are written, in words; nothing where there is none."""
    counts = Counter(order[0] for text in dates if (order := _order(text)))
    return ", ".join(f"{count:,} {order}" for order, count in counts.most_common())


def _order(text: str) -> tuple[str, str] | None:
    """In which order a date is written, and with which mark between; None where it is none."""
    match = _DATE.match(text)
    if match is None:
        return None
    first, mark, second, third = match.groups()
    if len(first) == _OF_A_YEAR:
        return (_YEAR_FIRST, mark) if 0 < int(second) <= _MONTHS and 0 < int(third) <= _DAYS else None
    one, two = int(first), int(second)
    if len(third) != _OF_A_YEAR or not (0 < min(one, two) <= _MONTHS and max(one, two) <= _DAYS):
        return None
    return (_EITHER if max(one, two) <= _MONTHS else _DAY_FIRST if one > _MONTHS else _MONTH_FIRST), mark


def _orders(column: _Column) -> Iterator[str]:
    """Dates that were set aside because they follow another order than those that were read."""
    way = column.spec.get("format") or "%Y-%m-%d"
    own = (_BEGINS.get(way[:2]), way[2:3])  # a day that is in no calendar is of no other order
    refused = Counter({order: count for order, count in _tally(column.lost).items() if order != own})
    if not refused:
        return
    source, orders = column.spec["source"], {order for order, _ in refused} - {_EITHER}
    aside = ", ".join(f"{count:,} {order}" for (order, _), count in refused.most_common())
    if len(column.read):
        doubtful = sum(count for (order, _), count in _tally(column.read).items() if order == _EITHER)
        maybe = f", of which {doubtful:,} could be either and may be wrong" if doubtful else ""
        how = column.spec.get("format") or "YYYY-MM-DD"
        read = f"{len(column.read):,} cells were read as {how}{maybe}"
        yield f"{source} mixes orders of dates: {read}; of those set aside {aside}. {_WRITE_ALIKE}"
    elif len(orders) > 1:
        yield f"{source} mixes orders of dates: {aside}. {_WRITE_ALIKE}"
    else:
        ways, mark = sorted(orders) or [_DAY_FIRST, _MONTH_FIRST], refused.most_common(1)[0][0][1]
        timed = [[f"{_FORMATS[way].format(mark)}{time}" for time in _TIMES_OF_DAY] for way in ways]
        fitting = [fit[0] for some in timed if (fit := _fitting(column.lost, some))]
        if not fitting:  # as of the year 9999
            return
        keys = " or ".join(column.set("format", way) for way in fitting)
        yield f"{source} is written {' or '.join(ways)} ({len(column.lost):,} cells). Say so: {keys}"


def _tally(texts: _Texts) -> Counter[tuple[str, str]]:
    tally: Counter[tuple[str, str]] = Counter()
    for text, count in texts.counts().items():
        if order := _order(text):
            tally[order] += count
    return tally


def _zones(column: _Column) -> Iterator[str]:
    """Moments in UTC, or with their offset from it, without a word on where the ward is."""
    moments = pc.any(pc.not_equal(column.typed, pc.floor_temporal(column.typed, unit="day"))).as_py()
    if "zone" in column.spec or not moments:
        return
    if getattr(column.kind, "tz", None) in _UTC:
        what = "all moments are in UTC"
    elif offsets := len(column.read.only(_OFFSET)):
        what = f"{offsets:,} moments carry an offset from UTC, and are taken as they are written"
    else:
        return
    yield (
        f"{column.spec['source']}: {what}. Nights are counted by the ward's clock: say where it hangs, for example "
        f"{setting('dataset.zone', 'Europe/Berlin')}"
    )


def _too_common(column: _Column) -> Iterator[str]:
    """Outermost values that stand in more rows than a measurement would, and far off from all others."""
    tally = column.typed.drop_null().value_counts()
    values, count = tally.field("values"), tally.field("counts").to_numpy()
    is_date = pa.types.is_temporal(values.type)
    number = (pc.cast(values, pa.int64()) if is_date else values).to_numpy().astype(float)
    order = np.argsort(number)
    if len(order) <= _FEWEST_OTHERS:
        return
    for first, second, last in (order[[0, 1, -1]], order[[-1, -2, 0]]):
        if count[first] < max(_FEWEST_ALIKE, _SHARE_ALIKE * count.sum()):
            continue
        far = abs(number[first] - number[second]) > abs(number[second] - number[last])
        coded = number[first] in _CODES and count[first] > _TIMES_COMMONER * np.delete(count, first).max()
        if far or (coded and not is_date):
            yield _sentinel(column, values[int(first)].as_py(), int(count[first]))


def _sentinel(column: _Column, value: Any, rows: int) -> str:
    text = f"{value:g}" if isinstance(value, float) else f"{value:%Y-%m-%d}"
    written = [one for one in column.read.only(f"^{re.escape(text)}").counts() if one][:3] or [text]
    what = "one value, far off from all others" if column.private else f"{text}, far off from all others"
    key = "" if column.private else f": {column.set('missing', [*column.spec['missing'], *written])}"
    return f"{column.spec['source']}: {rows:,} rows have {what}. If it stands for 'not known', say so{key}"
