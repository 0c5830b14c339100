"""Which rows of a table that stays where it lies are copies of one another but for one column?"""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.app.errors import EngineRefused
from hi_ml.data.clean import folded
from hi_ml.data.digests import content_digests
from hi_ml.data.duplicates import by_chance, near_duplicates
from hi_ml.data.read import comparable_roles
from hi_ml.data.sources.pieces import NO_ROWS, Piece
from hi_ml.data.sql.asking import LARGEST, PATIENT, Asking, Distinct, Typed, copy_codes, taken
from hi_ml.data.validate import quarantine

_SIGNIFICANT = 6  # digits in which two copies of a number agree, as `hi_ml.data.clean.cell_codes` takes them
_TINY = 1e-300
_MOST_CASES = 100  # cells of a column that are written otherwise than their copies
_AT_ONCE = 8  # keys: more take more memory than an engine may have
_MOST_ACCIDENTS = 10_000  # rows that are fetched in vain


def alike_rows(
    asking: Asking, distinct: Mapping[str, Distinct], rows: int
) -> tuple[Typed, NDArray[np.int64], dict[str, int]]:
    """Fetch the rows that are equal in all columns but at most one, in the order of what they hold, and group them."""
    dataset = asking.dataset

    def counts(role: str) -> bool:
        return role in distinct and len(np.unique(distinct[role].same)) == rows

    roles = comparable_roles(dataset, list(dataset.present()), counts)
    canonical = {role: _canonical(asking, role, distinct.get(role)) for role in roles}
    agree = {role: _agreement(asking, canonical[role], distinct.get(role), rows) for role in roles}
    skipped = by_chance(agree, rows)
    keys = [role for role in ("", *roles) if role not in skipped]
    told = {role: expression for role, expression in canonical.items() if expression}
    shares = [agree[role] for role in told]
    by_accident = rows**2 / 2 * float(np.prod(shares)) / min(shares, default=1.0)  # pairs, at the most
    if keys and by_accident > max(_MOST_ACCIDENTS, rows / 10):
        untold = next(role for role in roles if role not in told)
        raise EngineRefused.key(asking.engine.name, f"columns.{untold}", "its cells are written in too many ways")
    table = _fetched(asking, told, keys)
    typed, result = quarantine(Piece(table, np.arange(1, len(table) + 1), NO_ROWS), dataset)
    typed = {role: values.filter(pa.array(result.good)) for role, values in typed.items()}
    typed = taken(typed, np.argsort(content_digests(typed), kind="stable"))
    twins = near_duplicates({role: copy_codes(dataset, role, typed[role]) for role in roles}, skipped)
    several = np.bincount(twins.group, minlength=1)[twins.group] > 1
    return taken(typed, np.flatnonzero(several)), pd.factorize(twins.group[several])[0], twins.differ


def _fetched(asking: Asking, told: Mapping[str, str], keys: Sequence[str]) -> pa.Table:
    """Fetch the rows of all keys, some keys at a time; a row that comes for two is the same, and so are its equals."""
    tables = [asking.fetch(list(asking.dataset.present()), where="1 = 0").table]
    seen = np.array([], dtype=np.uint64)
    for some in (keys[begin : begin + _AT_ONCE] for begin in range(0, len(keys), _AT_ONCE)):
        table = _fetch_alike(asking, told, some)
        content = np.asarray(pd.util.hash_pandas_object(table.to_pandas(), index=False), dtype=np.uint64)
        tables.append(table.filter(pa.array(~np.isin(content, seen))))
        seen = np.union1d(seen, content)
    return pa.concat_tables(tables, promote_options="permissive")


def _fetch_alike(asking: Asking, told: Mapping[str, str], keys: Sequence[str]) -> pa.Table:
    """Fetch the rows that another row equals in all columns, or in all but one of those that are named.

    Parameters
    ----------
    told : mapping of str to str
        By role, an expression that is equal for equal cells.
    """
    words, base = asking.engine.words, asking.engine.base
    places = {role: place for place, role in enumerate(told)}
    digests = ", ".join(f"{words.digest.format(told[role], place)} AS h{place}" for role, place in places.items())
    total = reduce(words.both.format, (f"h{place}" for place in places.values()))
    left = dict.fromkeys(total if key not in places else words.both.format(total, f"h{places[key]}") for key in keys)
    listed = ", ".join(f"{key} AS k{place}" for place, key in enumerate(left))
    columns = {words.quoted(name): cell for name, cell in asking.columns(list(asking.dataset.present())).items()}
    cells = ", ".join(f"{cell} AS {name}" for name, cell in columns.items())
    names = ", ".join(columns)
    twice = " OR ".join(
        f"r.k{place} IN (SELECT k{place} FROM d GROUP BY k{place} HAVING COUNT(*) > 1)" for place in range(len(left))
    )
    return asking.engine.ask(
        f"WITH d AS {words.kept}(SELECT {listed} FROM (SELECT {digests} FROM {base}) AS h) "
        f"SELECT {names} FROM (SELECT {names}, {listed} FROM (SELECT {cells}, {digests} FROM {base}) AS h) AS r "
        f"WHERE {twice}"
    )


def _canonical(asking: Asking, role: str, one: Distinct | None) -> str:
    """Return an expression that is equal for cells that copies may have, perhaps for others; empty where none is."""
    words, number = asking.engine.words, asking.number(role)
    if one is not None and asking.dataset.columns[role].kind == "number" and words.parsed:
        number = words.parsed.format(asking.expression(role))
    if number:
        scale = f"power(10, {_SIGNIFICANT - 1} - floor(log10(greatest(abs({number}), {_TINY!r}))))"
        rounded = words.whole.format(f"{number} * {scale}")
        return f"CASE WHEN {number} BETWEEN {-LARGEST!r} AND {LARGEST!r} THEN {rounded} / {scale} END"
    if one is None:
        return asking.expression(role)
    cells = [asking.engine.cells[name].expression for name in asking.dataset.columns[role].sources]
    lower = [f"LOWER(TRIM(CAST({cell} AS {words.text_type})))" for cell in cells]
    if len(lower) > 1:
        return reduce(words.both.format, (words.digest.format(part, -place) for place, part in enumerate(lower)))
    frame = pd.DataFrame({"same": one.same, "lower": one.lower.to_pylist()})
    usual = frame.groupby("same")["lower"].transform("first").where(frame["same"] >= 0)
    other = usual.isna() & frame["lower"].notna() | usual.notna() & (usual != frame["lower"])
    if other.sum() > _MOST_CASES:
        return ""
    cases = "".join(
        f" WHEN {words.among(lower[0], [cell])} THEN {'NULL' if pd.isna(name) else words.text(name)}"
        for cell, name in dict(zip(frame["lower"][other], usual[other], strict=True)).items()
    )
    return f"CASE{cases} ELSE {lower[0]} END" if cases else lower[0]


def _agreement(asking: Asking, canonical: str, one: Distinct | None, rows: int) -> float:
    """Return the share of the pairs of rows that agree in a column."""
    if one is not None:
        return float(np.sum((np.bincount(one.same + 1, weights=one.count) / rows) ** 2))
    counted = f"SELECT COUNT(*) AS c FROM {asking.engine.base} GROUP BY {canonical}"
    double = asking.engine.words.double
    table = asking.engine.ask(f"SELECT SUM(CAST(c AS {double}) * c) AS s FROM ({counted}) AS g")
    return float(table.column("s")[0].as_py()) / rows**2


def joined_patients(name: str, alike: Typed, group: NDArray[np.int64]) -> dict[str, str]:
    """Say which numbers of patients are another's, since a near-duplicate has that."""
    one: dict[str, str] = {}
    if PATIENT not in alike:
        return one

    def root(number: str) -> str:
        while number in one:
            number = one[number]
        return number

    numbers = folded(alike[PATIENT]).to_pandas().astype(object).groupby(group).unique()
    for several in numbers[numbers.map(len) > 1]:
        if pd.isna(several).any():
            raise EngineRefused.patients(name, "of two copies of one row one has none")
        first, *others = dict.fromkeys(map(root, several))
        one |= dict.fromkeys(others, first)
    return {number: root(number) for number in one}
