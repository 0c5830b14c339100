"""What was expected of a value that a type refused, in our words and at the place where it stands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hi_ml.app.called import as_word
from hi_ml.app.errors.wording import quoted

_KEYS, _QUOTE = "keys of its own, as {place}.<key>=<value>", '"'
_EXPECTED = {
    "bool_parsing": "true or false", "bool_type": "true or false",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "string_type": "text",
    "list_type": "a list", "tuple_type": "a list", "set_type": "a list",
    "dict_type": _KEYS, "dataclass_type": _KEYS, "model_type": _KEYS,
    "date_type": "a date, as 2024-01-31", "date_parsing": "a date, as 2024-01-31",
    "date_from_datetime_parsing": "a date, as 2024-01-31", "datetime_type": "a moment, as 2024-01-31",
    "literal_error": "{expected}", "enum": "{expected}", "none_required": "null",
    "greater_than": "more than {gt}", "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}", "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} of them", "too_long": "at most {max_length} of them",
    "string_too_short": "at least {min_length} characters", "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
}  # fmt: skip
_ABSENT = ("missing", "unexpected_keyword_argument", "unexpected_positional_argument")
_LISTS = ("list_type", "tuple_type", "set_type")

Problem = tuple[str, str, object]  # where it stands, what is wrong, what was found


def problems(errors: Iterable[Mapping[str, Any]], node: object = None) -> list[Problem]:
    """Say of each value that pydantic refused where it stands and what was expected.

    A value that may be of several types is refused by each: it is one problem, and none where the keys inside of it
    say what is wrong.

    Parameters
    ----------
    errors : iterable of mapping
        As `pydantic.ValidationError.errors` returns them.
    node : plain value, optional
        What was refused: the places are the keys that it has.

    Examples
    --------
    >>> problems([{"type": "list_type", "loc": ("runs",), "msg": "", "input": "last"}])
    [('runs', 'expected a list, as [last]', 'last')]
    """
    refused: dict[str, tuple[list[str], object]] = {}
    for error in errors:
        place = _place(error, node)
        said, _ = refused.setdefault(place, ([], error["input"]))
        if (what := _said(error, place)) not in said:
            said.append(what)
    inner = [place for place in refused if not any(other.startswith(f"{place}.") for other in refused)]
    return [(place, _together(refused[place][0]), refused[place][1]) for place in inner]


def _place(error: Mapping[str, Any], node: object) -> str:
    """Return the keys on the way, less what pydantic adds of its own: which of several types it tried."""
    parts: Sequence[Any] = error["loc"]
    if node is None:
        return ".".join(map(str, parts))
    kept = []
    for number, part in enumerate(parts):
        named = isinstance(node, Mapping) and part in node
        if named or (isinstance(node, list) and isinstance(part, int) and part < len(node)):
            node = node[part]  # type: ignore[index]
        elif number < len(parts) - 1 or error["type"] not in _ABSENT:
            continue
        kept.append(str(part))
    return ".".join(kept)


def _said(error: Mapping[str, Any], place: str) -> str:
    kind, found = error["type"], error["input"]
    if kind not in _EXPECTED:
        return str(error["msg"])
    expected = f"expected {_EXPECTED[kind]}".format(**{**error.get("ctx", {}), "place": place})
    if found is None or isinstance(found, Mapping | list | tuple):
        return expected
    if kind in _LISTS:
        written = quoted([found])
        return f"{expected}, as {as_word(written) if _QUOTE in written else written}"
    if kind == "string_type":
        return f"{expected}, as {as_word(quoted(str(found).lower() if isinstance(found, bool) else str(found)))}"
    return expected


def _together(said: Sequence[str]) -> str:
    """Join what each of several types expected."""
    first, *others = said
    return " or ".join([first, *(one.removeprefix("expected ") for one in others)])
