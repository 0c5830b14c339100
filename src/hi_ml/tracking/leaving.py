"""What of a run folder leaves this machine? Nothing that tells of one patient or of a few, unless rows are shared.

A file leaves if it can be shown to be harmless: a kind of file that this module does not know stays at home, as does a
table that numbers rows or counts fewer patients than the smallest cell, with the picture that draws it. What every run
must say of itself leaves with its small counts in words.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.statistics.disclosure import few_in_words
from hi_ml.tracking.folder import FILES, REJECTED, RunFolder

SMALLEST_CELL = 5  # patients; where a run of old says nothing of it
_ROW = "row"  # the column that says which row of the source a line is about
_COUNTS = frozenset({"n", "rows", "patients", "admissions", "groups", "count"})  # columns and keys that count patients
FLOWS = ("run", "data", "split", "validation")  # what counts rows on their way, and leaves as `told` has it
_NO_COUNTS = frozenset({"seed", "features", "explained_rows"})  # whole numbers in there that are of no rows
_IN_WORDS = frozenset({REJECTED, FILES["attrition"]})  # of which a page tells no cell, and few in words
_LOST = (
    "rows_rejected",
    "rows_left_out",
    "rows_without_target",
    "left_out",
    "left out",
)  # keys of rows lost, how they begin
_COUNTED = re.compile(r"(?<![\d.,])(\d[\d,]*) (?:of [\d,]+ )?(?:rows?|cells?|patients?|admissions?)\b")
_TEXT = frozenset({".yaml", ".txt", ".journal"})  # configuration, what was asked for, settings that were tried


def leaving(folder: RunFolder, *, share_rows: bool = False) -> list[Path]:
    """List the files of a run that may leave."""
    files = folder.files()
    if share_rows:
        return files
    smallest = smallest_cell(folder)

    @cache
    def harmless(path: Path) -> bool:  # each table is read once, whatever draws it or speaks of it
        return _is_harmless(path, folder, smallest, harmless)

    return [path for path in files if harmless(path)]


def smallest_cell(folder: RunFolder) -> int:
    """Of how many patients a run may speak."""
    config = folder.load("config")
    return int(config.get("smallest_cell", SMALLEST_CELL)) if isinstance(config, dict) else SMALLEST_CELL


def mask_few(content: Any, smallest: int) -> Any:
    """Say in words how many rows are few; and of all that were read, how many there are beside those.

    Examples
    --------
    >>> mask_few({"rows_read": 900, "rows_rejected": 3, "left_out": {"newborns": 40}}, 5)
    {'rows_read': '897 and a few more', 'rows_rejected': 'fewer than 5', 'left_out': {'newborns': 40}}
    """
    if isinstance(content, list):  # of sentences, those of few rows may name what stands there
        return [mask_few(one, smallest) for one in content if not (isinstance(one, str) and _is_of_few(one, smallest))]
    if not isinstance(content, dict):
        return content
    words = {
        key: few_in_words(n, smallest) if _is_count(key, n) else mask_few(n, smallest) for key, n in content.items()
    }
    lost = [n for key, node in content.items() if key.startswith(_LOST) for n in _leaves(node) if 0 < n < smallest]
    if lost and isinstance(read := content.get("rows_read"), int):
        words["rows_read"] = f"{read - sum(lost):,} and a few more"
    return words


def _is_of_few(sentence: str, smallest: int) -> bool:
    return any(0 < int(count.replace(",", "")) < smallest for count in _COUNTED.findall(sentence))


def _leaves(node: Any) -> list[int]:
    return [n for n in (node.values() if isinstance(node, dict) else [node]) if isinstance(n, int)]


def _is_count(key: str, value: Any) -> bool:
    return key not in _NO_COUNTS and isinstance(value, int) and not isinstance(value, bool)


def _is_harmless(path: Path, folder: RunFolder, smallest: int, harmless: Callable[[Path], bool]) -> bool:
    if path.is_relative_to(folder.model) or path in {folder.path / FILES[name] for name in FLOWS}:
        return True
    if path.suffix == ".csv":
        return _is_aggregate(folder.content(path), smallest)
    if path.suffix == ".json":
        return not any(_tells(key, value, smallest) for key, value in _pairs(folder.content(path)))
    if path.suffix == ".png":
        table = path.with_suffix(".csv")
        return table.is_file() and harmless(table)
    if path.suffix == ".html":  # says what the tables and pictures of its run do, and what is few in words
        others = [one for one in folder.files() if one.suffix in (".csv", ".png") and one.name not in _IN_WORDS]
        return all(map(harmless, others))
    return path.suffix in _TEXT


def _is_aggregate(table: pd.DataFrame, smallest: int) -> bool:
    return not any(_tells(str(name), value, smallest) for name in table for value in table[name].unique())


def _tells(name: str, value: Any, smallest: int) -> bool:
    """Whether a value under this name is of one row, or of fewer patients than may be told of."""
    counts = name in _COUNTS or name.startswith("n_")
    return name == _ROW or bool(counts and isinstance(value, int | float | np.integer) and 0 < value < smallest)


def _pairs(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of a document with its value, however deep it lies."""
    if isinstance(node, dict):
        yield from node.items()
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _pairs(inner)
