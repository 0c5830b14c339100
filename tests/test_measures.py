"""What is compared is what was scored: the two definitions must not drift apart."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hi_ml.modeling import scores as scoring
from hi_ml.modeling.scores import better, measures
from hi_ml.modeling.tasks import Task
from hi_ml.statistics import bootstrap

DAYS = Task("stay", "length_of_stay", "regression", "days", "admission", "mae", within=1, whole=True)
MONEY = Task("bill", "billed", "regression", "currency", "admission", "mae", within=0.1, relative=True)
CLASSES = Task("result", "test_result", "classification", "label", "stay", "log_loss")
LABELS = ["Abnormal", "Inconclusive", "Normal"]
ROWS = 600


def predictions(task, seed):
    """Test rows of two models of one task, some of them in groups; the model hangs on the seed, the rows do not."""
    rng, model = np.random.default_rng(0), np.random.default_rng(seed)
    group = np.sort(rng.integers(0, 450, ROWS))
    frame = pd.DataFrame({"row": np.arange(1, ROWS + 1), "group": group})
    if task.kind == "regression":
        target = rng.integers(1, 31, ROWS).astype(float)
        return frame.assign(target=target, prediction=target / 2 + 8 + model.normal(0, 4, ROWS))
    truth = rng.integers(0, 3, ROWS)
    shares = model.dirichlet(np.ones(3), ROWS) + 0.5 * np.eye(3)[truth]
    shares /= shares.sum(axis=1, keepdims=True)
    named = {f"p_{label}": shares[:, k] for k, label in enumerate(LABELS)}
    target, prediction = (np.array(LABELS, dtype=object)[codes] for codes in (truth, shares.argmax(axis=1)))
    return frame.assign(target=target, prediction=prediction, **named)


def scored(task, frame):
    """The scores that a run of these predictions would report."""
    if task.kind == "regression":
        target, predicted, classes = frame["target"].to_numpy(), frame["prediction"].to_numpy(), 0
    else:
        target = pd.Index(LABELS).get_indexer(frame["target"]).astype(float)
        predicted, classes = frame[[f"p_{label}" for label in LABELS]].to_numpy(), 3
    baseline = scoring.Baseline.of(task, target, classes=classes)
    table = scoring.scores(task, target, predicted, baseline=baseline, group=frame["group"].to_numpy(), seed=0)
    return table.set_index("score")


def measured(task, frame):
    group = frame["group"].to_numpy()
    return measures(task, frame, group=group, weights=bootstrap.draws(group, count=scoring.DRAWS, seed=0))


@pytest.mark.parametrize(
    "task", [DAYS, MONEY, replace(DAYS, within=None), CLASSES], ids=["days", "money", "bare", "classes"]
)
def test_every_score_is_measured_and_differs_as_the_scores_do(task):
    first, second = (predictions(task, seed) for seed in (1, 2))
    one, other = measured(task, first), measured(task, second)
    scores, others = scored(task, first), scored(task, second)
    assert list(one) == list(scores.index)
    for name, measure in one.items():
        found = measure.difference(measure.values, other[name].values)
        assert found.value == pytest.approx(scores["value"][name] - others["value"][name], abs=1e-12), name
        assert found.low < found.value < found.high, name


def test_pairing_tells_apart_what_two_intervals_cannot():
    """Two models with the same large errors and a small difference: the point of pairing."""
    frame = predictions(DAYS, 1)
    worse = frame.assign(prediction=frame["prediction"] + 0.05 * np.sign(frame["prediction"] - frame["target"]))
    found, scores = measured(DAYS, worse)["mae"], [scored(DAYS, one) for one in (worse, frame)]
    difference = found.difference(found.values, measured(DAYS, frame)["mae"].values)
    assert (difference.low, difference.high) == pytest.approx((0.05, 0.05))
    assert scores[0]["low"]["mae"] < scores[1]["high"]["mae"]


def test_a_constant_target_has_no_explained_share_and_a_lone_class_no_area():
    constant = predictions(DAYS, 1).assign(target=5.0)
    assert "r2" not in measured(DAYS, constant)
    lone = predictions(CLASSES, 1).assign(target="Normal")
    assert "roc_auc" not in measured(CLASSES, lone)


def test_more_is_better_of_shares_that_are_right_and_less_of_losses():
    assert {better(name) for name in ("mae", "median_ae", "rmse", "log_loss", "brier")} == {"less"}
    more = ("r2", "within_10_percent", "roc_auc", "macro_f1", "balanced_accuracy", "accuracy")
    assert {better(name) for name in more} == {"more"}
