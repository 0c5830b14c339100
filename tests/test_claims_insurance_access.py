from functools import partial

import numpy as np
import pytest

from hi_ml.claims.aggregates import add_up, counts, cube
from hi_ml.claims.insurance_access import with_strata
from hi_ml.statistics.contingency import association
from hi_ml.statistics.estimates import Margin


@pytest.fixture
def state(stated):
    return partial(stated, "insurance_access")


@pytest.mark.parametrize(
    ("part", "planted"), [("admission_type", {"elective": 0.3}), ("length_of_stay", {"insured": 3.0})]
)
def test_one_difference_supports_the_claim(part, planted, drawn, state):
    found = state(drawn(10_000, **planted))
    assert found.verdict == "supported"
    assert [item.part for item in found.evidence if item.role == "primary" and item.p_support < 0.01] == [part]


def test_few_rows_are_undecided_and_say_how_many_are_needed(drawn, state):
    found = state(drawn(3_000))
    assert found.verdict == "inconclusive"
    assert found.n_needed > 3_300


def test_what_condition_and_age_explain_is_no_difference_between_insurers(drawn, state, evidence):
    rng = np.random.default_rng(1)
    frame = drawn(20_000)
    cancer = frame["condition"] == "Cancer"
    often_aetna = np.where(cancer, 0.7, 0.1)
    frame["insurer"] = np.where(rng.random(len(frame)) < often_aetna, "Aetna", frame["insurer"])
    frame.loc[cancer & (rng.random(len(frame)) < 0.8), "admission_type"] = "Urgent"
    found = state(frame)
    assert evidence(found, "admission_type").high < 0.05
    assert evidence(found, "admission_type (marginal)").low > 0.05
    assert found.verdict != "supported"


def test_a_tiny_insurer_is_left_out(drawn, state, evidence):
    frame = drawn(3_000)
    frame.loc[:9, "insurer"] = "Tiny"
    found = state(frame)
    assert "Tiny" not in set(found.tables["payer_care"]["insurer"])
    assert evidence(found, "admission_type").n == len(frame) - 10


@pytest.mark.parametrize("role", ["admission_type", "medication", "test_result", "length_of_stay"])
@pytest.mark.parametrize(("how", "reason"), [("absent", "COLUMN_MISSING"), ("constant", "CONSTANT")])
def test_a_part_that_is_missing_leaves_the_others(role, how, reason, drawn, state):
    frame = drawn(3_000)
    frame = frame.drop(columns=role) if how == "absent" else frame.assign(**{role: frame[role].iloc[0]})
    found = state(frame)
    assert [(gap.part, gap.reason) for gap in found.gaps] == [(role, reason)]
    assert (found.parts, found.parts_testable) == (4, 3)


@pytest.mark.parametrize(("dropped", "strata"), [(["condition"], 4), (["age"], 5), (["condition", "age"], 1), ([], 20)])
def test_strata_are_as_fine_as_the_table_allows(dropped, strata, drawn, state, evidence):
    found = state(drawn(3_000).drop(columns=dropped))
    assert evidence(found, "admission_type").detail["strata"] == strata


def test_the_counts_of_parts_give_the_same_evidence(drawn):
    rows = with_strata(drawn(4_000, elective=0.05), [35, 50, 65])
    keys = ["stratum", "insurer", "admission_type"]
    parts = add_up(counts(rows.iloc[part::10], keys) for part in range(10))
    whole, summed = (
        association(cube(cells, ("insurer", "admission_type")), margin=Margin(0.05)).w
        for cells in (counts(rows, keys), parts)
    )
    assert summed == whole


def test_the_tables_of_its_charts(drawn, state, evidence):
    found = state(drawn(6_000, elective=0.3))
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


def test_a_table_of_insurers_and_ages_has_their_balance_and_no_verdict(drawn, state):
    found = state(drawn(2_000)[["insurer", "age"]])
    assert found.verdict == "not_testable"
    assert set(found.tables["payer_balance"]["variable"]) == {"age"}
