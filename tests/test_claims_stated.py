"""Claims of one's own: what a YAML may state, what it is answered, and that the answer is right."""

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from pydantic import ValidationError

from hi_ml import findings
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.claims.catalogue import catalogue, family, settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.finding import record
from hi_ml.reports.findings_charts import of_finding

N = 4_000


@pytest.fixture(scope="module")
def table():
    """Stays that wards, drugs and ages change, in a table without any of the roles that the five claims need."""
    rng = np.random.default_rng(0)
    ward, drug = rng.integers(0, 40, N), rng.choice(["None", "Up", "Down"], N, p=[0.6, 0.2, 0.2])
    years = rng.integers(18, 95, N).astype(float)
    severe = rng.random(N) < np.where(drug == "Up", 0.7, 0.3)
    score = 10 + 3.0 * severe + 0.05 * years + rng.normal(0, 1.5, 40)[ward] + rng.normal(0, 3, N)
    code = pd.Series(rng.integers(1, 4, N).astype(float))
    return pd.DataFrame(
        {
            "ward": pd.Series(ward).astype("str"),
            "drug": drug,
            "years": years,
            "severity": np.where(severe, "severe", "mild"),
            "score": score,
            "code": code,
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, N), unit="D"),
            "back": np.where(rng.random(N) < 0.2 + 0.1 * (drug == "Up"), "YES", "NO"),
        }
    )


def stated(frame, patients=None, *, draw=False, **keys):
    """State one claim of one's own."""
    node = {"claim": "It is so.", "smallest_effect": 0.5, **keys}
    if patients is not None:
        frame = frame.assign(patient_id=patients)
    rows = one_row_each(frame, np.arange(len(frame)), units_of_columns={"score": "points"})
    (finding,) = state(rows, settings_of({"mine": node}))
    json.dumps(record(finding), allow_nan=False)
    if draw:
        assert len(list(of_finding(finding))) == 1 + finding.parts_testable
    return finding


def only(finding):
    (part,) = finding.evidence
    return part


def test_a_difference_is_the_difference_of_means_and_its_direction_counts(table):
    claim = {"kind": "difference", "of": "score", "by": "severity", "levels": {"severity": "Severe"}}
    higher, lower = (stated(table, draw=True, **claim, direction=way) for way in ("higher", "lower"))
    means = table.groupby("severity")["score"].mean()
    assert only(higher).estimate == pytest.approx(means["severe"] - means["mild"])
    assert (higher.verdict, higher.reason, only(higher).unit) == ("supported", "STRONG", "points")
    assert (lower.verdict, lower.reason) == ("not_supported", "OPPOSITE")
    either = stated(table, **claim | {"levels": {"severity": "mild"}})
    assert only(either).estimate == pytest.approx(-only(higher).estimate)
    assert (either.verdict, either.reason) == ("supported", "STRONG")
    assert either.excludes_effects_above["score"] == pytest.approx(only(higher).high90)


def test_a_share_by_a_level_and_a_number_cut_in_two(table):
    by_drug = stated(
        table, kind="difference", of="back", by="drug", levels={"back": ["yes"], "drug": "Up"}, smallest_effect=0.05,
        direction="higher",
    )  # fmt: skip
    share = (table["back"] == "YES").groupby(table["drug"] == "Up").mean()
    assert only(by_drug).estimate == pytest.approx(share[True] - share[False])
    assert (by_drug.verdict, only(by_drug).unit) == ("supported", "share of admissions")
    old = stated(table, kind="difference", of="score", by="years", bands={"years": [60]}, smallest_effect=1)
    sides = table.groupby(table["years"] >= 60)["score"].mean()
    assert only(old).estimate == pytest.approx(sides[True] - sides[False])


def test_strata_take_out_what_they_explain(table):
    claim = {"kind": "difference", "of": "score", "by": "drug", "levels": {"drug": "Up"}}
    plain, within = stated(table, **claim), stated(table, **claim, strata="severity")
    assert plain.verdict == "supported"
    assert only(plain).estimate - only(within).estimate > 0.8
    assert "within severity" in only(within).estimand
    # weights n1 n0 / (n1 + n0): those of the least squares that give each stratum a level of its own
    fit = smf.ols("score ~ I(drug == 'Up') + severity", table).fit()
    assert only(within).estimate == pytest.approx(fit.params.iloc[1])
    assert only(within).high - only(within).low == pytest.approx(2 * 1.96 * fit.bse.iloc[1], rel=0.06)


def test_a_trend_is_a_robust_regression_and_patients_are_its_units(table):
    trend = stated(
        table, draw=True, kind="trend", of="score", by="years", per=10, smallest_effect=0.2, direction="higher"
    )
    fit = smf.ols("score ~ years", table).fit(cov_type="HC1")
    low, high = fit.conf_int().loc["years"] * 10
    assert (only(trend).estimate, only(trend).low) == pytest.approx((10 * fit.params["years"], low), rel=1e-2)
    assert (trend.verdict, only(trend).unit) == ("supported", "points per 10 years")
    twice = pd.concat([table, table], ignore_index=True)
    clustered = stated(
        twice, np.tile(np.arange(N), 2), kind="trend", of="score", by="years", per=10, smallest_effect=0.2
    )
    assert only(clustered).high == pytest.approx(high, rel=1e-2)
    assert (only(clustered).units, only(clustered).design_effect) == (N, pytest.approx(2, rel=1e-2))
    falling = stated(
        table, kind="trend", of="back", by="day", levels={"back": "YES"}, smallest_effect=0.05, direction="lower"
    )
    assert falling.verdict == "not_supported"
    steps = stated(table, kind="trend", of="score", by="severity", levels={"severity": ["mild", "severe"]})
    assert only(steps).estimate == pytest.approx(np.diff(table.groupby("severity")["score"].mean())[0])


def test_an_association_within_strata_and_a_variation_between_units(table):
    together = stated(table, draw=True, kind="association", of="drug", by="severity", smallest_effect=0.1)
    apart = stated(table, kind="association", of="drug", by="ward", strata="years", smallest_effect=0.1)
    assert (together.verdict, apart.verdict) == ("supported", "not_supported")
    assert only(together).unit == "Cohen's w"
    wards = stated(table, draw=True, kind="variation", of="score", by="ward", smallest_effect=1)
    assert (wards.verdict, only(wards).unit) == ("supported", "share of variance")
    assert only(wards).detail["typical_gap"] == pytest.approx(1.5 * 1.128, rel=0.35)
    assert stated(table, kind="variation", of="score", by="code", smallest_effect=3).verdict != "supported"


@pytest.mark.parametrize(
    ("keys", "words", "key"),
    [
        (
            {"by": "drug", "levels": {"drug": "Sideways"}},
            "no admission has drug Sideways; the levels are None",
            "levels.drug",
        ),
        ({"by": "drug"}, "no level of drug is named; the levels are None, ", "levels.drug"),
        ({"by": "years"}, "does not say from where on", "bands.years"),
        ({"of": "back", "by": "drug", "levels": {"drug": "Up"}}, "no level of back is named", "levels.back"),
        ({"kind": "trend", "by": "drug"}, "no level of drug is named", "levels.drug"),
    ],
)
def test_what_a_claim_lacks_is_answered_with_what_is_there_and_the_key(table, keys, words, key):
    finding = stated(table, **{"kind": "difference", "of": "score", **keys})
    (gap,) = finding.gaps
    assert finding.verdict == "not_testable"
    assert words in gap.words
    assert gap.key == f"findings.mine.{key}"


def test_a_level_of_a_few_admissions_is_never_shown(table):
    rare = table.assign(drug=table["drug"].where(np.arange(N) > 3, "Experimental"))
    (gap,) = stated(rare, kind="difference", of="score", by="drug").gaps
    assert "Experimental" not in gap.words
    assert "and 1 more" in gap.words


def test_a_numeric_code_equals_its_text(table):
    ends = [
        only(stated(column, kind="difference", of="score", by="code", levels={"code": [level]})).estimate
        for column in (table, table.assign(code=table["code"].astype("str")))
        for level in (1, 1.0, "1", "1.0")
    ]
    assert len(set(ends)) == 1


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"kind": "association", "direction": "higher"}, "no direction"),
        ({"levels": {"nothing": "x"}}, "none of the claim's columns"),
        ({"by": "score"}, "compared with itself"),
        ({"smallest_effect": 0}, "smallest_effect"),
        ({"smalest": 1}, "smalest"),
    ],
)
def test_a_wrong_key_is_refused(keys, words):
    node = {"claim": "So.", "kind": "difference", "of": "score", "by": "drug", "smallest_effect": 1}
    with pytest.raises(ValidationError, match=words):
        settings_of({"mine": {**node, **keys}})
    with pytest.raises(ConfigurationInvalid, match=r"needs claim, kind \(difference"):
        settings_of({"mine": {"claim": "So."}})


def test_any_rule_needs_one_part_and_all_needs_every(table):
    claim = {"kind": "difference", "of": ["score", "code"], "by": "severity", "levels": {"severity": "severe"}}
    one, every = (stated(table, **claim, rule=rule) for rule in ("any", "all"))
    assert (one.verdict, every.verdict, one.parts) == ("supported", "not_supported", 2)


@pytest.mark.parametrize("kind", ["difference", "association", "variation", "trend"])
def test_any_two_columns_of_any_kind_get_a_verdict(table, kind):
    small = table.head(300).assign(flag=np.arange(300) % 2 == 0, empty=None, one="x")
    for of in small:
        for by in set(small) - {of}:
            stated(small, kind=kind, of=of, by=by, permutations=19)


def test_a_file_in_a_folder_of_ones_own_is_stated_beside_the_five(inside, tmp_path):
    (tmp_path / "own" / "finding").mkdir(parents=True)
    (tmp_path / "own" / "finding" / "old_bills.yaml").write_text(
        "claim: Older patients are billed more.\nkind: trend\nof: billed\nby: age\nper: 10\nsmallest_effect: 500\n"
    )
    asked = ["finding=[emergency_stay,old_bills]", "dataset.rows=400", "tracking=none", "hydra.run.dir=run"]
    ended = inside(findings.main, "--config-dir", "own", *asked)
    assert ended.code == 0, ended.stderr
    assert "Older patients are billed more." in ended.stdout
    assert "currency per 10 years" in ended.stdout
    assert family(["old_bills"]) == len(catalogue()) + 1
    assert "adjusted for 6 claims" in (tmp_path / "run" / "report.html").read_text()
    charts = {path.name for path in (tmp_path / "run" / "charts").glob("old_bills*.png")}
    assert charts == {"old_bills_forest.png", "old_bills_billed.png"}
