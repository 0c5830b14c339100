import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hi_ml.app.config import conf_dir
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.finding import record

CLAIMS = list(catalogue())
NODES = {name: yaml.safe_load((conf_dir() / "finding" / f"{name}.yaml").read_text("utf-8")) for name in CLAIMS}
QUICK = settings_of(NODES | {"billing_variation": NODES["billing_variation"] | {"permutations": 19}})
DECLARED = {"acute_conditions": ["Asthma"], "severe_conditions": ["Cancer"], "advanced_medications": ["Lipitor"]}
VERDICTS = {"supported", "not_supported", "inconclusive", "not_testable"}


def table(n, seed=0):
    rng = np.random.default_rng(seed)
    admitted = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 365, n), unit="D")
    stay = rng.integers(0, 30, n).astype(float)
    hospital = pd.Series(rng.integers(0, max(n // 3, 1), n)).astype("str")
    return pd.DataFrame(
        {
            "patient_name": rng.integers(0, n + 1, n),
            "age": rng.integers(0, 95, n).astype(float),
            "sex": rng.choice(["Female", "Male"], n),
            "blood_type": rng.choice(["A", "B", "0"], n),
            "condition": rng.choice(["Asthma", "Cancer", "Diabetes", "Hypertension"], n),
            "hospital": hospital,
            "hospital_as_written": hospital.str.upper(),
            "insurer": rng.choice(["Aetna", "Cigna"], n),
            "admission_type": rng.choice(["Elective", "Emergency"], n),
            "medication": rng.choice(["Aspirin", "Lipitor"], n),
            "test_result": rng.choice(["Abnormal", "Normal"], n),
            "admitted_on": admitted,
            "discharged_on": admitted + pd.to_timedelta(stay, unit="D"),
            "length_of_stay": stay,
            "billed": rng.uniform(-500, 50_000, n),
        }
    )


def states(frame, declarations=DECLARED):
    found = state(one_row_each(frame, np.arange(len(frame)), declarations=declarations), QUICK)
    for finding in found:
        assert finding.verdict in VERDICTS
        assert (finding.verdict == "not_testable") == (finding.parts_testable == 0)
        json.dumps(record(finding), allow_nan=False)
        assert all(math.isfinite(p) and 0 <= p <= 1 for p in (finding.p_support, finding.p_absence))
    return found


def test_the_five_findings_have_a_yaml_each_and_compose_together():
    assert sorted(path.stem for path in (conf_dir() / "finding").glob("*.yaml") if path.stem in CLAIMS) == sorted(
        CLAIMS
    )
    with initialize_config_dir(str(conf_dir()), version_base=None):
        composed = compose(overrides=[f"+finding=[{','.join(CLAIMS)}]"])
    assert settings_of(composed.findings) == settings_of(NODES)


def test_settings_are_in_the_order_of_the_claims_and_checked():
    assert list(settings_of(dict(reversed(NODES.items())))) == list(CLAIMS)
    with pytest.raises(ConfigurationInvalid, match="age_conditoin"):
        settings_of({"age_conditoin": NODES["age_condition"]})
    with pytest.raises(ValidationError, match="splitage"):
        settings_of({"age_condition": NODES["age_condition"] | {"splitage": 3}})
    for wrong in ({"smallest_effect": 0}, {"conditions": []}, {"smallest_group": -1}):
        with pytest.raises(ValidationError):
            settings_of({"age_condition": NODES["age_condition"] | wrong})


def test_a_choice_of_findings_still_counts_as_five():
    frame = table(3_000)
    every = {finding.finding: finding for finding in states(frame)}
    alone = state(
        one_row_each(frame, np.arange(3_000), declarations=DECLARED), {"emergency_stay": QUICK["emergency_stay"]}
    )
    assert [finding.finding for finding in alone] == ["emergency_stay"]
    raw = next(item for item in alone[0].evidence if item.role == "primary").p_absence
    assert alone[0].p_absence == pytest.approx(min(1.0, 5 * raw))
    assert every["emergency_stay"].p_absence <= alone[0].p_absence


def test_nothing_at_all_cannot_be_tested():
    found = states(pd.DataFrame(index=range(50)))
    assert {finding.reason for finding in found} == {"COLUMN_MISSING"}
    assert len(found) == 5


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_tiny_tables_cannot_be_tested(n):
    assert {finding.verdict for finding in states(table(40).head(n))} == {"not_testable"}


@pytest.mark.parametrize("role", list(table(3)))
def test_any_column_may_be_absent(role):
    states(table(300).drop(columns=role))


def test_columns_whose_values_never_meet_cannot_be_tested():
    frame, first = table(400), np.arange(400) < 200
    for role, kept in {
        "age": first,
        "condition": ~first,
        "billed": first,
        "hospital": ~first,
        "insurer": ~first,
    }.items():
        frame[role] = frame[role].where(kept)
    found = {finding.finding: finding.verdict for finding in states(frame)}
    assert found["age_condition"] == found["billing_variation"] == "not_testable"


def test_categories_and_strings_say_the_same():
    frame = table(1_000)
    texts = [role for role in frame if isinstance(frame[role].dtype, pd.StringDtype)]
    assert len(texts) > 5
    plain, categories = states(frame), states(frame.astype(dict.fromkeys(texts, "category")))
    assert [record(finding) for finding in plain] == [record(finding) for finding in categories]


def test_the_order_of_rows_decides_nothing_but_the_permutations():
    frame = table(1_500)
    plain, shuffled = states(frame), states(frame.sample(frac=1, random_state=0))
    for one, other in zip(plain, shuffled, strict=True):
        assert one.verdict == other.verdict
        for mine, theirs in zip(one.evidence, other.evidence, strict=True):
            if mine.role == "primary":
                assert (mine.estimate, mine.low, mine.p_absence) == pytest.approx(
                    (theirs.estimate, theirs.low, theirs.p_absence)
                )


def damaged(n, seed, data):
    frame = table(n, seed)
    rng = np.random.default_rng(seed)
    damage = st.sampled_from(["keep", "keep", "keep", "drop", "constant", "holes", "empty"])
    for role in list(frame):
        how = data.draw(damage, label=role)
        if how == "drop":
            frame = frame.drop(columns=role)
        elif how == "constant":
            frame[role] = frame[role].iloc[0]
        elif how in ("holes", "empty") and role != "patient_name":
            frame[role] = frame[role].where(rng.random(n) < (0.5 if how == "holes" else 0))
    return frame


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 250), st.integers(0, 50), st.data())
def test_damaged_tables_get_a_verdict_all_the_same(n, seed, data):
    states(damaged(n, seed, data))


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 250), st.integers(0, 50), st.data())
def test_many_damaged_tables_get_a_verdict_all_the_same(n, seed, data):
    states(damaged(n, seed, data))
