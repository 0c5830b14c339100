"""The command: its run folder, its runs in MLflow, what it can be resumed from, and how it ends."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient

from hi_ml.app import config
from hi_ml.app.errors import TrackingFailed
from hi_ml.app.launch import Invocation
from hi_ml.reports.search import command_to_train
from hi_ml.track import main as send_later
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.send import PARENT, send
from hi_ml.tracking.store import store_uri
from hi_ml.train import TrainSettings
from hi_ml.train import main as train_main
from hi_ml.tune import main

pytestmark = pytest.mark.slow  # whole runs stand behind every test
# Half of the space is refused by ridge: some trials fail.
ASKED = [
    "model=linear", "model.space.alpha.low=-30000", "model.space.alpha.high=30000", "model.space.alpha.log=false",
    "model.regression.alpha=25000",
    "trials=6", "folds=3", "dataset.rows=500", "explain.rows=0", "tracking=none",
]  # fmt: skip
EXPERIMENT = "simulated/length_of_stay"


def composed(command, *overrides):
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return compose(command, overrides=list(overrides))


class Made(NamedTuple):
    """A run folder, its trials and its summary."""

    folder: Path
    trials: pd.DataFrame
    search: dict


@pytest.fixture(scope="module")
def made(tmp_path_factory, called):
    folder = called("tune", tmp_path_factory.mktemp("outputs") / "tune", *ASKED)
    return Made(folder, pd.read_csv(folder / "trials.csv"), json.loads((folder / "search.json").read_text()))


def without_clock(trials):
    return trials.drop(columns=["started", "seconds"])


# The run folder


def test_the_run_folder_holds_the_search_and_the_best_as_train_would_leave_it(made):
    found = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    assert found >= {
        "trials.csv", "search.json", "study.journal", "charts/history.png", "charts/history.csv", "config.yaml",
        "overrides.txt", "run.json", "data.json", "timings.json", "experiment/linear_length_of_stay.yaml",
    }  # fmt: skip
    assert found >= {
        f"length_of_stay/{name}" for name in ("scores.csv", "verdict.json", "predictions.parquet", "model/MLmodel")
    }
    assert not [name for name in found if "unfinished" in name]


def test_the_trials_are_listed_with_their_folds_and_failures(made):
    trials = made.trials
    assert list(trials) == [
        "number", "state", "value", "fold_1", "fold_2", "fold_3", "started", "seconds", "error", "alpha",
    ]  # fmt: skip
    assert trials["number"].tolist() == list(range(6))
    assert (trials["alpha"][0], trials["state"][0]) == (25000, "complete")
    complete = trials[trials["state"] == "complete"]
    np.testing.assert_allclose(complete["value"], complete[["fold_1", "fold_2", "fold_3"]].mean(axis=1))
    assert trials.loc[trials["state"] != "complete", "value"].isna().all()
    assert (trials["state"] == "failed").tolist() == (trials["alpha"] < 0).tolist()
    assert trials.loc[trials["state"] == "failed", "error"].str.contains("refuses its settings").all()


def test_the_summary_says_what_is_best_and_whether_that_is_better_than_the_defaults(made):
    trials, found = made.trials, made.search
    assert found["trials"] == {"finished": 6} | {
        state: int((trials["state"] == state).sum()) for state in ("complete", "pruned", "failed")
    }
    best = trials.loc[trials["value"].idxmin()]
    assert (found["best"]["trial"], found["best"]["loss"]) == (best["number"], pytest.approx(best["value"]))
    assert found["best"]["settings"] == {"alpha": pytest.approx(best["alpha"])}
    assert found["defaults"]["settings"] == {"alpha": 25000}
    assert found["gain"]["verdict"] in ("better", "no_better", "inconclusive")
    assert found["gain"]["folds"] == 6
    assert found["best"]["loss"] < found["defaults"]["loss"]
    assert found["chosen"] == ("best" if found["gain"]["difference"] > 0 else "defaults")


def test_the_experiment_composes_to_what_was_trained(made):
    trained = yaml.safe_load((made.folder / "length_of_stay" / "config.yaml").read_text())
    alike = [word for word in ASKED if not word.startswith(("trials", "folds", "model.regression"))]
    place = f"hydra.searchpath=[file://{made.folder}]"
    cfg = composed("train", place, "task=length_of_stay", *alike, "+experiment=linear_length_of_stay")
    assert config.plain(cfg) == trained
    assert trained["model"]["regression"]["alpha"] == made.search[made.search["chosen"]]["settings"]["alpha"]
    assert config.build(TrainSettings, cfg).model.regression["alpha"] == trained["model"]["regression"]["alpha"]


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        ([], "--config-dir there model=linear task=billing +experiment=linear_billing"),
        (
            [
                "model=linear",
                "task=[billing]",
                "trials=3",
                "folds=4",
                "trees=5",
                "smallest_gain=0",
                "resume=x",
                "seed=1",
            ],
            "--config-dir there model=linear 'task=[billing]' smallest_gain=0 seed=1 +experiment=linear_billing",
        ),
        (
            ["model.regression.alpha=2", "model.classification.C=2", "++hydra.run.dir=x", "hydra.verbose=true"],
            "--config-dir there model=linear task=billing model.classification.C=2 +experiment=linear_billing",
        ),
        (
            ["+experiment=memoriser", "~model.space.C"],
            "--config-dir there model=linear task=billing '~model.space.C' '+experiment=[memoriser,linear_billing]'",
        ),
        (
            ["--config-dir", "dataset=mine"],
            "--config-dir 'my options' 'hydra.searchpath=[\"/runs/a b\"]' model=linear task=billing dataset=mine "
            "+experiment=linear_billing",
        ),
    ],
)
def test_the_command_that_trains_it_again_asks_for_the_same_and_takes_the_users_options_along(asked, command):
    searched = SimpleNamespace(
        model=SimpleNamespace(name="linear"),
        problem=SimpleNamespace(task=SimpleNamespace(name="billing", kind="regression")),
        chosen=SimpleNamespace(settings={"alpha": 3.0}),
    )
    options, place = (("my options",), "/runs/a b") if "--config-dir" in asked else ((), "there")
    words = [word for word in asked if word != "--config-dir"]
    here = Invocation(Path("there"), {}, words, "hi_ml.tune", options)
    assert command_to_train(searched, here, place) == f"python -m hi_ml.train {command}"


# Resumed in another run folder


def test_a_finished_search_gets_more_trials_and_repeats_none(made, tmp_path, called):
    more = [word.replace("trials=6", "trials=8") for word in ASKED]
    trials = pd.read_csv(called("tune", tmp_path / "more", *more, f"resume={made.folder}") / "trials.csv")
    assert len(trials) == 8
    pd.testing.assert_frame_equal(trials.head(6).drop(columns="started"), made.trials.drop(columns="started"))
    assert trials["started"].is_monotonic_increasing


# In MLflow


@pytest.fixture
def copied(made, here):
    """The run folder, never tracked."""
    return Path(shutil.copytree(made.folder, here / "outputs" / "tune"))


def tracked():
    client = MlflowClient(tracking_uri=store_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return client, {run.info.run_name: run for run in client.search_runs([experiment], max_results=100)}


def test_the_trials_and_the_best_are_nested_in_the_search(made, copied):
    parent = send(RunFolder(copied)).run_id
    best = send(RunFolder(copied / "length_of_stay"))
    client, runs = tracked()
    assert {name.partition(",")[0] for name in runs} == {"tune linear", "linear", *(f"trial {k}" for k in range(6))}
    around = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    assert around == {name: None if name == "tune linear" else parent for name in runs}
    assert best.model == "simulated.length_of_stay"
    artifacts = {one.path for one in client.list_artifacts(parent)}
    assert artifacts >= {"trials.csv", "search.json", "charts", "experiment", "config.yaml"}
    assert "length_of_stay" not in artifacts
    found = made.search
    metrics = runs["tune linear"].data.metrics
    assert metrics["cv_mae"] == pytest.approx(found["best"]["loss"])
    assert metrics["gain"] == pytest.approx(found["gain"]["gain"])
    assert runs["tune linear"].data.tags["verdict"] == found["gain"]["verdict"]
    assert "split_sha256" not in runs["tune linear"].data.tags  # the mark of a run with a model


def test_every_trial_has_its_settings_its_losses_and_its_state(made, copied):
    send(RunFolder(copied))
    client, runs = tracked()
    for trial in made.trials.to_dict("records"):
        run = runs[f"trial {trial['number']}"]
        assert run.info.status == ("FAILED" if trial["state"] == "failed" else "FINISHED")
        assert run.data.tags["state"] == trial["state"]
        assert float(run.data.params["alpha"]) == trial["alpha"]
        assert run.data.metrics.get("cv_mae", np.nan) == pytest.approx(trial["value"], nan_ok=True)
        folds = [one.value for one in client.get_metric_history(run.info.run_id, "fold_mae")]
        assert folds == pytest.approx([trial[f"fold_{k}"] for k in (1, 2, 3) if not np.isnan(trial[f"fold_{k}"])])
        assert run.info.start_time == pytest.approx(1000 * trial["started"], abs=1)
        if trial["state"] == "failed":
            assert run.data.tags["error"] == trial["error"]
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}


def test_a_store_that_fails_among_the_trials_leaves_nothing_running(copied, monkeypatch):
    real, calls = MlflowClient.log_batch, []

    def full(client, run_id, **more):
        calls.append(run_id)
        if len(calls) == 4:
            raise OSError("disk full")
        return real(client, run_id, **more)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", full)
        with pytest.raises(TrackingFailed, match=r"disk full.*python -m hi_ml\.track run="):
            send(RunFolder(copied))
    _, runs = tracked()
    assert runs["tune linear"].info.status == "FAILED"
    assert not [name for name, run in runs.items() if run.info.status == "RUNNING"]
    client, _ = tracked()
    assert client.get_run(send(RunFolder(copied)).run_id).info.status == "FINISHED"


def test_a_model_whose_search_is_not_tracked_stands_alone(copied):
    send(RunFolder(copied / "length_of_stay"))
    _, runs = tracked()
    (best,) = (run for name, run in runs.items() if name.startswith("linear, grouped, "))
    assert PARENT not in best.data.tags


# How it ends


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=baseline"], "nothing to tune in model=baseline"),
        (["task=[billing,length_of_stay]"], "one task at a time"),
        (["resume=nowhere"], "no search to resume"),
        (["+model.space.leaves={low: 1, high: 2}"], "space names leaves"),
        (["model.space.num_leaves.low=20"], "model.regression.num_leaves=12 is outside"),
        (["model.regression.num_leaves=1", "model.space.num_leaves.low=1"], "num_leaves"),
        (["trials=0"], "trials"),
        (["folds=1"], "folds"),
    ],
)
def test_a_wrong_request_ends_in_one_sentence(inside, tmp_path, overrides, words):
    done = inside(main, "dataset.rows=300", "tracking=none", *overrides)
    assert done.code == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("run.json"))


def test_the_command_is_tracked_and_ends_with_the_command_to_look(inside, here):
    done = inside(main, *(word for word in ASKED if word != "tracking=none"))
    assert (done.code, done.stderr) == (0, "")
    (folder,) = here.glob("outputs/tune/*")
    assert done.stdout.splitlines()[-1].endswith("mlflow ui")
    assert json.loads((folder / "search.json").read_text())["gain"]["sentence"] in " ".join(done.stdout.split())
    assert f"resume={folder}" in done.stdout
    assert f"Run folder: {folder / 'length_of_stay'}" in done.stdout
    _, runs = tracked()
    assert len(runs) == 8


# Whole commands


def start(place, *overrides):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hi_ml.tune", *overrides]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_trials(place, before, count, process):
    """Wait until a new search has finished some trials, and return its folder."""
    for _ in range(1200):
        for folder in set(place.glob("outputs/tune/*")) - set(before):
            study = folder / "study.journal"
            if study.exists() and study.read_text().count('"op_code":4') >= count:
                return folder
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no trials within a minute")


SEARCH = ["dataset.rows=1500", "trials=12", "folds=3", "explain.rows=0", "tracking=none"]


def command_after(text, words):
    """The arguments of the command that a line of text ends with."""
    (line,) = [line.split(words)[1] for line in text.splitlines() if words in line]
    python, module, name, *arguments = shlex.split(line)
    assert (python, module) == ("python", "-m")
    return name, arguments


def test_a_search_that_was_killed_and_interrupted_ends_as_an_unbroken_one(tmp_path, inside, called):
    arguments, folders = SEARCH, []
    for how, trials in ((signal.SIGKILL, 3), (signal.SIGINT, 6)):
        process = start(tmp_path, *arguments)
        folders.append(wait_for_trials(tmp_path, folders, trials, process))
        process.send_signal(how)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == (130 if how == signal.SIGINT else -how)
        assert {path.name for path in folders[-1].iterdir()} == {"study.journal"}
        name, arguments = command_after(stdout, "go on with: ")
        assert (name, arguments[-1]) == ("hi_ml.tune", f"resume={folders[-1]}")
    assert command_after(stderr, "The finished trials stand. Go on with: ") == (name, arguments)
    assert "Traceback" not in stderr
    finished = (folders[-1] / "study.journal").read_text().count('"op_code":4')
    resumed = inside(main, *arguments)
    assert resumed.code == 0, resumed.stderr
    (after,) = set(tmp_path.glob("outputs/tune/*")) - set(folders)
    assert (after / "study.journal").read_text().count('"op_code":4') == 12
    unbroken = called("tune", tmp_path / "unbroken", *SEARCH)
    trials, expected = (pd.read_csv(folder / "trials.csv") for folder in (after, unbroken))
    pd.testing.assert_frame_equal(without_clock(trials), without_clock(expected))
    assert (trials["started"][:finished] < trials["started"][finished:].min()).all()
    scores = [(folder / "length_of_stay" / "scores.csv").read_bytes() for folder in (after, unbroken)]
    assert scores[0] == scores[1]


def test_without_tracking_the_commands_on_the_screen_train_the_same_model_and_send_it(tmp_path, inside):
    few = ["task=test_results", "model=linear", "dataset.rows=600", "trials=4", "folds=3", "explain.rows=0"]
    tuned = inside(main, *few, "tracking=none")
    assert tuned.code == 0, tuned.stderr
    (folder,) = tmp_path.glob("outputs/tune/*")
    sending = [f"python -m hi_ml.track run={path}" for path in (folder, folder / "test_results")]
    assert tuned.stdout.splitlines()[-2:] == sending
    assert not (tmp_path / "mlflow.db").exists()
    name, arguments = command_after(tuned.stdout, "To train it again: ")
    assert name == "hi_ml.train"
    trained = inside(train_main, *arguments)
    assert trained.code == 0, trained.stderr
    (same,) = tmp_path.glob("outputs/train/*/test_results")
    for name in ("scores.csv", "verdict.json", "predictions.parquet", "config.yaml"):
        assert (same / name).read_bytes() == (folder / "test_results" / name).read_bytes(), name


def test_a_search_whose_server_is_down_stands_and_is_sent_later(inside, here, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = inside(main, *(word for word in ASKED if word != "tracking=none"))
    assert down.code == 1
    assert "Traceback" not in down.stderr
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (folder,) = here.glob("outputs/tune/*")
    for place in (folder, folder / "length_of_stay"):
        assert f"python -m hi_ml.track run={place}" in down.stderr
        sent = inside(send_later, f"run={place}")
        assert sent.code == 0, sent.stderr
    _, runs = tracked()
    assert len([run for run in runs.values() if PARENT in run.data.tags]) == 7
