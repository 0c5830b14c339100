import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from hi_ml.app.errors import RunFolderInvalid, TrackingFailed
from hi_ml.app.process import another_process
from hi_ml.tracking.alarms import announce
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.leaving import leaving
from hi_ml.tracking.send import Tracked, send
from hi_ml.tracking.store import VIEW, address, command_to_open, store_uri

EXPERIMENT, MODEL = "simulated/length_of_stay", "simulated.length_of_stay"


@pytest.fixture
def folder(here, finished):
    return copied(finished, here / "outputs" / "length_of_stay")


@pytest.fixture
def client(here):  # noqa: ARG001 -- the store stands in the working folder
    return MlflowClient(tracking_uri=store_uri())


def copied(finished, path):
    shutil.copytree(finished, path)
    return RunFolder(path)


@contextmanager
def looking_at(uri):
    """Some of MLflow looks models up in the store of the process, not of its client."""
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)


def runs(client):
    return client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])


def artifacts(client, run_id, path=None):
    """Every file below an artifact folder of a run."""
    found = set()
    for one in client.list_artifacts(run_id, path):
        found |= artifacts(client, run_id, one.path) if one.is_dir else {one.path}
    return found


# One run


@pytest.fixture(scope="module")
def one(finished, migrated_store, tmp_path_factory):
    """A run that was sent to the default store of an empty folder, to be looked at."""
    place = tmp_path_factory.mktemp("one")
    shutil.copy(migrated_store, place / "mlflow.db")
    folder = copied(finished, place / "outputs" / "length_of_stay")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        sent, uri = send(folder), store_uri()
    client = MlflowClient(tracking_uri=uri)
    (run,) = runs(client)
    return One(place, folder, uri, sent, client, run)


class One(NamedTuple):
    place: Path
    folder: RunFolder
    uri: str
    sent: Tracked
    client: MlflowClient
    run: Run


def test_a_run_is_named_by_what_tells_it_from_others_in_the_experiment_of_its_task(one):
    assert (one.sent.run_id, one.sent.experiment) == (one.run.info.run_id, EXPERIMENT)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.folder.load("run")["started"]))
    assert one.run.info.run_name == f"linear, grouped, explain.rows=0, {when}"
    assert one.run.info.status == "FINISHED"
    about = one.folder.read()["run"]
    assert one.run.info.start_time == pytest.approx(1000 * about["started"], abs=1)
    assert one.run.info.end_time == pytest.approx(1000 * about["finished"], abs=1)


def test_the_metrics_are_the_numbers_of_the_folder(one):
    found = one.folder.read()
    expected = {"leakage_gap": found["leakage"]["gap"], "fit_seconds": found["timings"]["fit"]}
    expected |= {"skill": found["verdict"]["skill"]}
    expected |= {"skill_low": found["verdict"]["low95"], "skill_high": found["verdict"]["high95"]}
    expected |= {f"test_{row['score']}": row["value"] for row in found["scores"].to_dict("records")}
    primary = found["scores"].iloc[0]
    expected |= {"test_mae_low": primary["low"], "test_mae_high": primary["high"], "baseline_mae": primary["baseline"]}
    expected |= {f"bed_days_{row.measure}": row.value for row in found["usefulness"].itertuples()}
    assert one.run.data.metrics == pytest.approx(expected)
    assert {"test_mae", "test_within_1_day", "test_r2"} <= set(one.run.data.metrics)


def test_the_experiment_has_a_view_of_score_interval_baseline_and_verdict(one):
    tags = one.client.get_experiment(one.run.info.experiment_id).tags
    columns = json.loads(tags[f"mlflow.sharedViewState.{VIEW}"])["selectedColumns"]
    names = [name.strip("`") for _, name in (column.split(".", 1) for column in columns)]
    assert names == ["test_mae", "test_mae_low", "test_mae_high", "baseline_mae", "verdict"]
    assert names[:-1] == [name for name in names if name in one.run.data.metrics]
    assert tags["mlflow.note.content"].startswith("Runs of simulated, length of stay.")
    assert address(one.uri, one.sent.experiment_id).endswith(
        f"/{one.run.info.experiment_id}/runs?viewStateShareKey={VIEW}"
    )


def test_a_registered_version_carries_a_card_of_its_model(one):
    card = one.client.get_model_version(one.sent.model, one.sent.version).description
    said = one.folder.load("verdict")["sentence"]
    assert card.startswith(f"**Verdict**: {said}")
    for part in ("For", "Learned from", "Leak of a random split", "For whom", "Limits"):
        assert f"\n\n**{part}**: " in card


def test_the_parameters_are_the_settings_that_matter(one):
    params = one.run.data.params
    expected = {"model": "linear", "split": "grouped", "seed": "0", "horizon": "admission", "split.train": "0.6"}
    expected |= {"rows": str(one.folder.read()["run"]["rows"]), "model.regression.alpha": "10.0"}
    assert expected.items() <= params.items()
    assert not [name for name in params if "classification" in name or "space" in name]


def test_the_tags_say_what_was_found_in_what(one):
    found, tags = one.folder.read(), one.run.data.tags
    expected = {"verdict": found["verdict"]["verdict"], "data_sha256": found["data"]["sha256"]}
    assert tags.get("verdict_reason", "") == found["verdict"]["reason"]
    expected |= {"dataset": "simulated", "model": "linear", "task": "length_of_stay"}
    expected |= {key: found["run"][key] for key in ("split_sha256", "git_commit")}
    assert expected.items() <= tags.items()
    assert found["verdict"]["sentence"] in tags["mlflow.note.content"]


def test_the_dataset_has_the_first_36_characters_of_the_real_digest(one):
    (used,) = one.run.inputs.dataset_inputs
    assert used.dataset.name == "simulated"
    assert used.dataset.digest == one.folder.read()["data"]["sha256"][:36]
    assert len(used.dataset.digest) == 36


def test_every_file_of_the_folder_that_may_leave_is_an_artifact(one):
    every, files = (
        {str(path.relative_to(one.folder.path)) for path in paths}
        for paths in (one.folder.files(), leaving(one.folder))
    )
    assert every - files == {"explanation/shap_values.parquet", "predictions.parquet", "rows.parquet"}
    files |= {"digests.parquet"}
    with looking_at(one.uri):
        assert artifacts(one.client, one.sent.run_id) == files
        listed = mlflow.artifacts.list_artifacts(f"runs:/{one.sent.run_id}/model")
    assert "model/MLmodel" in {file.path for file in listed}
    assert {path.name for path in one.place.iterdir()} == {
        ".hi_ml", "mlflow.db", "mlflow.db.lock", "mlartifacts", "outputs"
    }  # fmt: skip


def test_the_tracked_model_scores_as_the_folder_says(one):
    with looking_at(one.uri):
        tracked = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
    local = mlflow.pyfunc.load_model(str(one.folder.model))
    pd.testing.assert_frame_equal(tracked.predict(local.input_example), local.predict(local.input_example))
    (logged,) = one.client.search_logged_models([one.client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert logged.status == "READY"
    assert {metric.key for metric in logged.metrics} >= {"test_mae", "skill"}


# Sent again, or elsewhere


def test_an_old_store_of_files_in_the_folder_does_not_get_in_the_way(folder, client, here):
    """MLflow's own look-ups would go there, whichever store the client names."""
    (here / "mlruns" / "0").mkdir(parents=True)
    (here / "mlruns" / "0" / "meta.yaml").write_text("experiment_id: '0'")
    assert send(folder).alias == "champion"
    assert len(runs(client)) == 1
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_run_sent_twice_is_one_run(folder, client):
    assert send(folder) == send(folder)
    assert len(runs(client)) == 1
    assert len(client.search_model_versions(f"name='{MODEL}'")) == 1


def test_a_run_is_sent_once_to_each_store(folder, client, migrated_store, monkeypatch, here):
    first = send(folder)
    other = here / "elsewhere.db"
    shutil.copy(migrated_store, other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    second = send(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert second.run_id != first.run_id
    assert send(folder) == first
    assert len(runs(client)) == 1


def test_a_run_that_was_deleted_from_its_store_is_sent_again(folder, client):
    client.delete_run(send(folder).run_id)
    again = send(folder)
    assert [run.info.run_id for run in runs(client)] == [again.run_id]


def test_a_run_whose_store_was_replaced_by_an_empty_one_is_sent_again(folder, migrated_store, monkeypatch, here):
    """The note in the folder is no proof: the store is."""
    places = [here / "old.db", here / "new.db"]
    for place in places:
        shutil.copy(migrated_store, place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{places[0]}")
    send(folder)
    note = folder.path / "tracked.json"
    note.write_text(note.read_text().replace("old.db", "new.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{places[1]}")
    send(folder)
    assert len(runs(MlflowClient(tracking_uri=store_uri()))) == 1


# Failures


def test_an_unfinished_folder_is_not_sent(folder, client):
    (folder.path / "verdict.json").unlink()
    with pytest.raises(RunFolderInvalid, match=r"verdict\.json"):
        send(folder)
    assert client.get_experiment_by_name(EXPERIMENT) is None


class Killed(BaseException):
    """What comes is the end: nothing is told the store any more."""


@pytest.mark.parametrize(
    ("step", "after", "begun", "whole"),
    [
        ("create_run", True, 1, False),
        ("log_artifact", False, 1, False),
        ("create_model_version", False, 1, False),
        ("create_model_version", True, 0, True),
        ("set_registered_model_alias", False, 0, True),
        ("set_terminated", False, 0, True),
    ],
)
def test_a_sending_that_was_killed_is_taken_up_and_leaves_no_orphan(
    folder, client, monkeypatch, step, after, begun, whole
):
    method = getattr(MlflowClient, step)

    def kill(*arguments, **named):
        if after:
            method(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "set_terminated", raising(Killed()))
        patched.setattr(MlflowClient, step, kill)
        with pytest.raises(Killed):
            send(folder)
    earlier = [run.info.run_id for run in runs(client)]
    sent = send(folder)
    assert (sent.run_id in earlier) == whole
    assert sorted(run.info.status for run in runs(client)) == ["FINISHED", *["KILLED"] * begun]
    versions = client.search_model_versions(f"name='{MODEL}'")
    assert [version.run_id for version in versions] == [sent.run_id]
    assert client.get_model_version_by_alias(MODEL, "champion").run_id == sent.run_id
    assert client.get_run(sent.run_id).data.tags["promotion"] == sent.alias == "champion"
    assert send(folder) == sent
    assert not (folder.path / "sending.json").exists()


@pytest.mark.parametrize("step", ["log_batch", "log_artifact", "create_logged_model", "create_model_version"])
def test_a_store_that_fails_midway_leaves_a_failed_run_and_the_folder(folder, client, monkeypatch, step):
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, step, raising(RuntimeError("disk full")))
        with pytest.raises(TrackingFailed, match=r"disk full.*python -m hi_ml\.track run=") as failure:
            send(folder)
    assert str(folder.path) in str(failure.value)
    assert [run.info.status for run in runs(client)] == ["FAILED"]
    assert folder.tracked() == {}
    sent = send(folder)
    assert sorted(run.info.status for run in runs(client)) == ["FAILED", "FINISHED"]
    assert sent.alias == "champion"


def test_an_interrupted_run_is_marked_failed_and_stays_an_interruption(folder, client, monkeypatch):
    monkeypatch.setattr(MlflowClient, "log_model_artifacts", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        send(folder)
    assert [run.info.status for run in runs(client)] == ["FAILED"]


def stay_at_the_model(folder, begun):
    """Send a run as another process would to a store that takes its time."""
    MlflowClient.log_model_artifacts = lambda *_, **__: (begun.touch(), time.sleep(60))
    send(folder)


@pytest.mark.slow
def test_a_run_that_another_process_is_sending_is_marked_failed_when_nobody_waits_for_it(
    folder, client, here, monkeypatch
):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])  # where it finds this module
    begun = here / "begun"
    with another_process("sends runs") as ask:
        sending = ask(stay_at_the_model, folder, begun)
        while not begun.exists() and not sending.done():
            time.sleep(0.05)
    assert [run.info.status for run in runs(client)] == ["FAILED"]


def raising(error):
    def broken(*_, **__):
        raise error

    return broken


def test_a_server_that_is_down_fails_within_seconds_and_tells_no_password(folder, monkeypatch):
    uri = f"http://ann:secret@127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.monotonic()
    with pytest.raises(TrackingFailed, match="did not take the run") as found:
        send(folder)
    assert time.monotonic() - started < 10
    assert "secret" not in str(found.value)
    assert "127.0.0.1" in str(found.value)
    assert folder.tracked() == {}


def test_a_source_with_quotes_is_tracked(folder, client):
    run = folder.path / "run.json"
    run.write_text(run.read_text().replace('"source": "', r'"source": "C:\\data\\\"all\".csv '))
    send(folder)
    (sent,) = runs(client)
    assert 'C:\\\\data\\\\\\"all\\".csv' in sent.inputs.dataset_inputs[0].dataset.source


# Where to look


def test_the_default_store_is_a_file_in_the_working_folder(here):
    assert store_uri() == f"sqlite:///{here / 'mlflow.db'}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["what?", "ward #3", "100%25"])
def test_a_folder_may_have_a_name_that_means_something_else_in_an_address(finished, here, name):
    (here / name).mkdir()
    (here / "mlflow.db").rename(here / name / "mlflow.db")
    copied(finished, here / name / "mine")
    words = [sys.executable, "-m", "hi_ml.track", "run=mine"]
    ended = subprocess.run(words, cwd=here / name, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in here.iterdir()) == [name]
    assert len(list((here / name / "mlartifacts").rglob("verdict.json"))) == 1


def test_the_command_to_open_names_the_store_where_mlflow_would_not_find_it(here, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: str(Path(sys.executable).with_name("mlflow")))
    assert command_to_open(store_uri()) == "mlflow ui"
    (here / "mlruns").mkdir()  # MLflow would open this old store of files instead
    assert command_to_open(store_uri()) == f"mlflow ui --backend-store-uri {store_uri()}"
    assert command_to_open("sqlite:////else/where.db") == "mlflow ui --backend-store-uri sqlite:////else/where.db"
    assert command_to_open("http://127.0.0.1:5000") == "python -m webbrowser http://127.0.0.1:5000"


def test_the_command_to_open_holds_no_password(here, monkeypatch):  # noqa: ARG001 -- an empty working folder
    monkeypatch.setattr(shutil, "which", lambda _: str(Path(sys.executable).with_name("mlflow")))
    assert command_to_open("https://ann:secret@host:5000") == "python -m webbrowser https://host:5000"
    opened = command_to_open("postgresql://ann:secret@host/runs")
    assert opened == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'


# Real servers and processes


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(here, port, migrated_store):
    shutil.copy(migrated_store, here / "server.db")
    command = [Path(sys.executable).with_name("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{here / 'server.db'}"]
    command += ["--artifacts-destination", str(here / "artifacts")]
    return subprocess.Popen(
        command, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # eight processes that nobody asks here
    )  # fmt: skip


def wait_for(uri, *, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(0.5)
    return False


def track(folder, **environment):
    command = [sys.executable, "-m", "hi_ml.track", f"run={folder.path}"]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
    return subprocess.run(
        command, cwd=folder.path.parents[1], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_run_that_found_its_server_down_is_sent_when_it_is_up(folder, here, migrated_store, monkeypatch):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingFailed):
        send(folder)
    server = serve(here, port, migrated_store)
    try:
        assert wait_for(uri)
        up = track(folder, MLFLOW_TRACKING_URI=uri)
        assert up.returncode == 0, up.stderr
        client = MlflowClient(tracking_uri=uri)
        (run,) = runs(client)
        assert run.info.status == "FINISHED"
        with looking_at(uri):
            assert "model/MLmodel" in artifacts(client, run.info.run_id)
        assert list(client.get_registered_model(MODEL).aliases) == ["champion"]
        assert up.stdout.splitlines()[-1] == f"python -m webbrowser {uri}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.mark.slow
def test_two_processes_that_create_one_store_at_once_both_succeed(finished, tmp_path):
    folders = [copied(finished, tmp_path / "outputs" / name) for name in ("a", "b")]
    command = [sys.executable, "-m", "hi_ml.track"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    sent = [
        subprocess.Popen([*command, f"run={folder.path}"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for folder in folders
    ]
    errors = [process.communicate(timeout=120)[1] for process in sent]
    assert [process.returncode for process in sent] == [0, 0], errors
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert len(runs(client)) == 2
    aliases = client.get_registered_model(MODEL).aliases
    assert sorted(aliases) == ["challenger", "champion"]
    assert np.unique(list(aliases.values())).size == 2


# The alarms of a service


def test_an_alarm_is_a_run_that_lasts_as_long_as_it_does(client):
    def lasting():
        every = client.search_runs([client.get_experiment_by_name("ours/alarms").experiment_id])
        return {run.info.run_name: run.info.status for run in every}

    stays, other = ({"name": name, "since": "2026-11-01", "sentence": f"{name}!"} for name in ("stays", "coverage"))
    announce("ours", "a site", [stays], model="models:/x/1")
    announce("ours", "a site", [stays, other], model="models:/x/1")
    announce("ours", "another site", [], model="")
    assert lasting() == {"stays since 2026-11-01": "RUNNING", "coverage since 2026-11-01": "RUNNING"}
    announce("ours", "a site", [other], model="models:/x/1")
    assert lasting() == {"stays since 2026-11-01": "FINISHED", "coverage since 2026-11-01": "RUNNING"}
    (run,) = client.search_runs([client.get_experiment_by_name("ours/alarms").experiment_id], "status = 'RUNNING'")
    assert (run.data.tags["mlflow.note.content"], run.data.tags["hi_ml.alarm"]) == ("coverage!", "coverage")
