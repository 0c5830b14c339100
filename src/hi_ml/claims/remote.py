"""The admissions of a table that stays where it is: a row for each distinct one, and how many admissions it stands for.

What is no admission of its own, a copy or a row that breaks a rule, is taken off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals

from hi_ml.app.errors import EngineRefused
from hi_ml.claims.aggregates import TIMES, UNIT, add_up, centre_of, each_admission, sums
from hi_ml.claims.distinct import DistinctAdmissions, as_claims_take_it, persons_of
from hi_ml.data.clean import folded
from hi_ml.data.duplicates import TELLING, Twins, connected, groups, people
from hi_ml.data.sql.asking import PATIENT, STAY, Typed
from hi_ml.data.sql.table import SqlTable
from hi_ml.statistics.linkage import LINKABLE, link

_WRITTEN, _NAME = "_as_written", "patient_name"


@dataclass(frozen=True, eq=False)
class RemoteRows:
    """Admissions that are added up where they lie, see `hi_ml.claims.distinct.Rows`."""

    table: SqlTable
    less: tuple[Typed, ...]  # rows that are taken off
    few: Mapping[str, frozenset[str]] = field(default_factory=dict)  # levels of too few patients, by role
    who: tuple[str, ...] = ()  # what tells patients apart, where one has several admissions
    persons: "pd.Series[int] | None" = None  # number of each, by that; None takes it as it is
    narrow: bool = True

    @property
    def roles(self) -> Sequence[str]:
        """See `Rows`."""
        present, dataset = self.table.dataset.present(), self.table.dataset
        public = [role for role, column in present.items() if not column.private]
        coded = [role for role in (_NAME, PATIENT) if role in present]
        written = [f"{role}{_WRITTEN}" for role, column in present.items() if column.spelling == "words"]
        return list(dict.fromkeys([*public, *coded, *written, *([STAY] if dataset.computes_stay() else [])]))

    def take(self, roles: Sequence[str]) -> pd.DataFrame:
        """See `Rows`."""
        return as_claims_take_it(_in_numbers(self.added(roles)))

    def added(self, roles: Sequence[str]) -> pd.DataFrame:
        """Return the distinct rows of some columns, people by their number or name."""
        wanted = [role for role in dict.fromkeys(roles) if role in self.roles]
        typed, times = self.table.grouped(self._asked(wanted))
        parts = [self.frame(typed, wanted).assign(**{TIMES: times})]
        parts += [self.frame(part, wanted).assign(**{TIMES: -1}) for part in self.less]
        whole = _stacked(parts)
        if not (keys := [name for name in whole if name != TIMES]):
            return pd.DataFrame({TIMES: [int(whole[TIMES].sum())]})
        counted = whole.groupby(keys, dropna=False, observed=True)[TIMES].sum()
        return _in_words(counted[counted > 0].reset_index())

    def sums(self, keys: Sequence[str], value: str) -> pd.DataFrame:
        """See `Rows`."""
        if self.who or not self.table.can_sum(value):
            return sums(self.take([*keys, value]), keys, value)
        centre = centre_of(self.table.mean(value), 1.0)
        typed, summed = self.table.summed(self._asked(keys), value, centre)
        frame = as_claims_take_it(_in_words(self.frame(typed, keys))).assign(**summed, base=summed["n"] * centre)
        tables = [frame.groupby(list(keys))[["n", "total", "squares", "base"]].sum()]
        for part in self.less:
            off = as_claims_take_it(_in_words(self.frame(part, [*keys, value]))).assign(**{TIMES: -1})
            tables.append(sums(off, keys, value, centre))
        whole = add_up([table for table in tables if len(table)])
        return whole[whole["n"] > 0]

    def _asked(self, roles: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*(role.removesuffix(_WRITTEN) for role in roles), *self.who]))

    def frame(self, typed: Typed, roles: Sequence[str]) -> pd.DataFrame:
        """Return what claims see of some columns."""
        columns: dict[str, Any] = {role: self.column(typed, role) for role in roles}
        if self.who:
            told = [self.column(typed, role) for role in self.who]
            columns[UNIT] = told[0] if self.persons is None else _looked_up(self.persons, told)
        length = len(next(iter(typed.values()))) if typed else 1
        return pd.DataFrame(columns, index=range(length))

    def column(self, typed: Typed, role: str) -> "pd.Series[Any]":
        """Return what claims see of a column: labels, numbers, dates, or who someone is."""
        if role in (PATIENT, _NAME) or role.endswith(_WRITTEN):
            values = folded(typed[role.removesuffix(_WRITTEN)])
            return _texts(values, self._who if role == PATIENT else str)
        values = typed[role]
        if not pa.types.is_dictionary(values.type):
            return pd.Series(values.to_pandas())
        few, labels = self.few.get(role, frozenset()), self.table.labels[role]
        return _texts(values, lambda text: None if (label := labels.get(text)) in few else label)

    def _who(self, number: str) -> str | None:
        return None if number in self.table.nobody else self.table.one.get(number, number)


def _texts(values: pa.DictionaryArray, name: Any) -> "pd.Series[Any]":
    """Give every distinct text its name, as a category."""
    names = pd.Series([None if text is None else name(text) for text in values.dictionary.to_pylist()], dtype="str")
    code, labels = pd.factorize(names, sort=True)
    rows = values.indices.fill_null(len(code)).to_numpy(zero_copy_only=False)
    return pd.Series(pd.Categorical.from_codes(np.append(code, -1)[rows], pd.Index(labels, dtype="str")))


def _stacked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put tables on one another, categories as categories."""
    columns = {name: [part[name] for part in parts] for name in parts[0]}
    return pd.DataFrame(
        {
            name: union_categoricals(some, sort_categories=True)
            if isinstance(some[0].dtype, pd.CategoricalDtype)
            else pd.concat(some, ignore_index=True)
            for name, some in columns.items()
        }
    )


def _in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Write categories as words."""
    return frame.astype(dict.fromkeys(frame.select_dtypes("category"), "str"))


def _in_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Number the people of a table; admissions of nobody known stay apart."""
    codes = {role: pd.factorize(frame[role])[0] for role in (PATIENT, _NAME) if role in frame}
    frame = frame.assign(**codes)
    if UNIT in frame:
        unknown = frame[UNIT].isna()
        alone = each_admission(frame[unknown])
        frame = pd.concat([frame[~unknown], alone.assign(**{TIMES: 1})], ignore_index=True)
        code, patients = pd.factorize(frame[UNIT])
        frame[UNIT] = np.where(code < 0, len(patients) + np.arange(len(frame)), code)
    return frame


def ready_remote(table: SqlTable, *, seed: int, keep_duplicates: bool, smallest_cell: int) -> DistinctAdmissions:
    """Make a table that is added up where it lies ready for inference, as `hi_ml.findings.ready` does one in memory."""
    every = RemoteRows(table, (table.set_aside,))
    few = {
        role: _few(every, role, smallest_cell)
        for role in table.labels
        if table.dataset.columns[role].kind == "category" and not table.dataset.columns[role].organisations
    }
    if keep_duplicates:
        first = last = RemoteRows(table, every.less, few)
    else:
        once = RemoteRows(table, (table.set_aside, table.first), few)
        who, persons = _told_apart(once, RemoteRows(table, every.less, few), seed)
        first, last = (
            RemoteRows(table, (table.set_aside, less), few, who, persons) for less in (table.first, table.last)
        )
    return DistinctAdmissions(
        first,
        last,
        0 if keep_duplicates else table.copies,
        declarations=table.dataset.declarations,
        seed=seed,
        units_of_columns={STAY: "days"} | {role: column.unit for role, column in table.dataset.present().items()},
    )


def _few(every: RemoteRows, role: str, smallest: int) -> frozenset[str]:
    """Name the levels of fewer patients; near-duplicates are one's."""
    if PATIENT in every.roles:
        held = every.take([role, PATIENT])
        unknown = held[PATIENT] < 0
        patients = held[~unknown].groupby(role)[PATIENT].nunique()
        patients = patients.add(held[unknown].groupby(role)[TIMES].sum(), fill_value=0)
    else:
        copies = pd.DataFrame({"level": every.column(every.table.alike, role), "group": every.table.group}).dropna()
        again = copies.groupby("level").size() - copies.groupby("level")["group"].nunique()
        patients = every.take([role]).groupby(role)[TIMES].sum().sub(again, fill_value=0)
    return frozenset(patients.index[patients < smallest])


def _told_apart(once: RemoteRows, every: RemoteRows, seed: int) -> tuple[tuple[str, ...], "pd.Series[int] | None"]:
    """Say what tells patients apart, where one has several admissions: their numbers, or names that pass the test.

    Parameters
    ----------
    once, every : RemoteRows
        Without near-duplicates, and with them.
    """
    if PATIENT in once.roles:
        rows = once.take([PATIENT])
        return ((PATIENT,) if (rows[TIMES][rows[PATIENT] >= 0] > 1).any() else ()), None
    rows = each_admission(once.take(TELLING))
    alone, distinct = Twins(np.arange(len(rows)), {}, ()), persons_of(rows) if len(rows) else None
    if distinct is None or groups(alone, distinct, None, seed=seed)[1] != LINKABLE:
        return (), None
    copies = _in_words(every.frame(every.table.alike, TELLING))
    told = pd.concat([every.added(TELLING)[list(TELLING)], copies], ignore_index=True)
    person = link(people({role: _codes(told, role) for role in TELLING}))
    known = told.notna().all(axis=1).to_numpy()
    group, of_copies = every.table.group, slice(len(told) - len(copies), None)
    mixed = pd.Series(known[of_copies]).groupby(group).nunique()
    if (mixed > 1).any():
        raise EngineRefused.patients(every.table.engine, "of two copies of one row one lacks what tells of whom it is")
    first = pd.Series(person[of_copies]).groupby(group).transform("first").to_numpy(dtype=np.int64)
    unit = connected(int(person.max()) + 1, [first], [person[of_copies]])[person]
    index = pd.MultiIndex.from_frame(told[known])
    return TELLING, pd.Series(unit[known], index)[~index.duplicated()]


def _codes(told: pd.DataFrame, role: str) -> Any:
    return told[role] if role in ("age", "admitted_on") else pd.factorize(told[role])[0]


def _looked_up(persons: "pd.Series[int]", told: Sequence["pd.Series[Any]"]) -> Any:
    """Number the rows by who they are of; NaN where that is not known."""
    place = persons.index.get_indexer(pd.MultiIndex.from_arrays(told))
    return np.where(place < 0, np.nan, persons.to_numpy(dtype=np.float64)[place])
