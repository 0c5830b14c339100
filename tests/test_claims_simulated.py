"""The promises on large tables whose truth is known; those on many small ones stand in test_studies.py."""

import re

import pandas as pd
import pytest
import yaml

from hi_ml.app.config import conf_dir
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.data.simulation import simulate

CLAIMS = list(catalogue())
NODES = {name: yaml.safe_load((conf_dir() / "finding" / f"{name}.yaml").read_text("utf-8")) for name in CLAIMS}
SETTINGS = settings_of(NODES | {"billing_variation": NODES["billing_variation"] | {"permutations": 249}})
DECLARED = {"advanced_medications": ["Lipitor", "Penicillin"]}
ROLES = {
    "Gender": "sex",
    "Blood Type": "blood_type",
    "Medical Condition": "condition",
    "Insurance Provider": "insurer",
    "Admission Type": "admission_type",
    "Medication": "medication",
    "Test Results": "test_result",
    "Billing Amount": "billed",
    "Hospital": "hospital_as_written",
    "Date of Admission": "admitted_on",
    "Discharge Date": "discharged_on",
}


def findings(scenario, rows, seed, effect=2.0):
    simulated = simulate(scenario, rows, seed=seed, effect=effect)
    table = simulated.table.to_pandas()
    frame = table[list(ROLES)].rename(columns=ROLES)
    dates = {role: pd.to_datetime(frame[role]) for role in ("admitted_on", "discharged_on")}
    keys = {
        name: " ".join(sorted(re.sub(r"[^\w\s]", "", name.casefold()).split()))
        for name in frame["hospital_as_written"].unique()
    }
    frame = frame.assign(
        **dates,
        age=table["Age"].astype(float),
        hospital=frame["hospital_as_written"].map(keys),
        length_of_stay=(dates["discharged_on"] - dates["admitted_on"]).dt.days.astype(float),
        patient_name=pd.factorize(table["Name"].str.casefold())[0],
    )
    distinct = one_row_each(frame, simulated.original, declarations=DECLARED, seed=seed)
    return {finding.finding: finding for finding in state(distinct, SETTINGS)}


def test_the_planted_world_is_recognised():
    found = findings("planted", 20_000, seed=1)
    assert {name: finding.verdict for name, finding in found.items()} == dict.fromkeys(CLAIMS, "supported")
    assert found["medication_recovery"].parts_testable == 2
    assert "persons" in found["medication_recovery"].notes[1]


def test_noise_supports_nothing():
    found = findings("noise", 20_000, seed=1)
    assert "supported" not in {finding.verdict for finding in found.values()}
    assert found["medication_recovery"].parts_testable == 1


@pytest.mark.slow
def test_twice_the_smallest_effect_is_found_on_large_tables():
    verdicts = [findings("planted", 55_500, seed=seed) for seed in range(3)]
    assert {found[name].verdict for found in verdicts for name in CLAIMS} == {"supported"}


@pytest.mark.slow
def test_absence_is_shown_on_a_large_table_of_noise():
    verdicts = [findings("noise", 55_500, seed=seed) for seed in range(4)]
    assert {found[name].verdict for found in verdicts for name in CLAIMS} == {"not_supported"}
