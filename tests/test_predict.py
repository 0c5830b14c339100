"""The command as a user calls it, killed as an unlucky user would see it killed, beside MLflow's own ways to score."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hi_ml import train
from hi_ml.data.simulation import simulate
from hi_ml.predict import main
from hi_ml.prediction import batch
from hi_ml.prediction.batch import run


@pytest.fixture(scope="session")
def folder(small_model):
    """The folder of a small model, as MLflow keeps it."""
    return small_model("lgbm", "length_of_stay").folder.parents[1]


@pytest.fixture
def tonight(tmp_path, cells):
    """A hundred admissions, one of them unreadable."""
    table = cells.head(100).copy()
    table.loc[6, "Age"] = "forty"
    table.to_csv(tmp_path / "tonight.csv", index=False)
    return tmp_path / "tonight.csv"


@pytest.mark.slow
def test_a_file_is_scored_and_the_printed_command_proves_it(command, inside, tonight, folder, tmp_path):
    asked = (f"model_uri={folder}", f"input={tonight.name}", "output=scores.csv", "keep=[Room Number]", "reasons=1")
    done = command("predict", *asked)
    assert (done.code, done.stderr) == (0, "")
    *_, proof, words, shown = done.stdout.splitlines()
    assert words == "MLflow shows the runs, once this is started:"
    assert "100 rows read, 99 scored, 1 rejected" in done.stdout
    assert "Note: the verdict is not 'signal'" in done.stdout  # nothing says what the run of this folder found
    assert "Rejected: scores.csv.rejected.csv" in done.stdout
    assert shown.endswith("mlflow ui")
    manifest = json.loads((tmp_path / "scores.csv.manifest.json").read_text())
    assert manifest["verdict"] == "unknown"
    assert manifest["command"] == ["python", "-m", "hi_ml.predict", *asked]
    (run,) = (tmp_path / "outputs" / "predict").iterdir()
    assert {path.name for path in run.iterdir()} == {"config.yaml", "overrides.txt", "manifest.json", "timings.json"}
    assert json.loads((run / "manifest.json").read_text()) == manifest
    assert proof == "python -m hi_ml.predict verify=scores.csv.manifest.json"
    checked = inside(main, proof.split()[-1])
    assert (checked.code, checked.stderr) == (0, "")
    assert "scores.csv is what its manifest claims" in checked.stdout
    (tmp_path / "scores.csv").write_text((tmp_path / "scores.csv").read_text().replace("2", "3", 1))
    checked = inside(main, proof.split()[-1])
    assert checked.code == 1
    assert checked.stderr.startswith("NotAsClaimed: scores.csv is not shown to be what its manifest claims")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "predict needs output="),
        (["output=out.txt"], "found output=out.txt"),
        (["output=out.csv"], "predict needs input="),
        (["output=out.csv", "input=tonight.csv", "max_rejected=0"], "raise max_rejected"),
        (["output=out.csv", "input=tonight.csv", "chunk_rows=0"], "chunk_rows"),
        (["output=out.csv", "input=tonight.csv", "key=Name"], "key= is of engine=spark alone"),
        (["output=out.csv", "input=tonight.csv", "spark=['spark.master=local']"], "spark= is of engine=spark alone"),
        (["verify=absent.csv.manifest.json"], "no manifest"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(inside, tonight, folder, asked, words):
    done = inside(main, f"model_uri={folder}", *asked)
    assert done.code == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not tonight.with_name("out.csv").exists()
    assert not list(tonight.parent.glob("*.unfinished"))


@pytest.mark.slow
def test_the_champion_of_a_task_is_asked_by_default(inside, tonight, migrated_store, tmp_path):
    asked = (f"input={tonight.name}", "output=scores.parquet", "task=billing")
    nothing = inside(main, *asked)
    assert nothing.code == 1
    assert "models:/simulated.billing@champion" in nothing.stderr
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    trained = inside(train.main, "task=billing", "dataset.rows=800", "model=baseline")
    assert trained.code == 0, trained.stderr
    done = inside(main, *asked)
    assert done.code == 0, done.stderr
    manifest = json.loads((tmp_path / "scores.parquet.manifest.json").read_text())
    assert (manifest["model_uri"], manifest["verdict"]) == ("models:/simulated.billing/1", "inconclusive")
    assert "Note: the verdict is not 'signal'" in done.stdout
    assert manifest["drift"]
    (run,) = (tmp_path / "outputs" / "train").glob("*/billing")
    again = inside(main, f"model_uri={run}", "input=tonight.csv", "output=again.parquet")
    assert again.code == 0, again.stderr
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "scores.parquet").read_bytes()


# Killed, interrupted, out of space


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three thousand admissions as CSV and Parquet, some unreadable."""
    place = tmp_path_factory.mktemp("many")
    table = simulate("planted", 3000, seed=5).table
    pq.write_table(table, place / "in.parquet", row_group_size=700)
    frame = table.to_pandas()
    frame["Age"] = frame["Age"].astype(str).where(frame.index % 97 != 5, "x")
    frame.to_csv(place / "in.csv", index=False)
    return place


def request_of(described, source, output, rows=40):
    return batch.BatchRequest(str(source), output, described(source), keep=("Room Number",), chunk_rows=rows, threads=2)


def finished(request, model):
    said, read = [], batch.fingerprints(request.input, request.dataset)
    result = batch.score(request, model, files=read, say=said.append, stage=print)
    files = {path.name: path.read_bytes() for path in request.output.parent.iterdir() if "manifest" not in path.name}
    return files, {**result.manifest, "seconds": 0}, said


def test_where_nothing_may_be_written_the_run_folder_stands_beside_the_output(inside, tonight, folder, monkeypatch):
    elsewhere = tonight.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: path != tonight.parent)
    done = inside(main, f"model_uri={folder}", f"input={tonight}", f"output={elsewhere / 'scores.csv'}")
    assert (done.code, done.stderr) == (0, "")
    assert (elsewhere / "scores.csv").is_file()
    assert len(list((elsewhere / "outputs" / "predict").iterdir())) == 1
    assert {path.name for path in tonight.parent.iterdir()} == {"tonight.csv", "elsewhere"}


class Killed(BaseException):
    """Nothing catches it, as nothing outlives a kill."""


@pytest.mark.parametrize("step", range(9))  # the request, three parts, list, manifest, output, manifest, the folder
def test_a_kill_while_a_file_is_put_in_place_is_made_good(small_model, described, many, tmp_path, monkeypatch, step):
    model, steps = small_model("lgbm", "length_of_stay"), iter(range(100))
    expected, told, _ = finished(request_of(described, many / "in.csv", tmp_path / "out.csv", 1000), model)
    for path in tmp_path.iterdir():
        path.unlink()

    def killed_at(real):
        def call(*given, **named):
            if next(steps) == step:
                raise Killed
            return real(*given, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed_at(Path.replace))
        patched.setattr(run.Work, "remove", killed_at(run.Work.remove))
        patched.setattr(run, "write_json", killed_at(run.write_json))
        with pytest.raises(Killed):
            finished(request_of(described, many / "in.csv", tmp_path / "out.csv", 1000), model)
    files, manifest, said = finished(request_of(described, many / "in.csv", tmp_path / "out.csv", 1000), model)
    assert (files, manifest) == (expected, told)
    done = 1000 * min(max(step - 1, 0), 3)
    assert said == ([f"Goes on behind row {done:,}, where an earlier call was stopped."] if done else [])


@pytest.mark.slow
def test_a_stop_keeps_what_is_done_and_the_same_command_goes_on(command, many, folder, tmp_path):
    asked = [f"model_uri={folder}", f"input={many / 'in.csv'}", "output=out.csv", "chunk_rows=2"]
    words = [sys.executable, "-m", "hi_ml.predict", *asked]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    work = tmp_path / "out.csv.unfinished"
    while process.poll() is None and len(list(work.glob("*.arrows"))) < 30:
        time.sleep(0.01)
    second = command("predict", *asked)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert second.code == 1
    assert "another process" in second.stderr
    assert process.returncode == 143
    assert "finished chunks are kept in out.csv.unfinished; the same command goes on from there" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.csv").exists()
    done = command("predict", *asked)
    assert done.code == 0, done.stderr
    assert "Goes on behind row" in done.stdout
    assert not work.exists()


@pytest.mark.slow
@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(command, inside, many, folder, output, tmp_path):
    asked = [f"model_uri={folder}", f"input={many / 'in.parquet'}", f"output={output}", "chunk_rows=50"]
    full = command("predict", *asked, under="ulimit -f 40")
    assert full.code == 1
    assert full.stderr.startswith("OutputFailed: Could not write")
    assert len(full.stderr.splitlines()) == 1
    assert "finished chunks are kept" in full.stderr
    assert not (tmp_path / output).exists()
    done = inside(main, *asked)
    assert done.code == 0, done.stderr
    assert "Goes on behind row" in done.stdout
    whole = inside(main, *asked[:2], f"output=whole{Path(output).suffix}", "chunk_rows=50")
    assert whole.code == 0, whole.stderr
    assert (tmp_path / output).read_bytes() == (tmp_path / f"whole{Path(output).suffix}").read_bytes()


# The same numbers by every way


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "kind"), [("lgbm", "length_of_stay", "csv"), ("linear", "test_results", "json")]
)
def test_mlflow_gives_the_numbers_of_hi_ml_predict(inside, small_model, cells, tmp_path, name, task, kind):
    folder = small_model(name, task).folder.parents[1]
    table = cells.head(60)
    table.to_csv(tmp_path / "in.csv", index=False)
    done = inside(main, f"model_uri={folder}", "input=in.csv", "output=out.parquet", "chunk_rows=17")
    assert done.code == 0, done.stderr
    expected = pd.read_parquet(tmp_path / "out.parquet").drop(columns=["row", "unknown"])
    answers = {
        "pyfunc": mlflow.pyfunc.load_model(str(folder)).predict(pd.read_csv(tmp_path / "in.csv")),
        f"predict {kind}": predicted(folder, tmp_path, kind),
        "serve": served(folder, tmp_path, table),
    }
    for way, found in answers.items():
        exact = name != "linear"  # whose sums depend on how BLAS takes the rows
        pd.testing.assert_frame_equal(
            found[list(expected)], expected, check_exact=exact, rtol=1e-9, check_dtype=False, obj=way
        )


def mlflow_models(verb, folder, *options):
    return [Path(sys.executable).with_name("mlflow"), "models", verb, "-m", folder, "--env-manager", "local", *options]


def predicted(folder, place, kind):
    """Let ``mlflow models predict`` score the file."""
    source, output = place / f"in.{kind}", place / f"mlflow.{kind}"
    if kind == "json":
        table = pd.read_csv(place / "in.csv", dtype=str, keep_default_na=False)
        source.write_text(json.dumps({"dataframe_split": table.to_dict("split")}))
    words = mlflow_models("predict", folder, "-i", source, "-o", output, "-t", kind)
    subprocess.run(words, cwd=place, check=True, capture_output=True)
    return pd.DataFrame(json.loads(output.read_text())["predictions"])


def served(folder, place, table):
    """Start ``mlflow models serve`` on this machine and post the rows to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = mlflow_models("serve", folder, "--host", "127.0.0.1", "--port", str(port))
    activated = {**os.environ, "PATH": f"{words[0].parent}{os.pathsep}{os.environ['PATH']}"}  # it looks for uvicorn
    with (place / "log").open("w") as log:
        server = subprocess.Popen(words, cwd=place, env=activated, stdout=log, stderr=log, start_new_session=True)
    body = json.dumps({"dataframe_split": table.to_dict("split")}).encode()
    post = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    try:
        while server.poll() is None:
            try:
                with urllib.request.urlopen(post, timeout=30) as answer:
                    return pd.DataFrame(json.loads(answer.read())["predictions"])
            except urllib.error.URLError:
                time.sleep(0.2)
        pytest.fail((place / "log").read_text())
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)
