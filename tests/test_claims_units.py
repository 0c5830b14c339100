"""What every claim owes to patients who come again, to hospitals, to long tails, and to parts that cannot be tested."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hi_ml.claims.aggregates import UNIT
from hi_ml.claims.catalogue import catalogue
from hi_ml.claims.distinct import one_row_each
from hi_ml.reports.findings_charts import title_of

SCRIPT = Path(__file__).parents[1] / "experiments" / "null_tables.py"
SPEC = importlib.util.spec_from_file_location("null_tables", SCRIPT)
null = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(null)
SETTINGS = null.settings(permutations=249)
TABLES, LIMIT = 10, 3  # of 10 draws at 5 %, more than 3 are seen in one of a thousand


@cache
def found(seed=1, **how):
    return {one.finding: one for one in null.state(null.distinct(null.null_table(seed, **how)), SETTINGS)}


def primary(findings):
    return {part.part: part for one in findings.values() for part in one.evidence if part.role == "primary"}


def test_every_part_says_of_how_many_patients_its_admissions_are():
    parts = primary(found(effect=2.0, admissions=10_000))
    assert len(parts) == 12
    for name, part in parts.items():
        assert (part.units, part.units_are) == (2_000, "patients"), name
        assert part.n >= 9_900
        said = f"{part.n:,} admissions of 2,000 patients, design effect {part.design_effect:.1f}"
        assert part.counted == said
        assert any(
            said in sentence for one in found(effect=2.0, admissions=10_000).values() for sentence in one.sentences
        )
    # a patient who keeps what he has says little more at his fifth admission than at his first
    kept = primary(found(kept=1.0))
    assert all(kept[name].design_effect > 1.5 for name in ("hypertension", "admission_type", "emergency", "insurers"))


def test_where_nobody_comes_again_the_patient_changes_nothing(drawn):
    frame = drawn(2_000).head(2_000)
    with_number, without = (
        null.state(one_row_each(table, np.arange(2_000), declarations=null.DECLARED), SETTINGS)
        for table in (frame, frame.drop(columns=["patient_id", "patient_name"]))
    )
    for one, other in zip(with_number, without, strict=True):
        parts = {part.part: part for part in other.evidence}
        for part in one.evidence:
            if part.part in parts:
                assert part == parts[part.part]


def test_copies_and_patients_are_joined_before_they_are_counted():
    table = null.null_table(1, admissions=300)
    twins = np.arange(300)
    twins[5] = twins[0]  # the second patient's first row is a copy of the first patient's
    rows = one_row_each(table, twins).rows
    assert len(rows) == 299
    assert rows[UNIT].nunique() == 59
    assert rows.groupby(UNIT)["patient_id"].nunique().max() == 2
    assert UNIT not in one_row_each(table, twins, keep_duplicates=True).rows
    assert UNIT not in one_row_each(table.drop(columns="patient_id"), twins).rows


def test_a_column_of_the_hospital_has_hospitals_as_its_units():
    table = null.null_table(1, hospitals=60)
    hospital = table["hospital"].str.removeprefix("House ").astype(int)
    chosen = np.array(null.INSURERS[:2])[hospital % 2]
    findings = {one.finding: one for one in null.state(null.distinct(table.assign(insurer=chosen)), SETTINGS)}
    parts = primary(findings)
    for name in ("insurers", "admission_type", "medication", "length_of_stay"):
        assert (parts[name].units, parts[name].units_are) == (60, "hospitals"), name
    assert "5,000 admissions in 60 hospitals, design effect" in parts["medication"].counted
    assert parts["emergency"].units == 1_000
    few = null.state(null.distinct(table.assign(insurer=np.where(hospital < 8, *null.INSURERS[:2]))), SETTINGS)
    gaps = [gap for one in few if one.finding == "insurance_access" for gap in one.gaps]
    assert {gap.reason for gap in gaps} == {"TOO_FEW"}
    assert "10 patients or hospitals" in gaps[0].words


def test_one_patient_with_half_of_the_rows_is_no_sample_of_patients():
    findings = found(giant=0.5, kept=1.0)
    gaps = {gap.part: gap for one in findings.values() for gap in one.gaps}
    assert gaps["hypertension"].reason == "TOO_FEW"
    assert "patients" in gaps["hypertension"].words
    assert "supported" not in {one.verdict for one in findings.values()}


def test_long_tails_are_permuted_marked_and_never_strong(drawn, stated, evidence):
    frame = drawn(4_000, seed=3)
    rng = np.random.default_rng(0)
    rare = frame["admission_type"].where(frame["admission_type"] != "Emergency", "Urgent")
    rare[rng.choice(len(rare), 300, replace=False)] = "Emergency"
    long = np.exp(2 * rng.normal(size=len(frame))) + 20 * (rare == "Emergency")
    tailed = stated("emergency_stay", frame.assign(admission_type=rare, length_of_stay=long))
    part = evidence(tailed, "emergency")
    assert (part.keeps_level, tailed.verdict, tailed.reason) == (False, "supported", "SUFFICIENT")
    assert part.p_support == 0.001  # 999 permutations, none as far apart
    assert part.low > part.smallest_effect
    assert "does not keep its level" in " ".join(tailed.sentences)
    short = stated("emergency_stay", frame.assign(admission_type=rare))
    assert evidence(short, "emergency").keeps_level


def test_insurers_whose_means_and_ranks_disagree_stay_undecided(drawn, stated, evidence):
    frame = drawn(6_000, hospitals=1)
    rng = np.random.default_rng(0)
    aetna = (frame["insurer"] == "Aetna").to_numpy()
    bills = frame["billed"] - 4_000 * aetna + 400_000 * (aetna & (rng.random(len(frame)) < 0.03))
    torn = stated("billing_variation", frame.assign(billed=bills))
    ranks = evidence(torn, "insurers (ranks)")
    assert (ranks.detail["ranks_agree"], ranks.estimate < 0.5) == (0, True)
    insurers = evidence(torn, "insurers")
    assert (insurers.p_support, insurers.detail["p_permuted"] < 0.01, torn.verdict) == (1.0, True, "inconclusive")
    assert any("ranks" in note for note in torn.notes)
    whole = stated("billing_variation", frame.assign(billed=frame["billed"] - 30_000 + 6_000 * aetna))  # negative, too
    assert evidence(whole, "insurers (ranks)").detail["ranks_agree"] == 1
    assert whole.verdict == "supported"


WITHOUT = {
    "age_condition": ({"acute_conditions": []}, [], ["acute"]),
    "billing_variation": ({}, ["hospital"], ["hospitals"]),
    "emergency_stay": ({"severe_conditions": []}, [], ["severe"]),
    "medication_recovery": ({}, ["patient_id"], ["readmission"]),
    "insurance_access": ({}, ["medication", "test_result"], ["medication", "test result"]),
}


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_verdict_says_no_more_than_was_tested(name, drawn):
    declared, dropped, words = WITHOUT[name]
    effects = {
        "age_condition": {"older": 0.06}, "billing_variation": {"insurer": 6_000}, "emergency_stay": {"emergency": 2.5},
        "medication_recovery": {"medication": 2.0}, "insurance_access": {"elective": 0.4},
    }[name]  # fmt: skip
    frame = drawn(12_000, **effects).drop(columns=dropped)
    if "patient_id" in dropped:
        frame = frame.drop(columns="patient_name")
    rows = one_row_each(frame, np.arange(len(frame)), declarations=null.DECLARED | declared)
    (one,) = null.state(rows, {name: SETTINGS[name]})
    assert (one.verdict, one.reason) == ("supported", "SUFFICIENT")
    assert one.parts_testable < one.parts
    verdict = one.sentences[0]
    assert verdict.startswith("Supported as far as it can be tested: ")
    assert f"{one.parts_testable} of {one.parts} parts" in verdict
    for said in (verdict, title_of(one), one.covered):
        assert not [word for word in words if word in said], said
    assert title_of(one).startswith(f"Supported as far as it can be tested: “{one.covered}” ")
    assert one.as_far == " as far as it can be tested"


def test_a_claim_of_which_any_part_may_hold_is_refuted_only_as_far_as_it_was_tested(drawn, stated):
    refuted = stated("billing_variation", drawn(9_000).drop(columns="hospital"))
    assert refuted.sentences[0].startswith(
        "Not supported as far as it can be tested: what is billed differs between insurers. An effect as large as"
    )
    whole = stated("age_condition", drawn(20_000))  # one absent part refutes a claim of which all must hold
    assert whole.sentences[0].startswith("Not supported: ")


def test_nobody_returns_from_death(drawn, evidence):
    frame = drawn(6_000, readmission=0.05)
    rng = np.random.default_rng(0)
    died = (rng.random(len(frame)) < 0.2) & (np.arange(len(frame)) < 6_000)
    table = frame.assign(disposition=np.where(died, "Expired", "Home"))

    def stated(table, **declared):
        rows = one_row_each(table, np.arange(len(table)), declarations=null.DECLARED | declared)
        (one,) = null.state(rows, {"medication_recovery": SETTINGS["medication_recovery"]})
        return one, evidence(one, "readmission")

    followed, part = stated(table, death_or_transfer=["EXPIRED", "Transferred"])
    undeclared, every = stated(table)
    absent, same = stated(frame)
    assert every.n - part.n == pytest.approx(0.2 * 6_000 * every.n / len(frame), rel=0.1)
    assert (every.n, every.estimate) == (same.n, same.estimate)
    assert any("EXPIRED, Transferred" in note for note in followed.notes)
    assert any("declarations.death_or_transfer" in note for note in undeclared.notes)
    assert any("columns.disposition.from" in note for note in absent.notes)


@pytest.mark.slow
def test_labels_that_patients_keep_support_nothing():
    """Kept by seven in ten; labels that all keep are in test_studies_null.py."""
    rejected = {}
    for seed in range(TABLES):
        findings = {
            one.finding: one
            for one in null.state(null.distinct(null.null_table(seed, admissions=1_500, kept=0.7), seed), SETTINGS)
        }
        for name, part in primary(findings).items():
            rejected.setdefault(name, []).append(part.detail.get("p_two_sided", part.p_support) < 0.05)
        rejected.setdefault("any claim", []).append("supported" in {one.verdict for one in findings.values()})
    assert len(rejected) == 13
    assert {name: sum(hits) for name, hits in rejected.items() if sum(hits) > LIMIT} == {}
