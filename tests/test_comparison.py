from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hi_ml.app.errors import NotComparable
from hi_ml.evaluation.comparison import Run, compare_runs, differences_in_settings

ROWS, GROUPS = 900, 700
TASK = {
    "name": "length_of_stay", "target": "length_of_stay", "kind": "regression", "unit": "days",
    "horizon": "admission", "score": "mae", "within": 1, "relative": False, "whole": True, "features": None,
}  # fmt: skip


def run(label, *, noise=4.0, seed=0, data="d" * 64, split="s" * 64, task=None, config=None, **rows):
    """A run on the same test rows as every other; its errors grow with the noise."""
    rng, model = np.random.default_rng(0), np.random.default_rng(seed)
    target = rng.integers(1, 31, ROWS).astype(float)
    frame = pd.DataFrame({"row": np.arange(ROWS), "group": rng.integers(0, GROUPS, ROWS), "target": target})
    frame = frame.assign(prediction=target + model.normal(0, noise, ROWS), **rows)
    error = (frame["target"] - frame["prediction"]).abs()
    mae = error.groupby(frame["group"]).mean().mean()
    scores = pd.DataFrame(
        {"score": ["mae", "mae"], "part": ["test", "calibration"], "value": [mae, 0.0], "low": 0.0, "high": 9.0,
         "baseline": 7.5, "unit": "days"}
    )  # fmt: skip
    settings = {"seed": 0, "tasks": {"length_of_stay": TASK | (task or {})}, **(config or {})}
    about = {"task": "length_of_stay", "dataset": "simulated", "data_sha256": data, "split_sha256": split}
    verdict = {"verdict": "signal", "skill": 1 - mae / 7.5, "smallest_skill": 0.02}
    return Run(label, f"id of {label}", about, verdict, settings, scores, frame)


def losses(one):
    error = (one.predictions["target"] - one.predictions["prediction"]).abs()
    return error.groupby(one.predictions["group"]).mean()


THREE = [run("middle", noise=4.3, seed=1), run("worst", noise=6.0, seed=2), run("best", noise=4.0, seed=3)]


@pytest.mark.slow
def test_every_pair_is_compared_by_the_paired_t_test_with_holm_over_all_pairs():
    found = compare_runs(THREE)
    table = found.differences[found.differences["score"] == "mae"].set_index(["run_a", "run_b"])
    by_label = {one.label: losses(one) for one in THREE}
    assert {frozenset(pair) for pair in table.index} == {frozenset(pair) for pair in combinations(by_label, 2)}
    for (first, second), row in table.iterrows():
        expected = stats.ttest_rel(by_label[first], by_label[second])
        assert row["difference"] == pytest.approx(by_label[first].mean() - by_label[second].mean())
        assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval()))
        assert row["p"] == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(table["p_holm"], multipletests(table["p"], method="holm")[1])


def test_the_promised_columns_come_first():
    found = compare_runs(THREE)
    assert list(found.differences)[:7] == ["run_a", "run_b", "score", "difference", "low", "high", "p"]
    assert list(found.runs)[:4] == ["run", "run_id", "score", "value"]
    others = found.differences[found.differences["score"] != "mae"]
    assert others["p_holm"].isna().all()
    assert set(others["score"]) == {"median_ae", "within_1_day", "rmse", "r2"}


def test_runs_stand_in_the_order_of_their_score_and_the_best_is_the_reference():
    found = compare_runs(THREE)
    assert found.labels == ["best", "middle", "worst"]
    decides = found.from_best().query("score == 'mae'")
    assert decides["run_a"].tolist() == ["middle", "worst"]
    assert (decides["difference"] > 0).all()
    assert found.smallest == pytest.approx(0.02 * 7.5)
    assert found.groups == THREE[0].predictions["group"].nunique()


def test_identical_predictions_are_named_and_differ_by_nothing():
    found = compare_runs([*THREE, run("again", noise=4.3, seed=1)])
    assert found.identical == (("middle", "again"),)
    same = found.differences.query("run_a == 'again' and run_b == 'middle'")
    assert len(same) == 5
    assert (same[["difference", "low", "high"]] == 0).all(axis=None)
    assert (same["p"] == 1).all()


def test_two_models_of_equal_skill_are_not_told_apart():
    found = compare_runs([run("one", seed=1), run("other", seed=2)])
    row = found.differences.iloc[0]
    assert row["low"] < 0 < row["high"]
    assert row["p"] > 0.05


@pytest.mark.parametrize("digest", ["data", "split"])
def test_runs_of_different_digests_are_refused_with_the_digests_and_the_runs(digest):
    strange = run("strange", **{digest: "f" * 64})
    with pytest.raises(NotComparable, match=r"fff.*: strange") as found:
        compare_runs([*THREE, strange])
    for word in ("d" * 12, "s" * 12, "best", "middle", "worst"):
        assert word in str(found.value)


def test_runs_of_equal_digests_and_different_test_rows_are_refused():
    other = run("other", target=np.ones(ROWS))
    with pytest.raises(NotComparable, match="best and other cannot be compared: the rows, groups or targets"):
        compare_runs([THREE[2], other])


def test_runs_that_score_differently_are_refused_but_another_horizon_is_a_comparison():
    with pytest.raises(NotComparable, match="the definition of task length_of_stay"):
        compare_runs([THREE[2], run("wider", task={"within": 2})])
    later = run("later", seed=4, task={"horizon": "discharge", "features": ["age"]})
    found = compare_runs([THREE[2], later])
    assert set(found.configuration["key"]) == {"tasks.length_of_stay.horizon", "tasks.length_of_stay.features"}


def test_the_settings_that_differ_are_listed_and_only_those():
    model = {"name": "lgbm", "num_leaves": 8, "objective": None}
    first = run("a", config={"model": model, "rows": 5})
    second = run("b", config={"model": model | {"num_leaves": 31}, "rows": 5, "extra": None})
    third = run("c", config={"model": model, "rows": 5})
    table = differences_in_settings([first, second, third])
    assert list(table) == ["key", "a", "b", "c"]
    assert table.to_numpy().tolist() == [["model.num_leaves", "8", "31", "8"], ["extra", "", "null", ""]]
    assert len(differences_in_settings([first, third])) == 0


def test_settings_of_other_tasks_are_not_those_of_the_run():
    both = run("both")
    both.config["tasks"]["billing"] = TASK | {"name": "billing"}
    assert differences_in_settings([both, run("one")]).empty


@pytest.mark.parametrize("lost", ["about", "config", "predictions"])
def test_a_run_that_says_too_little_is_named_with_what_leaves_it_out(lost):
    broken = replace(THREE[0], **{lost: None})
    with pytest.raises(NotComparable, match=rf"{THREE[0].label}.*says less of itself.*runs=\[...\]"):
        compare_runs([broken, *THREE[1:]])
