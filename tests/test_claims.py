"""What every claim promises, and what makes a file a claim."""

import json
import math
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import hi_ml.claims
from hi_ml import findings
from hi_ml.app.config import conf_dir
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.finding import record
from hi_ml.reports.findings_charts import KINDS

CLAIMS = list(catalogue())
NODES = {name: yaml.safe_load((conf_dir() / "finding" / f"{name}.yaml").read_text("utf-8")) for name in CLAIMS}
QUICK = settings_of(
    NODES
    | {
        "billing_variation": NODES["billing_variation"] | {"permutations": 249},
        "medication_recovery": NODES["medication_recovery"] | {"resamples": 19},
    }
)
DECLARED = {
    "acute_conditions": ["ASTHMA"],
    "severe_conditions": ["cancer"],
    "advanced_medications": ["lipitor", "PENICILLIN"],
}
PLANTED = {
    "age_condition": {"older": 0.06},
    "billing_variation": {"hospital": 6_000},
    "emergency_stay": {"emergency": 2.5},
    "medication_recovery": {"medication": 2.0, "readmission": 0.06},
    "insurance_access": {"elective": 0.3},
}
NEEDS = {
    "age_condition": ["age", "condition"],
    "billing_variation": ["billed", "hospital", "insurer"],
    "emergency_stay": ["admission_type", "length_of_stay"],
    "medication_recovery": ["medication", "length_of_stay", "admitted_on", "discharged_on"],
    "insurance_access": ["insurer", "admission_type", "medication", "test_result", "length_of_stay"],
}
VARY = {
    "age_condition": ["condition"],
    "billing_variation": ["billed", "insurer"],
    "emergency_stay": ["length_of_stay"],
    "medication_recovery": ["length_of_stay"],
    "insurance_access": NEEDS["insurance_access"],
}
VERDICTS = {"supported", "not_supported", "inconclusive", "not_testable"}


def each(roles):
    return [(name, role) for name, needed in roles.items() for role in needed]


def states(frame, declared=DECLARED):
    found = state(one_row_each(frame, np.arange(len(frame)), declarations=declared), QUICK)
    for finding in found:
        assert finding.verdict in VERDICTS
        assert (finding.verdict == "not_testable") == (finding.parts_testable == 0)
        json.dumps(record(finding), allow_nan=False)
        assert all(math.isfinite(p) and 0 <= p <= 1 for p in (finding.p_support, finding.p_absence))
    return {finding.finding: finding for finding in found}


def test_the_claims_stand_in_the_order_of_reports_and_have_a_yaml_each():
    assert CLAIMS == [*PLANTED] == [*NEEDS] == [*VARY]  # what is said of each above
    with initialize_config_dir(str(conf_dir()), version_base=None):
        composed = compose(overrides=["+finding=all"])
    assert settings_of(composed.findings) == settings_of(NODES)
    for claim in catalogue().values():
        assert len({chart.name for chart in claim.charts}) == len(claim.charts)
        assert {chart.kind for chart in claim.charts} <= set(KINDS)


def test_settings_are_in_the_order_of_the_claims_and_checked():
    assert list(settings_of(dict(reversed(NODES.items())))) == CLAIMS
    with pytest.raises(ConfigurationInvalid, match="age_conditoin"):
        settings_of({"age_conditoin": NODES["age_condition"]})
    for wrong in ({"splitage": 3}, {"smallest_effect": 0}, {"conditions": []}, {"smallest_group": -1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            settings_of({"age_condition": NODES["age_condition"] | wrong})


@pytest.mark.parametrize("name", CLAIMS)
def test_a_planted_effect_supports_its_claim_and_no_other(name, drawn):
    found = states(drawn(16_000, **PLANTED[name]))
    assert [one for one, finding in found.items() if finding.verdict == "supported"] == [name]
    assert {chart.table for chart in catalogue()[name].charts} <= set(found[name].tables) | {"identity"}


@pytest.mark.slow
def test_without_any_effect_every_claim_is_refuted(drawn):
    found = states(drawn(40_000, hospitals=1_000))
    assert {(finding.verdict, finding.reason) for finding in found.values()} == {("not_supported", "ABSENT")}
    assert all(finding.p_absence < 0.05 < finding.p_support for finding in found.values())


def test_nothing_at_all_cannot_be_tested():
    found = states(pd.DataFrame(index=range(50)))
    assert {finding.reason for finding in found.values()} == {"COLUMN_MISSING"}
    assert list(found) == CLAIMS


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_tiny_tables_cannot_be_tested(n, drawn):
    found = states(drawn(40).head(n))
    assert {(finding.verdict, finding.p_support, finding.p_absence) for finding in found.values()} == {
        ("not_testable", 1.0, 1.0)
    }


@pytest.mark.parametrize(("name", "role"), each(NEEDS))
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_missing_column_names_its_key(name, role, how, drawn, stated):
    frame = drawn(1_000)
    frame = frame.drop(columns=role) if how == "absent" else frame.assign(**{role: None})
    found = stated(name, frame, declared=DECLARED)
    assert ("COLUMN_MISSING", f"columns.{role}.from") in {(gap.reason, gap.key) for gap in found.gaps}
    assert found.parts == found.parts_testable + len(found.gaps)


@pytest.mark.parametrize(("name", "role"), each(VARY))
def test_what_never_varies_is_constant(name, role, drawn, stated):
    frame = drawn(1_000)
    level = "Diabetes" if role == "condition" else frame[role].iloc[0]
    found = stated(name, frame.assign(**{role: level}), declared=DECLARED)
    assert "CONSTANT" in {gap.reason for gap in found.gaps}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("age_condition", "acute_conditions"),
        ("emergency_stay", "severe_conditions"),
        ("medication_recovery", "advanced_medications"),
    ],
)
def test_what_is_not_declared_or_does_not_occur_names_its_key(name, key, drawn, stated):
    frame = drawn(1_000)
    without = {gap.key for gap in stated(name, frame, declared={}).gaps if gap.reason == "NO_MAPPING"}
    assert without == {key}
    (gap,) = stated(name, frame, declared=DECLARED | {key: ["Nothing such"]}).gaps[:1]
    assert (gap.reason, "Nothing such" in gap.words) in {("NO_MAPPING", True), ("TOO_FEW", False)}


@pytest.mark.parametrize("role", sorted({role for needed in NEEDS.values() for role in needed} | {"sex", "blood_type"}))
def test_any_column_may_be_absent(role, drawn):
    states(drawn(300).drop(columns=role))


def test_columns_whose_values_never_meet_cannot_be_tested(drawn):
    frame = drawn(400)
    first = np.arange(len(frame)) < 200
    for role, kept in {
        "age": first,
        "condition": ~first,
        "billed": first,
        "hospital": ~first,
        "insurer": ~first,
    }.items():
        frame[role] = frame[role].where(kept)
    found = states(frame)
    assert found["age_condition"].verdict == found["billing_variation"].verdict == "not_testable"


def test_categories_and_strings_say_the_same(drawn):
    frame = drawn(1_000)
    texts = [role for role in frame if isinstance(frame[role].dtype, pd.StringDtype)]
    assert len(texts) > 5
    plain, categories = states(frame), states(frame.astype(dict.fromkeys(texts, "category")))
    assert [record(finding) for finding in plain.values()] == [record(finding) for finding in categories.values()]


def test_the_order_of_rows_decides_nothing_but_the_permutations(drawn):
    frame = drawn(1_500)
    plain, shuffled = states(frame), states(frame.sample(frac=1, random_state=0))
    for one, other in zip(plain.values(), shuffled.values(), strict=True):
        assert one.verdict == other.verdict
        for mine, theirs in zip(one.evidence, other.evidence, strict=True):
            if mine.role == "primary":
                assert (mine.estimate, mine.low, mine.p_absence) == pytest.approx(
                    (theirs.estimate, theirs.low, theirs.p_absence)
                )


def test_no_name_or_number_of_a_patient_is_in_a_table(drawn):
    for finding in states(drawn(3_000)).values():
        for name, table in finding.tables.items():
            assert not {"patient_name", "patient_id"} & set(table.columns), name


def damaged(frame, seed, data):
    rng = np.random.default_rng(seed)
    damage = st.sampled_from(["keep", "keep", "keep", "drop", "constant", "holes", "empty"])
    for role in list(frame):
        how = data.draw(damage, label=role)
        if how == "drop":
            frame = frame.drop(columns=role)
        elif how == "constant":
            frame[role] = frame[role].iloc[0]
        elif how in ("holes", "empty") and role not in ("patient_name", "patient_id"):
            frame[role] = frame[role].where(rng.random(len(frame)) < (0.5 if how == "holes" else 0))
    return frame


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 250), st.integers(0, 50), st.data())
def test_damaged_tables_get_a_verdict_all_the_same(drawn, n, seed, data):
    states(damaged(drawn(n, seed=seed, hospitals=max(n // 3, 1)), seed, data))


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 250), st.integers(0, 50), st.data())
def test_many_damaged_tables_get_a_verdict_all_the_same(drawn, n, seed, data):
    states(damaged(drawn(n, seed=seed, hospitals=max(n // 3, 1)), seed, data))


@pytest.mark.slow
def test_thousands_of_levels_cost_each_claim_seconds(drawn):
    frame = drawn(13_600).head(15_000)
    rng = np.random.default_rng(0)
    codes = pd.Series(np.minimum(rng.zipf(1.3, len(frame)), 2_254)).map("C{:04d}".format)
    frame = frame.assign(condition=codes, medication=rng.permutation(codes), insurer=rng.permutation(codes))
    rows = one_row_each(frame, np.arange(len(frame)), declarations=DECLARED)
    for name, setting in settings_of(NODES).items():
        started = time.process_time()
        (finding,) = state(rows, {name: setting})
        assert time.process_time() - started < 5, name
        if name == "age_condition":
            assert "no admission has condition Hypertension; the levels are C0001, " in finding.gaps[0].words


ROOMS = '''
"""Do rooms differ in their mean bill?"""

import dataclasses

from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.claims.aggregates import mean_table, moments_of, sums
from hi_ml.claims.chart import Chart
from hi_ml.claims.claim import Claim
from hi_ml.claims.finding import Draft, Estimand, Evidence
from hi_ml.claims.requirements import require_columns
from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.means import one_way


@dataclass(frozen=True, config=STRICT)
class Rooms:
    smallest: PositiveFloat


def draft(admissions, settings):
    def floors():
        require_columns(admissions.rows, "sex", "billed")
        effect = one_way(moments_of(table), margin=Margin(settings.smallest))
        yield Evidence.of_effect(Estimand("sexes", "spread of the mean bills", "Cohen's f"), effect, settings.smallest)

    def beds():
        require_columns(admissions.rows, "bed")

    table = sums(admissions.rows, ["sex"], "billed")
    found = Draft.of("Bills differ between the sexes.", "any", [("sexes", floors), ("beds", beds)])
    return dataclasses.replace(found, tables={"means": mean_table(table)}, facts={"least": 3})


CLAIM = Claim(
    name="sexes_billed", settings=Rooms, draft=draft,
    charts=(
        Chart("bars", "means", "means", "Bar chart: bills by sex", "From {least} on.",
              options={"group": "sex", "measure": ("Mean bill", "currency")}),
        Chart("others", "means", "nowhere", "Nothing", "Nothing"),
    ),
)
'''


@pytest.fixture
def own_claims(tmp_path, monkeypatch):
    """A folder whose modules are claims, too."""
    folder = tmp_path / "own_claims"
    folder.mkdir()
    monkeypatch.setattr(hi_ml.claims, "__path__", [*hi_ml.claims.__path__, str(folder)])
    yield folder
    for path in folder.glob("*.py"):
        sys.modules.pop(f"hi_ml.claims.{path.stem}", None)


def test_a_file_and_a_yaml_make_a_claim_that_is_tested_drawn_and_counted(own_claims, inside, tmp_path):
    (own_claims / "sexes_billed.py").write_text(ROOMS)
    yamls = tmp_path / "own" / "finding"
    yamls.mkdir(parents=True)
    (yamls / "sexes_billed.yaml").write_text("# @package findings.sexes_billed\nsmallest: 0.05\n")
    asked = ["finding=[emergency_stay,sexes_billed]", "dataset.rows=400", "tracking=none", "hydra.run.dir=run"]
    ended = inside(findings.main, "--config-dir", str(yamls.parent), *asked)
    assert ended.code == 0, ended.stderr
    assert "Bills differ between the sexes." in ended.stdout
    old, new = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert (old["finding"], new["finding"], new["parts"], new["parts_testable"]) == (
        "emergency_stay", "sexes_billed", 2, 1,
    )  # fmt: skip
    assert new["gaps"][0]["key"] == "columns.bed.from"
    raw = sorted(finding["evidence"][0]["p_absence"] for finding in (old, new))
    assert min(old["p_absence"], new["p_absence"]) == pytest.approx(min(1.0, (len(CLAIMS) + 1) * raw[0]))
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"adjusted for {len(CLAIMS) + 1} claims" in page
    assert "Bar chart: bills by sex" in page
    charts = {path.name for path in (tmp_path / "run" / "charts").glob("sexes_billed*")}
    assert charts == {f"sexes_billed_{name}.{kind}" for name in ("forest", "bars") for kind in ("png", "csv")}


ONE = """
from hi_ml.claims.claim import Claim
from hi_ml.claims.finding import Draft, Evidence

def draft(admissions, p):
    part = Evidence("a", "effect", "days", 2.0, 1.5, 2.5, 1.5, 2.5, 100, 1.0, p, 1.0)
    return Draft.of("A claim.", "all", [("a", lambda: [part])])

CLAIM = Claim("{name}", float, draft)
"""


def test_one_more_claim_makes_the_family_larger(own_claims, monkeypatch, drawn):
    monkeypatch.setattr(hi_ml.claims, "__path__", [str(own_claims)])
    p_values = dict(zip("abcde", [0.0095, 0.5, 0.5, 0.5, 0.5], strict=True))
    for name in p_values:
        (own_claims / f"{name}.py").write_text(ONE.format(name=name))
    rows = one_row_each(drawn(3), np.arange(3))
    first, *_ = state(rows, p_values)
    assert (first.p_support, first.verdict) == (pytest.approx(0.0475), "supported")
    (own_claims / "f.py").write_text(ONE.format(name="f"))
    first, *_ = state(rows, p_values)
    assert (first.p_support, first.verdict) == (pytest.approx(0.057), "inconclusive")
