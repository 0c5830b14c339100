"""Each command as a user calls it: in a folder of its own, by its exit code, its files and its last line."""

import json

import pytest

from hi_ml import simulate as simulating
from hi_ml import train


@pytest.mark.slow
def test_the_screen_shows_table_verdict_leak_folder_and_the_command_to_look(command, tmp_path):
    done = command("train", "dataset.rows=1000", "task=[length_of_stay,test_results]")
    assert done.code == 0, done.stderr
    (run,) = tmp_path.glob("outputs/train/*")
    verdict = json.loads((run / "length_of_stay" / "verdict.json").read_text())
    assert verdict["sentence"] in " ".join(done.stdout.split())
    assert "Random split: " in done.stdout
    assert f"Run folder: {run / 'length_of_stay'}" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("mlflow ui")
    assert done.stderr == ""
    assert (tmp_path / "mlflow.db").is_file()


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


def test_a_misspelt_group_is_told_by_its_own_name(inside):
    ended = inside(train.main, "taks=billing")
    assert (ended.code, "There is no key 'taks' (did you mean task?)." in ended.stderr) == (1, True)
