"""Which rows cannot be believed, which cell of them breaks which rule, and may that cell be shown?"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import SourceUnreadable, TooManyRejected
from hi_ml.data.location import Database
from hi_ml.data.privacy import PrivateWords, is_unspaced, words_in
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.pieces import Piece
from hi_ml.scorer.serving import convert, key, row_faults

PRIVATE, ROW = "<private>", "<row>"
_OF_ROWS = {
    "fields": "with another number of fields than the header",
    "empty": "of which hardly more than numbers is known, as of a row of totals",
}
_LIKELIER = {  # than that most rows of a table are wrong
    "range": "most values lie outside of {key}.low and {key}.high: set these, if its unit is another",
    "order": "most discharges lie before their admissions: the names in dataset.columns.admitted_on.from and "
    "dataset.columns.discharged_on.from may have changed places",
    "stay_range": "most stays are longer than anybody's: check the dates, or set dataset.columns.length_of_stay.high",
    "fields": "most lines have another number of fields than the header: check dataset.separator, and the quotes",
}
_OF_THE_ROW = ("order", "stay_range", "empty")
_MEASURED = ("number", "date", "range", "order", "stay_range")  # the rules of numbers and dates
_NUMBER = re.compile(r"[+-]?[\d.,]+[eE][+-]?\d+")  # the only one with a letter
_DIGITS = re.compile(r"\d{4,}")  # of an id
_SHORTEST = 3  # letters or digits of a word that tells who someone is
JOINT = "\x1f"  # between the parts of a key of several columns
_EXAMPLE = 40  # characters of an unreadable value that an error shows
Fault = tuple[str, str, NDArray[np.bool_]]  # source column, rule, rows of shape (n,)


@dataclass(frozen=True)
class Quarantine:
    """The rows that were set aside."""

    good: NDArray[np.bool_]  # bool, shape (n,); the rows of the raw table that can be used
    cells: pd.DataFrame  # see `rejected_cells`
    rows: int  # how many rows are set aside, those with a wrong number of fields included
    topped: dict[str, NDArray[np.bool_]]  # bool, shape (n,), by role of a column with top codes: which cells are one


def quarantine(raw: Piece, dataset: Dataset) -> tuple[dict[str, pa.Array], Quarantine]:
    """Type every column and set aside the rows with a cell that breaks a rule.

    Rules: ``fields`` (a wrong number of them), ``number``, ``date``, ``text``, ``range``, and those of
    `hi_ml.scorer.serving.row_faults`: ``order``, ``stay_range``, ``empty``.

    Returns
    -------
    typed : dict of str to pyarrow.Array, shape (n,)
        By role, all rows of the raw table.
    Quarantine

    Raises
    ------
    SourceUnreadable
        If a column is of a type that nothing can be made of.
    """
    typed: dict[str, pa.Array] = {}
    faults: list[Fault] = []
    for role, column in dataset.present().items():
        typed[role], broken = typed_column(raw, dataset, role)
        if not column.part:  # else the whole cell is judged under another role
            faults += [(column.sources[0], rule, mask) for rule, mask in broken.items()]
    public = [dataset.spec(role) for role in dataset.present() if dataset.columns[role].kind != "text"]
    faults += row_faults(typed, [*public, *dataset.span()])
    good = ~np.any([np.zeros(len(raw.row), dtype=bool), *(mask for _, _, mask in faults)], axis=0)
    cells = rejected_cells(raw, faults, dataset.private_sources(), missing=dataset.missing)
    return typed, Quarantine(good, cells, int((~good).sum()) + len(raw.ragged), _topped(raw, dataset))


def check_share(dataset: Dataset, rows: int, result: Quarantine, listed: Path, causes: Sequence[str] = ()) -> None:
    """Stop where more of the rows are set aside than the dataset allows, or all; ``causes`` say why, and what to do.

    Raises
    ------
    TooManyRejected
        With the file that lists the cells.
    """
    if result.rows > dataset.max_rejected * rows or result.rows == rows:
        faults = [_in_words(cells) for _, cells in result.cells.groupby(["column", "rule"])]
        share = (result.rows, rows, dataset.max_rejected)
        place = dataset.source.shown if isinstance(dataset.source, Database) else dataset.origin
        source = place if dataset.source else f"dataset={dataset.name}"
        raise TooManyRejected.of(source, faults, share, listed, causes=[*causes, *_mostly(dataset, result, rows)])


def _mostly(dataset: Dataset, result: Quarantine, rows: int) -> Iterator[str]:
    """Say of a rule that most rows break what is likelier than that most rows are wrong."""
    roles: dict[Any, str] = {column.sources[0]: role for role, column in dataset.present().items()}
    for (column, rule), cells in result.cells.groupby(["column", "rule"]):
        if 2 * len(cells) > rows and rule in _LIKELIER:
            role = roles.get(column, "length_of_stay")
            yield f"{column}: {_LIKELIER[rule].format(key=f'dataset.columns.{role}')}".removeprefix(": ")


def set_aside(cells: pd.DataFrame) -> list[str]:
    """Say which rules of the row, that a cell alone does not break, took how many rows."""
    taken = cells[cells["rule"].isin(_OF_THE_ROW)]
    return [f"set aside: {_in_words(of_rule)}" for _, of_rule in taken.groupby(["column", "rule"])]


def rejected_cells(
    piece: Piece, faults: Sequence[Fault], private: Mapping[str, str] | None, *, missing: Sequence[str]
) -> pd.DataFrame:
    """List the cells that break a rule, and the rows with a wrong number of fields; no private value is among them.

    A value is hidden if its column is private, if it is or holds a private value of any row or a word of one of its
    own, or if a private text of its own row is missing, unreadable or without a letter: the fields of that row may be
    shifted, and a name stand anywhere. Of numbers and dates no letter is shown, only where some stood (``Aaaa 99``);
    control characters are shown as escapes.

    Parameters
    ----------
    private : mapping of str to str, or None
        The kinds of the private columns, by source name. None where nobody knows them: then any text may be private.
    missing : sequence of str
        Words that mean "no value".

    Returns
    -------
    DataFrame
        ``row`` (1 = first data row), ``column`` (source name), ``value`` (as text, or ``<private>``), ``rule``; one
        line a broken rule, by row, column and rule.
    """
    ragged = pd.DataFrame({"row": piece.ragged, "column": "", "value": ROW, "rule": "fields"})
    listed, secrets = [ragged], _Secrets.of(piece.table, private or ()) if faults else ()
    texts = [name for name, kind in (private or {}).items() if kind == "text" and faults]
    lettered = [name for name in texts if any(map(_has_letter, _as_text(piece.table.column(name))))]
    for column, rule, mask in faults:
        if not column:
            listed.append(pd.DataFrame({"row": piece.row[mask], "column": column, "value": ROW, "rule": rule}))
            continue
        rows = piece.table.filter(pa.array(mask))
        values = _as_text(rows.column(column))
        anyone = column in (private or ()) or (private is None and _holds_text(rows.column(column).type))
        hidden = _shifted(rows, lettered, missing) | _named(rows, private or (), values) | anyone
        values = [
            PRIVATE if hide or value in secrets else _legible(value, rule)
            for hide, value in zip(hidden, values, strict=True)
        ]
        listed.append(pd.DataFrame({"row": piece.row[mask], "column": column, "value": values, "rule": rule}))
    return pd.concat(listed).sort_values(["row", "column", "rule"], kind="stable", ignore_index=True)


def _shifted(rows: pa.Table, lettered: Iterable[str], missing: Sequence[str]) -> NDArray[np.bool_]:
    """Rows in which a private text, of a column of letters, is missing, unreadable or without a letter."""
    shifted = np.zeros(rows.num_rows, dtype=bool)
    for name in lettered:
        texts, _ = convert(pa.array(_as_text(rows.column(name)), pa.string()), {"kind": "text", "missing": missing})
        shifted |= [text is None or not _has_letter(text) for text in texts.to_pylist()]
    return shifted


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))


def _named(rows: pa.Table, private: Iterable[str], values: Sequence[str]) -> NDArray[np.bool_]:
    """Rows whose value holds a word of a private cell of their own: a surname alone, an id without its prefix."""
    named = np.zeros(rows.num_rows, dtype=bool)
    for name in private:
        for index, (text, value) in enumerate(zip(_as_text(rows.column(name)), values, strict=True)):
            words = {word for word in _parts(text) if len(word) >= _SHORTEST or is_unspaced(word)}
            shown = _parts(value)
            named[index] |= not words.isdisjoint(shown) or any(
                is_unspaced(word) and word in other for word in words for other in shown
            )
    return named


def _parts(text: str) -> list[str]:
    """The words of a text, and the numbers in them: an id goes by either."""
    words = words_in(text)
    return [*words, *(number.lstrip("0") for word in words for number in _DIGITS.findall(word))]


def _legible(value: str, rule: str) -> str:
    """What may be shown of a cell that is nobody's secret."""
    if rule in _MEASURED and _has_letter(value) and not _NUMBER.fullmatch(value.strip()):
        value = "".join(_shape(c) for c in unicodedata.normalize("NFC", value) if unicodedata.category(c)[0] != "M")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def _shape(character: str) -> str:
    if character.isalpha():
        return "A" if character.isupper() else "a"
    return "9" if character.isdigit() else character


@dataclass(frozen=True)
class _Secrets:
    """The private values of a table, to be found in others."""

    values: frozenset[str]  # case-folded
    words: PrivateWords

    @classmethod
    def of(cls, table: pa.Table, private: Iterable[str]) -> "_Secrets":
        texts = {text.strip() for name in private for text in _as_text(table.column(name))} - {""}
        return cls(frozenset(map(str.casefold, texts)), PrivateWords.of(texts, ()))

    def __contains__(self, value: str) -> bool:
        return value.casefold().strip() in self.values or self.words.count(value) > 0


def _in_words(cells: pd.DataFrame) -> str:
    """One rule of one column in words, with a value that broke it."""
    first = cells.iloc[0]
    if first["rule"] in _OF_ROWS:
        return f"{len(cells)} {_OF_ROWS[first['rule']]}"
    example = "" if first["value"] == PRIVATE else f" (such as {first['value'][:_EXAMPLE]!r})"
    return f"{first['column']} {first['rule']} {len(cells)}{example}"


def typed_column(raw: Piece, dataset: Dataset, role: str) -> tuple[pa.Array, dict[str, NDArray[np.bool_]]]:
    """Type the cells of a role, as `hi_ml.scorer.serving.convert` does, and tell which break a rule."""
    spec, sources = dataset.spec(role), dataset.columns[role].sources
    columns = [raw.table.column(name) for name in sources]
    try:
        parts = [convert(whole(column), spec) for column in columns]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        if "UTF8" in str(error):
            raise SourceUnreadable.not_text(dataset.origin, ", ".join(sources)) from error
        kinds = " and ".join(str(column.type) for column in columns)
        raise SourceUnreadable.column(dataset.origin, ", ".join(sources), kinds, spec["kind"]) from error
    if len(parts) == 1:
        return parts[0]
    texts = (pc.cast(typed, pa.string()) for typed, _ in parts)  # one that is missing leaves the key missing
    return pc.binary_join_element_wise(*texts, JOINT).dictionary_encode(), {}


def _topped(raw: Piece, dataset: Dataset) -> dict[str, NDArray[np.bool_]]:
    topped = {}
    for role, column in dataset.present().items():
        if column.top and not column.part:
            words = {key(word, "case") for word in column.top}
            topped[role] = np.array(
                [key(text, "case") in words for text in _as_text(raw.table.column(column.sources[0]))]
            )
    return topped


def _as_text(column: pa.ChunkedArray) -> list[str]:
    """Return cells as text; a missing one is empty."""
    try:
        texts = pc.cast(column, pa.string()).to_pylist()
    except pa.ArrowException:  # lists, structures, bytes
        texts = [cell if cell is None else str(cell) for cell in column.to_pylist()]
    return [text or "" for text in texts]


def whole(column: pa.ChunkedArray) -> pa.Array:
    """Return the cells of a column as one array."""
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _holds_text(kind: pa.DataType) -> bool:
    return not (pa.types.is_primitive(kind) or pa.types.is_decimal(kind))
