"""A model is one YAML and no code: a user's own trains, tracks, explains and serves like the shipped ones."""

import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest

OWN = """
name: extra_trees
predicts: mean
regression: &learner
  _target_: sklearn.ensemble.ExtraTreesRegressor
  n_estimators: 30
  min_samples_leaf: 10
  n_jobs: 1
classification:
  <<: *learner
  _target_: sklearn.ensemble.ExtraTreesClassifier
encoding:
  categories: onehot
  numbers: scaled
"""
TASKS = ("length_of_stay", "test_results")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder in which a table was simulated and a model of a user's own trained on it, tracked."""
    place = tmp_path_factory.mktemp("own")
    (place / "mine" / "model").mkdir(parents=True)
    (place / "mine" / "model" / "extra_trees.yaml").write_text(OWN)
    for words in (
        ["hi_ml.simulate", "output=table.csv", "rows=2000"],
        ["hi_ml.train", "--config-dir", "mine", "model=extra_trees", "dataset=kaggle", "dataset.source=table.csv",
         f"task=[{','.join(TASKS)}]"],
    ):  # fmt: skip
        done = subprocess.run([sys.executable, "-m", *words], cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return place


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_yaml_of_a_users_own_trains_and_explains(run, task):
    (folder,) = run.glob(f"outputs/train/*/{task}")
    assert len(pd.read_parquet(folder / "explanation" / "shap_values.parquet"))
    assert "extra_trees" in (folder / "verdict.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_it_serves_from_the_registry_the_numbers_of_its_run(run, task, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{run / 'mlflow.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{run / 'mlflow.db'}")
    served = mlflow.pyfunc.load_model(f"models:/kaggle.{task}@champion").predict(pd.read_csv(run / "table.csv"))
    (folder,) = run.glob(f"outputs/train/*/{task}")
    said = pd.read_parquet(folder / "predictions.parquet")
    columns = [name for name in said if name.startswith("p_")] or ["prediction"]
    np.testing.assert_array_equal(served.iloc[said["row"] - 1][columns].to_numpy(), said[columns].to_numpy())
