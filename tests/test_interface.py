"""What `import hi_ml` gives a notebook, and what it leaves alone."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra.errors import HydraException
from pydantic import ValidationError

import hi_ml
from hi_ml.app.config import conf_dir
from hi_ml.app.errors import ConfigurationInvalid, TooManyRejected

ALONE = """
import gc, os, signal, sys
before = dict(os.environ), signal.getsignal(signal.SIGINT), gc.isenabled()
import hi_ml
assert before == (dict(os.environ), signal.getsignal(signal.SIGINT), gc.isenabled())
assert not {"numpy", "pandas", "pyarrow", "hydra", "mlflow"} & set(sys.modules)
"""


def test_the_interface_is_this():
    assert set(hi_ml.__all__) == {"read", "declare", "pose", "fit", "assess", "load_model", "state_claims"}
    for name in hi_ml.__all__:
        assert callable(getattr(hi_ml, name))
        assert name in dir(hi_ml)
    assert hi_ml.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'reed'"):
        _ = hi_ml.reed


def test_to_import_it_changes_nothing_and_loads_nothing():
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    subprocess.run([sys.executable, "-c", ALONE], check=True, env=environment)


def test_a_table_is_described_by_name_by_path_and_by_what_differs(admissions_csv):
    assert hi_ml.declare().name == "simulated"
    assert hi_ml.declare("kaggle").source == "data/raw/healthcare_dataset.csv"
    mine = hi_ml.declare(admissions_csv, max_rejected=0, columns={"age": {"from": None}})
    assert (mine.name, mine.source, mine.max_rejected) == ("kaggle", str(admissions_csv), 0)
    assert "age" not in mine.present()
    assert len(mine.columns) == len(hi_ml.declare("kaggle").columns)


def test_an_option_of_ones_own_is_found(tmp_path):
    (tmp_path / "my conf" / "dataset").mkdir(parents=True)
    node = yaml.safe_load((conf_dir() / "dataset" / "kaggle.yaml").read_text()) | {"name": "mine"}
    (tmp_path / "my conf" / "dataset" / "mine.yaml").write_text(yaml.safe_dump(node))
    assert hi_ml.declare("mine", config_dir=tmp_path / "my conf").name == "mine"


def test_what_does_not_exist_is_refused():
    with pytest.raises(HydraException, match="dataset/nothing"):
        hi_ml.declare("nothing")
    with pytest.raises(ValidationError, match="sorce"):
        hi_ml.declare(sorce="x")


def test_a_table_is_read_as_a_command_reads_it(admissions_csv, reading):
    admissions = hi_ml.read(admissions_csv)
    assert admissions.sha256 == reading(admissions_csv).sha256
    assert hi_ml.read(hi_ml.declare(admissions_csv)).sha256 == admissions.sha256


def test_rejected_cells_are_listed_where_they_stop_the_reading_and_only_there(tmp_path, cells, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells.assign(Age=["abc", *cells["Age"][1:]]).to_csv("one.csv", index=False)
    assert list(hi_ml.read("one.csv").rejected["value"]) == ["aaa"]
    assert not (tmp_path / "rejected.csv").exists()
    cells.assign(Age="abc").to_csv("all.csv", index=False)
    with pytest.raises(TooManyRejected, match=f"listed in {tmp_path / 'rejected.csv'}"):
        hi_ml.read("all.csv")
    assert (tmp_path / "rejected.csv").read_text().count("\n") == 1 + len(cells)


def test_the_claims_are_those_asked_for(admissions_csv):
    admissions = hi_ml.read(admissions_csv)
    assert len(hi_ml.state_claims(admissions)) == 5
    (one,) = hi_ml.state_claims(admissions, "insurance_access", keep_duplicates=True)
    assert one.finding == "insurance_access"


@pytest.mark.slow
def test_a_run_in_python_has_the_numbers_of_the_command(called, tmp_path, admissions_csv):
    asked = [
        "dataset=kaggle",
        f"dataset.source={admissions_csv}",
        "task=length_of_stay",
        "model=linear",
        "tracking=none",
    ]
    folder = called("train", tmp_path, *asked) / "length_of_stay"
    run = hi_ml.fit(hi_ml.read(admissions_csv), "length_of_stay", "linear")
    results = hi_ml.assess(run)
    pd.testing.assert_frame_equal(results["scores"], pd.read_csv(folder / "scores.csv"))
    model = hi_ml.load_model(folder)
    assert model.verdict == results["verdict"].verdict
    answers = model.scorer.predict(pd.read_csv(admissions_csv))["prediction"].to_numpy()
    problem = hi_ml.pose(hi_ml.read(admissions_csv), "length_of_stay", "linear")
    np.testing.assert_allclose(answers[problem.row[problem.where("test")] - 1], run.predicted, rtol=1e-9)


def test_one_assessment_is_asked_for_by_name(admissions_csv):
    admissions = hi_ml.read(admissions_csv)
    run = hi_ml.fit(admissions, "test_results", "baseline", split="random", seed=1, overrides=["smallest_skill=0.5"])
    results = hi_ml.assess(run, "verdict")
    assert results["verdict"].smallest_skill == 0.5
    assert "scores" not in results
    with pytest.raises(ConfigurationInvalid, match="assessment=verdicts is unknown"):
        hi_ml.assess(run, "verdicts")
