"""Each command as a user calls it: in a folder of its own, by its exit code, its files and its last line."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pandas as pd
import pytest

from hi_ml import findings, train
from hi_ml import simulate as simulating
from hi_ml.data.simulation import simulate


def call(folder, module, *overrides, **environment):
    """Run a command and return what it said and how it ended."""
    return subprocess.run(
        [sys.executable, "-m", f"hi_ml.{module}", *overrides],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run of two tasks on a small table, tracked."""
    folder = tmp_path_factory.mktemp("trained")
    done = call(folder, "train", "dataset.rows=4000", "task=[length_of_stay,test_results]")
    assert done.returncode == 0, done.stderr
    (run,) = folder.glob("outputs/train/*")
    return folder, run, done


@pytest.mark.slow
def test_the_screen_shows_table_verdict_leak_folder_and_the_command_to_look(trained):
    folder, run, done = trained
    verdict = json.loads((run / "length_of_stay" / "verdict.json").read_text())
    assert verdict["sentence"] in " ".join(done.stdout.split())
    assert "Random split: " in done.stdout
    assert f"Run folder: {run / 'length_of_stay'}" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("mlflow ui")
    assert done.stderr == ""
    assert (folder / "mlflow.db").is_file()


@pytest.mark.slow
def test_without_tracking_nothing_of_mlflow_is_made_and_the_last_line_says_how_to_send_the_run(inside, tmp_path):
    done = inside(train.main, "dataset.rows=800", "task=billing", "model=baseline", "tracking=none")
    assert done.code == 0, done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    (folder,) = tmp_path.glob("outputs/train/*/billing")
    assert done.stdout.splitlines()[-1] == f"python -m hi_ml.track run={folder}"


@pytest.mark.slow
def test_simulate_writes_a_table_that_train_reads(inside, tmp_path):
    done = inside(simulating.main, "output=made.csv", "rows=900", "scenario=noise")
    assert done.code == 0, done.stderr
    assert {path.name for path in tmp_path.glob("made*")} == {
        "made.csv",
        "made.truth.json",
        "made.truth.parquet",
        "made.outcomes.csv",
    }
    asked = ("dataset=kaggle", "dataset.source=made.csv", "task=billing", "model=baseline", "tracking=none")
    read = inside(train.main, *asked)
    assert read.code == 0, read.stderr


@pytest.mark.slow
def test_a_sweep_leaves_a_folder_per_job(inside, tmp_path):
    asked = ("task=billing", "model=baseline", "seed=0,1", "dataset.rows=800", "tracking=none")
    done = inside(train.main, "--multirun", *asked)
    assert done.code == 0, done.stderr
    assert len(list(tmp_path.glob("outputs/train/multirun/*/*/billing/verdict.json"))) == 2


@pytest.mark.slow
def test_no_private_name_reaches_any_file_of_a_run_or_of_the_store(inside, migrated_store, tmp_path, tmp_path_factory):
    """Canaries in every private column, in any case, must be nowhere: folder, database, artifacts, screen."""
    table = pd.DataFrame(simulate(rows=900).table.to_pydict())
    table.loc[::3, "Name"] = "Zyxcanary Qwfpname"
    table.loc[::5, "Doctor"] = "DR VBKCANARY JLUYDOCTOR"
    source = tmp_path_factory.mktemp("elsewhere") / "table.csv"
    table.to_csv(source, index=False)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    said = [inside(main, "dataset=kaggle", f"dataset.source={source}") for main in (train.main, findings.main)]
    assert [done.code for done in said] == [0, 0], [done.stderr for done in said]
    assert len(list(tmp_path.glob("mlartifacts/**/MLmodel"))) >= 3
    leaked = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file()
        for content in (path.read_bytes().lower(), unpacked(path))
        if b"canary" in content or b"qwfpname" in content or b"jluydoctor" in content
    ]
    assert leaked == []
    assert "canary" not in "".join(done.stdout + done.stderr for done in said).lower()


def unpacked(path):
    """Return what a compressed file holds, as lower-case bytes."""
    if path.suffix == ".skops":
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(name) for name in archive.namelist()).lower()
    return pd.read_parquet(path).to_csv().encode().lower() if path.suffix == ".parquet" else b""
