"""The real table of readmissions, read by the shipped YAML; what experiments/diabetes130.md says, on a part of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hi_ml

TABLE = Path(__file__).parents[1] / "data" / "raw" / "diabetic_data.csv"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_data,
    pytest.mark.skipif(not TABLE.is_file(), reason=f"{TABLE.name} is absent: its YAML says where to get it"),
]


@pytest.fixture(scope="module")
def admissions():
    return hi_ml.read("diabetes130", source=str(TABLE))


def test_deaths_and_hospice_are_left_out_and_first_encounters_are_those_of_each_patient(admissions):
    assert (len(admissions.row), len(admissions.left_out.table)) == (99_343, 2_423)
    assert (admissions.left_out.table["readmitted"] == "<30").sum() == 43
    first = hi_ml.read("diabetes130", source=str(TABLE), first_by="patient_id", drop=[])
    assert len(first.row) == 71_518


def test_codes_have_labels_chapters_and_bands(admissions):
    table = admissions.table
    assert table["admission_type"].cat.categories.tolist() == ["Elective", "Emergency", "Newborn", "Trauma", "Urgent"]
    assert {name: count for name, count in admissions.counts.items() if name.startswith("without")} == {
        "without_label.admission_type": 0, "without_label.admission_source": 0, "without_label.disposition": 0,
        "without_group.condition_group": 0, "without_group.diag_2_group": 0, "without_group.diag_3_group": 0,
    }  # fmt: skip
    assert set(table["age"]) == set(np.arange(5.0, 100, 10))


def test_a_fifth_of_the_patients_shows_the_signal_of_both_tasks(tmp_path):
    """A fifth of the patients costs a fifth of the time; all of them reach .671 and 1.55 days."""
    frame = pd.read_csv(TABLE, dtype=str, keep_default_na=False)
    part = frame[frame["patient_nbr"].astype(int) % 5 == 0]
    part.to_csv(tmp_path / "part.csv", index=False)
    some = hi_ml.read("diabetes130", source=str(tmp_path / "part.csv"))
    ranked = hi_ml.assess(hi_ml.fit(some, "readmission_30d"), "verdict", "scores")
    assert ranked["verdict"].verdict == "signal"
    assert ranked["scores"].set_index("score").loc["roc_auc", "value"] > 0.63
    stay = hi_ml.assess(hi_ml.fit(some, "length_of_stay", overrides=["horizon=discharge"]), "verdict", "scores")
    assert stay["scores"].set_index("score").loc["mae", "value"] < 1.65
    assert stay["verdict"].verdict == "signal"
