"""Raw admissions in, predictions out: all the code that a tracked model carries.

A model folder holds this file, a mapping (``mapping.json``: how raw columns become numbers) and a fitted scikit-learn
Pipeline (``pipeline.skops``). The module imports nothing of hi_ml, so that a machine without hi_ml can score; hi_ml
itself reads its tables through the same functions, so that training and serving cannot drift apart.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MAPPING, PIPELINE = "mapping.json", "pipeline.skops"

# What a pipeline file may hold besides the types that skops itself trusts. The list in a file is never consulted:
# MLflow would take it from the model, which is what an attacker writes (GHSA-w582-9x45-8mpx).
TRUSTED = [
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",  # its indices are not checked: only a file of the expected digest is opened
]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_LARGEST = 1e15  # of a number: a larger one is no measurement, and its powers overflow in single precision
_EXACT = 2.0**53  # up to which a whole number in floating point is exact
_ISO = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d.*)?$"
_OFFSET = r"(:\d{2}(\.\d+)?)\s*([Zz]|[+-]\d{2}:?(\d{2})?)$"  # from UTC, behind a time of day
# What a count of nanoseconds can reach, as libraries assume.
_FIRST_DAY, _LAST_DAY = datetime(1678, 1, 1), datetime(2261, 12, 31)  # noqa: DTZ001 -- local time, as in the table
_DAY = np.timedelta64(1, "D")
UNSEEN = -1  # the code of a category that the training rows did not hold

Spec = Mapping[str, Any]
Faults = dict[str, NDArray[np.bool_]]


def key(value: str, spelling: str) -> str:
    """Return what two spellings of one category have in common.

    Parameters
    ----------
    value : str
        A category as written.
    spelling : {"exact", "case", "words"}
        ``exact`` folds white space, ``case`` also upper and lower case, ``words`` also punctuation and word order.

    Examples
    --------
    >>> key("Sons and  Miller,", "words") == key("miller and Sons", "words")
    True
    """
    if spelling == "exact":
        return " ".join(value.split())
    if spelling == "case":
        return " ".join(value.casefold().split())
    return " ".join(sorted(re.sub(r"[^\w\s]", "", value.casefold()).split()))


def convert(values: pa.Array, spec: Spec) -> tuple[pa.Array, Faults]:
    """Read one raw column as the kind that its description says.

    Parameters
    ----------
    values : pyarrow.Array, shape (n,)
        Text, numbers, dates or a dictionary of them, as a file holds them.
    spec : mapping
        ``kind`` (number, category, date, identifier, text), ``missing`` (words), ``low``, ``high``, ``format``.

    Returns
    -------
    typed : pyarrow.Array, shape (n,)
        float64, timestamp[us] in local time or a dictionary of text; null where missing or unreadable.
    faults : dict of str to array of bool, shape (n,)
        Per broken rule (``number``, ``date``, ``range``, ``text``) the rows that break it.
    """
    if pa.types.is_dictionary(values.type) and spec["kind"] in ("number", "date"):
        values = values.dictionary_decode()
    values = _without_missing(values, spec["missing"])
    if spec["kind"] == "number":
        return _number(values, spec)
    if spec["kind"] == "date":
        return _date(values, spec.get("format"))
    return _text(values)


def codes(values: pa.Array, levels: Sequence[str | None], spelling: str) -> NDArray[np.float64]:
    """Number categories by their place in ``levels``: -1 where unseen, NaN where missing, shape (n,).

    A level that the training rows did not hold stands as None, so that the others keep their places.
    """
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    place = {key(level, spelling): float(i) for i, level in enumerate(levels) if level is not None}
    table = [place.get(key(level, spelling), UNSEEN) for level in values.dictionary.to_pylist()]
    indices = pc.fill_null(values.indices, len(table)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*table, np.nan])[indices])


def features(typed: Mapping[str, pa.Array], columns: Iterable[Spec]) -> pd.DataFrame:
    """Turn typed columns into the numbers that a pipeline takes.

    Parameters
    ----------
    typed : mapping of str to pyarrow.Array, shape (n,)
        Per role the typed column, as `convert` returns it.
    columns : iterable of mapping
        The columns of the mapping; a category has ``levels``, a date becomes day, weekday and month.

    Returns
    -------
    DataFrame of float64, shape (n, n_features)
    """
    made: dict[str, NDArray[np.float64]] = {}
    for spec in columns:
        role, values = spec["role"], typed[spec["role"]]
        if spec["kind"] == "date":
            made |= {f"{role}{part}": column for part, column in _date_parts(values).items()}
        elif spec["kind"] in ("number", "stay"):
            made[role] = values.to_numpy(zero_copy_only=False)
        else:
            made[role] = codes(values, spec["levels"], spec["spelling"])
    return pd.DataFrame(made)


def inputs(columns: Iterable[Spec]) -> list[Spec]:
    """List the raw columns that are needed to make the given ones: a stay needs two dates."""
    raw = [part for spec in columns for part in spec.get("between", [spec])]
    return list({spec["role"]: spec for spec in raw}.values())


def stays(typed: Mapping[str, pa.Array], columns: Iterable[Spec]) -> dict[str, pa.Array]:
    """Compute the lengths of stay among ``columns`` from their two dates, in days, by role."""
    made = {}
    for spec in columns:
        if spec["kind"] == "stay":
            start, end = (pc.floor_temporal(typed[date["role"]], unit="day") for date in spec["between"])
            nights = pc.cast(pc.days_between(start, end), pa.float64())
            made[spec["role"]] = pc.add(nights, 1.0) if spec["inclusive"] else nights
    return made


def disordered(start: pa.Array, end: pa.Array) -> NDArray[np.bool_]:
    """Tell the rows whose second date lies before the first, shape (n,)."""
    early: NDArray[np.bool_] = pc.fill_null(pc.less(end, start), fill_value=False).to_numpy(zero_copy_only=False)
    return early


@dataclass(frozen=True)
class Scorer:
    """A fitted pipeline with the mapping that feeds it."""

    mapping: dict[str, Any]
    pipeline: Any

    def typed(self, frame: pd.DataFrame) -> dict[str, pa.Array]:
        """Read the raw columns, or raise ValueError that names each missing column and unreadable cell."""
        needed = inputs(self.mapping["columns"])
        absent = [spec["source"] for spec in needed if spec["source"] not in frame.columns]
        if absent:
            raise ValueError(f"Expected the columns {absent}; found {list(frame.columns)}. Add or rename them.")
        typed, broken = {}, []
        for spec in needed:
            typed[spec["role"]], faults = convert(_arrow(frame[str(spec["source"])]), spec)
            broken += [(spec["source"], rule, mask) for rule, mask in faults.items()]
        for start, end in (spec["between"] for spec in self.mapping["columns"] if spec["kind"] == "stay"):
            broken.append((end["source"], "order", disordered(typed[start["role"]], typed[end["role"]])))
        said = [f"{source}: {rule} in rows {_first(mask)}" for source, rule, mask in broken if mask.any()]
        if said:
            raise ValueError(f"Cannot read {'; '.join(said)} (1 = first row). Mend or remove these rows.")
        return typed | stays(typed, self.mapping["columns"])

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score raw admissions.

        Parameters
        ----------
        frame : DataFrame, shape (n, any)
            Columns under their source names; further columns are ignored.

        Returns
        -------
        DataFrame, shape (n, 1) or (n, 1 + n_classes)
            ``prediction`` in the task's unit, or the likeliest label with ``p_<label>`` per label.
        """
        return self.answer(features(self.typed(frame), self.mapping["columns"]))

    def answer(self, numbers: pd.DataFrame) -> pd.DataFrame:
        """Predict from the features that `features` made, shape (n, n_features)."""
        if self.mapping["kind"] == "regression":
            return pd.DataFrame({"prediction": self.pipeline.predict(numbers).astype(float)})
        labels = self.mapping["labels"]
        share = np.zeros((len(numbers), len(labels)))
        share[:, self.pipeline.classes_.astype(int)] = self.pipeline.predict_proba(numbers)
        named = {f"p_{label}": share[:, i] for i, label in enumerate(labels)}
        return pd.DataFrame({"prediction": np.array(labels, dtype=object)[share.argmax(axis=1)], **named})


def load(folder: Path) -> Scorer:
    """Load a scorer from a folder with a mapping and a pipeline.

    Raises
    ------
    ValueError
        If the pipeline's digest is not the one in the mapping, or the file holds types we do not trust.
    """
    from skops.io import load as load_skops  # noqa: PLC0415 -- costs a second that reading a table need not pay
    from skops.io.exceptions import UntrustedTypesFoundException  # noqa: PLC0415 -- the same

    mapping = json.loads((folder / MAPPING).read_text(encoding="utf-8"))
    found = hashlib.sha256((folder / PIPELINE).read_bytes()).hexdigest()
    if found != mapping["pipeline_sha256"]:
        raise ValueError(f"{PIPELINE} was changed: expected SHA-256 {mapping['pipeline_sha256']}, found {found}.")
    try:
        return Scorer(mapping, load_skops(folder / PIPELINE, trusted=TRUSTED))
    except UntrustedTypesFoundException as error:
        raise ValueError(f"{PIPELINE} holds types outside the allow-list of this module: {error}") from error


def _without_missing(values: pa.Array, words: Sequence[str]) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        kept = _without_missing(values.dictionary, words)
        if kept.null_count == values.dictionary.null_count:
            return pa.DictionaryArray.from_arrays(values.indices, kept)
        return kept.take(values.indices)
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), None, values)
    if _is_binary(values.type):
        cells = (None if cell is None else cell.decode(errors="replace") for cell in values.to_pylist())
        values = pa.array(cells, pa.string())
    if not _is_text(values.type):
        return values
    values = pc.utf8_trim_whitespace(pc.cast(values, pa.string()))
    missing = pc.is_in(pc.utf8_lower(values), value_set=pa.array([word.lower() for word in words], pa.string()))
    return pc.if_else(missing, None, values)


def _number(values: pa.Array, spec: Spec) -> tuple[pa.Array, Faults]:
    if _is_text(values.type):
        numbers = _cast_text(values, pa.float64(), lambda text: pc.match_substring_regex(text, _NUMBER))
    elif _is_number(values.type):
        numbers = pc.cast(values, pa.float64(), safe=False)
    else:
        numbers = pa.nulls(len(values), pa.float64())
    numbers = pc.if_else(pc.is_finite(numbers), numbers, None)
    outside = np.zeros(len(values), dtype=bool)
    low, high = (spec.get("low"), pc.less), (spec.get("high"), pc.greater)
    for bound, beyond in (low, high, (-_LARGEST, pc.less), (_LARGEST, pc.greater)):
        if bound is not None:
            outside |= pc.fill_null(beyond(numbers, bound), False).to_numpy(zero_copy_only=False)
    return numbers, {"number": _lost(values, numbers), "range": outside}


def _date(values: pa.Array, written: str | None) -> tuple[pa.Array, Faults]:
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        dates = _local(values)
    elif not _is_text(values.type):  # a bare number is no date: 20240131 could be anything
        dates = pa.nulls(len(values), pa.timestamp("us"))
    else:
        dates = _local(_iso(values) if written is None else _parsed(values, written))
    return dates, {"date": _lost(values, dates)}


def _local(values: pa.Array) -> pa.Array:
    """Dates as the clock on the ward shows them, since nights are counted there; null where too far off."""
    if getattr(values.type, "tz", None):
        values = pc.local_timestamp(values)
    if getattr(values.type, "unit", None) == "ns":
        return pc.cast(values, pa.timestamp("us"), safe=False)
    first, last = (pa.scalar(day, values.type) for day in (_FIRST_DAY, _LAST_DAY))
    known = pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))
    return pc.cast(pc.if_else(known, values, None), pa.timestamp("us"))


def _iso(values: pa.Array) -> pa.Array:
    try:
        return pc.cast(values, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return _parsed(values, "ISO8601")


def _parsed(values: pa.Array, written: str) -> pa.Array:
    iso = written == "ISO8601"
    values = pc.if_else(pc.match_substring_regex(values, _ISO if iso else r"\d"), values, None)  # not "today", "now"
    if iso or "%z" in written:
        values, written = pc.replace_substring_regex(values, _OFFSET, r"\1"), re.sub(r"\s*%z", "", written)
    dates = pd.to_datetime(values.to_pandas(), format=written, errors="coerce", utc=True).dt.tz_localize(None)
    return pa.Array.from_pandas(dates, type=pa.timestamp("us"), safe=False)


def _text(values: pa.Array) -> tuple[pa.Array, Faults]:
    """Categories as a dictionary of text, white space folded; a whole number reads as it would from a CSV."""
    if pa.types.is_nested(values.type):
        return pa.nulls(len(values), pa.string()).dictionary_encode(), {"text": _lost(values, pa.nulls(len(values)))}
    if not pa.types.is_dictionary(values.type):
        if pa.types.is_floating(values.type) and _is_whole(values):
            values = pc.cast(values, pa.int64())
        values = pc.cast(values, pa.string()).dictionary_encode()
    tidy = pc.replace_substring_regex(pc.utf8_trim_whitespace(pc.cast(values.dictionary, pa.string())), r"\s+", " ")
    binary = pc.match_substring(tidy, "\0")
    if not pc.any(binary).as_py():
        return pa.DictionaryArray.from_arrays(values.indices, tidy), {}
    clean = pc.if_else(binary, None, tidy).take(values.indices)
    return clean.dictionary_encode(), {"text": _lost(values, clean)}


def _date_parts(dates: pa.Array) -> dict[str, NDArray[np.float64]]:
    when = dates.to_numpy(zero_copy_only=False).astype("datetime64[D]")
    absent = np.isnat(when)
    day = when.astype("int64").astype(float)
    month = (when.astype("datetime64[M]").astype("int64") % 12 + 1).astype(float)
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; 0 = Monday
    for column in (day, month, weekday):
        column[absent] = np.nan
    return {"": day, ".weekday": weekday, ".month": month}


def _cast_text(values: pa.Array, kind: pa.DataType, fits: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Cast in one pass where every cell is good, and only else find the ones that are not."""
    try:
        return pc.cast(values, kind)
    except pa.ArrowInvalid:
        return pc.cast(pc.if_else(fits(values), values, None), kind)


def _lost(before: pa.Array, after: pa.Array) -> NDArray[np.bool_]:
    lost: NDArray[np.bool_] = pc.and_(before.is_valid(), after.is_null()).to_numpy(zero_copy_only=False)
    return lost


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    some = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(is_one(kind) for is_one in some)


def _is_number(kind: pa.DataType) -> bool:
    some = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(is_one(kind) for is_one in some)


def _is_whole(values: pa.Array) -> bool:
    small = pc.less(pc.abs(values), _EXACT)
    return bool(pc.all(pc.and_(small, pc.equal(pc.trunc(values), values))).as_py())


def _arrow(column: pd.Series) -> pa.Array:
    try:
        values = pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column of several types: read every cell as text
        values = pa.array([None if pd.isna(cell) else str(cell) for cell in column], pa.string())
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return pc.cast(values, pa.string()) if pa.types.is_null(values.type) else values


def _first(mask: NDArray[np.bool_], *, most: int = 5) -> str:
    rows = np.flatnonzero(mask) + 1
    return ", ".join(map(str, rows[:most])) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def _set_as_mlflow_model() -> None:
    """Say to MLflow, which runs this file as code, what it is to serve."""
    from mlflow.models import set_model  # noqa: PLC0415 -- a second and a half that hi_ml's own scoring need not pay
    from mlflow.pyfunc.model import PythonModel  # noqa: PLC0415 -- as above

    class Admissions(PythonModel):
        """The scorer as an MLflow model."""

        def load_context(self, context: Any) -> None:
            """Load the scorer from the model's artifacts."""
            self.scorer = load(Path(context.artifacts["scorer"]))

        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
            """Score raw admissions; see `Scorer.predict`."""
            del context, params
            return self.scorer.predict(model_input)

    set_model(Admissions())


if __name__.startswith("code_model_"):  # the name under which MLflow runs the file of a model written as code
    _set_as_mlflow_model()
