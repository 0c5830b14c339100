import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir

from hi_ml.app import config
from hi_ml.app.errors import PrivateValueFound
from hi_ml.data.simulation import simulate
from hi_ml.prediction import drift
from hi_ml.scorer import serving

ROWS = 500
REGRESSION, CLASSES = "length_of_stay", "test_results"
TASKS = [REGRESSION, CLASSES]
OFTEN = [f"dataset.rows={ROWS}", "explain.rows=40", "tracking=none"]
CHARTS = {
    REGRESSION: ["scores", "predicted_observed", "residuals", "intervals", "subgroups", "first_look"],
    CLASSES: [
        "scores",
        "confusion_matrix",
        "reliability",
        "roc",
        "precision_recall",
        "net_benefit",
        "intervals",
        "subgroups",
        "first_look",
    ],
}
EXPLAINING = ["importance", "beeswarm", "dependence", "waterfall"]
pytestmark = pytest.mark.slow  # whole commands


@pytest.fixture(scope="session")
def run(called):
    """Do what the command does, in this process."""
    return lambda folder, *overrides: called("train", folder, *OFTEN, *overrides)


@pytest.fixture(scope="module")
def outputs(run, tmp_path_factory):
    return run(tmp_path_factory.mktemp("outputs"), f"task=[{','.join(TASKS)}]")


@pytest.fixture(scope="module")
def raw():
    """The table that the runs read, as a file would hold it."""
    return simulate("planted", ROWS, seed=0).table.to_pandas()


def said(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def scores(folder):
    return pd.read_csv(folder / "scores.csv").set_index("score")


def predictions(folder):
    return pd.read_parquet(folder / "predictions.parquet")


def contributions(folder):
    return pd.read_parquet(folder / "explanation" / "shap_values.parquet")


@pytest.mark.parametrize("task", TASKS)
def test_the_run_folder_holds_what_was_promised(outputs, task):
    found = {str(path.relative_to(outputs / task)) for path in (outputs / task).rglob("*") if path.is_file()}
    promised = {
        "config.yaml", "overrides.txt", "run.json", "data.json", "timings.json", "verdict.json", "scores.csv",
        "leakage.json", "first_look.csv", "calibration.csv", "usefulness.csv", "subgroups.csv", "probes.json",
        "predictions.parquet", "rows.parquet", "explanation/shap_values.parquet", "model/MLmodel", "report.html",
        "tripod_ai.json", "split.json",
        "charts/leakage.csv", "charts/leakage.png",
    }  # fmt: skip
    promised |= {f"charts/{name}.{kind}" for name in CHARTS[task] for kind in ("png", "csv")}
    further = [f"{name}_{place}" for name in EXPLAINING[1:] for place in (2, 3)] if task == CLASSES else []
    promised |= {f"explanation/{name}.{kind}" for name in [*EXPLAINING, *further] for kind in ("png", "csv")}
    assert {name for name in found if not name.startswith("model/")} | {"model/MLmodel"} == promised
    assert sorted(path.name for path in outputs.iterdir()) == TASKS


@pytest.mark.parametrize("task", TASKS)
def test_the_files_have_the_promised_keys(outputs, task):
    folder = outputs / task
    assert list(scores(folder).reset_index()) == ["score", "part", "value", "low", "high", "baseline", "unit"]
    verdict = {"verdict", "score", "skill", "low95", "high95", "low90", "high90", "smallest_skill", "n_groups"}
    verdict |= {"reason", "constant", "n_admissions", "design_effect", "others", "headline", "sentence"}
    assert set(said(folder, "verdict")) == verdict
    leakage = {"score", "random_score", "grouped_score", "gap", "low", "high", "twin_share", "predicted_gap"}
    assert leakage <= set(said(folder, "leakage"))
    data = {"sha256", "column_sha256", "rows_read", "rows_rejected", "duplicate_groups", "duplicate_pairs"}
    assert data | {"used", "refused"} <= set(said(folder, "data"))
    assert len(said(folder, "data")["sha256"]) == 64
    assert "private" in said(folder, "data")["refused"]["patient_name"]
    certificate = said(folder, "split")
    assert certificate["split_sha256"] == said(folder, "run")["split_sha256"]
    assert {*certificate["shared"]["patients"].values(), *certificate["shared"]["twins"].values()} == {0}
    assert certificate["shared"]["days"]["train_test"] > 0  # which only a split on the date keeps apart
    assert (certificate["promised_none"], certificate["left_out"]) == (["patients", "twins"], {})
    steps = {"read", "fit", "score", "calibration", "subgroups", "leakage", "explain", "draw", "package"}
    assert steps <= set(said(folder, "timings"))
    assert all(seconds >= 0 for seconds in said(folder, "timings").values())


@pytest.mark.parametrize("task", TASKS)
def test_what_was_asked_can_be_asked_again(outputs, task):
    asked = (outputs / task / "overrides.txt").read_text().splitlines()
    assert asked == [*OFTEN, f"task=[{','.join(TASKS)}]"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        again = config.plain(compose("train", overrides=asked))
    assert yaml.safe_load((outputs / task / "config.yaml").read_text()) == again


def test_the_scores_are_those_of_the_predictions(outputs):
    folder = outputs / REGRESSION
    rows = predictions(folder)
    assert list(rows) == ["row", "group", "twin", "target", "prediction", "low", "high"]
    error = (rows["target"] - rows["prediction"]).abs().groupby(rows["twin"]).mean()
    assert scores(folder).loc["mae", "value"] == pytest.approx(error.mean())
    assert said(folder, "verdict")["n_groups"] == rows["group"].nunique()
    inside = rows["target"].between(rows["low"], rows["high"])
    assert scores(folder).loc["coverage", "value"] == pytest.approx(inside.mean(), abs=0.05)  # of one row per group
    assert scores(folder).loc["width", "value"] == pytest.approx((rows["high"] - rows["low"]).mean(), rel=0.05)
    assert said(folder, "run")["interval"].startswith("90 % intervals cover")
    assert said(folder, "run")["parts"]["test"] == len(rows)


def test_the_class_scores_are_those_of_the_predictions(outputs):
    folder = outputs / CLASSES
    rows = predictions(folder)
    labels = ["Abnormal", "Inconclusive", "Normal"]
    named = [f"p_{label}" for label in labels]
    assert list(rows) == ["row", "group", "twin", "target", "prediction", *named, "prediction_set"]
    shares = rows[named].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [labels[k] for k in shares.argmax(axis=1)] == rows["prediction"].tolist()
    right = (rows["prediction"] == rows["target"]).astype(float).groupby(rows["twin"]).mean()
    assert scores(folder).loc["accuracy", "value"] == pytest.approx(right.mean())
    true = np.array([shares[i, labels.index(label)] for i, label in enumerate(rows["target"])])
    loss = pd.Series(-np.log(true)).groupby(rows["twin"]).mean()
    assert scores(folder).loc["log_loss", "value"] == pytest.approx(loss.mean())


def test_rows_are_numbered_as_in_the_source(outputs, raw):
    rows = predictions(outputs / REGRESSION)
    stay = pd.to_datetime(raw["Discharge Date"]) - pd.to_datetime(raw["Date of Admission"])
    assert rows["target"].tolist() == stay.dt.days.to_numpy()[rows["row"] - 1].tolist()
    assert predictions(outputs / CLASSES)["target"].tolist() == raw["Test Results"].to_numpy()[rows["row"] - 1].tolist()


@pytest.mark.parametrize("task", TASKS)
def test_the_saved_model_gives_the_predictions_of_the_folder(outputs, raw, task):
    rows = predictions(outputs / task)
    found = serving.load(outputs / task / "model" / "artifacts" / "scorer").predict(raw).iloc[rows["row"] - 1]
    pd.testing.assert_frame_equal(found.reset_index(drop=True), rows[list(found)], check_exact=True, check_dtype=False)


@pytest.mark.parametrize("task", TASKS)
def test_the_model_keeps_counts_of_its_training_rows_to_compare_later_ones_with(outputs, raw, task):
    scorer = outputs / task / "model" / "artifacts" / "scorer"
    reference, known = drift.load(scorer), serving.load(scorer)
    assert reference["rows"] == said(outputs / task, "run")["parts"]["train"]
    assert [column["role"] for column in reference["columns"]] == [spec["role"] for spec in known.mapping["columns"]]
    report = drift.compare(reference, drift.count_rows(reference, known.numbers(known.typed(raw))))
    assert drift.alarms(report) == []
    assert {column["n"] for column in report.values()} == {ROWS}


def test_contributions_and_base_add_up_to_the_prediction(outputs):
    why = contributions(outputs / REGRESSION).set_index("row")
    assert len(why) == 40
    predicted = predictions(outputs / REGRESSION).set_index("row")["prediction"]
    np.testing.assert_allclose(why.sum(axis=1), predicted[why.index], rtol=1e-6)
    assert [name for name in why if name != "base_value"] == said(outputs / REGRESSION, "data")["used"]


@pytest.mark.parametrize("task", TASKS)
def test_no_name_of_a_patient_or_doctor_stands_anywhere(outputs, raw, task):
    names = {name.casefold() for column in ("Name", "Doctor") for name in raw[column]}
    hospitals = " ".join(raw["Hospital"]).casefold()
    names = [name for name in names if name not in hospitals]
    assert len(names) > ROWS
    texts = [path.read_bytes().decode(errors="ignore").casefold() for path in (outputs / task).rglob("*.*")]
    assert not [name for name in names if any(name in text for text in texts)]


def test_a_private_name_on_the_command_line_leaves_no_folder(run, tmp_path, raw):
    name = next(name for name in raw["Name"] if name.count(" ") == 1)
    with pytest.raises(PrivateValueFound, match=r"config\.yaml.*overrides\.txt") as found:
        run(tmp_path / "run", f"task={REGRESSION}", f"dataset.get='{name.upper()}'", "explain.rows=0")
    assert name.casefold() not in str(found.value).casefold()
    assert not list((tmp_path / "run").iterdir())


def test_the_same_seed_leaves_the_same_numbers_whatever_else_is_trained(run, outputs, tmp_path):
    again = run(tmp_path / "again", f"task={CLASSES}")
    for name in ("verdict", "leakage", "data"):
        assert said(again / CLASSES, name) == said(outputs / CLASSES, name)
    pd.testing.assert_frame_equal(scores(again / CLASSES), scores(outputs / CLASSES), check_exact=True)
    for read in (predictions, contributions):
        pd.testing.assert_frame_equal(read(again / CLASSES), read(outputs / CLASSES), check_exact=True)
    moving = {"started", "finished"}
    first, second = (said(folder / CLASSES, "run") for folder in (outputs, again))
    assert {key for key in first if first[key] != second[key]} <= moving


def test_rejected_cells_are_listed_in_the_folder_of_the_run_and_of_the_task(run, tmp_path, raw):
    raw.assign(Age=["old", *raw["Age"][1:]]).to_csv(tmp_path / "table.csv", index=False)
    folder = run(tmp_path / "run", f"task={REGRESSION}", "model=baseline", f"dataset.source={tmp_path}/table.csv")
    for place in (folder, folder / REGRESSION):
        assert pd.read_csv(place / "rejected.csv").to_dict("records") == [
            {"row": 1, "column": "Age", "value": "aaa", "rule": "number"}
        ]
    data = said(folder / REGRESSION, "data")
    assert (data["rows_read"], data["rows_rejected"]) == (ROWS, 1)
    assert said(folder / REGRESSION, "run")["rows"] == ROWS - 1
    assert predictions(folder / REGRESSION)["row"].min() > 1


def test_a_learner_of_the_mean_says_so_and_no_explained_rows_are_a_choice(run, outputs, tmp_path):
    folder = run(tmp_path / "run", f"task={REGRESSION}", "model=linear", "explain.rows=0")
    notes = said(folder / REGRESSION, "run")["notes"]
    assert any("predicts the mean" in note for note in notes)
    assert contributions(folder / REGRESSION).empty
    assert not list((folder / REGRESSION / "explanation").glob("*.png"))
    assert not any("predicts the mean" in note for note in said(outputs / REGRESSION, "run")["notes"])


def test_no_number_of_a_run_is_nan(outputs):
    for path in outputs.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
    for task in TASKS:
        assert scores(outputs / task)[["value", "low", "high", "baseline"]].map(math.isfinite).all(axis=None)


def test_one_explained_row_makes_a_whole_folder(run, tmp_path):
    folder = run(tmp_path / "run", f"task={CLASSES}", "explain.rows=1") / CLASSES
    assert contributions(folder)["row"].nunique() == said(folder, "run")["explained_rows"] == 1
    assert not (folder / "explanation" / "waterfall.png").exists()  # of one patient


def test_without_a_signal_subgroups_show_parity_of_errors_only(run, outputs, tmp_path):
    folder = run(tmp_path / "run", f"task={REGRESSION}", "model=baseline", "subgroups.roles=[sex,race]") / REGRESSION
    notes = said(folder, "run")["notes"]
    assert any("parity of errors only" in note for note in notes)
    assert "Subgroups of race are not compared: the table lacks it, or keeps it private." in notes
    found = pd.read_csv(folder / "subgroups.csv")
    assert list(dict.fromkeys(found["role"])) == ["sex", "blood_type"]
    signal = said(outputs / CLASSES, "verdict")["verdict"] == "signal"
    said_of_it = any("parity" in note for note in said(outputs / CLASSES, "run")["notes"])
    assert said_of_it != signal


@pytest.mark.parametrize("task", TASKS)
def test_calibration_is_that_of_the_predictions(outputs, task):
    rows = predictions(outputs / task)
    found = pd.read_csv(outputs / task / "calibration.csv", keep_default_na=False)
    assert list(found) == ["class", "measure", "value", "low", "high", "ideal", "n", "note"]
    assert set(found["n"]) == {len(rows)}
    if task == REGRESSION:
        above = (rows["target"] > rows["prediction"]) + 0.5 * (rows["target"] == rows["prediction"])
        share = float(found.set_index("measure").loc["share_above", "value"])
        assert share == pytest.approx(above.groupby(rows["group"]).mean().mean())
    else:
        assert list(dict.fromkeys(found["class"])) == ["Abnormal", "Inconclusive", "Normal"]


def test_a_recalibrated_run_says_so(run, outputs, tmp_path):
    folder = run(tmp_path / "run", f"task=[{','.join(TASKS)}]", "recalibrate=false")
    for each, words in ((outputs, True), (folder, False)):
        notes = {task: " ".join(said(each / task, "run")["notes"]) for task in TASKS}
        assert ("explained as they are served" in notes[CLASSES], "recalib" in notes[REGRESSION]) == (words, False)
    assert (predictions(folder / CLASSES)["p_Normal"] != predictions(outputs / CLASSES)["p_Normal"]).any()
    pd.testing.assert_frame_equal(predictions(folder / REGRESSION), predictions(outputs / REGRESSION), check_exact=True)
