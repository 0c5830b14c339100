from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

import hi_ml
from hi_ml.app.config import build, compose
from hi_ml.app.errors import GroupsTorn, NotTrainable
from hi_ml.evaluation import leaking_columns, probes, significance, tracer
from hi_ml.evaluation.assessment import FittedRun, Method
from hi_ml.evaluation.judgement import Judgement
from hi_ml.evaluation.probes import Probing
from hi_ml.evaluation.significance import Permutation
from hi_ml.modeling import encoding, splits
from hi_ml.modeling import problem as problems
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model
from hi_ml.modeling.splits import Split
from hi_ml.train import main

LIMIT = Probing()
SCENARIOS = ["planted", "noise"]
SMUGGLED = {"left_on": {"from": "Discharge Date", "kind": "date", "known": "admission"}}


def posed(task, *overrides, columns=(), **dataset):
    """A task of a simulated table, as the command would pose it."""
    admissions = hi_ml.read(hi_ml.declare("simulated", columns=dict(columns), **dataset))
    return hi_ml.pose(admissions, task, overrides=overrides)


def shipped(name="lgbm"):
    return build(Model, compose("train", f"model={name}")["model"])


@pytest.fixture(scope="module")
def stays():
    return posed("length_of_stay", rows=1000, seed=1)


@pytest.fixture(scope="module")
def bills():
    return posed("billing", rows=1000, seed=1)


@pytest.fixture(scope="module")
def results():
    return posed("test_results", rows=1000, seed=1)


def with_feature(problem, *, name="extra", levels=None, **columns_):
    """The problem with features added; a column of codes if there are levels."""
    features = problem.features
    spec = {"kind": "category", "levels": levels} if levels else {"kind": "number"}
    return replace(
        problem,
        features=Features(
            features.frame.assign(**(columns_ or {name: 0.0})),
            features.specs | dict.fromkeys(columns_, spec),
            features.role | {added: added for added in columns_},
        ),
    )


# --- columns ---


def look(problem, limit=LIMIT, seed=0):
    return leaking_columns.look(problem, largest_skill=limit.largest_skill, seed=seed)


def refused(problem, *named):
    with pytest.raises(NotTrainable) as found:
        look(problem)
    assert all(f"'{name}'" in str(found.value) for name in named)
    return str(found.value)


def test_a_discharge_date_under_another_name_is_refused_with_both_columns_and_the_keys():
    said = refused(posed("length_of_stay", columns=SMUGGLED, rows=600), "admitted_on", "left_on")
    assert "dataset.columns.left_on.known=after" in said
    assert "tasks.length_of_stay.features" in said
    assert "probes.largest_skill" in said


def test_a_discharge_written_as_seconds_is_refused(stays):
    seconds = (stays.table["discharged_on"].to_numpy().astype("datetime64[s]").astype("int64")).astype(float)
    refused(with_feature(stays, left_at=seconds), "admitted_on", "left_at")


def test_a_discharge_date_of_which_some_are_wrong_is_refused(stays):
    rng = np.random.default_rng(0)
    day = stays.table["discharged_on"].to_numpy().astype("datetime64[D]").astype(float)
    wrong = np.where(rng.random(len(day)) < 0.02, day + rng.integers(-400, 400, len(day)), day)
    problem = with_feature(stays, left_on=wrong)
    problem.features.specs["left_on"] = {"kind": "date"}
    refused(problem, "admitted_on", "left_on")


TRANSFORMS = {
    "copy": lambda y: y,
    "other unit": lambda y: 24 * y + 7,
    "logarithm": lambda y: np.log1p(np.abs(y)) * np.sign(y),
    "reversed": lambda y: -(y**3),
    "rounded": lambda y: np.round(y / y.std(), 2),
    "not monotone": lambda y: np.abs(y - np.median(y)) + 1e6 * (y > np.median(y)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("target", ["stays", "bills"])
def test_a_function_of_the_target_is_refused(request, target, name):
    problem = request.getfixturevalue(target)
    refused(with_feature(problem, after=TRANSFORMS[name](problem.target)), "after")


def test_a_function_of_a_target_with_a_heavy_tail_is_refused(bills):
    heavy = replace(bills, target=np.exp(np.random.default_rng(0).normal(8, 1.5, len(bills.target))))
    refused(with_feature(heavy, paid=np.log(heavy.target)), "paid")


def test_a_copy_with_holes_is_refused_as_long_as_they_are_few(bills):
    holes = np.random.default_rng(0).random(len(bills.target))
    refused(with_feature(bills, paid=np.where(holes < 0.02, np.nan, bills.target)), "paid")
    assert look(with_feature(bills, paid=np.where(holes < 0.5, np.nan, bills.target)))


def test_two_parts_of_a_sum_are_refused(bills):
    own = bills.target * np.random.default_rng(0).random(len(bills.target))
    refused(with_feature(bills, own_share=own, insurer_share=bills.target - own), "own_share", "insurer_share")


def test_a_code_of_the_label_is_refused_and_a_few_wrong_ones_hide_nothing(results):
    rng = np.random.default_rng(0)
    wrong = rng.random(len(results.target)) < 0.004
    code = np.where(wrong, rng.integers(0, 3, len(wrong)), (results.target + 1) % 3)
    refused(with_feature(results, levels=["a", "b", "c"], billing_code=code), "billing_code")


def test_a_number_from_which_the_label_was_made_is_refused(results):
    measured = results.target + np.random.default_rng(0).random(len(results.target))
    refused(with_feature(results, measured=measured), "measured")


def test_a_label_made_from_two_dates_is_refused(stays, results):
    long = (stays.table["length_of_stay"] > 20).to_numpy(float)
    day = stays.table["discharged_on"].to_numpy().astype("datetime64[D]").astype(float)
    problem = replace(results, features=with_feature(stays, left_on=day).features, target=long, labels=["no", "yes"])
    refused(problem, "admitted_on", "left_on")


def test_a_limit_of_one_allows_all(stays):
    assert "the nearest, after," in look(with_feature(stays, after=stays.target), Probing(1.0))


def test_a_column_below_the_limit_passes_and_is_named(stays):
    noisy = stays.target + np.random.default_rng(0).normal(0, stays.target.std() / 5, len(stays.target))
    assert "the nearest, guessed, alone removes" in look(with_feature(stays, guessed=noisy))


def test_empty_and_constant_columns_are_no_trouble(stays):
    empty = np.full(len(stays.target), np.nan)
    assert look(with_feature(stays, empty=empty, same=np.ones_like(empty)))


@pytest.mark.parametrize("skill", [0.97, 0.5])
@pytest.mark.parametrize(("score", "words"), [("mae", "removes {} of the"), ("roc_auc", "goes {} of the way")])
def test_a_model_too_good_to_be_true_is_suspected(skill, score, words):
    found = probes.of_skill(Judgement("signal", "", score, "median", skill, None, None, None, None, 0.02), LIMIT)
    assert found.passed == (skill < 0.95)
    assert words.format(f"{100 * skill:.1f} %") in found.detail


@pytest.mark.parametrize("limit", [0, 1.1, "much"])
def test_a_limit_that_is_no_share_is_refused(limit):
    with pytest.raises(ValidationError):
        build(Probing, {"largest_skill": limit})


# --- parts ---


def torn(problem):
    """The same rows, parted one by one."""
    parted = splits.assign(Split("random", 0.6, 0.2, 0.2), problem.group, seed=0, table=problem.table)
    return replace(problem, parts=parted)


@pytest.mark.parametrize("rule", ["grouped", "temporal"])
def test_no_group_is_torn_apart_by_an_honest_split(rule):
    assert probes.of_parts(posed("length_of_stay", f"split={rule}", rows=600), rule).passed


def test_torn_groups_are_a_defect_unless_they_were_asked_for(stays):
    with pytest.raises(GroupsTorn, match=r"split=grouped tears \d+ groups.*fault of hi_ml"):
        probes.of_parts(torn(stays), "grouped")
    found = probes.of_parts(torn(stays), "random")
    together = pd.DataFrame({"group": stays.group, "part": torn(stays).parts}).groupby("group")["part"].nunique()
    assert not found.passed
    assert f"tears {(together > 1).sum()} groups" in found.detail


def test_twins_that_were_given_two_groups_are_found(stays):
    alone = np.arange(len(stays.group))
    with pytest.raises(GroupsTorn, match="of near-duplicates"):
        probes.of_parts(torn(replace(stays, group=alone)), "temporal")


# --- the tracer ---


def traced(problem, model=None):
    return tracer.trace(problem, model or shipped(), seed=0)


def fold_rows(group, *, count, seed):
    """Folds that know no groups."""
    return list(KFold(count, shuffle=True, random_state=seed).split(group))


class Careless(TargetEncoder):
    """A target encoding without cross-fitting."""

    def fit_transform(self, X, y, **_):
        return self.fit(X, y).transform(X)


def fit_all(problem, model, rows, *, seed):
    """Fit on the test rows too."""
    return problems.fit_rows(problem, model, np.append(rows, np.flatnonzero(problem.where("test"))), seed=seed)


def encode_all(problem, model, rows, *, seed):
    """Fit on the training rows, and the encoding once more, on all."""
    fitted = problems.fit_rows(problem, model, rows, seed=seed)
    encode = encoding.encoder(model.encoding, problem.features, problem.target, problem.group, classes=0, seed=seed)
    encode.fit_transform(problem.features.frame.to_numpy(), problem.target)
    fitted.pipeline.steps[0] = ("encode", encode)
    return fitted


def betrayed(match, problem):
    with pytest.raises(GroupsTorn, match=match):
        traced(problem)


OWN = "encoded by their own group's target"


def inject(name, problem, monkeypatch):
    """Break the pipeline in one way, and look whether the tracer comes out there."""
    with monkeypatch.context() as broken:
        if name == "target encoding without cross-fitting":
            broken.setattr(encoding, "TargetEncoder", Careless)
            betrayed(f"training rows were {OWN}", problem)
        elif name == "target encoding over folds of rows":
            broken.setattr(encoding, "folds", fold_rows)
            betrayed(f"training rows were {OWN}", problem)
        elif name == "target encoding of all rows":
            broken.setattr(tracer, "fit_rows", encode_all)
            betrayed(f"test rows were {OWN}", problem)
        elif name == "early stopping on folds of rows":
            broken.setattr(splits, "folds", fold_rows)
            betrayed("both teach the learner and stop it early", problem)
        else:
            broken.setattr(tracer, "fit_rows", fit_all)
            betrayed(r"rows of other parts were taught", problem)


INJECTED = [
    "target encoding without cross-fitting",
    "target encoding over folds of rows",
    "target encoding of all rows",
    "early stopping on folds of rows",
    "test rows taught",
]


@pytest.mark.parametrize("name", INJECTED)
@pytest.mark.parametrize("target", ["stays", "results"])
def test_a_broken_pipeline_is_found_out(request, name, target, monkeypatch):
    inject(name, request.getfixturevalue(target), monkeypatch)


@pytest.mark.parametrize("name", ["catboost", "lgbm", "lgbm_bagged", "hist_gbm", "random_forest", "linear", "baseline"])
@pytest.mark.parametrize("target", ["stays", "results"])
def test_the_pipelines_of_all_models_are_tight(request, name, target):
    detail = traced(request.getfixturevalue(target), shipped(name))
    assert ("stop it early" in detail) == (name in ("catboost", "lgbm", "lgbm_bagged", "hist_gbm"))


def test_a_random_split_lets_no_target_into_the_pipeline(stays):
    assert "no row's features know its target" in traced(torn(stays))


def test_where_every_tested_group_is_taught_too_nothing_is_asked_of_the_test_rows(stays):
    assert traced(replace(torn(stays), group=np.arange(len(stays.group)) % 15))


# --- refits on exchanged targets ---


class LeakyFitted:
    """Predicts each level's mean target over all rows, those that are tested included."""

    def __init__(self, problem, column):
        self.mean, self.column = pd.Series(problem.target).groupby(problem.features.frame[column]).mean(), column

    def predict(self, frame):
        return frame[self.column].map(self.mean).to_numpy()


def leaky(problem, _model, _rows, *, seed):  # noqa: ARG001 -- as fit_rows
    return LeakyFitted(problem, "ward")


def with_wards(problem, seed):
    """Wards of about 20 rows, the same for all rows of a group, that say nothing of the target."""
    names, place = np.unique(problem.group, return_inverse=True)
    ward = np.random.default_rng(seed).integers(0, len(names) // 20, len(names))[place].astype(float)
    return with_feature(problem, levels=[str(k) for k in range(len(names) // 20)], ward=ward)


def refitted(problem, seed, monkeypatch, fit=problems.fit_rows, count=20):
    method = Method(shipped(), Split("grouped", 0.6, 0.2, 0.2), seed)
    with monkeypatch.context() as patched:
        patched.setattr(significance, "fit_rows", fit)
        how = Permutation(count=count, stop_after=count + 1, trees=10)
        permuted = significance.measure(FittedRun(problem, method, None, None, None), how).permuted
    return probes.of_refits(permuted)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["stays", "bills"])
def test_a_target_encoding_that_saw_the_test_rows_is_found_by_refits(request, target, monkeypatch):
    problem = with_wards(request.getfixturevalue(target), 0)
    leak = refitted(problem, 0, monkeypatch, leaky, count=60)
    assert "targets leak" in leak.detail
    assert not leak.passed
    assert refitted(problem, 0, monkeypatch, count=60).passed


def test_a_model_that_learns_noise_by_heart_is_bad_but_no_leak():
    assert probes.of_refits([-0.3, -0.31, -0.29, -0.3]).passed


def test_too_few_refits_tell_nothing():
    for skills in ([], [0.5], [0.0, 0.0, 0.0]):
        assert probes.of_refits(skills).passed


# --- all together ---


@pytest.mark.slow
def test_a_leaking_column_stops_its_task_and_no_other(tmp_path, inside):
    smuggled = "+dataset.columns.left_on={from: Discharge Date, kind: date, known: admission}"
    asked = ["dataset.rows=400", "explain.rows=0", "model=baseline", "tracking=none", smuggled]
    ended = inside(main, "task=[length_of_stay,billing]", *asked)
    assert ended.code == 1
    assert "'admitted_on' and 'left_on' together are the target" in ended.stderr
    assert [path.parent.name for path in tmp_path.rglob("verdict.json")] == ["billing"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_every_injected_leak_is_found(seed, monkeypatch):
    """Acceptance criterion 18, its first half."""
    scenario = SCENARIOS[seed % 2]
    refused(posed("length_of_stay", columns=SMUGGLED, rows=500, seed=seed, scenario=scenario), "admitted_on", "left_on")
    problem = posed("length_of_stay", rows=1000, seed=seed, scenario=scenario)
    with pytest.raises(GroupsTorn):
        probes.of_parts(torn(problem), "grouped")
    again = problem.units_of(problem.where("train")).repeat
    for name in INJECTED:
        if again or "folds of rows" not in name:  # where nobody comes again one copy teaches, and no row of its group
            inject(name, problem, monkeypatch)
    assert not refitted(with_wards(problem, seed), seed, monkeypatch, leaky, count=50).passed


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("seed", range(30))
def test_no_probe_cries_wolf(seed, scenario, monkeypatch):
    """Acceptance criterion 18, its second half: on noise, and on planted effects as well."""
    task = ("length_of_stay", "billing", "test_results")[seed % 3]
    problem = posed(task, rows=600, seed=seed, scenario=scenario)
    method = Method(shipped(), Split("grouped", 0.6, 0.2, 0.2), seed)
    assert all(probe.passed for probe in probes.before(problem, method, LIMIT))
    assert refitted(with_wards(problem, seed), seed, monkeypatch, count=5).passed
