"""Where does a table lie: in a file, behind an address, or in a database that is told how to order its rows?"""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid, SourceUnreadable
from hi_ml.app.files import scheme_of
from hi_ml.app.passwords import refuse_passwords

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")  # a name that needs no quotes
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_READERS = ("meds", "omop")  # of folders that are laid out as a standard says
_SERVER = re.compile(r"(postgres(ql)?|sqlite|duckdb|mysql|mariadb|mssql|oracle)(\+\w+)?://")


@dataclass(frozen=True, config=STRICT)
class Database:
    """A table of a database, or what a query finds there."""

    url: str  # postgresql://user@host/db, sqlite:///file, duckdb:///file, or as SQLAlchemy takes it; without a password
    table: str | None = None  # with its schema, if it has one: public.admissions
    query: str | None = None
    order_by: list[str] = Field(default_factory=list)  # columns; a database keeps its rows in no order
    password_from: str | None = None  # the environment variable that holds the password

    def __post_init__(self) -> None:
        """Check what no single key can show to be wrong."""
        refuse_passwords(self.url, key="url")
        if not _SCHEME.match(self.url):
            raise ValueError("url: expected postgresql://user@host/db, sqlite:///<file> or duckdb:///<file>")
        if (self.table is None) == (self.query is None):
            raise ValueError("expected table: <name> or query: <select ...>, one of them")

    @property
    def address(self) -> str:
        """All of it in one line, as manifests name it and `at` takes it back.

        Raises
        ------
        ConfigurationInvalid
            If nothing orders the rows.
        """
        if not self.order_by:
            raise ConfigurationInvalid.unordered(self.url)
        parts = {"table": self.table, "query": self.query, "password_from": self.password_from}
        named = [(key, value) for key, value in parts.items() if value is not None]
        return f"{self.url}#{urlencode([*named, *(('order_by', column) for column in self.order_by)])}"

    @property
    def shown(self) -> str:
        """What a sentence calls it."""
        return f"{self.url} ({self.table or 'query'})"

    @classmethod
    def at(cls, address: str) -> "Database":
        """Take an address apart.

        Raises
        ------
        ConfigurationInvalid
            If it is no whole one: of which table, in which order?
        """
        url, _, rest = address.rpartition("#")
        parts = parse_qs(rest)
        if not url or not parts.get("order_by"):
            raise ConfigurationInvalid.unordered(address)
        single = {key: parts[key][0] for key in ("table", "query", "password_from") if key in parts}
        return cls(url=url, order_by=parts["order_by"], **single)

    def where(self, column: str, value: str, *, order_by: str) -> "Database":
        """Return the rows of the table that hold a value in a column."""
        parts = str(self.table).split(".")
        table = ".".join(part if _PLAIN.fullmatch(part) else f'"{part}"' for part in parts)
        query = f"SELECT * FROM {table} WHERE {column} = '{value}'"  # noqa: S608 -- the owner's own table
        return replace(self, table=None, query=query, order_by=[order_by])

    def password(self) -> str | None:
        """Read the password from where it is kept.

        Raises
        ------
        ConfigurationInvalid
            If there is no such variable.
        """
        if self.password_from is None:
            return None
        name = self.password_from.removeprefix("env ").strip()
        if name not in os.environ:
            raise ConfigurationInvalid.no_variable("password_from", name)
        return os.environ[name]


def _kind(value: object) -> str:
    return "database" if isinstance(value, Mapping | Database) else "path"


def _of_standard(value: object) -> object:
    """Write a folder that is read as a standard says, and how, in one line: ``meds:<path>#cut=before``."""
    if not isinstance(value, Mapping) or "reader" not in value:
        return value
    said = {key: word for key, word in value.items() if word is not None}
    reader, path = said.pop("reader"), said.pop("path", None)
    if reader not in _READERS:
        raise ValueError(f"reader: expected {' or '.join(_READERS)}, found {reader}")
    if not path:
        raise ValueError(f"reader: {reader} needs path: <folder>")
    return f"{reader}:{path}#{urlencode(said, doseq=True)}"


# A path, a glob, an address, a folder that is laid out as a standard says, or a database.
Location = Annotated[
    Annotated[str, Field(min_length=1), Tag("path")] | Annotated[Database, Tag("database")],
    Discriminator(_kind),
    BeforeValidator(_of_standard),
]


def address_of(location: Any) -> str:
    """Return a location in one line; raises as `Database.address`."""
    return location.address if isinstance(location, Database) else str(location)


def way_of(address: str) -> tuple[str, dict[str, list[str]]]:
    """Take apart the address of a standard's folder, or its path: where it is, and each key of how it is read."""
    path, _, rest = address.partition("#")
    reader, colon, behind = path.partition(":")
    if colon and reader in _READERS and (scheme := scheme_of(behind)):
        raise SourceUnreadable.scheme(scheme)
    return (behind if colon and reader in _READERS else path), parse_qs(rest)


def in_the_way_of(other: str, folder: str) -> str:
    """Return the address under which a folder is read as that of another address is."""
    reader, colon, rest = other.partition(":")
    if not colon or reader not in _READERS:
        return folder
    return f"{reader}:{folder}#{rest.partition('#')[2]}"


def is_database(address: str) -> bool:
    """Tell whether an address is that of a database: it says how rows are ordered, or begins as only one does."""
    return "order_by=" in address.rpartition("#")[2] or bool(_SERVER.match(address))
