"""What may a user's own YAML say? A table, a task, a claim or a split is data: such a file runs no code."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hi_ml.app.called import of_command_line
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.files import load_yaml

_DATA = {
    "dataset": "",
    "split": "",
    "report": "",
    "task": "tasks.",
    "finding": "findings.",
}  # what a file of the group may fill
_folders: list[Path] = []  # of a program that is no command


class UserOptions(FileConfigSource):
    """The options in a folder of the user: they come before those of the package that have the same names."""

    @staticmethod
    def scheme() -> str:
        """Return how its places in Hydra's search path begin."""
        return "options"

    def is_config(self, config_path: str) -> bool:
        """Say whether the folder has an option: a member of a group, and not of Hydra's own ones."""
        group = Path(config_path).parent.as_posix()
        return group not in (".", "") and not group.startswith("hydra") and super().is_config(config_path)

    def is_group(self, config_path: str) -> bool:
        """Say whether the folder has a group."""
        return not config_path.startswith("hydra") and super().is_group(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """List the options of a group."""
        return super().list(config_path, results_filter) if super().is_group(config_path) else []

    def load_config(self, config_path: str) -> ConfigResult:
        """Read an option; in a group of data it fills its own place and no other.

        Raises
        ------
        ConfigurationInvalid
            If a file of such a group asks for more.
        """
        path = Path(self.path) / f"{config_path.removesuffix('.yaml')}.yaml"
        try:
            if path.is_file():
                load_yaml(path.read_text(encoding="utf-8"))  # Hydra would write out what its aliases stand for
            option = super().load_config(config_path)
        except (AssertionError, OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
            raise ConfigurationInvalid.no_yaml(path, str(error)) from error
        group, name = Path(config_path).parts[0], Path(config_path).stem  # a folder inside of a group is of the group
        if group in _DATA:
            _refuse_more_than_data(path, group, option)
            if _DATA[group] and option.header["package"] is None:
                option.header["package"] = f"{_DATA[group]}{name}"
        return option


class UserFolders(SearchPathPlugin):
    """Puts the user's folders before that of the package."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Take the folder that `of_user` was given, or the command line names."""
        for folder in _folders or of_command_line():
            search_path.prepend("options", f"{UserOptions.scheme()}://{folder}")


def register() -> None:
    """Let Hydra know of the users' options, and of ``${where:...}``; the second time nothing happens."""
    Plugins.instance().register(UserOptions)
    Plugins.instance().register(UserFolders)
    OmegaConf.register_new_resolver("where", where, replace=True)


def where(output: str | None) -> str:
    """Return how the path of a run folder begins: here, or beside the output where nothing may be written here."""
    here = output is None or "://" in output or os.access(Path.cwd(), os.W_OK)
    return "" if here else f"{Path(str(output)).absolute().parent}/"


@contextmanager
def of_user(folder: Path | None) -> Iterator[None]:
    """Compose with the options of a folder, in a program that is no command; None: with none."""
    register()
    _folders[:] = [] if folder is None else [folder.absolute()]
    try:
        yield
    finally:
        _folders.clear()


def refuse_passed_over(folders: Iterable[Path], conf: Path) -> None:
    """Refuse files of a user's that look like options and would be passed over without a word.

    Parameters
    ----------
    conf : Path
        The folder of the package.

    Raises
    ------
    ConfigurationInvalid
        If one would change a command itself and says something else than the package's, or ends in ``.yml``.
    """
    commands = [*conf.glob("*.yaml"), *(conf / "hydra").rglob("*.yaml")]
    groups = [path.name for path in conf.iterdir() if path.is_dir()]
    for folder in (one for one in folders if one.resolve() != conf.resolve()):
        for ours in commands:
            path = folder / ours.relative_to(conf)
            if path.is_file() and path.read_bytes() != ours.read_bytes():
                raise ConfigurationInvalid.not_read(path, ours)
        for group in groups:
            for path in sorted((folder / group).rglob("*.yml")):
                raise ConfigurationInvalid.not_read(path, None)


def names(group: str, conf: Path) -> list[str]:
    """List the options of a group: those of the package, and the user's own."""
    folders = [*of_command_line(), *_folders, conf]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def _refuse_more_than_data(path: Path, group: str, option: ConfigResult) -> None:
    package, prefix = option.header["package"], _DATA[group]
    own = rf"{re.escape(prefix)}\w[\w-]*" if prefix else group
    if package is not None and not re.fullmatch(own, package):
        raise ConfigurationInvalid.more_than_data(path, f"the line '# @package {package}'", group)
    content: Any = OmegaConf.to_container(option.config, resolve=False)
    names = content if isinstance(content, dict) else {}
    if "hydra" in names:
        raise ConfigurationInvalid.more_than_data(path, "the key 'hydra'", group)
    for base in names.get("defaults") or ():
        if not (isinstance(base, str) and re.fullmatch(r"\w[\w-]*", base)):
            raise ConfigurationInvalid.more_than_data(path, f"{base!r} among its defaults", group)
