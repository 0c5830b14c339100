"""Where is conf/, and how does a node of it become an object?"""

import pkgutil
from collections.abc import Collection, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import hydra
import hydra.utils
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.options import of_user, refuse_passed_over
from hi_ml.app.references import hold_references, plain
from hi_ml.app.text import as_name

_LEARNERS = ("sklearn", "lightgbm", "catboost", "hi_ml")  # packages whose classes a model may name

# For `pydantic.dataclasses.dataclass(config=STRICT)`: a misspelt key must not pass silently.
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def _plain_name(name: str) -> str:
    if not name or as_name(name) != name or name[0] in " -":
        raise ValueError("expected a name of letters, digits, spaces, _ and -")
    return name


# Names end up in paths, feature names and model names: no character of theirs may mean anything there.
Name = Annotated[str, AfterValidator(_plain_name)]
Files = Literal["private", "umask"]  # who may read what a command writes: its user, or whom the machine lets
SmallestCell = Annotated[int, Field(ge=1)]  # patients, of whom one may speak
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # the range that scikit-learn and LightGBM take
Seconds = Annotated[float, Field(gt=0)] | None  # None: as long as it takes


def conf_dir() -> Path:
    """Return the absolute folder of the YAML files: beside the installed package, or in the clone.

    Returns
    -------
    Path
        ``hi_ml/conf`` of a wheel, else ``conf`` at the root of the checkout.
    """
    here = Path(__file__).resolve().parents[1]  # hi_ml/
    installed = here / "conf"
    return installed if installed.is_dir() else here.parents[1] / "conf"


def compose(command: str, *overrides: str, config_dir: Path | str | None = None) -> dict[str, Any]:
    """Compose the configuration of a command as its command line does, for a program that is none.

    Parameters
    ----------
    overrides : str
        As on the command line: ``task=billing``, ``seed=1``.
    config_dir : Path or str, optional
        A folder with options of one's own, as ``--config-dir``.

    Returns
    -------
    dict of str to plain value
        Every reference resolved.

    Raises
    ------
    hydra.errors.HydraException
        If there is no such key or option.
    """
    if config_dir is None:
        composed = _composed(command, overrides)
    else:
        refuse_passed_over([Path(config_dir)], conf_dir())
        composed = _composed.__wrapped__(command, overrides, Path(config_dir))  # whose files may change
    hold_references(composed)
    node: dict[str, Any] = plain(composed)
    return node


@cache
def _composed(command: str, overrides: tuple[str, ...], config_dir: Path | None = None) -> Any:
    with of_user(config_dir), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose(command, list(overrides))


def build(kind: Any, node: Any) -> Any:
    """Turn a configuration node into an object of a frozen dataclass, checking every key and type.

    Parameters
    ----------
    kind : type
        A dataclass, or any type pydantic can validate (``dict[str, Task]``, ``Literal["a", "b"]``).
    node : DictConfig, ListConfig or plain value
        What stands under one key of the composed configuration.

    Returns
    -------
    object of ``kind``

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


def named_in(package: ModuleType, name: str) -> list[Any]:
    """Collect what the modules of a package call by one name, by module name: a new file is a new member."""
    modules = (import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__))
    return [getattr(module, name) for module in modules if hasattr(module, name)]


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


def refuse_strange_targets(node: Any, trust: Collection[str], *, key: str) -> None:
    """Refuse, before anything is built, what would call other code than a learner's.

    Parameters
    ----------
    node : plain value
        Of which ``_target_`` is looked at, at any depth.
    trust : collection of str
        Other classes that the user trusts, as ``module.Class``.
    key : str
        Where the node stands, for the sentence.

    Raises
    ------
    ConfigurationInvalid
        If one is no class with a ``fit`` of the packages that learners come from.
    """
    if isinstance(node, Mapping):
        target = node.get("_target_")
        package = str(target).split(".", maxsplit=1)[0]
        if package in _LEARNERS and find_spec(package) is None:
            raise ConfigurationInvalid.not_installed(f"{key}._target_", package)
        if target is not None and target not in trust and not _is_learner(str(target)):
            raise ConfigurationInvalid.untrusted(f"{key}._target_", str(target))
        for name, value in node.items():
            refuse_strange_targets(value, trust, key=f"{key}.{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            refuse_strange_targets(value, trust, key=f"{key}[{index}]")


def _is_learner(target: str) -> bool:
    if target.split(".", maxsplit=1)[0] not in _LEARNERS:
        return False
    try:
        learner = hydra.utils.get_object(target)
    except Exception:  # noqa: BLE001 -- whatever the import of a name that a user wrote raises, it is no learner
        return False
    return isinstance(learner, type) and hasattr(learner, "fit")


def class_of(node: Mapping[str, Any]) -> type | None:
    """Return the class that ``_target_`` names; None where it names no class, or none that is here."""
    try:
        return hydra.utils.get_class(node["_target_"])
    except (ImportError, ValueError):
        return None


def instantiate(node: Mapping[str, Any]) -> Any:
    """Make the object that ``_target_`` names, with the node's other keys as plain arguments."""
    return hydra.utils.instantiate(dict(node), _convert_="all")
