"""What does a Parquet file hold, a few row groups at a time?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.schema import Dataset
from hi_ml.data.sources import files
from hi_ml.data.sources.pieces import NO_ROWS, Piece, is_text

_BUFFER = 1 << 20  # bytes of a column that are read at once
_BATCH = 1 << 16  # rows that are decoded at once
_USUAL = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary(), pa.float16(): pa.float32()}
_BYTES_OF_A_CODE = 4  # at most; a text is longer, with its length


@dataclass(frozen=True)
class Parquet:
    """A Parquet file, of which the footer was read."""

    location: str
    schema: pa.Schema
    rows: int
    coded: frozenset[str]  # columns of text that are stored, and so read, as dictionaries

    @staticmethod
    def opens(_: str, start: bytes) -> bool:
        """Tell whether the first bytes are those of Parquet."""
        return start.startswith(b"PAR1")

    @classmethod
    def open(cls, location: str, dataset: Dataset) -> "Parquet":
        """Read the footer."""
        with files.refusing(location):
            footer = pq.read_metadata(location)
            groups = range(footer.num_row_groups)
            if sum(footer.row_group(group).total_byte_size for group in groups) > dataset.max_bytes:
                raise SourceUnreadable.too_large(location, dataset.max_bytes)
            schema = footer.schema.to_arrow_schema()
            coded = _coded(footer) & {field.name for field in schema if is_text(field.type)}
            return cls(location, schema, footer.num_rows, coded)

    def pieces(self, columns: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        """Read columns; of the rows up to ``after``, whole row groups are not read."""
        coded = sorted(self.coded.intersection(columns))
        with (
            files.refusing(self.location),
            pq.ParquetFile(self.location, read_dictionary=coded, buffer_size=_BUFFER, pre_buffer=False) as file,
        ):
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            starts = np.cumsum([0, *sizes])
            first = max(int(np.searchsorted(starts, after, "right")) - 1, 0)
            done = int(starts[first])
            for batch in file.iter_batches(_BATCH, row_groups=list(range(first, len(sizes))), columns=list(columns)):
                row = np.arange(done + 1, done + batch.num_rows + 1)
                done += batch.num_rows
                if done > after:
                    yield Piece(_usual(pa.Table.from_batches([batch]).select(columns)), row, NO_ROWS)


def _usual(table: pa.Table) -> pa.Table:
    """Take the usual kind for one with which Arrow cannot do everything."""
    kinds = [_USUAL.get(kind, kind) for kind in table.schema.types]
    return table if kinds == table.schema.types else table.cast(pa.schema(zip(table.column_names, kinds, strict=True)))


def _coded(footer: pq.FileMetaData) -> frozenset[str]:
    """Columns whose cells take too little room to be stored as anything but codes."""
    group = footer.row_group(0) if footer.num_row_groups else None
    chunks = [group.column(index) for index in range(group.num_columns)] if group else []
    return frozenset(
        chunk.path_in_schema for chunk in chunks if chunk.total_uncompressed_size < _BYTES_OF_A_CODE * chunk.num_values
    )


SOURCE = Parquet
