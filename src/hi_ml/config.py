"""Where is conf/, and how does a node of it become an object?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import hydra.utils
from omegaconf import OmegaConf
from pydantic import ConfigDict, TypeAdapter

T = TypeVar("T")

# For `pydantic.dataclasses.dataclass(config=STRICT)`: a misspelt key must not pass silently.
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def conf_dir() -> Path:
    """Return the absolute folder of the YAML files: beside the installed package, or in the clone.

    Returns
    -------
    Path
        ``hi_ml/conf`` of a wheel, else ``conf`` at the root of the checkout.
    """
    here = Path(__file__).resolve().parent
    installed = here / "conf"
    return installed if installed.is_dir() else here.parents[1] / "conf"


def build(kind: type[T], node: Any) -> T:
    """Turn a configuration node into an object of a frozen dataclass, checking every key and type.

    Parameters
    ----------
    kind : type
        A dataclass, or any type pydantic can validate (``dict[str, Task]``).
    node : DictConfig, ListConfig or plain value
        What stands under one key of the composed configuration.

    Raises
    ------
    pydantic.ValidationError
        Where a key is unknown, missing or of another type; it lists each with its place.

    Examples
    --------
    >>> from pydantic.dataclasses import dataclass
    >>> @dataclass(frozen=True, config=STRICT)
    ... class Shares:
    ...     train: float
    >>> build(Shares, {"train": 0.6})
    Shares(train=0.6)
    """
    return TypeAdapter(kind).validate_python(plain(node))


def plain(node: Any) -> Any:
    """Return a node as plain dicts, lists and values, every reference resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def leaves(node: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted keys.

    Examples
    --------
    >>> leaves({"model": {"name": "lgbm"}, "seed": 0})
    {'model.name': 'lgbm', 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= leaves(value, prefix=f"{name}.")
        else:
            flat[name] = value
    return flat


def instantiate(node: Mapping[str, Any]) -> Any:
    """Make the object that ``_target_`` names, with the node's other keys as plain arguments."""
    return hydra.utils.instantiate(dict(node), _convert_="all")
