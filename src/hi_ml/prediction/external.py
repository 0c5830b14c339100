"""Has another table what a frozen model needs, in the same units, and what does the model say of it?"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from hi_ml.app.errors import NotValidatable
from hi_ml.data.read import Admissions
from hi_ml.evaluation.transport import AtHome, rows_digest
from hi_ml.modeling.features import holders
from hi_ml.modeling.problem import available
from hi_ml.modeling.scores.score import Predictions
from hi_ml.modeling.targets import target_of
from hi_ml.modeling.tasks import MOMENTS, Task
from hi_ml.prediction import drift
from hi_ml.prediction.load import LoadedModel
from hi_ml.scorer.serving import Scorer, key
from hi_ml.statistics.bootstrap import weighted_quantile
from hi_ml.statistics.disclosure import withheld
from hi_ml.statistics.groups import Units

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
HOME = "home.json"
"""Of what a model reached on its own test part, in the folder of a scorer."""
POOLED = "(levels of few)"
_FEW_HAVE = "Left out: the rows of labels that fewer than {} patients here have."
_TIMES = 3.0  # by which medians differ at most that are in one unit
_BATCH = 80_000  # rows that are scored at once


@dataclass(frozen=True)
class Elsewhere:
    """A frozen model's predictions of another table, beside the truth."""

    predictions: Predictions
    covered: Floats | None  # whether the truth is inside, shape (n,); None where the model makes no intervals
    size: Floats | None  # of the interval, or number of labels
    drift: dict[str, dict[str, Any]]  # see `hi_ml.prediction.drift.compare`; empty where the model has no profile
    crosswalk: pd.DataFrame  # ``column, level, level_of_model, n``; one of few patients is pooled
    unseen: dict[str, float]  # by column, the share of its known cells that hold a level unknown to the model
    notes: tuple[str, ...]  # what to know of it


def load_home(model: LoadedModel) -> AtHome:
    """Read what a model reached on its own test part.

    Raises
    ------
    NotValidatable
        If an older version made it, which kept nothing of that.
    """
    path = Path(model.folder, HOME)
    try:
        return AtHome.read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise NotValidatable.no_home(model.uri) from error


def predict_elsewhere(
    model: LoadedModel, home: AtHome, admissions: Admissions, *, factors: Mapping[str, float], seed: int, smallest: int
) -> Elsewhere:
    """Let a frozen model predict all admissions of another table whose target is known.

    Parameters
    ----------
    factors : mapping of str to float
        By role, what a number here is multiplied by to be in the model's unit; 1 says that it is, however far the
        medians lie apart.
    seed : int
        Of the bootstrap.
    smallest : int
        Patients, of whom a level is told.

    Raises
    ------
    NotValidatable, NotTrainable
        If the table lacks a column, or has it later, in another unit or kind, or counts a stay otherwise, or its
        target has labels that the model does not know.
    """
    scorer, task = model.scorer, home.task
    needed = [str(spec["role"]) for spec in scorer.mapping["columns"]]
    _check(scorer, admissions, needed, task)
    chosen = admissions.by_content
    chosen = chosen[admissions.table[task.target].notna().to_numpy()[chosen]]
    if not len(chosen):
        raise NotValidatable.no_outcome(admissions.dataset.name, task.target)
    table = admissions.table.take(chosen).reset_index(drop=True)
    table = table.assign(**{role: table[role] * factor for role, factor in factors.items() if role in table})
    profile = drift.load(model.folder)
    target = _numbered(home, table, admissions, admissions.group[chosen], smallest)
    told = ~np.isnan(target)
    chosen, table, target = chosen[told], table[told].reset_index(drop=True), target[told]
    _check_units(profile, home, table, target, factors)
    group, twin = admissions.group[chosen], admissions.twins.group[chosen]
    answers, counts = _score(scorer, table, needed, profile)
    predicted = _values(scorer, answers)
    if (topped := admissions.topped.get(task.target)) is not None and not home.labels:
        predicted = np.where(topped[chosen], np.minimum(predicted, target), predicted)
    covered, size = _reach(scorer, answers, target)
    categories = {spec["role"]: spec for spec in scorer.mapping["columns"] if "levels" in spec}
    known = {role: table[role].notna().to_numpy() for role in categories}
    rows = {role: _crosswalk(spec, table[role], group, smallest) for role, spec in categories.items()}
    unseen = {role: _unseen(one, int(known[role].sum())) for role, one in rows.items()}
    walk = [one.assign(column=role)[["column", "level", "level_of_model", "n"]] for role, one in rows.items()]
    empty = pd.DataFrame(columns=["column", "level", "level_of_model", "n"])
    return Elsewhere(
        predictions=Predictions(task, target, predicted, Units.of(twin, group), seed),
        covered=covered,
        size=size,
        drift=drift.compare(profile, counts) if profile else {},
        crosswalk=pd.concat(walk, ignore_index=True) if walk else empty,
        unseen=unseen,
        notes=(
            *([] if told.all() else [_FEW_HAVE.format(smallest)]),
            *_notes(scorer, home, admissions.content[chosen], profile),
        ),
    )


def _check(scorer: Scorer, admissions: Admissions, needed: list[str], task: Task) -> None:
    """Refuse a table that cannot be asked what the model was asked."""
    table, dataset, columns = admissions.table, admissions.dataset, available(admissions)
    if lacking := [role for role in (*needed, task.target) if role not in table]:
        raise NotValidatable.lacks(dataset.name, lacking, list(map(str, table)))
    late = {role: str(columns[role].known or "after") for role in needed}
    late = {role: known for role, known in late.items() if MOMENTS.index(known) > MOMENTS.index(task.horizon)}
    if late:
        raise NotValidatable.late(dataset.name, late, task.horizon)
    for spec in scorer.mapping["columns"]:
        here = _kind(table[spec["role"]])
        there = "number" if spec["kind"] == "stay" else spec["kind"]
        if here != there:
            raise NotValidatable.kind(dataset.name, spec["role"], here, there)
    convention = scorer.mapping.get("stay", dataset.stay)
    if "length_of_stay" in (*needed, task.target) and convention != dataset.stay:
        raise NotValidatable.stay(dataset.name, dataset.stay, convention)


def _kind(values: pd.Series) -> str:
    if pd.api.types.is_datetime64_any_dtype(values):
        return "date"
    return "number" if pd.api.types.is_numeric_dtype(values) else "category"


def _numbered(home: AtHome, table: pd.DataFrame, admissions: Admissions, group: Rows, smallest: int) -> Floats:
    """Amounts, or class numbers in the order of the model's labels; NaN at labels that few patients here have."""
    task = home.task
    target, labels = target_of(task, table[task.target], admissions.dataset.columns.get(task.target))
    if not home.labels:
        return np.asarray(target)
    enough = holders(target, group, count=len(labels)) >= smallest  # the scores would tell of the others
    enough |= enough.sum() < 2  # noqa: PLR2004 -- two stay: that their events are too few is a verdict
    places = {key(label, "case"): number for number, label in enumerate(home.labels)}
    common = [label for label, told in zip(labels, enough, strict=True) if told]
    if strange := [label for label in common if key(label, "case") not in places]:
        raise NotValidatable.labels(admissions.dataset.name, task.target, strange, home.labels)
    places_here = np.array([places.get(key(label, "case"), -1) for label in labels], dtype=float)
    return np.asarray(np.where(enough, places_here, np.nan)[target.astype(int)])


def _check_units(
    profile: Mapping[str, Any] | None, home: AtHome, table: pd.DataFrame, target: Floats, factors: Mapping[str, float]
) -> None:
    """Refuse numbers whose median is another by so much that the unit must be another one."""
    pairs = {} if home.labels else {home.task.target: (home.median, float(np.median(target)))}
    for column in profile["columns"] if profile else ():
        if column["kind"] in ("number", "stay") and len(column["edges"]):
            pairs[column["role"]] = (_median(column), float(table[column["role"]].median()))
    for role, (there, here) in pairs.items():
        ratio = here / there if there and there > 0 and here > 0 else 1.0
        if role not in factors and not 1 / _TIMES <= ratio <= _TIMES:
            raise NotValidatable.unit(role, here, there or 0.0)


def _median(column: Mapping[str, Any]) -> float:
    """The median of the training rows, to a twentieth of them: the upper end of the cell in which it lies."""
    counts, edges = np.array(column["counts"][1:-1], dtype=float), np.array(column["edges"], dtype=float)
    ends = np.append(edges, edges[-1])
    return float(weighted_quantile(ends, counts[None], 0.5)[0])


def _score(
    scorer: Scorer, table: pd.DataFrame, needed: list[str], profile: Mapping[str, Any] | None
) -> tuple[pa.Table, dict[str, NDArray[np.int64]]]:
    answers: list[pa.Table] = []
    counts: dict[str, NDArray[np.int64]] = {}
    for start in range(0, len(table), _BATCH):
        rows = table.iloc[start : start + _BATCH]
        numbers = scorer.numbers({role: pa.Array.from_pandas(rows[role]) for role in needed})
        answers.append(scorer.answer(scorer.encode(numbers), numbers))
        for role, more in (drift.count_rows(profile, numbers) if profile else {}).items():
            counts[role] = counts.get(role, 0) + more
    return pa.concat_tables(answers), counts


def _values(scorer: Scorer, answers: pa.Table) -> Floats:
    """Amounts, shape (n,), or probabilities of the labels, shape (n, n_labels)."""
    if scorer.mapping["kind"] == "regression":
        return np.asarray(answers["prediction"].to_numpy(), dtype=float)
    return np.column_stack([answers[f"p_{label}"].to_numpy() for label in scorer.mapping["labels"]])


def _reach(scorer: Scorer, answers: pa.Table, target: Floats) -> tuple[Floats | None, Floats | None]:
    """Whether intervals, or sets of labels, hold the truth, and how large they are."""
    if "low" in answers.column_names:
        low, high = (answers[name].to_numpy() for name in ("low", "high"))
        return ((low <= target) & (target <= high)).astype(float), high - low
    if "prediction_set" not in answers.column_names:
        return None, None
    sets = answers["prediction_set"].combine_chunks().dictionary_encode()
    held = [next(csv.reader([text], delimiter="|")) for text in sets.dictionary.to_pylist()]
    inside = np.array([[label in one for label in scorer.mapping["labels"]] for one in held])
    code = sets.indices.to_numpy()
    return inside[code, target.astype(int)].astype(float), inside.sum(axis=1)[code].astype(float)


def _crosswalk(spec: Mapping[str, Any], values: pd.Series, group: NDArray[np.int64], smallest: int) -> pd.DataFrame:
    """Pair the levels here with the model's, those of few patients pooled: ``level, level_of_model, n``."""
    theirs = {key(level, spec["spelling"]): level for level in spec["levels"] if level is not None}
    rows = pd.DataFrame({"level": values.astype(object), "group": group}).dropna(subset="level")
    table = rows.groupby("level", as_index=False).agg(patients=("group", "nunique"), n=("group", "size"))
    table["level_of_model"] = [theirs.get(key(str(level), spec["spelling"])) for level in table["level"]]
    matched = table["level_of_model"].notna()
    few = withheld(table["patients"].to_numpy(np.int64), smallest, matched.to_numpy(np.int64))
    table.loc[few, "level"] = POOLED
    table.loc[few & matched, "level_of_model"] = POOLED
    names = ["level", "level_of_model"]
    lines = table.groupby(names, dropna=False)["n"].sum().sort_values(ascending=False, kind="stable")
    return lines.reset_index()


def _unseen(walk: pd.DataFrame, known: int) -> float:
    return float(walk.loc[walk["level_of_model"].isna(), "n"].sum() / known) if known else 0.0


def _notes(
    scorer: Scorer, home: AtHome, content: NDArray[np.uint64], profile: Mapping[str, Any] | None
) -> Iterator[str]:
    if rows_digest(content) == home.rows_sha256:
        yield "These are the rows that the model was trained and tested on: they say nothing of another place."
    if "stay" not in scorer.mapping:
        yield "The model does not say how it counts a stay; that the conventions agree was not checked."
    if profile is None:
        yield "The model has no profile of its training rows; units and shifts of columns were not checked."
