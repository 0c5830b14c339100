import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml.app.config import conf_dir
from hi_ml.claims.aggregates import added, counts, cube
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.insurance_access import InsuranceAccess, insurance_access, stratified
from hi_ml.claims.verdicts import decide
from hi_ml.statistics.contingency import association
from hi_ml.statistics.estimates import Margin

SETTINGS = InsuranceAccess(**yaml.safe_load((conf_dir() / "finding" / "insurance_access.yaml").read_text("utf-8")))
INSURERS, TYPES = ["Aetna", "Cigna", "Medicare"], ["Elective", "Emergency", "Urgent"]


def table(n, tilt=0.0, stay=0.0, seed=0):
    """Draw insured care; Aetna has `tilt` more of its admissions elective and stays `stay` days longer."""
    rng = np.random.default_rng(seed)
    insurer = rng.choice(INSURERS, n)
    aetna = insurer == "Aetna"
    kind = np.where(aetna & (rng.random(n) < tilt), "Elective", rng.choice(TYPES, n))
    return pd.DataFrame(
        {
            "insurer": insurer,
            "admission_type": kind,
            "medication": rng.choice(["Aspirin", "Lipitor"], n),
            "test_result": rng.choice(["Abnormal", "Normal"], n),
            "length_of_stay": rng.integers(1, 31, n) + stay * aetna,
            "condition": rng.choice(["Asthma", "Cancer"], n),
            "age": rng.integers(18, 86, n).astype(float),
            "sex": rng.choice(["Female", "Male"], n),
        }
    )


def finding(frame):
    return decide(
        {"insurance_access": insurance_access(one_row_each(frame, np.arange(len(frame))), SETTINGS)}, family=5
    )[0]


def evidence(found, part):
    return next(item for item in found.evidence if item.part == part)


@pytest.mark.parametrize(("part", "planted"), [("admission_type", {"tilt": 0.3}), ("length_of_stay", {"stay": 3.0})])
def test_one_difference_supports_the_claim(part, planted):
    found = finding(table(10_000, **planted))
    assert found.verdict == "supported"
    parts = {item.part: item.p_support < 0.01 for item in found.evidence if item.role == "primary"}
    assert [name for name, found_it in parts.items() if found_it] == [part]


def test_no_difference_in_anything_is_absent():
    found = finding(table(40_000))
    assert (found.verdict, found.reason) == ("not_supported", "ABSENT")


def test_few_rows_are_undecided_and_say_how_many_are_needed():
    found = finding(table(3_000))
    assert found.verdict == "inconclusive"
    assert found.n_needed > 3_000


def test_what_condition_and_age_explain_is_no_difference_between_insurers():
    rng = np.random.default_rng(1)
    frame = table(20_000)
    cancer = frame["condition"] == "Cancer"
    often_aetna = np.where(cancer, 0.7, 0.1)
    frame["insurer"] = np.where(rng.random(len(frame)) < often_aetna, "Aetna", frame["insurer"])
    frame.loc[cancer & (rng.random(len(frame)) < 0.8), "admission_type"] = "Urgent"
    found = finding(frame)
    assert evidence(found, "admission_type").high < 0.05
    assert evidence(found, "admission_type (marginal)").low > 0.05
    assert found.verdict != "supported"


@pytest.mark.parametrize("n", [1, 30])
def test_too_few_rows_cannot_be_tested(n):
    found = finding(table(40).head(n))
    assert found.verdict == "not_testable"
    assert found.reason in {"TOO_FEW", "CONSTANT"}


def test_one_insurer_is_constant():
    found = finding(table(2_000).assign(insurer="Aetna"))
    assert (found.verdict, found.reason, found.parts_testable) == ("not_testable", "CONSTANT", 0)


def test_a_tiny_insurer_is_left_out():
    frame = table(3_000)
    frame.loc[:9, "insurer"] = "Tiny"
    found = finding(frame)
    assert "Tiny" not in set(found.tables["payer_care"]["insurer"])
    assert evidence(found, "admission_type").n == 2_990


@pytest.mark.parametrize("role", ["admission_type", "medication", "test_result", "length_of_stay"])
@pytest.mark.parametrize("how", ["absent", "constant"])
def test_a_part_that_is_missing_leaves_the_others(role, how):
    frame = table(3_000)
    frame = frame.drop(columns=role) if how == "absent" else frame.assign(**{role: frame[role].iloc[0]})
    found = finding(frame)
    expected = "COLUMN_MISSING" if how == "absent" else "CONSTANT"
    assert [(gap.part, gap.reason) for gap in found.gaps] == [(role, expected)]
    assert (found.parts, found.parts_testable) == (4, 3)


def test_without_the_insurer_nothing_can_be_tested():
    found = finding(table(3_000).drop(columns="insurer"))
    assert (found.verdict, found.reason) == ("not_testable", "COLUMN_MISSING")
    assert {gap.key for gap in found.gaps} == {"columns.insurer.from"}
    assert len(found.gaps) == 4


@pytest.mark.parametrize("dropped", [["condition"], ["age"], ["condition", "age"]])
def test_strata_are_as_fine_as_the_table_allows(dropped):
    found = finding(table(3_000).drop(columns=dropped))
    strata = {("condition",): 4, ("age",): 2, ("condition", "age"): 1}[tuple(dropped)]
    assert evidence(found, "admission_type").detail["strata"] == strata


def test_the_counts_of_parts_give_the_same_evidence():
    rows = stratified(table(4_000, tilt=0.05), SETTINGS.age_bands)
    keys = ["stratum", "insurer", "admission_type"]
    parts = added(counts(rows.iloc[part::10], keys) for part in range(10))
    whole, summed = (
        association(cube(cells, ("insurer", "admission_type")), margin=Margin(0.05)).w
        for cells in (counts(rows, keys), parts)
    )
    assert summed == whole


def test_tables_of_the_charts():
    found = finding(table(6_000, tilt=0.3))
    care = found.tables["payer_care"]
    assert care.groupby(["outcome", "insurer"])["share"].sum().to_numpy() == pytest.approx(1.0)
    assert care.groupby(["outcome", "insurer"])["expected"].sum().to_numpy() == pytest.approx(1.0)
    struck = care[care["discovery"]]
    assert set(struck["outcome"]) == {"admission_type"}
    assert struck.set_index(["insurer", "level"]).loc[("Aetna", "Elective"), "residual"] > 5
    balance = found.tables["payer_balance"]
    assert set(balance["kind"]) == {"care", "case mix"}
    largest = evidence(found, "largest difference")
    assert largest.estimate == balance.loc[balance["kind"] == "care", "difference"].abs().max()
