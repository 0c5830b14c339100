"""One spelling per category, and one code per cell."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.scorer.serving import comparable, key

_SIGNIFICANT = 6  # digits in which two copies of a number agree, whatever their last bits
_MOST_DIGITS = 300  # behind the point; the power of ten of more overflows


def one_spelling(
    values: pa.DictionaryArray, spelling: str, *, order: Callable[[str], Any] = str
) -> tuple[pa.DictionaryArray, int]:
    """Give all spellings of a category the one that most rows use.

    Parameters
    ----------
    values : pyarrow.DictionaryArray of text, shape (n,)
    spelling : {"exact", "case", "words"}
        What counts as the same category, see `hi_ml.scorer.serving.key`.
    order : callable
        By what the categories are sorted, each as it is written; alphabetically by default.

    Returns
    -------
    merged : pyarrow.DictionaryArray, shape (n,)
        The dictionary holds each category once, in order.
    merges : int
        How many spellings were given up.
    """
    written = values.dictionary.to_pylist()
    indices = pc.fill_null(values.indices, len(written)).to_numpy(zero_copy_only=False)
    rows = np.bincount(indices, minlength=len(written) + 1)
    code, labels = spelt(written, rows, spelling, order=order)
    codes = pa.array(code[indices], pa.int32(), mask=code[indices] < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(labels, pa.string())), int((code >= 0).sum()) - len(labels)


def spelt(
    written: Sequence[str], rows: NDArray[np.int64], spelling: str, *, order: Callable[[str], Any] = str
) -> tuple[NDArray[np.int64], list[str]]:
    """Give the spellings of a category, each in so many rows, the commonest of those that mean the same.

    Returns
    -------
    code : array of int64, shape (len(rows),)
        Place of each among the labels; -1 where no row has it, or none is written.
    labels : list of str
        In order.
    """
    spellings: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(written):
        if rows[i]:
            spellings[key(text, spelling)].append(i)
    commonest = {same: min(group, key=lambda i: (-rows[i], written[i])) for same, group in spellings.items()}
    sorted_keys = sorted(commonest, key=lambda same: order(written[commonest[same]]))
    code = np.full(len(rows), -1)
    for new, same in enumerate(sorted_keys):
        code[spellings[same]] = new
    return code, [written[commonest[same]] for same in sorted_keys]


def cell_codes(values: pa.Array) -> NDArray[np.int64]:
    """Number the cells of a typed column, as they appear, so that equal ones have equal numbers; missing is -1.

    Numbers are rounded to six significant digits and text is case-folded, because copies differ in such trifles.
    """
    if pa.types.is_dictionary(values.type):
        folded = np.array([comparable(text).casefold() for text in values.dictionary.to_pylist()], dtype=object)
        code = np.append(pd.factorize(folded)[0].astype(float), np.nan)
        indices = pc.fill_null(values.indices, len(folded)).to_numpy(zero_copy_only=False)
        return np.asarray(pd.factorize(code[indices])[0], dtype=np.int64)
    if pa.types.is_temporal(values.type):
        return np.asarray(pd.factorize(values.to_numpy(zero_copy_only=False))[0], dtype=np.int64)
    return np.asarray(pd.factorize(_significant(values.to_numpy(zero_copy_only=False)))[0], dtype=np.int64)


def folded(values: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return texts without that in which copies of one may differ: case, and how letters are composed."""
    texts = [None if text is None else comparable(text).casefold() for text in values.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(values.indices).dictionary_encode()


def _significant(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    magnitude = np.log10(np.abs(numbers), where=(numbers != 0) & np.isfinite(numbers), out=np.zeros(len(numbers)))
    scale = 10.0 ** np.minimum(_SIGNIFICANT - 1 - np.floor(magnitude), _MOST_DIGITS)
    return np.asarray(np.round(numbers * scale) / scale)
