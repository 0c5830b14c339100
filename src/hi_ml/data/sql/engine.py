"""Who adds up a table that stays where it is: DuckDB, PostgreSQL or Spark, and what each calls the few things asked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from hi_ml.app.errors import EngineRefused, HiMlError, SourceUnreadable
from hi_ml.data.location import Database, way_of
from hi_ml.data.schema import Dataset
from hi_ml.data.sources import dialects, files, spark
from hi_ml.data.sources.database import speaking, table_or_query
from hi_ml.data.sources.pieces import is_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EngineName = Literal["local", "sql", "spark"]
_VIEW = "admissions_of_hi_ml"
_COMPRESSED = (".zip", ".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class Words:
    """What an engine calls what is asked of it."""

    days: str  # between two dates
    digest: str  # 64 bits of an expression and a number
    both: str  # of two digests, from which either is got back
    whole: str  # the nearest whole number, the even one of two, as numpy rounds
    double: str
    text_type: str
    parsed: str  # a text as a number, if it is one; empty where the engine has no such word
    kept: str = "MATERIALIZED "  # in front of a part of a query that is computed once
    quote: str = '"'
    backslash: str = "\\"  # as it stands in a text

    def quoted(self, name: str) -> str:
        """Quote a name."""
        mark = self.quote
        return f"{mark}{name.replace(mark, 2 * mark)}{mark}"

    def text(self, value: object) -> str:
        """Write a value as a literal."""
        if isinstance(value, int | float):
            return repr(value)
        return "'" + str(value).replace("\\", self.backslash).replace("'", "''") + "'"

    def among(self, expression: str, values: Sequence[object]) -> str:
        """Say that an expression is one of some values."""
        return f"{expression} IN ({', '.join(map(self.text, values))})"


_DUCKDB = Words(
    days="date_diff('day', CAST({0} AS DATE), CAST({1} AS DATE))",
    digest="hash({0}, {1})",
    both="xor({0}, {1})",
    whole="round_even({0}, 0)",
    double="DOUBLE",
    text_type="VARCHAR",
    parsed="TRY_CAST({0} AS DOUBLE)",
)
_POSTGRESQL = Words(
    days="(CAST({1} AS date) - CAST({0} AS date))",
    digest="hash_record_extended(ROW({0}), {1})",
    both="({0} # {1})",
    whole="round({0})",
    double="double precision",
    text_type="text",
    parsed="",
)
_SPARK = Words(
    days="datediff({1}, {0})",
    digest="xxhash64({0}, {1})",
    both="({0} ^ {1})",
    whole="rint({0})",
    double="DOUBLE",
    text_type="STRING",
    parsed="TRY_CAST({0} AS DOUBLE)",
    kept="",
    quote="`",
    backslash="\\\\",
)


@dataclass(frozen=True)
class Cell:
    """A column, as it is asked for."""

    expression: str  # which returns the cells as `hi_ml.data.sources` reads them
    kind: pa.DataType
    number: str | None  # the same as a number in double precision, where it is stored as one

    @property
    def is_day(self) -> bool:
        """Whether it is stored as a date, or a moment of the ward's own clock."""
        return bool(pa.types.is_date(self.kind) or (pa.types.is_timestamp(self.kind) and self.kind.tz is None))


@dataclass(frozen=True)
class Engine:
    """A table, and who adds it up."""

    name: EngineName
    location: str  # as a sentence calls it
    schema: pa.Schema
    base: str  # what stands behind FROM
    cells: Mapping[str, Cell]
    words: Words
    ask: Callable[[str], pa.Table]  # runs a query about the table, which it calls ``t``


def open_engine(name: EngineName, dataset: Dataset, settings: Sequence[str]) -> Engine:
    """Open the source of a dataset, to be added up where it lies.

    Parameters
    ----------
    settings : sequence of str
        Of Spark, see `hi_ml.data.sources.spark.session`.

    Raises
    ------
    EngineRefused, SourceUnreadable, SparkFailed
        If this engine cannot take this source, there is none, or it does not answer.
    """
    source = dataset.source
    if source is None:
        raise EngineRefused.no_source(name)
    if isinstance(source, Database):
        return _of_spark_table(source, settings) if name == "spark" else _of_database(source)
    if way_of(source)[0] != source:
        raise EngineRefused.file(name, source)
    folder = Path(source).expanduser()
    paths = sorted(folder.rglob("*.parquet")) if folder.is_dir() else files.matching(source)
    if not paths:
        raise SourceUnreadable.absent(source, dataset.name, dataset.get)
    with files.refusing(source):
        parquet = files.peek(str(paths[0])).startswith(b"PAR1")
    absolute = [str(path.absolute()) for path in paths]
    if name == "spark" and parquet:
        return _of_spark_files(source, absolute, settings)
    if name == "spark" or not (parquet or _is_plain(absolute, dataset)):
        raise EngineRefused.file(name, source)
    return _of_files(source, absolute, None if parquet else dataset)


def _is_plain(paths: Sequence[str], dataset: Dataset) -> bool:
    """Tell whether DuckDB reads a CSV as it is."""
    utf_8 = dataset.encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
    return utf_8 and not any(path.endswith(_COMPRESSED) for path in paths)


def _of_database(database: Database) -> Engine:
    if database.url.partition("://")[0] not in ("postgres", "postgresql", "duckdb"):
        raise EngineRefused.database(database.shown)
    with speaking(database) as password:
        session: Any = dialects.connect(database.url, password)
    words = _DUCKDB if isinstance(session, dialects.Duckdb) else _POSTGRESQL

    def ask(statement: str) -> pa.Table:
        with speaking(database):
            return session.ask(statement)

    with speaking(database):
        return _engine(database.shown, session, table_or_query(database, session), words, ask)


def _of_files(source: str, paths: Sequence[str], written: Dataset | None) -> Engine:
    listed = f"[{', '.join(map(_DUCKDB.text, paths))}], union_by_name = true"
    base = f"read_parquet({listed})"
    if written is not None:
        marks = f"delim = {_DUCKDB.text(written.separator)}, quote = '\"', escape = '\"'"
        base = f"read_csv({listed}, all_varchar = true, header = true, strict_mode = true, {marks})"
    session = dialects.Duckdb.at(dialects.IN_MEMORY)

    def ask(statement: str) -> pa.Table:
        with _answering(source):
            return session.ask(statement)

    with _answering(source):
        return _engine(source, session, base, _DUCKDB, ask)


@contextmanager
def _answering(source: str) -> Iterator[None]:
    try:
        yield
    except (HiMlError, GeneratorExit):
        raise
    except Exception as error:  # whatever DuckDB, or Java, raises
        raise SourceUnreadable.format(source, str(error).strip().partition("\n")[0]) from error


def _engine(
    location: str,
    session: dialects.Postgresql | dialects.Duckdb,
    base: str,
    words: Words,
    ask: Callable[[str], pa.Table],
) -> Engine:
    schema, selection = session.columns(base)
    cells = {}
    for field in schema:
        expression, order = selection[field.name]
        stored = f"t.{session.quoted(field.name)}"
        decimal = is_text(field.type) and order == stored != expression  # which is read as text, to the last digit
        cells[field.name] = _cell(expression, field.type, words, decimal=decimal)
    return Engine("sql", location, schema, f"{base} AS t", cells, words, ask)


def _cell(expression: str, kind: pa.DataType, words: Words, *, decimal: bool) -> Cell:
    is_number = decimal or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return Cell(expression, kind, f"CAST({expression} AS {words.double})" if is_number else None)


def _of_spark_table(database: Database, settings: Sequence[str]) -> Engine:
    if not database.url.startswith("spark://"):
        raise EngineRefused.file("spark", database.shown)
    session = spark.session(settings)
    named = ".".join(map(_SPARK.quoted, str(database.table).split(".")))
    return _of_spark(database.shown, session, named if database.query is None else f"({database.query})")


def _of_spark_files(source: str, paths: Sequence[str], settings: Sequence[str]) -> Engine:
    session = spark.session(settings)
    with _answering(source):
        session.read.parquet(*paths).createOrReplaceTempView(_VIEW)
    return _of_spark(source, session, _VIEW)


def _of_spark(location: str, session: "SparkSession", base: str) -> Engine:
    def ask(statement: str) -> pa.Table:
        with _answering(location):
            return session.sql(statement).toArrow()

    cells, fields = {}, []
    for field in ask(f"SELECT * FROM {base} AS t LIMIT 0").schema:
        name, decimal = f"t.{_SPARK.quoted(field.name)}", pa.types.is_decimal(field.type)
        expression, kind = (f"CAST({name} AS STRING)", pa.string()) if decimal else (name, field.type)
        fields.append(field.with_type(kind))
        cells[field.name] = _cell(expression, kind, _SPARK, decimal=decimal)
    return Engine("spark", location, pa.schema(fields), f"{base} AS t", cells, _SPARK, ask)
