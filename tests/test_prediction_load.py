import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

from hi_ml.app.errors import ModelRefused, ModelUnknown
from hi_ml.modeling.models import Fitted
from hi_ml.prediction import package
from hi_ml.prediction.load import digest, load_model
from hi_ml.tracking.store import client_of

NAME = "simulated.days"
AGE = {"role": "age", "source": "Age", "kind": "number", "missing": [], "low": 0, "high": 120}
ROWS = pd.DataFrame({"Age": [30, 60]})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a model that says half of the age."""
    frame = pd.DataFrame({"age": [10.0, 20.0, 30.0]})
    encode = ColumnTransformer([("feature_0", "passthrough", [0])])
    pipeline = Pipeline([("encode", encode), ("learn", LinearRegression())]).fit(frame.to_numpy(), [5.0, 10.0, 15.0])
    described = {"task": "days", "kind": "regression", "labels": [], "columns": [AGE], "features": ["age"]}
    folder = tmp_path_factory.mktemp("made") / "model"
    package.save(folder, Fitted(pipeline, ["age"], 0, 0.0), described)
    return folder


@pytest.fixture
def folder(model, tmp_path):
    """A copy of it that may be damaged."""
    return shutil.copytree(model, tmp_path / "run" / "model")


@pytest.fixture
def registered(here, model):
    """Two versions of the model in the store; return the ids of the run and of the logged model."""
    with client_of(f"sqlite:///{here / 'mlflow.db'}") as client:
        experiment = client.create_experiment("days", artifact_location=(here / "mlartifacts").as_uri())
        run = client.create_run(experiment, tags={"verdict": "signal"}).info.run_id
        client.log_artifacts(run, str(model), "model")
        logged = client.create_logged_model(experiment, name="model", source_run_id=run, tags={"verdict": "no_signal"})
        client.log_model_artifacts(logged.model_id, str(model))
        client.finalize_logged_model(logged.model_id, "READY")
        client.create_registered_model(NAME)
        for verdict in ("signal", "inconclusive"):
            client.create_model_version(
                NAME, f"models:/{logged.model_id}", run_id=run, model_id=logged.model_id, tags={"verdict": verdict}
            )
        client.set_registered_model_alias(NAME, "champion", "2")
    return run, logged.model_id


def half(delivered):
    """Whether the model does what it should."""
    np.testing.assert_allclose(delivered.scorer.predict(ROWS)["prediction"], [15, 30])
    return delivered


# Where it lies


@pytest.mark.parametrize("asked", [str, Path])
def test_a_folder_of_a_model_is_loaded(model, asked):
    found = half(load_model(asked(model)))
    assert (found.uri, found.verdict, found.name, found.version) == (str(model), "unknown", "", "")
    assert found.folder == model / "artifacts" / "scorer"
    assert found.same_code


def test_a_run_folder_says_the_verdict_on_its_model(folder):
    (folder.parent / "verdict.json").write_text('{"verdict": "no_signal"}')
    assert half(load_model(folder.parent)).verdict == "no_signal"
    assert half(load_model(folder)).verdict == "no_signal"


def test_a_model_beside_that_of_a_run_folder_does_not_borrow_its_verdict(folder):
    (folder.parent / "verdict.json").write_text('{"verdict": "signal"}')
    other = shutil.copytree(folder, folder.parent / "other")
    assert half(load_model(other)).verdict == "unknown"


@pytest.mark.usefixtures("registered")
def test_the_champion_is_the_version_that_bears_the_alias():
    found = half(load_model(f"models:/{NAME}@champion"))
    assert (found.uri, found.name, found.version, found.verdict) == (f"models:/{NAME}/2", NAME, "2", "inconclusive")


def test_a_version_a_logged_model_and_a_run_are_found(registered):
    run, logged = registered
    assert half(load_model(f"models:/{NAME}/1")).verdict == "signal"
    assert half(load_model(f"models:/{logged}")).verdict == "no_signal"
    assert half(load_model(f"runs:/{run}/model")).verdict == "signal"


@pytest.mark.usefixtures("registered")
def test_files_of_this_machine_are_not_copied(tmp_path):
    assert load_model(f"models:/{NAME}@champion").folder.is_relative_to(tmp_path / "mlartifacts")


@pytest.mark.usefixtures("registered")
def test_files_elsewhere_are_copied_and_the_copy_is_verified(folder, monkeypatch):
    """Another scheme than file: is MLflow's to fetch."""
    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_download_uri", lambda *_: "s3://bucket/model")
    asked = []

    def download(**known):
        asked.append(known["artifact_uri"])
        return shutil.copytree(folder, Path(known["dst_path"]) / "model")

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    assert half(load_model(f"models:/{NAME}@champion")).folder.exists()
    (folder / "artifacts" / "scorer" / "more.json").write_text("{}")
    with pytest.raises(ModelRefused, match="was changed since it was saved"):
        load_model(f"models:/{NAME}@champion")
    assert asked == ["s3://bucket/model"] * 2


def test_the_digest_is_over_all_files_of_the_scorer(model, folder):
    scorer = model / "artifacts" / "scorer"
    lines = [
        f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in sorted(scorer.iterdir())
    ]  # as sha256sum would list them
    assert load_model(model).sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert load_model(folder).sha256 == load_model(model).sha256
    (folder / "artifacts" / "scorer" / "empty").touch()
    assert digest(folder / "artifacts" / "scorer") != digest(scorer)


# What is not there


def test_without_a_store_the_sentence_says_where_one_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ModelUnknown, match=r"there is no store of models at sqlite:.*mlflow\.db\. Train one here"):
        load_model(f"models:/{NAME}@champion")
    assert not list(tmp_path.iterdir())  # MLflow would create one


@pytest.mark.usefixtures("registered")
def test_an_unknown_name_is_answered_with_those_that_are_registered():
    with pytest.raises(ModelUnknown, match=r"no registered model 'simulated.day' \(did you mean simulated.days\?\)"):
        load_model("models:/simulated.day@champion")


@pytest.mark.usefixtures("registered")
def test_an_unknown_alias_or_version_is_answered_with_those_there_are():
    there = r"the aliases @champion \(version 2\) and the versions 1, 2\."
    for asked in ("@challenger", "/7"):
        with pytest.raises(ModelUnknown, match=there):
            load_model(f"models:/{NAME}{asked}")


@pytest.mark.parametrize("asked", [f"models:/{NAME}", "models:/a/b/c", "runs:/1", f"models:/{NAME}/latest", "models:/"])
@pytest.mark.usefixtures("registered")
def test_an_address_that_is_none_is_answered_with_the_forms_there_are(asked):
    with pytest.raises(ModelUnknown, match=rf"Expected models:/<name>@<alias>.*Registered are: {NAME}"):
        load_model(asked)


@pytest.mark.parametrize("asked", [f"models:/m-{'0' * 32}", f"runs:/{'0' * 32}/model"])
@pytest.mark.usefixtures("here")
def test_a_run_or_model_that_the_store_does_not_know_is_said(asked):
    with pytest.raises(ModelUnknown, match="has nothing under"):
        load_model(asked)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelUnknown, match=r"There is no .*nowhere"):
        load_model(tmp_path / "nowhere")


def test_a_registered_model_whose_files_are_gone_is_said(registered, tmp_path):
    shutil.rmtree(tmp_path / "mlartifacts")
    for asked in (f"models:/{NAME}@champion", f"runs:/{registered[0]}/model"):
        with pytest.raises(ModelUnknown, match="is known, but its files are not at"):
            load_model(asked)


def test_a_store_that_does_not_answer_is_said_without_its_password(tmp_path, monkeypatch):
    (tmp_path / "broken.db").write_text("no database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'broken.db'}")
    with pytest.raises(ModelUnknown, match=r"MLflow at sqlite:.*broken\.db does not give models:"):
        load_model(f"models:/{NAME}@champion")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ModelUnknown, match="does not give") as found:
        load_model(f"models:/{NAME}@champion")
    assert "secret" not in str(found.value)


# What is refused


def test_models_of_other_libraries_are_refused_and_none_of_their_code_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "model.pkl").write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    (trap / "python_model.pkl").write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    (trap / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}}")
    for asked, held in ((trap, "MLmodel, model.pkl, python_model.pkl"), (trap / "model.pkl", "model.pkl")):
        with pytest.raises(ModelRefused, match=f"is no model of hi_ml.*found {held}"):
            load_model(asked)
    assert not (tmp_path / "evil").exists()


def test_the_code_beside_a_model_is_not_run_and_another_one_is_noted(folder, tmp_path):
    (folder / "serving.py").write_text(f"open({str(tmp_path / 'evil')!r}, 'w')")
    assert not half(load_model(folder)).same_code
    assert not (tmp_path / "evil").exists()


def test_a_model_of_an_older_version_gives_the_same_numbers_by_its_own_code_and_by_ours(folder):
    code, answer = (folder / "serving.py").read_text(), "return self.scorer.predict(model_input)"
    assert answer in code
    (folder / "serving.py").write_text(code.replace(answer, f"{answer}.assign(by='its own code')"))
    by_mlflow = mlflow.pyfunc.load_model(str(folder)).predict(ROWS)
    assert by_mlflow["by"].tolist() == ["its own code"] * 2
    loaded = half(load_model(folder))
    assert not loaded.same_code
    pd.testing.assert_frame_equal(loaded.scorer.predict(ROWS), by_mlflow[["prediction"]])


@pytest.mark.parametrize("name", ["pipeline.skops", "mapping.json"])
def test_a_changed_file_is_refused(folder, name):
    path = folder / "artifacts" / "scorer" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelRefused, match=r"was changed since it was saved: expected SHA-256 \w{12}"):
        load_model(folder)


@pytest.mark.parametrize("about", [None, "", "flavors: {}", "metadata: [1]", "\t"])
def test_a_model_that_nothing_signs_is_refused(folder, about):
    (folder / "MLmodel").unlink()
    if about is not None:
        (folder / "MLmodel").write_text(about)
    with pytest.raises(ModelRefused, match="expected a digest in its MLmodel"):
        load_model(folder)


def signed(folder):
    """Sign whatever the scorer now holds."""
    text = (folder / "MLmodel").read_text()
    old = text.split("scorer_sha256: ")[1].split()[0]
    (folder / "MLmodel").write_text(text.replace(old, digest(folder / "artifacts" / "scorer")))
    return folder


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pipeline.skops", b"PK", r"pipeline\.skops was changed"),
        ("mapping.json", b"{}", "damaged.*task: Field required"),
        ("mapping.json", b"{", "line 1"),
        ("mapping.json", b"[]", "damaged.*it: Input should be an object"),
        ("mapping.json", b"%s", "its files are damaged"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_whoever_signed_it(folder, name, content, said):
    scorer = folder / "artifacts" / "scorer"
    if content == b"%s":  # the mapping vouches for a pipeline that is none
        (scorer / "pipeline.skops").write_bytes(b"PK")
        mapping = json.loads((scorer / name).read_text())
        content = json.dumps(mapping | {"pipeline_sha256": hashlib.sha256(b"PK").hexdigest()}).encode()
    (scorer / name).write_bytes(content)
    with pytest.raises(ModelRefused, match=f"was not loaded: .*{said}"):
        load_model(signed(folder))


ALONE = (
    "import sys; from hi_ml.prediction.load import load_model; load_model(sys.argv[1]); print('mlflow' in sys.modules)"
)


@pytest.mark.slow
def test_a_folder_is_loaded_without_mlflow(model):
    said = subprocess.run(
        [sys.executable, "-c", ALONE, str(model)], check=True, capture_output=True, text=True, env=os.environ
    )
    assert said.stdout.strip() == "False"
