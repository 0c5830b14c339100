"""Who is champion? Every branch of the rule, and that it is seldom wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from mlflow import MlflowClient
from scipy import stats
from scipy.special import expit

from hi_ml.app.config import build
from hi_ml.app.errors import NoContest, SiteKeyInvalid
from hi_ml.data.digests import row_digests
from hi_ml.data.schema import Dataset
from hi_ml.modeling.models import Model
from hi_ml.modeling.scores.score import losses
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task
from hi_ml.reports.train import prepare
from hi_ml.scorer import serving
from hi_ml.statistics.groups import Units
from hi_ml.tracking import contest
from hi_ml.tracking.contest import PairedLosses, digests_of, head_to_head, rows_of
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.registry import CHALLENGER, CHAMPION, FEWEST_GROUPS, PromotionPolicy, judge
from hi_ml.tracking.send import send
from hi_ml.tracking.site import keyed
from hi_ml.tracking.store import store_uri

MODEL = "simulated.length_of_stay"
GROUPS = 800


def met(*, gain=0.5, groups=GROUPS, seed=0):
    """A meeting of two rows per group in which the challenger loses `gain` days less on average."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 2)
    hard = rng.gamma(2.0, 2.0, len(group))
    gained = gain + rng.normal(0, 1, groups)[group]
    return PairedLosses("days", Units.of(group), np.arange(len(group), dtype=np.uint64), hard + gained, hard)


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """A folder with a key of its own."""
    monkeypatch.chdir(tmp_path)


NONE = np.array([], dtype=np.uint64)


# The rule


def test_a_model_that_is_shown_to_be_better_is_promoted():
    meeting = met()
    found = judge(meeting, NONE, comparisons=1)
    gained = (meeting.champion - meeting.challenger).reshape(-1, 2).mean(axis=1)
    expected = stats.ttest_1samp(gained, 0).confidence_interval(0.975)  # the first spends .05 / (1 x 2)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(expected))
    assert found.alias == CHAMPION
    assert (found.groups, found.comparisons) == (GROUPS, 1)
    assert found.reason.startswith("better than the last champion: mean loss of the champion less its own +0.5")


@pytest.mark.parametrize("gain", [-0.5, 0.0])
def test_a_model_that_is_worse_or_as_good_stays_challenger(gain):
    found = judge(met(gain=gain), NONE, comparisons=1)
    assert found.alias == CHALLENGER
    assert found.reason.startswith("not shown to be better")
    assert found.reason.endswith(
        "the interval would have to lie above 0; promote=always, once, makes it champion all the same"
    )


def test_of_patients_who_come_again_each_admission_counts_and_the_patients_are_what_is_sure():
    rng = np.random.default_rng(0)
    patient = np.sort(rng.integers(0, GROUPS, 3000))
    gained = 0.1 + rng.normal(size=GROUPS)[patient]
    loss = rng.gamma(2.0, 2.0, 3000)
    units, digest = Units.of(np.arange(3000), patient), np.arange(3000, dtype=np.uint64)
    pair = PairedLosses("days", units, digest, loss + gained, loss)
    found, known = (judge(pair, seen, comparisons=1) for seen in (NONE, digest[:1]))
    patients = len(np.unique(patient))
    sums = pd.Series(gained - gained.mean()).groupby(patient).sum()
    error = np.sqrt(patients / (patients - 1) * (sums**2).sum()) / 3000
    assert found.difference.value == pytest.approx(gained.mean())
    assert found.difference.high - found.difference.value == pytest.approx(
        stats.t.ppf(1 - 0.0125, patients - 1) * error
    )
    assert found.groups == patients
    assert f"; 3,000 admissions of {patients} patients, design effect 4." in found.reason
    assert known.groups == patients - 1


def test_a_gain_that_is_sure_but_small_is_not_worth_a_change():
    meeting = met(gain=0.2)
    loss = meeting.champion.mean()
    gain = (meeting.champion - meeting.challenger).mean() / loss
    just, short = (judge(meeting, NONE, comparisons=1, smallest=gain + off) for off in (-1e-9, 1e-9))
    assert (just.alias, short.alias) == (CHAMPION, CHALLENGER)
    assert short.difference == just.difference
    assert short.reason.startswith("better, but by too little: mean loss of the champion less its own +0.2")
    large = judge(meeting, NONE, comparisons=1, smallest=0.5)
    assert f"; {loss / 2:.3f} days are needed, 50 % of the champion's loss; promote=always" in large.reason


def test_the_same_model_again_stays_challenger():
    meeting = met()
    found = judge(replace(meeting, champion=meeting.challenger), NONE, comparisons=1)
    assert (found.alias, found.difference.value, found.difference.low) == (CHALLENGER, 0, 0)


def test_every_comparison_of_a_champion_widens_the_interval():
    meeting = met(gain=0.0)
    meeting = replace(meeting, champion=meeting.champion + 0.095 - (meeting.champion - meeting.challenger).mean())
    first, tenth = (judge(meeting, NONE, comparisons=k) for k in (1, 10))
    assert (first.alias, tenth.alias) == (CHAMPION, CHALLENGER)
    assert tenth.difference.value == first.difference.value
    level = stats.t.ppf(1 - 0.025 / 110, GROUPS - 1) / stats.t.ppf(1 - 0.025 / 2, GROUPS - 1)
    widths = [found.difference.high - found.difference.low for found in (first, tenth)]
    assert widths[1] / widths[0] == pytest.approx(level)
    assert "99.9545 % interval" in tenth.reason
    assert "comparison 10 of this champion, each champion's count starts anew" in tenth.reason


def test_groups_with_a_row_that_the_champion_was_trained_on_are_left_out():
    meeting = met()
    known = np.arange(0, 400, 4, dtype=np.uint64)  # the first row of every second group of the first 200
    worse = np.isin(meeting.units.unit, known // 2)
    flattered = replace(meeting, champion=np.where(worse, -1000.0, meeting.champion))
    assert judge(flattered, NONE, comparisons=1).alias == CHALLENGER
    found = judge(flattered, known, comparisons=1)
    assert (found.alias, found.groups) == (CHAMPION, GROUPS - 100)


def test_too_few_new_groups_leave_it_challenger_without_a_comparison():
    assert judge(met(groups=FEWEST_GROUPS), NONE, comparisons=1).alias == CHAMPION
    found = judge(met(groups=FEWEST_GROUPS), np.array([0], dtype=np.uint64), comparisons=1)
    assert (found.alias, found.difference, found.groups) == (CHALLENGER, None, FEWEST_GROUPS - 1)
    assert found.reason.startswith("only 499 groups of its test part are new to the champion, 500 are needed; promote=")
    everything = judge(met(), np.arange(2 * GROUPS, dtype=np.uint64), comparisons=1)
    assert everything.groups == 0


def equal_models(kind, rng, *, truth=None, groups=500):
    """Losses of two models that err as much as each other on a rare event or on bills with a long tail."""
    risk, outcome = truth if truth is not None else outcomes(kind, rng, groups)
    pair = []
    for _ in range(2):
        seen = risk + rng.normal(0, 0.5, groups)
        if kind == "bills":
            pair.append(np.abs(outcome - np.exp(seen)))
        else:
            pair.append(np.logaddexp(0, np.where(outcome, -seen, seen)))
    return PairedLosses("nats", Units.of(np.arange(groups)), np.arange(groups, dtype=np.uint64), *pair)


def outcomes(kind, rng, groups):
    risk = rng.normal(-4 if kind == "rare" else 0, 1, groups)
    return risk, np.exp(risk + rng.normal(0, 1.5, groups)) if kind == "bills" else rng.random(groups) < expit(risk)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rare", "even", "bills"])
@pytest.mark.parametrize("one_split", [True, False])
def test_twenty_equal_models_seldom_bring_forth_a_champion(kind, one_split):
    """In at most 5 % of a champion's lives, whether all met it on one split or each on a split of its own.

    Each comparison at 95 % would promote one in one life of three (1 - 0.975 ** 20), with 1 - 0.05 / k in one of
    twelve on splits of their own.
    """
    rng, promoted, lives = np.random.default_rng(0), 0, 100
    for _ in range(lives):
        truth = outcomes(kind, rng, 500) if one_split else None
        first = equal_models(kind, rng, truth=truth).champion
        for k in range(1, 21):
            pair = equal_models(kind, rng, truth=truth)
            pair = replace(pair, champion=first) if one_split else pair
            if judge(pair, NONE, comparisons=k, smallest=0.005).alias == CHAMPION:
                promoted += 1
                break
    assert promoted <= stats.binom.ppf(0.999, lives, 0.05)


# On the registry


@pytest.fixture(scope="module")
def table(finished):
    """A trained and never tracked run, with the table and the problem that it was trained on."""
    cfg = yaml.safe_load((finished / "config.yaml").read_text())
    dataset, task = build(Dataset, cfg["dataset"]), build(Task, cfg["tasks"]["length_of_stay"])
    method = SimpleNamespace(
        model=build(Model, cfg["model"]), split=build(Split, cfg["split"]), seed=0, smallest_cell=5
    )
    problem = prepare(dataset, [task], finished.parent, {}).pose(task, method)
    return SimpleNamespace(folder=finished, dataset=dataset, problem=problem)


@pytest.fixture
def register(here, table):
    """Register the run once more, on the given terms; it says that it found a signal."""

    def once(terms=None, *, verdict="signal", split=None):
        place = here / f"run{len(list(here.glob('run*')))}"
        shutil.copytree(table.folder, place, ignore=shutil.ignore_patterns("charts", "explanation"))
        said = json.loads((place / "verdict.json").read_text()) | {"verdict": verdict}
        (place / "verdict.json").write_text(json.dumps(said))
        if split:
            ran = json.loads((place / "run.json").read_text()) | {"split_sha256": split}
            (place / "run.json").write_text(json.dumps(ran))
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
    assert {key: run[key] for key in run if key.startswith("promotion")} == {
        key: tags[key] for key in tags if key.startswith("promotion")
    }


def test_comparisons_are_counted_of_each_champion_whatever_the_split_or_became_of_the_others(register, client):
    register()
    seen = [register(meeting(gain=gain), split=split) for gain, split in ((0.0, "a"), (0.5, "b"), (0.0, "b"))]
    client.delete_model_version(MODEL, "2")
    client.set_registered_model_alias(MODEL, CHAMPION, "1")
    seen.append(register(meeting(gain=0.0)))
    assert [found.alias for found in seen] == [CHALLENGER, CHAMPION, CHALLENGER, CHALLENGER]
    assert [version(client, number).tags["promotion_k"] for number in (3, 4, 5)] == ["2", "1", "3"]
    assert [version(client, number).tags["promotion_against"] for number in (3, 4, 5)] == ["1", "3", "1"]
    assert [version(client, number).tags["comparisons"] for number in (1, 3)] == ["3", "1"]


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
    assert found.alias == CHALLENGER
    assert found.promotion.startswith(f"its verdict is {verdict}, signal is needed; promote=always")


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
    assert second.alias == CHALLENGER
    assert second.promotion.startswith("no table at hand to hold it against the champion; promote=always, once, makes")
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
    for kept in here.glob("mlartifacts/**/digests.parquet"):
        kept.unlink()
    found = register(meeting())
    assert (found.alias, "the champion keeps no digests.parquet" in found.promotion) == (CHALLENGER, True)


def test_whatever_the_meeting_raises_the_run_is_not_lost(register, client):
    register()

    def broken(*_):
        raise KeyError("age")

    found = register(PromotionPolicy("auto", broken))
    assert (found.alias, found.promotion.split(";")[0]) == (CHALLENGER, "not held against the champion: 'age'")
    assert client.get_run(found.run_id).info.status == "FINISHED"


def test_the_champion_is_loaded_as_it_was_tracked_with_the_rows_it_was_trained_on(register, table):
    rows = its_rows(table)
    seen = {}

    def look(scorer, known):
        seen.update(scorer=scorer, rows=known)
        return replace(met(), digest=np.resize(rows.loc[rows["train"], "digest"], 2 * GROUPS))

    register()
    found = register(PromotionPolicy("auto", look))
    assert found.promotion.startswith("only 0 groups")  # all of them are rows of the champion's training part
    assert seen["scorer"].mapping["task"] == "length_of_stay"
    pd.testing.assert_frame_equal(seen["rows"], rows)
    assert seen["rows"].attrs == rows.attrs


def test_rows_of_another_key_are_not_known_again_and_the_run_says_so(table):
    rows, key = its_rows(table), Path(".hi_ml/key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert np.isin(rows["digest"], pd.read_parquet(table.folder / "rows.parquet")["digest"]).sum() == 0
    key.unlink()
    with pytest.raises(NoContest, match=r"another key than the one in \.hi_ml/key, .* can no longer be paired"):
        head_to_head(stub(table), table.dataset, champion_of(table), rows)
    key.write_text("no key")
    with pytest.raises(SiteKeyInvalid, match=r"\.hi_ml/key holds no key: expected 64 hexadecimal digits"):
        its_rows(table)


# The meeting


def its_rows(table, **attrs):
    """What MLflow has of the rows of the champion's run."""
    rows = digests_of(pd.read_parquet(table.folder / "rows.parquet"))
    rows.attrs |= attrs
    return rows


def champion_of(table):
    return serving.load(table.folder / "model" / "artifacts" / "scorer")


def stub(table, predicted=None):
    """A trained model as far as a meeting looks at it."""
    rows = int(table.problem.where("test").sum())
    predicted, test = np.zeros(rows) if predicted is None else predicted, table.problem.where("test")
    return SimpleNamespace(problem=table.problem, predicted=predicted, units=table.problem.units_of(test))


def test_a_champion_loses_what_its_own_run_says(table):
    rows = pd.read_parquet(table.folder / "predictions.parquet")
    found = head_to_head(stub(table), table.dataset, champion_of(table), its_rows(table))
    np.testing.assert_allclose(found.champion, (rows["target"] - rows["prediction"]).abs(), rtol=1e-9)
    np.testing.assert_array_equal(found.challenger, rows["target"])
    np.testing.assert_array_equal(found.units.unit, np.unique(rows["group"], return_inverse=True)[1])
    assert found.unit == "days"


def test_the_digests_of_a_meeting_are_those_of_the_rows_of_the_run(table):
    rows = pd.read_parquet(table.folder / "rows.parquet")
    found = head_to_head(stub(table), table.dataset, champion_of(table), its_rows(table))
    np.testing.assert_array_equal(found.digest, keyed(rows.loc[rows["part"] == "test", "digest"].to_numpy()))


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
        head_to_head(
            stub(table), table.dataset, replace(champion, mapping=champion.mapping | {key: value}), its_rows(table)
        )


def test_a_champion_that_needs_a_column_which_the_table_lacks_is_no_match(table):
    poorer = replace(table.problem, table=table.problem.table.drop(columns=["insurer", "age"]))
    trained = SimpleNamespace(problem=poorer, predicted=None)
    with pytest.raises(NoContest, match=r"the table has no (age, insurer|insurer, age), which the champion needs"):
        head_to_head(trained, table.dataset, champion_of(table), its_rows(table, roles=[]))
    with pytest.raises(NoContest, match="the table has no ward"):
        head_to_head(stub(table), table.dataset, champion_of(table), its_rows(table, roles=["ward"]))


def altered(table, *, strange=True, mean=None, **columns):
    """The problem with other columns, after which no row is known again, or with another mean of the target."""
    problem = table.problem
    changed = problem.table.assign(age=problem.table["age"] + 0.5 * strange, **columns)
    target = problem.target * (mean / problem.target.mean() if mean else 1)
    one = stub(table)
    one.problem = replace(problem, table=changed, target=target)
    return one


def test_new_rows_of_the_same_hospitals_are_met(table):
    found = head_to_head(altered(table), table.dataset, champion_of(table), its_rows(table))
    assert not np.isin(found.digest, its_rows(table)["digest"]).any()


def renamed(table, role, *, share=1.0):
    """A column in which a share of the cells has names of other hospitals."""
    values = table.problem.table[role].astype(str)
    return values.where(np.arange(len(values)) >= share * len(values), "Other " + values).astype("category")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (lambda table: {"hospital": renamed(table, "hospital")}, r"100.0 % of hospital new"),
        (lambda table: {"insurer": renamed(table, "insurer", share=0.6)}, r"60.0 % of insurer new"),
        (lambda _: {"ward": 1.0}, "columns that it had not: ward"),
        (lambda table: {"mean": table.problem.target.mean() / 4}, r"length_of_stay 0.25 times as large"),
    ],
)
def test_a_table_without_the_champions_rows_that_is_unlike_its_own_is_another_one(table, others, said):
    other = altered(table, **others(table))
    with pytest.raises(NoContest, match=f"looks like another table than the champion's .*{said}.*dataset.name=<name>"):
        head_to_head(other, table.dataset, champion_of(table), its_rows(table))


def test_a_table_with_the_champions_rows_is_its_own_whatever_came_to_it(table):
    grown = altered(table, strange=False, ward=1.0, mean=0.1)  # of which half came later
    rows = its_rows(table)
    rows.loc[rows.index[::2], "digest"] += np.uint64(1)
    assert len(head_to_head(grown, table.dataset, champion_of(table), rows).champion)


def test_columns_in_other_units_are_another_table(table):
    units = table.problem.units | {"age": "months"}
    other = SimpleNamespace(problem=replace(table.problem, units=units), predicted=None)
    with pytest.raises(NoContest, match="age in months instead of years"):
        head_to_head(other, table.dataset, champion_of(table), its_rows(table))


def test_a_champion_of_which_less_is_known_is_met_all_the_same(table):
    rows = its_rows(table)
    del rows.attrs["units"], rows.attrs["levels"], rows.attrs["mean"]  # of a run of an earlier version
    assert len(head_to_head(stub(table), table.dataset, champion_of(table), rows).champion)


def test_of_many_levels_some_are_remembered_without_their_names(table):
    wards = pd.Series([f"ward {number}" for number in range(1000)] * 2).astype("category")
    size, problem = len(wards), table.problem

    def rows(values):
        columns = pd.DataFrame({"hospital": values})
        part = {"row": np.arange(size), "group": np.arange(size), "parts": np.zeros(size, dtype=np.int8)}
        return rows_of(replace(problem, table=columns, target=np.ones(size), **part), table.dataset)

    kept = digests_of(rows(wards)).attrs["levels"]["hospital"]
    every = keyed(row_digests(pd.DataFrame({"hospital": wards}), table.dataset.spellings()))
    assert kept == sorted(set(every.tolist()))[:200]
    some = wards.astype(str).where(np.arange(size) % 10 < 7, "other " + wards.astype(str)).astype("category")
    digests = keyed(row_digests(pd.DataFrame({"hospital": some}), table.dataset.spellings()))
    assert contest._new(digests, kept) == pytest.approx(0.3, abs=0.1)


def test_only_a_number_has_a_mean_by_which_a_table_is_known(table):
    rows = rows_of(table.problem, table.dataset)
    assert rows.attrs["mean"] == table.problem.target.mean()
    assert rows.attrs["units"]["age"] == "years"
    labels = replace(table.problem, labels=["no", "yes"])
    assert rows_of(labels, table.dataset).attrs["mean"] is None


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
        task=task, labels=labels, table=rows, target=target, units={},
        where=lambda _: np.ones(2, dtype=bool),
    )  # fmt: skip
    known = pd.DataFrame({"digest": row_digests(rows, {}), "part": "train"})
    known.attrs["roles"] = ["age"]
    known = digests_of(known)
    predicted = np.array([[0.5, 0.5], [0.1, 0.9]])
    trained = SimpleNamespace(problem=problem, predicted=predicted, units=Units.of(np.arange(2)))
    found = head_to_head(trained, SimpleNamespace(spellings=dict), champion, known)
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
        assert [tags["verdict"] for tags in versions] == ["inconclusive", "signal", "signal"]  # the first: a constant
        assert float(versions[1]["promotion_low"]) > 0
        assert (float(versions[2]["promotion_difference"]), versions[2]["promotion_k"]) == (0, "1")
        assert f"{name} version 2 is champion: better than the last champion" in said[1].out
