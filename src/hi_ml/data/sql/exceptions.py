"""Which rows of a table that stays where it lies are no admissions: those that break a rule, and of whom they are?"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hi_ml.app.errors import PrivateValueFound
from hi_ml.data.clean import cell_codes, folded
from hi_ml.data.duplicates import impersonal, most_of_one
from hi_ml.data.privacy import likely_names, own_names, words_of_names
from hi_ml.data.sql.asking import ADMITTED, DISCHARGED, PATIENT, Asking, Distinct, Typed, equal, is_words, limits
from hi_ml.data.validate import PRIVATE, check_share, quarantine
from hi_ml.scorer.serving import convert, row_faults

_FEWEST_TELLING = 5  # columns, as in `hi_ml.scorer.serving.row_faults`
log = logging.getLogger("hi_ml")


def conditions_of(asking: Asking, distinct: Mapping[str, Distinct]) -> tuple[list[str], bool]:
    """Say which rows may break a rule, and more; and whether the engine may count the days of stays."""
    dataset, words = asking.dataset, asking.engine.words
    conditions: list[str] = []
    sound = True
    for role in dataset.present():
        if role in distinct:
            conditions += equal(asking, distinct[role].raw.filter(pa.array(distinct[role].broken)), role)
            continue
        number = asking.number(role)
        expression = number or asking.expression(role)
        if not convert(asking.ends(expression), dataset.spec(role))[1]:
            continue
        if number:
            low, high = limits(dataset, role)
            conditions.append(f"NOT ({number} BETWEEN {words.text(low)} AND {words.text(high)})")
        else:
            sound = False
            cells = asking.fetch([role], grouped=True).table.column(0).combine_chunks()
            broken = np.any(list(convert(cells, dataset.spec(role))[1].values()), axis=0)
            days = cells.filter(pa.array(broken)).cast(pa.string()).to_pylist()
            conditions.append(words.among(f"CAST({expression} AS {words.text_type})", days))
    conditions += _strange_stays(asking)
    telling = [role for role, column in dataset.present().items() if column.kind in ("category", "date", "identifier")]
    if len(telling) >= _FEWEST_TELLING:
        known = " + ".join(f"CASE WHEN {_known(asking, role, distinct)} THEN 1 ELSE 0 END" for role in telling)
        conditions.append(f"{known} <= 1")
    both = {ADMITTED, DISCHARGED} <= set(dataset.present())
    return conditions, sound and both and all(map(asking.is_day, (ADMITTED, DISCHARGED)))


def _known(asking: Asking, role: str, distinct: Mapping[str, Distinct]) -> str:
    expression, words = asking.expression(role), asking.engine.words
    if role not in distinct:
        return f"{expression} IS NOT NULL"
    if len(asking.dataset.columns[role].sources) > 1:
        return "1 = 0"  # perhaps
    nothing = distinct[role].raw.column(0).filter(distinct[role].typed.is_null()).drop_null().unique().to_pylist()
    inside = f"{expression} IS NOT NULL"
    return f"{inside} AND NOT ({words.among(expression, nothing)})" if nothing else inside


def _strange_stays(asking: Asking) -> Iterator[str]:
    """Say which pairs of dates are no stay."""
    dataset, words = asking.dataset, asking.engine.words
    if not dataset.span():
        return
    pair = [asking.expression(role) for role in (ADMITTED, DISCHARGED)]
    if all(map(asking.is_day, (ADMITTED, DISCHARGED))):
        span = dataset.span()[0]
        low, high = (span["low"] or 0.0) - 1, span["high"] or 1_000.0
        yield f"{pair[1]} < {pair[0]} OR {asking.days} < {words.text(low)} OR {asking.days} > {words.text(high)}"
        return
    raw = asking.fetch([ADMITTED, DISCHARGED], grouped=True)
    typed = asking.typed(raw, [ADMITTED, DISCHARGED])
    faults = row_faults(typed, list(dataset.span()))
    texts = [raw.table.column(place).cast(pa.string()).to_pylist() for place in (0, 1)]
    for place in np.flatnonzero(np.any([np.zeros(len(raw.row), dtype=bool), *(mask for _, _, mask in faults)], axis=0)):
        yield " AND ".join(
            words.among(f"CAST({expression} AS {words.text_type})", [cells[place]])
            for expression, cells in zip(pair, texts, strict=True)
        )


def rows_set_aside(
    asking: Asking, conditions: Sequence[str], rows: int, keep_rejected: Callable[[pd.DataFrame], Path]
) -> tuple[Typed, pd.DataFrame, int]:
    """Fetch the rows that may break a rule, and return those that do, how often each rule is broken, and how many."""
    dataset = asking.dataset
    where = " OR ".join(f"({condition})" for condition in conditions) or "1 = 0"
    raw = asking.fetch(list(dataset.present()), where=where)
    typed, result = quarantine(raw, dataset)
    typed = {role: values.filter(pa.array(~result.good)) for role, values in typed.items()}
    rules = result.cells.groupby(["column", "rule"], as_index=False).size().rename(columns={"size": "rows"})
    if not result.rows:
        return typed, rules, 0
    hidden = replace(
        result, cells=result.cells.assign(value=PRIVATE)
    )  # which of all rows may be named is not known here
    check_share(dataset, rows, hidden, keep_rejected(rules))
    for rule in rules.itertuples():
        log.warning("set aside: %s rows whose %s breaks the rule %s", f"{rule.rows:,}", rule.column or "row", rule.rule)
    return typed, rules, result.rows


def refuse_own_names_of(asking: Asking, distinct: Mapping[str, Distinct]) -> None:
    """Let no public text hold a private value of its own row."""
    columns, words = asking.dataset.columns, asking.engine.words
    texts = [role for role, one in distinct.items() if is_words(one)]
    for role in (role for role in texts if not columns[role].private and not columns[role].organisations):
        sizes = _rows_of(distinct[role])
        for own in (own for own in texts if columns[own].private):
            likely = likely_names(words_of_names(distinct[own].typed.dictionary_decode()), list(sizes))
            if len(columns[own].sources) > 1 or not likely.any():
                continue
            raw = distinct[own].raw.column(0).filter(pa.array(likely)).to_pylist()
            rows = asking.fetch([own, role], where=words.among(asking.expression(own), raw))
            typed = asking.typed(rows, [own, role])
            names = words_of_names(typed[own].dictionary)
            if (faults := own_names(typed[role], typed[own], names, sizes)).any():
                source = str(columns[role].source)
                raise PrivateValueFound.in_rows(source, np.flatnonzero(faults).tolist(), numbered=False)


def _rows_of(one: Distinct) -> dict[str, int]:
    """Count the rows of each text of a column."""
    texts = [text or "" for text in one.typed.dictionary_decode().to_pylist()]
    sums = pd.Series(one.count).groupby(texts).sum()
    return dict(zip(map(str, sums.index), sums.tolist(), strict=True))


def nobodies(asking: Asking, distinct: Mapping[str, Distinct], rows: int) -> tuple[frozenset[str], tuple[str, ...]]:
    """Find the numbers of patients that stand for so many rows that they are nobody's."""
    if PATIENT not in distinct:
        return frozenset(), ()
    one = distinct[PATIENT]
    same = one.same
    counted = np.bincount(same[same >= 0], weights=one.count[same >= 0]) if (same >= 0).any() else np.array([])
    crowded = np.isin(same, np.flatnonzero(counted > most_of_one(rows)))
    if not crowded.any():
        return frozenset(), ()
    where = " OR ".join(f"({condition})" for condition in equal(asking, one.raw.filter(pa.array(crowded)), PATIENT))
    roles = [role for role in (PATIENT, "sex", "blood_type", ADMITTED, DISCHARGED) if role in asking.dataset.present()]
    typed = asking.typed(asking.fetch(roles, where=where), roles)
    codes = {role: cell_codes(values) for role, values in typed.items()}
    traits = {role: code for role, code in codes.items() if role in ("sex", "blood_type")}
    dates = [typed[role].to_numpy(zero_copy_only=False) for role in (ADMITTED, DISCHARGED) if role in typed]
    found = impersonal(codes[PATIENT], traits, (dates[0], dates[1]) if len(dates) == 2 else None)  # noqa: PLR2004 -- both
    names = folded(typed[PATIENT]).to_pandas().astype(object).to_numpy()
    warnings = (
        f"One value of patient_id stands for {n:,} of {rows:,} rows that are not one person's." for n in found.values()
    )
    return frozenset(names[np.isin(codes[PATIENT], list(found))]), tuple(warnings)
