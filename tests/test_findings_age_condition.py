import dataclasses

import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml.app.config import conf_dir
from hi_ml.claims.age_condition import AgeCondition, age_condition, age_counts, condition_forest, share_by_decade
from hi_ml.claims.aggregates import added
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.verdicts import decide

SETTINGS = AgeCondition(**yaml.safe_load((conf_dir() / "finding" / "age_condition.yaml").read_text("utf-8")))
CONDITIONS = ["Asthma", "Cancer", "Diabetes", "Hypertension", "Obesity"]


def table(n, shift, seed=0):
    """Draw admissions; from 50 years on, Diabetes and Hypertension each gain `shift`, Asthma loses both."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 86, n).astype(float)
    old, young = [0.2 - 2 * shift, 0.2, 0.2 + shift, 0.2 + shift, 0.2], [0.2] * 5
    drawn = np.where(age >= 50, rng.choice(5, n, p=old), rng.choice(5, n, p=young))
    return pd.DataFrame({"age": age, "condition": pd.Series(CONDITIONS)[drawn].to_numpy()})


def finding(frame, settings=SETTINGS, declarations=None, twins=None):
    twins = np.arange(len(frame)) if twins is None else twins
    return decide(
        {"age_condition": age_condition(one_row_each(frame, twins, declarations=declarations), settings)}, family=5
    )[0]


def evidence(found, part):
    return next(item for item in found.evidence if item.part == part)


def test_a_planted_shift_is_supported_and_the_parts_are_counted():
    found = finding(table(20_000, 0.06))
    assert (found.verdict, found.reason) == ("supported", "STRONG")
    assert (found.parts, found.parts_testable) == (3, 2)
    assert evidence(found, "diabetes").low > 0.03
    assert found.gaps[0].key == "acute_conditions"


def test_no_shift_is_absent():
    found = finding(table(20_000, 0.0))
    assert (found.verdict, found.reason) == ("not_supported", "ABSENT")
    assert found.p_absence < 0.05 < found.p_support


def test_a_small_shift_is_negligible():
    found = finding(table(300_000, 0.01))
    assert (found.verdict, found.reason) == ("not_supported", "NEGLIGIBLE")


def test_a_shift_the_other_way_is_opposite():
    found = finding(table(20_000, -0.06))
    assert (found.verdict, found.reason) == ("not_supported", "OPPOSITE")
    assert found.p_support == 1.0


def test_few_rows_are_undecided_and_say_how_many_are_needed():
    found = finding(table(400, 0.0))
    assert (found.verdict, found.reason) == ("inconclusive", "UNCERTAIN")
    assert 4000 < found.n_needed < 8000
    assert set(found.excludes_effects_above) == {"diabetes", "hypertension"}


@pytest.mark.parametrize("n", [0, 1, 30])
def test_too_few_rows_cannot_be_tested(n):
    found = finding(table(n, 0.0) if n else table(5, 0.0).head(0))
    assert (found.verdict, found.p_support, found.p_absence) == ("not_testable", 1.0, 1.0)
    assert found.reason == ("COLUMN_MISSING" if n == 0 else "TOO_FEW")


@pytest.mark.parametrize("role", ["age", "condition"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_missing_column_names_its_key(role, how):
    frame = table(500, 0.0)
    frame = frame.drop(columns=role) if how == "absent" else frame.assign(**{role: None})
    found = finding(frame)
    assert (found.verdict, found.reason) == ("not_testable", "COLUMN_MISSING")
    assert {gap.key for gap in found.gaps} == {f"columns.{role}.from", "acute_conditions"}


def test_one_condition_for_all_is_constant():
    found = finding(table(500, 0.0).assign(condition="Diabetes"))
    assert {gap.part: gap.reason for gap in found.gaps}["diabetes"] == "CONSTANT"
    assert {gap.part: gap.reason for gap in found.gaps}["hypertension"] == "NO_MAPPING"


def test_declared_acute_conditions_are_a_part_of_their_own():
    declared = {"acute_conditions": ["ASTHMA"]}
    found = finding(table(20_000, 0.06), declarations=declared)
    assert (found.verdict, found.parts_testable, found.gaps) == ("supported", 3, ())
    assert evidence(found, "acute").estimate == pytest.approx(0.12, abs=0.02)
    one_fails = finding(table(20_000, 0.06), declarations={"acute_conditions": ["Cancer"]})
    assert one_fails.verdict == "not_supported"


def test_one_absent_part_refutes_a_claim_of_which_all_must_hold():
    settings = dataclasses.replace(SETTINGS, conditions=["Diabetes", "Obesity"])
    assert finding(table(20_000, 0.06), settings).verdict == "not_supported"


def test_the_last_copies_are_shown_beside_the_first():
    frame = table(2_000, 0.06)
    copies = frame.tail(400).assign(age=lambda rows: rows["age"] + 40)
    twins = np.append(np.arange(2_000), np.arange(1_600, 2_000))
    found = finding(pd.concat([frame, copies], ignore_index=True), twins=twins)
    alone = finding(frame)
    assert evidence(found, "diabetes").estimate == evidence(alone, "diabetes").estimate
    last = evidence(found, "diabetes (last copies kept)")
    assert last.role == "secondary"
    assert last.estimate != evidence(found, "diabetes").estimate
    assert last.n == 2_000


def test_the_counts_of_parts_add_up():
    frame = table(5_000, 0.03)
    whole = age_counts(frame, 50)
    parts = added(age_counts(frame.iloc[part::10], 50) for part in range(10))
    pd.testing.assert_frame_equal(parts, whole)


def test_tables_of_the_charts():
    counted = age_counts(table(3_000, 0.03), 50)
    shares = share_by_decade(counted)
    assert shares.groupby("decade")["share"].sum().to_numpy() == pytest.approx(1.0)
    assert (shares["low"] <= shares["share"]).all()
    assert (shares["share"] <= shares["high"]).all()
    forest = condition_forest(counted, ["diabetes"], 0.03)
    assert forest["estimate"].sum() == pytest.approx(0.0, abs=1e-12)
    assert forest.loc[forest["claimed"], "label"].tolist() == ["Diabetes"]
