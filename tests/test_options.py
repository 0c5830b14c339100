"""A user's own table, task, claim or split is data, and comes before what the package calls by the same name."""

import pytest

import hi_ml
from hi_ml import findings, train
from hi_ml.app.config import compose, conf_dir
from hi_ml.app.errors import ConfigurationInvalid

KAGGLE = (conf_dir() / "dataset" / "kaggle.yaml").read_text(encoding="utf-8")
CALLBACK = "hydra:\n  callbacks:\n    x: {_target_: pathlib.Path.touch, self: ran}\n"


@pytest.fixture
def write(tmp_path):
    def file(name, text):
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path / "conf"

    return file


@pytest.mark.parametrize("group", ["dataset", "task", "finding", "split"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"# @package _global_\n{CALLBACK}", "the line '# @package _global_'"),
        (f"# @package hydra\n{CALLBACK}", "the line '# @package hydra'"),
        ("# @package model\nregression: {_target_: os.system}\n", "the line '# @package model'"),
        (CALLBACK, "the key 'hydra'"),
        ("defaults:\n  - /experiment: memoriser\n", "{'/experiment': 'memoriser'} among its defaults"),
        ("defaults:\n  - ../experiment/memoriser\n", "'../experiment/memoriser' among its defaults"),
        ("defaults:\n  - override /hydra/job_logging: x@_global_\n", "{'override /hydra/job_logging'"),
    ],
)
def test_a_file_that_describes_data_runs_no_code(write, group, text, what):
    folder = write(f"{group}/mine", text)
    command = "findings" if group == "finding" else "train"
    with pytest.raises(ConfigurationInvalid) as refused:
        compose(command, f"{group}=mine", config_dir=folder)
    assert what in str(refused.value)
    assert f"{group}/mine.yaml" in str(refused.value)


@pytest.mark.parametrize("option", ["sub/mine", "sub/deep/mine"])
def test_a_folder_inside_of_a_group_is_no_way_around(write, option):
    folder = write(f"dataset/{option}", f"# @package _global_\n{CALLBACK}")
    with pytest.raises(ConfigurationInvalid, match="_global_"):
        compose("findings", f"dataset={option}", config_dir=folder)


def test_defaults_that_are_no_list_are_left_to_hydra(write):
    folder = write("dataset/mine", KAGGLE + "\ndefaults: null\n")
    with pytest.raises(ValueError, match="defaults must be a list"):  # Hydra's own refusal
        compose("train", "dataset=mine", config_dir=folder)


def test_a_refused_file_ends_a_command_in_one_sentence_before_anything_runs(tmp_path, monkeypatch, inside, write):
    monkeypatch.chdir(tmp_path)
    folder = write("dataset/mine", f"# @package _global_\ndataset: {{name: mine}}\n{CALLBACK}")
    ended = inside(findings.main, f"--config-dir={folder}", "dataset=mine", "tracking=none")
    assert (ended.code, ended.stderr.startswith("ConfigurationInvalid: "), ended.stderr.count("\n")) == (1, True, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


@pytest.mark.parametrize("flag", ["--config-dir={}", "-cd={}"])
def test_the_users_file_comes_before_the_packages_of_the_same_name(tmp_path, monkeypatch, inside, write, flag):
    monkeypatch.chdir(tmp_path)
    folder = write("dataset/kaggle", KAGGLE.replace("name: kaggle", "name: my_own"))
    assert compose("train", "dataset=kaggle", config_dir=folder)["dataset"]["name"] == "my_own"
    assert hi_ml.declare("kaggle", config_dir=folder).name == "my_own"
    assert compose("train", "dataset=kaggle")["dataset"]["name"] == "kaggle"
    shown = inside(train.main, flag.format(folder), "dataset=kaggle", "--cfg", "job")
    assert "name: my_own" in shown.stdout


def test_a_file_may_inherit_one_of_its_group(write):
    folder = write("dataset/mine", "defaults:\n  - kaggle\n  - _self_\nname: mine\n")
    dataset = compose("train", "dataset=mine", config_dir=folder)["dataset"]
    assert (dataset["name"], "billed" in dataset["columns"]) == ("mine", True)


@pytest.mark.parametrize("line", ["", "# @package tasks.mine\n"])
def test_a_task_works_with_and_without_its_first_line(write, line):
    text = (conf_dir() / "task" / "billing.yaml").read_text(encoding="utf-8").split("\n", 1)[1]
    folder = write("task/mine", line + text.replace("name: billing", "name: mine"))
    assert list(compose("train", "task=mine", config_dir=folder)["tasks"]) == ["mine"]


def test_a_file_of_the_group_experiment_is_code_and_may_change_all(write):
    folder = write("experiment/mine", "# @package _global_\nseed: 7\n")
    assert compose("train", "+experiment=mine", config_dir=folder)["seed"] == 7


@pytest.mark.parametrize("name", ["train", "hydra/job_logging/house"])
def test_a_users_folder_does_not_change_the_commands_themselves(write, inside, name):
    folder = write(name, "# @package _global_\nseed: 7\n")
    with pytest.raises(ConfigurationInvalid, match="no file of yours changes that"):
        compose("train", config_dir=folder)
    ended = inside(train.main, "--config-dir", str(folder), "--cfg", "job")
    assert (ended.code, ended.stderr.count("\n"), f"{name}.yaml would not be read" in ended.stderr) == (1, 1, True)


@pytest.mark.parametrize(
    ("first", "more"),
    [("[x, y, z, v, w]", "[*a{0}, *a{0}, *a{0}, *a{0}, *a{0}]"), ("{k: [x, y]}", "{{b: *a{0}, c: [*a{0}]}}")],
)
def test_aliases_that_stand_for_more_than_a_file_are_refused_at_once(write, first, more):
    lines = "".join(f"a{i + 1}: &a{i + 1} {more.format(i)}\n" for i in range(30))
    folder = write("dataset/mine", f"{KAGGLE}a0: &a0 {first}\n{lines}")
    with pytest.raises(ConfigurationInvalid, match="its aliases stand for more than 1,000,000 values"):
        compose("train", "dataset=mine", config_dir=folder)


def test_an_alias_of_itself_is_refused(write):
    with pytest.raises(ConfigurationInvalid, match="aliases"):
        compose("train", "dataset=mine", config_dir=write("dataset/mine", f"{KAGGLE}a: &a [*a]\n"))
