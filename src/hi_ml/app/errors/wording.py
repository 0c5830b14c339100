"""How a refusal is worded: settings and names as a shell and Hydra read them, what is near, a few of many."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from hi_ml.app.called import as_word, printed

_NO_TEXT = ("null", "true", "false", "nan", "inf")  # for Hydra, unless they stand in quotes
LONGEST_REASON = 300  # characters of what a library says
DIGITS = 12  # of a digest, enough to tell two apart


def setting(key: str, value: object, *, plus: str = "++") -> str:
    r"""Write a setting as a shell takes it; with two plus signs it works whether the YAML files have its key or not.

    Examples
    --------
    >>> print(setting("dataset.columns.billed.decimal", ","), setting("dataset.zone", "Europe/Berlin"))
    '++dataset.columns.billed.decimal=","' ++dataset.zone=Europe/Berlin
    >>> print(setting("dataset.columns.sex.from", "Sex\x0b"))
    $'++dataset.columns.sex.from="Sex\U0000000b"'
    """
    written = f"{plus}{key}={quoted(value)}"
    return as_word(written)


def quoted(value: object) -> str:
    """Write a value as Hydra reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(quoted, value))}]"
    if isinstance(value, str) and (value.lower() in _NO_TEXT or not re.fullmatch(r"[A-Za-z_/][\w./-]*", value)):
        escaped = re.sub(r'(\\*)("|\Z)', lambda one: one[1] * 2 + one[2].replace('"', r"\""), value)
        return f'"{escaped}"'
    return "null" if value is None else str(value)


def command_to_track(folder: Path) -> str:
    """Return the command that sends a run folder to MLflow."""
    return printed("track", f"run={quoted(str(folder))}")


class HiMlError(Exception):
    """The data or the request cannot be served; the command ends with exit code 1."""


class Defect(HiMlError):
    """A fault of hi_ml, not of the data or the request."""

    def __init__(self) -> None:
        super().__init__(
            "hi_ml stopped at an error that it should have foreseen. Nothing half-written was kept. "
            "Please report it with the lines above."
        )


def one_line(reason: object) -> str:
    """Write what a library says as one line."""
    return " ".join(str(reason).split())


def plain(name: str) -> str:
    """Return a name without what a typist may change."""
    return name.strip().casefold()


def hint(name: str, known: Sequence[str]) -> str:
    """Say which known name is near, if one is."""
    close = closest(name, known)
    return "" if close is None else f" (did you mean {shown(close)}?)"


def closest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that is nearest, if one is near."""
    same = {plain(one): one for one in known}
    return next((same[close] for close in get_close_matches(plain(name), same, n=1)), None)


def short(value: object) -> str:
    """Write a digest or a value by its first characters."""
    text = "not set" if value is None else str(value)
    return f"{text[:DIGITS]}..." if len(text) > 4 * DIGITS else text


def shown(name: str) -> str:
    """Write a name so that blanks at its ends and what cannot be printed are seen."""
    return name if name == name.strip() and name.isprintable() else repr(name)


def found_there(value: object) -> str:
    """What stood there, unless it is a whole section."""
    return "" if isinstance(value, Mapping | list) else f" (found {value!r})"


def header(names: Sequence[str]) -> list[str]:
    """What may be shown of a first line: nothing where it holds numbers and dates, for it may be an admission."""
    cells = sum(bool(re.fullmatch(r"[+-]?\d[\d.,/: T-]*", name.strip())) for name in names)
    return [f"a first line of {len(names)} values, not of names"] if cells > 1 else list(names)


def some(items: Iterable[str], *, most: int = 5) -> str:
    """List the first of many."""
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"
