"""Calibration of a run: which measures, against which ideal, and the sentence."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hi_ml.evaluation.assessment import FittedRun
from hi_ml.evaluation.calibration import measure, plain, sentence
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tasks import Task
from hi_ml.statistics import calibration

STAY = Task("stay", "length_of_stay", "regression", "days", "admission", "mae")
RESULT = Task("result", "test_result", "classification", "label", "stay", "log_loss")
COLUMNS = ["class", "measure", "value", "low", "high", "ideal", "n", "note"]


def run(target, predicted, *, labels=(), predicts="median"):
    """A run whose first hundred rows are no test rows, with groups of two."""
    n = len(target)
    group, parts = np.arange(n) // 2, np.full(n, 2, dtype=np.int8)
    parts[:100] = 0
    problem = Problem(
        task=RESULT if labels else STAY, features=None, target=np.asarray(target, dtype=float), labels=list(labels),
        table=pd.DataFrame(), parts=parts, row=np.arange(n), content=group, group=group, twin=group,
        refused={}, units={},
    )  # fmt: skip
    method = SimpleNamespace(model=SimpleNamespace(predicts=predicts))
    return FittedRun(problem, method, fitted=None, predicted=predicted, baseline=None)


def test_every_class_has_both_measures_against_the_rest():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([2, 2, 2], 2000)
    truth = (shares.cumsum(axis=1) < rng.random((2000, 1))).sum(axis=1)
    asked = run(truth, shares[100:], labels="xyz")
    found = measure(asked)
    assert list(found) == COLUMNS
    assert list(zip(found["class"], found["measure"], found["ideal"], strict=True)) == [
        (label, name, ideal) for label in "xyz" for name, ideal in (("in_the_large", 0.0), ("slope", 1.0))
    ]
    expected = calibration.slope(truth[100:] == 1, shares[100:, 1], asked.units)
    row = found[(found["class"] == "y") & (found["measure"] == "slope")].iloc[0]
    assert (row["value"], row["low"], row["high"]) == (expected.value, expected.low, expected.high)
    assert set(found["n"]) == {1900}
    assert (found["low"] < found["ideal"]).all()
    assert (found["ideal"] < found["high"]).all()


@pytest.mark.parametrize("predicts", ["median", "mean"])
def test_amounts_are_held_against_the_ideal_of_what_the_learner_predicts(predicts):
    rng = np.random.default_rng(0)
    prediction = rng.normal(15, 3, 2000)
    found = measure(run(prediction + rng.normal(0, 4, 2000), prediction[100:], predicts=predicts)).set_index("measure")
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
    amounts = measure(run(rng.normal(size=400), np.zeros(300))).set_index("measure")
    assert amounts.loc["slope", "note"].startswith("not estimable")
    assert np.isfinite(amounts.loc["share_above", "value"])
    truth = rng.integers(0, 2, 400)
    classes = measure(run(truth, np.full((300, 2), 0.5), labels="xy"))
    assert classes[classes["measure"] == "slope"]["value"].isna().all()
    assert classes[classes["measure"] == "in_the_large"]["value"].notna().all()


def test_each_measure_is_said_with_its_interval_and_judged_where_there_is_an_ideal():
    rows = [("", "share_above", 0.51, 0.505, 0.515, 0.5), ("", "slope", 0.97, 0.9, 1.04, np.nan)]
    assert sentence(pd.DataFrame(rows, columns=COLUMNS[:6])) == (
        "Calibration: share above 0.510 (0.505 to 0.515); slope 0.970 (0.900 to 1.04; no ideal); "
        "1 of 1 intervals miss the ideal."
    )


def test_measures_of_classes_are_said_as_a_range_and_what_is_missing_is_counted():
    rows = [
        ("a", "in_the_large", -0.1, -0.2, 0.1, 0.0),
        ("a", "slope", np.nan, np.nan, np.nan, 1.0),
        ("b", "in_the_large", 0.2, 0.1, 0.3, 0.0),
        ("b", "slope", 1.2, 0.8, 1.6, 1.0),
    ]
    assert sentence(pd.DataFrame(rows, columns=COLUMNS[:6])) == (
        "Calibration: in the large between −0.100 and 0.200 over 2 classes; slope 1.20 (0.800 to 1.60); "
        "1 of 3 intervals miss the ideal; 1 not estimable."
    )


def test_calibration_is_said_in_one_plain_sentence():
    def said(*rows):
        return plain(pd.DataFrame(rows, columns=["class", "measure", "value", "low", "high", "ideal"]))

    right = ("", "share_above", 0.51, 0.48, 0.54, 0.5)
    assert said(right) == "Predictions are right on the whole, as far as this table can tell."
    assert "too low on the whole, by more" in said(("", "share_above", 0.6, 0.55, 0.65, 0.5))
    said_of_two = said(("a", "in_the_large", -0.3, -0.4, -0.2, 0.0), ("b", "slope", 0.5, 0.4, 0.6, 1.0))
    assert "too high on the whole for a, too far apart (extremes are overstated) for b" in said_of_two
    assert "could not be measured" in said(("", "slope", np.nan, np.nan, np.nan, 1.0))
