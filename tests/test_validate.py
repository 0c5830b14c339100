"""A frozen model on another table: what is refused, what is found of planted shifts, what is kept and remembered."""

import json
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from scipy.special import expit, logit

import hi_ml
from hi_ml.app.errors import NotValidatable
from hi_ml.evaluation.transport import STAGES, WORDS, AtHome, Margins, measures, rows_digest, transport
from hi_ml.modeling.scores.score import Baseline, Predictions
from hi_ml.modeling.tasks import Task
from hi_ml.prediction.external import HOME, POOLED, load_home, predict_elsewhere
from hi_ml.prediction.load import digest
from hi_ml.statistics.groups import Units
from hi_ml.tracking.store import store_uri

CLASSES = Task("stays_long", "test_result", "classification", "label", "admission", "log_loss")
AMOUNTS = Task("length_of_stay", "length_of_stay", "regression", "days", "admission", "mae")


def classes(n, rng, *, intercept=0.0, slope=1.0, noise=0.0):
    """Predictions of a yes or no whose true log-odds are a line in the predicted ones, three rows a patient.

    What is predicted is spread so that the truth varies as at home: a slope alone would lose what was to be known.
    """
    predicted = expit((rng.normal(-1, 1, n) - intercept) / slope if slope != 1 else rng.normal(-1, 1, n))
    truth = expit(intercept + slope * logit(predicted)) if not noise else np.full(n, 0.3)
    target = (rng.random(n) < truth).astype(float)
    units = Units.of(np.arange(n), np.arange(n) // 3)
    return Predictions(CLASSES, target, np.column_stack([1 - predicted, predicted]), units, seed=0)


def amounts(n, rng, *, intercept=0.0, slope=1.0, noise=0.0):
    predicted = 10 + rng.normal(0, 3, n) / slope
    target = intercept + slope * predicted + rng.normal(0, 4, n) + noise * rng.normal(0, 4, n)
    return Predictions(AMOUNTS, target, predicted, Units.of(np.arange(n)), seed=0)


def at_home(predictions):
    labels = ["no", "yes"] if predictions.predicted.ndim > 1 else []
    baseline = Baseline.of(predictions.task, predictions.target, votes=predictions.units.votes, classes=len(labels))
    line = None if labels else (0.0, 1.0)
    return AtHome(
        predictions.task, "mine", "home", "signal", labels, baseline.median, baseline.mean, None,
        baseline.frequencies.tolist(), 1.0 if labels else 4.0, predictions.units.admissions, len(predictions.units),
        list(measures(predictions, baseline, labels)), line, [], "",
    )  # fmt: skip


PLANTED = [
    ({}, "transports"),
    ({"intercept": 0.5}, "needs_recalibration"),
    ({"slope": 0.7}, "needs_recalibration"),
    ({"noise": 1.0}, "does_not_transport"),
]


@pytest.mark.parametrize("draw", [classes, amounts])
@pytest.mark.parametrize(("shift", "verdict"), PLANTED)
def test_a_planted_shift_is_found_and_measured(draw, shift, verdict):
    rng = np.random.default_rng(3)
    home = at_home(draw(12_000, rng))
    if draw is amounts and "intercept" in shift:
        shift = {"intercept": 2.0}
    if draw is amounts and "slope" in shift:
        shift = {"slope": 0.7, "intercept": 3.0}
    found = transport(home, draw(20_000, rng, **shift), Margins(), place="there")
    assert (found.verdict, found.reason) == (verdict, "")
    raw = found.table[found.table["stage"] == STAGES[0]].set_index("measure")
    for measure, planted in (("intercept", 0.0), ("slope", 1.0)):
        if "noise" not in shift and measure in {"slope", *shift} and len(shift) < 2:
            assert raw.loc[measure, "low"] < shift.get(measure, planted) < raw.loc[measure, "high"]
    if verdict == "needs_recalibration":
        mended = found.table[found.table["stage"] == STAGES[-1]].set_index("measure")
        assert set(mended["state"]) == {"same"}
        assert found.recalibration[STAGES[-1]]["slope"] == pytest.approx(shift.get("slope", 1.0), abs=0.06)


def test_few_admissions_tell_nothing_and_are_told_how_many_would():
    rng = np.random.default_rng(0)
    found = transport(at_home(classes(9_000, rng)), classes(600, rng), Margins(), place="there")
    assert found.verdict == "inconclusive"
    assert 600 < found.n_needed < 9_000
    assert f"about {found.n_needed:,} admissions" in found.sentence
    again = transport(at_home(classes(9_000, rng)), classes(2 * found.n_needed, rng), Margins(), place="there")
    assert again.verdict == "transports"


def test_a_model_without_signal_has_nothing_to_transport():
    rng = np.random.default_rng(0)
    home = replace(at_home(classes(3_000, rng)), verdict="no_signal")
    assert "no skill to transport" in transport(home, classes(3_000, rng), Margins(), place="there").reason


@pytest.mark.slow
def test_identical_data_transport_and_planted_lines_are_recovered_as_often_as_promised():
    """Ten of the two hundred of experiments/external.py."""
    spec = spec_from_file_location("external", Path(__file__).parents[1] / "experiments" / "external.py")
    external = module_from_spec(spec)
    spec.loader.exec_module(external)
    assert sum(found.verdict == "transports" for found in external.simulated(10)) >= 9
    for measure, planted in (("intercept", 0.5), ("slope", 0.7)):
        raw = [found.table[found.table["stage"] == STAGES[0]] for found in external.simulated(10, **{measure: planted})]
        rows = [table[table["measure"] == measure].iloc[0] for table in raw]
        assert sum(row["low"] <= planted <= row["high"] for row in rows) >= 8


# A model and a table


@pytest.fixture(scope="module")
def frozen(small_model):
    """Models of two tasks, trained on a small table, by task."""
    return {task: small_model("linear", task) for task in ("length_of_stay", "test_results")}


@pytest.fixture
def other(admissions_csv, tmp_path):
    """Read another table with changes of its cells and its description: ``other({"Age": ...}, stay="inclusive")``."""

    def read_it(cells=None, *, columns=(), **changes):
        frame = pd.read_csv(admissions_csv).assign(**(cells or {}))
        frame.to_csv(tmp_path / "other.csv", index=False)
        return hi_ml.read(tmp_path / "other.csv", columns=dict(columns), **changes)

    return read_it


def asked(model, admissions, **factors):
    return predict_elsewhere(model, load_home(model), admissions, factors=factors, seed=0, smallest=5)


@pytest.mark.parametrize(
    ("task", "changes", "named"),
    [
        ("length_of_stay", {"columns": {"condition": {"from": None}}}, "'condition'.*dataset.columns.condition.from="),
        ("length_of_stay", {"columns": {"condition": {"known": "discharge"}}}, "known=admission"),
        ("length_of_stay", {"columns": {"sex": {"from": "Age", "kind": "number"}}}, "sex.kind=category"),
        ("length_of_stay", {"stay": "inclusive"}, "dataset.stay=nights"),
        ("length_of_stay", {"cells": {"Age": 500}, "columns": {"age": {"high": 2000}}}, r"\+\+factors.age="),
        ("test_results", {"cells": {"Test Results": ""}}, r"\+\+dataset.columns.test_result.from="),
        ("test_results", {"cells": {"Test Results": ["Fine", "Bad"] * 150}}, "levels=.*<label there>"),
    ],
)
def test_a_table_that_cannot_be_asked_the_same_is_refused_with_what_to_set(frozen, other, task, changes, named):
    with pytest.raises(NotValidatable, match=named):
        asked(frozen[task], other(**changes))


def test_a_factor_brings_a_column_to_the_models_unit(frozen, other):
    model, months = frozen["length_of_stay"], {"Age": lambda frame: 12 * frame["Age"]}
    years = asked(model, other())
    there = asked(model, other(months, columns={"age": {"high": 2000}}), age=1 / 12)
    for one in ("predicted", "target"):
        here, other_unit = (np.sort(getattr(found.predictions, one)) for found in (years, there))
        np.testing.assert_allclose(other_unit, here, rtol=1e-9)
    assert there.covered.mean() > 0.8


def test_labels_in_another_spelling_are_the_models(frozen, other):
    shouted = {"Test Results": lambda frame: frame["Test Results"].str.upper()}
    one, same = (asked(frozen["test_results"], other(cells)).predictions for cells in ({}, shouted))
    assert np.bincount(one.target.astype(int)).tolist() == np.bincount(same.target.astype(int)).tolist()


def test_rows_of_a_label_of_few_are_left_out_but_where_two_stay_a_few_events_are_a_verdict(frozen, other):
    def rare(common):
        return {"Test Results": lambda frame: np.where(frame.index < 3, "Abnormal", common(frame))}

    three = asked(
        frozen["test_results"], other(rare(lambda frame: np.where(frame.index % 2, "Normal", "Inconclusive")))
    )
    assert len(three.predictions.target) == 297
    assert "labels that fewer than 5 patients" in three.notes[0]
    two = asked(frozen["test_results"], other(rare(lambda _: "Normal"))).predictions
    assert (len(two.target), len(np.unique(two.target)), two.enough) == (300, 2, False)


def test_unknown_levels_are_counted_and_those_of_few_pooled(frozen, other):
    def strange(frame):
        return frame["Medical Condition"].mask(frame.index < 32, "Flu").mask(frame.index < 30, "Gout")

    found = asked(frozen["length_of_stay"], other({"Medical Condition": strange}))
    walk = found.crosswalk[found.crosswalk["column"] == "condition"].set_index("level")
    assert found.unseen["condition"] == pytest.approx(32 / 300)
    assert walk.loc[POOLED, "n"] == 32
    assert "Flu" not in walk.index
    assert walk.loc["Asthma", "level_of_model"] == "Asthma"


def test_a_model_of_an_older_version_is_refused(frozen, tmp_path):
    with pytest.raises(NotValidatable, match=r"python -m hi_ml\.train"):
        load_home(replace(frozen["length_of_stay"], folder=tmp_path))


def test_a_validation_leaves_its_folder_and_the_model_as_it_was(frozen, called, tmp_path):
    model = frozen["length_of_stay"]
    words = [f"model_uri={model.folder.parents[1]}", "tracking=none", "dataset.rows=1500"]
    folder = called("validate", tmp_path / "run", *words)
    found = json.loads((folder / "validation.json").read_text())
    assert found["verdict"] in WORDS
    assert found["model_sha256"] == digest(model.folder)
    assert (model.folder / HOME).is_file()
    page = (folder / "report.html").read_text()
    assert found["sentence"] in page
    assert page.count("data:image/png") == 2
    cells = pd.read_csv(folder / "charts" / "predicted_observed.csv").query("layer == 'cell'")
    assert 1_000 < cells["n"].sum() <= found["rows_judged"]
    assert cells["n"].min() >= 5
    assert "<link" not in page
    table = pd.read_csv(folder / "scores.csv").set_index("score")
    assert {"frozen_constant", "own_constant", "home"} <= set(table)
    assert table.loc["coverage", "value"] > 0.5
    assert found["rows_read"] == 1500


def test_the_models_own_rows_are_known_again(frozen, other):
    model, admissions = frozen["length_of_stay"], other()
    home = replace(load_home(model), rows_sha256=rows_digest(admissions.content[::-1]))
    found = predict_elsewhere(model, home, admissions, factors={}, seed=0, smallest=5)
    assert "say nothing of another place" in found.notes[0]
    assert asked(model, admissions).notes == ()


def test_without_a_model_it_says_what_to_name(called, tmp_path):
    with pytest.raises(NotValidatable, match="model_uri="):
        called("validate", tmp_path, "tracking=none")


def test_home_travels_as_it_was_measured(frozen):
    home = load_home(frozen["test_results"])
    assert AtHome.read(json.loads(json.dumps(home.plain()))) == home
    assert {one.measure for one in home.measures} == {"skill", "intercept", "slope"}


@pytest.mark.slow
def test_the_registry_remembers_where_a_model_was_validated(called, here):
    quick = ["task=length_of_stay", "model=linear", "explain.rows=0", "assessments.probes=null"]
    called("train", here / "trained", *quick, "dataset.rows=1500")
    uri = "models:/simulated.length_of_stay@champion"
    folder = called("validate", here / "there", f"model_uri={uri}", "dataset.rows=2500", "dataset.seed=4")
    client, found = MlflowClient(store_uri()), json.loads((folder / "validation.json").read_text())
    ((key, words),) = (
        item
        for item in client.get_model_version("simulated.length_of_stay", "1").tags.items()
        if "validated" in item[0]
    )
    assert key == f"validated.simulated.{json.loads((folder / 'data.json').read_text())['sha256'][:12]}"
    (run,) = client.search_runs([client.get_experiment_by_name("simulated/validation").experiment_id])
    assert words.startswith(f"{found['verdict']} on 20")
    assert words.endswith(run.info.run_id)
    assert run.data.tags["verdict"] == found["verdict"]
    skill = pd.read_csv(folder / "transport.csv").iloc[0]
    assert run.data.metrics["skill_as_it_is"] == pytest.approx(skill["value"])

    # a run folder is the model that was registered of it; one that was sent nowhere is none
    words = ["dataset.rows=1200", "dataset.seed=5", f"model_uri={here / 'trained' / 'length_of_stay'}"]
    again = called("validate", here / "again", *words)
    noted = json.loads((again / "tracked.json").read_text())[store_uri()]
    assert noted["remembered"] == "simulated.length_of_stay version 1 remembers it."
    tags = client.get_model_version("simulated.length_of_stay", "1").tags
    assert sum(noted["run_id"] in words for words in tags.values()) == 1
    (here / "trained" / "length_of_stay" / "tracked.json").unlink()
    called("validate", here / "once_more", *words)
    (noted,) = json.loads((here / "once_more" / "tracked.json").read_text()).values()
    assert noted["remembered"].startswith("No registered version is this model")
    assert client.get_model_version("simulated.length_of_stay", "1").tags == tags
