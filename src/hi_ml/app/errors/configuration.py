"""Refusals of what the user set."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from hi_ml.app.errors.wording import (
    LONGEST_REASON,
    HiMlError,
    found_there,
    hint,
    one_line,
    setting,
    shown,
    some,
)

_NO_KEY = "Unexpected keyword argument"
_WORDS = {_NO_KEY: "there is no such key", "Field required": "expected a value, found none"}


class ConfigurationInvalid(HiMlError):
    """A key or value of the configuration is wrong."""

    @classmethod
    def from_list(cls, problems: Iterable[tuple[str, str, object]], groups: Sequence[str] = ()) -> Self:
        lines = [
            f"{where}: {_WORDS.get(what, what.removeprefix('Value error, '))}"
            f"{hint(where, groups) if what == _NO_KEY and '.' not in where else ''}{found_there(found)}"
            for where, what, found in problems
        ]
        return cls(f"The configuration is wrong: {'; '.join(lines)}. See --cfg job for what was composed.")

    @classmethod
    def unknown_key(cls, key: str, known: Sequence[str]) -> Self:
        above, _, name = key.rpartition(".")
        where = f"{above} has" if above else "There are"
        listed = f"the keys {', '.join(known)}" if known else "no key yet"
        meant = hint(name, known)
        added = f" One that the YAML files leave out is added with a plus: +{key}=<value>."
        return cls(f"There is no key '{key}'{meant}. {where} {listed}.{'' if meant and not above else added}")

    @classmethod
    def no_option(cls, group: str, name: str, known: Sequence[str]) -> Self:
        return cls(
            f"There is no {group}={name}{hint(name, known)}. Expected one of {', '.join(known)}, or a file "
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
    def not_read(cls, path: Path, ours: Path | None) -> Self:
        if ours is None:
            return cls(f"{path} would not be read: the files of options end in .yaml. Rename it to {path.stem}.yaml.")
        return cls(
            f"{path} would not be read: {ours} says what the commands take, and no file of yours changes that. Remove "
            f"it; what it sets stands on the command line, or in {path.name} of a folder experiment beside it."
        )

    @classmethod
    def no_yaml(cls, path: Path, reason: str) -> Self:
        why = one_line(reason)[:LONGEST_REASON].rstrip(".")
        return cls(f"{path} cannot be read as YAML in UTF-8: {why}. Mend that line, or start from conf/ anew.")

    @classmethod
    def untrusted(cls, key: str, target: str) -> Self:
        return cls(
            f"{key}={target} is no learner of scikit-learn, LightGBM or CatBoost: a class with fit. Another class runs "
            f"code of its own. If you trust it, say so: 'trust=[{target}]'"
        )

    @classmethod
    def not_composed(cls, reason: str) -> Self:
        text = one_line(reason.replace(", set env var HYDRA_FULL_ERROR=1 to see chained exception", ""))
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
            f"in tasks.{task}.features{hint(role, usable)}."
        )

    @classmethod
    def open_door(cls, part: str, host: str, keys: str) -> Self:
        return cls(
            f"{part}.host={host} can be reached from other machines: expected TLS there, and a token for the page. "
            f"Set {keys}, or listen to this machine alone: {part}.host=127.0.0.1"
        )

    @classmethod
    def no_certificate(cls, where: str, reason: str) -> Self:
        return cls(f"{where} cannot be used: {one_line(reason)}. Expected files in PEM, the key without a passphrase.")

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
            f"Intervals of {task} cannot be apart by '{role}'{hint(role, seen)}: expected a category or number that "
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
            f"{learner} has no argument '{name}'{hint(name, known)}, and would leave it out without a word or "
            f"refuse it later. Take {key} out, or spell it as the learner does."
        )

    @classmethod
    def learner(cls, model: str, error: Exception) -> Self:
        reason = one_line(error) or type(error).__name__
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
    def of_spark_alone(cls, key: str) -> Self:
        return cls(
            f"{key}= is of engine=spark alone, and here the engine is local: rows are told apart by their number. "
            f"Leave {key}= out, set engine=spark, or carry columns of the input through: keep=[<column>]."
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
        return cls(f"{key}={path} cannot be read (looked in {Path.cwd()}). Expected {known}{hint(path, names)}.")

    @classmethod
    def no_target(cls, name: str, names: Sequence[str]) -> Self:
        known = some(map(shown, names), most=60)
        computed = (
            "A length of stay is computed of two dates: leave target= out, and give theirs the roles admitted_on and "
            "discharged_on in the draft. "
        ) * (name == "length_of_stay")
        return cls(f"target={name} names no column of the file{hint(name, names)}. {computed}It has: {known}.")

    @classmethod
    def no_such_column(cls, key: str, name: str, names: Sequence[str]) -> Self:
        return cls(
            f"dataset.{key} names no column of the file{hint(name, names)}. "
            f"It has: {some(map(shown, names), most=60)}. Expected a name, a range "
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
        return cls(f"{name}={found} is unknown. Expected one of {', '.join(allowed)}{hint(str(found), allowed)}.")

    @classmethod
    def one_level(cls, role: str, others: Sequence[str]) -> Self:
        return cls(
            f"holdout_by={role} leaves one {role} out at a time, and the table has a single one. Expected a column of "
            f"two or more: {', '.join(others) or 'there is none'}. Or leave holdout_by out."
        )


class SiteKeyInvalid(HiMlError):
    """The key by which rows are digested that leave this machine cannot be read."""

    @classmethod
    def of(cls, path: Path, digits: int) -> Self:
        return cls(
            f"{path} holds no key: expected {digits} hexadecimal digits. Bring it back from a backup, or remove it: "
            f"the next run makes a new one, and runs tracked before can no longer be paired with later ones."
        )
