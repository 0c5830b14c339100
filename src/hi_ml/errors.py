"""Every way in which hi_ml refuses, with its sentence: what was expected, what was found, what to do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

_WORDS = {"Unexpected keyword argument": "there is no such key", "Field required": "expected a value, found none"}


class HiMlError(Exception):
    """The data or the request cannot be served; the command ends with exit code 1."""


class Defect(HiMlError):
    """A fault of hi_ml, not of the data or the request."""

    def __init__(self) -> None:
        super().__init__(
            "hi_ml stopped at an error that it should have foreseen. Nothing half-written was kept. "
            "Please report it with the lines above."
        )


class Unserved(HiMlError):
    """Parts of a request were served and kept, others could not be."""

    @classmethod
    def of(cls, errors: Sequence[HiMlError]) -> "HiMlError":
        """Join the sentences of all parts that failed; a single error stays what it is."""
        if len(errors) == 1:
            return errors[0]
        return cls("\n".join(f"{type(error).__name__}: {error}" for error in errors))


class ConfigurationInvalid(HiMlError):
    """A key or value of the configuration is wrong."""

    @classmethod
    def from_list(cls, problems: Iterable[tuple[str, str, object]]) -> "ConfigurationInvalid":
        """Name each wrong key with what is wrong and what was found."""
        lines = [
            f"{where}: {_WORDS.get(what, what.removeprefix('Value error, '))}{_found(found)}"
            for where, what, found in problems
        ]
        return cls(f"The configuration is wrong: {'; '.join(lines)}. See --cfg job for what was composed.")

    @classmethod
    def unknown_key(cls, key: str, known: Sequence[str]) -> "ConfigurationInvalid":
        """Refuse a key that the configuration does not have."""
        above, _, name = key.rpartition(".")
        where = f"{above} has" if above else "There are"
        return cls(
            f"There is no key '{key}'{_hint(name, known)}. {where} the keys {', '.join(known)}. "
            f"One that the YAML files leave out is added with a plus: +{key}=<value>."
        )

    @classmethod
    def unreadable_override(cls, override: str, reason: str) -> "ConfigurationInvalid":
        """Refuse an argument that is no override in Hydra's grammar."""
        return cls(
            f"The argument {override} cannot be read: {reason}. Expected key=value; a value with other than letters, "
            f"digits and ./_- stands in quotes inside those of the shell: 'key=\"a; b\"'."
        )

    @classmethod
    def not_composed(cls, reason: str) -> "ConfigurationInvalid":
        """Say why the files of conf/ and the arguments make no configuration."""
        text = " ".join(reason.replace(", set env var HYDRA_FULL_ERROR=1 to see chained exception", "").split())
        return cls(f"The configuration cannot be composed: {text.rstrip('.')}. See --help for its keys and options.")

    @classmethod
    def late_column(cls, role: str, known: str, task: str, horizon: str) -> "ConfigurationInvalid":
        """Refuse a column that is known only after the moment of prediction."""
        return cls(
            f"Column '{role}' cannot predict {task} at {horizon}: its value is known at '{known}', which is later. "
            f"Remove it from tasks.{task}.features, or set horizon={known}."
        )

    @classmethod
    def refused_column(cls, role: str, reason: str, task: str, usable: Sequence[str]) -> "ConfigurationInvalid":
        """Refuse a column that is no feature of this task."""
        return cls(
            f"Column '{role}' cannot be a feature of {task}: {reason}. Choose from {', '.join(usable)} "
            f"in tasks.{task}.features{_hint(role, usable)}."
        )

    @classmethod
    def learner(cls, model: str, error: Exception) -> "ConfigurationInvalid":
        """Pass on what a learner says of its settings."""
        said = " ".join(str(error).split()) or type(error).__name__
        return cls(f"The learner of model={model} refuses its settings: {said}. Check the keys under model.")

    @classmethod
    def not_one_of(cls, name: str, found: object, allowed: Sequence[str]) -> "ConfigurationInvalid":
        """Refuse a value outside a closed list."""
        return cls(f"{name}={found} is unknown. Expected one of {', '.join(allowed)}{_hint(str(found), allowed)}.")


class SourceUnreadable(HiMlError):
    """The table's file is absent, empty, of another format, or damaged."""

    @classmethod
    def absent(cls, source: str, dataset: str, get: str) -> "SourceUnreadable":
        """Say where a file was expected and how to get it."""
        where = f" {get}" if get else ""
        return cls(
            f"No file at {source} (looked in {Path.cwd()}), which dataset={dataset} reads.{where} "
            f"Or point elsewhere: dataset.source=<path>."
        )

    @classmethod
    def directory(cls, source: str) -> "SourceUnreadable":
        """Refuse a folder where a file is expected."""
        return cls(f"{source} is a folder. Expected a CSV or Parquet file, or a glob such as {source}/*.csv.")

    @classmethod
    def empty(cls, source: str) -> "SourceUnreadable":
        """Refuse a file without any content."""
        return cls(f"{source} is empty. Expected a header line and at least one row of admissions.")

    @classmethod
    def no_rows(cls, source: str) -> "SourceUnreadable":
        """Refuse a table with a header and nothing else."""
        return cls(f"{source} has a header and no rows. Expected at least one admission.")

    @classmethod
    def format(cls, source: str, reason: str) -> "SourceUnreadable":
        """Refuse a file that is no table of the expected format."""
        return cls(
            f"{source} cannot be read as a table: {' '.join(reason.split()).rstrip('.')}. Expected CSV with separator "
            f"and encoding as in dataset.separator and dataset.encoding, or Parquet (*.parquet)."
        )

    @classmethod
    def binary(cls, source: str) -> "SourceUnreadable":
        """Refuse a file whose first bytes are no text."""
        return cls.format(source, "it holds zero bytes, so it is a workbook, a picture or the like, or UTF-16 unmarked")

    @classmethod
    def types(cls, source: str, reason: str) -> "SourceUnreadable":
        """Refuse files of which a column is of several types."""
        return cls(
            f"The files of {source} do not agree on the type of a column: {' '.join(reason.split()).rstrip('.')}. "
            f"Expected one type per column; write the files alike, for example all as CSV."
        )

    @classmethod
    def quote(cls, source: str, where: str) -> "SourceUnreadable":
        """Refuse a file in which a quote makes rows part of one field."""
        return cls(
            f'{source} has a quote (") that opens a field {where} and swallows the lines after it, which look like '
            f"rows. Close the quote, or write a literal one twice inside a quoted field."
        )

    @classmethod
    def separator(cls, source: str, expected: str, likely: str) -> "SourceUnreadable":
        """Say which separator the header seems to have."""
        argument = "\\t" if likely == "\t" else likely
        return cls(
            f"{source} has one column when split at {expected!r}. Its header looks separated by {likely!r}. "
            f"Set 'dataset.separator=\"{argument}\"'."
        )

    @classmethod
    def encoding(cls, source: str, expected: str, line: int) -> "SourceUnreadable":
        """Say where the text stops being of the expected encoding."""
        return cls(
            f"{source} is not {expected}: line {line} holds a byte outside it. "
            f"Set dataset.encoding (for example latin-1 or cp1252), or save the file as UTF-8."
        )

    @classmethod
    def column(cls, source: str, name: str, found: str, kind: str) -> "SourceUnreadable":
        """Refuse a column of a type that nothing can be made of."""
        return cls(
            f"Column '{name}' of {source} holds {found}, which cannot be read as kind {kind}. "
            f"Expected text, numbers or dates; write the column as one of them."
        )


class ColumnProblem(HiMlError):
    """The header is not the one that the dataset's YAML describes."""

    @classmethod
    def missing(cls, source: str, dataset: str, described: dict[str, str], found: Sequence[str]) -> "ColumnProblem":
        """Name each absent column, what the file has, and the key to set.

        A first line without any described name is not shown: it may be no header, but an admission.
        """
        absent = {role: name for role, name in described.items() if name not in found}
        if {_plain(name) for name in described.values()}.isdisjoint(map(_plain, found)):
            return cls(
                f"{source} has none of the columns that dataset={dataset} describes: {_some(described.values())}. "
                f"Expected a first line with these names. Choose the dataset=<name> of this table, or set "
                f"dataset.columns.<role>.from to the names in the file."
            )
        names = _some(f"'{name}'{_hint(name, found)}" for name in absent.values())
        keys = _some(f"dataset.columns.{role}.from" for role in absent)
        return cls(
            f"{source} has no column {names}. It has: {_some(map(_shown, found), most=40)}. Set {keys} "
            f"(conf/dataset/{dataset}.yaml) to the name in the file, or to null if the table lacks it."
        )

    @classmethod
    def duplicated(cls, source: str, names: Sequence[str]) -> "ColumnProblem":
        """Refuse two columns of one name."""
        return cls(f"{source} has more than one column named {', '.join(map(repr, names))}. Rename or remove one.")


class TooManyRejected(HiMlError):
    """More rows cannot be read than the dataset allows."""

    @classmethod
    def of(cls, source: str, faults: Sequence[str], rejected: tuple[int, int, float], file: Path) -> "TooManyRejected":
        """Say how many of how many rows, by which rules, and where they are listed."""
        bad, rows, limit = rejected
        allowed = f"at most {limit:.1%} may be" if bad < rows else "none is left"
        return cls(
            f"{source}: {bad} of {rows} rows cannot be read ({bad / rows:.1%}; {allowed}). Broken rules: "
            f"{_some(faults, most=20)}. They are listed in {file}. Mend them, or raise dataset.max_rejected."
        )


class NotTrainable(HiMlError):
    """A task cannot be trained on the table."""

    @classmethod
    def no_role(cls, task: str, role: str, dataset: str) -> "NotTrainable":
        """Say which column the task needs and which key declares it."""
        return cls(
            f"{task} is not trainable: the table declares no '{role}'. "
            f"Set columns.{role}.from in conf/dataset/{dataset}.yaml (dataset.columns.{role}.from=<column>)."
        )

    @classmethod
    def target(cls, task: str, target: str, found: str) -> "NotTrainable":
        """Say why there is nothing to predict."""
        return cls(f"{task} is not trainable: expected at least two different values of '{target}', found {found}.")

    @classmethod
    def too_few_groups(cls, task: str, groups: int, needed: int, rows: int) -> "NotTrainable":
        """Say how many independent groups of rows there are, and how many the split needs."""
        return cls(
            f"{task} is not trainable: expected at least {needed} groups of rows (near-duplicates and one patient's "
            f"admissions form one group), found {groups} in {rows} usable rows. Add admissions."
        )

    @classmethod
    def no_features(cls, task: str, refused: dict[str, str]) -> "NotTrainable":
        """List why every column was refused."""
        why = "; ".join(f"{role}: {reason}" for role, reason in refused.items())
        return cls(f"{task} is not trainable: no column is left to predict from ({why}).")

    @classmethod
    def empty_part(cls, task: str, part: str, rule: str) -> "NotTrainable":
        """Say which part of the split holds nothing that could be averaged."""
        return cls(
            f"{task} is not trainable: split={rule} leaves fewer than two groups of rows in the {part} part. "
            f"Try another split or seed, or add admissions."
        )


class ModelUnservable(HiMlError):
    """A fitted model could be written, but not be loaded again and score."""

    @classmethod
    def of(cls, task: str, reason: str) -> "ModelUnservable":
        """Say why, and which models can be kept."""
        return cls(
            f"The model of {task} cannot be kept: {reason} Expected a learner of scikit-learn or LightGBM in "
            f"model.regression and model.classification (conf/model/*.yaml), whose parts hi_ml.serving may load."
        )


class PrivateValueFound(HiMlError):
    """A private value of the table stands in a file that would be kept."""

    @classmethod
    def in_files(cls, places: dict[str, int]) -> "PrivateValueFound":
        """Name the files and counts, never the values."""
        listed = ", ".join(f"{name} ({count})" for name, count in places.items())
        return cls(
            f"Private values of the table were found in {listed}. Nothing was kept or tracked. Declare the columns "
            f"that hold them as private: true in the dataset's YAML."
        )


class TrackingFailed(HiMlError):
    """The run stands in its folder, but MLflow did not take it."""

    @classmethod
    def of(cls, folder: Path, uri: str, reason: object) -> "TrackingFailed":
        """Say what stands, what failed and how to send it later."""
        text = " ".join(re.sub(r"\[SQL:.*|\(raised as a result of[^)]*\)", "", str(reason), flags=re.DOTALL).split())
        return cls(
            f"MLflow at {uri} did not take the run: {text[:300] or 'it gave no reason'}. "
            f"Nothing is lost: the run stands in {folder}. "
            f"Send it when the store answers: python -m hi_ml.track run={folder}"
        )


class RunFolderInvalid(HiMlError):
    """A folder is no finished run of hi_ml."""

    @classmethod
    def of(cls, folder: Path, missing: str) -> "RunFolderInvalid":
        """Say what a run folder would hold."""
        return cls(
            f"{folder} is no finished run: it has no {missing}. "
            f"Expected the folder of one task, for example outputs/train/<timestamp>/length_of_stay."
        )


class OutputFailed(HiMlError):
    """A result could not be written."""

    @classmethod
    def of(cls, error: OSError) -> "OutputFailed":
        """Say which file, why, and that nothing half-written stands."""
        where = f" {error.filename}" if error.filename else ""
        return cls(
            f"Could not write{where}: {error.strerror or error}. Nothing half-written was kept. "
            f"Free space or choose a writable folder, then run again."
        )

    @classmethod
    def stands(cls, path: Path) -> "OutputFailed":
        """Refuse to overwrite a result."""
        return cls(
            f"{path} stands already, and results are not overwritten. Remove it, or choose another hydra.run.dir."
        )

    @classmethod
    def no_path(cls, command: str, found: str | None) -> "OutputFailed":
        """Ask for the path to write to."""
        given = "none was given" if found is None else f"found output={found}"
        return cls(f"{command} needs output=<file>.csv or output=<file>.parquet; {given}.")


def _plain(name: str) -> str:
    return name.strip().casefold()


def _hint(name: str, known: Sequence[str]) -> str:
    same = {_plain(one): one for one in known}
    close = get_close_matches(_plain(name), same, n=1)
    if not close:
        return ""
    return f" (did you mean {_shown(same[close[0]])}?)"


def _shown(name: str) -> str:
    return name if name == name.strip() and name.isprintable() else repr(name)


def _found(value: object) -> str:
    """What stood there, unless it is a whole section."""
    return "" if isinstance(value, Mapping | list) else f" (found {value!r})"


def _some(items: Iterable[str], *, most: int = 5) -> str:
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"
