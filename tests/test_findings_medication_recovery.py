import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml.app.config import conf_dir
from hi_ml.claims.aggregates import added, sums
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.medication_recovery import MedicationRecovery, index_discharges, medication_recovery
from hi_ml.claims.verdicts import decide

SETTINGS = MedicationRecovery(
    **yaml.safe_load((conf_dir() / "finding" / "medication_recovery.yaml").read_text("utf-8"))
)
MEDICATIONS = ["Aspirin", "Ibuprofen", "Lipitor", "Penicillin"]
DECLARED = {"advanced_medications": ["lipitor", "PENICILLIN"]}


def table(n, stay=0.0, readmission=0.0, seed=0):
    """Draw patients; with other medications they stay `stay` days longer and return `readmission` more often (.1)."""
    rng = np.random.default_rng(seed)
    medication = rng.choice(MEDICATIONS, n)
    other = np.isin(medication, MEDICATIONS[:2])
    admitted = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    frame = pd.DataFrame(
        {
            "patient_id": np.arange(n),
            "patient_name": rng.integers(0, n * 2, n),
            "sex": rng.choice(["Female", "Male"], n),
            "blood_type": rng.choice(list("ABCDEFGH"), n),
            "age": rng.integers(18, 86, n).astype(float),
            "condition": rng.choice(["Asthma", "Cancer"], n),
            "medication": medication,
            "admitted_on": admitted,
            "length_of_stay": rng.integers(1, 30, n) + stay * other,
        }
    )
    frame["discharged_on"] = frame["admitted_on"] + pd.to_timedelta(frame["length_of_stay"].round(), unit="D")
    returns = frame[rng.random(n) < 0.1 + readmission * other]
    again = returns.assign(
        admitted_on=returns["discharged_on"] + pd.to_timedelta(rng.integers(1, 31, len(returns)), unit="D"),
        medication=rng.choice(MEDICATIONS, len(returns)),
    )
    days = rng.integers(1, 30, len(again)) + stay * np.isin(again["medication"], MEDICATIONS[:2])
    again = again.assign(length_of_stay=days)
    again["discharged_on"] = again["admitted_on"] + pd.to_timedelta(again["length_of_stay"].round(), unit="D")
    return pd.concat([frame, again], ignore_index=True)


def finding(frame, declarations=DECLARED):
    admissions = one_row_each(frame, np.arange(len(frame)), declarations=declarations)
    return decide({"medication_recovery": medication_recovery(admissions, SETTINGS)}, family=5)[0]


def evidence(found, part):
    return next(item for item in found.evidence if item.part == part)


def test_shorter_stays_and_fewer_returns_are_supported():
    found = finding(table(20_000, stay=2.0, readmission=0.05))
    assert (found.verdict, found.parts_testable, found.gaps) == ("supported", 2, ())
    assert evidence(found, "stay").estimate == pytest.approx(2.0, abs=0.4)
    assert evidence(found, "readmission").estimate == pytest.approx(0.05, abs=0.02)


def test_one_half_of_the_claim_is_not_the_claim():
    assert finding(table(20_000, stay=2.0)).verdict == "not_supported"


def test_no_difference_is_absent():
    found = finding(table(20_000))
    assert (found.verdict, found.reason) == ("not_supported", "ABSENT")


def test_undeclared_medications_cannot_be_tested_and_proxies_are_exploratory():
    found = finding(table(5_000, stay=5.0), declarations=None)
    assert (found.verdict, found.reason, found.parts_testable) == ("not_testable", "NO_MAPPING", 0)
    assert {gap.key for gap in found.gaps} == {"advanced_medications"}
    for part in ("any medication", "any medication (within conditions)"):
        assert evidence(found, part).role == "exploratory"
        assert evidence(found, part).p_support < 1e-6


def test_a_declaration_that_matches_nothing_says_so():
    found = finding(table(500), {"advanced_medications": ["Statin"]})
    assert found.reason == "NO_MAPPING"
    assert "Statin" in found.gaps[0].words


def test_all_medications_advanced_leave_nothing_to_compare():
    found = finding(table(500), {"advanced_medications": MEDICATIONS})
    assert (found.verdict, found.reason) == ("not_testable", "TOO_FEW")


def test_names_of_strangers_are_no_patients():
    frame = table(4_000).drop(columns="patient_id").head(4_000)
    found = finding(frame)
    gap = next(gap for gap in found.gaps if gap.part == "readmission")
    assert (gap.reason, gap.key) == ("NO_PATIENT_ID", "columns.patient_id.from")
    assert "chance collisions" in gap.words
    assert found.parts_testable == 1


def test_names_that_return_are_patients():
    numbered, named = table(20_000, 2.0, 0.05), table(20_000, 2.0, 0.05).drop(columns="patient_id")
    by_number, by_name = (evidence(finding(frame), "readmission") for frame in (numbered, named))
    assert by_name.estimate == pytest.approx(by_number.estimate, abs=1e-3)
    assert finding(named).tables["identity"]["agreement"].tolist()[3] == "all three"


def test_a_table_without_names_or_numbers_says_what_it_lacks():
    found = finding(table(500).drop(columns=["patient_id", "patient_name"]))
    gap = next(gap for gap in found.gaps if gap.part == "readmission")
    assert (gap.reason, "patient_name" in gap.words) == ("NO_PATIENT_ID", True)


@pytest.mark.parametrize("role", ["medication", "length_of_stay"])
def test_a_missing_column_names_its_key(role):
    found = finding(table(2_000).drop(columns=role))
    assert found.gaps[0].key == f"columns.{role}.from"
    assert found.gaps[0].reason == "COLUMN_MISSING"


@pytest.mark.parametrize("n", [1, 30])
def test_too_few_rows_cannot_be_tested(n):
    found = finding(table(60).head(n))
    assert found.verdict == "not_testable"
    assert "TOO_FEW" in {gap.reason for gap in found.gaps}


def test_a_stay_that_never_varies_is_constant():
    found = finding(table(2_000).assign(length_of_stay=4.0))
    assert {gap.part: gap.reason for gap in found.gaps} == {"stay": "CONSTANT"}


def test_patients_who_return_often_widen_the_interval():
    frame = table(3_000)
    start = pd.Timestamp("2022-01-01") + pd.to_timedelta(np.tile(np.arange(10) * 15, 50), unit="D")
    often = frame.head(500).assign(patient_id=np.repeat(np.arange(50), 10) + 10_000, medication="Aspirin")
    often = often.assign(admitted_on=start, discharged_on=start + pd.Timedelta(days=3))
    both = pd.concat([frame, often], ignore_index=True)
    known = evidence(finding(both), "readmission")
    assert known.detail["design_effect"] > 2
    assert evidence(finding(frame), "readmission").detail["design_effect"] == pytest.approx(1.0, abs=0.1)


def test_readmissions_are_those_one_would_look_up():
    rng = np.random.default_rng(1)
    start = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 200, 120), unit="D")
    frame = pd.DataFrame({"admitted_on": start, "discharged_on": start + pd.to_timedelta(rng.integers(0, 9, 120), "D")})
    patients = rng.integers(-1, 25, 120)
    found = index_discharges(frame, patients, 30)
    expected = {}
    for row in frame.index[patients >= 0]:
        left = frame.loc[row, "discharged_on"]
        if left + pd.Timedelta(days=30) > frame["admitted_on"].max():
            continue
        others = frame.index[(patients == patients[row]) & (frame.index != row)]
        gaps = (frame.loc[others, "admitted_on"] - left).dt.days
        later = (frame.loc[others, "admitted_on"] > frame.loc[row, "admitted_on"]) | (gaps > 0)
        expected[row] = bool(((gaps >= 0) & (gaps <= 30) & later).any())
    assert found["readmitted"].to_dict() == expected
    assert 0 < sum(expected.values()) < len(expected)


def test_the_sums_of_parts_add_up():
    frame = table(4_000)
    parts = added(sums(frame.iloc[part::10], ["medication"], "length_of_stay") for part in range(10))
    pd.testing.assert_frame_equal(parts, sums(frame, ["medication"], "length_of_stay"), rtol=1e-9)


def test_no_name_or_number_of_a_patient_is_in_a_table():
    found = finding(table(3_000))
    for name, shown in found.tables.items():
        assert not {"patient_name", "patient_id"} & set(shown.columns), name
