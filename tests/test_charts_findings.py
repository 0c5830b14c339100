"""The charts of the findings draw their tables: on good, tiny and degenerate ones, and nothing on top of another."""

from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from hi_ml.app.config import conf_dir
from hi_ml.app.text import interval, p_value, scale_of, written
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.reports.charts.heat_maps import BELOW_ABOVE
from hi_ml.reports.charts.style import house_style, save
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
EVERY = [
    "age_condition_forest", "age_condition_conditions", "age_condition_heat_map", "age_condition_decades",
    "billing_variation_forest", "billing_variation_hospitals", "billing_variation_funnel", "billing_variation_insurers",
    "emergency_stay_forest", "emergency_stay_by_condition", "emergency_stay_months", "emergency_stay_distribution",
    "medication_recovery_forest", "medication_recovery_stays", "medication_recovery_names",
    "insurance_access_forest", "insurance_access_care", "insurance_access_balance",
]  # fmt: skip


@cache
def found_in(case):
    return CASES[case]()


@cache
def charts(case="ordinary"):
    return [(finding, one.name, one.figure, one.table) for finding in found_in(case) for one in of_finding(finding)]


def the(name, case="ordinary"):
    return next((figure, table) for _, drawn, figure, table in charts(case) if drawn == name)


def ordinary(name):
    return next(finding for finding in found_in("ordinary") if finding.finding == name)


def texts(figure):
    """Every text of a figure: title, legends, names, ticks, notes, caption."""
    found = list(figure.texts)
    for legend in figure.legends:
        found += legend.get_texts()
    for ax in figure.axes:
        for one in [ax, *ax.child_axes] if ax.get_visible() else []:
            found += [one.title, one._left_title, one.xaxis.label, one.yaxis.label, *one.texts, *ticks(one)]
            found += one.get_legend().get_texts() if one.get_legend() else []
    return [text for text in found if text.get_visible() and text.get_text()]


def ticks(ax):
    for axis, (low, high) in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
        for tick in axis.get_major_ticks():
            if tick.label1.get_visible() and low <= tick.get_loc() <= high:
                yield tick.label1


def words(figure):
    return " ".join(text.get_text() for text in texts(figure)).replace("\n", " ")


def check_places(figure, name):
    with house_style():
        figure.draw_without_rendering()
        places = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for (one, a), (other, b) in combinations(places, 2):
        covered = min(a.x1, b.x1) - max(a.x0, b.x0) >= 1 and min(a.y1, b.y1) - max(a.y0, b.y0) >= 1
        assert not covered, (name, one, other)
    width, height = figure.bbox.size
    for text, place in places:
        inside = place.x0 > -1 and place.y0 > -1 and place.x1 < width + 1 and place.y1 < height + 1
        assert inside, (name, text)


@pytest.mark.parametrize("case", CASES)
def test_every_chart_draws_without_warning_and_no_text_covers_another_or_leaves_the_picture(case):
    drawn = charts(case)
    for _, name, figure, _ in drawn:
        check_places(figure, name)
    assert len({name for _, name, _, _ in drawn}) == len(drawn)


def test_all_charts_are_drawn_in_the_order_of_the_report():
    assert [name for _, name, _, _ in charts()] == EVERY


def test_what_cannot_be_tested_leaves_no_empty_chart():
    for case in ("one insurer", "one hospital", "tiny", "nothing declared, columns absent"):
        for _, name, _, table in charts(case):
            assert len(table), name
    names = {name for _, name, _, _ in charts("one hospital")}
    assert names == {"billing_variation_forest", "billing_variation_insurers"}


def test_the_title_states_the_verdict_and_the_claim():
    for finding, _, figure, _ in charts():
        title = figure.get_suptitle().replace("\n", " ")
        verdict, _, why = finding.sentences[0].partition(": ")
        assert title.startswith(verdict.rstrip("."))
        assert f"“{finding.claim}”" in title
        assert why[1:] in title
    bare = next(
        finding for finding in found_in("nothing declared, columns absent") if finding.verdict == "not_testable"
    )
    assert title_of(bare) == f"Not testable on this table: “{bare.claim}”"


def test_the_caption_gives_n_and_the_method():
    for _, name, figure, _ in charts():
        foot = next(text for text in figure.texts if text.get_gid() == "caption").get_text()
        assert foot.startswith("n = "), name
        assert len(foot) > 30, name


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("age_condition_forest", "Percentage points"),
        ("age_condition_heat_map", "Share (%)"),
        ("age_condition_decades", "Share of admissions (%)"),
        ("billing_variation_forest", "% of the variance"),
        ("billing_variation_hospitals", "Mean bill (currency)"),
        ("billing_variation_funnel", "Mean bill (currency)"),
        ("billing_variation_insurers", "Mean bill (currency)"),
        ("emergency_stay_forest", "Days"),
        ("emergency_stay_months", "Mean length of stay (days)"),
        ("emergency_stay_distribution", "Length of stay (days)"),
        ("medication_recovery_stays", "Mean length of stay (days)"),
        ("insurance_access_forest", "Cohen's w"),
        ("insurance_access_balance", "standard deviations"),
    ],
)
def test_axes_carry_the_unit(name, unit):
    assert unit in words(the(name)[0])


def test_picture_and_table_are_written_side_by_side(tmp_path):
    for _, name, figure, table in charts():
        picture, data = save(figure, table, tmp_path / name)
        with Image.open(picture) as image:
            assert image.size[0] >= 800
            assert np.asarray(image.convert("L")).std() > 5
        found = pd.read_csv(data, keep_default_na=False, na_values=[""])
        assert found.columns.tolist() == table.columns.tolist()
        assert len(found) == len(table)
        for column in table.select_dtypes("float"):
            np.testing.assert_array_equal(found[column].to_numpy(float), table[column].to_numpy(float))


def test_a_chart_draws_the_numbers_of_its_finding():
    evidence = ordinary("emergency_stay").evidence
    _, table = the("emergency_stay_forest")
    part = next(item for item in evidence if item.role == "primary")
    assert table[["estimate", "low", "high"]].iloc[0].tolist() == [part.estimate, part.low, part.high]
    figure, table = the("emergency_stay_by_condition")
    assert table["label"].tolist() == ["all conditions", *CONDITIONS]
    ax = figure.axes[0]
    drawn = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in "oD"]
    assert drawn == table["estimate"].tolist()
    for value in table["estimate"]:
        assert written(value, "days") in words(figure)


def test_the_zone_of_negligible_effects_is_as_wide_as_the_smallest_effect_and_lies_behind():
    figure, table = the("age_condition_forest")
    for ax, unit in zip(figure.axes, dict.fromkeys(table["unit"]), strict=True):
        zones = sorted(ax.patches, key=lambda bar: -bar.get_y())
        smallest = table.loc[table["unit"] == unit, "smallest_effect"] * scale_of(unit).factor
        np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in zones], smallest)
        np.testing.assert_allclose([bar.get_x() for bar in zones], -smallest)
        assert all(bar.get_zorder() == 0 for bar in zones)
        low, high = ax.get_xlim()
        assert high > smallest.max()
        assert low == 0 if scale_of(unit).from_zero else low < -smallest.max()


def test_bars_and_shares_start_at_zero():
    for name in ("billing_variation_insurers", "medication_recovery_stays", "billing_variation_hospitals"):
        figure, _ = the(name)
        assert {bar.get_x() for bar in figure.axes[0].patches} == {0}
        assert figure.axes[0].get_xlim()[0] == 0
    assert {ax.get_ylim()[0] for ax in the("age_condition_decades")[0].axes} == {0}
    assert the("age_condition_heat_map")[0].axes[0].images[0].get_clim()[0] == 0


def test_the_heat_map_of_care_writes_each_share_and_marks_discoveries():
    found = ordinary("insurance_access")
    table = found.tables["payer_care"].assign(discovery=lambda cells: cells.index == 3)
    table.loc[3, "residual"] = 4.2
    tables = dict(found.tables) | {"payer_care": table}
    figure = next(one.figure for one in of_finding(_replaced(found, tables)) if one.name == "insurance_access_care")
    cells = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert len(cells) == len(table)
    assert [text for text in cells if "*" in text] == [f"{100 * table['share'][3]:.1f} %\n+4.2 *"]
    assert sum("−" in text for text in cells) == (table["residual"].round(1) < 0).sum()


def test_names_of_many_hospitals_are_cut_to_both_ends():
    figure, table = the("billing_variation_hospitals", "crowded, with hostile names")
    assert len(table) > 40
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == 30
    assert f"{len(table) - 30} hospitals between" in words(figure)


def _replaced(finding, tables):
    return type(finding)(**{**vars(finding), "tables": tables})


def test_a_scale_of_two_sides_survives_a_grey_printer():
    grey = BELOW_ABOVE([0.0, 0.5, 1.0])[:, :3] @ [0.299, 0.587, 0.114]
    assert np.diff(np.sort(grey)).min() > 0.2


def test_every_chart_says_what_it_shows():
    drawn = [chart for finding in found_in("ordinary") for chart in of_finding(finding)]
    assert len({chart.shows for chart in drawn}) == len({chart.name.split("_", 2)[2] for chart in drawn})
    assert all(": " in chart.shows for chart in drawn)


def test_drawing_twice_gives_the_same_picture():
    one, other = (
        {one.name: one.figure for one in of_finding(ordinary("insurance_access"))}["insurance_access_balance"]
        for _ in range(2)
    )
    for figure in (one, other):
        figure.canvas.draw()
    np.testing.assert_array_equal(np.asarray(one.canvas.buffer_rgba()), np.asarray(other.canvas.buffer_rgba()))


def test_numbers_are_written_in_their_unit():
    assert written(-0.0316, "share of discharges") == "−3.2"
    assert written(0.1, "Cohen's w") == "0.100"
    assert written(12.5, "of a unit unknown") == "12.500"
    assert interval(float("nan"), 1.0, "days") == "–"
    assert interval(0.1, 0.25, "share of variance") == "10.0 to 25.0"
    assert p_value(0.0001) == "0.0001"
