import numpy as np
import pandas as pd
import pytest

from hi_ml.evaluation.calibration import measure
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tasks import Task
from hi_ml.statistics import calibration

STAY = Task("stay", "length_of_stay", "regression", "days", "admission", "mae")
RESULT = Task("result", "test_result", "classification", "label", "stay", "log_loss")
COLUMNS = ["class", "measure", "value", "low", "high", "ideal", "n", "note"]


def posed(target, *, task=STAY, labels=()):
    """A problem whose first hundred rows are no test rows, with groups of two."""
    n = len(target)
    group, parts = np.arange(n) // 2, np.full(n, 2, dtype=np.int8)
    parts[:100] = 0
    return Problem(
        task=task, features=None, target=np.asarray(target, dtype=float), labels=list(labels), table=pd.DataFrame(),
        parts=parts, row=np.arange(n), group=group, twin=group, refused={}, units={},
    )  # fmt: skip


def test_every_class_has_both_measures_against_the_rest():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([2, 2, 2], 2000)
    truth = (shares.cumsum(axis=1) < rng.random((2000, 1))).sum(axis=1)
    problem = posed(truth, task=RESULT, labels=["x", "y", "z"])
    found = measure(problem, shares[100:], predicts="median")
    assert list(found) == COLUMNS
    assert list(zip(found["class"], found["measure"], found["ideal"], strict=True)) == [
        (label, name, ideal) for label in "xyz" for name, ideal in (("in_the_large", 0.0), ("slope", 1.0))
    ]
    expected = calibration.slope(truth[100:] == 1, shares[100:, 1], problem.group[100:])
    row = found[(found["class"] == "y") & (found["measure"] == "slope")].iloc[0]
    assert (row["value"], row["low"], row["high"]) == (expected.value, expected.low, expected.high)
    assert set(found["n"]) == {1900}
    assert (found["low"] < found["ideal"]).all()
    assert (found["ideal"] < found["high"]).all()


@pytest.mark.parametrize("predicts", ["median", "mean"])
def test_amounts_are_held_against_the_ideal_of_what_the_learner_predicts(predicts):
    rng = np.random.default_rng(0)
    prediction = rng.normal(15, 3, 2000)
    found = measure(posed(prediction + rng.normal(0, 4, 2000)), prediction[100:], predicts=predicts).set_index(
        "measure"
    )
    assert list(found.index) == ["share_above", "slope"]
    assert set(found["class"]) == {""}
    judged = found[found["ideal"].notna()]
    assert judged["ideal"].to_dict() == ({"share_above": 0.5} if predicts == "median" else {"slope": 1.0})
    assert (judged["note"] == "").all()
    assert found[found["ideal"].isna()]["note"].str.contains(predicts).all()
    assert (judged["low"] < judged["ideal"]).all()
    assert (judged["ideal"] < judged["high"]).all()


def test_a_constant_says_why_it_has_no_slope():
    rng = np.random.default_rng(0)
    amounts = measure(posed(rng.normal(size=400)), np.zeros(300), predicts="median").set_index("measure")
    assert amounts.loc["slope", "note"].startswith("not estimable")
    assert np.isfinite(amounts.loc["share_above", "value"])
    truth = rng.integers(0, 2, 400)
    classes = measure(posed(truth, task=RESULT, labels=["x", "y"]), np.full((300, 2), 0.5), predicts="median")
    assert classes[classes["measure"] == "slope"]["value"].isna().all()
    assert classes[classes["measure"] == "in_the_large"]["value"].notna().all()
