"""How does each kind of database say what it holds, cell by cell as a CSV of it would, and take what is written?"""

import atexit
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pyarrow as pa

ROWS = 1 << 16  # of a batch
IN_MEMORY = ":memory:"  # a DuckDB of no file
_MEMORY = "256MB"  # that DuckDB sorts in; what is more goes to its own temporary files
_SIMPLE = (pa.types.is_integer, pa.types.is_float64, pa.types.is_boolean, pa.types.is_date32, pa.types.is_timestamp)
Selection = Mapping[str, tuple[str, str]]  # by column: the expression that is read, and the one that orders


class Session(Protocol):
    """One connection, which sees the database as it was when it was opened, and changes nothing unless it is told."""

    connection: Any  # is closed when the session goes

    def quoted(self, name: str) -> str:
        """Quote the name of a column, or a part of a table's."""

    def columns(self, base: str) -> tuple[pa.Schema, Selection]:
        """Tell the columns of a table or a query in parentheses; a type that a CSV has not is read as text."""

    def batches(self, selected: Mapping[str, str], base: str, order: list[str]) -> Iterator[pa.RecordBatch]:
        """Read expressions by name, in order."""

    def write(self, table: str, rows: pa.RecordBatchReader, *, instead_of: tuple[str, str]) -> None:
        """Append rows to a table, made if absent, in place of those of a value, in one transaction."""


def connect(url: str, password: str | None, *, writes: bool = False) -> Session:
    """Open a session.

    Raises
    ------
    ImportError
        If its driver is not installed.
    Exception
        Whatever the driver raises.
    """
    scheme = url.split("://", maxsplit=1)[0]
    kind: Any = _KINDS.get(scheme, Otherwise)
    session: Session = kind.open(url, password, writes=writes)
    weakref.finalize(session, session.connection.close)
    return session


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Postgresql:
    """PostgreSQL by ADBC, which copies rows in binary form."""

    connection: Any
    quoted = staticmethod(_quoted)

    @classmethod
    def open(cls, url: str, password: str | None, *, writes: bool) -> "Postgresql":
        """Connect."""
        driver = import_module("adbc_driver_postgresql.dbapi")
        connection = driver.connect(url if password is None else _with_password(url, password))
        with connection.cursor() as cursor:
            access = "READ WRITE" if writes else "READ ONLY"
            cursor.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, {access}")
        connection.commit()
        return cls(connection)

    def columns(self, base: str) -> tuple[pa.Schema, Selection]:
        """See `Session`."""
        with self.connection.cursor() as cursor:
            schema = cursor.adbc_execute_schema(f"SELECT * FROM {base} AS t")
        fields, selection = [], {}
        for field in schema:
            name, kind = _quoted(field.name), (field.metadata or {}).get(b"POSTGRESQL:type")
            text = f"CAST(t.{name} AS text)"
            if kind == b"money":
                text = f"CAST(CAST(t.{name} AS numeric) AS text)"
            simple = any(is_one(field.type) for is_one in _SIMPLE) and kind != b"money"
            numeric = simple or kind in (b"numeric", b"float4", b"money")
            fields.append(pa.field(field.name, field.type if simple else pa.string()))
            selection[field.name] = (f"t.{name}" if simple else text, f"t.{name}" if numeric else f'{text} COLLATE "C"')
        return pa.schema(fields), selection

    def batches(self, selected: Mapping[str, str], base: str, order: list[str]) -> Iterator[pa.RecordBatch]:
        """See `Session`."""
        with self.connection.cursor() as cursor:
            cursor.execute(_select(selected, base, order))
            yield from cursor.fetch_record_batch()

    def ask(self, statement: str) -> pa.Table:
        """Run a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetch_arrow_table()

    def write(self, table: str, rows: pa.RecordBatchReader, *, instead_of: tuple[str, str]) -> None:
        """See `Session`."""
        _ingest(self.connection, table, rows, instead_of, "$1")


@dataclass(frozen=True)
class Sqlite:
    """A SQLite file by ADBC."""

    connection: Any
    quoted = staticmethod(_quoted)

    @classmethod
    def open(cls, url: str, _: str | None, *, writes: bool) -> "Sqlite":
        """Open the file; only for writing is it created."""
        driver = import_module("adbc_driver_sqlite.dbapi")
        path = _path(url, must_exist=not writes)
        return cls(driver.connect(f"file:{quote(str(path))}?mode={'rwc' if writes else 'ro'}"))

    def columns(self, base: str) -> tuple[pa.Schema, Selection]:
        """See `Session`: a column is what its cells are, for any cell may be of any type."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {base} AS t LIMIT 0")
            names = cursor.fetch_arrow_table().schema.names
            kinds = ", ".join(f"group_concat(DISTINCT typeof(t.{_quoted(name)}))" for name in names)
            cursor.execute(f"SELECT {kinds} FROM {base} AS t")
            (found,) = cursor.fetchall()
        fields, selection = [], {}
        for name, listed in zip(names, found, strict=True):
            kind, expression = _of_cells(f"t.{_quoted(name)}", set((listed or "").split(",")) - {"", "null"})
            fields.append(pa.field(name, kind))
            selection[name] = (expression, _quoted(name))
        return pa.schema(fields), selection

    def batches(self, selected: Mapping[str, str], base: str, order: list[str]) -> Iterator[pa.RecordBatch]:
        """See `Session`; a first row that is none of the table's tells the driver the types of all."""
        first = ", ".join(f"{_of_type(expression)} AS {_quoted(name)}" for name, expression in selected.items())
        rest = ", ".join(f"{expression} AS {_quoted(name)}" for name, expression in selected.items())
        union = f"SELECT 0 AS first_, {first} UNION ALL SELECT 1, {rest} FROM {base} AS t"
        names = ", ".join(map(_quoted, selected))
        keys = ", ".join(f"{key} NULLS LAST" for key in order)
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {names} FROM ({union}) ORDER BY first_, {keys}")
            skip = 1
            for batch in cursor.fetch_record_batch():
                yield batch.slice(skip)
                skip = 0

    def write(self, table: str, rows: pa.RecordBatchReader, *, instead_of: tuple[str, str]) -> None:
        """See `Session`."""
        _ingest(self.connection, table, rows, instead_of, "?")


@dataclass(frozen=True)
class Duckdb:
    """A DuckDB file."""

    connection: Any
    quoted = staticmethod(_quoted)

    @classmethod
    def open(cls, url: str, _: str | None, *, writes: bool) -> "Duckdb":
        """Open the file; only for writing is it created."""
        return cls.at(str(_path(url, must_exist=not writes)), writes=writes)

    @classmethod
    def at(cls, path: str, *, writes: bool = False) -> "Duckdb":
        """Open a file, or ``:memory:``."""
        duckdb = import_module("duckdb")
        spill = tempfile.mkdtemp(prefix="hi_ml.")  # where it sorts what is large: beside the file it may not
        atexit.register(shutil.rmtree, spill, ignore_errors=True)
        settings = {"memory_limit": _MEMORY, "temp_directory": spill, "threads": "1"}
        connection = duckdb.connect(path, read_only=not writes and path != IN_MEMORY, config=settings)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("BEGIN TRANSACTION")
        return cls(connection)

    def columns(self, base: str) -> tuple[pa.Schema, Selection]:
        """See `Session`."""
        schema = self.connection.sql(f"SELECT * FROM {base} AS t LIMIT 0").to_arrow_reader(1).schema
        fields, selection = [], {}
        for field in schema:
            name = f"t.{_quoted(field.name)}"
            simple = any(is_one(field.type) for is_one in _SIMPLE)
            numeric = simple or pa.types.is_decimal(field.type) or pa.types.is_floating(field.type)
            text = f"CAST({name} AS VARCHAR)"
            fields.append(pa.field(field.name, field.type if simple else pa.string()))
            selection[field.name] = (name if simple else text, name if numeric else text)
        return pa.schema(fields), selection

    def batches(self, selected: Mapping[str, str], base: str, order: list[str]) -> Iterator[pa.RecordBatch]:
        """See `Session`."""
        yield from self.connection.sql(_select(selected, base, order)).to_arrow_reader(ROWS)

    def ask(self, statement: str) -> pa.Table:
        """Run a query."""
        return self.connection.sql(statement).to_arrow_table()

    def write(self, table: str, rows: pa.RecordBatchReader, *, instead_of: tuple[str, str]) -> None:
        """See `Session`."""
        name, (key, value) = _table(table), instead_of
        self.connection.register("rows_to_write", rows)
        columns = ", ".join(map(_quoted, rows.schema.names))
        self.connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS SELECT * FROM rows_to_write LIMIT 0")
        self.connection.execute(f"DELETE FROM {name} WHERE {_quoted(key)} = ?", [value])
        self.connection.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM rows_to_write")
        self.connection.execute("COMMIT")


@dataclass(frozen=True)
class Otherwise:
    """Any other database that SQLAlchemy has a driver for."""

    connection: Any

    @classmethod
    def open(cls, url: str, password: str | None, *, writes: bool) -> "Otherwise":
        """Connect, in a transaction of which all statements see the same, where the database has such."""
        import sqlalchemy  # noqa: PLC0415 -- only such a database pays for it

        address = sqlalchemy.make_url(url)
        engine = sqlalchemy.create_engine(
            address if password is None else address.set(password=password), poolclass=sqlalchemy.NullPool
        )
        connection = engine.connect()
        levels = connection.dialect.get_isolation_level_values(connection.connection.dbapi_connection)  # type: ignore[arg-type]
        steady = next((level for level in ("REPEATABLE READ", "SNAPSHOT", "SERIALIZABLE") if level in levels), None)
        if steady and not writes:
            connection = connection.execution_options(isolation_level=steady)
        return cls(connection.execution_options(stream_results=True, yield_per=ROWS))

    def columns(self, base: str) -> tuple[pa.Schema, Selection]:
        """See `Session`; types are those of the first rows."""
        with closing(self._execute(f"SELECT * FROM {base} t")) as result:
            names = list(result.keys())
            some = _batch(names, next(iter(result.partitions(ROWS)), []))
        return some.schema, {name: (f"t.{self.quoted(name)}", f"t.{self.quoted(name)}") for name in names}

    def batches(self, selected: Mapping[str, str], base: str, order: list[str]) -> Iterator[pa.RecordBatch]:
        """See `Session`."""
        listed = ", ".join(f"{expression} AS {self.quoted(name)}" for name, expression in selected.items())
        with closing(self._execute(f"SELECT {listed} FROM {base} t ORDER BY {', '.join(order)}")) as result:
            for rows in result.partitions(ROWS):
                yield _batch(list(selected), rows)

    def write(self, table: str, rows: pa.RecordBatchReader, *, instead_of: tuple[str, str]) -> None:
        """See `Session`."""
        from sqlalchemy import Column, MetaData, Table, Text, inspect  # noqa: PLC0415 -- as above

        schema, _, name = table.rpartition(".")
        if inspect(self.connection).has_table(name, schema or None):
            key, value = instead_of
            held = Table(name, MetaData(), Column(key, Text), schema=schema or None)
            self.connection.execute(held.delete().where(held.c[key] == value))
        for batch in rows:
            batch.to_pandas().to_sql(name, self.connection, schema=schema or None, if_exists="append", index=False)
        self.connection.commit()

    def _execute(self, statement: str) -> Any:
        from sqlalchemy import text  # noqa: PLC0415 -- as above

        return self.connection.execute(text(statement.replace(":", r"\:")))

    def quoted(self, name: str) -> str:
        """See `Session`."""
        return str(self.connection.dialect.identifier_preparer.quote(name))


_KINDS = {"postgresql": Postgresql, "postgres": Postgresql, "sqlite": Sqlite, "duckdb": Duckdb}


def _table(name: str) -> str:
    return ".".join(map(_quoted, name.split(".")))


def _select(selected: Mapping[str, str], base: str, order: list[str]) -> str:
    listed = ", ".join(f"{expression} AS {_quoted(name)}" for name, expression in selected.items())
    return f"SELECT {listed} FROM {base} AS t ORDER BY {', '.join(f'{key} NULLS LAST' for key in order)}"


def _with_password(url: str, password: str) -> str:
    """Put the password behind the user of an address that is never shown."""
    scheme, _, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    user, _, host = server.rpartition("@")
    return f"{scheme}://{user}:{quote(password, safe='')}@{host}{slash}{path}"


def _path(url: str, *, must_exist: bool) -> Path:
    """The file of an address: three slashes before a relative path, four before another."""
    path = Path(url.split("://", 1)[1].removeprefix("/")).expanduser()
    if must_exist and not path.is_file():
        raise FileNotFoundError(f"no file at {path} (looked in {Path.cwd()})")
    return path.absolute()


def _of_cells(column: str, kinds: set[str]) -> tuple[pa.DataType, str]:
    """Tell what a column of SQLite is read as, by the types of its cells, and by which expression."""
    if kinds == {"integer"}:
        return pa.int64(), f"CAST({column} AS INTEGER)"
    if kinds and kinds <= {"integer", "real"}:
        return pa.float64(), f"CAST({column} AS REAL)"
    exact = f"CASE typeof({column}) WHEN 'real' THEN printf('%!.17g', {column}) WHEN 'blob' THEN hex({column}) ELSE "
    return pa.string(), column if kinds == {"text"} else f"{exact}CAST({column} AS TEXT) END"


def _of_type(expression: str) -> str:
    """A value of the type that an expression of `_of_cells` has."""
    return {"INTEGER)": "0", "REAL)": "0.0"}.get(expression.rpartition(" ")[2], "''")


def _ingest(connection: Any, table: str, rows: pa.RecordBatchReader, instead_of: tuple[str, str], mark: str) -> None:
    """Delete and append by ADBC, in one transaction."""
    schema, _, name = table.rpartition(".")
    key, value = instead_of
    with connection.cursor() as cursor:
        where: dict[str, Any] = {"db_schema_name": schema} if schema else {}
        empty = pa.RecordBatchReader.from_batches(rows.schema, [])
        cursor.adbc_ingest(name, empty, mode="create_append", **where)
        cursor.execute(f"DELETE FROM {_table(table)} WHERE {_quoted(key)} = {mark}", (value,))
        cursor.adbc_ingest(name, rows, mode="append", **where)
    connection.commit()


def _batch(names: list[str], rows: Any) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.RecordBatch.from_arrays([_cells(list(column)) for column in columns], names)


def _cells(values: list[Any]) -> pa.Array:
    """Cells of Python as Arrow; what no file could hold is text."""
    if any(isinstance(value, Decimal | memoryview) for value in values):
        values = [None if value is None else str(value) for value in values]
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array([None if value is None else str(value) for value in values], pa.string())
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array
