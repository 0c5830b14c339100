"""Scores: their values, their intervals, the difference of two models, and a new one by a file alone."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from sklearn import metrics

from hi_ml import compare, train
from hi_ml.app.config import build, conf_dir
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.evaluation.judgement import scores
from hi_ml.modeling import scores as room
from hi_ml.modeling.scores.score import Baseline, Predictions, scores_of, title
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.groups import Units

NAMES = {
    "length_of_stay": ["mae", "median_ae", "within_1_day", "rmse", "r2"],
    "billing": ["mae", "median_ae", "within_10_percent", "rmse", "r2"],
    "test_results": ["log_loss", "brier", "roc_auc", "macro_f1", "balanced_accuracy", "accuracy"],
}


def shipped(name):
    return build(Task, yaml.safe_load((conf_dir() / "task" / f"{name}.yaml").read_text()))


DAYS, MONEY, RESULTS = (shipped(name) for name in NAMES)


def amounts(seed, *, rows=400, knowledge=0.5):
    """Targets, predictions that know something of them, and groups of one to three rows."""
    rng = np.random.default_rng(seed)
    target = rng.integers(1, 31, rows).astype(float)
    predicted = 15.5 + knowledge * (target - 15.5) + rng.normal(size=rows)
    return target, predicted, np.sort(rng.integers(0, rows // 2, rows))


def labels(seed, *, rows=400, classes=3):
    rng = np.random.default_rng(seed)
    target = rng.integers(classes, size=rows)
    share = rng.gamma(1.0, size=(rows, classes)) + np.eye(classes)[target]
    return target.astype(float), share / share.sum(axis=1, keepdims=True), np.sort(rng.integers(0, rows // 2, rows))


def case(task, seed=0, **options):
    """Targets, predictions, baseline and groups, the first half of the rows having taught the baseline."""
    target, predicted, group = amounts(seed, **options) if task.kind == "regression" else labels(seed, **options)
    half = len(target) // 2
    baseline = Baseline.of(task, target[:half], votes=np.ones(half), classes=3 if task.kind == "classification" else 0)
    return target[half:], predicted[half:], baseline, group[half:]


def predictions(task, target, predicted, group, seed=0):
    return Predictions(task, target, predicted, Units.of(group), seed)


def scored(task, target, predicted, baseline, group, seed=0):
    return scores(predictions(task, target, predicted, group, seed), baseline).set_index("score")


@pytest.mark.parametrize("name", NAMES)
def test_each_task_has_the_promised_scores_the_primary_first(name):
    task = shipped(name)
    found = scored(task, *case(task))
    assert list(found.index) == NAMES[name]
    assert found.index[0] == task.score
    assert set(found["part"]) == {"test"}


@pytest.mark.parametrize("task", [DAYS, MONEY, RESULTS], ids=NAMES)
def test_every_score_lies_in_its_interval_and_none_is_nan(task):
    found = scored(task, *case(task))
    numbers = found[["value", "low", "high", "baseline"]]
    assert np.isfinite(numbers.to_numpy()).all()
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()


def test_without_groups_regression_scores_are_those_of_scikit_learn():
    target, predicted, baseline, _ = case(DAYS, seed=2)
    found = scored(DAYS, target, predicted, baseline, np.arange(len(target)))["value"]
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(target, predicted))
    assert found["median_ae"] == pytest.approx(metrics.median_absolute_error(target, predicted))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, predicted))
    assert found["r2"] == pytest.approx(metrics.r2_score(target, predicted))
    assert found["within_1_day"] == pytest.approx(np.mean(np.abs(target - np.round(predicted)) <= 1))


def test_without_groups_class_scores_are_those_of_scikit_learn():
    target, share, baseline, _ = case(RESULTS, seed=2)
    label = share.argmax(axis=1)
    found = scored(RESULTS, target, share, baseline, np.arange(len(target)))["value"]
    assert found["log_loss"] == pytest.approx(metrics.log_loss(target, share))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, label))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(target, label))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(target, label, average="macro"))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(target, share, multi_class="ovr"))
    assert found["brier"] == pytest.approx(np.mean(np.sum((share - np.eye(3)[target.astype(int)]) ** 2, axis=1)))


@pytest.mark.parametrize("task", [DAYS, RESULTS], ids=["regression", "classes"])
def test_copying_a_row_inside_its_group_changes_no_score(task):
    target, predicted, baseline, _ = case(task, seed=3)
    alone = np.arange(len(target))
    copied = np.append(alone, [0] * 30)
    before = scored(task, target, predicted, baseline, alone)
    after = scored(task, target[copied], predicted[copied], baseline, copied)
    columns = ["value", "low", "high", "baseline"]
    np.testing.assert_allclose(after[columns], before[columns], rtol=1e-9)


def test_a_near_bill_is_within_a_share_of_the_bill_and_a_near_stay_within_days():
    baseline = Baseline(median=0.0, mean=0.0, frequencies=np.array([]))
    target = np.array([100.0, 1000.0, -100.0, 0.0])
    predicted = np.array([110.0, 1101.0, -95.0, 0.5])
    group = np.arange(4)
    assert scored(MONEY, target, predicted, baseline, group).loc["within_10_percent", "value"] == 0.5
    assert scored(DAYS, target, predicted, baseline, group).loc["within_1_day", "value"] == 0.25


def test_a_prediction_of_whole_days_is_rounded_before_it_is_called_a_hit():
    baseline = Baseline(median=8.5, mean=8.5, frequencies=np.array([]))
    target, predicted, group = np.full(4, 10.0), np.array([8.6, 11.4, 11.6, 8.4]), np.arange(4)
    whole = scored(DAYS, target, predicted, baseline, group).loc["within_1_day"]
    split = scored(replace(DAYS, whole=False), target, predicted, baseline, group).loc["within_1_day"]
    assert (whole["value"], split["value"]) == (0.5, 0)
    assert (whole["baseline"], split["baseline"]) == (0, 0)  # 8.5 is rounded to the even 8


def test_each_baseline_is_the_best_constant_for_its_score():
    target, predicted, baseline, _ = case(DAYS, seed=4)
    found = scored(DAYS, target, predicted, baseline, np.arange(len(target)))["baseline"]
    train = amounts(4)[0][: len(target)]
    assert (baseline.median, baseline.mean) == (np.median(train), train.mean())
    assert found["mae"] == pytest.approx(np.mean(np.abs(target - np.median(train))))
    assert found["rmse"] == pytest.approx(np.mean((target - train.mean()) ** 2) ** 0.5)
    assert found["r2"] == pytest.approx(metrics.r2_score(target, np.full(len(target), train.mean())))


def test_the_baseline_of_classes_is_their_frequency_and_the_commonest():
    target, share = np.array([0.0, 1.0, 1.0, 2.0]), np.full((4, 3), 1 / 3)
    baseline = Baseline.of(RESULTS, np.array([0.0, 1, 1, 1, 2]), votes=np.ones(5), classes=3)
    np.testing.assert_allclose(baseline.predict(2), [[0.2, 0.6, 0.2]] * 2)
    found = scored(RESULTS, target, share, baseline, np.arange(4))["baseline"]
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.mean(np.log([0.2, 0.6, 0.6, 0.2])))
    assert found["roc_auc"] == 0.5


def test_a_class_that_training_never_saw_costs_much_but_no_infinity():
    baseline = Baseline.of(RESULTS, np.array([0.0, 1.0]), votes=np.ones(2), classes=3)
    share = np.tile([0.5, 0.5, 0.0], (30, 1))
    found = scored(RESULTS, np.tile([0.0, 1, 2], 10), share, baseline, np.arange(30))
    assert np.isfinite(found[["value", "low", "high", "baseline"]].to_numpy()).all()
    assert found.loc["log_loss", "value"] > 10


def test_where_the_target_does_not_vary_the_share_of_variance_is_left_out():
    baseline = Baseline(median=4.0, mean=4.5, frequencies=np.array([]))
    found = scored(DAYS, np.full(12, 5.0), np.linspace(4, 6, 12), baseline, np.arange(12))
    assert "r2" not in found.index
    assert np.isfinite(found[["value", "low", "high", "baseline"]].to_numpy()).all()


def test_the_seed_moves_the_bootstrap_only():
    parts = case(RESULTS, seed=5)
    first, other = (scored(RESULTS, *parts, seed=seed) for seed in (0, 1))
    moved = first.index[(first["low"] != other["low"]).to_numpy()]
    assert set(moved) <= {"roc_auc", "macro_f1", "balanced_accuracy"}
    assert len(moved)


def test_a_hit_is_named_by_its_reach():
    names = [[score.name for score in scores_of(task)][2] for task in (DAYS, replace(DAYS, within=2), MONEY)]
    assert names == ["within_1_day", "within_2_days", "within_10_percent"]


def test_more_is_better_of_shares_that_are_right_and_less_of_losses():
    better = {score.name: score.better for task in (DAYS, RESULTS) for score in scores_of(task)}
    assert {name for name in better if better[name] == "less"} == {"mae", "median_ae", "rmse", "log_loss", "brier"}
    assert set(better.values()) == {"less", "more"}
    assert (title("mae"), title("within_1_day")) == ("mean absolute error", "within 1 day")


@pytest.mark.parametrize(
    "task", [DAYS, MONEY, replace(DAYS, within=None), RESULTS], ids=["days", "money", "bare", "classes"]
)
def test_two_models_differ_by_the_difference_of_their_scores_inside_an_interval(task):
    target, predicted, baseline, group = case(task, seed=1, rows=1200)
    worse = 0.9 * predicted + 0.1 * baseline.predict(len(target))
    table, of_worse = (scored(task, target, one, baseline, group)["value"] for one in (predicted, worse))
    one, other = (predictions(task, target, made, group) for made in (predicted, worse))
    assert list(table.index) == [score.name for score in scores_of(task)]
    for score in scores_of(task):
        found = score.reduce.difference(score.values(one), score.values(other))
        assert found.value == pytest.approx(table[score.name] - of_worse[score.name], abs=1e-12), score.name
        assert found.low <= found.value <= found.high, score.name
        assert found.low < found.high or not found.value, score.name


def test_pairing_tells_apart_what_two_intervals_cannot():
    """Two models with the same large errors and a small difference: the point of pairing."""
    target, predicted, baseline, group = case(DAYS, seed=1)
    worse = predicted + 0.05 * np.sign(predicted - target)
    mae = scores_of(DAYS)[0]
    values = [mae.values(predictions(DAYS, target, one, group)) for one in (worse, predicted)]
    found = mae.reduce.difference(*values)
    assert (found.low, found.high) == pytest.approx((0.05, 0.05))
    tables = [scored(DAYS, target, one, baseline, group).loc["mae"] for one in (worse, predicted)]
    assert tables[0]["low"] < tables[1]["high"]


def test_a_lone_class_has_no_area():
    baseline, alone = Baseline.of(RESULTS, np.array([0.0, 1, 2]), votes=np.ones(3), classes=3), np.zeros(6)
    assert "roc_auc" not in scored(RESULTS, alone, np.full((6, 3), 1 / 3), baseline, np.arange(6)).index


def test_a_task_may_select_its_scores_and_the_primary_one_stays():
    chosen = replace(DAYS, scores=["r2", "within_1_day"])
    assert [score.name for score in scores_of(chosen)] == ["mae", "r2", "within_1_day"]
    with pytest.raises(ConfigurationInvalid, match=r"tasks.length_of_stay.scores=r3 is unknown. Expected one of mae, "):
        scores_of(replace(DAYS, scores=["r3"]))


@pytest.fixture
def ninth(tmp_path, monkeypatch):
    """A score of amounts that nothing but a file of its own knows of: the share that was predicted too low."""
    folder = tmp_path / "more_scores"
    folder.mkdir()
    (folder / "too_low.py").write_text(
        "from hi_ml.modeling.scores.score import Score\n"
        "def too_low(task, target, predicted):\n    return (predicted < target).astype(float)\n"
        'SCORES = [Score("too_low", "regression", "less", too_low, unit="share", title="predicted too low")]\n'
    )
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])


@pytest.mark.slow
@pytest.mark.usefixtures("ninth")
def test_a_new_score_is_a_file_and_reaches_table_store_chart_and_comparison(tmp_path, inside, migrated_store):
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    quick = ["dataset.rows=400", "explain.rows=0", "task=billing", "promote=never"]
    for model in ("linear", "baseline"):
        ended = inside(train.main, *quick, f"model={model}", f"hydra.run.dir={tmp_path / model}")
        assert ended.code == 0, ended.stderr
    row = pd.read_csv(tmp_path / "linear" / "billing" / "scores.csv").set_index("score").loc["too_low"]
    assert 0 <= row["low"] < row["value"] < row["high"] <= 1
    assert row["unit"] == "share"
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "simulated/billing"]
    newest = client.search_runs([experiment.experiment_id])[-1].data.metrics
    assert newest["test_too_low"] == pytest.approx(row["value"])
    chart = pd.read_csv(tmp_path / "linear" / "billing" / "charts" / "scores.csv")
    assert "too_low" in set(chart["score"])
    assert inside(compare.main, "task=billing", f"hydra.run.dir={tmp_path / 'compared'}").code == 0
    line = pd.read_csv(tmp_path / "compared" / "compare.csv").set_index("score").loc["too_low"]
    assert line["better"] == "less"
    assert line["low"] <= line["difference"] <= line["high"]
    assert "Predicted too low" in (tmp_path / "compared" / "report.html").read_text()
