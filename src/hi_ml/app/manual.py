"""What does a command say of itself to a person who asks for help? What its YAML says, and nothing twice."""

import difflib
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from hi_ml.app.called import of_command_line
from hi_ml.app.config import conf_dir
from hi_ml.app.errors import ConfigurationInvalid

_YAML = re.compile(
    r"# (?P<usage>[^:]+): (?P<does>.+)\n# For example: (?P<example>.+)\n(?:defaults:\n(?P<defaults>(?: .*\n)*))?"
    r"(?P<keys>(?:.*\n)*?)hydra:\n"
)
_GROUP = re.compile(r"^  - (?!override hydra/)(?:override /)?(\w+): (.+?)(?: *#.*)?$", re.MULTILINE)
_BASE = re.compile(r"^  - (?!house|_self_)(\w+)(?: *#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Manual:
    """A command, from its YAML."""

    name: str
    does: str
    example: str
    groups: dict[str, str]  # the default of each group of options
    keys: str  # lines of YAML, with their comments

    @classmethod
    def of(cls, name: str) -> "Manual":
        """Read the YAML of a command, and of the command whose keys it extends."""
        said = _YAML.match((conf_dir() / f"{name}.yaml").read_text(encoding="utf-8"))
        if said is None:
            raise ValueError(f"conf/{name}.yaml lacks its first two lines: '# usage: what' and '# For example: ...'")
        groups, keys = dict(_GROUP.findall(said["defaults"] or "")), said["keys"]
        for base in _BASE.findall(said["defaults"] or ""):
            other = cls.of(base)
            groups, keys = other.groups | groups, f"{keys}\n# as for {base}:\n{other.keys}"
        return cls(name, said["does"], said["example"], groups, keys)

    def page(self, folders: Sequence[Path]) -> str:
        """Write the page, with the options of each group in the package and in the user's folders."""
        options = {group: sorted(_options(group, folders)) for group in self.groups}
        wide = max(map(len, self.groups), default=0)
        lines = [
            f"  {group:{wide}}  {', '.join(names)} (default: {self.groups[group]})" for group, names in options.items()
        ]
        return "\n".join([
            f"hi_ml {self.name}: {self.does}",
            f"\nFor example\n  {self.example}",
            *(["\nOptions, as group=option", *lines] if lines else []),
            "\nKeys, as key=value (a key of an option: dataset.source=mine.csv)",
            *(f"  {line}".rstrip() for line in [*self.keys.strip().splitlines(), _of_all()]),
            "\n--cfg job shows the settings as composed; --multirun runs a list of values; --config-dir <folder> adds",
            "options of your own.",
        ])  # fmt: skip


def _of_all() -> str:
    """The key that every command takes."""
    (line,) = re.findall(r"^files: .*$", (conf_dir() / "house.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    return str(line)


def commands() -> list[str]:
    """List the commands by name."""
    return sorted(path.stem for path in conf_dir().glob("*.yaml") if path.stem != "house")


def page(name: str) -> str:
    """Write what a command says of itself."""
    return Manual.of(name).page([conf_dir(), *of_command_line()])


def overview() -> str:
    """Write a sentence and an example of every command."""
    manuals = [Manual.of(name) for name in commands()]
    lines = [line for one in manuals for line in ("", f"{one.name}: {one.does}", f"  {one.example}")]
    return "\n".join(
        [
            "Honest machine learning on hospital admissions.",
            *lines,
            "\nMore of one: hi_ml <command> --help. What the words mean: hi_ml --glossary",
        ]
    )


def glossary() -> dict[str, str]:
    """Return the words of screen and pages, each with what it means."""
    words: dict[str, str] = yaml.safe_load(files("hi_ml.app").joinpath("glossary.yaml").read_text("utf-8"))
    return words


def glossary_page() -> str:
    """Write the glossary, wrapped at the terminal's width."""
    width = shutil.get_terminal_size().columns
    lines = [f"{word}: {meaning}" for word, meaning in glossary().items()]
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)


def checked(name: str) -> str:
    """Return the name of a command.

    Raises
    ------
    ConfigurationInvalid
        If there is none of this name.
    """
    known = [*commands(), "--help", "--glossary", "--version"]
    if name not in commands():
        raise ConfigurationInvalid.unknown_command(name, commands(), difflib.get_close_matches(name, known, 1))
    return name


def _options(group: str, folders: Sequence[Path]) -> set[str]:
    return {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
