from functools import partial

import pandas as pd
import pytest

from hi_ml.claims.age_condition import age_counts, condition_forest, share_by_decade
from hi_ml.claims.aggregates import UNIT
from hi_ml.statistics.proportions import wilson


@pytest.fixture
def state(stated):
    return partial(stated, "age_condition")


@pytest.mark.parametrize(
    ("n", "older", "reason"),
    [
        (20_000, 0.06, "STRONG"),
        pytest.param(200_000, 0.01, "NEGLIGIBLE", marks=pytest.mark.slow),
        (20_000, -0.06, "OPPOSITE"),
    ],
)
def test_a_shift_is_held_against_the_smallest_that_matters_and_against_its_sign(
    n, older, reason, drawn, state, evidence
):
    found = state(drawn(n, older=older), declared={"acute_conditions": ["Asthma"]})
    assert (found.reason, found.parts, found.parts_testable) == (reason, 3, 3)
    assert evidence(found, "diabetes").estimate == pytest.approx(older, abs=0.02)


def test_few_rows_are_undecided_and_say_how_many_are_needed(drawn, state):
    found = state(drawn(400))
    assert (found.verdict, found.reason) == ("inconclusive", "UNCERTAIN")
    assert 4000 < found.n_needed < 8000
    assert set(found.excludes_effects_above) == {"diabetes", "hypertension"}


def test_a_condition_that_all_have_leaves_another_without_a_row(drawn, state):
    found = state(drawn(500).assign(condition="Diabetes"))
    gaps = {gap.part: gap.reason for gap in found.gaps}
    assert gaps == {"diabetes": "CONSTANT", "hypertension": "NO_MAPPING", "acute": "NO_MAPPING"}


def test_declared_acute_conditions_are_a_part_of_their_own(drawn, state, evidence):
    frame = drawn(20_000, older=0.06)
    found = state(frame, declared={"acute_conditions": ["ASTHMA"]})
    assert (found.verdict, found.parts_testable, found.gaps) == ("supported", 3, ())
    assert evidence(found, "acute").estimate == pytest.approx(0.12, abs=0.02)
    assert state(frame, declared={"acute_conditions": ["Cancer"]}).verdict == "not_supported"


def test_one_absent_part_refutes_a_claim_of_which_all_must_hold(drawn, state):
    assert state(drawn(20_000, older=0.06), conditions=["Diabetes", "Obesity"]).verdict == "not_supported"


def test_the_last_copies_are_shown_beside_the_first(drawn, state, evidence):
    frame = drawn(2_000, older=0.06).head(2_000)
    copies = frame.tail(400).assign(age=lambda rows: rows["age"] + 40)
    twins = [*range(2_000), *range(1_600, 2_000)]
    found = state(pd.concat([frame, copies], ignore_index=True), twins)
    assert evidence(found, "diabetes").estimate == evidence(state(frame), "diabetes").estimate
    last = evidence(found, "diabetes (last copies kept)")
    assert (last.role, last.n) == ("secondary", 2_000)
    assert last.estimate != evidence(found, "diabetes").estimate


def test_the_tables_of_its_charts(drawn):
    counted = age_counts(drawn(3_000, older=0.03), 50)
    shares = share_by_decade(counted)
    assert shares.groupby("decade")["share"].sum().to_numpy() == pytest.approx(1.0)
    assert shares["share"].between(shares["low"], shares["high"]).all()
    forest = condition_forest(counted, ["diabetes"], 0.03)
    assert forest["estimate"].sum() == pytest.approx(0.0, abs=1e-12)
    assert forest.loc[forest["claimed"], "label"].tolist() == ["Diabetes"] == forest["label"].tolist()[:1]


def test_of_two_patients_who_agree_no_share_is_sure():
    """Each has one admission with the condition and one without: between them nothing varies."""
    frame = pd.DataFrame({"age": 72.0, "condition": ["Diabetes", "Asthma"] * 2, UNIT: [0, 0, 1, 1]})
    shares = share_by_decade(age_counts(frame, 50))
    low, high = wilson([2, 2], [4, 4])
    assert (shares["low"].tolist(), shares["high"].tolist()) == (low.tolist(), high.tolist())
