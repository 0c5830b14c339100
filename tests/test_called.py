"""A command that is printed works as it stands: with the user's folder of options, on the table that was asked for."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml

import hi_ml
from hi_ml import compare, predict, report, validate
from hi_ml.app.called import on_table, printed, to_train
from hi_ml.app.config import compose
from hi_ml.app.errors import ModelRefused, NotValidatable, command_to_track

MINE = ("--config-dir", "my options")
_COMMAND = re.compile(r"python -m hi_ml\.train((?: (?:'[^']*'|[^\s',;)]+)+)*)")


@pytest.fixture
def options(tmp_path, monkeypatch):
    """A folder with a dataset whose file is called as it is, and one whose file is called otherwise."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "my options" / "dataset"
    folder.mkdir(parents=True)
    columns = {"age": {"kind": "number", "known": "admission"}, "length_of_stay": {"known": "discharge"}}
    for file, name in {"mine": "mine", "wards": "ours"}.items():
        said = {"name": name, "source": "mine.csv", "columns": columns}
        (folder / f"{file}.yaml").write_text(yaml.safe_dump(said, sort_keys=file == "mine"), encoding="utf-8")
    return folder.parent


SCORED = ("input=tonight.csv", "output=scored.csv")
CASES = {
    "predict": (predict, ["dataset=mine", *SCORED], "mine"),
    "predict, a file of another name": (predict, ["dataset=wards", *SCORED], "ours"),
    "predict, renamed here": (
        predict, ["dataset=mine", "dataset.name=third", 'dataset.source="a b.csv"', *SCORED], "third",
    ),
    "predict, another model": (predict, ["dataset=mine", "model_uri=models:/ours.billing/1", *SCORED], "ours"),
    "validate": (validate, ["dataset=mine", "model_uri=models:/ours.length_of_stay@champion"], "ours"),
    "validate, of the same name": (
        validate, ["dataset=mine", "dataset.source=theirs.csv", "model_uri=models:/mine.billing/2"], "mine",
    ),
    "compare": (compare, ["dataset=wards"], "ours"),
    "compare, by name": (compare, ["dataset=mine", "runs=[linear,lgbm]"], "mine"),
    "report": (report, ["runs=ours/length_of_stay"], "ours"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_command_that_a_refusal_names_finds_the_table(options, inside, name):
    module, words, dataset = CASES[name]
    ended = inside(module.main, *MINE, *words)
    assert ended.code == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    asked = shlex.split(_COMMAND.search(ended.stderr)[1])
    assert asked[:2] == ["--config-dir", str(options)]
    composed = compose("train", *asked[2:], config_dir=options)
    assert composed["dataset"]["name"] == dataset
    source = {"predict, renamed here": "a b.csv"}.get(name, "mine.csv")  # theirs is the other table of `validate`
    assert composed["dataset"]["source"] == source


def test_without_options_nothing_is_added():
    assert printed("train", "task=billing") == "python -m hi_ml.train task=billing"
    assert "(python -m hi_ml.train dataset=kaggle task=x)" in str(ModelRefused.unsafe("models:/kaggle.x/1", "Bad."))
    assert str(NotValidatable.no_home("outputs/old")).endswith("Train it again: python -m hi_ml.train")


def test_what_a_call_asked_of_its_dataset_is_of_no_other():
    with on_table("ours", "wards", ["dataset=wards", "dataset.zone=UTC", "seed=1"]):
        assert to_train("ours.x") == "python -m hi_ml.train dataset=wards dataset.zone=UTC task=x"
        assert to_train("theirs.x") == "python -m hi_ml.train dataset=theirs task=x"
    assert to_train("ours.x") == "python -m hi_ml.train dataset=ours task=x"


def test_a_path_that_a_shell_would_split_is_quoted():
    assert shlex.split(command_to_track(Path("my runs/1")))[-1] == 'run="my runs/1"'
    assert "\n" not in command_to_track(Path("two\nlines"))


def test_one_place_writes_commands():
    """Whoever writes one by hand forgets the user's options."""
    for path in Path(hi_ml.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # of docstrings
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        assert not [one.value for one in texts if id(one) not in said and "python -m hi_ml" in one.value], path
