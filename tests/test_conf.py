import inspect
import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose as compose_all
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException, MissingConfigException
from pydantic import ValidationError

from hi_ml.app import config
from hi_ml.app.config import build, compose, conf_dir, instantiate, leaves
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.claims.catalogue import settings_of
from hi_ml.train import TrainSettings

CONF = conf_dir()
SHARED = {"house"}  # no command of its own
COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem not in SHARED)
PASSED_ON = {"lightgbm": {"deterministic", "force_row_wise", "verbosity"}}  # it takes any key, and drops unknown ones
OPTIONS = sorted(
    (path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if path.parent.name not in ("hydra", "experiment")
)
EXPERIMENTS = sorted(path.stem for path in CONF.glob("experiment/*.yaml"))


def settings_class(command):
    """The class whose fields are the keys of a YAML."""
    return getattr(import_module(f"hi_ml.{command}"), f"{command.title()}Settings")


def built(command, *overrides):
    return build(settings_class(command), compose(command, *overrides))


def asks(group):
    """The command that chooses from a group of options."""
    return {"finding": "findings", "feed": "listen"}.get(group, "train")


def test_every_command_of_the_package_has_its_yaml():
    source = Path(import_module("hi_ml").__file__).parent
    applications = {path.stem for path in source.rglob("*.py") if "main = launch.command(" in path.read_text()}
    assert applications == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_keys_of_a_command_are_its_settings(command):
    assert set(compose(command)) == {field.name for field in fields(settings_class(command))}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_of_a_command_build(command):
    assert built(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_writes_below_its_own_name(command):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = compose_all(command, return_hydra_config=True).hydra
    assert hydra.job.name == command
    assert hydra.job.chdir is False
    assert hydra.output_subdir is None


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=map("=".join, OPTIONS))
def test_every_option_composes_and_builds(group, option):
    made = built(asks(group), f"{group}={option}")
    if group == "finding":
        assert settings_of(made.findings)
    elif group == "task":
        assert list(made.tasks) == [option]
        assert made.tasks[option].name == option
    elif group == "report":
        assert not any(made.report.values())
    else:
        assert getattr(made, group).name == option


@pytest.mark.parametrize("option", EXPERIMENTS)
def test_every_experiment_composes_and_builds(option):
    assert built("train", f"+experiment={option}")
    assert (CONF.parent / "experiments").is_dir()


def test_no_yaml_is_left_out():
    tested = {CONF / f"{name}.yaml" for name in [*COMMANDS, *SHARED]}
    tested |= {CONF / group / f"{option}.yaml" for group, option in OPTIONS}
    tested |= {CONF / "experiment" / f"{option}.yaml" for option in EXPERIMENTS}
    tested |= {CONF / "hydra" / "job_logging" / "house.yaml"}  # composed by every command
    assert set(CONF.rglob("*.yaml")) == tested
    assert not [path for path in CONF.rglob("*") if path.is_file() and path.suffix != ".yaml"]


@pytest.mark.parametrize(
    ("asked", "tasks"),
    [
        ("task=billing", ["billing"]),
        ("task=[billing,test_results]", ["billing", "test_results"]),
        ("task=[test_results,billing]", ["test_results", "billing"]),
    ],
)
def test_one_task_or_several_can_be_asked_for(asked, tasks):
    assert list(built("train", asked).tasks) == tasks


def test_the_defaults_are_those_of_the_contract():
    train = built("train")
    assert (train.dataset.name, train.model.name, train.split.name, train.seed) == ("simulated", "lgbm", "grouped", 0)
    assert {name: task.horizon for name, task in train.tasks.items()} == {
        "length_of_stay": "admission",
        "billing": "admission",
        "test_results": "stay",
    }
    assert (train.split.train, train.split.calibration, train.split.test) == (0.6, 0.2, 0.2)
    assert (train.leakage.test, train.leakage.repeats, train.smallest_skill) == (0.2, 1, 0.02)
    simulate = built("simulate")
    assert (simulate.scenario, simulate.rows, simulate.seed, simulate.effect) == ("planted", 55500, 0, 2)


@pytest.mark.parametrize("name", [option for group, option in OPTIONS if group == "model"])
def test_the_learners_of_a_model_exist_and_take_their_arguments(name):
    model = built("train", f"model={name}").model
    for node in (model.regression, model.classification):
        learner = type(instantiate(node))
        known = {*inspect.signature(learner).parameters, *PASSED_ON.get(learner.__module__.split(".")[0], ())}
        assert leaves(node).keys() - {"_target_"} <= known
        assert hasattr(learner, "fit")


@pytest.mark.parametrize(
    "wrong",
    [
        "sed=1",
        "model.learning_rate=0.1",
        "dataset.colums.age=null",
        "task=bills",
        "model=lightgbm",
        "split=groups",
    ],
)
def test_an_unknown_key_or_option_does_not_compose(wrong):
    with pytest.raises((ConfigCompositionException, MissingConfigException)):
        compose("train", wrong)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("+model.lerning_rate=0.1", "model.lerning_rate"),
        ("+dataset.columns.age.minimum=0", "dataset.columns.age.minimum"),
        ("+tasks.billing.targets=x", "tasks.billing.targets"),
        ("+unheard=1", "unheard"),
        ("task=[]", "tasks"),
        ("tasks.billing.name=../up", "tasks.billing.name"),
        ("seed=soon", "seed"),
        ("seed=-1", "seed"),
        ("seed=4294967296", "seed"),
        ("smallest_skill=-0.1", "smallest_skill"),
        ("smallest_skill=2", "smallest_skill"),
        ("horizon=yesterday", "horizon"),
        ("charts=some", "charts"),
        ("tracking=maybe", "tracking"),
        ("split.test=0.5", "split"),
        ("tasks.billing.kind=ranking", "tasks.billing.kind"),
        ("dataset.max_rejected=2", "dataset.max_rejected"),
        ("model.early_stopping.share=0", "model.early_stopping.share"),
        ("model.early_stopping.share=1", "model.early_stopping.share"),
        ("model.early_stopping.rounds=0", "model.early_stopping.rounds"),
        ("explain.rows=-1", "explain.rows"),
        ("explain.seconds=-1", "explain.seconds"),
        ("leakage.test=0.6", "leakage.test"),
        ("leakage.repeats=0", "leakage.repeats"),
        ("permutation.count=0", "permutation.count"),
        ("permutation.stop_after=0", "permutation.stop_after"),
        ("permutation.trees=0", "permutation.trees"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(wrong, place):
    with pytest.raises(ValidationError) as found:
        built("train", wrong)
    assert place in {".".join(map(str, error["loc"])) for error in found.value.errors()}


def test_no_option_is_called_null():
    """It would arrive as None and break composition."""
    assert "null" not in {option for _, option in OPTIONS}
    assert ConfigStore.instance().repo.keys() <= {"hydra", "hydra_config.yaml", "_dummy_empty_config_.yaml"}


def test_a_learner_of_an_extra_that_is_not_installed_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda name: None if name == "catboost" else object())
    with pytest.raises(ConfigurationInvalid, match=r"not installed here.*pip install 'hi_ml\[catboost\]'"):
        built("train", "model=catboost").method()


@pytest.mark.parametrize(
    "words",
    [
        ["model.regression._target_=os.system"],
        ["model.classification._target_=joblib.load"],
        ["model.regression._target_=sklearn.datasets.load_iris"],  # of the package, and no class
        ["model.regression._target_=sklearn.preprocessing.StandardScaler.fit"],
        ["model.regression._target_=lightgbm.no.Such"],
        ["+model.quantile.arguments._target_=os.system"],
        ["model.regression.subsample_freq={_target_:numpy.load,file:x}"],
        ["+model.regression.class_weight=[{a:{_target_:pandas.read_pickle}}]"],
    ],
)
def test_what_is_no_learner_is_refused_before_it_is_built_unless_it_is_trusted(words):
    target = words[0].split("_target_")[1][1:].split(",")[0].rstrip("}]")
    composed = compose("train", *words)
    with pytest.raises(ConfigurationInvalid, match=f"trust=\\[{re.escape(target)}\\]"):
        build(TrainSettings, composed).method()
    assert build(TrainSettings, composed | {"trust": [target]}).method().model.name == "lgbm"
