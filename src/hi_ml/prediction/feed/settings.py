"""How does the service listen, may it, and under which keys are numbers kept? Keys of ``conf/listen.yaml``."""

import hashlib
import hmac
import os
import ssl
from collections.abc import Callable
from datetime import UTC, tzinfo
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DIGITS = 16  # of 64: two of a million visits share them with a chance of 3 in 100 million


def _network(written: str) -> str:
    ip_network(written)
    return written


def _charset(name: str) -> str:
    try:
        b"".decode(name)
    except LookupError as error:
        raise ValueError("expected an encoding that Python knows, such as utf-8 or latin-1") from error
    return name


def _zone(name: str | None) -> str | None:
    try:
        return name and ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("expected a time zone such as Europe/Berlin") from error


Zone = Annotated[str | None, AfterValidator(_zone)]
Port = Annotated[int, Field(ge=0, lt=65536)]  # 0: whichever is free


@dataclass(frozen=True, config=STRICT)
class Tls:
    """Files in PEM; none of them, none is used."""

    cert: str | None
    key: str | None
    client_ca: str | None  # who signs the certificates of those that may connect; null: anyone may, without one

    def context(self, where: str) -> ssl.SSLContext | None:
        """Read the files.

        Raises
        ------
        ConfigurationInvalid
            If one is absent or none of its kind.
        """
        if self.cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.cert, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # an SSLError is one
            raise ConfigurationInvalid.no_certificate(where, str(error)) from error
        return context


@dataclass(frozen=True, config=STRICT)
class MllpSettings:
    """Where messages of HL7 v2 come in."""

    host: str
    port: Port
    max_bytes: Annotated[int, Field(ge=1024)]  # of a message; a longer one is refused
    connections: Annotated[int, Field(ge=1)]  # at one time; further ones are closed
    charset: Annotated[str, AfterValidator(_charset)]  # of messages that do not say theirs in MSH-18
    allow: list[Annotated[str, AfterValidator(_network)]]  # networks that may connect, as 10.1.2.0/24; none named: all
    tls: Tls

    def networks(self) -> list[IPv4Network | IPv6Network]:
        """The networks that may connect."""
        return [ip_network(each) for each in self.allow]


@dataclass(frozen=True, config=STRICT)
class HttpSettings:
    """Where the page is, and what FHIR resources are sent to."""

    host: str
    port: Port
    token_file: str | None  # holds a word that whoever asks has to know; on loopback none is needed
    streams: Annotated[int, Field(ge=1)]  # readers of /events at one time
    tls: Tls

    def token(self) -> str | None:
        """Read the word.

        Raises
        ------
        ConfigurationInvalid
            If there is none in the file.
        """
        return word_of("http.token_file", self.token_file)


def word_of(key: str, file: str | None) -> str | None:
    """Read the word that a file holds; None where no file is named.

    Raises
    ------
    ConfigurationInvalid
        If there is none in it.
    """
    if file is None:
        return None
    path = Path(file)
    word = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not word:
        raise ConfigurationInvalid.no_token(key, path)
    return word


@dataclass(frozen=True, config=STRICT)
class LogSettings:
    """Where what was received is kept."""

    path: str
    keep_raw_days: Annotated[float, Field(ge=0)]  # whole messages, names and all, are kept so long; 0: never


def site_zone(name: str | None) -> tzinfo:
    """Return a time zone by its name, or that of the machine with all its changes of the clock."""
    if name is not None:
        return ZoneInfo(name)
    local = os.environ.get("TZ") or os.path.realpath("/etc/localtime").rpartition("zoneinfo/")[2]
    try:
        return ZoneInfo(local)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def refuse_open_doors(mllp: MllpSettings, http: HttpSettings) -> None:
    """Refuse to hear strangers, or to speak to them.

    Raises
    ------
    ConfigurationInvalid
        If another host than loopback has no TLS, or the page no token.
    """
    if not is_loopback(mllp.host) and mllp.tls.cert is None:
        raise ConfigurationInvalid.open_door("mllp", mllp.host, "mllp.tls.cert and mllp.tls.key")
    if not is_loopback(http.host) and (http.tls.cert is None or http.token_file is None):
        raise ConfigurationInvalid.open_door("http", http.host, "http.tls.cert, http.tls.key and http.token_file")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, and no other can speak to it."""
    if host in _LOOPBACK:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def keyed(key: bytes) -> Callable[[str], str]:
    """Make the function that takes a number of a patient or visit, and returns what may be kept of it: HMAC-SHA-256."""
    return lambda number: hmac.digest(key, number.encode(), "sha256").hex()[:_DIGITS]


def fingerprint(key: bytes) -> str:
    """Name a key without telling it."""
    return hashlib.sha256(b"which key is this? " + key).hexdigest()[:_DIGITS]
