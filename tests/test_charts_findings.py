"""The charts of the findings draw their tables: on good, tiny and degenerate ones, and nothing on top of another."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml.app.config import conf_dir
from hi_ml.app.text import in_unit, interval, p_value
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.reports.charts.heat_maps import BELOW_ABOVE
from hi_ml.reports.findings_charts import of_finding, title_of

CLAIMS = list(catalogue())

NODES = {name: yaml.safe_load((conf_dir() / "finding" / f"{name}.yaml").read_text("utf-8")) for name in CLAIMS}
NODES["billing_variation"] |= {"permutations": 49, "smallest_pairs": 10}
NODES["medication_recovery"] |= {"resamples": 19}
DECLARED = {
    "acute_conditions": ["Asthma"],
    "severe_conditions": ["Cancer"],
    "advanced_medications": ["Lipitor", "Penicillin"],
}
CONDITIONS = ["Arthritis", "Asthma", "Cancer", "Diabetes", "Hypertension", "Obesity"]
HOSTILE = "<script>alert(1)</script> & $\\frac{a}{b}$ of a very long name that goes on, and on, and on"


def admissions(n, seed=0, **columns):
    """Random admissions by role; a column can be replaced by what to draw from, by an array, or by None for none."""
    rng = np.random.default_rng(seed)
    admitted = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    days = rng.integers(1, 31, n).astype(float)
    choices = {
        "sex": ["Female", "Male"],
        "blood_type": ["A+", "B-", "O+"],
        "condition": CONDITIONS,
        "hospital": [f"Hospital {i}" for i in range(max(n // 60, 2))],
        "insurer": ["Aetna", "Blue Cross", "Cigna", "Medicare", "UnitedHealthcare"],
        "admission_type": ["Elective", "Emergency", "Urgent"],
        "medication": ["Aspirin", "Ibuprofen", "Lipitor", "Paracetamol", "Penicillin"],
        "test_result": ["Normal", "Abnormal", "Inconclusive"],
    }
    choices |= {role: values for role, values in columns.items() if isinstance(values, list)}
    frame = pd.DataFrame({role: pd.Series(rng.choice(levels, n), dtype="str") for role, levels in choices.items()})
    frame = frame.assign(
        age=rng.integers(18, 90, n).astype(float),
        admitted_on=admitted,
        length_of_stay=days,
        billed=rng.normal(25_000, 8_000, n),
        hospital_as_written=frame["hospital"],
        patient_name=rng.integers(0, n, n),
    )
    frame = frame.assign(**{role: values for role, values in columns.items() if isinstance(values, np.ndarray)})
    absent = [role for role, values in columns.items() if values is None]
    stay = pd.to_timedelta(frame["length_of_stay"], unit="D")
    return frame.assign(discharged_on=frame["admitted_on"] + stay).drop(columns=absent)


def findings(frame, *names, declared=DECLARED):
    settings = settings_of({name: NODES[name] for name in names or CLAIMS})
    return state(one_row_each(frame, np.arange(len(frame)), declarations=declared), settings)


MANY = [f"{HOSTILE}, number {i}" for i in range(26)]
CASES = {
    "ordinary": lambda: findings(admissions(3_000)),
    "tiny": lambda: findings(admissions(30)),
    "tiny, all shown": lambda: findings(
        admissions(90, condition=["Diabetes", "Cancer"], insurer=["A", "B"]),
        "age_condition",
        "billing_variation",
        "emergency_stay",
    ),
    "crowded, with hostile names": lambda: findings(
        admissions(
            2_600,
            condition=MANY,
            hospital=[*MANY, *"abcdefghijklmnopqrst"],
            insurer=MANY[:14],
            admission_type=["Emergency", *MANY[:3]],
            medication=MANY,
            length_of_stay=np.random.default_rng(1).exponential(40, 2_600).round() + 1,
        )
    ),
    "one insurer": lambda: findings(admissions(600, insurer=["Aetna"]), "billing_variation", "insurance_access"),
    "one hospital": lambda: findings(admissions(600, hospital=["General"]), "billing_variation"),
    "two hospitals, one of them large": lambda: findings(
        admissions(2_000, hospital=np.array(["Large"] * 1_965 + ["Small"] * 35)), "billing_variation"
    ),
    "no emergencies": lambda: findings(admissions(600, admission_type=["Elective", "Urgent"]), "emergency_stay"),
    "constant stay": lambda: findings(
        admissions(600, length_of_stay=np.full(600, 3.0)), "emergency_stay", "medication_recovery"
    ),
    "one month, one type": lambda: findings(
        admissions(60, admission_type=["Emergency"], admitted_on=np.full(60, np.datetime64("2024-02-03"))),
        "emergency_stay",
    ),
    "one age, one condition": lambda: findings(
        admissions(80, condition=["Diabetes"], age=np.repeat([30.0, 50.0], 40)), "age_condition"
    ),
    "nothing declared, columns absent": lambda: findings(
        admissions(300, condition=None, admitted_on=np.full(300, np.datetime64("NaT", "D")), insurer=None),
        declared={},
    ),
}
NAMES = {  # every chart in the order of the report, with a word of its axes
    "age_condition_forest": "Percentage points",
    "age_condition_conditions": "Percentage points",
    "age_condition_heat_map": "Less the share at any age (points)",
    "age_condition_decades": "Share of admissions (%)",
    "billing_variation_forest": "% of the variance",
    "billing_variation_hospitals": "Mean bill (currency)",
    "billing_variation_funnel": "Mean bill (currency)",
    "billing_variation_insurers": "Mean bill (currency)",
    "emergency_stay_forest": "Days",
    "emergency_stay_by_condition": "Days",
    "emergency_stay_months": "Mean length of stay (days)",
    "emergency_stay_distribution": "Length of stay (days)",
    "medication_recovery_forest": "Days",
    "medication_recovery_stays": "Mean length of stay (days)",
    "medication_recovery_names": "Share of pairs of admissions that agree (%)",
    "insurance_access_forest": "Cohen's w",
    "insurance_access_care": "Adjusted residual",
    "insurance_access_balance": "Insurer less the rest (standard deviations)",
}


@cache
def findings_of(case):
    return CASES[case]()


@cache
def charts(case="ordinary"):
    return {chart.name: (finding, chart) for finding in findings_of(case) for chart in of_finding(finding)}


def ordinary(name):
    return next(finding for finding in findings_of("ordinary") if finding.finding == name)


@pytest.mark.parametrize("case", CASES)
def test_every_chart_draws_without_warning_and_no_text_covers_another_or_leaves_the_picture(case, legible):
    for _, chart in charts(case).values():
        assert len(chart.table)
        legible(chart.figure)


def test_all_charts_are_drawn_in_the_order_of_the_report():
    assert list(charts()) == list(NAMES)
    kinds = {name.split("_", 2)[2] for name in NAMES}  # a chart of one kind shows the same in every finding
    assert len({chart.shows for _, chart in charts().values()}) == len(kinds)


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_carries_verdict_claim_n_unit_and_what_it_shows(name, texts):
    finding, chart = charts()[name]
    words = [text.get_text().replace("\n", " ") for text in texts(chart.figure)]
    verdict, _, why = finding.sentences[0].partition(": ")
    assert words[0].casefold() == chart.shows.partition(": ")[2].casefold()
    assert words[1].startswith(verdict.rstrip("."))
    assert f"“{finding.claim}”" in words[1]
    assert why[1:] in words[1]
    assert NAMES[name] in words
    assert re.match(r"n = [\d,]+ \w+.* .{10,}", words[2])


def test_what_cannot_be_tested_leaves_no_empty_chart_and_a_bare_title():
    assert set(charts("one hospital")) == {"billing_variation_forest", "billing_variation_insurers"}
    absent = findings_of("nothing declared, columns absent")
    bare = next(finding for finding in absent if finding.verdict == "not_testable")
    assert title_of(bare) == f"Not testable on this table: “{bare.claim}”"


def test_a_chart_draws_the_numbers_of_its_finding(texts):
    evidence = ordinary("emergency_stay").evidence
    part = next(item for item in evidence if item.role == "primary")
    table = charts()["emergency_stay_forest"][1].table
    assert table[["estimate", "low", "high"]].iloc[0].tolist() == [part.estimate, part.low, part.high]
    _, chart = charts()["emergency_stay_by_condition"]
    assert chart.table["label"].tolist() == ["all conditions", *CONDITIONS]
    words = " ".join(text.get_text() for text in texts(chart.figure))
    assert all(in_unit(value, "days") in words for value in chart.table["estimate"])


def test_shares_start_at_zero():
    assert {ax.get_ylim()[0] for ax in charts()["age_condition_decades"][1].figure.axes} == {0}


def test_the_heat_map_diverges_around_the_share_at_any_age_and_marks_what_is_claimed():
    chart = charts()["age_condition_heat_map"][1]
    ax = chart.figure.axes[0]
    low, high = ax.images[0].get_clim()
    assert -low == high >= 5
    shown = ax.images[0].get_array()[0, 0]
    table = chart.table.sort_values(["condition", "decade"]).iloc[0]
    assert shown == pytest.approx(100 * (table["share"] - table["overall"]))
    marked = [label.get_text()[2:].partition(" (")[0] for label in ax.get_yticklabels() if label.get_text()[0] == "►"]
    assert marked == ["Diabetes", "Hypertension"]


def test_the_heat_map_of_care_writes_each_share_and_marks_discoveries():
    finding = ordinary("insurance_access")
    table = finding.tables["payer_care"].assign(discovery=lambda cells: cells.index == 3)
    table.loc[3, "residual"] = 4.2
    changed = replace(finding, tables=dict(finding.tables) | {"payer_care": table})
    figure = next(chart.figure for chart in of_finding(changed) if chart.name == "insurance_access_care")
    cells = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert len(cells) == len(table)
    assert [text for text in cells if "*" in text] == [f"{100 * table['share'][3]:.1f} %\n+4.2 *"]
    assert sum("−" in text for text in cells) == (table["residual"].round(1) < 0).sum()


def test_a_scale_of_two_sides_survives_a_grey_printer():
    grey = BELOW_ABOVE([0.0, 0.5, 1.0])[:, :3] @ [0.299, 0.587, 0.114]
    assert np.diff(np.sort(grey)).min() > 0.2


def test_numbers_are_written_in_their_unit():
    assert in_unit(-0.0316, "share of discharges") == "−3.2"
    assert in_unit(12.5, "of a unit unknown") == "12.500"
    assert interval(float("nan"), 1.0, "days") == "–"
    assert interval(0.1, 0.25, "share of variance") == "10.0 to 25.0"
    assert p_value(0.0001) == "0.0001"


def test_a_line_counts_patients_where_these_come_again():
    """A hospital of forty admissions and three patients is no more shown than one of three admissions."""
    small = np.arange(600) < 40
    rows = admissions(600, hospital=np.where(small, "Small House", "Large House"))
    numbered = np.where(small, np.arange(600) % 3, np.arange(600) // 2)
    ready = one_row_each(rows.assign(patient_id=numbered), np.arange(600), declarations=DECLARED)
    (finding,) = state(ready, settings_of({"billing_variation": NODES["billing_variation"] | {"smallest_volume": 30}}))
    recorded = finding.tables["hospital_effects"].set_index("hospital")
    assert recorded.loc["Small House", ["n", "patients"]].tolist() == [40, 3]
    drawn = [chart.table for chart in of_finding(finding) if "hospital" in chart.table]
    assert drawn
    assert not any("Small House" in set(table["hospital"]) or "patients" in table for table in drawn)
