"""A task's own score: learners aim at what it asks for, and are judged by it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

import hi_ml
from hi_ml.app.errors import NotTrainable
from hi_ml.reports import screen

ROWS = 2400
COLUMNS = {
    "ward": {"kind": "category", "known": "admission"},
    "icu_days": {"kind": "number", "known": "discharge", "unit": "days"},
    "died": {"kind": "category", "known": "discharge"},
    "change": {"kind": "number", "known": "discharge"},
    "rare": {"kind": "category", "known": "discharge"},
}


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """A folder of YAMLs for a count with 74 % zeros, a death, a change below zero, and something rare."""
    place, rng = tmp_path_factory.mktemp("conf"), np.random.default_rng(0)
    ward = rng.integers(3, size=ROWS)
    table = pd.DataFrame({"ward": np.array(["a", "b", "c"])[ward]})
    table["icu_days"] = rng.poisson(np.array([0.08, 0.28, 0.63])[ward])
    table["died"] = np.where(rng.random(ROWS) < np.array([0.02, 0.1, 0.3])[ward], "yes", "no")
    table["change"] = rng.integers(-5, 6, ROWS)
    table["rare"] = np.where(np.arange(ROWS) % 60 == 0, "yes", "no")
    table.to_csv(place / "table.csv", index=False)
    files = {"dataset/wards": {"name": "wards", "source": str(place / "table.csv"), "columns": COLUMNS}}
    count = {"target": "icu_days", "kind": "regression", "unit": "days"}
    label = {"kind": "classification", "unit": "label"}
    tasks = {score: {**count, "score": score} for score in ("mae", "rmse", "poisson")}
    tasks["pinball"] = {**count, "score": "pinball", "quantile": 0.8}
    tasks["died"] = {**label, "target": "died", "score": "roc_auc"}
    tasks["rare"] = {**label, "target": "rare", "score": "log_loss"}
    tasks["below"] = {**count, "target": "change", "score": "poisson"}
    tasks["wards"] = {**label, "target": "ward", "score": "roc_auc", "features": ["died"], "horizon": "discharge"}
    for name, task in tasks.items():
        files[f"task/{name}"] = {"name": name, "horizon": "stay", "features": ["ward"], **task}
    for name, content in files.items():
        path = place / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        kind, stem = name.split("/")
        head = f"# @package tasks.{stem}\n" if kind == "task" else ""
        path.write_text(head + yaml.safe_dump(content))
    return place


@pytest.fixture(scope="module")
def admissions(conf):
    return hi_ml.read("wards", config_dir=conf)


@pytest.fixture
def judged(conf, admissions):
    def judge(task, model="lgbm"):
        run = hi_ml.fit(admissions, task, model, config_dir=conf)
        return run, hi_ml.assess(run, "verdict")["verdict"]

    return judge


@pytest.mark.parametrize("model", ["lgbm", "hist_gbm"])
def test_the_median_cannot_tell_of_a_count_with_many_zeros_and_the_mean_can(judged, model):
    _, found = judged("mae", model)
    assert (found.verdict, found.reason, found.score) == ("inconclusive", "the median cannot tell", "mae")
    assert [(one.score, one.verdict) for one in found.others] == [("rmse", "signal")]
    assert "inconclusive (the median cannot tell). Fitted to the mean instead, it removes" in found.sentence


@pytest.mark.parametrize(
    ("model", "score"), [("lgbm", "rmse"), ("lgbm", "poisson"), ("hist_gbm", "rmse"), ("linear", "poisson")]
)
def test_a_score_of_the_mean_is_aimed_at(judged, model, score):
    run, found = judged(score, model)
    assert run.method.model.predicts == "mean"
    assert (found.verdict, found.score, found.constant) == ("signal", score, "mean")
    assert run.predicted.mean() == pytest.approx(run.target.mean(), abs=0.06)


def test_a_quantile_is_aimed_at_and_its_calibration_has_an_ideal(judged):
    run, found = judged("pinball")
    assert (found.score, found.constant, run.method.model.predicts) == ("pinball", "quantile", "quantile")
    table = hi_ml.assess(run, "calibration")["calibration"].set_index("measure")
    assert table.loc["share_above", "ideal"] == pytest.approx(0.2)
    assert np.isnan(table.loc["slope", "ideal"])


def test_a_ranking_is_judged_by_its_area(judged):
    run, found = judged("died", "linear")
    assert (found.verdict, found.score) == ("signal", "roc_auc")
    area = hi_ml.assess(run, "scores")["scores"].set_index("score").loc["roc_auc"]
    assert found.skill == pytest.approx(2 * area["value"] - 1)
    assert "of the way from an area under ROC of 0.5 to 1 on died: signal" in found.sentence


@pytest.mark.parametrize(("task", "said"), [("below", "below 0"), ("wards", "3 labels")])
def test_a_score_that_the_target_cannot_have_is_refused(judged, task, said):
    with pytest.raises(NotTrainable, match=said):
        judged(task)


def test_of_a_rare_event_no_interval_is_given_anywhere(judged):
    run, found = judged("rare", "linear")
    assert (found.verdict, found.low95) == ("inconclusive", None)
    results = hi_ml.assess(run, "verdict", "scores")
    scores = results["scores"].set_index("score")
    assert scores.loc[["log_loss", "roc_auc", "accuracy"], ["low", "high"]].isna().all(axis=None)
    said = screen.summary(replace(run, results=results))
    assert "inconclusive (too few events: fewer than 10" in said
    assert "too few to tell" in said
    assert "nan" not in said
