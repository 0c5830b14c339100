from functools import partial

import numpy as np
import pytest

from hi_ml.claims.distinct import LocalRows
from hi_ml.claims.subgroup_screen import stay_screen

CONDITIONS = ["Asthma", "Cancer", "Diabetes", "Hypertension", "Obesity"]
SEVERE = {"severe_conditions": ["cancer"]}


@pytest.fixture
def state(stated):
    return partial(stated, "emergency_stay")


@pytest.mark.parametrize(
    ("n", "days", "reason"),
    [
        (20_000, 2.5, "SUFFICIENT"),
        pytest.param(90_000, 0.4, "NEGLIGIBLE", marks=pytest.mark.slow),
        (20_000, -2.0, "OPPOSITE"),
    ],
)
def test_a_difference_is_held_against_the_smallest_that_matters_and_against_its_sign(
    n, days, reason, drawn, state, evidence
):
    found = state(drawn(n, emergency=days))
    assert (found.reason, found.parts_testable) == (reason, 1)
    assert evidence(found, "emergency").estimate == pytest.approx(days, abs=0.5)


def test_it_is_strong_only_with_what_it_says_of_severe_conditions(drawn, state):
    found = state(drawn(20_000, emergency=2.5, severe=3.0), declared=SEVERE)
    assert (found.reason, found.covered) == ("STRONG", found.claim)
    without = state(drawn(20_000, emergency=2.5), declared=SEVERE)
    assert (without.verdict, without.reason, without.gaps) == ("supported", "SUFFICIENT", ())
    assert without.sentences[0].startswith("Supported in part: emergency admissions stay longer than the others. The")


def test_a_striking_subgroup_cannot_change_the_verdict(drawn, state, evidence):
    rare = drawn(20_000)
    rare.loc[(rare["condition"] == "Cancer").to_numpy() & (np.arange(len(rare)) % 2 == 0), "condition"] = "Asthma"
    rare["length_of_stay"] += 4 * ((rare["condition"] == "Cancer") & (rare["admission_type"] == "Emergency"))
    found = state(rare)
    assert found.verdict == "not_supported"
    cancer = evidence(found, "emergency in Cancer")
    assert (cancer.role, cancer.detail["discovery"]) == ("exploratory", 1)
    assert evidence(found, "emergency by condition").detail["p_value"] < 1e-6


def test_declared_severity_is_estimated_and_does_not_decide(drawn, state, evidence):
    found = state(drawn(30_000, emergency=2.0, severe=3.0), declared=SEVERE)
    severity = evidence(found, "severity")
    assert (severity.role, found.parts_testable) == ("secondary", 2)
    assert severity.estimate == pytest.approx(3.0, abs=0.8)
    milder = state(drawn(30_000, emergency=3.0, severe=-3.0), declared=SEVERE)
    assert (milder.verdict, evidence(milder, "severity").p_support) == ("supported", 1.0)


@pytest.mark.parametrize("severe", [["Gout"], CONDITIONS])
def test_severity_without_both_sides_is_too_few(severe, drawn, state):
    found = state(drawn(2_000), declared={"severe_conditions": severe})
    assert [(gap.part, gap.reason) for gap in found.gaps] == [("severity", "TOO_FEW")]


@pytest.mark.parametrize("kept", ["Emergency", "Urgent"])
def test_one_side_alone_cannot_be_tested(kept, drawn, state):
    frame = drawn(2_000)
    found = state(frame[frame["admission_type"] == kept])
    assert (found.verdict, found.reason) == ("not_testable", "TOO_FEW")
    assert "0 " in found.gaps[0].words


@pytest.mark.parametrize("role", ["condition", "admitted_on"])
def test_the_core_stands_without_what_only_the_charts_need(role, drawn, state):
    assert state(drawn(20_000).drop(columns=role)).verdict == "not_supported"


def test_companions_of_skewed_stays_agree_in_direction(drawn, state, evidence):
    frame = drawn(20_000, emergency=2.0)
    found = state(frame)
    assert evidence(found, "emergency (ranks)").low > 0.5
    assert evidence(found, "emergency (ratio)").low > 1.0
    with_zero = state(frame.assign(length_of_stay=frame["length_of_stay"] - 1))
    assert "emergency (ratio)" not in {item.part for item in with_zero.evidence}


def test_the_screen_compares_every_level_within_every_other(drawn):
    frame = drawn(3_000)[["admission_type", "condition", "length_of_stay", "age"]]
    screen = stay_screen(LocalRows(frame), [35, 50, 65], 30)
    assert len(screen) == 2 * (3 * 5 + 3 * 4 + 5 * 4)
    assert {"under 35 years", "35 to 49 years", "65 years and over"} < set(screen["level"])
    cancer = frame[frame["condition"] == "Cancer"]
    emergency, days = cancer["admission_type"] == "Emergency", cancer["length_of_stay"]
    row = screen[(screen["level"] == "Emergency") & (screen["stratum"] == "Cancer")].iloc[0]
    assert row["estimate"] == pytest.approx(days[emergency].mean() - days[~emergency].mean())
    assert screen["p_value"].is_monotonic_increasing


def test_the_tables_of_its_charts(drawn, state):
    frame = drawn(5_000, emergency=1.0)
    tables = state(frame).tables
    shares = tables["stay_distribution"].groupby("admission_type")["share"].sum()
    assert shares.to_numpy() == pytest.approx(1.0)
    assert len(tables["stay_by_month"]) == 3 * frame["admitted_on"].dt.to_period("M").nunique()
    assert tables["stay_by_month"]["n"].sum() == len(frame)
    assert tables["stay_by_condition"]["label"].tolist() == ["all conditions", *CONDITIONS]
