"""What of a run folder leaves this machine? Nothing that tells of one patient or of a few, unless rows are shared.

A file leaves if it can be shown to be harmless: a kind of file that this module does not know stays at home, as does a
table that numbers rows or counts fewer patients than the smallest cell, with the picture that draws it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.tracking.folder import REJECTED, RunFolder

SMALLEST_CELL = 5  # patients; where a run of old says nothing of it
_ROW = "row"  # the column that says which row of the source a line is about
_COUNTS = frozenset({"n", "rows", "patients", "admissions", "groups", "count"})  # columns and keys that count patients
_TEXT = frozenset({".yaml", ".txt", ".journal"})  # configuration, what was asked for, settings that were tried


def leaving(folder: RunFolder, *, share_rows: bool = False) -> list[Path]:
    """List the files of a run that may leave."""
    files = folder.files()
    if share_rows:
        return files
    config = folder.load("config")
    smallest = int(config.get("smallest_cell", SMALLEST_CELL)) if isinstance(config, dict) else SMALLEST_CELL
    return [path for path in files if _is_harmless(path, folder, smallest)]


def _is_harmless(path: Path, folder: RunFolder, smallest: int) -> bool:
    if path.is_relative_to(folder.model):
        return True
    if path.suffix == ".csv":
        return _is_aggregate(folder.content(path), smallest)
    if path.suffix == ".json":
        return not any(_tells(key, value, smallest) for key, value in _pairs(folder.content(path)))
    if path.suffix == ".png":
        table = path.with_suffix(".csv")
        return table.is_file() and _is_harmless(table, folder, smallest)
    if path.suffix == ".html":  # says what the tables and pictures of its run do
        others = [one for one in folder.files() if one.suffix in (".csv", ".png") and one.name != REJECTED]
        return all(_is_harmless(one, folder, smallest) for one in others)
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
