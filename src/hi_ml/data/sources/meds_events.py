"""What do the events of a MEDS folder say of each subject, and until when?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.sources import files
from hi_ml.data.sources.stays import Moments

BIRTH, DEATH, SEX = "MEDS_BIRTH", "MEDS_DEATH", ("GENDER", "SEX", "Gender", "Sex")
STATIC = "static "  # before the name of a column of events without a time
_NEEDED = ("subject_id", "time", "code")
_VALUES = ("numeric_value", "text_value")
_CODED = pa.dictionary(pa.int32(), pa.string())

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Events:
    """All events that have a time, by subject and time, and what is said of each subject without one."""

    subject: Integers
    time: Moments
    code: NDArray[np.int32]  # among the names
    number: NDArray[np.float32]
    text: pa.Array | None
    names: list[str]
    children: Mapping[str, set[str]]  # of a parent in codes.parquet
    static: pa.Table  # ``subject_id``, ``code``, ``numeric_value`` of the events without a time
    properties: pa.Table  # further columns of the events that begin an admission, with ``subject_id`` and ``time``

    @classmethod
    def read(cls, root: Path, start: Sequence[str], *, text: bool) -> "Events":
        """Read all files of a folder.

        Parameters
        ----------
        start : sequence of str
            The codes that begin an admission.
        text : bool
            Whether the texts of events are read.

        Raises
        ------
        SourceUnreadable
            If there is none, or one lacks a column.
        """
        timed, static, properties = [], [], []
        for path in shards(root):
            with files.refusing(str(path)):
                table = _shard(path, text=text)
            further = [name for name in table.column_names if name not in (*_NEEDED, *_VALUES)]
            begins = _belonging(table["code"], start)
            properties.append(table.filter(begins).select(["subject_id", "time", *further]))
            lasting = pc.is_null(table["time"])
            static.append(table.filter(lasting).select(["subject_id", "code", "numeric_value"]))
            timed.append(table.drop_columns(further).filter(pc.invert(lasting)))
        if not timed:
            raise SourceUnreadable.no_standard(str(root), "meds", "data/**/*.parquet")
        whole = pa.concat_tables(timed).unify_dictionaries()
        codes = whole["code"].combine_chunks()
        subject, time = whole["subject_id"].to_numpy(), whole["time"].to_numpy()
        code, number = codes.indices.to_numpy(), whole["numeric_value"].to_numpy()
        words = whole["text_value"].combine_chunks() if text else None
        if not _is_sorted(subject, time):  # a subject in two files, or a file in another order
            order = np.lexsort((time, subject))
            subject, time, code, number = subject[order], time[order], code[order], number[order]
            words = None if words is None else words.take(pa.array(order))
        lasting, told = pa.concat_tables(static), pa.concat_tables(properties, promote_options="permissive")
        names = codes.dictionary.to_pylist()
        return cls(subject, time, code, number, words, names, _children(root), lasting, told)

    @cached_property
    def _by_code(self) -> tuple[Integers, Integers]:
        """The positions of the events, code by code, and where each code begins among them."""
        counts = np.bincount(self.code, minlength=len(self.names))
        return np.argsort(self.code, kind="stable"), np.concatenate([[0], np.cumsum(counts)])

    def positions(self, codes: Sequence[int]) -> Integers:
        """Return the positions of the events of some codes, ascending."""
        order, begins = self._by_code
        parts = [order[begins[code] : begins[code + 1]] for code in codes]
        return np.sort(np.concatenate([*parts, np.array([], dtype=np.int64)]))

    def belonging(self, begins: Sequence[str]) -> list[int]:
        """Return the codes that are some words, or begin with one and //."""
        return [code for code, name in enumerate(self.names) if any(_belongs(name, begin) for begin in begins)]

    def meant(self, asked: str) -> list[int]:
        """Return the codes that one word stands for: those that belong to it, and those that have it for a parent."""
        children = self.children.get(asked, set())
        return [code for code, name in enumerate(self.names) if _belongs(name, asked) or name in children]

    def first_of(self, subject: Integers) -> Integers:
        """Return the position of the first event of each subject."""
        return np.searchsorted(self.subject, subject)

    def until(self, subject: Integers, moment: Moments, *, at: bool) -> Integers:
        """Return the position behind the last event of each subject before a moment, or at it too."""
        low, high = self.first_of(subject), np.searchsorted(self.subject, subject, side="right")
        while (wide := low < high).any():
            middle = (low + high) // 2
            time = self.time[np.minimum(middle, len(self.time) - 1)]
            sooner = (time <= moment) if at else (time < moment)
            low, high = np.where(wide & sooner, middle + 1, low), np.where(wide & ~sooner, middle, high)
        return low

    def stays(self, start: Sequence[str], end: Sequence[str]) -> tuple[Integers, Integers]:
        """Return the positions of the events that begin a stay, and of those that end it, -1 where none does.

        A stay ends with the first end before the next start. At one moment the end of a stay goes before the start of
        the next, and an end that belongs to none closes what starts then.
        """
        begins, ends = self.positions(self.belonging(start)), self.positions(self.belonging(end))
        begins = begins[_changes(self.subject[begins], self.time[begins])]  # two codes of one start
        position = np.concatenate([ends, begins])
        starts = np.repeat([False, True], [len(ends), len(begins)])
        order = np.lexsort((starts, self.time[position], self.subject[position]))
        position, starts = position[order], starts[order]
        subject, time = self.subject[position], self.time[position]
        if not len(begins):
            return begins, begins
        closed = np.append(starts[:-1] & ~starts[1:] & (subject[:-1] == subject[1:]), False)
        loose = ~starts & ~np.roll(closed, 1)
        at_once = np.roll(loose, 1) & (np.roll(subject, 1) == subject) & (np.roll(time, 1) == time)
        at_once[0] = False
        found = np.where(closed, np.roll(position, -1), np.where(at_once, np.roll(position, 1), -1))
        return position[starts], found[starts]

    def words(self, position: Integers, begins: Sequence[str]) -> tuple[pa.Array, pa.Array]:
        """Return two words: what the code of an event, -1 for none, says behind the one that it belongs to."""
        told = [next((name[len(one) :] for one in begins if _belongs(name, one)), "") for name in self.names]
        parts = [[*(part or None for part in text.split("//")[1:]), None, None][:2] for text in told]
        index = pa.array(self.code[position], mask=position < 0)
        first, second = (pa.array([part[place] for part in parts], pa.string()).take(index) for place in (0, 1))
        return first, second

    def first(self, code: str, subject: Integers) -> Moments:
        """Return the time of the first event of a code of each subject, NaT where there is none."""
        position = self.positions(self.belonging([code]))
        owner, first = np.unique(self.subject[position], return_index=True)
        time = np.append(self.time[position[first]], np.datetime64("NaT"))
        return time[_place(owner, subject)]

    def sex(self, subject: Integers) -> pa.Array:
        """Return what a code such as GENDER//F says, with a time or without."""
        said = {name: word for name in self.names for kind, word in [_split(name)] if kind in SEX}
        position = self.positions([code for code, name in enumerate(self.names) if name in said])
        words = [said[self.names[code]] for code in self.code[position]]
        timed = _told(pa.array(self.subject[position]), words)
        return of_subject(pa.concat_tables([self._lasting(lambda kind: kind in SEX), timed]), subject)

    def lasting(self, subject: Integers) -> dict[str, pa.Array]:
        """Return a column for each kind of event without a time: RACE//X says X of RACE, a bare code that it is."""
        kinds = sorted({name.partition("//")[0] for name in self.static["code"].cast(pa.string()).to_pylist()})
        return {f"{STATIC}{kind}": of_subject(self._lasting(kind.__eq__), subject) for kind in kinds if kind not in SEX}

    def _lasting(self, chosen: Callable[[str], bool]) -> pa.Table:
        names, numbers = (self.static[name].to_pylist() for name in ("code", "numeric_value"))
        split = [_split(name) for name in names]
        words = [
            word or ("yes" if number is None else f"{number:g}")
            for (_, word), number in zip(split, numbers, strict=True)
        ]
        some = pa.array([chosen(kind) for kind, _ in split], pa.bool_())
        return _told(self.static["subject_id"], words).filter(some)

    def said_at(self, subject: Integers, start: Moments) -> dict[str, pa.Array]:
        """Return the further columns of the event that began each admission; none of lists."""
        told = self.properties
        plain = [one.name for one in told.schema if one.name not in _NEEDED and not pa.types.is_nested(one.type)]
        rows = told.select(["subject_id", "time"]).append_column("row", pa.array(np.arange(len(told))))
        rows = rows.group_by(["subject_id", "time"]).aggregate([("row", "min")])
        keys = {"subject_id": pa.array(subject), "time": pa.array(start), "place": np.arange(len(subject))}
        found = pa.table(keys).join(rows, ["subject_id", "time"]).sort_by("place")["row_min"].combine_chunks()
        return {name: told[name].combine_chunks().take(found) for name in plain}

    @cached_property
    def commonest(self) -> list[int]:
        """The codes by how many subjects have them, then by name."""
        order, _ = self._by_code
        code = self.code[order]
        first = code[_changes(self.subject[order], code)]  # of each subject's events of a code
        subjects = np.bincount(first, minlength=len(self.names))
        return sorted(range(len(self.names)), key=lambda code: (-subjects[code], self.names[code]))


def shards(root: Path) -> list[Path]:
    """List the files of events."""
    return sorted(root.glob("data/**/*.parquet"))


def of_subject(words: pa.Table, subject: Integers) -> pa.Array:
    """Return the first ``word`` of each subject, in the order of the words."""
    words = words.sort_by([("subject_id", "ascending"), ("word", "ascending")])
    owner, first = np.unique(words["subject_id"].to_numpy(), return_index=True)
    place = _place(owner, subject)
    return words["word"].combine_chunks().take(pa.array(np.append(first, 0)[place], mask=place < 0))


def _shard(path: Path, *, text: bool) -> pa.Table:
    """One file: of every event its subject, time, code, values, and what else it says."""
    names = pq.read_schema(path).names
    if lacking := [name for name in _NEEDED if name not in names]:
        raise SourceUnreadable.no_standard(str(path), "meds", f"the column {lacking[0]}")
    further = [name for name in names if name not in (*_NEEDED, *_VALUES)]
    kinds = {"subject_id": pa.int64(), "time": pa.timestamp("us"), "code": _CODED, "numeric_value": pa.float32()}
    kinds |= {"text_value": pa.string()} if text else {}
    wanted = [name for name in names if name in kinds or name in further]
    table = pq.read_table(path, columns=wanted, read_dictionary=["code"])
    cells = {
        name: table[name].cast(kind, safe=name != "time") if name in names else pa.nulls(len(table), kind)
        for name, kind in kinds.items()
    }
    table = pa.table(cells | {name: table[name] for name in further})
    whole = pc.and_(pc.is_valid(table["subject_id"]), pc.is_valid(table["code"]))
    return table if pc.all(whole).as_py() else table.filter(whole)


def _children(root: Path) -> dict[str, set[str]]:
    path = root / "metadata" / "codes.parquet"
    if not path.is_file() or not {"code", "parent_codes"} <= set(pq.read_schema(path).names):
        return {}
    below: dict[str, set[str]] = {}
    for row in pq.read_table(path, columns=["code", "parent_codes"]).to_pylist():
        for parent in row["parent_codes"] or ():
            below.setdefault(parent, set()).add(row["code"])
    return below


def _belonging(cells: pa.ChunkedArray, codes: Sequence[str]) -> pa.ChunkedArray:
    masks = [
        pa.array([any(_belongs(name, code) for code in codes) for name in chunk.dictionary.to_pylist()], pa.bool_())
        .take(chunk.indices)
        for chunk in cells.chunks
    ]  # fmt: skip
    return pa.chunked_array(masks, pa.bool_())


def _belongs(name: str, code: str) -> bool:
    return name == code or name.startswith(f"{code}//")


def _split(name: str) -> tuple[str, str]:
    """The kind of a code and the rest, between which stands // or, in codes of OMOP, one slash."""
    kind, _, word = name.partition("//" if "//" in name else "/")
    return kind, word


def _told(subject: pa.Array | pa.ChunkedArray, words: Sequence[str]) -> pa.Table:
    return pa.table({"subject_id": subject, "word": pa.array(words, pa.string())})


def _changes(subject: Integers, other: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a subject, or what stands beside it, is another than that before."""
    changed = (subject[1:] != subject[:-1]) | (other[1:] != other[:-1])
    return np.append(True, changed)[: len(subject)]


def _is_sorted(subject: Integers, time: Moments) -> bool:
    later = subject[1:] - subject[:-1]
    return bool(((later > 0) | ((later == 0) & (time[1:] >= time[:-1]))).all())


def _place(owner: Integers, subject: Integers) -> Integers:
    """The place of each subject among sorted owners, -1 of those who are not among them."""
    place = np.searchsorted(owner, subject)
    return np.where(np.append(owner, -1)[place] == subject, place, -1)
