"""What did a configuration take from the environment? It is written back as a reference, and its text goes nowhere."""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from hi_ml.app.errors import ConfigurationInvalid

_REFERENCE = re.compile(r"\$\{oc\.env:[^{}]*\}")
_NUMBER = re.compile(r"[+-]?[\d_.]+([eE][+-]?\d+)?|true|false|null", re.IGNORECASE)
_PLACES = re.compile(  # keys of paths and addresses, which a run need not spell out
    r"(dataset\.(joins\.[^.]+\.)?)?source(\.(url|path))?|(input|output)(\.url)?|run|runs|verify|resume|model_uri|beside|to"
    r"|(mllp|http)\.(host|token_file|tls\.\w+)|log\.path|\w+_file|ca|cert|key"
)
_held: dict[str, str] = {}  # what the environment gave to the places of this configuration, and its reference


def plain(node: Any) -> Any:
    """Return a node as plain dicts, lists and values, every reference resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def written(node: Any) -> Any:
    """Return a node as `plain` does, but of what the environment holds only the reference: a secret stays there."""
    resolver = BaseContainer._resolvers["oc.env"]  # noqa: SLF001 -- the only way to have it back
    OmegaConf.register_new_resolver("oc.env", lambda *words: f"${{oc.env:{','.join(map(str, words))}}}", replace=True)
    try:
        return plain(node)
    finally:
        BaseContainer._resolvers["oc.env"] = resolver  # noqa: SLF001 -- as above


def hold_references(node: Any) -> None:
    """Note which paths and addresses of a configuration come from the environment: see `as_written`.

    Raises
    ------
    ConfigurationInvalid
        If another text does: names, units, levels stand in tables, charts and models, and cannot be taken back.
    """
    _held.clear()
    for key, value, text in _pairs(plain(node), written(node)):
        if _NUMBER.fullmatch(value):
            continue
        if not _PLACES.fullmatch(re.sub(r"\[\d+\]", "", key)):
            raise ConfigurationInvalid.from_environment(key)
        as_read(text)


def as_written(text: str) -> str:
    """Return a path, an address, or a text in which one stands, with references for what the environment gave."""
    for value in sorted(_held, key=len, reverse=True):
        text = text.replace(value, _held[value])
    return text


def as_read(text: str) -> str:
    """Return what `as_written` was given, and note what the environment gave."""
    given = {reference: str(OmegaConf.create([reference])[0]) for reference in _REFERENCE.findall(text)}
    _held.update({value: reference for reference, value in given.items() if value})
    return _REFERENCE.sub(lambda match: given[match[0]], text)


def _pairs(value: Any, text: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield, by key, each leaf that is another one once its references are resolved."""
    if isinstance(text, dict):
        for name, inner in text.items():
            yield from _pairs(value[name], inner, f"{key}.{name}" if key else str(name))
    elif isinstance(text, list):
        for index, inner in enumerate(text):
            yield from _pairs(value[index], inner, f"{key}[{index}]")
    elif repr(value) != repr(text):  # of which NaN is one and the same
        yield key, str(value), str(text)
