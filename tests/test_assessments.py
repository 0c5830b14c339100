"""What a configuration may ask of a model, and a new question by a file and a key alone."""

import json
import shutil

import pytest
import yaml
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from pydantic import ValidationError

from hi_ml import evaluation
from hi_ml.app.config import build, conf_dir
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.evaluation.assessment import catalogue
from hi_ml.evaluation.intervals import Rule
from hi_ml.evaluation.leakage import Leakage
from hi_ml.tracking.folder import FILES, RunFolder
from hi_ml.tracking.record import record
from hi_ml.train import TrainSettings, main

QUICK = ["dataset.rows=400", "model=baseline", "task=billing", "promote=never"]
NEW = """
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.evaluation.assessment import Assessment


@dataclass(frozen=True, config=STRICT)
class Threshold:
    least: float = 0.0


def measure(run, how):
    return {"least": how.least, "share": float((run.predicted > how.least).mean())}


ASSESSMENTS = [
    Assessment(
        "dear", measure, Threshold,
        metrics=lambda found: {"dear_share": found["share"]},
        sentence=lambda found: f"Bills above {found['least']:g} are predicted for {found['share']:.0%}.",
        notes=lambda run, how: [f"dear is from {how.least:g} on."],
    )
]
"""


def method(*overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return build(TrainSettings, compose("train", overrides=list(overrides))).method()


@pytest.fixture
def dear(tmp_path, monkeypatch):
    """An assessment that nothing but a file of its own knows of."""
    folder = tmp_path / "more_assessments"
    folder.mkdir()
    (folder / "dear.py").write_text(NEW)
    monkeypatch.setattr(evaluation, "__path__", [*evaluation.__path__, str(folder)])


@pytest.mark.slow
@pytest.mark.usefixtures("dear")
def test_a_new_assessment_is_a_file_and_a_key_and_reaches_folder_store_and_screen(tmp_path, inside, migrated_store):
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    ended = inside(main, *QUICK, "+assessments.dear={least: 5000}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 0, ended.stderr
    folder = tmp_path / "run" / "billing"
    assert "Bills above 5000 are predicted for 100%." in (folder / "report.html").read_text()
    assert json.loads((folder / "dear.json").read_text()) == {"least": 5000, "share": 1}
    assert "Bills above 5000 are predicted for 100%." in ended.stdout
    assert "dear" in json.loads((folder / "timings.json").read_text())
    assert "dear is from 5000 on." in json.loads((folder / "run.json").read_text())["notes"]
    assert record(RunFolder(folder)).metrics["dear_share"] == 1
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "simulated/billing"]
    assert client.search_runs([experiment.experiment_id])[0].data.metrics["dear_share"] == 1


@pytest.mark.usefixtures("dear")
def test_settings_of_a_new_assessment_are_checked_with_their_place():
    assert method("+assessments.dear={}").assessments["dear"].least == 0
    for wrong in ("dear.most", "scores.most"):
        with pytest.raises(ValidationError) as found:
            method(f"+assessments.{wrong}=1")
        assert ".".join(found.value.errors()[0]["loc"]) == f"assessments.{wrong}"


def test_what_is_shipped_is_asked_in_the_order_of_the_configuration():
    asked = method().assessments
    every = [*yaml.safe_load((conf_dir() / "train.yaml").read_text(encoding="utf-8"))["assessments"]]
    fits = {  # hundreds, as many, or one for each place more, so that a key of its own asks for it
        "significance": "significance=permutation", "repeats": "split.repeats=2", "holdout": "holdout_by=hospital",
    }  # fmt: skip
    assert list(asked) == [name for name in every if name not in fits]
    for name, key in fits.items():
        assert list(method(key).assessments) == [one for one in every if one == name or one not in fits]
    assert set(catalogue()) == {*every}
    assert FILES.keys() >= set(catalogue()) - {"intervals"}  # whose scores stand among the others


def test_settings_come_from_keys_of_their_own_unless_they_stand_under_the_name():
    assert method("leakage.test=0.3").assessments["leakage"] == Leakage(test=0.3)
    assert method("+assessments.leakage.test=0.4").assessments["leakage"] == Leakage(test=0.4)
    asked = method("interval=0.8", "interval_by=age", "subgroups.bands.age=[50]").assessments["intervals"]
    assert asked == Rule(level=0.8, by="age", bands={"age": [50]})


def test_what_is_taken_out_is_not_asked():
    asked = method("~assessments.explanation", "interval=null").assessments
    assert not {"explanation", "intervals"} & asked.keys()


def test_a_run_without_what_every_run_needs_or_with_what_there_is_not_is_refused():
    with pytest.raises(ConfigurationInvalid, match=r"assessments=verdicts is unknown.*did you mean verdict"):
        method("+assessments.verdicts={}")
    with pytest.raises(ConfigurationInvalid, match="assessments lacks scores, leakage"):
        method("~assessments.scores", "~assessments.leakage")


def test_a_run_may_do_with_the_least(tmp_path, inside):
    out = [
        f"~assessments.{name}"
        for name in ("intervals", "calibration", "subgroups", "probes", "explanation", "first_look")
    ]
    ended = inside(main, *QUICK, *out, "tracking=none", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 0, ended.stderr
    folder = tmp_path / "run" / "billing"
    assert {path.name for path in (folder / "charts").glob("*.png")} == {"scores.png", "residuals.png", "leakage.png"}
    assert not (folder / "explanation").exists()
    about = json.loads((folder / "run.json").read_text())
    assert (about["explained_rows"], about["interval"]) == (0, None)
    assert record(RunFolder(folder)).metrics.keys() >= {"test_mae", "skill", "leakage_gap", "fit_seconds"}
