"""Every chart draws its table: on good, tiny and odd input, with its words and units, and nothing on top of another."""

import inspect
import pkgutil
import re
from importlib import import_module

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hi_ml.app.text import short
from hi_ml.evaluation import explanations as contributions
from hi_ml.evaluation.coverage import Checked, Slices, slice_table
from hi_ml.reports import charts
from hi_ml.reports.charts import explanations, first_look, forests, heat_maps, means, predictions, scores, tuning
from hi_ml.reports.charts.layout import new_figure
from hi_ml.reports.charts.style import COUNTS, LOW_TO_HIGH, SERIES, wrap
from hi_ml.reports.drawing import caption, save
from hi_ml.reports.findings_charts import KINDS
from hi_ml.statistics import curves
from hi_ml.statistics.disclosure import Disclosure
from hi_ml.statistics.groups import Units

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
OPTIONS = {
    "unit": "days", "score": "mae", "higher_is_better": {"accuracy", "r2", "roc_auc"}, "best": "The best", "zone": 0.1,
    "marks": ["decides", "shown beside it", "exploratory"], "group": "drug", "measure": ("Mean stay", "days"),
}  # fmt: skip


def of_regression(n, *, spread=6.0, target_of=np.round):
    rng = np.random.default_rng(0)
    prediction = 15 + spread * rng.normal(size=n)
    target = target_of(prediction + rng.normal(0, 4, n))
    return {
        predictions.predicted_observed: curves.predicted_observed_table(target, prediction),
        predictions.residuals: curves.residual_table(target, prediction),
    }


def of_classes(labels, n, *, absent=()):
    rng = np.random.default_rng(1)
    labels = np.array(labels, dtype=object)
    shares = rng.dirichlet(np.ones(labels.size), n)
    seen = [i for i in range(labels.size) if labels[i] not in absent]
    target = labels[rng.choice(seen, n)]
    return {
        heat_maps.confusion: curves.confusion_table(target, labels[shares.argmax(1)], labels=labels),
        predictions.reliability: curves.reliability_table(target, shares, labels=labels),
        predictions.roc: curves.roc_table(target, shares, labels=labels),
        predictions.precision_recall: curves.precision_recall_table(target, shares, labels=labels),
        predictions.net_benefit: decisions(labels),
    }


def decisions(labels):
    """Decision curves of some classes; of the last no interval is known."""
    table = pd.DataFrame([(label, t) for label in labels for t in (0.1, 0.3, 0.6)], columns=["class", "threshold"])
    worth = 20 - 40 * table["threshold"]
    ends = [(worth + move).where(table["class"] != labels[-1]) for move in (-3, 3)]
    return table.assign(value=worth.clip(lower=0.5), low=ends[0], high=ends[1], all=2 * worth)


def with_calibration(labels):
    """A reliability table with numbers as wide as they come, and a class without."""
    table = of_classes(labels, 3000)[predictions.reliability]
    defined = table["class"] != labels[-1]
    for name in ("in_the_large", "slope"):
        for end, value in ENDS.items():
            table[f"{name}{end}"] = np.where(defined, value, np.nan)
    return {predictions.reliability: table}


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
    rule = Disclosure(np.arange(n), 1)
    rows = contributions.typical_rows(values, 15.5, rule)
    seen = pd.DataFrame({"observed": 15.5 + scale * rng.normal(size=n), "reach_low": 10.0, "reach_high": 20.0})
    return {
        explanations.beeswarm: contributions.swarm_table(values, features, rule),
        explanations.importance: ranking,
        explanations.dependence: contributions.dependence_table(values, features, rule),
        explanations.waterfall: contributions.waterfall_table(values, features, 15.5, rule, rows=rows, seen=seen),
    }


def of_scores(rows):
    table = pd.DataFrame(rows, columns=["score", "value", "low", "high", "baseline", "unit"])
    return {scores.scores_against_baseline: table.assign(name=table["score"])}


def of_leaks(gap, low, high):
    rows = [
        ("Near-copies in training and test", gap, low, high),
        ("Copies, for a model that memorises", 0.75, np.nan, np.nan),
    ]
    return {scores.leak: pd.DataFrame(rows, columns=["source", "gap", "low", "high"])}


def of_intervals(names, *, unit="days", scale=1.0, by="prediction"):
    n = len(names)
    rng = np.random.default_rng(3)
    covered, size, codes = rng.random(100 * n) < 0.9, scale * rng.uniform(10, 30, 100 * n), np.arange(n)
    checked = Checked(covered, size, Units.of(np.arange(100 * n)), 0.9, 25 * scale, level=0.9, unit=unit)
    slices = Slices(f"{by} ({unit})", np.repeat(codes, 100), names, [500] * n)
    return {scores.intervals: slice_table(checked, slices, behind=500)}


def of_differences(names, *, smallest=0.1, better="less"):
    middle = np.linspace(0.0, 0.4, len(names))
    table = pd.DataFrame({"run": names, "difference": middle, "low": middle - 0.1, "high": middle + 0.1})
    table.iloc[0, 1:] = 0.0
    table = table.assign(p_holm=np.where(middle > 0.1, 0.001, 1.0), score="mae", unit="days", smallest=smallest)
    return {scores.differences_from_best: table.assign(better=better)}


def of_estimates(names, *, unit="days", smallest=0.5, **columns):
    middle = np.linspace(-1.0, 1.0, len(names)) if unit == "days" else np.linspace(0.0, 0.2, len(names))
    table = pd.DataFrame({"label": names, "unit": unit, "estimate": middle, "low": middle - 0.3, "high": middle + 0.3})
    return table.assign(n=1_234, smallest_effect=smallest, mark=OPTIONS["marks"][0]).assign(**columns)


def of_transport(labels, *, unit="log-odds"):
    lines = [
        (stage, measure, label, unit if measure == "intercept" else "", home)
        for stage in ("as it is", "after an intercept", "after a slope")
        for measure, home in (("skill", 0.2), ("intercept", 0.0), ("slope", 1.0))
        for label in (labels if measure != "skill" else [""])
    ]
    table = pd.DataFrame(lines, columns=["stage", "measure", "class", "unit", "home"])
    value = table["home"] - 0.1
    return {forests.transported: table.assign(value=value, low=value - 0.2, high=value + 0.2, margin=0.05)}


def of_places(names, *, summary=True):
    value = np.linspace(0.0, 0.2, len(names) + summary)
    table = pd.DataFrame({"level": [*names, *["random effects"] * summary], "value": value, "n": 1_234})
    table = table.assign(low=value - 0.05, high=value + 0.05, next_low=np.nan, next_high=np.nan)
    if summary:
        table.loc[len(names), ["next_low", "next_high"]] = [-0.1, 0.3]
    return {forests.left_out: table}


def of_groups(names, **columns):
    mean = np.linspace(10.0, 20.0, len(names))
    table = pd.DataFrame({"drug": names, "mean": mean, "low": mean - 1, "high": mean + 1, "n": 100})
    return {means.means: table.assign(**columns)}


def of_hospitals(names):
    effect = np.linspace(-3_000.0, 3_000.0, len(names))
    table = pd.DataFrame({"hospital": names, "n": 50, "effect": effect, "low": effect - 500, "high": effect + 500})
    return {means.hospital_bills: table.assign(mean=25_000 + 2 * effect, centre=25_000.0)}


def of_trials(states, loss=5.0):
    number = np.arange(len(states))
    loss = np.where([state == "failed" for state in states], np.nan, loss - 0.1 * number)
    table = pd.DataFrame({"number": number, "state": states, "loss": loss, "low": loss - 0.2, "high": loss + 0.2})
    return {tuning.history: table.assign(best=table["loss"].cummin().ffill(), defaults=5.0)}


def of_sizes(rows):
    table = pd.DataFrame({"rows": rows, "value": 5.0, "low": 4.8, "high": 5.2, "baseline": 6.0, "unit": "days"})
    return {tuning.learning_curve: table}


def of_a_table(columns):
    months = [f"20{20 + i // 12}-{i % 12 + 1:02}" for i in range(60 if columns else 1)]
    rows = [("admissions a month", month, 1_234, 0.01) for month in months]
    rows += [("age in years", f"{decade} to {decade + 9}", 12_345, 0.1) for decade in range(0, 100, 10)]
    rows += [("missing values", name, 7 * i, 0.03 * i) for i, name in enumerate(columns)]
    return {first_look.first_look: pd.DataFrame(rows, columns=["part", "label", "n", "share"])}


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
    "3 classes with their calibration": with_calibration(THREE),
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
    "intervals without slices": {scores.intervals: of_intervals(["only"])[scores.intervals].iloc[:1]},
    "intervals of no width": of_intervals(["under 2", "from 2"], scale=0.0),
    "scores": of_scores(GOOD_SCORES),
    "odd scores": of_scores(ODD_SCORES),
    "leak": of_leaks(0.013, -0.022, 0.048),
    "no leak": of_leaks(0.0, 0.0, 0.0),
    "differences": of_differences(["a", "b", "c"]),
    "differences of 30 long names": of_differences([f"{name} {i}" for i, name in enumerate([*TWENTY, *LONG])]),
    "one difference, none would matter": of_differences(["a"], smallest=np.nan, better="more"),
    "estimates": {forests.forest: of_estimates(["a", "b", "c"])},
    "estimates of two units": {
        forests.forest: pd.concat([of_estimates(TWENTY[:3]), of_estimates(["w"], unit="Cohen's w", smallest=0.05)])
    },
    "estimates without intervals": {forests.forest: of_estimates(["a", "b"], low=np.nan, high=np.nan)},
    "30 estimates": {forests.forest: of_estimates([*TWENTY, *LONG], mark=OPTIONS["marks"][2], discovery=True)},
    "another hospital": of_transport([""], unit="US$"),
    "another hospital, 6 long classes": of_transport(LONG[:6]),
    "places left out": of_places(["a", "b", "c"]),
    "32 long places left out": of_places([*TWENTY, *LONG]),
    "two places left out": of_places(["a", "b"], summary=False),
    "means": of_groups(["a", "b"]),
    "means of 32 long names": of_groups([*TWENTY, *LONG]),
    "a negative mean, and none": of_groups(["a", "b"], mean=[-2.0, np.nan], low=-3.0, high=-1.0),
    "hospitals": of_hospitals(["a", "b", "c"]),
    "48 long hospitals": of_hospitals([*TWENTY, *TWENTY, *LONG[:8]]),
    "trials": of_trials(["complete", "pruned", "failed", "complete"]),
    "one trial": of_trials(["complete"]),
    "all but the first trial pruned": of_trials(["complete", *["pruned"] * 39]),
    "trials without loss": {
        tuning.history: of_trials(["complete"])[tuning.history].assign(loss=0.0, low=0.0, high=0.0)
    },
    "a first look": of_a_table(["age", *LONG]),
    "a first look at a table of one month": of_a_table([]),
    "training rows": of_sizes([100, 1000, 10_000]),
}
CHARTS = [
    pytest.param(draw, table, id=f"{draw.__name__}, {case}") for case in CASES for draw, table in CASES[case].items()
]
ONE_EACH = {draw: case for case in reversed(CASES) for draw in CASES[case]}


def figure_of(draw, table, **words) -> Figure:
    options = {name: OPTIONS[name] for name in inspect.signature(draw).parameters if name in OPTIONS}
    return draw(table, **{**WORDS, **options, **words})


def test_every_chart_is_tested():
    """A chart that is added needs a case here, or a claim that is drawn by it."""
    modules = [import_module(f"hi_ml.reports.charts.{module.name}") for module in pkgutil.iter_modules(charts.__path__)]
    every = {value for module in modules for value in vars(module).values() if hasattr(value, "__wrapped__")}
    every = {draw for draw in every if "title" in inspect.signature(draw).parameters}
    assert every == ONE_EACH.keys() | set(KINDS.values())


@pytest.mark.parametrize("draw", ONE_EACH)
def test_the_columns_that_a_chart_documents_are_those_of_its_table(draw):
    tables = [CASES[case][draw] for case in CASES if draw in CASES[case]]
    entry = inspect.getdoc(draw).partition("table : DataFrame\n")[2]
    words = re.split(r"\n(?=\w)", entry)[0]
    documented = {name for names in re.findall(r"`([a-z_, ]+)`", words) for name in names.split(", ")}
    columns = {column for table in tables for column in table}
    layers = {layer for table in tables if "layer" in table for layer in table["layer"]}
    ends = {"_low", "_high"}  # of the name of a column
    assert documented <= columns | layers | ends | set(inspect.signature(draw).parameters)


@pytest.mark.parametrize(("draw", "table"), CHARTS)
def test_a_chart_says_its_words_and_no_text_covers_another_or_leaves_the_picture(draw, table, legible):
    figure = figure_of(draw, table)
    legible(figure)
    assert figure.get_suptitle().replace("\n", " ") == WORDS["title"]
    assert foot(figure).startswith(WORDS["caption"])


@pytest.mark.parametrize("draw", [draw for draw in ONE_EACH if "unit" in inspect.signature(draw).parameters])
def test_axes_carry_the_unit(draw, texts):
    names = [text.get_text() for text in texts(figure_of(draw, CASES[ONE_EACH[draw]][draw], unit="US$"))]
    assert any(name.endswith("(US$)") for name in names)


@pytest.mark.parametrize("draw", ONE_EACH)
def test_picture_and_table_are_written_side_by_side(draw, tmp_path):
    table, stem = CASES[ONE_EACH[draw]][draw], tmp_path / "charts" / "a.name.with.dots"
    picture, data = save(figure_of(draw, table), table, stem)
    assert sorted(path.name for path in stem.parent.iterdir()) == [data.name, picture.name]
    with Image.open(picture) as image:
        assert image.size[0] >= 800
        assert np.asarray(image.convert("L")).std() > 5
    written = pd.read_csv(data, keep_default_na=False, na_values=[""])
    assert written.columns.tolist() == table.columns.tolist()
    for name in table.select_dtypes("float"):
        np.testing.assert_array_equal(written[name].to_numpy(float), table[name].to_numpy(float))


def first(case):
    return next(iter(CASES[case].items()))


def foot(figure):
    return next(text.get_text() for text in figure.texts if text.get_gid() == "caption").replace("\n", " ")


def labels(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def test_saving_leaves_no_half_written_file(tmp_path):
    class Broken(pd.DataFrame):
        def to_csv(self, *_, **__):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        save(figure_of(*first("scores")), Broken(), tmp_path / "chart")
    assert not [path for path in tmp_path.iterdir() if path.suffix in {".png", ".csv"}]


def test_a_chart_leaves_the_settings_of_matplotlib_alone():
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 33}):
        before = dict(mpl.rcParams)
        figure = figure_of(*first("scores"))
        assert dict(mpl.rcParams) == before
    assert figure.axes[0].xaxis.get_ticklabels()[0].get_fontsize() < 12
    assert figure.axes[0].get_facecolor() == mpl.colors.to_rgba("white")


def test_charts_compute_nothing_random():
    one, other = (figure_of(*first("contributions")).canvas for _ in range(2))
    for canvas in (one, other):
        canvas.draw()
    np.testing.assert_array_equal(np.asarray(one.buffer_rgba()), np.asarray(other.buffer_rgba()))


def test_coverage_stands_against_its_level_and_size_against_knowing_nothing():
    table = CASES["intervals"][scores.intervals]
    left, right = figure_of(scores.intervals, table).axes
    assert [left.lines[0].get_xdata()[0], right.lines[0].get_xdata()[0]] == [90, 25]
    np.testing.assert_allclose(left.lines[1].get_xdata(), 100 * table["coverage"])
    np.testing.assert_allclose(right.lines[1].get_xdata(), table["size"])
    np.testing.assert_allclose([(bar.get_x(), bar.get_x() + bar.get_width()) for bar in left.patches],
                               100 * table[["low", "high"]])  # fmt: skip
    assert right.get_xlim()[0] == 0
    assert labels(left)[:2] == ["all, n = 400", "under 11.7, n = 100"]
    assert (left.get_ylabel(), left.get_xlabel()) == ("Prediction (days)", "Coverage (% of admissions)")
    assert right.get_xlabel() == "Mean width (days)"
    assert figure_of(*first("sets of long labels")).axes[1].get_xlabel() == "Mean size (labels)"


def test_few_slices_of_coverage_say_themselves_of_what_they_are():
    table = CASES["intervals"][scores.intervals].tail(2).assign(by="predicted_label", slice="Abnormal")
    left, _ = figure_of(scores.intervals, table).axes
    assert labels(left)[0].startswith("predicted label Abnormal, n = ")
    assert left.get_ylabel() == ""


def test_better_is_right_for_every_score():
    table = of_scores([("mae", 5.0, 4.9, 5.1, 6.0, "days"), ("accuracy", 0.5, 0.4, 0.6, 0.3, "share")])
    figure = figure_of(*next(iter(table.items())))
    for ax, value, baseline in zip(figure.axes, (5.0, 0.5), (6.0, 0.3), strict=True):
        assert ax.transData.transform((value, 0))[0] > ax.transData.transform((baseline, 0))[0]
        np.testing.assert_allclose(np.mean(ax.get_xlim()), baseline)


def test_what_was_found_stands_below_the_title_in_smaller_letters(legible):
    figure = figure_of(*first("scores"), title="How good is it?\nIt removes a tenth of the error: signal.")
    legible(figure)
    (subtitle,) = [text for text in figure.texts if text.get_text() == "It removes a tenth of the error: signal."]
    assert figure.get_suptitle() == "How good is it?"
    assert subtitle.get_fontsize() < 10


def test_no_axis_of_a_score_goes_where_it_cannot_be():
    table = of_scores([("macro_f1", 0.6, 0.5, 0.7, 0.17, "share"), ("r2", 0.2, 0.1, 0.3, 0.0, "share")])
    share, explained = figure_of(*next(iter(table.items())), higher_is_better={"macro_f1", "r2"}).axes
    assert share.get_xlim()[0] < 0  # so that the baselines stand below one another
    assert share.get_xticks().min() >= 0
    assert share.spines["bottom"].get_bounds()[0] == 0
    assert explained.get_xticks().min() < 0  # worse than the mean


def test_a_score_at_the_baseline_does_not_look_far_from_it():
    table = of_scores([("log_loss", 1.0993, 1.0975, 1.1010, 1.0986, "nats")])
    ax = figure_of(*next(iter(table.items()))).axes[0]
    left, right = ax.get_xlim()
    assert abs(1.0993 - 1.0986) / abs(right - left) < 0.01


def test_the_confusion_matrix_shows_shares_and_counts():
    table = curves.confusion_table(list("aaab"), list("aabb"), labels=["a", "b", "c"])
    ax = figure_of(heat_maps.confusion, table).axes[0]
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
    lines = figure_of(predictions.roc, cases[predictions.roc]).axes[0].lines
    assert any(line.get_xydata().tolist() == [[0, 0], [1, 1]] for line in lines)
    ax = lines[0].axes
    assert ax.get_legend().get_window_extent().x0 > ax.bbox.x1
    table = cases[predictions.precision_recall]
    lines = figure_of(predictions.precision_recall, table).axes[0].lines
    for chance in table["chance"].unique():
        assert any(line.get_ydata()[0] == line.get_ydata()[-1] == chance for line in lines)


def test_a_class_whose_name_begins_with_an_underscore_stands_in_the_legend():
    figure = figure_of(predictions.roc, CASES["classes with odd names"][predictions.roc])
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


@pytest.mark.parametrize(("better", "smallest"), [("less", 0.1), ("more", np.nan)])
def test_differences_say_which_side_is_better_and_mark_what_differs(better, smallest):
    table = of_differences(["a", "b"], smallest=smallest, better=better)
    (ax,) = figure_of(*next(iter(table.items()))).axes
    assert ax.get_xlabel().endswith(f"(days); {'left' if better == 'less' else 'right'} is better")
    points = {tuple(line.get_ydata()): line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"}
    assert points[0,] == "white"
    assert points[-1,] != "white"
    assert [text.get_text() for text in ax.texts] == ["0 (0 to 0)", "+0.40 (+0.30 to +0.50)"]
    assert len(ax.patches) == (0 if np.isnan(smallest) else 2)


def test_the_zone_of_negligible_effects_is_as_wide_as_the_smallest_effect_and_lies_behind():
    table = CASES["estimates of two units"][forests.forest]
    days, cohen = figure_of(forests.forest, table).axes
    ends = {ax: {(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches} for ax in (days, cohen)}
    assert ends == {days: {(-0.5, 0.5)}, cohen: {(0.0, 0.05)}}
    assert {bar.get_zorder() for ax in (days, cohen) for bar in ax.patches} == {0}
    assert days.get_xlim()[0] < -1.3
    assert cohen.get_xlim()[0] < 0  # its interval reaches there


def test_an_estimate_stands_beside_its_name_its_number_and_its_mark():
    table = CASES["30 estimates"][forests.forest]
    figure = figure_of(forests.forest, table)
    (ax,) = figure.axes
    (points,) = [line for line in ax.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(points.get_xdata(), table["estimate"][:24])
    assert ax.texts[0].get_text() == "−1.00 (−1.30 to −0.70)\nn = 1,234"
    assert labels(ax)[0] == "Group 0: Fracture of the lower\nextremity, not otherwise specified *"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["exploratory", "too small to matter"]
    assert foot(figure).endswith("8 further lines are in the table.")


@pytest.mark.parametrize("case", ["means", "hospitals", "contributions"])
def test_bars_start_at_zero(case):
    draw = {"contributions": explanations.importance}.get(case, first(case)[0])
    ax = figure_of(draw, CASES[case][draw]).axes[0]
    assert {bar.get_x() for bar in ax.patches} == {0}
    assert ax.get_xlim()[0] == 0


def test_names_of_many_hospitals_are_cut_to_both_ends():
    (ax,) = figure_of(*first("48 long hospitals")).axes
    assert len(labels(ax)) == 31
    assert labels(ax)[15] == "… 18 hospitals between …"
    assert np.isnan(ax.patches[15].get_width())


def test_names_are_wrapped_and_end_in_an_ellipsis():
    assert wrap("short") == "short"
    assert wrap("Smith, Jones and Sons General Hospital", 16) == "Smith, Jones and\nSons General…"
    assert wrap("x" * 50, 10, 2) == f"{'x' * 10}\n{'x' * 9}…"
    assert [wrap(name) for name in ("", None, np.nan, 3)] == ["(empty)", "missing", "missing", "3"]
    for name in [*LONG, *TWENTY]:
        assert all(len(line) <= 14 for line in wrap(name, 14, 2).split("\n"))


def test_numbers_keep_what_matters():
    assert [short(x) for x in (0, -0.0, 1234.5, -0.04567, 99.96)] == ["0", "0", "1,234", "−0.0457", "100"]


def test_a_long_title_makes_the_figure_taller_and_not_the_chart_smaller():
    short, long = (new_figure(title, "n = 5 admissions.", height=3) for title in ("Short.", "Long title. " * 30))
    assert long.get_figheight() > short.get_figheight() + 0.5
    panel = [(one.subplotpars.top - one.subplotpars.bottom) * one.get_figheight() for one in (short, long)]
    assert panel == pytest.approx([3, 3])


def test_a_reliability_chart_names_the_calibration_of_each_class():
    titles = [ax.get_title(loc="left") for ax in figure_of(*first("3 classes with their calibration")).axes]
    assert titles[0] == "Normal\nin the large −1.25\n(−10.25 to 10.25)\nslope −1.25\n(−10.25 to 10.25)"
    assert titles[2] == "Inconclusive\nin the large\nnot estimable\nslope\nnot estimable"


def test_months_are_named_as_a_calendar_would_and_nothing_is_less_than_zero_by_nothing():
    months = pd.period_range("2019-05", "2024-05", freq="M").astype(str)
    rows = pd.DataFrame({"part": "admissions a month", "label": months, "n": 9, "share": np.nan})
    (ax,) = first_look.first_look(rows, title="t", caption="c").axes
    assert [text.get_text() for text in ax.get_xticklabels()] == [f"{year}-01" for year in range(2020, 2025)]
    assert scores._in_words(0.206, 0.19, 0.22, -0.00004).endswith("baseline 0.000")
