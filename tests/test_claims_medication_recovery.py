from functools import partial

import numpy as np
import pandas as pd
import pytest

from hi_ml.claims.medication_recovery import index_discharges

DECLARED = {"advanced_medications": ["lipitor", "PENICILLIN"]}


@pytest.fixture
def state(stated):
    return partial(stated, "medication_recovery", declared=DECLARED)


@pytest.fixture
def gap_of():
    return lambda found, part: next(gap for gap in found.gaps if gap.part == part)


def test_shorter_stays_and_fewer_returns_are_supported(drawn, state, evidence):
    found = state(drawn(20_000, medication=2.0, readmission=0.05))
    assert (found.verdict, found.parts_testable, found.gaps) == ("supported", 2, ())
    assert evidence(found, "stay").estimate == pytest.approx(2.0, abs=0.4)
    assert evidence(found, "readmission").estimate == pytest.approx(0.05, abs=0.02)


def test_one_half_of_the_claim_is_not_the_claim(drawn, state):
    assert state(drawn(20_000, medication=2.0)).verdict == "not_supported"


def test_undeclared_medications_cannot_be_tested_and_proxies_are_exploratory(drawn, stated, evidence):
    found = stated("medication_recovery", drawn(5_000, medication=5.0))
    assert (found.verdict, found.reason, found.parts_testable) == ("not_testable", "NO_MAPPING", 0)
    for part in ("any medication", "any medication (within conditions)"):
        assert evidence(found, part).role == "exploratory"
        assert evidence(found, part).p_support < 1e-6


def test_all_medications_advanced_leave_nothing_to_compare(drawn, state):
    found = state(drawn(500), declared={"advanced_medications": ["Aspirin", "Ibuprofen", "Lipitor", "Penicillin"]})
    assert (found.verdict, found.reason) == ("not_testable", "TOO_FEW")


def test_names_of_strangers_are_no_patients(drawn, state, gap_of):
    found = state(drawn(4_000).drop(columns="patient_id").head(4_000))
    gap = gap_of(found, "readmission")
    assert (gap.reason, gap.key) == ("NO_PATIENT_ID", "columns.patient_id.from")
    assert "chance collisions" in gap.words
    assert found.parts_testable == 1


def test_names_that_return_are_patients(drawn, state, evidence):
    numbered = drawn(20_000, medication=2.0, readmission=0.05)
    named = state(numbered.drop(columns="patient_id"))
    by_number, by_name = (evidence(found, "readmission") for found in (state(numbered), named))
    assert by_name.estimate == pytest.approx(by_number.estimate, abs=1e-3)
    assert named.tables["identity"]["agreement"].tolist()[3] == "all three"


def test_a_table_without_names_or_numbers_says_what_it_lacks(drawn, state, gap_of):
    gap = gap_of(state(drawn(500).drop(columns=["patient_id", "patient_name"])), "readmission")
    assert (gap.reason, "patient_name" in gap.words) == ("NO_PATIENT_ID", True)


def test_patients_who_return_often_widen_the_interval(drawn, state, evidence):
    frame = drawn(3_000)
    start = pd.Timestamp("2022-01-01") + pd.to_timedelta(np.tile(np.arange(10) * 15, 50), unit="D")
    often = frame.head(500).assign(patient_id=np.repeat(np.arange(50), 10) + 10_000, medication="Aspirin")
    often = often.assign(admitted_on=start, discharged_on=start + pd.Timedelta(days=3))
    both = pd.concat([frame, often], ignore_index=True)
    assert evidence(state(both), "readmission").detail["design_effect"] > 2
    assert evidence(state(frame), "readmission").detail["design_effect"] == pytest.approx(1.0, abs=0.1)


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
