import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml.app.config import conf_dir
from hi_ml.claims.aggregates import added
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.emergency_stay import EmergencyStay, emergency_stay, stay_sums
from hi_ml.claims.subgroup_screen import stay_screen
from hi_ml.claims.verdicts import decide

SETTINGS = EmergencyStay(**yaml.safe_load((conf_dir() / "finding" / "emergency_stay.yaml").read_text("utf-8")))
TYPES, CONDITIONS = ["Elective", "Emergency", "Urgent"], ["Asthma", "Cancer", "Obesity"]


def table(n, effect, severe=0.0, seed=0):
    """Draw stays of 1 to 30 days, `effect` longer in emergencies and `severe` more in emergencies with Cancer."""
    rng = np.random.default_rng(seed)
    kind, condition = rng.choice(TYPES, n), rng.choice(CONDITIONS, n)
    stay = rng.integers(1, 31, n) + effect * (kind == "Emergency")
    stay = stay + severe * ((kind == "Emergency") & (condition == "Cancer"))
    admitted = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 365, n), unit="D")
    return pd.DataFrame(
        {"admission_type": kind, "condition": condition, "length_of_stay": stay.astype(float), "admitted_on": admitted}
    )


def finding(frame, declarations=None):
    admissions = one_row_each(frame, np.arange(len(frame)), declarations=declarations)
    return decide({"emergency_stay": emergency_stay(admissions, SETTINGS)}, family=5)[0]


def evidence(found, part):
    return next(item for item in found.evidence if item.part == part)


def test_longer_emergencies_are_supported():
    found = finding(table(20_000, 2.5))
    assert (found.verdict, found.reason, found.parts_testable) == ("supported", "STRONG", 1)
    assert evidence(found, "emergency").estimate == pytest.approx(2.5, abs=0.5)


def test_no_difference_is_absent():
    found = finding(table(20_000, 0.0))
    assert (found.verdict, found.reason) == ("not_supported", "ABSENT")


def test_a_small_difference_is_negligible():
    assert finding(table(100_000, 0.4)).reason == "NEGLIGIBLE"


def test_shorter_emergencies_are_opposite():
    found = finding(table(20_000, -2.0))
    assert (found.verdict, found.reason) == ("not_supported", "OPPOSITE")


def test_a_striking_subgroup_cannot_change_the_verdict():
    rare = table(20_000, 0.0)
    rare.loc[(rare["condition"] == "Cancer").to_numpy() & (np.arange(20_000) % 2 == 0), "condition"] = "Asthma"
    rare["length_of_stay"] += 3 * ((rare["condition"] == "Cancer") & (rare["admission_type"] == "Emergency"))
    found = finding(rare)
    assert found.verdict == "not_supported"
    assert evidence(found, "emergency in Cancer").role == "exploratory"
    assert evidence(found, "emergency in Cancer").detail["discovery"] == 1
    assert evidence(found, "emergency by condition").detail["p_value"] < 1e-6


def test_declared_severity_is_estimated_and_does_not_decide():
    declared = {"severe_conditions": ["cancer"]}
    found = finding(table(30_000, 2.0, severe=3.0), declared)
    severity = evidence(found, "severity")
    assert (severity.role, found.parts_testable) == ("secondary", 2)
    assert severity.estimate == pytest.approx(3.0, abs=0.8)
    milder = finding(table(30_000, 3.0, severe=-3.0), declared)
    assert (milder.verdict, evidence(milder, "severity").p_support) == ("supported", 1.0)


@pytest.mark.parametrize("severe", [["Gout"], CONDITIONS])
def test_severity_without_both_sides_is_too_few(severe):
    found = finding(table(2_000, 0.0), {"severe_conditions": severe})
    assert [(gap.part, gap.reason) for gap in found.gaps] == [("severity", "TOO_FEW")]


@pytest.mark.parametrize("n", [1, 30])
def test_too_few_rows_cannot_be_tested(n):
    found = finding(table(n, 0.0))
    assert (found.verdict, found.reason) == ("not_testable", "TOO_FEW")


@pytest.mark.parametrize("kept", ["Emergency", "Urgent"])
def test_one_side_alone_cannot_be_tested(kept):
    frame = table(2_000, 0.0)
    found = finding(frame[frame["admission_type"] == kept])
    assert (found.verdict, found.reason) == ("not_testable", "TOO_FEW")
    assert "0 " in found.gaps[0].words


def test_a_stay_that_never_varies_is_constant():
    found = finding(table(2_000, 0.0).assign(length_of_stay=3.0))
    assert (found.verdict, found.reason) == ("not_testable", "CONSTANT")


@pytest.mark.parametrize("role", ["admission_type", "length_of_stay"])
def test_a_missing_column_names_its_key(role):
    found = finding(table(500, 0.0).drop(columns=role))
    assert (found.verdict, found.reason) == ("not_testable", "COLUMN_MISSING")
    assert found.gaps[0].key == f"columns.{role}.from"


@pytest.mark.parametrize("role", ["condition", "admitted_on"])
def test_the_core_stands_without_what_only_the_charts_need(role):
    assert finding(table(20_000, 0.0).drop(columns=role)).verdict == "not_supported"


def test_companions_of_skewed_stays_agree_in_direction():
    found = finding(table(20_000, 2.0))
    assert evidence(found, "emergency (ranks)").low > 0.5
    assert evidence(found, "emergency (ratio)").low > 1.0
    with_zero = finding(table(20_000, 2.0).assign(length_of_stay=lambda rows: rows["length_of_stay"] - 1))
    assert "emergency (ratio)" not in {item.part for item in with_zero.evidence}


def test_the_sums_of_parts_add_up():
    frame = table(5_000, 1.0)
    parts = added(stay_sums(frame.iloc[part::10], "Emergency", "condition") for part in range(10))
    pd.testing.assert_frame_equal(parts, stay_sums(frame, "Emergency", "condition"), rtol=1e-9)


def test_the_screen_compares_every_level_within_every_other():
    screen = stay_screen(table(3_000, 0.0), [35, 50, 65], 30)
    assert len(screen) == 2 * 3 * 3 + 3 + 3  # one year alone is a stratum, and has no rest to differ from
    frame = table(3_000, 0.0)
    cancer = frame[frame["condition"] == "Cancer"]
    emergency = cancer["admission_type"] == "Emergency"
    row = screen[(screen["level"] == "Emergency") & (screen["stratum"] == "Cancer")].iloc[0]
    days = cancer["length_of_stay"]
    assert row["estimate"] == pytest.approx(days[emergency].mean() - days[~emergency].mean())
    assert screen["p_value"].is_monotonic_increasing


def test_tables_of_the_charts():
    found = finding(table(5_000, 1.0))
    shares = found.tables["stay_distribution"].groupby("admission_type")["share"].sum()
    assert shares.to_numpy() == pytest.approx(1.0)
    months = found.tables["stay_by_month"]
    assert len(months) == 36
    assert months["n"].sum() == 5_000
    assert found.tables["stay_by_condition"]["label"].tolist() == ["all conditions", *CONDITIONS]
