import dataclasses

import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml.app.config import conf_dir
from hi_ml.claims.aggregates import added
from hi_ml.claims.billing_variation import (
    BillingVariation,
    billing_variation,
    compare_hospitals,
    hospital_sums,
)
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.verdicts import decide

SETTINGS = BillingVariation(**yaml.safe_load((conf_dir() / "finding" / "billing_variation.yaml").read_text("utf-8")))
INSURERS = ["Aetna", "Cigna", "Medicare"]


def table(n, tau=0.0, offset=0.0, hospitals=200, seed=0):
    """Draw bills around 25,000 with spread 14,000, hospitals of spread `tau`, and one insurer `offset` dearer."""
    rng = np.random.default_rng(seed)
    hospital, insurer = rng.integers(0, hospitals, n), rng.integers(0, 3, n)
    bill = rng.uniform(25_000 - 24_000, 25_000 + 24_000, n) + rng.normal(0, tau, hospitals)[hospital]
    return pd.DataFrame(
        {
            "hospital": np.char.add("house ", hospital.astype(str)),
            "hospital_as_written": np.char.add("House ", hospital.astype(str)),
            "insurer": np.array(INSURERS)[insurer],
            "billed": bill + offset * (insurer == 0),
            "age": rng.integers(18, 86, n).astype(float),
            "sex": rng.choice(["Female", "Male"], n),
        }
    )


def finding(frame, settings=SETTINGS, twins=None, **options):
    twins = np.arange(len(frame)) if twins is None else twins
    return decide({"billing_variation": billing_variation(one_row_each(frame, twins, **options), settings)}, family=5)[
        0
    ]


def evidence(found, part):
    return next(item for item in found.evidence if item.part.startswith(part))


def test_hospitals_that_differ_support_the_claim_alone():
    found = finding(table(10_000, tau=6_000))
    assert (found.verdict, found.reason) == ("supported", "STRONG")
    assert evidence(found, "insurers").p_support > 0.05
    assert found.p_support == pytest.approx(5 * 2 / 1000)


def test_insurers_that_differ_support_the_claim_alone():
    found = finding(table(20_000, offset=5_000))
    assert found.verdict == "supported"
    assert evidence(found, "hospitals").p_support > 0.05
    assert evidence(found, "insurers (largest gap)").detail["higher"] == "Aetna"


def test_no_difference_is_absent():
    found = finding(table(30_000, hospitals=1_000))
    assert (found.verdict, found.reason) == ("not_supported", "ABSENT")


def test_few_pairs_leave_the_hospitals_undecided():
    found = finding(table(500, hospitals=240))
    assert found.verdict == "inconclusive"
    assert evidence(found, "hospitals").p_absence == evidence(found, "hospitals").p_support == 1.0
    assert evidence(found, "hospitals").detail["pairs"] < 1000
    assert any("pairs of admissions" in note for note in found.notes)


def test_near_copies_of_single_admissions_make_hospitals_differ_falsely():
    singles = table(6_000, hospitals=4_000)
    frame = pd.concat([singles, singles.tail(1_500)], ignore_index=True)
    twins = np.append(np.arange(6_000), np.arange(4_500, 6_000))
    assert finding(frame, twins=twins, keep_duplicates=True).verdict == "supported"
    assert finding(frame, twins=twins).verdict != "supported"


@pytest.mark.parametrize("n", [0, 1, 30])
def test_too_few_rows_cannot_be_tested(n):
    found = finding(table(40).head(n))
    assert found.verdict == "not_testable"
    assert found.reason == ("COLUMN_MISSING" if n == 0 else "TOO_FEW")


def test_one_hospital_leaves_the_insurers():
    found = finding(table(9_000).assign(hospital="house"))
    assert (found.parts, found.parts_testable) == (2, 1)
    assert [(gap.part, gap.reason) for gap in found.gaps] == [("hospitals", "TOO_FEW")]
    assert found.verdict == "not_supported"


def test_one_insurer_leaves_the_hospitals():
    found = finding(table(3_000).assign(insurer="Aetna"))
    assert [(gap.part, gap.reason) for gap in found.gaps] == [("insurers", "CONSTANT")]
    assert evidence(found, "hospitals").role == "primary"


def test_equal_bills_are_constant():
    found = finding(table(3_000).assign(billed=99.9))
    assert (found.verdict, found.reason) == ("not_testable", "CONSTANT")


@pytest.mark.parametrize(("role", "testable"), [("billed", 0), ("hospital", 1), ("insurer", 1)])
def test_a_missing_column_names_its_key(role, testable):
    found = finding(table(3_000).drop(columns=role))
    assert found.parts_testable == testable
    assert found.gaps[0].key == f"columns.{role}.from"
    assert found.gaps[0].reason == "COLUMN_MISSING"


def test_too_few_permutations_are_said_and_cannot_support():
    found = finding(table(10_000, tau=6_000), dataclasses.replace(SETTINGS, permutations=99))
    assert found.verdict == "inconclusive"
    assert any("too few" in note for note in found.notes)


def test_the_seed_decides_the_permutations_and_nothing_else():
    frame = table(5_000)
    first, again, other = (evidence(finding(frame, seed=seed), "hospitals") for seed in (0, 0, 1))
    assert first == again
    assert first.p_support != other.p_support
    assert dataclasses.replace(other, p_support=first.p_support, detail=first.detail) == first


def test_adjusting_removes_what_the_patients_explain():
    frame = table(20_000)
    older = frame["hospital"].isin(sorted(frame["hospital"].unique())[:100])
    frame = frame.assign(age=np.where(older, 80.0, 20.0)).assign(billed=frame["billed"] + 200 * np.where(older, 80, 20))
    found = finding(frame)
    assert evidence(found, "hospitals").estimate > 0.1
    assert evidence(found, "hospitals (adjusted").estimate < 0.01
    assert evidence(found, "hospitals (adjusted").role == "secondary"


def test_the_sums_of_parts_give_the_same_evidence():
    frame = table(5_000, tau=3_000)
    parts = added(hospital_sums(frame.iloc[part::10]) for part in range(10))
    (_, whole), (_, summed) = (compare_hospitals(sums, 0.10) for sums in (hospital_sums(frame), parts))
    for name in ("estimate", "low", "high", "low90", "high90", "p_absence", "n", "smallest_effect"):
        assert getattr(summed, name) == pytest.approx(getattr(whole, name), rel=1e-9)


def test_tables_of_the_charts():
    found = finding(table(10_000, tau=6_000))
    layers, effects = found.tables["hospital_funnel"], found.tables["hospital_effects"]
    funnel = layers[layers["layer"] == "hospital"].astype({"outside95": bool, "outside998": bool})
    assert (funnel["n"] >= SETTINGS.smallest_volume).all()
    outside = ~funnel["mean"].between(funnel["low95"], funnel["high95"])
    assert (funnel["outside95"] == outside).all()
    assert outside.mean() > 0.2
    assert (funnel["outside998"] <= funnel["outside95"]).all()
    assert effects["effect"].is_monotonic_increasing
    assert layers.loc[layers["layer"] == "limit", "n"].is_monotonic_increasing
    assert found.tables["insurer_means"]["insurer"].tolist() == INSURERS


def test_without_large_hospitals_the_tables_are_empty_and_stand():
    found = finding(table(2_000, hospitals=600))
    assert len(found.tables["hospital_funnel"]) == len(found.tables["hospital_effects"]) == 0
