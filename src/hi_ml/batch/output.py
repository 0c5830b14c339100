"""How do chunks of answers become one file, and how does that file take the place of an older one?"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

SUFFIXES = (".csv", ".parquet")
_COMPRESSION = "snappy"
_ENCODING = {"row": "DELTA_BINARY_PACKED"}  # numbers that count up take next to no room


@contextmanager
def writing(path: Path, columns: pa.Schema) -> Iterator[Any]:
    """Give a writer of tables to a CSV or Parquet file: one row group a table.

    Parameters
    ----------
    path : Path
        Its suffix says which.
    columns : pyarrow.Schema

    Raises
    ------
    OSError
        If the disk is full.
    """
    if path.suffix == ".parquet":
        repeated = [field.name for field in columns if not pa.types.is_floating(field.type) and field.name != "row"]
        writer = pq.ParquetWriter(
            path, columns, compression=_COMPRESSION, use_dictionary=repeated or False, column_encoding=_ENCODING,
            write_statistics=list(_ENCODING),
        )  # fmt: skip
    else:
        writer = pv.CSVWriter(path, columns)
    try:
        yield writer
    except BaseException:
        with suppress(OSError):  # what stopped the writing would stop the end of it too
            writer.close()
        raise
    writer.close()
    on_disk(path)


def on_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
