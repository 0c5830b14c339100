"""A table that is added up where it lies: few rows are fetched whole, of all others only counts and sums.

What stands in the cells is counted there; what a cell means is said here, once for each distinct one, as the reader
says it. Rows that break a rule, and near-duplicates, are fetched, judged as the reader judges them, and taken off.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import EngineRefused, SourceUnreadable
from hi_ml.data.clean import spelt
from hi_ml.data.column import Kind
from hi_ml.data.columns import Seen, name_columns, take_kinds
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.read import order_of
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import NO_ROWS, Piece
from hi_ml.data.sources.table import check_columns
from hi_ml.data.sql.asking import (
    Asking,
    Distinct,
    N,
    Rows,
    Typed,
    is_words,
    taken,
    with_stay,
    within,
)
from hi_ml.data.sql.copies import alike_rows, joined_patients
from hi_ml.data.sql.engine import Engine
from hi_ml.data.sql.exceptions import conditions_of, nobodies, refuse_own_names_of, rows_set_aside

log = logging.getLogger("hi_ml")


@dataclass(frozen=True)
class SqlTable:
    """A dataset that stays where it lies, and the rows of it that are no admissions of their own."""

    asking: Asking
    engine: str  # as the configuration calls it
    copies: int  # rows that are left out as near-duplicates
    counts: dict[str, int]  # as `hi_ml.data.read.Admissions.counts`
    set_aside: Typed  # rows that could not be read, or not be believed
    first: Typed  # near-duplicates but the first of each group, and but the last
    last: Typed
    twins: dict[str, Any]  # groups, pairs, and by what they differ
    group: NDArray[np.int64]  # of each near-duplicate, and their columns
    alike: Typed
    labels: dict[str, dict[str, str]]  # by role of a public category, the label of each spelling
    nobody: frozenset[str]  # numbers of patients that stand for nobody
    one: dict[str, str]  # numbers of patients that near-duplicates show to be another's
    private: frozenset[str]
    public: frozenset[str]
    sha256: str
    # ``column, rule, rows``: no cell of a row that could not be read, since whether it may be shown is not known here
    rejected: pd.DataFrame
    warnings: tuple[str, ...]
    kinds: Mapping[str, Kind]  # that were taken from the values, by role
    left_out: None = None

    @property
    def dataset(self) -> Dataset:
        """What is described."""
        return self.asking.dataset

    @property
    def origin(self) -> str:
        """Where the table lies, as a sentence calls it."""
        return self.asking.engine.location

    def grouped(self, roles: Sequence[str]) -> Rows:
        """Return the distinct rows of some columns, and how many rows of the source are so."""
        raw = self.asking.fetch(roles, grouped=True)
        return self.asking.typed(raw, roles), raw.table.column(N).to_numpy().astype(np.int64)

    def can_sum(self, role: str) -> bool:
        """Tell whether the engine can sum a column: it is stored as a number, and each of its cells is one."""
        return self.asking.number(role) is not None if role in self.dataset.present() else False

    def summed(self, keys: Sequence[str], value: str, centre: float) -> tuple[Typed, pd.DataFrame]:
        """Count and sum what a number lies above a centre, and the squares of that, by the distinct cells of keys.

        Returns
        -------
        typed : dict of str to pyarrow.Array, shape (n_groups,)
        sums : DataFrame, shape (n_groups, 3)
            `n, total, squares`.
        """
        number, columns = self.asking.number(value), self.asking.columns(keys)
        quoted = self.asking.engine.words.quoted
        listed = [f"{expression} AS {quoted(name)}" for name, expression in columns.items()]
        above = f"({number} - {self.asking.engine.words.text(centre)})"
        listed += ["COUNT(*) AS n", f"SUM({above}) AS total", f"SUM({above} * {above}) AS squares"]
        places = ", ".join(str(place + 1) for place in range(len(columns)))
        statement = f"SELECT {', '.join(listed)} FROM {self.asking.engine.base} WHERE {within(self.asking, value)}"
        table = self.asking.engine.ask(statement + (f" GROUP BY {places}" if columns else ""))
        sums = table.select(["n", "total", "squares"]).to_pandas().astype("float64").fillna(0.0)
        return self.asking.typed(Piece(table, np.arange(len(table)), NO_ROWS), keys), sums

    def mean(self, value: str) -> float:
        """Return the mean of a number, from which it is best measured."""
        number, where = self.asking.number(value), within(self.asking, value)
        statement = f"SELECT AVG({number}) AS mean FROM {self.asking.engine.base} WHERE {where}"
        return float(self.asking.engine.ask(statement).column("mean")[0].as_py() or 0.0)

    def private_words(self) -> PrivateWords:
        """Collect what no file may hold."""
        return PrivateWords.of(self.private, self.public)

    def provenance(self) -> dict[str, Any]:
        """Say which data were added up and what was found wrong with them, ready for JSON."""
        return {
            "sha256": self.sha256,
            "sha256_of": "counts and sums of each column",
            "engine": self.engine,
            "sources": [],
            **self.counts,
            **self.twins,
            **({"kinds_taken": dict(self.kinds)} if self.kinds else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }


def open_table(engine: Engine, dataset: Dataset, keep_rejected: Callable[[pd.DataFrame], Path]) -> SqlTable:
    """Find out what must be known of a table before it is added up.

    Parameters
    ----------
    keep_rejected : callable
        Writes which rules were broken how often, and returns its path; called only if any was.

    Raises
    ------
    EngineRefused, SourceUnreadable, ColumnProblem, TooManyRejected, PrivateValueFound
        If the table cannot be added up so, or not be believed.
    """
    dataset, kinds = _described(engine, dataset)
    asking = Asking(engine, dataset)
    rows = int(engine.ask(f"SELECT COUNT(*) AS n FROM {engine.base}").column("n")[0].as_py())
    if not rows:
        raise SourceUnreadable.no_rows(engine.location)
    roles = list(dataset.present())
    plain = [role for role in roles if asking.number(role) or asking.is_day(role)]
    distinct = {role: asking.distinct(role) for role in roles if role not in plain}
    conditions, sound = conditions_of(asking, distinct)
    asking = Asking(engine, dataset, counts_days=sound)
    set_aside, rules, aside_rows = rows_set_aside(asking, conditions, rows, keep_rejected)
    refuse_own_names_of(asking, distinct)
    nobody, warnings = nobodies(asking, distinct, rows)
    alike, group, differ = alike_rows(asking, distinct, rows)
    copies = {keep: pd.Series(group).duplicated(keep=keep).to_numpy(dtype=bool) for keep in ("first", "last")}
    sizes = np.bincount(group)
    labels, merged = _labels(dataset, distinct, set_aside)
    texts = {
        private: frozenset(
            text
            for role, one in distinct.items()
            if (dataset.columns[role].private if private else dataset.columns[role].organisations)
            for text in (one.typed.unique().dictionary_decode().to_pylist() if is_words(one) else ())
            if text is not None
        )
        for private in (True, False)
    }
    counted = [f"{count:,}" for count in (rows, aside_rows, int(copies["first"].sum()))]
    log.info("%s adds up %s rows, %s rejected, %s near-duplicates left out", engine.location, *counted)
    return SqlTable(
        asking=asking,
        engine=engine.name,
        copies=int(copies["first"].sum()),
        counts={"rows_read": rows, "rows_rejected": aside_rows, **merged},
        set_aside=with_stay(asking, set_aside),
        first=with_stay(asking, taken(alike, np.flatnonzero(copies["first"]))),
        last=with_stay(asking, taken(alike, np.flatnonzero(copies["last"]))),
        twins={
            "duplicate_groups": int((sizes > 1).sum()),
            "duplicate_pairs": int((sizes * (sizes - 1) // 2).sum()),
            "duplicates_differ_in": {column or "(nothing)": count for column, count in differ.items()},
        },
        group=group,
        alike=with_stay(asking, alike),
        labels=labels,
        nobody=nobody,
        one=joined_patients(engine.name, alike, group),
        private=texts[True],
        public=texts[False],
        sha256=_fingerprint(asking, distinct, plain, rows),
        rejected=rules,
        warnings=warnings,
        kinds=kinds,
    )


def _described(engine: Engine, dataset: Dataset) -> tuple[Dataset, dict[str, Kind]]:
    for key, why in (
        ("joins", "join the tables in a query"),
        ("drop", "leave the rows out in a query"),
        ("first_by", "keep the first rows in a query"),
    ):
        if getattr(dataset, key):
            raise EngineRefused.key(engine.name, key, why)
    dataset = name_columns(dataset, engine.schema.names)
    described = {role: column.sources for role, column in dataset.present().items()}
    check_columns(engine.location, engine.schema.names, dataset, described)
    return take_kinds(dataset, partial(_seen, engine))


def _seen(engine: Engine, name: str) -> Seen:
    cell = engine.cells[name].expression
    counted = engine.ask(f"SELECT {cell} AS cell, COUNT(*) AS n FROM {engine.base} GROUP BY {cell}")
    distinct, n = counted.column("cell").combine_chunks(), counted.column("n")
    rows, missing = (int(pc.sum(count).as_py() or 0) for count in (n, n.filter(distinct.is_null())))
    return distinct, rows - missing, rows


def _labels(
    dataset: Dataset, distinct: Mapping[str, Distinct], set_aside: Typed
) -> tuple[dict[str, dict[str, str]], dict[str, int]]:
    """Give all spellings of a public category the one that most rows use, and count those given up."""
    labels: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for role, one in distinct.items():
        column = dataset.columns[role]
        if column.private or not is_words(one):
            continue
        tally: Counter[str] = Counter()
        for text, count in zip(one.typed.dictionary_decode().to_pylist(), one.count.tolist(), strict=True):
            if text is not None:
                tally[text] += count
        tally.subtract(text for text in set_aside[role].dictionary_decode().to_pylist() if text is not None)
        written = list(tally)
        code, names = spelt(
            written, np.array([*tally.values()], dtype=np.int64), column.spelling, order=order_of(column)
        )
        labels[role] = {text: names[place] for text, place in zip(written, code, strict=True) if place >= 0}
        counts[f"spellings_merged.{role}"] = len(labels[role]) - len(names)
    return labels, counts


def _fingerprint(asking: Asking, distinct: Mapping[str, Distinct], plain: Sequence[str], rows: int) -> str:
    """Return the SHA-256 of what is counted and summed of each column."""
    digest = hashlib.sha256(str(rows).encode())
    for role in asking.dataset.present():
        if role in plain:
            expression = asking.number(role) or asking.expression(role)
            counted = asking.engine.ask(
                f"SELECT COUNT({expression}) AS n, COUNT(DISTINCT {expression}) AS d FROM {asking.engine.base}"
            ).to_pylist()
            digest.update(f"{role} {counted} {asking.ends(expression).to_pylist()}".encode())
        else:
            counts = pd.Series(distinct[role].count).groupby(distinct[role].same).sum()
            digest.update(f"{role} {sorted(counts.tolist())}".encode())
            texts = sorted(str(text) for text in distinct[role].typed.unique().to_pylist())
            digest.update("\x1f".join(texts).encode())
    return digest.hexdigest()
