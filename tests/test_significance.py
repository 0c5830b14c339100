import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, permutation_test_score
from sklearn.tree import DecisionTreeClassifier

from hi_ml.app.config import build, compose
from hi_ml.evaluation import significance
from hi_ml.evaluation.assessment import FittedRun, Method
from hi_ml.evaluation.significance import Permutation, measure
from hi_ml.modeling import problem as problems
from hi_ml.modeling import splits
from hi_ml.modeling.encoding import Encoding
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.record import record

STAYS = Task("stays", "stay", "regression", "days", "admission", "mae", within=1)
RESULTS = Task("results", "result", "classification", "label", "admission", "log_loss")
TASKS = pytest.mark.parametrize("task", [STAYS, RESULTS], ids=["days", "classes"])
SIMPLE = Model(
    name="simple",
    regression={"_target_": "sklearn.tree.DecisionTreeRegressor", "max_depth": 3},
    classification={"_target_": "sklearn.linear_model.LogisticRegression"},  # no share of it is 0
    predicts="mean",
    encoding=Encoding("ordinal", "raw"),
)
MEMORISER = replace(SIMPLE, name="memoriser", regression={"_target_": "sklearn.tree.DecisionTreeRegressor"})
ROWS, TWINS = 400, 100
SCRIPT = Path(__file__).parents[1] / "experiments" / "permutation.py"
SPEC = importlib.util.spec_from_file_location("permutation", SCRIPT)
study = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(study)


def shipped(name):
    return build(Model, compose("train", f"model={name}")["model"])


def problem(task, *, effect=0.0, seed=0, rule="grouped", group=None):
    """Rows with twins, and a target of which the first column says something, or nothing."""
    rng = np.random.default_rng(seed)
    group = np.append(np.arange(ROWS - TWINS), rng.permutation(ROWS - TWINS)[:TWINS]) if group is None else group
    each = group.max() + 1
    frame = pd.DataFrame(rng.random((each, 3))[group], columns=["a", "b", "c"])
    noise = rng.random(each)[group]
    mixed = effect * frame["a"].to_numpy() + (1 - effect) * noise
    target = np.floor(30 * mixed) if task is STAYS else np.minimum(np.floor(3 * mixed), 2)
    return Problem(
        task=task,
        features=Features(frame, {name: {} for name in frame}, {name: name for name in frame}),
        target=target,
        labels=[] if task is STAYS else ["low", "middle", "high"],
        table=frame,
        parts=splits.assign(Split(rule, 0.6, 0.2, 0.2), group, seed=seed, table=frame),
        row=np.arange(len(group)),
        content=group,
        group=group,
        twin=group,
        refused={},
        units={},
    )


def measured(problem, model=SIMPLE, *, count=39, stop_after=10, trees=None, seed=0):
    method = Method(model, Split("grouped", 0.6, 0.2, 0.2), seed)
    return measure(FittedRun(problem, method, None, None, None), Permutation(count, stop_after, trees))


@TASKS
def test_a_planted_effect_is_reached_by_no_refit(task):
    found = measured(problem(task, effect=0.7))
    assert (found.p, found.exceedances, found.refits, found.stopped) == (1 / 40, 0, 39, False)
    assert found.observed > 0.2
    assert "of 39 refits on targets exchanged between groups, 0 did as well: permutation p = 0.025." in found.sentence


@TASKS
def test_noise_is_soon_reached_and_the_test_stops(task):
    found = measured(problem(task), count=199)
    assert found.stopped
    assert found.refits < 199
    assert found.p == 10 / found.refits > 0.05
    assert "enough to stop" in found.sentence


def test_a_model_that_knows_its_twins_is_no_better_than_chance_where_rows_alone_would_say_it_is():
    """A random split tears twins apart: the skill is large, and as large where the targets of groups are exchanged."""
    torn = problem(STAYS, rule="random", group=np.repeat(np.arange(200), 2))
    found = measured(torn, MEMORISER, count=19)
    alone = measured(replace(torn, group=np.arange(ROWS)), MEMORISER, count=19)
    assert found.observed > 0.2
    assert found.p > 0.1
    assert alone.p == 1 / 20


@pytest.mark.slow
def test_sklearn_with_groups_finds_nothing_among_twins_where_there_is_a_lot():
    """`permutation_test_score` permutes inside groups: the targets of twins are equal, so that every score is."""
    twins = problem(RESULTS, effect=0.7, group=np.repeat(np.arange(200), 2))
    _, _, theirs = permutation_test_score(
        DecisionTreeClassifier(max_depth=3, random_state=0), twins.features.frame, twins.target, groups=twins.group,
        cv=GroupKFold(5), n_permutations=39, random_state=0,
    )  # fmt: skip
    assert theirs == 1.0
    assert measured(twins).p == 1 / 40


@TASKS
def test_a_constant_is_as_good_on_every_target(task):
    found = measured(problem(task, effect=0.7), shipped("baseline"))
    assert (found.p, found.observed, found.refits) == (1.0, 0.0, 10)


def test_calibration_rows_and_rows_left_out_play_no_part():
    asked = problem(STAYS, effect=0.3)
    out = ~(asked.where("train") | asked.where("test"))
    other = replace(asked, target=np.where(out, 1000.0, asked.target))
    assert measured(other) == measured(asked)


def test_the_targets_of_a_group_stay_together_and_none_is_lost(monkeypatch):
    asked, seen = problem(STAYS), []

    def fit(posed, model, rows, *, seed):
        seen.append(posed.target)
        return problems.fit_rows(posed, model, rows, seed=seed)

    monkeypatch.setattr(significance, "fit_rows", fit)
    measured(asked, count=5)
    used = asked.where("train") | asked.where("test")
    np.testing.assert_array_equal(seen[0], asked.target)
    for target in seen[1:]:
        np.testing.assert_array_equal(np.sort(target[used]), np.sort(asked.target[used]))
        spread = pd.Series(target[used]).groupby(asked.group[used]).agg(np.ptp)
        assert (spread == 0).all()
        assert (target[used] != asked.target[used]).mean() > 0.5


def test_groups_that_no_other_can_replace_stay_and_are_counted():
    sizes = np.arange(2, 30)
    alone = measured(problem(STAYS, effect=0.7, group=np.repeat(np.arange(len(sizes)), sizes)))
    assert alone.movable_share == 0
    assert alone.p == 1.0
    assert "Only 0.0 % of the rows stand in groups that others can replace." in alone.sentence
    assert "Only" not in measured(problem(STAYS)).sentence


@TASKS
@pytest.mark.parametrize(
    ("name", "bounded"),
    [
        ("catboost", True),
        ("lgbm", True),
        ("hist_gbm", True),
        ("random_forest", True),
        ("linear", False),
        ("baseline", False),
    ],
)
def test_a_learner_that_grows_trees_grows_few(task, name, bounded):
    model = shipped(name)
    found = measured(problem(task, effect=0.7), model, count=1, trees=5)
    assert found.learner == (f"{name} of at most 5 trees" if bounded else name)
    grown, _ = significance.few_trees(model, 5, classes=task is RESULTS)
    node = grown.classification if task is RESULTS else grown.regression
    assert 5 in (node.get("n_estimators"), node.get("max_iter"), node.get("iterations")) if bounded else grown == model
    assert measured(problem(task, effect=0.7), model, count=1).learner == name


def test_a_part_that_loses_a_class_by_the_exchange_is_scored():
    few = problem(RESULTS, group=np.arange(40))
    few = replace(few, target=(np.arange(40) < 2).astype(float) * 2)
    assert np.isfinite(measured(few, stop_after=40).permuted).all()


@pytest.mark.slow
def test_the_run_folder_the_record_and_the_screen_tell_of_it(called, tmp_path, capsys):
    quick = ["dataset.rows=400", "explain.rows=0", "tracking=none", "task=length_of_stay"]
    few = ["significance=permutation", "permutation.count=3", "permutation.trees=5"]
    with_, without = (
        RunFolder(called("train", tmp_path / name, *quick, *more) / "length_of_stay")
        for name, more in (("with", few), ("without", []))
    )
    said = json.loads((with_.path / "significance.json").read_text())
    assert {"p", "exceedances", "refits", "stopped", "statistic", "learner", "movable_share", "sentence"} <= set(said)
    assert record(with_).metrics["permutation_p"] == said["p"]
    assert said["sentence"] in " ".join(capsys.readouterr().out.split())
    assert "permute" in json.loads((with_.path / "timings.json").read_text())
    assert not (without.path / "significance.json").exists()
    assert "permutation_p" not in record(without).metrics
    names = [
        [probe["name"] for probe in json.loads((made.path / "probes.json").read_text())] for made in (with_, without)
    ]
    assert names == [["columns", "parts", "pipeline", "model", "refits"], ["columns", "parts", "pipeline", "model"]]


@pytest.mark.slow
def test_on_noise_every_p_is_as_likely_as_any_other():
    """Acceptance criterion 17, reduced; experiments/permutation.md holds the whole."""
    found = study.summary(study.study(tables=15, rows=400, count=19, trees=5, tasks=["length_of_stay"]))
    assert found["ks_p"].min() > 0.01
