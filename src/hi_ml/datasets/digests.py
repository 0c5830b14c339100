"""Is this the same table, to the last cell?"""

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def column_digest(values: pa.Array) -> str:
    """Return the SHA-256 of every cell of a typed column.

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
    digest = hashlib.sha256(np.packbits(values.is_null().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_string(values.type):
        lengths = pc.fill_null(pc.binary_length(values), 0)
        digest.update(lengths.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        joined = pc.binary_join(
            pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), pc.fill_null(values, "")), ""
        )
        digest.update(joined[0].as_buffer())
    else:
        numbers = pc.fill_null(pc.cast(values, pa.int64()) if pa.types.is_temporal(values.type) else values, 0)
        digest.update(np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()


def table_digest(columns: Mapping[str, str]) -> str:
    """Return the SHA-256 of a table from the digests of its columns, by role, in their order."""
    text = "\n".join(f"{role} {digest}" for role, digest in columns.items())
    return hashlib.sha256(text.encode()).hexdigest()
