"""Every chart draws its table: on good, tiny and odd input, with its words and units, and nothing on top of another."""

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hi_ml.evaluation import conformal
from hi_ml.evaluation import explanations as contributions
from hi_ml.reports.charts import classification, explanations, regression
from hi_ml.reports.charts.intervals import intervals
from hi_ml.reports.charts.layout import new_figure
from hi_ml.reports.charts.scores import scores_against_baseline
from hi_ml.reports.charts.style import COUNTS, LOW_TO_HIGH, SERIES, caption, house_style, number, save, wrapped
from hi_ml.statistics import curves
from hi_ml.statistics import curves as binned

SITES = ["lower extremity", "gastrointestinal system", "upper respiratory tract", "eye and adnexa"]
LONG = [
    f"{kind} of the {site}, not otherwise specified" for kind in ("Fracture", "Tumour", "Infection") for site in SITES
]
TWENTY = [f"Group {i}: {LONG[i % 12]}" for i in range(20)]
THREE = ["Normal", "Abnormal", "Inconclusive"]
WORDS = {
    "title": "lgbm removes less than 2 % of the baseline's error (95 % interval −0.3 to 0.4 %): no signal",
    "caption": caption(11100, "Test part of a grouped split; bars are 95 % intervals over groups of near-duplicates."),
}
ENDS = {"": -1.25, "_low": -10.25, "_high": 10.25}
HIGHER = {"accuracy", "r2", "roc_auc"}


def of_regression(n, *, spread=6.0, target_of=np.round):
    rng = np.random.default_rng(0)
    prediction = 15 + spread * rng.normal(size=n)
    target = target_of(prediction + rng.normal(0, 4, n))
    return {
        regression.predicted_observed: binned.predicted_observed_table(target, prediction),
        regression.residuals: binned.residual_table(target, prediction),
    }


def of_classes(labels, n, *, absent=()):
    rng = np.random.default_rng(1)
    labels = np.array(labels, dtype=object)
    shares = rng.dirichlet(np.ones(labels.size), n)
    seen = [i for i in range(labels.size) if labels[i] not in absent]
    target = labels[rng.choice(seen, n)]
    return {
        classification.confusion: curves.confusion_table(target, labels[shares.argmax(1)], labels=labels),
        classification.reliability: curves.reliability_table(target, shares, labels=labels),
        classification.roc: curves.roc_table(target, shares, labels=labels),
        classification.precision_recall: curves.precision_recall_table(target, shares, labels=labels),
    }


def with_calibration(labels):
    """A reliability table with numbers as wide as they come, and a class without."""
    table = of_classes(labels, 3000)[classification.reliability]
    known = table["class"] != labels[-1]
    for name in ("in_the_large", "slope"):
        for end, value in ENDS.items():
            table[f"{name}{end}"] = np.where(known, value, np.nan)
    return table


def of_contributions(n, *, scale=1.0):
    rng = np.random.default_rng(2)
    features = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n).astype(float),
            "hospital": pd.Series(rng.choice(TWENTY, n), dtype="str"),
            "a_rather_long_name_of_a_column_that_someone_added": pd.Series(rng.choice(LONG, n), dtype="str"),
            **{f"column_{i}": rng.normal(size=n) for i in range(25)},
        },
        index=np.arange(n) * 3 + 1,
    )
    features.iloc[::4, 0] = np.nan
    values = pd.DataFrame(rng.normal(size=features.shape), features.index, features.columns)
    values *= scale / np.arange(1, 29)
    mean = values.abs().mean().to_numpy()
    ranking = pd.DataFrame({"column": features.columns, "importance": mean, "low": 0.9 * mean, "high": 1.1 * mean})
    rows = contributions.typical_rows(values, 15.5)
    return {
        explanations.beeswarm: contributions.swarm_table(values, features),
        explanations.importance: ranking,
        explanations.dependence: contributions.dependence_table(values, features),
        explanations.waterfall: contributions.waterfall_table(values, features, 15.5, rows=rows),
    }


def of_scores(rows):
    table = pd.DataFrame(rows, columns=["score", "value", "low", "high", "baseline", "unit"])
    return {scores_against_baseline: table}


def of_intervals(names, *, unit="days", scale=1.0, by="prediction"):
    n = len(names)
    rng = np.random.default_rng(3)
    held, size, codes = (rng.random(100 * n) < 0.9).astype(float), scale * rng.uniform(10, 30, 100 * n), np.arange(n)
    checked = conformal.Checked(held, size, (0.9, 25 * scale), level=0.9, unit=unit)
    slices = conformal.Slices(f"{by} ({unit})", np.repeat(codes, 100), names, [500] * n)
    return {intervals: conformal.table(checked, slices, calibrated=500)}


GOOD_SCORES = [("mae", 12_275, 12_150, 12_410, 12_271, "US$"), ("r2", 0.2, 0.19, 0.21, 0.0, "")]
ODD_SCORES = [
    ("roc_auc", np.nan, np.nan, np.nan, 0.5, np.nan),
    (
        "a_score_of_someone_with_a_very_long_name_indeed",
        3.0,
        2.0,
        5.0,
        np.nan,
        "a unit that is far too long to be shown",
    ),
    ("mae", 0.0, 0.0, 0.0, 0.0, "days"),
    ("accuracy", 0.3, np.nan, np.nan, 0.3, "share"),
]
CASES = {
    "regression": of_regression(3000),
    "regression without signal": of_regression(3000, spread=0.02),
    "regression in money": of_regression(3000, target_of=lambda y: 1234.5 * y),
    "regression of a constant": of_regression(500, spread=0),
    "regression of 5 rows": of_regression(5),
    "regression of 1 row": of_regression(1),
    "3 classes": of_classes(THREE, 3000),
    "3 classes with their calibration": {classification.reliability: with_calibration(THREE)},
    "2 classes of 5 rows": of_classes(["no", "yes"], 5),
    "3 classes of 5 rows, one absent": of_classes(THREE, 5, absent=["Abnormal"]),
    "1 class": of_classes(["only"], 50),
    "6 long classes": of_classes(LONG[:6], 1500),
    "12 long classes, one absent": of_classes(LONG, 1500, absent=LONG[3:4]),
    "20 long classes": of_classes(TWENTY, 1500),
    "classes with odd names": of_classes(["_hidden", r"$\no$", "", "日本語"], 200),
    "contributions": of_contributions(1500),
    "contributions in money": of_contributions(300, scale=12345),
    "contributions of 5 rows": of_contributions(5),
    "contributions of 1 row": of_contributions(1),
    "no contributions": of_contributions(30, scale=0),
    "intervals": of_intervals(["under 11.7", "11.7 to 13", "13 to 15", "from 15"]),
    "intervals in money": of_intervals(["under 19,900", "19,900 to 22,000", "from 22,000"], unit="US$", scale=1234.5),
    "sets of long labels": of_intervals(LONG, unit="labels", scale=0.1, by="a_role_whose_name_is_rather_long"),
    "intervals of 40 levels": of_intervals([f"{i}: {name}" for i, name in enumerate([*TWENTY, *TWENTY])]),
    "intervals without slices": of_intervals(["only"]) | {intervals: of_intervals(["only"])[intervals].iloc[:1]},
    "intervals of no width": of_intervals(["under 2", "from 2"], scale=0.0),
    "scores": of_scores(GOOD_SCORES),
    "odd scores": of_scores(ODD_SCORES),
}
CHARTS = [
    pytest.param(draw, table, id=f"{draw.__name__}, {case}") for case in CASES for draw, table in CASES[case].items()
]


def drawn(draw, table, **words) -> Figure:
    unit = {} if draw.__module__.endswith(("classification", "intervals")) else {"unit": words.pop("unit", "days")}
    if draw is scores_against_baseline:
        unit = {"higher_is_better": HIGHER}
    return draw(table, **{**WORDS, **words}, **unit)


def texts(figure):
    """The texts that must not cover one another: title, legend, names, ticks, caption."""
    found = list(figure.texts)
    for ax in figure.axes:
        for one in [ax, *ax.child_axes] if ax.get_visible() else []:
            found += [one.title, one._left_title, one.xaxis.label, one.yaxis.label, *ticks(one)]
            found += one.get_legend().get_texts() if one.get_legend() else []
    for legend in figure.legends:
        found += legend.get_texts()
    return [text for text in found if text.get_visible() and text.get_text()]


def ticks(ax):
    for axis, (low, high) in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
        for tick in axis.get_major_ticks():
            if tick.label1.get_visible() and low <= tick.get_loc() <= high:
                yield tick.label1


@pytest.mark.parametrize(("draw", "table"), CHARTS)
def test_a_chart_draws_and_no_text_covers_another_or_leaves_the_picture(draw, table):
    figure = drawn(draw, table)
    with house_style():
        figure.draw_without_rendering()
        places = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    width, height = figure.bbox.size
    for (one, a), (other, b) in combinations(places, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1, (one, other)
    for text, place in places:
        assert place.x0 > -1, text
        assert place.y0 > -1, text
        assert place.x1 < width + 1, text
        assert place.y1 < height + 1, text


@pytest.mark.parametrize("case", ["regression", "3 classes", "contributions", "intervals", "scores"])
def test_title_and_caption_stand_as_given(case):
    for draw, table in CASES[case].items():
        figure = drawn(draw, table)
        assert figure.get_suptitle().replace("\n", " ") == WORDS["title"]
        foot = next(text for text in figure.texts if text.get_gid() == "caption")
        assert foot.get_text().replace("\n", " ") == WORDS["caption"]
        assert foot.get_text().startswith("n = 11,100 admissions. ")


@pytest.mark.parametrize("case", ["regression", "contributions"])
def test_axes_carry_the_unit(case):
    for draw, table in CASES[case].items():
        names = [text.get_text() for text in texts(drawn(draw, table, unit="US$"))]
        assert any(name.endswith("(US$)") for name in names), draw.__name__
    names = [
        text.get_text()
        for text in texts(drawn(scores_against_baseline, of_scores(GOOD_SCORES)[scores_against_baseline]))
    ]
    assert "mean absolute error\n(US$)" in names


@pytest.mark.parametrize("case", ["regression", "3 classes", "contributions", "scores"])
def test_picture_and_table_are_written_side_by_side(case, tmp_path):
    for draw, table in CASES[case].items():
        stem = tmp_path / "charts" / f"{draw.__name__}.class.A"
        picture, data = save(drawn(draw, table), table, stem)
        assert sorted(path.name for path in stem.parent.glob(f"{stem.name}*")) == [data.name, picture.name]
        with Image.open(picture) as image:
            assert image.size[0] >= 800
            assert np.asarray(image.convert("L")).std() > 5
        found = pd.read_csv(data, keep_default_na=False, na_values=[""])
        expected = pd.read_csv(pd.io.common.StringIO(table.to_csv(index=False)), keep_default_na=False, na_values=[""])
        pd.testing.assert_frame_equal(found, expected)
        for name in table.select_dtypes("float"):
            np.testing.assert_array_equal(found[name].to_numpy(float), table[name].to_numpy(float))


def test_saving_leaves_no_half_written_file(tmp_path):
    class Broken(pd.DataFrame):
        def to_csv(self, *_, **__):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        save(drawn(*next(iter(CASES["scores"].items()))), Broken(), tmp_path / "chart")
    assert not [path for path in tmp_path.iterdir() if path.suffix in {".png", ".csv"}]


def test_a_chart_leaves_the_settings_of_matplotlib_alone():
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 33}):
        before = dict(mpl.rcParams)
        figure = drawn(*next(iter(CASES["scores"].items())))
        assert dict(mpl.rcParams) == before
    assert figure.axes[0].xaxis.get_ticklabels()[0].get_fontsize() < 12
    assert figure.axes[0].get_facecolor() == mpl.colors.to_rgba("white")


def test_charts_compute_nothing_random():
    draw, table = next(iter(CASES["contributions"].items()))
    first, second = (np.asarray(figure.canvas.buffer_rgba()) for figure in (painted(draw, table), painted(draw, table)))
    np.testing.assert_array_equal(first, second)


def painted(draw, table):
    figure = drawn(draw, table)
    figure.canvas.draw()
    return figure


def test_coverage_stands_against_its_level_and_size_against_knowing_nothing():
    found = CASES["intervals"][intervals]
    left, right = drawn(intervals, found).axes
    assert left.lines[0].get_xdata()[0] == 90
    assert right.lines[0].get_xdata()[0] == 25
    np.testing.assert_allclose(left.lines[1].get_xdata(), 100 * found["coverage"])
    np.testing.assert_allclose(right.lines[1].get_xdata(), found["size"])
    band = left.collections[0].get_segments()
    np.testing.assert_allclose([segment[:, 0] for segment in band], 100 * found[["low", "high"]])
    assert right.get_xlim()[0] == 0
    assert [text.get_text() for text in left.get_yticklabels()][:2] == ["all, n = 400", "under 11.7, n = 100"]
    assert (left.get_ylabel(), left.get_xlabel()) == ("Prediction (days)", "Coverage (% of groups)")
    assert right.get_xlabel() == "Mean width (days)"
    assert drawn(intervals, CASES["sets of long labels"][intervals]).axes[1].get_xlabel() == "Mean size (labels)"


def test_better_is_right_for_every_score():
    table = of_scores([("mae", 5.0, 4.9, 5.1, 6.0, "days"), ("accuracy", 0.5, 0.4, 0.6, 0.3, "share")])
    figure = drawn(*next(iter(table.items())))
    for ax, value, baseline in zip(figure.axes, (5.0, 0.5), (6.0, 0.3), strict=True):
        assert ax.transData.transform((value, 0))[0] > ax.transData.transform((baseline, 0))[0]
        np.testing.assert_allclose(np.mean(ax.get_xlim()), baseline)


def test_a_score_at_the_baseline_does_not_look_far_from_it():
    table = of_scores([("log_loss", 1.0993, 1.0975, 1.1010, 1.0986, "nats")])
    ax = drawn(*next(iter(table.items()))).axes[0]
    left, right = ax.get_xlim()
    assert abs(1.0993 - 1.0986) / abs(right - left) < 0.01


def test_the_confusion_matrix_shows_shares_and_counts():
    table = curves.confusion_table(list("aaab"), list("aabb"), labels=["a", "b", "c"])
    ax = drawn(classification.confusion, table).axes[0]
    assert [text.get_text() for text in ax.texts][:6] == [
        "67 %\n2",
        "33 %\n1",
        "0 %\n0",
        "0 %\n0",
        "100 %\n1",
        "0 %\n0",
    ]
    assert [text.get_text() for text in ax.texts][6:] == ["", "", ""]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a\nn = 3", "b\nn = 1", "c\nn = 0"]


def test_curves_stand_against_the_line_of_chance():
    cases = CASES["3 classes"]
    lines = drawn(classification.roc, cases[classification.roc]).axes[0].lines
    assert any(line.get_xydata().tolist() == [[0, 0], [1, 1]] for line in lines)
    ax = lines[0].axes
    assert ax.get_legend().get_window_extent().x0 > ax.bbox.x1
    table = cases[classification.precision_recall]
    lines = drawn(classification.precision_recall, table).axes[0].lines
    for chance in table["chance"].unique():
        assert any(line.get_ydata()[0] == line.get_ydata()[-1] == chance for line in lines)


def test_a_class_whose_name_begins_with_an_underscore_stands_in_the_legend():
    figure = drawn(classification.roc, CASES["classes with odd names"][classification.roc])
    names = [text.get_text().split("\n")[0].strip() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["_hidden", r"$\no$", "(empty)", "日本語", "chance"]


def test_series_and_scales_survive_a_grey_printer():
    def grey(colors):
        return mpl.colors.to_rgba_array(colors)[:, :3] @ [0.299, 0.587, 0.114]

    assert len({line for _, line, _ in SERIES}) == len({marker for _, _, marker in SERIES}) == len(SERIES)
    lightness = np.sort(grey([color for color, _, _ in SERIES]))
    assert np.diff(lightness).min() > 0.05
    for scale in (COUNTS, LOW_TO_HIGH):
        assert (np.diff(grey(scale(np.linspace(0, 1, 20)))) < 0).all()


def test_swarm_shows_the_largest_columns_and_shades_numbers_only():
    features = pd.DataFrame(
        {"age": [30.0, np.nan, 70.0], "payer": ["A", "B", None], "room": [1, 2, 3]}, index=[4, 5, 9]
    )
    values = pd.DataFrame({"age": [0.1, 0.2, -0.3], "payer": [1.0, -2, 0], "room": 0.0}, index=[4, 5, 9])
    table = contributions.swarm_table(values, features, columns=2)
    assert table["column"].tolist() == ["payer"] * 3 + ["age"] * 3
    assert table["row"].tolist() == [4, 5, 9] * 2
    assert table["value"].tolist() == ["A", "B", "missing", "30", "missing", "70"]
    np.testing.assert_array_equal(table["shade"], [np.nan] * 3 + [0, np.nan, 1])


def test_dependence_pools_rare_levels():
    features = pd.DataFrame({"hospital": list("aaabbcd"), "age": np.arange(7)})
    values = pd.DataFrame({"hospital": np.arange(7.0), "age": 0.5})
    table = contributions.dependence_table(values, features, levels=3)
    levels = table[table["kind"] == "level"].set_index("level")
    assert levels["n"].to_dict() == {"a": 3, "b": 2, "2 other levels": 2}
    assert levels["q50"].to_dict() == {"a": 1.0, "b": 3.5, "2 other levels": 5.5}
    points = table[table["kind"] == "point"]
    assert points["number"].tolist() == list(range(7))
    assert points["contribution"].eq(0.5).all()


def test_waterfall_leads_from_the_base_value_to_the_prediction():
    features = pd.DataFrame({name: [1.0] for name in "abcd"}, index=[7])
    values = pd.DataFrame({"a": [0.5], "b": [-2.0], "c": [0.25], "d": [-0.125]}, index=[7])
    table = contributions.waterfall_table(values, features, 10.0, rows={"Only": 7}, columns=2)
    assert table["column"].tolist() == ["b", "a", "2 other columns"]
    assert table["contribution"].tolist() == [-2.0, 0.5, 0.125]
    assert table[["low", "high"]].to_numpy().tolist() == [[8.0, 10.0], [8.0, 8.5], [8.5, 8.625]]
    assert table["prediction"].tolist() == [8.625] * 3
    assert table["value"].tolist() == ["1", "1", ""]


@pytest.mark.parametrize(("n", "names"), [(1, ["Middle"]), (2, ["Middle", "High"]), (100, ["Low", "Middle", "High"])])
def test_typical_rows_are_low_middle_and_high_and_never_twice_the_same(n, names):
    values = pd.DataFrame({"a": np.arange(n)[::-1] * 1.0}, index=np.arange(n) + 50)
    rows = contributions.typical_rows(values, 3.0)
    assert list(rows) == names
    assert values.loc[list(rows.values()), "a"].is_monotonic_increasing


def test_names_are_wrapped_and_end_in_an_ellipsis():
    assert wrapped("short") == "short"
    assert wrapped("Smith, Jones and Sons General Hospital", 16) == "Smith, Jones and\nSons General…"
    assert wrapped("x" * 50, 10, 2) == f"{'x' * 10}\n{'x' * 9}…"
    assert [wrapped(name) for name in ("", None, np.nan, 3)] == ["(empty)", "missing", "missing", "3"]
    for name in [*LONG, *TWENTY]:
        assert all(len(line) <= 14 for line in wrapped(name, 14, 2).split("\n"))


def test_numbers_keep_what_matters():
    assert [number(x) for x in (0, -0.0, 1234.5, -0.04567, 99.96)] == ["0", "0", "1,234", "−0.0457", "100"]


def test_a_long_title_makes_the_figure_taller_and_not_the_chart_smaller():
    short, long = (new_figure(title, "n = 5 admissions.", height=3) for title in ("Short.", "Long title. " * 30))
    assert long.get_figheight() > short.get_figheight() + 0.5
    panel = [(one.subplotpars.top - one.subplotpars.bottom) * one.get_figheight() for one in (short, long)]
    assert panel == pytest.approx([3, 3])


def test_a_reliability_chart_names_the_calibration_of_each_class():
    table = with_calibration(THREE)
    titles = [ax.get_title(loc="left") for ax in drawn(classification.reliability, table).axes]
    assert titles[0] == "Normal\nin the large −1.25\n(−10.25 to 10.25)\nslope −1.25\n(−10.25 to 10.25)"
    assert titles[2] == "Inconclusive\nin the large\nnot estimable\nslope\nnot estimable"
