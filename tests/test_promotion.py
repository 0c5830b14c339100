"""Who is champion? Every branch of the rule, and that it is seldom wrong."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from mlflow import MlflowClient
from scipy import stats

from hi_ml.app.config import build
from hi_ml.app.errors import NoContest
from hi_ml.data.schema import Dataset
from hi_ml.modeling.models import Model
from hi_ml.modeling.scores.score import losses
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task
from hi_ml.reports.train import prepare
from hi_ml.scorer import serving
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    FEWEST_GROUPS,
    PairedLosses,
    PromotionPolicy,
    head_to_head,
    judge,
)  # fmt: skip
from hi_ml.tracking.send import send
from hi_ml.tracking.store import store_uri

MODEL = "simulated.length_of_stay"
QUICK = ["model=linear", "dataset.rows=400", "explain.rows=0", "tracking=none", "task=length_of_stay"]
GROUPS = 800


def met(*, gain=0.5, groups=GROUPS, seed=0):
    """A meeting of two rows per group in which the challenger loses `gain` days less on average."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 2)
    hard = rng.gamma(2.0, 2.0, len(group))
    gained = gain + rng.normal(0, 1, groups)[group]
    return PairedLosses("days", group, np.arange(len(group), dtype=np.uint64), hard + gained, hard)


NONE = np.array([], dtype=np.uint64)


# The rule


def test_a_model_that_is_shown_to_be_better_is_promoted():
    meeting = met()
    found = judge(meeting, NONE, comparisons=1)
    gained = (meeting.champion - meeting.challenger).reshape(-1, 2).mean(axis=1)
    expected = stats.ttest_1samp(gained, 0).confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(expected))
    assert found.alias == CHAMPION
    assert (found.groups, found.comparisons) == (GROUPS, 1)
    assert found.reason.startswith("better than the last champion: mean loss of the champion less its own +0.5")


@pytest.mark.parametrize("gain", [-0.5, 0.0])
def test_a_model_that_is_worse_or_as_good_stays_challenger(gain):
    found = judge(met(gain=gain), NONE, comparisons=1)
    assert found.alias == CHALLENGER
    assert "not shown to be better" in found.reason


def test_the_same_model_again_stays_challenger():
    meeting = met()
    found = judge(replace(meeting, champion=meeting.challenger), NONE, comparisons=1)
    assert (found.alias, found.difference.value, found.difference.low) == (CHALLENGER, 0, 0)


def test_every_comparison_on_a_split_widens_the_interval():
    meeting = met(gain=0.0)
    meeting = replace(meeting, champion=meeting.champion + 0.095 - (meeting.champion - meeting.challenger).mean())
    first, hundredth = (judge(meeting, NONE, comparisons=k) for k in (1, 100))
    assert (first.alias, hundredth.alias) == (CHAMPION, CHALLENGER)
    assert hundredth.difference.value == first.difference.value
    level = stats.t.ppf(1 - 0.025 / 100, GROUPS - 1) / stats.t.ppf(0.975, GROUPS - 1)
    widths = [found.difference.high - found.difference.low for found in (first, hundredth)]
    assert widths[1] / widths[0] == pytest.approx(level)
    assert "99.95 % interval" in hundredth.reason


def test_groups_with_a_row_that_the_champion_was_trained_on_are_left_out():
    meeting = met()
    known = np.arange(0, 400, 4, dtype=np.uint64)  # the first row of every second group of the first 200
    worse = np.isin(meeting.group, known // 2)
    flattered = replace(meeting, champion=np.where(worse, -1000.0, meeting.champion))
    assert judge(flattered, NONE, comparisons=1).alias == CHALLENGER
    found = judge(flattered, known, comparisons=1)
    assert (found.alias, found.groups) == (CHAMPION, GROUPS - 100)


def test_too_few_new_groups_leave_it_challenger_without_a_comparison():
    assert judge(met(groups=FEWEST_GROUPS), NONE, comparisons=1).alias == CHAMPION
    found = judge(met(groups=FEWEST_GROUPS), np.array([0], dtype=np.uint64), comparisons=1)
    assert (found.alias, found.difference, found.groups) == (CHALLENGER, None, FEWEST_GROUPS - 1)
    assert found.reason == "only 499 groups of its test part are new to the champion, 500 are needed"
    everything = judge(met(), np.arange(2 * GROUPS, dtype=np.uint64), comparisons=1)
    assert everything.groups == 0


@pytest.mark.slow
def test_twenty_equal_models_on_one_split_seldom_bring_forth_a_champion():
    """Without the correction about one family in three would (0.975 ** 20); with it, at most one in 20."""
    rng, promoted, families = np.random.default_rng(0), 0, 200
    for _ in range(families):
        decisions = (judge(met(gain=0.0, groups=500, seed=rng), NONE, comparisons=k) for k in range(1, 21))
        promoted += any(found.alias == CHAMPION for found in decisions)
    assert promoted <= stats.binom.ppf(0.999, families, 0.05)


# On the registry


@pytest.fixture(scope="module")
def table(tmp_path_factory, called):
    """A trained and never tracked run, with the table and the problem that it was trained on."""
    folder = called("train", tmp_path_factory.mktemp("outputs"), *QUICK)
    cfg = yaml.safe_load((folder / "length_of_stay" / "config.yaml").read_text())
    dataset, task = build(Dataset, cfg["dataset"]), build(Task, cfg["tasks"]["length_of_stay"])
    method = SimpleNamespace(model=build(Model, cfg["model"]), split=build(Split, cfg["split"]), seed=0)
    problem = prepare(dataset, [task], folder, {}).pose(task, method)
    return SimpleNamespace(folder=folder / task.name, dataset=dataset, problem=problem)


@pytest.fixture
def register(here, table):
    """Register the run once more, on the given terms; it says that it found a signal."""

    def once(terms=None, *, verdict="signal"):
        place = here / f"run{len(list(here.glob('run*')))}"
        shutil.copytree(table.folder, place, ignore=shutil.ignore_patterns("charts", "explanation"))
        said = json.loads((place / "verdict.json").read_text()) | {"verdict": verdict}
        (place / "verdict.json").write_text(json.dumps(said))
        return send(RunFolder(place)) if terms is None else send(RunFolder(place), terms)

    return once


@pytest.fixture
def client(here):  # noqa: ARG001 -- the store stands in the working folder
    return MlflowClient(tracking_uri=store_uri())


def version(client, number):
    return client.get_model_version(MODEL, str(number))


def aliases(client):
    return {alias: str(number) for alias, number in client.get_registered_model(MODEL).aliases.items()}


def meeting(**how):
    """Terms under which the champion is loaded and then said to have done so and so."""
    return PromotionPolicy("auto", lambda _scorer, _roles: met(**how))


def test_a_better_version_takes_the_alias_and_the_old_champion_keeps_its_version(register, client):
    first, second = register(), register(meeting())
    assert (first.alias, first.promotion) == (CHAMPION, "there was no champion")
    assert second.alias == CHAMPION
    assert aliases(client) == {CHAMPION: "2"}
    tags = version(client, 2).tags
    assert (tags["promotion"], tags["promotion_reason"]) == (CHAMPION, second.promotion)
    assert (tags["promotion_k"], tags["promotion_groups"], tags["promotion_against"]) == ("1", str(GROUPS), "1")
    assert float(tags["promotion_low"]) < float(tags["promotion_difference"]) < float(tags["promotion_high"])
    run = client.get_run(second.run_id).data.tags
    assert tags["compared_on"] == run["split_sha256"]
    assert {key: run[key] for key in run if key.startswith("promotion")} == {
        key: tags[key] for key in tags if key.startswith("promotion")
    }


def test_comparisons_on_a_split_are_counted_over_all_versions_and_champions(register, client):
    register()
    seen = [register(meeting(gain=gain)) for gain in (0.0, 0.5, 0.0)]
    assert [version(client, found.version).tags["promotion_k"] for found in seen] == ["1", "2", "3"]
    assert [found.alias for found in seen] == [CHALLENGER, CHAMPION, CHALLENGER]
    assert aliases(client) == {CHAMPION: "3", CHALLENGER: "4"}


def test_what_was_not_compared_does_not_count(register, client):
    register()
    for terms in (None, PromotionPolicy("always"), PromotionPolicy("never"), meeting(groups=100)):
        register(terms)
    register(meeting(), verdict="inconclusive")
    last = register(meeting(gain=0.0))
    assert version(client, last.version).tags["promotion_k"] == "1"


@pytest.mark.parametrize("verdict", ["no_signal", "inconclusive"])
def test_a_model_without_signal_stays_challenger(register, verdict):
    register()
    found = register(meeting(), verdict=verdict)
    assert (found.alias, found.promotion) == (CHALLENGER, f"its verdict is {verdict}")


def test_always_promotes_and_never_does_not_except_the_first(register, client):
    first = register(PromotionPolicy("never", lambda *_: met()))
    always = register(PromotionPolicy("always"), verdict="no_signal")
    never = register(PromotionPolicy("never", lambda *_: met()))
    assert [(found.alias, found.promotion) for found in (first, always, never)] == [
        (CHAMPION, "there was no champion"), (CHAMPION, "promote=always"), (CHALLENGER, "promote=never"),
    ]  # fmt: skip
    assert aliases(client) == {CHAMPION: "2", CHALLENGER: "3"}
    assert first.champion_verdict == "signal"
    assert never.champion_verdict == "no_signal"


def test_without_a_table_a_run_sent_later_stays_challenger(register, client):
    first, second, third = register(), register(), register(verdict="inconclusive")
    assert [sent.version for sent in (first, second, third)] == ["1", "2", "3"]
    assert (second.alias, second.promotion) == (CHALLENGER, "no table at hand to hold it against the champion")
    assert aliases(client) == {CHAMPION: "1", CHALLENGER: "3"}
    assert (version(client, 3).run_id, version(client, 3).tags["verdict"]) == (third.run_id, "inconclusive")


def test_a_champion_that_cannot_be_read_leaves_the_new_one_challenger(register, here):
    register()
    (pipeline,) = here.glob("mlartifacts/**/models/**/pipeline.skops")
    good = pipeline.read_bytes()
    pipeline.write_bytes(good[:-1] + b"x")
    found = register(meeting())
    assert found.alias == CHALLENGER
    assert found.promotion.startswith("not held against the champion: pipeline.skops was changed")
    pipeline.write_bytes(good)
    assert register(meeting()).alias == CHAMPION


def test_a_champion_of_which_no_rows_are_known_leaves_the_new_one_challenger(register, here):
    register()
    for kept in here.glob("mlartifacts/**/rows.parquet"):
        kept.unlink()
    found = register(meeting())
    assert (found.alias, "the champion keeps no rows.parquet" in found.promotion) == (CHALLENGER, True)


def test_whatever_the_meeting_raises_the_run_is_not_lost(register, client):
    register()

    def broken(*_):
        raise KeyError("age")

    found = register(PromotionPolicy("auto", broken))
    assert (found.alias, found.promotion) == (CHALLENGER, "not held against the champion: 'age'")
    assert client.get_run(found.run_id).info.status == "FINISHED"


def test_the_champion_is_loaded_as_it_was_tracked_with_the_rows_it_was_trained_on(register, table):
    rows = pd.read_parquet(table.folder / "rows.parquet")
    seen = {}

    def look(scorer, roles):
        seen.update(scorer=scorer, roles=roles)
        return replace(met(), digest=np.resize(rows.loc[rows["part"] == "train", "digest"], 2 * GROUPS))

    register()
    found = register(PromotionPolicy("auto", look))
    assert found.promotion.startswith("only 0 groups")  # all of them are rows of the champion's training part
    assert seen["scorer"].mapping["task"] == "length_of_stay"
    assert seen["roles"] == rows.attrs["roles"]


# The meeting


def champion_of(table):
    return serving.load(table.folder / "model" / "artifacts" / "scorer")


def stub(table, predicted=None):
    """A trained model as far as a meeting looks at it."""
    rows = int(table.problem.where("test").sum())
    return SimpleNamespace(problem=table.problem, predicted=np.zeros(rows) if predicted is None else predicted)


def test_a_champion_loses_what_its_own_run_says(table):
    rows = pd.read_parquet(table.folder / "predictions.parquet")
    found = head_to_head(stub(table), table.dataset, champion_of(table), ["age", "sex"])
    np.testing.assert_allclose(found.champion, (rows["target"] - rows["prediction"]).abs(), rtol=1e-9)
    np.testing.assert_array_equal(found.challenger, rows["target"])
    np.testing.assert_array_equal(found.group, rows["group"])
    assert found.unit == "days"


def test_the_digests_of_a_meeting_are_those_of_the_rows_of_the_run(table):
    rows = pd.read_parquet(table.folder / "rows.parquet")
    found = head_to_head(stub(table), table.dataset, champion_of(table), rows.attrs["roles"])
    np.testing.assert_array_equal(found.digest, rows.loc[rows["part"] == "test", "digest"])


def test_the_rows_of_a_run_hold_nothing_private_and_every_part(table):
    rows = pd.read_parquet(table.folder / "rows.parquet")
    assert list(rows) == ["row", "group", "part", "digest"]
    assert rows["digest"].dtype == np.uint64
    assert set(rows["part"]) == {"train", "calibration", "test"}
    assert len(rows) == len(table.problem.target)
    private = {role for role, column in table.dataset.columns.items() if column.private}
    assert private
    assert not private & set(rows.attrs["roles"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("kind", "classification", "they differ in kind, which is regression here and classification of the champion"),
        ("target", "billed", "differ in target, which is length_of_stay here and billed of"),
        ("unit", "hours", "differ in unit"),
        ("horizon", "discharge", "differ in horizon, which is admission here and discharge of"),
        ("labels", ["a", "b"], "differ in labels"),
    ],
)
def test_a_champion_that_predicts_something_else_is_no_match(table, key, value, said):
    champion = champion_of(table)
    with pytest.raises(NoContest, match=said):
        head_to_head(stub(table), table.dataset, replace(champion, mapping=champion.mapping | {key: value}), [])


def test_a_champion_that_needs_a_column_which_the_table_lacks_is_no_match(table):
    poorer = replace(table.problem, table=table.problem.table.drop(columns=["insurer", "age"]))
    trained = SimpleNamespace(problem=poorer, predicted=None)
    with pytest.raises(NoContest, match=r"the table has no (age, insurer|insurer, age), which the champion needs"):
        head_to_head(trained, table.dataset, champion_of(table), [])
    with pytest.raises(NoContest, match="the table has no ward"):
        head_to_head(stub(table), table.dataset, champion_of(table), ["ward"])


def test_the_shares_of_a_champion_are_lost_in_nats():
    labels = ["no", "yes"]
    mapping = {"target": "t", "kind": "classification", "unit": "label", "horizon": "stay", "labels": labels}
    shares = np.array([[0.75, 0.25], [0.5, 0.5]])
    answer = pa.table({f"p_{label}": shares[:, k] for k, label in enumerate(labels)})
    champion = SimpleNamespace(
        mapping=mapping | {"columns": [{"role": "age"}]},
        numbers=lambda typed: typed,
        encode=lambda _: None,
        answer=lambda *_: answer,
    )
    task = Task("t", "t", "classification", "label", "stay", "log_loss")
    rows, target = pd.DataFrame({"age": [1.0, 2.0]}), np.array([0.0, 1.0])
    problem = SimpleNamespace(
        task=task, labels=labels, table=rows, target=target, group=np.arange(2), where=lambda _: np.ones(2, dtype=bool)
    )
    trained = SimpleNamespace(problem=problem, predicted=np.array([[0.5, 0.5], [0.1, 0.9]]))
    found = head_to_head(trained, SimpleNamespace(spellings=dict), champion, ["age"])
    np.testing.assert_allclose(found.champion, -np.log([0.75, 0.5]))
    np.testing.assert_allclose(found.challenger, losses(task, target, trained.predicted))
    assert found.unit == "nats"


# The command


@pytest.mark.slow
def test_a_better_model_is_promoted_and_the_same_again_is_not(here, capsys, client, called):
    shared = ["dataset.rows=4000", "explain.rows=0", "task=[length_of_stay,test_results]"]
    said = []
    for number, model in enumerate(["baseline", "lgbm", "lgbm"]):
        called("train", here / "outputs" / str(number), *shared, f"model={model}")
        said.append(capsys.readouterr())
    for name in (MODEL, "simulated.test_results"):
        versions = [client.get_model_version(name, str(number)).tags for number in (1, 2, 3)]
        assert [tags["promotion"] for tags in versions] == [CHAMPION, CHAMPION, CHALLENGER]
        assert [tags["verdict"] for tags in versions] == ["no_signal", "signal", "signal"]
        assert float(versions[1]["promotion_low"]) > 0
        assert (float(versions[2]["promotion_difference"]), versions[2]["promotion_k"]) == (0, "2")
        assert f"{name} version 2 is champion: better than the last champion" in said[1].out
