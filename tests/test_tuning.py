"""The search inside the training part, its study, its gain, its importances and its chart."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from scipy import stats

from hi_ml.app import config
from hi_ml.app.errors import ConfigurationInvalid, NotResumable
from hi_ml.modeling import models
from hi_ml.modeling.scores import score
from hi_ml.modeling.spaces import Choices, Range
from hi_ml.modeling.tuning import gain as gains
from hi_ml.modeling.tuning import search, validation
from hi_ml.modeling.tuning.result import SearchResult, importances, run
from hi_ml.modeling.tuning.search import Trial, begin_study, finished_trials, identity
from hi_ml.modeling.tuning.validation import Plan
from hi_ml.reports.charts import tuning as charts
from hi_ml.reports.train import prepare
from hi_ml.statistics.groups import corrected_interval, corrected_p
from hi_ml.train import TrainSettings

PLAN = Plan(trials=6, folds=4, smallest_gain=0.005, seed=0)


def posed(place, *overrides):
    """A problem as the command poses it, and its model."""
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=list(overrides))
    settings = config.build(TrainSettings, cfg)
    (task,) = settings.at_horizon()
    return prepare(settings.dataset, [task], place, {}).pose(task, settings.method()), settings.model


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """A length of stay on 500 simulated admissions, for ridge with a default that is far too strong."""
    overrides = ["task=length_of_stay", "model=linear", "dataset.rows=500", "model.regression.alpha=50000"]
    return posed(tmp_path_factory.mktemp("days"), *overrides)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return posed(tmp_path_factory.mktemp("results"), "task=test_results", "model=linear", "dataset.rows=600")


def new_study(folder):
    """A study in a new file."""
    return begin_study(folder / f"{len(list(folder.iterdir()))}.journal", {})


def searched(folder, problem, model, plan=PLAN, *, earlier=()):
    """Search with a study in a new file."""
    study = new_study(folder)
    study.add_trials(list(earlier))
    return search.search(problem, model, plan, study=study, stage=lambda _: None), study


def without_clock(trials):
    return [(trial.number, trial.state, trial.settings, trial.losses, trial.error) for trial in trials]


def trial(number, state="complete", losses=(1.0, 2.0), **settings):
    return Trial(number, state, settings, tuple(losses), 0.0, 1.0, "", {})


# Cross-validation inside the training part


def test_folds_keep_groups_together_and_stay_inside_the_training_part(days):
    problem, _ = days
    folds = validation.cut(problem, count=4, seed=1)
    part = set(np.flatnonzero(problem.where("train")))
    assert sorted(np.concatenate([test for _, test in folds])) == sorted(part)
    for train_rows, test_rows in folds:
        assert set(train_rows) | set(test_rows) == part
        assert not set(problem.group[train_rows]) & set(problem.group[test_rows])


def test_the_loss_of_a_fold_is_the_mean_over_its_admissions(days):
    problem, model = days
    folds = validation.cut(problem, count=3, seed=1)
    names = list(problem.features.frame.columns)
    for (train, test), loss in zip(folds, validation.losses(problem, model, folds, seed=0), strict=True):
        rows = train[~pd.Series(problem.twin[train]).duplicated()]  # one copy teaches
        features = problem.features.part(rows, names)
        fitted = models.fit(model, features, problem.target[rows], group=problem.group[rows], classes=0, seed=0)
        error = np.abs(problem.target[test] - fitted.predict(problem.features.frame.iloc[test]))
        assert loss == pytest.approx(pd.Series(error).groupby(problem.twin[test]).mean().mean())


@pytest.mark.slow
def test_neither_calibration_nor_test_part_is_looked_at(days, tmp_path):
    problem, model = days
    hidden = ~problem.where("train")
    frame = problem.features.frame.copy()
    frame.loc[hidden] = np.nan
    blind = replace(
        problem,
        features=replace(problem.features, frame=frame),
        target=np.where(hidden, np.nan, problem.target),
    )
    seen, unseen = (run(one, model, PLAN, study=new_study(tmp_path), stage=lambda _: None) for one in (problem, blind))
    assert without_clock(seen.trials) == without_clock(unseen.trials)
    assert seen.gain == unseen.gain


def test_settings_reach_the_learner_of_the_task_only(days, results):
    (problem, model), (classes, same) = days, results
    assert validation.defaults(problem, model) == {"alpha": 50000}
    assert validation.defaults(classes, same) == {"C": 0.1}
    assert validation.configured(problem, model, {"alpha": 3.0}).regression["alpha"] == 3.0
    tuned = validation.configured(classes, same, {"C": 3.0})
    assert (tuned.classification["C"], tuned.regression) == (3.0, same.regression)


def test_only_a_learner_that_always_grows_all_trees_is_lighter_while_searching(days):
    problem, model = days
    forest = replace(model, regression={"_target_": "x", "n_estimators": 200}, space={})
    assert validation.lighter(problem, forest, 50).regression["n_estimators"] == 50
    assert validation.lighter(problem, forest, None) == forest
    assert validation.lighter(problem, forest, 500) == forest
    asked = replace(forest, space={"n_estimators": Range(10, 300)})
    assert validation.lighter(problem, asked, 50) == asked
    stopped = replace(forest, early_stopping=models.EarlyStopping(rounds=5, share=0.1))
    assert validation.lighter(problem, stopped, 50) == stopped
    assert validation.lighter(problem, model, 50) == model


# The search


@pytest.fixture(scope="module")
def whole(days, tmp_path_factory):
    """An unbroken search."""
    return searched(tmp_path_factory.mktemp("whole"), *days)[0]


def test_the_defaults_are_the_first_trial_and_the_best_is_no_worse(days, whole):
    problem, model = days
    folds = validation.cut(problem, count=4, seed=PLAN.child(0))
    assert whole[0].settings == {"alpha": 50000}
    assert whole[0].losses == tuple(validation.losses(problem, model, folds, seed=0))
    assert search.best(whole).loss < whole[0].loss
    assert search.best(whole).settings["alpha"] < 10000


def test_another_seed_tries_others(days, whole, tmp_path):
    other, _ = searched(tmp_path, *days, replace(PLAN, seed=1, trials=2))
    assert other[1].settings != whole[1].settings


def test_after_two_folds_the_better_half_of_all_trials_goes_on(days, tmp_path):
    problem, model = days
    trials, _ = searched(tmp_path, problem, replace(model, regression={**model.regression, "alpha": 100.0}))
    looks = [np.mean(one.losses[:2]) for one in trials]
    for index, one in enumerate(trials):
        best_half = sorted(looks[: index + 1])[: max(1, (index + 1) // 2)]
        assert one.state == ("complete" if looks[index] <= best_half[-1] else "pruned")
        assert len(one.losses) == (4 if one.state == "complete" else 2)
    assert {one.state for one in trials} == {"complete", "pruned"}


def test_a_loss_that_is_no_number_is_refused(days, monkeypatch):
    problem, model = days
    monkeypatch.setattr(score, "losses", lambda _task, target, _predicted: np.full(len(target), np.nan))
    with pytest.raises(ConfigurationInvalid, match="expected a finite mean, found nan"):
        next(validation.losses(problem, model, validation.cut(problem, count=3, seed=0), seed=0))


def test_choices_are_searched_too(results, tmp_path):
    problem, model = results
    learner = {**model.classification, "solver": "lbfgs", "fit_intercept": True}
    several = replace(
        model,
        classification=learner,
        space={"solver": Choices(["lbfgs", "newton-cg"]), "fit_intercept": Choices([True, False]), **model.space},
    )
    found, _ = searched(tmp_path, problem, several)
    assert {one.settings["solver"] for one in found} == {"lbfgs", "newton-cg"}
    assert {type(one.settings["fit_intercept"]) for one in found} == {bool}


# The study


def test_a_study_is_known_by_all_that_decides_its_trials(days):
    problem, model = days
    known = config.leaves(identity(problem, model, PLAN, data="a"))
    others = {
        "data_sha256": identity(problem, model, PLAN, data="b"),
        "seed": identity(problem, model, replace(PLAN, seed=5), data="a"),
        "folds": identity(problem, model, replace(PLAN, folds=7), data="a"),
        "trees": identity(problem, model, replace(PLAN, trees=7), data="a"),
        "model.space.alpha.low": identity(
            problem, replace(model, space={"alpha": Range(5, 1e5, log=True), "C": model.space["C"]}), PLAN, data="a"
        ),
        "split_sha256": identity(replace(problem, parts=problem.parts[::-1]), model, PLAN, data="a"),
        "task.horizon": identity(replace(problem, task=replace(problem.task, horizon="stay")), model, PLAN, data="a"),
    }
    for key, other in others.items():
        assert [name for name, value in config.leaves(other).items() if known[name] != value] == [key]


def test_the_study_of_another_search_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "study.journal"
    begin_study(path, {"seed": 0, "model": {"name": "lgbm", "old": 1}, "sha": "a" * 64})
    asked = {"seed": 0, "model": {"name": "linear", "new": 2}, "sha": "b" * 64}
    with pytest.raises(NotResumable) as found:
        finished_trials(path, asked)
    said = str(found.value)
    for words in ("model.name was lgbm and is linear", "old was 1 and is not set", "new was not set and is 2"):
        assert words in said
    assert f"sha was {'a' * 12}... and is {'b' * 12}..." in said
    assert "seed" not in said
    assert finished_trials(path, {"sha": "a" * 64, "model": {"old": 1, "name": "lgbm"}, "seed": 0}) == []


def test_a_study_that_is_absent_or_none_is_refused(tmp_path):
    with pytest.raises(NotResumable, match=r"no file at .*study\.journal"):
        finished_trials(tmp_path / "study.journal", {})
    for content in ("", "{}\n{}\n", "nothing\nof ours\n", '{"op_code": 0}\n{"op_code": 4}\n'):
        (tmp_path / "study.journal").write_text(content)
        with pytest.raises(NotResumable, match="no study that hi_ml wrote"):
            finished_trials(tmp_path / "study.journal", {})


def test_a_line_that_was_cut_short_does_not_count(days, tmp_path):
    problem, model = days
    path = tmp_path / "study.journal"
    study = begin_study(path, {})
    search.search(problem, model, replace(PLAN, trials=4), study=study, stage=lambda _: None)
    lines = path.read_text().splitlines(keepends=True)
    assert [json.loads(line)["op_code"] for line in lines[-4:]] == [4] * 4  # one line per finished trial
    path.write_text("".join(lines)[:-20])
    assert [one.number for one in finished_trials(path, {})] == [0, 1, 2]


# The gain


def test_the_gain_is_the_corrected_resampled_t_as_a_share_of_the_loss_of_the_defaults(days):
    rng = np.random.default_rng(0)
    before, after = rng.normal(5, 0.1, 10), rng.normal(4.9, 0.1, 10)
    gain = gains.judge("m", before, after, task=days[0].task, ratio=0.25, smallest=0.005)
    wide, narrow = (corrected_interval(before - after, ratio=0.25, level=level) for level in (0.95, 0.90))
    assert (gain.difference, gain.low, gain.high) == (wide.value, wide.low, wide.high)
    assert gain.p == corrected_p(before - after, ratio=0.25)
    shares = np.array([gain.gain, gain.low95, gain.high95, gain.low90, gain.high90])
    ends = np.array([wide.value, wide.low, wide.high, narrow.low, narrow.high])
    np.testing.assert_allclose(shares, ends / before.mean())


@pytest.mark.parametrize(
    ("gained", "noise", "verdict", "words"),
    [
        (0.05, 0.001, "better", "5.0 %"),
        (0.002, 0.001, "no_better", "less than 0.5 %, no better than the defaults"),
        (-0.05, 0.001, "no_better", "no better than the defaults"),
        (0.01, 0.05, "inconclusive", "inconclusive"),
        (0.0, 0.0, "no_better", "None of the configurations tried is better than the defaults of ridge"),
    ],
)
def test_the_verdict_on_a_gain(days, gained, noise, verdict, words):
    before = np.full(10, 4.0) + np.linspace(-0.2, 0.2, 10)
    after = before * (1 - gained) + noise * 4 * np.resize([-1, 1], 10)
    found = gains.judge("ridge", before, after, task=days[0].task, ratio=0.25, smallest=0.005)
    assert found.verdict == verdict
    assert words in found.sentence
    assert "length of stay" in found.sentence


def test_the_gain_is_measured_on_folds_that_the_search_has_not_seen(days, monkeypatch):
    problem, model = days
    cut, seen = validation.cut, []
    monkeypatch.setattr(gains, "cut", lambda *args, **more: seen.extend(cut(*args, **more)) or seen[-4:])
    found = gains.measure(problem, model, model, PLAN)
    assert (found.folds, found.difference, found.p, found.verdict) == (8, 0, 1, "no_better")
    searching = {test.tobytes() for _, test in cut(problem, count=4, seed=PLAN.child(0))}
    assert len({test.tobytes() for _, test in seen}) == 8
    assert not searching & {test.tobytes() for _, test in seen}


@pytest.mark.slow
def test_a_default_that_is_far_off_is_beaten(days, tmp_path):
    problem, model = days
    found = run(problem, model, PLAN, study=new_study(tmp_path), stage=lambda _: None)
    assert (found.gain.verdict, found.chosen) == ("better", found.best)
    assert found.tuned.regression["alpha"] == found.best.settings["alpha"]
    assert found.counts() == {"complete": 6 - found.counts()["pruned"], "pruned": found.counts()["pruned"], "failed": 0}


@pytest.mark.slow
def test_on_noise_tuning_is_no_better(tmp_path):
    overrides = ["task=length_of_stay", "dataset.scenario=noise", "dataset.rows=20000"]
    problem, model = posed(tmp_path, *overrides)
    found = run(problem, model, replace(PLAN, trials=10), study=new_study(tmp_path), stage=lambda _: None)
    assert found.gain.verdict == "no_better"
    assert found.best.loss <= found.trials[0].loss


def test_what_is_no_better_on_new_folds_is_not_chosen(days):
    problem, model = days
    tried = [trial(0, losses=(2.0, 2.0), alpha=50000), trial(1, losses=(1.0, 1.0), alpha=1.0)]

    def result(difference):
        gain = SimpleNamespace(difference=difference)
        return SearchResult(problem, model, PLAN, tried, gain, pd.DataFrame())

    assert result(0.1).chosen.number == 1
    assert result(0.1).tuned.regression["alpha"] == 1.0
    for difference in (0.0, -0.1):
        assert result(difference).chosen.number == 0
        assert result(difference).tuned == model


# What the trials tell


def test_the_best_is_complete_and_the_first_of_equals():
    tried = [trial(0, losses=(3, 3)), trial(1, "pruned", (1,)), trial(2, losses=(2, 2)), trial(3, losses=(2, 2))]
    assert search.best(tried).number == 2
    assert [one.loss for one in tried] == [3, None, 2, 2]


def test_the_history_shows_each_trial_by_its_difference_from_the_defaults():
    tried = [
        trial(0, losses=(1.0, 5.0, 3.0)),
        trial(1, "pruned", losses=(1.5, 5.5)),  # 0.5 worse on two folds, of which the second is hard
        trial(2, "failed", losses=()),
        trial(3, losses=(0.8, 4.9, 3.0)),
    ]
    table = search.history(tried, ratio=0.5)
    np.testing.assert_allclose(table["loss"], [3.0, 3.5, np.nan, 2.9])
    np.testing.assert_allclose(table["best"], [3.0, 3.0, 3.0, 2.9])
    np.testing.assert_allclose(table["defaults"], 3.0)
    assert table["folds"].tolist() == [3, 2, 0, 3]
    differences = np.array([-0.2, -0.1, 0.0])
    reach = stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 0.5) * differences.var(ddof=1))
    assert (table["low"][3], table["high"][3]) == pytest.approx((2.9 - reach, 2.9 + reach))
    assert (table["low"][0], table["high"][0]) == (3.0, 3.0)


def tried(count, loss):
    """Trials over two settings."""
    spread = optuna.distributions.FloatDistribution(0, 1)
    rng, trials = np.random.default_rng(3), []
    for number in range(count):
        settings = {"matters": float(rng.random()), "idle": float(rng.random())}
        one = trial(number, losses=(loss(settings), loss(settings) + 1), **settings)
        trials.append(replace(one, distributions=dict.fromkeys(settings, spread)))
    return trials


@pytest.mark.slow
def test_the_setting_that_moves_the_loss_is_the_important_one():
    table = importances(tried(30, lambda settings: (settings["matters"] - 0.3) ** 2), seed=0)
    assert table["column"].tolist() == ["matters", "idle"]
    assert table["importance"].sum() == pytest.approx(1)
    assert table["importance"][0] > 0.8
    assert table["low"][0] > table["high"][1]
    assert (table["low"] <= table["importance"]).all()
    assert (table["importance"] <= table["high"]).all()
    assert table["n"].tolist() == [30, 30]


def test_too_few_trials_or_no_differences_have_no_importances():
    assert importances(tried(9, lambda settings: settings["matters"]), seed=0).empty
    assert importances(tried(20, lambda _: 1.0), seed=0).empty


# The chart


def history(*rows):
    columns = ["number", "state", "loss", "low", "high", "best", "defaults"]
    return pd.DataFrame(rows, columns=columns)


def test_the_axis_shows_the_trials_that_reached_all_folds_and_pruned_ones_at_its_edge():
    table = history(
        (0, "complete", 4.5, 4.5, 4.5, 4.5, 4.5),
        (1, "pruned", 4.6, 4.0, 5.2, 4.5, 4.5),
        (2, "failed", np.nan, np.nan, np.nan, 4.5, 4.5),
        (3, "complete", 4.4, 4.3, 4.52, 4.4, 4.5),
        (4, "pruned", 99.0, 50.0, 150.0, 4.4, 4.5),
    )
    figure = charts.history(table, title="t", caption="c", score="mae", unit="days")
    low, high = figure.axes[0].get_ylim()
    assert low < 4.3
    assert 4.52 < high < 4.6
    (pruned,) = (line for line in figure.axes[0].lines if line.get_label() == "pruned")
    assert pruned.get_ydata().tolist() == [high, high]
