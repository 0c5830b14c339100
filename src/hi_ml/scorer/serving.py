"""Raw admissions in, predictions out: all the code that a tracked model carries.

A model folder holds this file, a mapping (``mapping.json``: how raw columns become numbers) and a fitted scikit-learn
Pipeline (``pipeline.skops``). The module imports nothing of hi_ml, so that a machine without hi_ml can score; hi_ml
itself reads its tables through the same functions, so that training and serving cannot drift apart.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MAPPING, PIPELINE, BOUNDS = "mapping.json", "pipeline.skops", "bounds.skops"

# What a pipeline file may hold besides the types that skops itself trusts. The list in a file is never consulted:
# MLflow would take it from the model, which is what an attacker writes (GHSA-w582-9x45-8mpx).
TRUSTED = [
    "collections.OrderedDict",
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
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
_LARGEST_LOG = 34.6  # of a prediction: about the logarithm of the largest number
LONGEST_STAY = 1_000.0  # nights, where nothing else is declared
_FEWEST_TELLING = 5  # columns that are no numbers, of which a row of totals names one at most
_EXACT = 2.0**53  # up to which a whole number in floating point is exact
_ISO = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d.*)?$"
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_OFFSET = r"(:\d{2}(\.\d+)?)\s*([Zz]|[+-]\d{2}:?(\d{2})?)$"  # from UTC, behind a time of day
# What a count of nanoseconds can reach, as libraries assume.
_FIRST_DAY, _LAST_DAY = datetime(1678, 1, 1), datetime(2261, 12, 31)  # noqa: DTZ001 -- local time, as in the table
_SCIENTIFIC = r"^[+-]?\d([.,]\d+)?[eE]\+\d+$"  # what a spreadsheet makes of a long number, whose last digits are lost
_DAY_MICROSECONDS = 86_400_000_000
_WHOLE = 1e-9  # days by which a bound may miss a whole number and still be it
_WHOLE_NUMBER = re.compile(r"^([+-]?(?:0|[1-9]\d*))\.0+$")
_NO_WORD = re.compile(r"[^\w\s]")
_REMEMBERED = 2**16  # keys of spellings, and cells of one column: a file names the same ones in every chunk
_FEW = 32  # rows up to which each cell is read by itself, and only once: Arrow's functions take milliseconds to begin
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")  # a number of which Arrow and Python say the same
_CODE = re.compile(r"\d+(\.\d*)?")  # a code that is a number
_END = r"(-?\d+(?:\.\d+)?)"
_MORE, _FEWER = "older|over|above|more|greater|up", "younger|under|below|less|fewer"
# How a band is written, with its lower and its upper end where the text does not say it
_BANDS: list[tuple[re.Pattern[str], float | None, float | None]] = [
    (re.compile(pattern.format(end=_END), re.IGNORECASE), low, high)
    for pattern, low, high in [
        (r"{end}", None, None),
        (r"[\[(]?{end} ?(?:-|\u2013|\u2014|to|\.\.) ?{end}[\])]?(?: [a-z]+)?", None, None),
        (r"[\[(]{end} ?[,;] ?{end}[\])]", None, None),
        (r"(?:>=?|\u2265|over|above|from|more than|at least) ?{end}(?: [a-z]+)?", None, np.inf),
        (rf"{{end}} ?(?:\+|plus|(?:[a-z]+ )?(?:or|and) (?:{_MORE}))(?: [a-z]+)?", None, np.inf),
        (r"(?:<=?|\u2264|under|below|up to|less than) ?{end}(?: [a-z]+)?", 0.0, None),
        (rf"{{end}} (?:[a-z]+ )?(?:or|and) (?:{_FEWER})(?: [a-z]+)?", 0.0, None),
    ]
]
_OF_A_DATE = ("", ".weekday", ".month")  # what it becomes: the day counted from 1970, and these
UNSEEN = -1  # the code of a category that the training rows did not hold

Spec = Mapping[str, Any]
Faults = dict[str, NDArray[np.bool_]]
Fault = tuple[str, str, NDArray[np.bool_]]  # source column, rule, the rows that break it
Floats = NDArray[np.float64]
Numbers = tuple[Floats, NDArray[np.integer] | None]  # distinct ones, and which of them each row has; None: one a row


def comparable(text: str) -> str:
    """Return what all ways to write one text have in common, in every script.

    Composed letters (NFC), no format characters (zero width, soft hyphen, marks of direction), one blank for any white
    space, and a whole number without its decimals: 1.00 is 1, but 250.10 is not 250.1, and 007 stays.

    Examples
    --------
    >>> comparable("Emer\u200bgency  ward"), comparable("1.0"), comparable("007")
    ('Emergency ward', '1', '007')
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", "".join(c for c in text if unicodedata.category(c) != "Cf"))
    text = " ".join(text.split())
    return _WHOLE_NUMBER.sub(r"\1", text) if text[-1:] == "0" else text


def words_of(text: str) -> list[str]:
    """Cut a text into its words: runs of letters, marks and digits, lower case; what else stands in a word is left out.

    Examples
    --------
    >>> words_of("O'Neill & Sons, 2nd")
    ['oneill', 'sons', '2nd']
    """
    text = comparable(text).casefold()
    if text.isascii():
        return _NO_WORD.sub("", text).split()
    kept = "".join(c for c in text if c.isspace() or c == "_" or unicodedata.category(c)[0] in "LMN")
    return unicodedata.normalize("NFC", kept).split()


@lru_cache(_REMEMBERED)
def key(value: str, spelling: str) -> str:
    """Return what two spellings of one category have in common.

    Parameters
    ----------
    value : str
        A category as written.
    spelling : {"exact", "case", "words"}
        ``exact`` folds what `comparable` does, ``case`` also upper and lower case, ``words`` also punctuation and the
        order of words.

    Examples
    --------
    >>> key("Sons and  Miller,", "words") == key("miller and Sons", "words")
    True
    """
    if spelling == "exact":
        return comparable(value)
    if spelling == "case":
        return comparable(value).casefold()
    return " ".join(sorted(words_of(value)))


def convert(values: pa.Array, spec: Spec) -> tuple[pa.Array, Faults]:
    """Read one raw column as the kind that its description says.

    Parameters
    ----------
    values : pyarrow.Array, shape (n,)
        Text, numbers, dates or a dictionary of them, as a file holds them.
    spec : mapping
        ``kind`` (number, category, date, identifier, text), ``missing`` (words), ``low``, ``high``, ``format``; of
        numbers as text ``decimal``, ``thousands`` and ``money`` (marks); of moments ``zone`` (the ward's); of
        codes ``labels`` (label by key of the code) and ``ranges`` (see `group_of`), of bands ``bands`` (``lower`` or
        ``midpoint`` of each), of a top code ``top`` (the number by key of the word).

    Returns
    -------
    typed : pyarrow.Array, shape (n,)
        float64, timestamp[us] in local time or a dictionary of text; null where missing or unreadable.
    faults : dict of str to array of bool, shape (n,)
        Per broken rule (``number``, ``date``, ``range``, ``text``, ``scientific``) the rows that break it.
    """
    if _is_text(values.type):
        values = pc.cast(values, pa.string()).dictionary_encode()
    elif spec["kind"] not in ("number", "date") and _is_number(values.type):
        values = values.dictionary_encode()
    if pa.types.is_dictionary(values.type):
        typed, faults = _cells(values.dictionary, spec)  # each text once, however many cells hold it
        if faults := {rule: mask for rule, mask in faults.items() if mask.any()}:
            row = _rows(values.indices, len(typed))
            faults = {rule: np.append(mask, False)[row] for rule, mask in faults.items()}
        if spec["kind"] not in ("number", "date") and len(typed.dictionary) == len(typed):  # no two became one
            typed = pa.DictionaryArray.from_arrays(values.indices, typed.dictionary, safe=False)
        else:
            typed = typed.take(values.indices)
    else:
        typed, faults = _cells(values, spec)
    return typed, {rule: mask for rule, mask in faults.items() if mask.any()}


def band_ends(text: str) -> tuple[float, float] | None:
    """Return the lower and the upper end of a band as it is written; None where it is none.

    Examples
    --------
    >>> band_ends("[70-80)"), band_ends("30 to 49"), band_ends("70 or Older"), band_ends("<18"), band_ends("ward 7")
    ((70.0, 80.0), (30.0, 49.0), (70.0, inf), (0.0, 18.0), None)
    """
    for pattern, lowest, highest in _BANDS:
        if match := pattern.fullmatch(comparable(text)):
            ends = [float(end) for end in match.groups()]
            high = ends[-1] if highest is None else highest
            return min(ends[0] if lowest is None else lowest, high), high
    return None


def group_of(code: str, ranges: Sequence[tuple[str, str, str]], digits: int | None = None) -> str | None:
    """Return the group of the first range that holds a code, ends included; None where none does.

    Parameters
    ----------
    ranges : sequence of (str, str, str)
        Lowest and highest code, and the name of the group. Two numbers hold numbers, at the precision of the ends:
        250.8 lies in 249 to 250. Other codes are compared letter by letter, as far as the ends go: E11.9 lies in E00 to
        E90.
    digits : int, optional
        Of a code that is written without its point: 25083 is 250.83 where there are 3.

    Examples
    --------
    >>> chapters = [("240", "279", "endocrine"), ("V01", "V91", "factors")]
    >>> group_of("250.83", chapters), group_of("25083", chapters, 3), group_of("V57", chapters), group_of("8", chapters)
    ('endocrine', 'endocrine', 'factors', None)
    """
    code = comparable(code).upper()
    if digits is not None and code.isdecimal():
        code = code[:digits]
    for low, high, name in ranges:
        if _CODE.fullmatch(code) and _CODE.fullmatch(low) and _CODE.fullmatch(high):
            decimals = len(high.partition(".")[2])
            if float(low) <= float(code) < float(high) + 10.0**-decimals:
                return name
        elif not _CODE.fullmatch(code) and low.upper() <= code[: len(low)] and code[: len(high)] <= high.upper():
            return name
    return None


def codes(values: pa.Array, levels: Sequence[str | None], spelling: str) -> Floats:
    """Number categories by their place in ``levels``: -1 where unseen, NaN where missing, shape (n,).

    A level that the training rows did not hold stands as None, so that the others keep their places.
    """
    distinct, row = _codes(values, levels, spelling)
    return np.asarray(distinct[row])


def numbers(typed: Mapping[str, pa.Array], columns: Iterable[Spec]) -> dict[str, Numbers]:
    """Turn typed columns into numbers, each level and day once, however many rows hold it.

    Parameters
    ----------
    typed : mapping of str to pyarrow.Array, shape (n,)
        Per role the typed column, as `convert` returns it.
    columns : iterable of mapping
        The columns of the mapping; a category has ``levels``, a date becomes day, weekday and month.

    Returns
    -------
    dict of str to (array of float64, shape (m,), array of int, shape (n,), or None)
        By feature: numbers, and the place among them of each row's, or None where there is one a row, in order. Behind
        distinct numbers stands NaN for missing.
    """
    return {name: pair for spec in columns for name, pair in _numbers(typed[spec["role"]], spec).items()}


def features(typed: Mapping[str, pa.Array], columns: Iterable[Spec]) -> pd.DataFrame:
    """Turn typed columns into the table that a pipeline takes, of float64, shape (n, n_features); see `numbers`."""
    pairs = numbers(typed, columns)
    return pd.DataFrame({name: values if row is None else values[row] for name, (values, row) in pairs.items()})


def names(spec: Spec) -> list[str]:
    """Name the features that a column becomes."""
    return [f"{spec['role']}{part}" for part in (_OF_A_DATE if spec["kind"] == "date" else ("",))]


def inputs(columns: Iterable[Spec]) -> list[Spec]:
    """List the raw columns that are needed to make the given ones: a stay needs two dates."""
    raw = [part for spec in columns for part in spec.get("between", [spec])]
    return list({spec["role"]: spec for spec in raw}.values())


def stays(typed: Mapping[str, pa.Array], columns: Iterable[Spec]) -> dict[str, pa.Array]:
    """Compute the lengths of stay among ``columns`` from their two dates, in days, by role."""
    days = {}
    for spec in columns:
        if spec["kind"] == "stay":
            start, end = (pc.floor_temporal(typed[date["role"]], unit="day") for date in spec["between"])
            nights = pc.cast(pc.days_between(start, end), pa.float64())
            days[spec["role"]] = pc.add(nights, 1.0) if spec["inclusive"] else nights
    return days


def row_faults(typed: Mapping[str, pa.Array], specs: Iterable[Spec]) -> list[Fault]:
    """Tell the rows that cannot be believed although each of their cells can be read.

    Parameters
    ----------
    typed : mapping of str to pyarrow.Array, shape (n,)
        By role.
    specs : iterable of mapping
        Of the columns, those of stays between two dates among them.

    Returns
    -------
    list of (str, str, array of bool, shape (n,))
        Source column, rule and rows, for every rule that is broken: ``order`` (discharge before admission, at the
        coarser precision of the two), ``stay_range`` (a stay that nobody stays) and ``empty`` (column ``""``: of five
        and more columns that are no numbers at most one is known, as in a row of totals).
    """
    specs = list(specs)
    faults: list[Fault] = []
    for spec in (spec for spec in specs if spec["kind"] == "stay"):
        first, last = spec["between"]
        early = _disordered(typed[first["role"]], typed[last["role"]])
        nights = stays(typed, [spec])[spec["role"]]
        low, high = spec.get("low") or 0.0, spec.get("high") or LONGEST_STAY
        strange = _true(pc.or_(pc.less(nights, low), pc.greater(nights, high))) & ~early
        faults += [(last["source"], "order", early), (last["source"], "stay_range", strange)]
    telling = [spec["role"] for spec in specs if spec["kind"] in ("category", "date", "identifier")]
    if len(telling) >= _FEWEST_TELLING:
        known = sum(pc.is_valid(typed[role]).to_numpy(zero_copy_only=False).astype(np.int8) for role in telling)
        faults.append(("", "empty", np.asarray(known <= 1)))
    return [fault for fault in faults if fault[2].any()]


def _disordered(start: pa.Array, end: pa.Array) -> NDArray[np.bool_]:
    """Tell the rows whose second date lies before the first, where one is a bare date by the day, shape (n,)."""
    first, last = (pc.floor_temporal(date, unit="day") for date in (start, end))
    timed = pc.and_(pc.not_equal(first, start), pc.not_equal(last, end))
    return _true(pc.or_(pc.less(last, first), pc.and_(timed, pc.less(end, start))))


def recalibrate(probabilities: Floats, slope: float, intercepts: Sequence[float]) -> Floats:
    """Recalibrate the probabilities of the labels: each becomes proportional to ``p ** slope * exp(intercept)``.

    Parameters
    ----------
    probabilities : array of float64, shape (n, n_labels)
        A row sums to 1.

    Returns
    -------
    array of float64, shape (n, n_labels)
        A row sums to 1; a probability of 0 stays 0.
    """
    possible = probabilities > 0
    powers = slope * np.log(np.where(possible, probabilities, 1.0)) + np.asarray(intercepts, dtype=float)
    powers[~possible] = -np.inf
    weights = np.exp(powers - powers.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def from_log(values: Floats, shift: float, factor: float = 1.0) -> Floats:
    """Return the amounts of which a learner predicted the logarithm: ``exp(value) * factor - shift``.

    Parameters
    ----------
    values : array of float64, shape (n,)
    shift : float
        What was added to the amounts before their logarithm was taken.
    factor : float
        1 for a median or another quantile; what makes a mean of amounts of a mean of logarithms.
    """
    return np.asarray(np.exp(np.minimum(values, _LARGEST_LOG)) * factor - shift)


def outer(prediction: Floats, quantiles: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return the bounds that `widen` takes, of the quantiles that were learned: two, the high one alone, or none."""
    if not quantiles:
        return prediction, prediction
    low = quantiles[0] if len(quantiles) > 1 else np.full(len(prediction), -np.inf)
    return low, quantiles[-1]


def widen(
    prediction: Floats,
    low: Floats,
    high: Floats,
    threshold: float | Floats,
    *,
    whole: bool,
    floor: float | None = None,
) -> tuple[Floats, Floats]:
    """Widen two bounds by a threshold into an interval that holds the prediction.

    Parameters
    ----------
    prediction, low, high : array of float64, shape (n,)
        In the task's unit; ``low`` and ``high`` are the learners' quantiles, or both the prediction; ``low`` is -inf
        where every interval begins at the floor.
    threshold : float or array of float64, shape (n,)
        The conformal threshold; a negative one narrows.
    whole : bool
        The target takes whole values only: the bounds become the outermost whole values inside.
    floor : float, optional
        The smallest value of the target: below it an interval holds nothing but the prediction.

    Returns
    -------
    low, high : array of float64, shape (n,)
        ``low <= prediction <= high``.
    """
    low, high = np.minimum(low - threshold, prediction), np.maximum(high + threshold, prediction)
    if whole:
        low, high = np.ceil(low - _WHOLE), np.floor(high + _WHOLE)
    if floor is not None:
        low = np.maximum(low, floor)
    return np.minimum(low, prediction), np.maximum(high, prediction)


def label_set(probabilities: Floats, threshold: float | Floats) -> NDArray[np.bool_]:
    """Tell which labels cannot be ruled out: the likeliest, and all of probability ``1 - threshold`` or more.

    Parameters
    ----------
    probabilities : array of float64, shape (n, n_labels)
    threshold : float or array of float64, shape (n,), or shape (1, n_labels)
        The conformal threshold of ``1 - probability``, of each row or of each label (least ambiguous sets: Sadinle, Lei
        and Wasserman 2019, doi:10.1080/01621459.2017.1395341).

    Returns
    -------
    array of bool, shape (n, n_labels)
    """
    limit = threshold if np.ndim(threshold) > 1 else np.reshape(threshold, (-1, 1))
    inside = 1 - probabilities <= limit
    inside[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return np.asarray(inside)


@dataclass(frozen=True)
class Encoded:
    """How the numbers of one feature become columns of the learner's matrix."""

    position: slice  # of its columns in the matrix
    step: Any = None  # what the numbers pass through; None where they pass as they are
    # float64, shape (n_levels + 2, width), or None; of a category: what each level becomes, then an unseen one,
    # then a missing one
    table: Floats | None = None

    # of a step that fills, marks and scales numbers: what fills, and per column what is subtracted and divided by
    scaling: tuple[float, Floats, Floats] | None = None

    @classmethod
    def of(cls, step: Any, position: slice, levels: Sequence[str | None] | None) -> "Encoded":
        """Ask the fitted step of a feature once for all that a category can be."""
        if getattr(step, "func", step) is None:
            return cls(position)
        if levels is None:
            return cls(position, step, scaling=_scaling(step))
        possible = np.array([*range(len(levels)), UNSEEN, np.nan])
        return cls(position, step, _transform(step, possible))

    def columns(self, numbers: Floats) -> Floats:
        """Return the columns, shape (m, width), of the numbers, shape (m,), of the feature."""
        if self.table is not None:
            index = np.where(numbers == UNSEEN, len(self.table) - 2, numbers)
            return np.asarray(self.table[np.where(np.isnan(index), len(self.table) - 1, index).astype(int)])
        if self.step is None:
            return numbers[:, None]
        if self.scaling is not None:
            fill, centre, scale = self.scaling
            missing = np.isnan(numbers)
            both = np.stack([np.where(missing, fill, numbers), missing], axis=1)
            return np.asarray((both[:, : len(scale)] - centre) / scale)
        if not len(numbers):  # a step refuses a table without rows
            return np.empty((0, self.position.stop - self.position.start))
        return _transform(self.step, numbers)


@dataclass(frozen=True)
class Scorer:
    """A fitted pipeline with the mapping that feeds it."""

    mapping: dict[str, Any]
    pipeline: Any  # a ColumnTransformer with one step per feature, and a learner
    # of the low and the high quantile, on the same matrix as the pipeline's learner; of the high one alone where every
    # interval begins at the floor
    bounds: tuple[Any, ...] | None = None

    def read(self, columns: Mapping[str, pa.Array]) -> tuple[dict[str, pa.Array], list[Fault]]:
        """Type the raw columns, and tell which cells cannot be read.

        Parameters
        ----------
        columns : mapping of str to pyarrow.Array, shape (n,)
            By source name; further columns are ignored.

        Returns
        -------
        typed : dict of str to pyarrow.Array, shape (n,)
            By role, with the stays computed from two dates.
        faults : list of (str, str, array of bool, shape (n,))
            Source column, rule (``number``, ``date``, ``text``, ``range``, or of `row_faults`) and the rows that break
            it, for every rule that is broken.

        Raises
        ------
        ValueError
            If a column is absent.
        """
        needed = self._needed(columns)
        typed: dict[str, pa.Array] = {}
        faults: list[Fault] = []
        for spec in needed:
            typed[spec["role"]], broken = convert(columns[spec["source"]], spec)
            faults += [(spec["source"], rule, mask) for rule, mask in broken.items()]
        spans = [spec for spec in self.mapping["columns"] if spec["kind"] == "stay"]
        faults += row_faults(typed, [*needed, *spans])
        return typed | stays(typed, spans), faults

    def typed(self, frame: pd.DataFrame) -> dict[str, pa.Array]:
        """Read the raw columns, or raise ValueError that names each missing column and unreadable cell."""
        typed, faults = self.read({name: _arrow(frame[name]) for name in self._sources(frame.columns)})
        if faults:
            broken = [f"{source or 'row'}: {rule} in rows {_first(mask)}" for source, rule, mask in faults]
            raise ValueError(f"Cannot read {'; '.join(broken)} (1 = first row). Mend or remove these rows.")
        return typed

    def numbers(self, typed: Mapping[str, pa.Array]) -> dict[str, Numbers]:
        """Turn typed columns into numbers, see `numbers`."""
        return numbers(typed, self.mapping["columns"])

    def unseen(self, numbers: Mapping[str, Numbers]) -> dict[str, NDArray[np.bool_]]:
        """Tell, by the role of a category, which rows hold a level that the training rows did not, shape (n,).

        Roles that are absent have no such row.
        """
        roles = [spec["role"] for spec in self.mapping["columns"] if "levels" in spec]
        levels = {role: numbers[role][0] == UNSEEN for role in roles}
        return {role: mask[numbers[role][1]] for role, mask in levels.items() if mask.any()}

    def few(self, cells: Mapping[str, Sequence[Any]]) -> dict[str, Numbers] | None:
        """Turn the cells of a few rows into the numbers that `read` and `numbers` make of them, each by itself.

        Parameters
        ----------
        cells : mapping of str to sequence
            By source name; text, numbers, dates, None or NaN.

        Returns
        -------
        dict, or None
            As `numbers` returns it; None where the rows must be read as a table: a rule is broken, a stay is a feature,
            or the cells of a column are of several types.

        Raises
        ------
        ValueError
            If a column is absent.
        """
        if any(spec["kind"] == "stay" for spec in self.mapping["columns"]):
            return None
        few: dict[str, Numbers] = {}
        known: list[NDArray[np.bool_]] = []
        for spec in self._needed(cells):
            numbers = _few_cells(cells[spec["source"]], spec, self._readers[spec["role"]])
            if numbers is None:
                return None
            if spec["kind"] != "number":
                known.append(~np.isnan(numbers[0]))
            few |= {name: (part, None) for name, part in zip(names(spec), numbers, strict=True)}
        if len(known) >= _FEWEST_TELLING and (np.sum(known, axis=0) <= 1).any():
            return None
        return few

    def encode(self, numbers: Mapping[str, Numbers]) -> Floats:
        """Make the learner's matrix, to the bit as the pipeline's transformer makes it from the array of `features`.

        Parameters
        ----------
        numbers : mapping
            As `numbers` returns them.

        Returns
        -------
        array of float64, shape (n, n_encoded)
            In Fortran order, which is filled sooner and read a little later.
        """
        values, row = next(iter(numbers.values()))
        matrix = np.empty((self._width, len(values if row is None else row))).T
        for name, encoded in self._encoded.items():
            values, row = numbers[name]
            for column, distinct in zip(matrix.T[encoded.position], encoded.columns(values).T, strict=True):
                if row is None:
                    column[:] = distinct
                else:
                    distinct.take(row, out=column, mode="clip")  # no index lies outside; else numpy would buffer
        return matrix

    def answer(self, matrix: Floats, numbers: Mapping[str, Numbers]) -> pa.Table:
        """Predict.

        Parameters
        ----------
        matrix : array of float64, shape (n, n_encoded)
            As `encode` makes it.
        numbers : mapping
            As `numbers` returns them; asked where the width of an interval depends on a column.

        Returns
        -------
        pyarrow.Table, shape (n, n_outputs)
            ``prediction, low, high`` in the task's unit, or the likeliest label as ``prediction``, ``p_<label>`` per
            label, and ``prediction_set``, the labels that cannot be ruled out, joined by ``|``. Without an interval
            its columns are absent.
        """
        return pa.table(self._answers(matrix, numbers))

    def _answers(self, matrix: Floats, numbers: Mapping[str, Numbers]) -> dict[str, Any]:
        interval = self.mapping.get("interval")
        threshold = _threshold(interval, numbers) if interval else None
        return (self._amounts if self.mapping["kind"] == "regression" else self._labels)(matrix, threshold)

    def probabilities(self, matrix: Floats) -> Floats:
        """Return the probabilities of all labels, recalibrated where the mapping says so, shape (n, n_labels)."""
        whole = np.zeros((len(matrix), len(self.mapping["labels"])))
        whole[:, self.pipeline.classes_.astype(int)] = self._ask(self.pipeline[-1], "predict_proba", matrix)
        recalibration = self.mapping.get("recalibration")
        return recalibrate(whole, recalibration["slope"], recalibration["intercepts"]) if recalibration else whole

    def _amounts(self, matrix: Floats, threshold: float | Floats | None) -> dict[str, Floats]:
        learners = (self.pipeline[-1], *(self.bounds or ()))
        prediction, *limits = (self._ask(learner, "predict", matrix) for learner in learners)
        if scale := self.mapping.get("scale"):
            limits = [from_log(limit, scale["shift"]) for limit in limits]
            prediction = from_log(prediction, scale["shift"], scale["factor"])
        if threshold is None:
            return {"prediction": prediction}
        interval = self.mapping["interval"]
        low, high = outer(prediction, limits)
        low, high = widen(prediction, low, high, threshold, whole=interval["whole"], floor=interval.get("floor"))
        return {"prediction": prediction, "low": low, "high": high}

    def _labels(self, matrix: Floats, threshold: float | Floats | None) -> dict[str, Any]:
        labels, probabilities = self.mapping["labels"], self.probabilities(matrix)
        columns = {"prediction": pa.array(labels, pa.string()).take(pa.array(probabilities.argmax(axis=1)))}
        columns |= {f"p_{label}": probabilities[:, i] for i, label in enumerate(labels)}
        if threshold is not None:
            columns["prediction_set"] = _joined(label_set(probabilities, threshold), labels)
        return columns

    def _ask(self, learner: Any, verb: str, matrix: Floats) -> Floats:
        """Ask a learner; none of them takes a table without rows."""
        some = matrix if len(matrix) else np.zeros((1, self._width))
        if not hasattr(learner, "booster_"):
            answer = getattr(learner, verb)(some)
        elif verb == "predict":  # asked directly: its wrapper checks every number again
            answer = learner.booster_.predict(some, num_threads=1)
        else:
            answer = getattr(learner, verb)(some, num_threads=1)
        return np.asarray(answer, dtype=float)[: len(matrix)]

    def _needed(self, present: Iterable[str]) -> list[Spec]:
        """The raw columns that the features are made of, all of which must be there."""
        needed, present = inputs(self.mapping["columns"]), list(present)
        absent = [spec["source"] for spec in needed if spec["source"] not in present]
        if absent:
            raise ValueError(f"Expected the columns {absent}, not among the {len(present)} given. Add or rename them.")
        return needed

    def _sources(self, present: Iterable[str]) -> list[str]:
        return [spec["source"] for spec in self._needed(present)]

    @cached_property
    def _encoded(self) -> dict[str, Encoded]:
        """By feature, how it is encoded; what the pipeline drops is absent."""
        positions, features = self.pipeline[0].output_indices_, self.mapping["features"]
        levels = {spec["role"]: spec.get("levels") for spec in self.mapping["columns"]}
        encoded = {}
        for title, step, (feature,) in self.pipeline[0].transformers_:
            if step != "drop":
                name = features[feature] if isinstance(feature, int) else feature  # by name in models of older versions
                encoded[name] = Encoded.of(step, positions[title], levels.get(name))
        return encoded

    @cached_property
    def _readers(self) -> dict[str, Callable[[Any], tuple[float, ...] | None]]:
        """By role, what one raw cell becomes; what a cell became is remembered."""
        specs = inputs(self.mapping["columns"])
        return {spec["role"]: lru_cache(_REMEMBERED, typed=True)(partial(_read_cell, spec)) for spec in specs}

    @cached_property
    def _width(self) -> int:
        """Columns of the learner's matrix."""
        return int(max(position.stop for position in self.pipeline[0].output_indices_.values()))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score raw admissions.

        Parameters
        ----------
        frame : DataFrame, shape (n, any)
            Columns under their source names; further columns are ignored.

        Returns
        -------
        DataFrame, shape (n, n_outputs)
            As `answer` names them.
        """
        numbers = None
        if 0 < len(frame) <= _FEW and frame.columns.is_unique:
            numbers = self.few({name: frame[name].tolist() for name in self._sources(frame.columns)})
        if numbers is None:
            numbers = self.numbers(self.typed(frame))
        answer: pd.DataFrame = self.answer(self.encode(numbers), numbers).to_pandas()
        return answer

    def predict_row(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """Score one raw admission, to the bit as `predict` scores it among others if its learners do.

        Parameters
        ----------
        cells : mapping
            By source name; further ones are ignored.

        Returns
        -------
        dict
            As `answer` names them; numbers and text of Python.

        Raises
        ------
        ValueError
            As `predict`.
        """
        numbers = self.few({name: [cells[name]] for name in self._sources(cells)})
        if numbers is None:
            table = self.predict(pd.DataFrame([cells]))
            return {str(name): table[name].tolist()[0] for name in table}
        answers = self._answers(self.encode(numbers), numbers)
        return {
            name: values[0].as_py() if isinstance(values, pa.Array) else float(values[0])
            for name, values in answers.items()
        }


def load(folder: Path) -> Scorer:
    """Load a scorer from a folder: mapping, pipeline and, where the mapping says so, the learners of the bounds.

    Raises
    ------
    ValueError
        If a file's digest is not the one in the mapping, or the file holds types we do not trust.
    """
    mapping = json.loads((folder / MAPPING).read_text(encoding="utf-8"))
    pipeline = _loaded(folder / PIPELINE, mapping["pipeline_sha256"])
    digest = mapping.get("bounds_sha256")
    return Scorer(mapping, pipeline, None if digest is None else tuple(_loaded(folder / BOUNDS, digest)))


def _loaded(path: Path, expected: str) -> Any:
    from skops.io import load as load_skops  # noqa: PLC0415 -- costs a second that reading a table need not pay
    from skops.io.exceptions import UntrustedTypesFoundException  # noqa: PLC0415 -- the same

    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        raise ValueError(f"{path.name} was changed: expected SHA-256 {expected}, found {actual}.")
    try:
        return load_skops(path, trusted=TRUSTED)
    except UntrustedTypesFoundException as error:
        raise ValueError(f"{path.name} holds types outside the allow-list of this module: {error}") from error


def _scaling(step: Any) -> tuple[float, Floats, Floats] | None:
    """What a fitted pipeline of SimpleImputer and StandardScaler does to one column; None for any other step.

    It is done here, with the same operations, since scikit-learn takes half a millisecond to begin.
    """
    parts = [part for _, part in getattr(step, "steps", [])]
    if [type(part).__name__ for part in parts] != ["SimpleImputer", "StandardScaler"]:
        return None
    imputer, scaler = parts
    plain = scaler.with_mean and scaler.with_std and np.isfinite(imputer.statistics_).all()
    return (float(imputer.statistics_[0]), scaler.mean_, scaler.scale_) if plain else None


def _transform(step: Any, numbers: Floats) -> Floats:
    """Pass the numbers of one feature, shape (m,), through its fitted step, shape (m, width)."""
    named = getattr(step, "feature_names_in_", None)  # by models of older versions, which were taught on frames
    X = numbers[:, None] if named is None else pd.DataFrame(numbers[:, None], columns=named)
    return np.asarray(step.transform(X), dtype=float)


def _cells(values: pa.Array, spec: Spec) -> tuple[pa.Array, Faults]:
    values = _without_missing(values, spec["missing"])
    if spec["kind"] == "number":
        return _number(values, spec)
    if spec["kind"] == "date":
        return _date(values, spec)
    texts, faults = _text(values, identifies=spec["kind"] == "identifier" or spec.get("role") == "patient_id")
    if labels := spec.get("labels"):
        texts = _renamed(texts, lambda text: labels.get(key(text, "case"), text))
    if ranges := spec.get("ranges"):
        texts = _renamed(texts, lambda text: group_of(text, ranges, spec.get("digits")))
    return texts, faults


def _renamed(texts: pa.DictionaryArray, name: Callable[[str], str | None]) -> pa.DictionaryArray:
    """Give every distinct text another one, or none."""
    return pa.array(map(name, texts.dictionary.to_pylist()), pa.string()).take(texts.indices).dictionary_encode()


def _measured(text: str | None, spec: Spec) -> str | None:
    """The number that a text stands for, as text: one that is renamed, a top code, or a band; else the text itself."""
    if text is not None:
        text = (spec.get("labels") or {}).get(key(text, "case"), text)
    if text is None:
        return None
    top = (spec.get("top") or {}).get(key(text, "case"))
    ends = band_ends(text) if spec.get("bands") else None
    if top is not None or ends is None:
        return text if top is None else str(top)
    low, high = ends
    return str((low + high) / 2 if spec["bands"] == "midpoint" and np.isfinite(high) else low)


def _without_missing(values: pa.Array, words: Sequence[str]) -> pa.Array:
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        if nothing := _numbers_in(tuple(words)):
            values = pc.if_else(pc.is_in(pc.cast(values, pa.float64(), safe=False), pa.array(nothing)), None, values)
        return values
    if _is_binary(values.type):
        cells = (None if cell is None else cell.decode(errors="replace") for cell in values.to_pylist())
        values = pa.array(cells, pa.string())
    if not _is_text(values.type):
        return _without_days(values, words)
    values = pc.utf8_trim_whitespace(pc.cast(values, pa.string()))
    known = [word.lower() for word in words]
    missing = pc.is_in(pc.utf8_lower(values), value_set=pa.array(known, pa.string()))
    if not pc.all(pc.string_is_ascii(values)).as_py():
        hidden = [text is not None and comparable(text).lower() in known for text in values.to_pylist()]
        missing = pc.or_(missing, pa.array(hidden, pa.bool_()))
    return pc.if_else(missing, None, values)


def _without_days(values: pa.Array, words: Sequence[str]) -> pa.Array:
    """Dates but for those that are words for missing: what a Parquet file calls so is what a CSV calls so."""
    days = _days(words) if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type) else ()
    return pc.if_else(pc.is_in(pc.cast(values, pa.date32(), safe=False), days), None, values) if len(days) else values


def _days(words: Iterable[str]) -> pa.Array:
    days = pd.to_datetime([word for word in words if re.match(_DAY, word)], format="%Y-%m-%d", errors="coerce")
    return pa.Array.from_pandas(days.dropna(), type=pa.timestamp("us")).cast(pa.date32())


def _number(values: pa.Array, spec: Spec) -> tuple[pa.Array, Faults]:
    low, high = _range(spec)
    written = values
    if pa.types.is_decimal(values.type) or pa.types.is_float32(values.type):
        values = pc.cast(values, pa.string())  # to the bit what a CSV of it says, which casts of numbers miss
    texts = values
    if _is_text(written.type) and _is_marked(spec):
        values = _plain_numbers(values, spec)
    if _is_text(values.type):
        if _is_coded(spec):
            measured = pa.array([_measured(text, spec) for text in texts.to_pylist()], pa.string())
            values = pc.if_else(pc.equal(measured, texts), values, measured)
        numbers = _cast_text(values, pa.float64(), lambda text: pc.match_substring_regex(text, _NUMBER))
        if nothing := _numbers_in(tuple(spec["missing"])):  # -9.0 is -9
            none = pc.is_in(numbers, pa.array(nothing))
            numbers, written = pc.if_else(none, None, numbers), pc.if_else(none, None, written)
    elif _is_number(values.type):
        numbers = pc.cast(values, pa.float64(), safe=False)
        present = numbers.drop_null()  # numpy finds the ends of floats ten times as fast as Arrow
        if len(present) and low <= np.min(present) and np.max(present) <= high:
            return numbers, {}
    else:
        numbers = pa.nulls(len(values), pa.float64())
    numbers = pc.if_else(pc.is_finite(numbers), numbers, None)
    inside = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    return numbers, {"number": _lost(written, numbers), "range": _true(pc.invert(inside))}


def _is_coded(spec: Spec) -> bool:
    """Whether the text of a number may be something else than the number."""
    return any(map(spec.get, ("labels", "top", "bands")))


@lru_cache
def _numbers_in(words: tuple[str, ...]) -> tuple[float, ...]:
    """The numbers among some words."""
    return tuple(float(word) for word in words if re.fullmatch(_NUMBER, word))


def _range(spec: Spec) -> tuple[float, float]:
    """The smallest and the largest number that a column may hold."""
    low, high = spec.get("low"), spec.get("high")
    return -_LARGEST if low is None else max(low, -_LARGEST), _LARGEST if high is None else min(high, _LARGEST)


def _few_cells(
    cells: Sequence[Any], spec: Spec, read: Callable[[Any], tuple[float, ...] | None]
) -> list[Floats] | None:
    """The numbers of each feature of a column, shape (n,); None where its cells must be read together."""
    present = {type(cell) for cell in cells if not _is_missing(cell)}
    readable = (str, int, float) if spec["kind"] == "number" else (str, int, date, datetime, pd.Timestamp)
    if len(present) > 1 or not present.issubset(readable):
        return None
    missing = (np.nan,) * len(names(spec))
    number = spec["kind"] == "number"
    low, high = _range(spec) if number else (0.0, 0.0)
    plain, nothing = number and not (_is_coded(spec) or _is_marked(spec)), _numbers_in(tuple(spec["missing"]))
    parts = []
    for cell in cells:
        if _is_missing(cell):
            parts.append(missing)
        elif plain and (type(cell) is not str or (cell.isascii() and _PLAIN.fullmatch(cell))):
            number = float(cell)
            if not low <= number <= high:
                return None
            parts.append((number,) if number not in nothing else missing)
        elif (part := read(cell)) is None:
            return None
        else:
            parts.append(part)
    return [np.array(part) for part in zip(*parts, strict=True)]


def _is_marked(spec: Spec) -> bool:
    """Whether numbers as text are written as a country or a cashier does."""
    return any(map(spec.get, ("decimal", "thousands", "money")))


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _read_cell(spec: Spec, cell: Any) -> tuple[float, ...] | None:
    """The number of each feature that a cell becomes; None where it breaks a rule, or Arrow does not take it."""
    try:
        typed, faults = convert(pa.array([cell]), spec)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None
    if faults:
        return None
    pairs = _numbers(typed, spec).values()
    return tuple(float((values if row is None else values[row])[0]) for values, row in pairs)


def _plain_numbers(values: pa.Array, spec: Spec) -> pa.Array:
    """Write numbers as a program does, where the marks of a country or a currency are declared; null if misplaced."""
    decimal, thousands, money = spec.get("decimal"), spec.get("thousands"), spec.get("money")
    point = re.escape(decimal or ".")
    blank, part = r"[\s\x{a0}\x{202f}]", ""
    if money:
        sign = re.escape(money)
        values = pc.replace_substring_regex(values, rf"^([+-]?){blank}*{sign}{blank}*|{blank}*{sign}$", r"\1")
    if thousands:
        part = blank if thousands.isspace() else re.escape(thousands)
        part = rf"\d{{1,3}}({part}\d{{3}})+|"
    fits = pc.match_substring_regex(values, rf"^[+-]?({part}\d+)?({point}\d*)?([eE][+-]?\d+)?$")
    values = pc.if_else(fits, values, None)
    if thousands:
        values = pc.replace_substring_regex(values, blank if thousands.isspace() else re.escape(thousands), "")
    return values if decimal in (None, ".") else pc.replace_substring(values, decimal, ".")


def _date(values: pa.Array, spec: Spec) -> tuple[pa.Array, Faults]:
    written, zone = spec.get("format"), spec.get("zone")
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        dates = _local(values, zone)
    elif not _is_text(values.type):  # a bare number is no date: 20240131 could be anything
        dates = pa.nulls(len(values), pa.timestamp("us"))
    else:
        dates = _local(_iso(values, zone) if written is None else _parsed(values, written, zone))
    faults = {"date": _lost(values, dates)}
    if ends := {end: _microseconds(spec[end]) for end in ("low", "high") if spec.get(end) is not None}:
        number = pc.cast(dates, pa.int64())
        early = pc.less(number, ends.get("low", -(2**63)))
        late = pc.greater_equal(number, ends["high"] + _DAY_MICROSECONDS if "high" in ends else 2**63 - 1)
        faults["range"] = _true(pc.or_(early, late))
    return dates, faults


def _microseconds(day: str) -> int:
    """A day, as ISO 8601 writes it, in microseconds from 1970."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * _DAY_MICROSECONDS


def _local(values: pa.Array, zone: str | None = None) -> pa.Array:
    """Dates as the clock on the ward shows them, since nights are counted there; null where too far off."""
    if getattr(values.type, "tz", None):
        values = pc.local_timestamp(pc.cast(values, pa.timestamp(values.type.unit, zone)) if zone else values)
    if getattr(values.type, "unit", None) == "ns":
        return pc.cast(values, pa.timestamp("us"), safe=False)
    first, last = (pa.scalar(day, values.type) for day in (_FIRST_DAY, _LAST_DAY))
    ends = pc.min_max(values)
    if pc.and_(pc.greater_equal(ends["min"], first), pc.less_equal(ends["max"], last)).as_py():
        return pc.cast(values, pa.timestamp("us"))
    inside = pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))
    return pc.cast(pc.if_else(inside, values, None), pa.timestamp("us"))


def _iso(values: pa.Array, zone: str | None) -> pa.Array:
    try:
        return pc.cast(values, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return _parsed(values, "ISO8601", zone)


def _parsed(values: pa.Array, written: str, zone: str | None) -> pa.Array:
    """Dates as they are written; with a zone, those that tell their offset from UTC as the clock there shows them."""
    offset = pc.match_substring_regex(values, _OFFSET) if zone else None
    if offset is not None and pc.any(offset).as_py():
        moments = pc.replace_substring_regex(pc.if_else(offset, values, None), _OFFSET, r"\1\3").to_pandas()
        moments = pd.to_datetime(
            moments, format=re.sub(r"\s*%z", "%z", written), errors="coerce", utc=True
        ).dt.tz_convert(zone)
        there = pa.Array.from_pandas(moments.dt.tz_localize(None), type=pa.timestamp("us"), safe=False)
        return pc.if_else(pc.fill_null(offset, fill_value=False), there, _parsed(values, written, None))
    iso = written == "ISO8601"
    values = pc.if_else(pc.match_substring_regex(values, _ISO if iso else r"\d"), values, None)  # not "today", "now"
    if iso or "%z" in written:
        values, written = pc.replace_substring_regex(values, _OFFSET, r"\1"), re.sub(r"\s*%z", "", written)
    dates = pd.to_datetime(values.to_pandas(), format=written, errors="coerce", utc=True).dt.tz_localize(None)
    return pa.Array.from_pandas(dates, type=pa.timestamp("us"), safe=False)


def _text(values: pa.Array, *, identifies: bool = False) -> tuple[pa.Array, Faults]:
    """Categories as a dictionary of text, white space folded; a whole number reads as it would from a CSV."""
    if pa.types.is_nested(values.type):
        return pa.nulls(len(values), pa.string()).dictionary_encode(), {"text": _lost(values, pa.nulls(len(values)))}
    if pa.types.is_floating(values.type) and _is_whole(values):
        values = pc.cast(values, pa.int64())
    tidy = pc.replace_substring_regex(pc.utf8_trim_whitespace(pc.cast(values, pa.string())), r"\s+", " ")
    broken = {"text": pc.match_substring(tidy, "\0")}
    if identifies:
        broken["scientific"] = pc.match_substring_regex(tidy, _SCIENTIFIC)
    faults = {rule: _true(cells) for rule, cells in broken.items() if pc.any(cells).as_py()}
    for cells in faults.values():
        tidy = pc.if_else(pa.array(cells), None, tidy)
    return tidy.dictionary_encode(), faults


def _numbers(values: pa.Array, spec: Spec) -> dict[str, Numbers]:
    if "levels" in spec:
        return {spec["role"]: _codes(values, spec["levels"], spec["spelling"])}
    if spec["kind"] != "date":
        return {spec["role"]: (values.to_numpy(zero_copy_only=False), None)}
    parts, row = _calendar(values)
    return {name: (numbers, row) for name, numbers in zip(names(spec), parts, strict=True)}


def _codes(values: pa.Array, levels: Sequence[str | None], spelling: str) -> tuple[Floats, NDArray[np.integer]]:
    """The codes of a dictionary's levels with NaN for missing at the end, and which of them each row has."""
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    code = _code_of(tuple(levels), spelling)
    present = values.dictionary.to_pylist()
    numbers = [np.nan if level is None else code.get(key(level, spelling), UNSEEN) for level in present]
    return np.array([*numbers, np.nan]), _rows(values.indices, len(present))


@lru_cache
def _code_of(levels: tuple[str | None, ...], spelling: str) -> dict[str, float]:
    return {key(level, spelling): float(code) for code, level in enumerate(levels) if level is not None}


def _calendar(dates: pa.Array) -> tuple[list[Floats], NDArray[np.integer]]:
    """The parts of every day from the first to the last with NaN for missing at the end, and which each row has."""
    days = pc.cast(pc.cast(dates, pa.date32(), safe=False), pa.int32())
    ends = pc.min_max(days).as_py()
    first, last = (0, -1) if ends["min"] is None else (ends["min"], ends["max"])
    day = np.arange(first, last + 1)
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; 0 = Monday
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype("int64") % 12 + 1
    parts = [np.append(part.astype(float), np.nan) for part in (day, weekday, month)]
    return parts, _rows(pc.subtract(days, first), len(day))


def _rows(indices: pa.Array, missing: int) -> NDArray[np.integer]:
    """Indices as numpy takes them; one that is null becomes ``missing``."""
    filled = pc.fill_null(pc.cast(indices, pa.int64()), missing) if indices.null_count else indices
    return np.asarray(filled.to_numpy(zero_copy_only=False))


def _threshold(interval: Spec, numbers: Mapping[str, Numbers]) -> float | Floats:
    """The threshold of an interval; of each row, shape (n,), by a column; of each label, shape (1, n_labels)."""
    everyone, by = float(interval["thresholds"]["all"]), interval["by"]
    if by is None:
        return everyone
    thresholds = [everyone if own is None else own for own in interval["thresholds"]["levels"]]
    if by.get("label"):
        return np.array([thresholds])
    values, row = numbers[by["role"]]
    if by["edges"] is None:
        level = np.nan_to_num(values, nan=UNSEEN).astype(int)
    else:
        level = np.where(np.isnan(values), -1, np.searchsorted(by["edges"], values, side="right"))
    level = level if row is None else level[row]
    return np.asarray(np.array([*thresholds, everyone])[level])  # -1, unseen or missing, is the last


def _joined(inside: NDArray[np.bool_], labels: Sequence[str]) -> pa.Array:
    """The labels of each row, joined by ``|``; one that holds it, or begins with a quote, is quoted as in CSV."""
    quoted = ['"' + label.replace('"', '""') + '"' if "|" in label or label[:1] == '"' else label for label in labels]
    texts = [pc.if_else(pa.array(inside[:, i]), label, None) for i, label in enumerate(quoted)]
    return pc.binary_join_element_wise(*texts, "|", null_handling="skip")


def _cast_text(values: pa.Array, kind: pa.DataType, fits: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Cast in one pass where every cell is good, and only else find the ones that are not."""
    try:
        return pc.cast(values, kind)
    except pa.ArrowInvalid:
        return pc.cast(pc.if_else(fits(values), values, None), kind)


def _lost(before: pa.Array, after: pa.Array) -> NDArray[np.bool_]:
    """Cells that hold something before and nothing after."""
    if before.null_count == after.null_count:
        return np.zeros(len(before), dtype=bool)
    return _true(pc.and_(before.is_valid(), after.is_null()))


def _true(tests: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(tests, fill_value=False).to_numpy(zero_copy_only=False))


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

    class ServedScorer(PythonModel):
        """The scorer as an MLflow model."""

        def load_context(self, context: Any) -> None:
            """Load the scorer from the model's artifacts."""
            self.scorer = load(Path(context.artifacts["scorer"]))

        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
            """Score raw admissions; see `Scorer.predict`."""
            del context, params
            return self.scorer.predict(model_input)

    set_model(ServedScorer())


if __name__.startswith("code_model_"):  # the name under which MLflow runs the file of a model written as code
    _set_as_mlflow_model()
