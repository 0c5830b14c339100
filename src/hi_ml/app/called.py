"""What was called, as far as a command that is printed must say it again: with whose options, on which table."""

import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_NAME = re.compile(r"^name: *[\"']?([^\"'#\n]*[^\"'#\s])", re.MULTILINE)
_table: dict[str, list[str]] = {}  # what this call asked of its dataset, by the name of that


def of_command_line() -> list[Path]:
    """Return the folder that `--config-dir` names, if there is one."""
    words = ArgumentParser(add_help=False, exit_on_error=False)
    words.add_argument("--config-dir", "-cd")
    asked: str | None = words.parse_known_args(sys.argv[1:])[0].config_dir
    return [Path(asked).absolute()] if asked and Path(asked).is_dir() else []


def key(override: str) -> str:
    """Return the key of an argument, without the signs before it."""
    return override.lstrip("+~").partition("=")[0]


def of_dataset(overrides: Iterable[str]) -> list[str]:
    """Return what was asked of the dataset."""
    return [word for word in overrides if key(word).partition(".")[0] == "dataset"]


@contextmanager
def on_table(name: str, option: str, overrides: Iterable[str]) -> Iterator[None]:
    """Let commands that are printed be on the table of this call, if they are on the dataset of that name.

    Parameters
    ----------
    name : str
        Of the dataset, by which its models are registered.
    option : str
        Of ``conf/dataset``, whose file may have another name.
    overrides : iterable of str
        What stood on the command line.
    """
    _table[name] = [f"dataset={option}", *(word for word in of_dataset(overrides) if key(word) != "dataset")]
    try:
        yield
    finally:
        _table.clear()


def printed(command: str, *words: str, options: Sequence[str | Path] | None = None) -> str:
    """Write a command so that it works as it stands where this one was called.

    Parameters
    ----------
    command : str
        Its name: ``train``.
    words : str
        Its arguments, as Hydra reads them.
    options : sequence of str or Path, optional
        Folders of the user's own YAML files; those of the present call if left out.

    Examples
    --------
    >>> printed("train", "dataset=mine", options=["my options"])
    "python -m hi_ml.train --config-dir 'my options' dataset=mine"
    """
    named = of_command_line() if options is None else options
    folders = [word for folder in named for word in ("--config-dir", str(folder))]
    return " ".join(map(as_word, ["python", "-m", f"hi_ml.{command}", *folders, *words]))


def as_word(text: str) -> str:
    """Write a text as a shell takes it for one word, on one line whatever stands in it."""
    if text.isprintable():
        return shlex.quote(text)
    kept = text.replace("\\", r"\\").replace("'", r"\'")
    return "$'" + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in kept) + "'"


def to_train(model: str = "") -> str:
    """Return the command that trains what is registered as ``<dataset>.<task>``; of another model, no more than known.

    Examples
    --------
    >>> to_train("models:/kaggle.billing@champion")
    'python -m hi_ml.train dataset=kaggle task=billing'
    """
    named = re.match(r"(?:models:/)?([^./@]+)\.(\w+)(?:[@/]|$)", model)
    return printed("train", *words_for(named[1]), f"task={named[2]}") if named else printed("train")


def words_for(dataset: str) -> list[str]:
    """Return the arguments that name a dataset: those of this call, if it is on this one."""
    return list(_table.get(dataset) or [f"dataset={_option(dataset)}"])


def _option(dataset: str) -> str:
    """Return the option of the user's whose file gives itself this name; else the name."""
    for path in (path for folder in of_command_line() for path in sorted((folder / "dataset").glob("*.yaml"))):
        said = _NAME.search(path.read_text(encoding="utf-8", errors="replace"))
        if said and said[1] == dataset:
            return path.stem
    return dataset
