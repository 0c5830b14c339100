"""Why did this row get its prediction? The largest contributions of its columns, in words."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.errors import ModelRefused
from hi_ml.scorer.contributions import contributions, owners, recalibrated, unit_of
from hi_ml.scorer.serving import Scorer, Spec, names

Floats = NDArray[np.float64]
Typed = Mapping[str, pa.Array]
_MISSING = "missing"  # the value of a cell without one
_DIGITS = 2  # significant ones of a contribution, and all of a whole number
_SMALLEST = 1e-4  # a contribution below is written with an exponent
_EXACT = 1e15  # a whole number below is written in full


def reasons(scorer: Scorer, matrix: Floats, typed: Typed, count: int) -> dict[str, pa.Array]:
    """Name what moved each prediction most, largest first.

    The contributions are exact Shapley values (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9); those of the
    columns that the encoding made of one source column are added up. They are in the task's unit; for classes they
    speak of the predicted label, in log-odds or, where probabilities are averaged and not recalibrated, in share.
    Contributions to a logarithm are given as what they multiply the prediction by (of counts that may be 0: one more
    than it), and the product of them all and of what every row begins with is the prediction.

    Parameters
    ----------
    matrix : array of float64, shape (n, n_encoded)
        As `Scorer.encode` makes it.
    typed : mapping of str to pyarrow.Array, shape (n,)
        By role, as `Scorer.read` makes it.
    count : int
        How many each row gets.

    Returns
    -------
    dict of str to pyarrow.Array, shape (n,)
        ``reason_1``...: such as ``admission_type=Emergency (+2.1 days)``, of a logarithm ``(×1.3 days)``; null where
        no column is left that moved it.

    Raises
    ------
    ModelRefused
        If nothing computes the learner's contributions exactly.
    """
    titles = [f"reason_{rank + 1}" for rank in range(count)]
    if not len(matrix):
        return dict.fromkeys(titles, pa.array([], pa.string()))
    roles, moved = _by_role(scorer, matrix)
    specs = {spec["role"]: spec for spec in scorer.mapping["columns"]}
    texts, text = _values(typed, [specs[role] for role in roles])
    order = np.argsort(-np.abs(moved), axis=1, kind="stable")[:, :count]
    text = text[order, np.arange(len(order))[:, None]]
    moved, in_words = np.take_along_axis(moved, order, axis=1), _factor if scorer.mapping.get("scale") else _amount
    amounts, amount = _amounts(moved, _unit(scorer), in_words)
    pairs, pair = _distinct(text * len(amounts) + amount)
    first, second = (pa.array(part) for part in np.divmod(pairs, len(amounts)))
    words = pc.binary_join_element_wise(texts.take(first), amounts.take(second), "")  # each pair once
    columns = [words.take(pa.array(indices)) for indices in pair.T]
    columns += [pa.nulls(len(matrix), pa.string())] * (count - len(columns))
    return dict(zip(titles, columns, strict=True))


def _by_role(scorer: Scorer, matrix: Floats) -> tuple[list[str], Floats]:
    """The source columns, and what each moved the prediction by, shape (n, n_roles)."""
    mapping, encoder, learner = scorer.mapping, scorer.pipeline[0], scorer.pipeline[-1]
    centre = mapping.get("centre")
    exact = contributions(learner, matrix, centre=None if centre is None else np.array(centre))
    if exact is None:
        raise ModelRefused.no_reasons(type(learner).__name__)
    values, how = exact[0], mapping.get("recalibration")
    if how:
        shifts = [how["intercepts"][int(code)] for code in scorer.pipeline.classes_]
        values, _ = recalibrated(learner, matrix, exact[:2], slope=how["slope"], intercepts=shifts)
    role = {name: spec["role"] for spec in mapping["columns"] for name in names(spec)}
    owner = owners(encoder, mapping["features"], role)  # the columns of one source column stand side by side
    starts = [index for index, role_of in enumerate(owner) if not index or role_of != owner[index - 1]]
    return [owner[start] for start in starts], np.add.reduceat(_of_answer(scorer, matrix, values), starts, axis=1)


def _of_answer(scorer: Scorer, matrix: Floats, values: Floats) -> Floats:
    """The contributions, of all outputs, that speak of the answer: of an amount, or of the label that is predicted."""
    if scorer.mapping["kind"] == "regression":
        return np.asarray(values[0])
    likeliest = np.searchsorted(scorer.pipeline.classes_, scorer.probabilities(matrix).argmax(axis=1))
    if len(values) > 1:
        return np.asarray(values[likeliest, np.arange(len(matrix))])
    sign = np.where(likeliest == 1, 1.0, -1.0)[:, None]  # of two labels, the learner adds up one
    return np.asarray(sign * values[0])


def _unit(scorer: Scorer) -> str:
    if scorer.mapping["kind"] != "regression":
        return "log-odds" if scorer.mapping.get("recalibration") else unit_of(scorer.pipeline[-1])
    unit, scale = str(scorer.mapping["unit"]), scorer.mapping.get("scale")
    return f"({unit} + {scale['shift']:g})" if scale and scale["shift"] else unit


def _values(typed: Typed, specs: list[Spec]) -> tuple[pa.Array, NDArray[np.int64]]:
    """All that the columns hold, as ``role=value``, and which of it each column has in each row, shape (n_roles, n)."""
    texts: list[str] = []
    rows = []
    for spec in specs:
        values = typed[spec["role"]]
        if spec["kind"] == "date":
            values = pc.cast(values, pa.date32(), safe=False)
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        distinct = values.dictionary.to_pylist()
        indices = pc.fill_null(pc.cast(values.indices, pa.int64()), len(distinct))
        rows.append(len(texts) + indices.to_numpy(zero_copy_only=False))
        texts += [f"{spec['role']}={_value(value)}" for value in (*distinct, None)]
    return pa.array(texts, pa.string()), np.stack(rows)


def _value(value: Any) -> str:
    """One cell as a reader would write it: a number in few digits, a date as ISO."""
    if value is None:
        return _MISSING
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < _EXACT else f"{value:g}"


def _amount(value: float, unit: str) -> str:
    size = abs(value)
    decimals = max(_DIGITS - 1 - math.floor(math.log10(size)), 0)
    number = f"{value:+,.{decimals}f}" if size >= _SMALLEST else f"{value:+.{_DIGITS - 1}e}"
    return f" ({number} {unit})"


def _factor(value: float, unit: str) -> str:
    """What a contribution to a logarithm multiplies by, with as many digits as its distance from 1 needs."""
    factor = math.exp(value)
    decimals = max(_DIGITS - 1 - math.floor(math.log10(min(abs(factor - 1), factor))), 0)
    return f" (×{factor:,.{decimals}f} {unit})" if abs(value) >= _SMALLEST else f" (×1 {unit})"


def _amounts(
    moved: Floats, unit: str, in_words: Callable[[float, str], str] = _amount
) -> tuple[pa.Array, NDArray[np.integer]]:
    """Contributions in words, such as `` (+2.1 days)``, null where nothing was moved, and which of them each is."""
    size = np.abs(moved)
    decimals = np.maximum(_DIGITS - 1 - np.floor(np.log10(np.where(size > 0, size, 1))), 0)
    powers = 10.0 ** np.arange(decimals.max(initial=0) + 1)
    power = powers[decimals.astype(int)]
    distinct, index = _distinct(np.rint(moved * power) / power)
    return pa.array([in_words(value, unit) if value else None for value in distinct.tolist()], pa.string()), index


def _distinct(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.integer]]:
    """The distinct values, in no order, and which of them each one is."""
    encoded = pa.array(values.ravel()).dictionary_encode()  # hashed, which is sooner done than sorted
    return encoded.dictionary.to_numpy(), encoded.indices.to_numpy().reshape(values.shape)
