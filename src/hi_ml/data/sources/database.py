"""What does a database hold, read once, in the order that its owner declares, a few rows at a time?"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hi_ml.app.errors import HiMlError, SourceUnreadable
from hi_ml.app.passwords import without_password
from hi_ml.data.digests import column_digest
from hi_ml.data.location import Database, is_database
from hi_ml.data.schema import Dataset
from hi_ml.data.sources import dialects, files
from hi_ml.data.sources.pieces import NO_ROWS, Piece, cut

_FILES = {"SQLite": (0, b"SQLite format 3\0"), "DuckDB": (8, b"DUCK")}  # where and how their files begin
_DIGESTED = {pa.bool_(): pa.int8(), pa.date32(): pa.timestamp("us")}  # as what a column is digested
_CHUNK = 1 << 16  # rows that are digested at once


@dataclass(frozen=True)
class DatabaseSource:
    """A table of a database, or what a query finds there, as it was when it was opened."""

    location: str
    database: Database
    session: dialects.Session
    schema: pa.Schema
    selection: dialects.Selection
    rows: int | None = None

    @staticmethod
    def opens(location: str, start: bytes) -> bool:
        """Tell whether the address is that of a server, or the first bytes those of a database's file."""
        return is_database(location) or _kind(start) is not None

    @classmethod
    def open(cls, location: str, _: Dataset) -> "DatabaseSource":
        """Connect, and ask for the columns.

        Raises
        ------
        SourceUnreadable
            If the database does not answer, or has no such table or column.
        ConfigurationInvalid
            If the address does not say which table, in which order.
        """
        if not is_database(location):
            kind = str(_kind(files.peek(location)))
            raise SourceUnreadable.database_file(location, kind, kind.lower())
        database = Database.at(location)
        with speaking(database) as password:
            session = dialects.connect(database.url, password)
            schema, selection = session.columns(table_or_query(database, session))
        if absent := [name for name in database.order_by if name not in selection]:
            raise SourceUnreadable.no_order(database.shown, absent[0], schema.names)
        return cls(location, database, session, schema, selection)

    def pieces(self, columns: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        """Read columns in the declared order; rows that it leaves tied come in the order of the other columns."""
        read = list(dict.fromkeys([*columns, *self.database.order_by]))
        selected = {name: self.selection[name][0] for name in read}
        keys = [self.selection[name][1] for name in dict.fromkeys([*self.database.order_by, *read])]
        last = 0
        with speaking(self.database):
            for batch in self.session.batches(selected, table_or_query(self.database, self.session), keys):
                row = np.arange(last + 1, last + batch.num_rows + 1)
                last += batch.num_rows
                if batch.num_rows and last > after:
                    yield Piece(pa.Table.from_batches([batch]).select(list(columns)), row, NO_ROWS)

    def sha256(self) -> str:
        """Return the digest of every cell, in order."""
        digest = hashlib.sha256("\n".join(self.schema.names).encode())
        for piece in cut(self.pieces(list(dict.fromkeys(self.schema.names))), _CHUNK, after=0):
            for column in piece.table.columns:
                cells = pc.cast(column, _DIGESTED.get(column.type, column.type))
                digest.update(column_digest(cells.combine_chunks()).encode())
        return digest.hexdigest()


def write(database: Database, rows: pa.RecordBatchReader, *, instead_of: tuple[str, str]) -> None:
    """Append rows to a table, in place of those that hold a value in a column, in one transaction.

    Raises
    ------
    SourceUnreadable
        If the database does not take them; then it is as it was.
    """
    with speaking(database) as password:
        session = dialects.connect(database.url, password, writes=True)
        with closing(session.connection):  # which takes back what was not committed
            session.write(str(database.table), rows, instead_of=instead_of)


@contextmanager
def speaking(database: Database) -> Iterator[str | None]:
    """Give the password of a database, and say in one sentence, and without it, what a driver says at length."""
    password = database.password()
    try:
        yield password
    except (HiMlError, GeneratorExit, MemoryError):
        raise
    except ImportError as error:
        raise SourceUnreadable.no_driver(database.shown, str(error.name)) from None
    except Exception as error:  # noqa: BLE001 -- whatever a server, a driver or a network raises
        reason = str(error)
        for secret in {password or "\0", quote(password or "\0", safe="")}:
            reason = reason.replace(secret, "***")
        raise SourceUnreadable.database(database.shown, without_password(reason)) from None


def _kind(start: bytes) -> str | None:
    return next((kind for kind, (at, magic) in _FILES.items() if start[at:].startswith(magic)), None)


def table_or_query(database: Database, session: dialects.Session) -> str:
    """Return what stands behind FROM."""
    if database.query is not None:
        return f"({database.query.strip().rstrip(';')})"
    return ".".join(map(session.quoted, str(database.table).split(".")))


SOURCE = DatabaseSource
