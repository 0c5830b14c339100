"""What must be kept of the training rows, so that later rows can be compared with them?

Counts in cells, laid out as `hi_ml.statistics.drift.tally` does; those of new rows add up, chunk by chunk.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.modeling.features import holders
from hi_ml.scorer.serving import UNSEEN, Numbers
from hi_ml.statistics.drift import edges, tally

Column = Mapping[str, Any]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
FILE = "reference.json"
"""Of the profile, in the folder of a scorer."""


def profile(
    features: pd.DataFrame, columns: Iterable[Column], group: NDArray[np.int64], *, smallest: int = 1
) -> dict[str, Any]:
    """Describe the training rows by counts, ready for JSON.

    Parameters
    ----------
    features : DataFrame, shape (n_train, n_features)
        What `hi_ml.scorer.serving.features` makes of the training rows.
    columns : iterable of mapping
        Those of the model's mapping.
    group : array of int64, shape (n_train,)
        Near-duplicates and admissions of one patient, which tell little more than one row: counts are scaled down to
        the number of groups.
    smallest : int
        Groups that hold a level which the model knows; a cell of fewer is counted to the fullest one.

    Returns
    -------
    dict
        ``rows``, ``groups``, and ``columns``: a list of ``role, name, kind, edges, counts`` and, of categories,
        ``levels, spelling, pairs``. Below the cells of a category stand the rows whose level fewer than ``smallest``
        other groups hold, since so many rows will hold one that the model does not know: of a Poisson law, with the
        variance of their number and of two ``pairs`` more, the levels that two groups hold if one is enough.
    """
    groups = len(np.unique(group))
    described = [_describe(np.asarray(features[spec["role"]], dtype=float), spec, group, smallest) for spec in columns]
    for column in described:
        counts = np.rint(column["counts"] * (groups / len(group))).astype(int)
        column["counts"] = without_few(counts, smallest).tolist()
    return {"rows": len(group), "groups": groups, "columns": described}


def load(folder: Path) -> dict[str, Any] | None:
    """Read the profile from the folder of a scorer; None where the model was made without one."""
    path = folder / FILE
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def count_rows(profile: Mapping[str, Any], numbers: Mapping[str, Numbers]) -> dict[str, Counts]:
    """Count rows in the cells of the profile.

    Parameters
    ----------
    numbers : mapping
        By feature, as `hi_ml.scorer.serving.numbers` returns them; further features are ignored.

    Returns
    -------
    dict of str to array of int64, shape (n_cells + 2,)
        By role.
    """
    return {column["role"]: _count(*numbers[column["role"]], column) for column in profile["columns"]}


def without_few(counts: Counts, smallest: int) -> Counts:
    """Count what is in a cell of too few to the fullest one: sums stay, and tell nothing of what was small."""
    few, fullest = counts < smallest, counts.argmax()
    kept = np.where(few, 0, counts)
    kept[fullest] += counts.sum() - kept.sum()
    return kept


def missing_rate(counts: Counts) -> float:
    """Return the share of missing cells, 0 without rows."""
    return _share(counts[-1], counts.sum())


def unseen_rate(counts: Counts) -> float:
    """Return the share of the known cells that hold an unseen level; of a profile, the share to be expected."""
    return _share(counts[0], counts[:-1].sum())


def _count(values: Floats, row: NDArray[np.integer] | None, column: Column) -> Counts:
    rows = None if row is None else np.bincount(row, minlength=len(values))
    return tally(values, column["edges"], rows=rows, lowest=UNSEEN if column["kind"] == "category" else -np.inf)


def _describe(values: Floats, spec: Column, group: NDArray[np.int64], smallest: int) -> dict[str, Any]:
    present = values > UNSEEN if spec["kind"] == "category" else ~np.isnan(values)
    name = spec["role"] if "ranges" in spec else spec.get("source", spec["role"])
    column = {"role": spec["role"], "name": name, "kind": spec["kind"]}
    if spec["kind"] == "date":  # its day, weekday and month move on by nature
        return column | {"edges": [], "counts": tally(values, [])}
    cuts = edges(values[present], rounded=spec["kind"] != "category")
    column["edges"] = cuts.tolist()
    if spec["kind"] != "category":
        return column | {"counts": tally(values, cuts)}
    size = holders(values, group, count=len(spec["levels"]))
    alone = present & (np.append(size, 0)[np.where(present, values, -1).astype(int)] <= smallest)
    pairs = smallest * (smallest + 1) // 2 * int((size == smallest + 1).sum())
    column |= {"levels": spec["levels"], "spelling": spec["spelling"], "pairs": pairs}
    return column | {"counts": tally(np.where(alone, UNSEEN, values), cuts, lowest=UNSEEN)}


def _share(some: int, whole: int) -> float:
    return float(some / whole) if whole else 0.0
