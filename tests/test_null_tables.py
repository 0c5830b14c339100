"""The tables on which the claims are tried (`experiments/null_tables.py`): patients who come again."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import hi_ml

SCRIPT = Path(__file__).parents[1] / "experiments" / "null_tables.py"
SPEC = importlib.util.spec_from_file_location("null_tables", SCRIPT)
null = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(null)


def test_a_patient_comes_again_and_keeps_his_labels_as_often_as_said():
    table = null.null_table(1, admissions=20_000, kept=0.7)
    patients = table.groupby("patient_id")
    assert set(patients.size()) == {5}
    first = patients["insurer"].transform("first")
    later = table["patient_id"].duplicated()
    # own label with .7, or one of four at random; the first row of a patient has his own
    assert (table["insurer"] == first)[later].mean() == pytest.approx(0.7 + 0.3 / 4, abs=0.01)
    assert set(null.null_table(1, kept=1.0).groupby("patient_id")["medication"].nunique()) == {1}
    # uniform marginals of normals that correlate by .3
    pairs = table["billed"].to_numpy().reshape(-1, 5)
    assert np.corrcoef(pairs.T)[np.triu_indices(5, 1)].mean() == pytest.approx(0.29, abs=0.02)


@pytest.mark.parametrize("tail", list(null.TAILS))
def test_every_tail_gives_whole_stays_and_dates_in_order(tail):
    table = null.null_table(2, admissions=500, bills=tail, stays=tail, tiny=40, giant=0.5)
    assert np.isfinite(table["billed"]).all()
    assert (table["length_of_stay"] % 1 == 0).all()
    assert (table["discharged_on"] - table["admitted_on"]).dt.days.tolist() == table["length_of_stay"].tolist()
    assert (table["patient_id"] == 0).sum() == 250


def test_a_table_is_read_by_models_and_claims_alike():
    table = null.null_table(3, admissions=1_000)
    admissions = null.admissions_of(table)
    problem = hi_ml.pose(admissions, "length_of_stay", "linear")
    assert len(set(problem.group)) == 200
    (found,) = hi_ml.state_claims(admissions, "emergency_stay")
    (same,) = null.state(null.distinct(table), {"emergency_stay": null.settings()["emergency_stay"]})
    assert [part.estimate for part in found.evidence] == [part.estimate for part in same.evidence]
