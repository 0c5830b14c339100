"""What a message says to do, done: every key and command that one names, on a table of one's own with --config-dir."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from hi_ml.app import errors
from hi_ml.app.config import build, compose, conf_dir
from hi_ml.app.errors import HiMlError, setting
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.findings import ready
from hi_ml.reports.train import prepare
from hi_ml.train import TrainSettings

# How a message names a setting or a command, in the source of the constructor that makes it
_NAMES_ONE = re.compile(
    r"setting\(|to_train\(|python -m|\+\+|command_to_|\{command\}|[a-z_]+\.[a-z_.{}]+="
    r"|\b(?:interval_by|horizon|task|trust|dataset|runs|output|input|resume|run|split|seed|scale|speed)=[\[{<a-z']"
)
_COMMAND = re.compile(r"python -m hi_ml\.(\w+)((?: (?:'[^']*'|[^\s']+)+)*)")
_SETTING = re.compile(r"'(\+\+[^']+|[a-z_.]+=[^']+)'|((?:\+\+)?[a-z_]+(?:\.\w+)*=[^\s,;()<>']+)")


@pytest.fixture(scope="module")
def table(tmp_path_factory, cells):
    """A folder with a table under headers of its own, and the dataset that describes it, in a folder of options."""
    place = tmp_path_factory.mktemp("mine")
    headers = {name: f"my {name.lower()}" for name in cells}
    cells.rename(columns=headers).to_csv(place / "mine.csv", index=False)
    kaggle = yaml.safe_load((conf_dir() / "dataset" / "kaggle.yaml").read_text(encoding="utf-8"))
    columns = {role: {**column, "from": headers[column["from"]]} for role, column in kaggle["columns"].items()}
    (place / "my options" / "dataset").mkdir(parents=True)
    described = {"name": "mine", "source": "mine.csv", "missing": ["", "na"], "columns": columns}
    (place / "my options" / "dataset" / "mine.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return place


@pytest.fixture
def asked(table, monkeypatch, tmp_path):
    """Do what train does until it fits: compose, read, pose every task. ``asked("interval_by=sex")``."""
    monkeypatch.chdir(table)

    def ask(*words, options="my options"):
        node = compose("train", "dataset=mine", "model=baseline", *words, config_dir=options)
        settings = build(TrainSettings, node)
        method = settings.method()
        prepared = prepare(settings.dataset, settings.at_horizon(), tmp_path, {})
        for task in settings.at_horizon():
            prepared.pose(task, method)
        intervals = method.assessments["intervals"]
        return settings, intervals

    return ask


def followed(message, **answers):
    """The settings that a message names, with what stands for ``<...>`` filled in, as a shell hands them over."""
    for blank, answer in answers.items():
        message = message.replace(f"<{blank}>", answer)
    return [(quoted or bare).rstrip(".") for quoted, bare in _SETTING.findall(message)]


def headless(place, name):
    frame = pd.read_csv(place / "mine.csv", dtype=str, keep_default_na=False)
    frame.drop(columns=["my billing amount"]).rename(columns={"my age": "my ages"}).to_csv(place / name, index=False)


def latin(place, name):
    text = (place / "mine.csv").read_text(encoding="utf-8").replace("Asthma", "Grippe fébrile")
    (place / name).write_bytes(text.encode("latin-1"))


def semicolons(place, name):
    pd.read_csv(place / "mine.csv", dtype=str, keep_default_na=False).to_csv(place / name, index=False, sep=";")


# What is asked for, of which table, and which of the settings that the refusal names is the remedy
CASES = {
    "SourceUnreadable.absent": (["dataset.source=gone.csv"], None, {"path": "mine.csv"}, "dataset.source"),
    "SourceUnreadable.separator": (["dataset.source=other.csv"], semicolons, {}, "dataset.separator"),
    "SourceUnreadable.encoding": (["dataset.source=other.csv"], latin, {}, "dataset.encoding"),
    "ColumnProblem.missing": (["dataset.source=other.csv", "task=length_of_stay"], headless, {}, "dataset.columns"),
    "NotTrainable.no_role": (
        ["task=billing", "dataset.columns.billed.from=null"], None, {"column": "my billing amount"}, "dataset.columns",
    ),
    "ConfigurationInvalid.late_column": (
        ["task=length_of_stay", "tasks.length_of_stay.features=[medication]"], None, {}, "horizon",
    ),
    "ConfigurationInvalid.unreadable_override": (["dataset.source=~/mine.csv"], None, {}, "dataset.source"),
    "NotTrainable.empty_part": (["split=temporal", "split.train=0.999", "split.calibration=0.0005"], None, {}, "split"),
}  # fmt: skip
# Where what the others say is run
ELSEWHERE = {
    "ConfigurationInvalid.no_times": "test_feed_fhir",
    "EngineRefused.no_source": "test_findings_sql",
    "ConfigurationInvalid.interval_by": "test_bad_input",
    "ConfigurationInvalid.interval_bands": "test_assessments",
    "ConfigurationInvalid.no_log": "test_scale",
    "ConfigurationInvalid.one_task": "test_tune",
    "ConfigurationInvalid.untrusted": "test_training",
    "ConfigurationInvalid.known_too_early": "test_readers",
    "SourceUnreadable.no_input": "test_predict",
    "SourceUnreadable.no_messages": "test_feed_service",
    "SourceUnreadable.bomb": "test_limits",
    "SourceUnreadable.too_large": "test_limits",
    "NotTrainable.many_labels": "test_roles_and_kinds",
    "NotTrainable.implausible": "test_attrition",
    "NotTrainable.reproduced": "test_probes",
    "ModelUnknown.no_store": "test_prediction_load",
    "ModelUnknown.no_name": "test_prediction_load",
    "ModelRefused.foreign": "test_prediction_load",
    "ModelRefused.unsafe": "test_prediction_load",
    "TrackingFailed.of": "test_bad_input",
    "TrackingFailed.deleted": "test_messages",
    "RunFolderInvalid.unknown_code": "test_tracking_door",
    "NotComparable.no_store": "test_messages",
    "NotComparable.too_few": "test_messages",
    "NotComparable.unknown_task": "test_compare",
    "NotComparable.other_task": "test_compare",
    "NotComparable.damaged": "test_comparison",
    "NotComparable.differ": "test_compare",
    "NotResumable.absent": "test_tune",
    "NoContest.another_table": "test_promotion",
    **{
        f"NotValidatable.{name}": "test_validate"
        for name in ("no_model", "no_home", "lacks", "late", "kind", "stay", "unit", "labels", "no_outcome")
    },
    "OutputFailed.not_empty": "test_files",
    "OutputFailed.present_folder": "test_files",
    "OutputFailed.no_path": "test_predict",
    "OutputFailed.no_log": "test_feed_service",
    "OutputFailed.not_a_log": "test_feed_service",
}


def test_every_constructor_of_a_message_with_a_setting_or_a_command_is_here_or_says_where_it_is_run():
    sources = [path.read_text(encoding="utf-8") for path in Path(errors.__file__).parent.glob("*.py")]
    naming = {
        f"{kind.name}.{function.name}"
        for source in sources
        for kind in ast.parse(source).body if isinstance(kind, ast.ClassDef)
        for function in kind.body if isinstance(function, ast.FunctionDef)
        if _NAMES_ONE.search(ast.get_source_segment(source, function) or "")
    }  # fmt: skip
    assert naming - CASES.keys() - ELSEWHERE.keys() == set(), "a new message: run what it says, in CASES"
    assert CASES.keys() | ELSEWHERE.keys() <= naming | {"TrackingFailed.deleted"}


@pytest.mark.parametrize("name", CASES)
def test_what_a_refusal_says_is_done_and_then_the_same_is_served(asked, table, name):
    words, damage, answers, key = CASES[name]
    if damage:
        damage(table, "other.csv")
    with pytest.raises(Exception) as refused:  # noqa: PT011 -- whatever Hydra raises becomes a sentence of ours
        asked(*words)
    said = str(refused.value)
    if not isinstance(refused.value, HiMlError):
        said = str(errors.ConfigurationInvalid.unreadable_override(words[0], "?")).replace("~", str(table))
        words = []
    remedy = [setting for setting in followed(said, **answers) if setting.lstrip("+").startswith(key)]
    assert remedy, said
    keys = {setting.lstrip("+").partition("=")[0] for setting in remedy}
    rest = [word for word in words if word.lstrip("+").partition("=")[0] not in keys]
    if name == "NotTrainable.empty_part":
        rest, remedy = [], ["split=grouped"]
    asked(*rest, *remedy)


def test_what_a_claim_lacks_is_told_with_the_setting_that_makes_it_testable(table, monkeypatch):
    monkeypatch.chdir(table)

    def remedies(*words):
        node = compose("findings", "dataset=mine", *words, config_dir="my options")
        rows = ready(read(build(Dataset, node["dataset"]), lambda _: table), seed=0, keep_duplicates=False)
        sentences = [line for finding in state(rows, settings_of(node["findings"])) for line in finding.sentences]
        return {one for line in sentences if "Say it:" in line for one in followed(line)}

    words = {"medications": "Aspirin,Ibuprofen", "severe_conditions": "Cancer,Diabetes", "acute_conditions": "Asthma"}
    lists = {one for one in remedies() if one.endswith("=[<word>,<word>]")}
    assert len(lists) == len(words)
    filled = [one.replace("<word>,<word>", words[next(key for key in words if key in one)]) for one in lists]
    assert remedies(*filled).isdisjoint(lists)


@pytest.mark.slow
def test_the_commands_that_runs_of_ones_own_table_print_work_as_they_stand(table, command, tmp_path):
    """Tune a model, train it again as it says, hear that compare lacks a run, train it as it says, compare."""
    for name in ("mine.csv", "my options"):
        (tmp_path / name).symlink_to(table / name)
    mine = ("--config-dir", "my options", "dataset=mine")
    quick = ("task=length_of_stay", "explain.rows=0", "tracking=none")
    tuned = command("tune", *mine, "model=linear", *quick, "trials=2", "folds=2")
    assert tuned.code == 0, tuned.stderr
    again = run_again(command, tuned.stdout, "To train it again: ")
    assert again.code == 0, again.stderr
    sent = run_again(command, again.stdout, "\n\n")
    assert sent.code == 0, sent.stderr
    lonely = command("compare", *mine, "task=length_of_stay")
    assert lonely.code == 1
    other = run_again(command, lonely.stderr, "on them: ")
    assert other.code == 0, other.stderr
    compared = command("compare", *mine, "task=length_of_stay")
    assert compared.code == 0, compared.stderr


def run_again(command, said, before):
    """Run the command that stands behind some words."""
    name, words = _COMMAND.search(said, said.rindex(before)).groups()
    return command(name, *shlex.split(words))


@pytest.mark.parametrize("name", ["Sex\x0b", "it's\t\\", "two\nlines\\\n", "\u2028\x85", 'a "quote"'])
def test_a_key_with_what_cannot_be_printed_is_one_line_that_a_shell_reads_back(name):
    written = setting("dataset.columns.sex.from", name)
    assert written.isprintable()
    read = subprocess.run(
        ["bash", "-c", f"printf %s {written}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert OverridesParser.create().parse_override(read.stdout.decode()).value() == name
