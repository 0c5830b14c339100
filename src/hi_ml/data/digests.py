"""Is this the same table, to the last cell?"""

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.scorer.serving import key


def column_digest(values: pa.Array) -> str:
    """Return the SHA-256 of the cells of a typed column, in whatever order they stand.

    Parameters
    ----------
    values : pyarrow.Array, shape (n,)
        float64, timestamp or text (plain or dictionary). How the cells are chunked or encoded does not matter.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    elif pa.types.is_temporal(values.type):
        values = pc.cast(values, pa.int64())
    distinct, count = pc.value_counts(values).flatten()
    order = pc.sort_indices(distinct)
    distinct = distinct.take(order)
    digest = hashlib.sha256(count.take(order).to_numpy().astype("<i8").tobytes())
    digest.update(np.packbits(distinct.is_null().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_string(distinct.type):
        lengths = pc.fill_null(pc.binary_length(distinct), 0)
        digest.update(lengths.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        joined = pc.binary_join(
            pa.ListArray.from_arrays(pa.array([0, len(distinct)], pa.int32()), pc.fill_null(distinct, "")), ""
        )
        digest.update(joined[0].as_buffer())
    else:
        digest.update(np.ascontiguousarray(pc.fill_null(distinct, 0).to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()


def table_digest(columns: Mapping[str, str], content: NDArray[np.uint64]) -> str:
    """Return the SHA-256 of a table from the digests of its columns, by role, in their order, and those of its rows."""
    text = "\n".join(f"{role} {digest}" for role, digest in columns.items())
    return hashlib.sha256(text.encode() + np.sort(content).astype("<u8").tobytes()).hexdigest()


def content_digests(columns: Mapping[str, pa.Array]) -> NDArray[np.uint64]:
    """Return 64 bits per row by which all its cells, as they are, can be told from others; shape (n,)."""
    table = pd.DataFrame({role: values.to_pandas() for role, values in columns.items()})
    return np.asarray(pd.util.hash_pandas_object(table, index=False), dtype=np.uint64)


def row_digests(table: pd.DataFrame, spelling: Mapping[str, str]) -> NDArray[np.uint64]:
    """Return 64 bits per row by which it is known again in another process, order or table.

    Parameters
    ----------
    table : DataFrame, shape (n, n_roles)
        Typed columns by role: numbers, dates or categories. The order of the columns does not matter.
    spelling : mapping of str to str
        Of the categories, see `hi_ml.scorer.serving.key`: which of two spellings of one category a table keeps may
        depend on its other rows.

    Returns
    -------
    array of uint64, shape (n,)
        Equal rows have equal digests; among a million different ones, two are equal with a chance of 3 in 100 million.

    Examples
    --------
    >>> table = pd.DataFrame({"age": [30.0, 31.0], "sex": pd.Categorical(["Female", "female "])})
    >>> other = pd.DataFrame({"sex": pd.Categorical(["FEMALE"]), "age": [30.0]})
    >>> bool(row_digests(table, {"sex": "case"})[0] == row_digests(other, {"sex": "case"})[0])
    True
    """
    roles = sorted(str(role) for role in table)
    columns = pd.DataFrame({role: _canonical(table[role], spelling.get(role, "exact")) for role in roles})
    return np.asarray(pd.util.hash_pandas_object(columns, index=False), dtype=np.uint64)


def _canonical(values: pd.Series, spelling: str) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        words = np.array([key(str(level), spelling) for level in values.cat.categories], dtype=object)
        code, distinct = pd.factorize(words)  # each is hashed once
        codes = np.append(code, -1)[values.cat.codes]
        return pd.Series(pd.Categorical.from_codes(codes, pd.Index(distinct)), index=values.index)
    if pd.api.types.is_datetime64_dtype(values):
        return values.astype("datetime64[us]")  # one instant has one number only in one unit
    return values + 0.0  # -0.0 is 0.0
