"""Every way in which hi_ml refuses, with its sentence: what was expected, what was found, what to do."""

import errno
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

_NO_TEXT = ("null", "true", "false", "nan", "inf")  # for Hydra, unless they stand in quotes
_FEW_KEYS = 6  # settings that a sentence lists to be pasted; more belong into the YAML
_LONGEST_REASON = 300  # characters of what a library says
_DIGITS = 12  # of a digest, enough to tell two apart
_NO_KEY = "Unexpected keyword argument"
_WORDS = {_NO_KEY: "there is no such key", "Field required": "expected a value, found none"}


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
    return shlex.quote(written) if written.isprintable() else _escaped(written)


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
    return f"python -m hi_ml.track {setting('run', str(folder), plus='')}"


class HiMlError(Exception):
    """The data or the request cannot be served; the command ends with exit code 1."""


class Defect(HiMlError):
    """A fault of hi_ml, not of the data or the request."""

    def __init__(self) -> None:
        super().__init__(
            "hi_ml stopped at an error that it should have foreseen. Nothing half-written was kept. "
            "Please report it with the lines above."
        )


class TimeIsOver(BaseException):
    """A wait has lasted as long as it may; no library takes this for an error of its own."""


class MemoryExhausted(HiMlError):
    """The work takes more memory than there is."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        why = _one_line(error)[:_LONGEST_REASON].rstrip(".") or "an allocation failed"
        return cls(
            f"There is not enough memory for this: {why}. Nothing half-written was kept. Free memory, or ask for less "
            "at once: fewer rows or columns, model=linear; of predict a smaller chunk_rows, and threads=1."
        )


Missing = Literal["COLUMN_MISSING", "NO_MAPPING", "NO_PATIENT_ID", "TOO_FEW", "CONSTANT"]


@dataclass(unsafe_hash=True)
class Untestable(Exception):
    """A table cannot answer a part of a claim; the claim's other parts go on."""

    reason: Missing
    words: str  # what is missing, as a clause
    key: str | None = None  # the YAML key that would supply it
    part: str = ""  # of the claim; empty until the draft knows which it was


class Unserved(HiMlError):
    """Parts of a request were served and kept, others could not be."""

    @classmethod
    def of(cls, errors: Sequence[HiMlError]) -> "HiMlError":
        if len(errors) == 1:
            return errors[0]
        return cls("\n".join(f"{type(error).__name__}: {error}" for error in errors))


class SparkFailed(HiMlError):
    """Spark is not there, or did not do what it was asked for."""

    @classmethod
    def no_package(cls, module: str) -> Self:
        return cls(f"Spark needs the Python package {module}, which is not installed: pip install 'hi_ml[spark]'.")

    @classmethod
    def no_java(cls, said: str) -> Self:
        return cls(
            f"Spark needs Java 17 or newer, which did not start: {_one_line(said)[:_LONGEST_REASON].rstrip('.')}. "
            "Debian has it in openjdk-17-jre-headless; one that lies elsewhere is named by JAVA_HOME."
        )

    @classmethod
    def to_start(cls, reason: str) -> Self:
        return cls(
            f"Spark did not start: {_one_line(reason)[:_LONGEST_REASON].rstrip('.')}. Check its settings: "
            "spark.master, and the memory it may take."
        )

    @classmethod
    def no_table(cls, found: str) -> Self:
        return cls(
            f"engine=spark reads and writes folders of Parquet and tables that it knows by name, "
            f"'{{url: \"spark://\", table: <name>}}'; found {found}. Without engine=spark all other sources are read."
        )

    @classmethod
    def to_read(cls, source: str, reason: str) -> Self:
        return cls(
            f"Spark cannot read {source}: {_one_line(reason)[:_LONGEST_REASON].rstrip('.')}. Expected Parquet, with "
            "times in micro- or milliseconds, at a path that every worker sees."
        )

    @classmethod
    def job(cls, reason: str) -> Self:
        return cls(
            f"Spark gave up: {_one_line(reason)[:_LONGEST_REASON].rstrip('.')}. Nothing was written. Its workers need "
            "this version of hi_ml, the memory for chunk_rows, and the paths of input and output."
        )

    @classmethod
    def other_code(cls) -> Self:
        return cls("A worker of Spark has another version of hi_ml than this machine. Install this one there.")

    @classmethod
    def no_key(cls, found: Sequence[str]) -> Self:
        return cls(
            "engine=spark needs key=<column>, one of its own for every row: rows have no numbers there. "
            f"The input has: {_some(map(_quoted, _header(found)), most=40)}."
        )

    @classmethod
    def key(cls, source: str, name: str, *, absent: int, shared: int) -> Self:
        return cls(
            f"key={name} does not tell the rows of {source} apart: {absent:,} have none, {shared:,} share theirs. "
            "Expected a column with another value in every row."
        )


class EngineRefused(HiMlError):
    """What is asked cannot be added up where the table lies."""

    @classmethod
    def no_source(cls, engine: str) -> Self:
        return cls(
            f"engine={engine} adds up a table where it lies, and dataset.source names none. Set dataset.source=<path>."
        )

    @classmethod
    def database(cls, source: str) -> Self:
        return cls(f"{source}: engine=sql asks DuckDB and PostgreSQL, this is another database. Set engine=pandas.")

    @classmethod
    def file(cls, engine: str, source: str) -> Self:
        takes = "files of Parquet, or a folder of them"
        if engine == "sql":
            takes += ", CSV in UTF-8 that is not compressed, and databases"
        return cls(f"{source}: engine={engine} takes {takes}. Write it so, or set engine=pandas.")

    @classmethod
    def key(cls, engine: str, key: str, why: str) -> Self:
        return cls(f"dataset.{key} is not done with engine={engine}: {why}. Set engine=pandas.")

    @classmethod
    def patients(cls, engine: str, why: str) -> Self:
        return cls(f"engine={engine} tells patients apart by patient_id, and {why}. Set engine=pandas.")


class ConfigurationInvalid(HiMlError):
    """A key or value of the configuration is wrong."""

    @classmethod
    def from_list(cls, problems: Iterable[tuple[str, str, object]], groups: Sequence[str] = ()) -> Self:
        lines = [
            f"{where}: {_WORDS.get(what, what.removeprefix('Value error, '))}"
            f"{_hint(where, groups) if what == _NO_KEY and '.' not in where else ''}{_found(found)}"
            for where, what, found in problems
        ]
        return cls(f"The configuration is wrong: {'; '.join(lines)}. See --cfg job for what was composed.")

    @classmethod
    def unknown_key(cls, key: str, known: Sequence[str]) -> Self:
        above, _, name = key.rpartition(".")
        where = f"{above} has" if above else "There are"
        return cls(
            f"There is no key '{key}'{_hint(name, known)}. {where} the keys {', '.join(known)}. "
            f"One that the YAML files leave out is added with a plus: +{key}=<value>."
        )

    @classmethod
    def no_option(cls, group: str, name: str, known: Sequence[str]) -> Self:
        return cls(
            f"There is no {group}={name}{_hint(name, known)}. Expected one of {', '.join(known)}, or a file "
            f"of your own: <folder>/{group}/{name or '<name>'}.yaml with --config-dir <folder>."
        )

    @classmethod
    def unreadable_override(cls, override: str, reason: str) -> Self:
        key, equals, value = override.partition("=")
        example = setting(key, value, plus="") if equals and value[:1] not in ("[", "{") else "'key=\"a; b\"'"
        return cls(
            f"The argument {override} cannot be read: {reason}. Expected key=value; a value with other than letters, "
            f"digits and ./_- stands in quotes inside those of the shell: {example}"
        )

    @classmethod
    def more_than_data(cls, path: Path, what: str, group: str) -> Self:
        return cls(
            f"{path} has {what}. A file of the group {group} describes data: it may fill its own place, and inherit "
            f"another {group} by its name. Remove it; what changes other keys stands on the command line, or in a file "
            f"of the group experiment, which is code that you trust."
        )

    @classmethod
    def no_yaml(cls, path: Path, reason: str) -> Self:
        why = _one_line(reason)[:_LONGEST_REASON].rstrip(".")
        return cls(f"{path} cannot be read as YAML in UTF-8: {why}. Mend that line, or start from conf/ anew.")

    @classmethod
    def untrusted(cls, key: str, target: str) -> Self:
        return cls(
            f"{key}={target} is no learner of scikit-learn, LightGBM or CatBoost: a class with fit. Another class runs "
            f"code of its own. If you trust it, say so: 'trust=[{target}]'"
        )

    @classmethod
    def not_composed(cls, reason: str) -> Self:
        text = _one_line(reason.replace(", set env var HYDRA_FULL_ERROR=1 to see chained exception", ""))
        return cls(f"The configuration cannot be composed: {text.rstrip('.')}. See --help for its keys and options.")

    @classmethod
    def no_cut(cls, path: str) -> Self:
        return cls(
            f"{path} holds events in the MEDS standard, and nothing says whether one at exactly the moment of the cut "
            f"counts as known. Say in source {{reader: meds, path: {path}, cut: before}}, which leaves it out, or cut: "
            "at, which takes it."
        )

    @classmethod
    def known_too_early(cls, name: str) -> Self:
        return cls(
            f"'{name}' holds what happened until the discharge (source.moment), and the dataset calls it known before. "
            f"Name it below known: discharge, or set {setting('dataset.source.moment', 'admission')}."
        )

    @classmethod
    def other_rules(cls, source: str, key: str, ours: object, theirs: object) -> Self:
        return cls(
            f"{source} is read with {key}: {ours}, and the model learned from a table that was read with {key}: "
            f"{theirs}. Say the same in source, or train anew."
        )

    @classmethod
    def password(cls, key: str) -> Self:
        return cls(
            f"{key} holds a password, and it would stand in files, logs and lists of processes. Nothing was written. "
            "Take it out of the address, put it in an environment variable, and name that: password_from: env <NAME>."
        )

    @classmethod
    def from_environment(cls, key: str) -> Self:
        return cls(
            f"{key} takes its text from an environment variable, and a run would write it down. Write it as it is. "
            "Paths and addresses (source, input, output, url) may stand in a variable, and so may numbers; a password "
            "is named by password_from: env <NAME>."
        )

    @classmethod
    def unordered(cls, url: str) -> Self:
        return cls(
            f"{url}: a database keeps its rows in no order, and splits and row numbers depend on one. Say which table, "
            "and the columns that order it, best a unique one: "
            '{url: "...", table: <name>, order_by: [<column>]}, or query: instead of table:.'
        )

    @classmethod
    def no_variable(cls, key: str, name: str) -> Self:
        return cls(
            f"{key} names the environment variable {name}, which is not set. Set it where the command runs, or leave "
            f"{key} out where the server asks for no password."
        )

    @classmethod
    def late_column(cls, role: str, known: str, task: str, horizon: str) -> Self:
        return cls(
            f"Column '{role}' cannot predict {task} at {horizon}: its value is known at '{known}', which is later. "
            f"Remove it from tasks.{task}.features, or set horizon={known}."
        )

    @classmethod
    def refused_column(cls, role: str, reason: str, task: str, usable: Sequence[str]) -> Self:
        return cls(
            f"Column '{role}' cannot be a feature of {task}: {reason}. Choose from {', '.join(usable)} "
            f"in tasks.{task}.features{_hint(role, usable)}."
        )

    @classmethod
    def open_door(cls, part: str, host: str, keys: str) -> Self:
        return cls(
            f"{part}.host={host} can be reached from other machines: expected TLS there, and a token for the page. "
            f"Set {keys}, or listen to this machine alone: {part}.host=127.0.0.1"
        )

    @classmethod
    def no_certificate(cls, where: str, reason: str) -> Self:
        return cls(f"{where} cannot be used: {_one_line(reason)}. Expected files in PEM, the key without a passphrase.")

    @classmethod
    def no_token(cls, key: str, path: Path) -> Self:
        return cls(f"{key}={path} holds no word. Write one: openssl rand -hex 24 > {path}; chmod 600 {path}")

    @classmethod
    def strange_address(cls, written: str) -> Self:
        return cls(f"to={written} is no address. Expected to=<host>:<port> of MLLP, or to=http://<host>:<port>/fhir")

    @classmethod
    def no_times(cls, count: int) -> Self:
        return cls(
            f"speed=live moves the times of messages; {count:,} of these do not say when they were recorded (MSH-7). "
            f"Give messages of HL7 v2 or a table, or set speed=max."
        )

    @classmethod
    def no_address(cls, part: str, host: str, port: int, reason: str) -> Self:
        return cls(f"Cannot listen at {part} {host}:{port}: {reason}. Free the port, or choose another: {part}.port=")

    @classmethod
    def no_log(cls, task: str, count: int, rows: int) -> Self:
        return cls(
            f"tasks.{task}.scale=log expects amounts above 0, or whole ones from 0 on: {count:,} of {rows:,} targets "
            f"are 0 or less, and have no logarithm. Set {setting(f'tasks.{task}.scale', 'raw')}, or null to leave the "
            "choice to the training part."
        )

    @classmethod
    def interval_by(cls, role: str, task: str, seen: Sequence[str]) -> Self:
        return cls(
            f"Intervals of {task} cannot be apart by '{role}'{_hint(role, seen)}: expected a category or number that "
            f"predicts it. Set interval_by={seen[0] if seen else 'null'}, or to one of {', '.join(seen)}, or to null."
        )

    @classmethod
    def interval_by_class(cls, role: str, task: str, seen: Sequence[str]) -> Self:
        return cls(
            f"Intervals of {task} cannot be apart by '{role}': only sets of labels can. Choose tasks that predict "
            f"labels, or set interval_by to one of {', '.join(seen)}, or to null."
        )

    @classmethod
    def interval_bands(cls, role: str) -> Self:
        return cls(
            f"Intervals cannot be apart by every value of '{role}', which is a number. Say where its bands begin: "
            f"'++subgroups.bands.{role}=[<number>,<number>]'. Or set interval_by to a category."
        )

    @classmethod
    def unknown_argument(cls, key: str, learner: str, known: Sequence[str]) -> Self:
        name = key.rpartition(".")[2]
        return cls(
            f"{learner} has no argument '{name}'{_hint(name, known)}, and would leave it out without a word or "
            f"refuse it later. Take {key} out, or spell it as the learner does."
        )

    @classmethod
    def learner(cls, model: str, error: Exception) -> Self:
        reason = _one_line(error) or type(error).__name__
        return cls(f"The learner of model={model} refuses its settings: {reason}. Check the keys under model.")

    @classmethod
    def unknown_command(cls, name: str, commands: Sequence[str], near: Sequence[str]) -> Self:
        meant = f" Did you mean {near[0]}?" if near else ""
        return cls(f"There is no command {name}: expected one of {', '.join(commands)}.{meant}")

    @classmethod
    def not_installed(cls, key: str, package: str) -> Self:
        return cls(
            f"{key} names a class of {package}, which is not installed here. Install it: pip install "
            f"'hi_ml[{package}]'; or choose another model."
        )

    @classmethod
    def nothing_to_tune(cls, model: str, kind: str) -> Self:
        return cls(
            f"There is nothing to tune in model={model}: its space names no argument of the {kind} learner. Choose "
            f"another model, or add one (conf/model/{model}.yaml): '+model.space.<argument>={{low: 1, high: 10}}'."
        )

    @classmethod
    def outside_space(cls, key: str, value: object, dimension: str, holds: str) -> Self:
        return cls(f"{key}={value} is outside of {dimension}, which is {holds}. Move the one or widen the other.")

    @classmethod
    def no_loss(cls, model: str, loss: float) -> Self:
        return cls(f"model={model} predicts what has no error: expected a finite mean, found {loss}.")

    @classmethod
    def one_task(cls, command: str, found: Sequence[str]) -> Self:
        return cls(
            f"{command} takes one task at a time, found task=[{','.join(found)}]. Set task=<name>, or ask for one "
            f"after the other: --multirun task={','.join(found)}."
        )

    @classmethod
    def no_assessment(cls, names: Sequence[str]) -> Self:
        return cls(f"assessments lacks {', '.join(names)}: a run without says nothing of its model. Do not remove it.")

    @classmethod
    def lookup(cls, key: str, path: str, expected: str) -> Self:
        return cls(f"{path}, which {key} names, is not as expected: a CSV with a header, and in each line {expected}.")

    @classmethod
    def no_lookup(cls, key: str, path: str, names: Sequence[str]) -> Self:
        known = f"one of {', '.join(names)}, or the path of a CSV" if names else "the path of a CSV in UTF-8"
        return cls(f"{key}={path} cannot be read (looked in {Path.cwd()}). Expected {known}{_hint(path, names)}.")

    @classmethod
    def no_target(cls, name: str, names: Sequence[str]) -> Self:
        known = _some(map(_quoted, names), most=60)
        return cls(f"target={name} names no column of the file{_hint(name, names)}. It has: {known}.")

    @classmethod
    def no_such_column(cls, key: str, name: str, names: Sequence[str]) -> Self:
        return cls(
            f"dataset.{key} names no column of the file{_hint(name, names)}. "
            f"It has: {_some(map(_quoted, names), most=60)}. Expected a name, a range "
            f"<first>..<last> in the file's order, or a glob such as diag_*."
        )

    @classmethod
    def no_row_left(cls, whys: Sequence[str]) -> Self:
        return cls(f"dataset.drop and dataset.first_by leave no row: {'; '.join(whys)}. Loosen or remove a rule.")

    @classmethod
    def not_of_kind(cls, key: str, found: object, kind: str) -> Self:
        return cls(f"dataset.{key} is {found}, and the column holds {kind}. Expected values of that kind.")

    @classmethod
    def two_moments(cls, name: str, one: str, other: str) -> Self:
        return cls(
            f"dataset.known says of column '{name}' both {one} and {other}. Name it in one of the two, or by its full "
            f"name."
        )

    @classmethod
    def role_taken(cls, role: str, name: str, dataset: str) -> Self:
        return cls(
            f"dataset.known names the column '{name}', whose role '{role}' is that of another column. Describe it "
            f"under a role of its own in conf/dataset/{dataset}.yaml: columns.<role>: {{from: {name}}}."
        )

    @classmethod
    def no_claim(cls, name: str, known: Sequence[str]) -> Self:
        return cls(
            f"finding={name} is none of {', '.join(known)}, and no claim of your own: findings.{name} needs claim, "
            "kind (difference, association, variation or trend), of, by and smallest_effect."
        )

    @classmethod
    def not_one_of(cls, name: str, found: object, allowed: Sequence[str]) -> Self:
        return cls(f"{name}={found} is unknown. Expected one of {', '.join(allowed)}{_hint(str(found), allowed)}.")


class SourceUnreadable(HiMlError):
    """The table's file is absent, empty, of another format, or damaged."""

    @classmethod
    def absent(cls, source: str, dataset: str, get: str) -> Self:
        where = f" {get}" if get else ""
        return cls(
            f"No file at {source} (looked in {Path.cwd()}), which dataset={dataset} reads.{where} "
            f"Or point elsewhere: dataset.source=<path>."
        )

    @classmethod
    def none_named(cls) -> Self:
        return cls("describe needs source=<a CSV or Parquet file, a glob of them, or an address>; none was given.")

    @classmethod
    def scheme(cls, scheme: str) -> Self:
        return cls(
            f"An address that begins with {scheme} cannot be read. Expected a path of this machine, or a glob: copy "
            "the files here or mount them, and name their path."
        )

    @classmethod
    def no_input(cls, asked: str | None) -> Self:
        found = "none was given" if asked is None else f"found no file at {asked} (looked in {Path.cwd()})"
        return cls(f"predict needs input=<a CSV or Parquet file, or a glob of them>; {found}.")

    @classmethod
    def database(cls, source: str, reason: str) -> Self:
        why = _one_line(reason)[:_LONGEST_REASON].rstrip(".") or "it gave no reason"
        return cls(
            f"{source} was not served: {why}. Check url, table or query, and password_from, the environment variable "
            "with the password."
        )

    @classmethod
    def database_file(cls, path: str, kind: str, scheme: str) -> Self:
        slashes = "////" if path.startswith("/") else "///"
        return cls(
            f"{path} is a database of {kind}. Say which of its tables, in which order: "
            f'{{url: "{scheme}:{slashes}{path.removeprefix("/")}", table: <name>, order_by: [<column>]}}'
        )

    @classmethod
    def no_driver(cls, source: str, module: str) -> Self:
        return cls(
            f"{source} needs the Python package of {module}, which is not installed. PostgreSQL, SQLite and DuckDB: "
            "pip install 'hi_ml[databases]'; any other database: the driver that SQLAlchemy names for it."
        )

    @classmethod
    def no_order(cls, source: str, name: str, found: Sequence[str]) -> Self:
        return cls(
            f"order_by names '{name}'{_hint(name, found)}, which {source} has not. "
            f"It has: {_some(map(_quoted, found), most=40)}."
        )

    @classmethod
    def no_messages(cls, path: Path | None) -> Self:
        found = "none was given" if path is None else f"found none in {path} (looked in {Path.cwd()})"
        return cls(f"replay needs input=<messages of HL7 v2 in .hl7, resources of FHIR in .ndjson, a .csv>; {found}.")

    @classmethod
    def changed(cls, source: str) -> Self:
        return cls(f"{source} changed while it was read. Nothing was written. Run again when its export has ended.")

    @classmethod
    def directory(cls, source: str) -> Self:
        return cls(f"{source} is a folder. Expected a CSV or Parquet file, or a glob such as {source}/*.csv.")

    @classmethod
    def no_standard(cls, source: str, reader: str, lacking: str) -> Self:
        return cls(f"{source} is not laid out as reader: {reader} expects: it lacks {lacking}. Name another path.")

    @classmethod
    def no_visits(cls, source: str, visits: Sequence[str], common: Sequence[str]) -> Self:
        return cls(
            f"In {source} no visit is an admission: none has the visit_concept_id {_some(visits)}. Say in source which "
            f"are: visits: [<visit_concept_id>], or visits: [all]. There are {_some(common)}."
        )

    @classmethod
    def no_start(cls, source: str, start: Sequence[str], common: Sequence[str]) -> Self:
        return cls(
            f"In {source} no admission begins: there is no code {_some(start)}, nor one that continues it with //. "
            f"Say in source which do: start: [<code>], end: [<code>]. The commonest codes are {_some(common)}."
        )

    @classmethod
    def empty(cls, source: str) -> Self:
        return cls(f"{source} is empty. Expected a header line and at least one row of admissions.")

    @classmethod
    def no_rows(cls, source: str) -> Self:
        return cls(f"{source} has a header and no rows. Expected at least one admission.")

    @classmethod
    def format(cls, source: str, reason: str) -> Self:
        return cls(
            f"{source} cannot be read as a table: {_one_line(reason).rstrip('.')}. Expected CSV with separator "
            f"and encoding as in dataset.separator and dataset.encoding, or Parquet (*.parquet)."
        )

    @classmethod
    def too_large(cls, source: str, most: int) -> Self:
        return cls(
            f"{source} holds more than {most:,} bytes once it is unpacked. Expected a table of at most so many. If it "
            f"is one, raise dataset.max_bytes: dataset.max_bytes={4 * most}"
        )

    @classmethod
    def bomb(cls, source: str, ratio: int) -> Self:
        return cls(
            f"{source} unpacks to more than {ratio} times its size, as no table does. Reading stopped there. "
            f"If it is one, unpack it first, and name the file that comes of it: dataset.source=<path>."
        )

    @classmethod
    def memory(cls, source: str, needed: float, available: float) -> Self:
        return cls(
            f"{source} would take about {needed / 1e9:.1f} GB of memory or more, and {available / 1e9:.1f} GB are free "
            f"here. Reading stopped there. Free memory, or read less of it: fewer rows, or columns set to null "
            f"(dataset.columns.<role>.from=null)."
        )

    @classmethod
    def long_header(cls, source: str, most: int) -> Self:
        return cls(
            f"{source} has a first line of more than {most} MiB. Expected the names of its columns: close the quote "
            f'(") that opens in it, or end the lines by a line feed.'
        )

    @classmethod
    def binary(cls, source: str) -> Self:
        return cls.format(source, "it holds zero bytes, so it is a workbook, a picture or the like, or UTF-16 unmarked")

    @classmethod
    def types(cls, source: str, reason: str) -> Self:
        return cls(
            f"The files of {source} do not agree on the type of a column: {_one_line(reason).rstrip('.')}. "
            f"Expected one type per column; write the files alike, for example all as CSV."
        )

    @classmethod
    def quote(cls, source: str, where: str) -> Self:
        return cls(
            f'{source} has a quote (") that opens a field {where} and swallows the lines after it, which look like '
            f"rows. Close the quote, or write a literal one twice inside a quoted field."
        )

    @classmethod
    def separator(cls, source: str, expected: str, likely: str) -> Self:
        argument = "\\t" if likely == "\t" else likely
        return cls(
            f"{source} has one column when split at {expected!r}. Its header looks separated by {likely!r}. "
            f"Set {setting('dataset.separator', argument)}."
        )

    @classmethod
    def encoding(cls, source: str, expected: str, line: int) -> Self:
        return cls(
            f"{source} is not {expected}: line {line} holds a byte outside it. "
            f"Set {setting('dataset.encoding', 'latin-1')}, or cp1252, or what it is, or save the file as UTF-8."
        )

    @classmethod
    def column(cls, source: str, name: str, found: str, kind: str) -> Self:
        return cls(
            f"Column '{name}' of {source} holds {found}, which cannot be read as kind {kind}. "
            f"Expected text, numbers or dates; write the column as one of them."
        )

    @classmethod
    def not_text(cls, source: str, name: str) -> Self:
        return cls(
            f"Column '{name}' of {source} is declared as text and holds bytes that are not UTF-8. Write the column "
            f"anew from text, or as binary."
        )


class ColumnProblem(HiMlError):
    """The header is not the one that the dataset's YAML describes."""

    @classmethod
    def missing(cls, source: str, dataset: str, described: dict[str, str], found: Sequence[str]) -> Self:
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
        found = _header(found)
        names = _some(f"'{name}'{_hint(name, found)}" for name in absent.values())
        near = {role: _closest(name, found) for role, name in absent.items()}
        keys = " ".join(setting(f"dataset.columns.{role}.from", name) for role, name in near.items())
        here = f" or here: {keys}" if len(absent) <= _FEW_KEYS else "."
        return cls(
            f"{source} has no column {names}. It has: {_some(map(_quoted, found), most=40)}. Name it as the file "
            f"does, or as null if the table lacks it, in dataset/{dataset}.yaml{here}"
        )

    @classmethod
    def joined_twice(cls, source: str, roles: Sequence[str]) -> Self:
        return cls(
            f"joins would add {_some(map(repr, roles))}, and {source} has such a column already. Rename one of the "
            "two, or take the join out."
        )

    @classmethod
    def not_for_model(cls, source: str, needed: Sequence[str], found: Sequence[str]) -> Self:
        absent, found = [name for name in needed if name not in found], _header(found)
        names = _some(f"'{name}'{_hint(name, found)}" for name in absent)
        return cls(
            f"{source} has no column {names}, which the model needs. It has: {_some(map(_quoted, found), most=40)}. "
            f"Name the columns of the file as those of the table that the model was trained on."
        )

    @classmethod
    def not_kept(cls, source: str, name: str, found: Sequence[str]) -> Self:
        found = _header(found)
        return cls(f"keep names '{name}'{_hint(name, found)}, which {source} has not. It has: {_some(found, most=40)}.")

    @classmethod
    def private(cls, names: Sequence[str]) -> Self:
        return cls(
            f"keep names {_some(map(repr, names))}, which the model's dataset declares private: no private value "
            f"leaves the reader. Take it out of keep, and join by row afterwards."
        )

    @classmethod
    def taken(cls, names: Sequence[str], kept: Sequence[str]) -> Self:
        return cls(
            f"The columns to keep ({_some(kept)}) would give the output {_some(map(repr, names))} twice. "
            f"Rename them in the input, or leave them out of keep."
        )

    @classmethod
    def duplicated(cls, source: str, names: Sequence[str]) -> Self:
        listed = ", ".join(map(repr, _header(names)))
        return cls(f"{source} has more than one column named {listed}. Rename or remove one.")


class JoinRefused(HiMlError):
    """Another table cannot be joined as it is described."""

    @classmethod
    def not_unique(cls, spec: Mapping[str, Any], count: int, pair: Sequence[int]) -> Self:
        right = ", ".join(name for _, name in spec["on"])
        dated = " and its date" if spec["latest_before"] else ""
        mend = "" if dated else (
            f", or set joins.{spec['name']}.latest_before: {{admitted_on: <its column of dates>}} to take the newest "
            "from before each admission"
        )  # fmt: skip
        return cls(
            f"joins.{spec['name']}: {spec['source']} has {count:,} rows of a key ({right}{dated}) that another row has "
            f"too, such as rows {pair[0]:,} and {pair[1]:,}: joined, they would double admissions. Expected one row a "
            f"key. Keep one of each{mend}."
        )

    @classmethod
    def few(cls, spec: Mapping[str, Any], counts: Mapping[str, int], padding: tuple[int, int]) -> Self:
        name, pairs = spec["name"], ", ".join(f"{left} = {right}" for left, right in spec["on"])
        rows, matched = counts["rows"], counts["rows_matched"]
        expected = f"at least {spec['least_match']:.0%}" if spec["least_match"] else "some"
        sentence = (
            f"joins.{name}: {spec['source']} knows {matched:,} of {rows:,} rows and {counts['keys_matched']:,} of "
            f"{counts['keys']:,} keys ({pairs}); expected {expected}."
        )
        if counts["rows_without_key"]:
            sentence += f" {counts['rows_without_key']:,} rows have no key, which matches nothing."
        if counts["rows_too_early"]:
            sentence += (
                f" Of {counts['rows_too_early']:,} rows the key is there, and all that is known of it is of the day of "
                "the row or later: get the table of an earlier time."
            )
        found, digits = padding
        if found:
            sentence += (
                f" Keys are compared as text: with zeros before them, to {digits} digits as there, {found:,} keys more "
                "would match. Write both as text of that length."
            )
        elif counts["keys"] > counts["keys_matched"]:
            sentence += (
                " If one has names where the other has codes, a crosswalk file with both helps, as a join before this "
                "one: joins.<crosswalk>: {source: <file>, on: {...}, columns: {<code>: {kind: identifier}}}, and "
                f"joins.{name}.on: {{<code>: ...}}."
            )
        if matched and spec["least_match"]:
            sentence += f" Or lower joins.{name}.least_match."
        return cls(sentence)


class TooManyRejected(HiMlError):
    """More rows cannot be read than the dataset allows."""

    @classmethod
    def of(
        cls,
        source: str,
        faults: Sequence[str],
        rejected: tuple[int, int, float],
        file: Path,
        key: str = "dataset.max_rejected",
        causes: Sequence[str] = (),
    ) -> Self:
        bad, rows, limit = rejected
        allowed = f"at most {limit:.1%} may be" if bad < rows else "none is left"
        mend = "Mend them" if 2 * bad > rows else f"Mend them, or raise {key}"  # what breaks most rows is no exception
        return cls(
            f"{source}: {bad} of {rows} rows cannot be read ({bad / rows:.1%}; {allowed}). Broken rules: "
            f"{_some(faults, most=20)}. They are listed in {file}. " + f"{'. '.join(causes) or mend}."
        )


class NotTrainable(HiMlError):
    """A task cannot be trained on the table."""

    @classmethod
    def no_role(cls, task: str, role: str, dataset: str) -> Self:
        return cls(
            f"{task} is not trainable: the table declares no '{role}'. "
            f"Say which column it is, in dataset/{dataset}.yaml or here: '++dataset.columns.{role}.from=\"<column>\"'"
        )

    @classmethod
    def not_of_rows(cls, task: str, target: str, owner: str) -> Self:
        return cls(
            f"{task} predicts '{target}', which belongs to the {owner}, not to an admission: every row of one {owner} "
            f"has the same. State a claim about it instead, by {owner}, as conf/finding/patient_survey.yaml does."
        )

    @classmethod
    def target(cls, task: str, target: str, found: str) -> Self:
        return cls(f"{task} is not trainable: expected at least two different values of '{target}', found {found}.")

    @classmethod
    def many_labels(cls, task: str, target: str, labels: int, rows: int) -> Self:
        return cls(
            f"{task} is not trainable: '{target}' has {labels:,} labels in {rows:,} rows, so it tells rows, not "
            f"classes. Set tasks.{task}.positive=[<words>] to predict some of them against the rest, or another "
            f"tasks.{task}.target."
        )

    @classmethod
    def no_level(cls, task: str, lacking: Sequence[str], levels: Sequence[str]) -> Self:
        return cls(
            f"{task} is not trainable: tasks.{task}.positive names {_some(map(repr, lacking))}, which no row has. "
            f"The commonest of {len(levels)} levels are {_some(map(repr, levels), most=8)}."
        )

    @classmethod
    def implausible(cls, task: str, score: str, *, limit: float, nearest: str) -> Self:
        return cls(
            f"{task} was not kept: {score}, above implausible_above, which is {limit:g}. What gives it most is "
            f"'{nearest}': is it known at that moment, or another word for the target? Set "
            f"dataset.columns.{nearest}.known=after, or raise tasks.{task}.implausible_above."
        )

    @classmethod
    def too_few_groups(cls, task: str, groups: int, needed: int, rows: int) -> Self:
        return cls(
            f"{task} is not trainable: expected at least {needed} groups of rows (near-duplicates and one patient's "
            f"admissions form one group), found {groups} in {rows} usable rows. Add admissions."
        )

    @classmethod
    def few_days(cls, days: int, needed: int) -> Self:
        return cls(
            f"A board is replayed over {needed} days of admissions at least, of which the first three quarters train a "
            f"model; found {days}. Add earlier admissions, with their discharges."
        )

    @classmethod
    def no_features(cls, task: str, refused: dict[str, str]) -> Self:
        why = "; ".join(f"{role}: {reason}" for role, reason in refused.items())
        return cls(f"{task} is not trainable: no column is left to predict from ({why}).")

    @classmethod
    def reproduced(cls, task: str, horizon: str, roles: Sequence[str], *, share: str, limit: float) -> Self:
        names = " and ".join(f"'{role}'" for role in roles)
        keys = " or ".join(f"dataset.columns.{role}.known=after" for role in roles)
        later = "it is known" if len(roles) == 1 else "the later one is known"
        what = "is the target under another name" if len(roles) == 1 else "together are the target under another name"
        return cls(
            f"{task} is not trainable: {names} {what}, removing {share} % of the baseline's error on other rows. "
            f"No column known at {horizon} should do that. Say when {later} ({keys}), or leave it out of "
            f"tasks.{task}.features. If it is known so early, raise probes.largest_skill, which is {limit:g}."
        )

    @classmethod
    def empty_part(cls, task: str, part: str, rule: str) -> Self:
        return cls(
            f"{task} is not trainable: split={rule} leaves fewer than two groups of rows in the {part} part. "
            f"Try another split or seed, or add admissions."
        )


class GroupsTorn(HiMlError):
    """Rows that belong together were parted, or a row's own target reached its features: a fault of hi_ml."""

    @classmethod
    def of(cls, task: str, faults: Sequence[str]) -> Self:
        return cls(
            f"hi_ml stopped before it trained {task}, since its scores would have been too good: {'; '.join(faults)}. "
            f"Expected none. This is a fault of hi_ml, not of the table: please report it."
        )


class ModelUnservable(HiMlError):
    """A fitted model could be written, but not be loaded again and score."""

    @classmethod
    def of(cls, task: str, reason: str) -> Self:
        return cls(
            f"The model of {task} cannot be kept: {reason} Expected a learner of scikit-learn or LightGBM in "
            f"model.regression and model.classification (conf/model/*.yaml), whose parts hi_ml.scorer.serving may load."
        )


class ModelUnknown(HiMlError):
    """No model can be found under what was asked for."""

    @classmethod
    def unreadable(cls, uri: str, known: Sequence[str]) -> Self:
        return cls(
            f"{uri} is no address of a model. Expected models:/<name>@<alias>, models:/<name>/<version>, "
            f"models:/<model_id>, runs:/<run_id>/model, or a folder. Registered are: {_some(known, most=20) or 'none'}."
        )

    @classmethod
    def no_folder(cls, folder: Path) -> Self:
        return cls(
            f"There is no {folder} (looked in {Path.cwd()}). Expected the folder of a model or of a trained task, for "
            f"example outputs/train/<timestamp>/length_of_stay."
        )

    @classmethod
    def no_store(cls, uri: str, store: str) -> Self:
        return cls(
            f"{uri} cannot be found: there is no store of models at {store}. Train one here (python -m hi_ml.train), "
            f"run in the folder where it was trained, set MLFLOW_TRACKING_URI, or name the model's folder."
        )

    @classmethod
    def no_answer(cls, uri: str, store: str, reason: str) -> Self:
        why = _one_line(reason)[:_LONGEST_REASON] or "it gave no reason"
        return cls(f"MLflow at {store} does not give {uri}: {why}. Check MLFLOW_TRACKING_URI, or name a folder.")

    @classmethod
    def no_name(cls, name: str, store: str, known: Sequence[str]) -> Self:
        return cls(
            f"{store} has no registered model '{name}'{_hint(name, known)}. "
            f"It has: {_some(known, most=20) or 'none'}. Train it (python -m hi_ml.train), or choose one of these."
        )

    @classmethod
    def no_version(cls, uri: str, aliases: Mapping[str, object], versions: Sequence[int]) -> Self:
        named = [f"@{alias} (version {version})" for alias, version in aliases.items()]
        return cls(
            f"There is no {uri}. The model has the aliases {_some(named) or 'none'} and the versions "
            f"{_some(map(str, versions), most=20) or 'none'}. Choose one of these."
        )

    @classmethod
    def no_entry(cls, uri: str, store: str) -> Self:
        return cls(f"{store} has nothing under {uri}. Look it up in MLflow, or name a registered model or a folder.")

    @classmethod
    def gone(cls, uri: str, folder: Path) -> Self:
        return cls(f"{uri} is known, but its files are not at {folder}. Bring them back, or train the model again.")


class ModelRefused(HiMlError):
    """A model that hi_ml did not write, or that was changed since: it is not loaded."""

    @classmethod
    def foreign(cls, uri: str, found: Sequence[str]) -> Self:
        return cls(
            f"{uri} is no model of hi_ml: expected artifacts/scorer with mapping.json and pipeline.skops, found "
            f"{_some(found, most=8) or 'nothing'}. Other models may run code as they are loaded, so nothing was. "
            f"Name a model that python -m hi_ml.train made."
        )

    @classmethod
    def changed(cls, uri: str, *, expected: str, found: str) -> Self:
        signed = f"SHA-256 {expected[:_DIGITS]}..." if expected else "a digest in its MLmodel"
        return cls(
            f"{uri} was changed since it was saved: expected {signed}, found {found[:_DIGITS]}.... It was not loaded. "
            f"Fetch it again from where it was trained, or train it again."
        )

    @classmethod
    def unsafe(cls, uri: str, reason: str) -> Self:
        return cls(f"{uri} was not loaded: {reason} Train the model again (python -m hi_ml.train).")

    @classmethod
    def no_reasons(cls, learner: str) -> Self:
        return cls(
            f"There are no reasons for predictions of a {learner}: expected LightGBM, trees of scikit-learn, or a "
            f"linear model, whose contributions can be computed exactly. Set reasons=0, or choose another model."
        )


class PrivateValueFound(HiMlError):
    """A private value of the table stands in a file that would be kept."""

    @classmethod
    def in_files(cls, places: dict[str, int]) -> Self:
        listed = ", ".join(f"{name} ({count})" for name, count in places.items())
        return cls(
            f"Private values of the table were found in {listed}. Nothing was kept or tracked. Declare the columns "
            f"that hold them as private: true in the dataset's YAML, and rename a column that is called like a patient."
        )

    @classmethod
    def in_rows(cls, source: str, rows: Sequence[int], *, numbered: bool = True) -> Self:
        listed = ", ".join(f"{row:,}" for row in rows[:5]) + (" and more" if len(rows) > 5 else "")  # noqa: PLR2004
        which = f" (data row {listed})" if numbered else ""
        return cls(
            f"Column {source} is not private, and holds a private value of its own row in {len(rows):,} rows{which}. "
            f"Nothing was kept. Declare it in the dataset's YAML: private: true, or organisations: true "
            f"where it names hospitals or insurers that are called like people."
        )


class TrackingFailed(HiMlError):
    """The run stands in its folder, but MLflow did not take it."""

    @classmethod
    def of(cls, folder: Path, uri: str, reason: object) -> Self:
        text = _one_line(re.sub(r"\[SQL:.*|\(raised as a result of[^)]*\)", "", str(reason), flags=re.DOTALL))
        return cls(
            f"MLflow at {uri} did not take the run: {text[:300] or 'it gave no reason'}. "
            f"Nothing is lost: the run stands in {folder}. "
            f"Send it when the store answers: {command_to_track(folder)}"
        )

    @classmethod
    def deleted(cls, uri: str, experiment: str, number: str) -> Self:
        return cls(
            f"MLflow at {uri} keeps the experiment {experiment} as deleted, and takes no runs for it. Restore it: "
            f"MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow experiments restore --experiment-id {number}."
        )


class RunFolderInvalid(HiMlError):
    """A folder is no finished run of hi_ml."""

    @classmethod
    def of(cls, folder: Path, missing: str) -> Self:
        return cls(
            f"{folder} is no finished run: it has no {missing}. "
            f"Expected the folder of one task, for example outputs/train/<timestamp>/length_of_stay."
        )

    @classmethod
    def strange(cls, folder: Path, what: str) -> Self:
        return cls(
            f"{folder} is not as hi_ml writes a run: {what}. Nothing was sent. Make the run again here: its "
            f"overrides.txt says with what."
        )

    @classmethod
    def unknown_code(cls, folder: Path, name: str, digest: str) -> Self:
        return cls(
            f"{folder} holds a model whose code, {name}, no version of hi_ml has written. Nothing was sent. Whoever "
            f"serves the model runs that code: read it, and if you trust it, say so: 'trust=[sha256:{digest}]'"
        )


class NotComparable(HiMlError):
    """Runs cannot be held against each other."""

    @classmethod
    def no_store(cls, uri: str, command: str = "python -m hi_ml.train") -> Self:
        return cls(
            f"There is no store of runs at {uri}. Expected at least two tracked runs: {command}, run compare in "
            f"the folder where they were trained, or name run folders: runs=[<folder>,<folder>]."
        )

    @classmethod
    def unreachable(cls, uri: str, reason: object) -> Self:
        why = _one_line(reason)[:_LONGEST_REASON]
        return cls(f"MLflow at {uri} does not tell its runs: {why}. Check MLFLOW_TRACKING_URI, or name run folders.")

    @classmethod
    def too_few(
        cls, experiment: str, command: str, groups: Mapping[Any, Sequence[str]], known: Sequence[str] = ()
    ) -> Self:
        found = sum(map(len, groups.values()))
        apart = "; ".join(", ".join(names) for names in groups.values())
        more = f", each group on other data or another split: {apart}" if len(groups) > 1 else ""
        others = [name for name in known if name != experiment]
        return cls(
            f"Expected at least two finished runs of {experiment} on the same table and split, whose files are here, "
            f"found {found}{more}. Train another model on them: {command}\nOf runs of another machine the predictions "
            f"are here only if they were trained there with share_rows=true."
            + (f"\nThe store also has runs of {', '.join(others)}." if others else "")
        )

    @classmethod
    def unknown_run(cls, asked: str, experiment: str, known: Sequence[str]) -> Self:
        return cls(
            f"There is no run '{asked}'{_hint(asked, known)}: neither a folder, nor the id or name of a finished run "
            f"of {experiment}, which has {_some(known, most=10) or 'none'}."
        )

    @classmethod
    def unknown_task(cls, asked: str, known: Sequence[str]) -> Self:
        return cls(
            f"runs={asked} names no task of one dataset{_hint(asked, known)}. The store has "
            f"{_some(known, most=10) or 'none'}: set runs=<dataset>/<task>."
        )

    @classmethod
    def other_task(cls, label: str, task: str, asked: str) -> Self:
        return cls(f"Run {label} is of task {task}, not of {asked}. Set task={task}, or leave the run out.")

    @classmethod
    def digests(cls, runs: Mapping[tuple[str, str], Sequence[str]]) -> Self:
        listed = "; ".join(
            f"data {data[:_DIGITS]} and split {split[:_DIGITS]}: {', '.join(labels)}"
            for (data, split), labels in runs.items()
        )
        return cls(
            f"Runs on different data or splits cannot be compared: {listed}. Choose runs of one digest of each, or "
            f"train them again on the same table, split and seed."
        )

    @classmethod
    def damaged(cls, labels: Sequence[str], error: Exception) -> Self:
        return cls(
            f"One of the runs {_some(labels)} says less of itself than it should ({type(error).__name__}: "
            f"{_one_line(error)}). Leave it out by runs=[...], or train it again."
        )

    @classmethod
    def differ(cls, one: str, other: str, what: str) -> Self:
        return cls(f"Runs {one} and {other} cannot be compared: {what} differ. Leave one out by runs=[...].")


class NotValidatable(HiMlError):
    """A frozen model cannot be asked of this table what it was asked at home."""

    @classmethod
    def no_model(cls) -> Self:
        return cls(
            "validate needs model_uri=<models:/<name>/<version>, runs:/<id>/model, or a run folder>, the frozen model, "
            "and dataset=<the other table>; no model was named."
        )

    @classmethod
    def no_home(cls, uri: str) -> Self:
        return cls(
            f"{uri} does not carry what it reached on its own test part (home.json): an older version of hi_ml made "
            f"it, and there is nothing to hold another table against. Train it again: python -m hi_ml.train"
        )

    @classmethod
    def lacks(cls, dataset: str, roles: Sequence[str], known: Sequence[str]) -> Self:
        keys = " ".join(f"++dataset.columns.{role}.from=<column>" for role in roles)
        return cls(
            f"dataset={dataset} has no column for {_some(map(repr, roles), most=40)}, which the model needs; a frozen "
            f"model has nothing to put there. It has: {_some(known, most=40)}. Name the columns of the file: {keys}"
        )

    @classmethod
    def late(cls, dataset: str, late: Mapping[str, str], horizon: str) -> Self:
        listed = _some((f"{role} at {known}" for role, known in late.items()), most=40)
        key = next(iter(late))
        return cls(
            f"The model predicts at {horizon} from columns that dataset={dataset} knows later: {listed}. Used all the "
            f"same, they would flatter it. If they are known by then, say so: "
            f"{setting(f'dataset.columns.{key}.known', horizon)}"
        )

    @classmethod
    def kind(cls, dataset: str, role: str, found: str, needed: str) -> Self:
        return cls(
            f"'{role}' is a {found} in dataset={dataset}, and the model was taught a {needed}. Describe it as one: "
            f"{setting(f'dataset.columns.{role}.kind', needed)}, with bands, levels or format if its cells need them."
        )

    @classmethod
    def stay(cls, dataset: str, found: str, needed: str) -> Self:
        return cls(
            f"dataset={dataset} counts a stay as {found}, the model as {needed}: every stay would differ by a day. If "
            f"the table counts as the model does, say so: {setting('dataset.stay', needed)}. Else give the two dates, "
            f"from which either is computed, instead of the stay."
        )

    @classmethod
    def unit(cls, role: str, found: float, needed: float) -> Self:
        return cls(
            f"The median of '{role}' is {found:.4g} here and {needed:.4g} where the model was trained, which is "
            f"{found / needed:.3g} times as much: the units seem to differ. Set by which number it is multiplied "
            f"here, 1 if the units agree and the difference is real: ++factors.{role}=<number>"
        )

    @classmethod
    def labels(cls, dataset: str, target: str, strange: Sequence[str], known: Sequence[str]) -> Self:
        return cls(
            f"'{target}' of dataset={dataset} has labels that the model cannot predict: {_some(map(repr, strange))}; "
            f"it knows {_some(map(repr, known), most=20)}. Give them its names, or null to leave them out: "
            f"'++dataset.columns.{target}.levels={{<label here>: <label there>}}'"
        )


class NotAsClaimed(HiMlError):
    """A scored file is not what its manifest says, or cannot be shown to be."""

    @classmethod
    def no_manifest(cls, path: Path, reason: str) -> Self:
        return cls(
            f"{path} is no manifest of predict: {reason}. Expected <output>.manifest.json, as predict writes it."
        )

    @classmethod
    def of(cls, output: Path, faults: Sequence[str]) -> Self:
        return cls(f"{output} is not shown to be what its manifest claims: {'; '.join(faults)}. Score the input again.")


class NotResumable(HiMlError):
    """A search cannot be continued."""

    @classmethod
    def absent(cls, path: Path) -> Self:
        return cls(
            f"There is no search to resume: no file at {path}. Expected resume=<folder of a search>, for example "
            f"resume=outputs/tune/<timestamp>."
        )

    @classmethod
    def damaged(cls, path: Path, reason: object) -> Self:
        why = _one_line(reason)[:_LONGEST_REASON]
        return cls(f"{path} is no study that hi_ml wrote: {why}. Start a new search, without resume=.")

    @classmethod
    def another(cls, folder: Path, differing: Mapping[str, tuple[object, object]]) -> Self:
        listed = _some(f"{key} was {_short(then)} and is {_short(now)}" for key, (then, now) in differing.items())
        return cls(
            f"The search in {folder} is another one: {listed}. Ask for the same as then, or start a new search, "
            f"without resume=."
        )


class NoContest(HiMlError):
    """A champion and a new model cannot be held against each other; the new one stays challenger."""

    @classmethod
    def other(cls, what: str, champion: object, challenger: object) -> Self:
        return cls(f"they differ in {what}, which is {challenger} here and {champion} of the champion")

    @classmethod
    def lacks(cls, roles: Sequence[str]) -> Self:
        return cls(f"the table has no {_some(roles)}, which the champion needs")

    @classmethod
    def another_table(cls, differences: Sequence[str]) -> Self:
        return cls(
            f"this looks like another table than the champion's ({'; '.join(differences)}): give it a name of its own, "
            "dataset.name=<name>"
        )

    @classmethod
    def incomplete(cls, missing: str) -> Self:
        return cls(f"the champion keeps no {missing}")

    @classmethod
    def other_key(cls) -> Self:
        return cls(
            "the champion's rows are digested by another key than the one in .hi_ml/key, which was lost or is of "
            "another folder: runs of that key can no longer be paired with new ones"
        )


class SiteKeyInvalid(HiMlError):
    """The key by which rows are digested that leave this machine cannot be read."""

    @classmethod
    def of(cls, path: Path, digits: int) -> Self:
        return cls(
            f"{path} holds no key: expected {digits} hexadecimal digits. Bring it back from a backup, or remove it: "
            f"the next run makes a new one, and runs tracked before can no longer be paired with later ones."
        )


class MessageRefused(HiMlError):
    """A message cannot be taken: its sender hears why, and neither says what stands in it."""

    def __init__(self, code: Literal["AR", "AE"], field: str, reason: str, header: object = None) -> None:
        super().__init__(f"{field}: {reason}.")
        self.code, self.field, self.reason = code, field, reason
        self.header = header  # as far as it could be read, for the answer


class Undelivered(HiMlError):
    """Nobody took a message."""

    @classmethod
    def of(cls, address: str, count: int, patience: float) -> Self:
        return cls(
            f"Nobody at {address} has taken the next message for {patience:g} s, after {count:,} that were answered. "
            f"Start listen there, or name another address: to=<host>:<port>"
        )


class OutputFailed(HiMlError):
    """A result could not be written."""

    @classmethod
    def of(cls, error: OSError) -> Self:
        where = f" {error.filename}" if error.filename else ""
        why = error.strerror or error
        return cls(f"Could not write{where}: {why}. Nothing half-written was kept. {_remedy(error)}")

    @classmethod
    def not_empty(cls, folder: Path, names: list[str]) -> Self:
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
        return cls(
            f"{folder} is to hold one run and nothing else, and holds {listed}. Nothing there was touched. "
            f"Name a folder that is new or empty: hydra.run.dir={folder / 'run'}"
        )

    @classmethod
    def not_ours(cls, folder: Path, names: list[str]) -> Self:
        return cls(
            f"{folder} is where the work for this output would go, and holds {', '.join(names[:3])}, which is none of "
            f"it. Nothing was touched. Move it, or choose another output."
        )

    @classmethod
    def present_folder(cls, folder: Path) -> Self:
        return cls(f"A run cannot take the place of the present folder. Name a new one: hydra.run.dir={folder / 'run'}")

    @classmethod
    def unfinished(cls, error: OSError, work: Path, chunks: int) -> Self:
        return cls(
            f"Could not write {error.filename or work}: {error.strerror or error}. The output was not touched; "
            f"{chunks} finished chunks are kept in {work}. {_remedy(error)} The same command goes on from there."
        )

    @classmethod
    def no_log(cls, path: Path) -> Self:
        return cls(f"There is no log at {path} (looked in {Path.cwd()}). Expected the file of listen: log.path=<file>")

    @classmethod
    def not_a_log(cls, path: Path, reason: str) -> Self:
        return cls(f"{path} is no log of listen: {_one_line(reason)}. Name another file, or a new one: log.path=<file>")

    @classmethod
    def busy(cls, output: Path) -> Self:
        return cls(f"{output} is being written by another process. Wait until it has ended, or choose another output.")

    @classmethod
    def exists(cls, output: object) -> Self:
        return cls(
            f"{output} is there already, and Spark replaces nothing. Name a folder that is new or empty, or a table "
            "that is not there yet."
        )

    @classmethod
    def is_input(cls, path: Path) -> Self:
        return cls(
            f"{path} is one of the files of input=, which are only read, and this command would write it. Choose "
            "another output, or a folder of its own for it."
        )

    @classmethod
    def scheme(cls, scheme: str) -> Self:
        return cls(
            f"Nothing can be written to an address that begins with {scheme}. Nothing was written. Name a path of this "
            "machine, and copy the result from there."
        )

    @classmethod
    def no_path(cls, command: str, found: str | None, suffixes: Sequence[str] = (".csv", ".parquet")) -> Self:
        given = "none was given" if found is None else f"found output={found}"
        table = ", or 'output={url: \"...\", table: <name>}'" if command == "predict" else ""
        files = " or ".join(f"output=<file>{suffix}" for suffix in suffixes)
        return cls(f"{command} needs {files}{table}; {given}.")


def _remedy(error: OSError) -> str:
    """What helps against an error of the system; of a full disk only, if it is one."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free space, then run again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return "Choose a writable folder (hydra.run.dir=<folder>, output=<file>), then run again."
    return "The disk is not full: see what the system says, then run again."


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())


def _escaped(written: str) -> str:
    """Write what cannot be printed so that a shell reads it all the same."""
    kept = written.replace("\\", r"\\").replace("'", r"\'")
    return "$'" + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in kept) + "'"


def _plain(name: str) -> str:
    return name.strip().casefold()


def _hint(name: str, known: Sequence[str]) -> str:
    close = _closest(name, known)
    return "" if close is None else f" (did you mean {_quoted(close)}?)"


def _closest(name: str, known: Sequence[str]) -> str | None:
    same = {_plain(one): one for one in known}
    return next((same[close] for close in get_close_matches(_plain(name), same, n=1)), None)


def _short(value: object) -> str:
    text = "not set" if value is None else str(value)
    return f"{text[:_DIGITS]}..." if len(text) > 4 * _DIGITS else text


def _quoted(name: str) -> str:
    return name if name == name.strip() and name.isprintable() else repr(name)


def _found(value: object) -> str:
    """What stood there, unless it is a whole section."""
    return "" if isinstance(value, Mapping | list) else f" (found {value!r})"


def _header(names: Sequence[str]) -> list[str]:
    """What may be shown of a first line: nothing where it holds numbers and dates, for it may be an admission."""
    cells = sum(bool(re.fullmatch(r"[+-]?\d[\d.,/: T-]*", name.strip())) for name in names)
    return [f"a first line of {len(names)} values, not of names"] if cells > 1 else list(names)


def _some(items: Iterable[str], *, most: int = 5) -> str:
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"
