import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hi_ml
from hi_ml.app.config import build, compose
from hi_ml.app.errors import NotTrainable
from hi_ml.app.process import another_process
from hi_ml.data.duplicates import Twins
from hi_ml.data.simulation import simulate
from hi_ml.evaluation import training
from hi_ml.evaluation.assessment import catalogue
from hi_ml.modeling import problem as problems
from hi_ml.modeling.features import Features
from hi_ml.modeling.tasks import select
from hi_ml.train import TrainSettings

TASKS = ["length_of_stay", "billing", "test_results"]
SOURCE = Path(__file__).resolve().parents[1] / "data" / "raw" / "healthcare_dataset.csv"
PRIVATE = {"patient_name", "doctor"}


def asked(*overrides):
    """Tasks and method, as the command would have them."""
    settings = build(TrainSettings, compose("train", *overrides))
    return settings.tasks, settings.method()


def simulated(**keys):
    return hi_ml.read("simulated", **keys)


@pytest.fixture(scope="module")
def admissions():
    return simulated(rows=800)


@pytest.fixture(scope="module")
def defaults():
    return asked()


def posed(admissions, task, method, **how):
    features = Features.of(admissions, select(task, problems.available(admissions))[0])
    return problems.pose(
        admissions, task, features=features, model=method.model, split=method.split, seed=method.seed, **how
    )


def trained(admissions, task, method):
    return training.train(posed(admissions, task, method), method)


def altered(admissions, group=None, **columns):
    """The table with columns replaced, and its rows in other groups."""
    table = admissions.table.assign(**columns)
    group = admissions.group if group is None else group
    return replace(admissions, table=table, group=group, twins=Twins(group, {}, ()))


@pytest.mark.parametrize("name", TASKS)
def test_every_column_of_the_dataset_is_used_or_refused_with_a_reason(admissions, defaults, name):
    problem = posed(admissions, defaults[0][name], defaults[1])
    used = set(problem.features.role.values())
    assert not used & set(problem.refused)
    assert used | set(problem.refused) == {*admissions.dataset.columns, "length_of_stay"}
    assert all(problem.refused.values())
    assert problem.refused.keys() >= PRIVATE
    assert PRIVATE.isdisjoint(problem.table)


def test_a_column_that_the_dataset_does_not_describe_is_refused_by_name(admissions, defaults):
    problem = posed(replace(admissions, extra=("Shoe Size",)), defaults[0]["billing"], defaults[1])
    assert problem.refused["Shoe Size"] == "not described by the dataset"


def test_rows_without_a_target_are_left_out(admissions, defaults):
    holes = np.arange(800) % 10 == 0
    billed = admissions.table["billed"].mask(holes)
    problem = posed(altered(admissions, billed=billed), defaults[0]["billing"], defaults[1])
    assert len(problem.target) == 720
    np.testing.assert_array_equal(np.sort(problem.row), admissions.row[~holes])
    pairs = np.column_stack([problem.group, admissions.group[problem.row - 1]])
    assert len(np.unique(pairs, axis=0)) == len(np.unique(problem.group)) == len(np.unique(admissions.group[~holes]))
    assert len(problem.features.frame) == len(problem.parts) == len(problem.table) == len(problem.twin) == 720


def test_a_label_that_no_row_has_is_no_class(admissions, defaults):
    result = admissions.table["test_result"]
    without = result.mask(result == "Normal")
    problem = posed(altered(admissions, test_result=without), defaults[0]["test_results"], defaults[1])
    assert problem.labels == ["Abnormal", "Inconclusive"]
    assert set(problem.target) == {0, 1}


def test_a_column_of_hundreds_of_levels_is_used_and_what_is_left_out_is_named_with_its_reason(defaults):
    scattered = replace(simulated(rows=800, scenario="noise"), extra=("Shoe Size",))
    scattered = altered(scattered, scattered.group, room=np.ones(800), age=np.full(800, np.nan))
    task = replace(defaults[0]["billing"], horizon="stay")
    assert "hospital" in posed(scattered, task, defaults[1], smallest_cell=1).features.role
    problem = posed(scattered, task, defaults[1])
    assert [note for note in problem.notes if note.startswith("Left out")] == [
        "Left out: age: no value in the training rows.",
        "Left out: hospital: no level of 5 patients in the training rows.",
        "Left out: room: one value in the training rows.",
        "Left out: Shoe Size: not described by the dataset.",
    ]


def table_without(admissions, role):
    columns = {key: column for key, column in admissions.dataset.columns.items() if key != role}
    return replace(
        admissions,
        table=admissions.table.drop(columns=role),
        dataset=replace(admissions.dataset, columns=columns),
    )


def test_a_task_whose_column_is_missing_names_the_key_to_set(admissions, defaults):
    with pytest.raises(NotTrainable, match=r"no 'billed'.*columns\.billed\.from"):
        posed(table_without(admissions, "billed"), defaults[0]["billing"], defaults[1])


@pytest.mark.parametrize(
    ("name", "columns", "found"),
    [
        ("billing", {"billed": 5.0}, r"only 5\.0"),
        ("billing", {"billed": np.nan}, "none at all"),
        ("billing", {"billed": pd.Categorical(["high", "low"] * 400)}, "categories"),
        ("test_results", {"test_result": pd.Categorical(["Normal"] * 800)}, "only Normal"),
    ],
)
def test_a_target_without_two_values_is_not_trainable(admissions, defaults, name, columns, found):
    with pytest.raises(NotTrainable, match=found):
        posed(altered(admissions, **columns), defaults[0][name], defaults[1])


@pytest.mark.parametrize(("smallest", "fewest"), [(1, 15), (5, 25), (6, 30)])
def test_groups_that_do_not_make_three_or_a_cell_of_the_smallest_part_are_not_trainable(
    admissions, defaults, smallest, fewest
):
    task, method = defaults[0]["length_of_stay"], defaults[1]
    with pytest.raises(NotTrainable, match=rf"at least {fewest} groups.*found {fewest - 1}"):
        posed(altered(admissions, group=np.arange(800) % (fewest - 1)), task, method, smallest_cell=smallest)
    problem = posed(altered(admissions, group=np.arange(800) % fewest), task, method, smallest_cell=smallest)
    assert len(np.unique(problem.group[problem.where("test")])) == max(3, smallest)


@pytest.mark.parametrize(("first", "part"), [(0, "train"), (640, "test")])
def test_a_part_of_a_single_group_is_not_trainable(admissions, first, part):
    """A mean over one group has no interval: nothing could be judged, or nothing learnt."""
    tasks, method = asked("split=temporal")
    day = admissions.table["admitted_on"].rank(method="first").to_numpy()
    giant = np.where((day > first) & (day <= first + 500), -1, np.arange(800))
    with pytest.raises(NotTrainable, match=f"split=temporal leaves fewer than two groups of rows in the {part} part"):
        posed(altered(admissions, group=giant), tasks["length_of_stay"], method)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_giant_group_is_trained_on_or_refused_wherever_it_falls(admissions, defaults, seed):
    tasks, method = defaults
    giant = np.where(np.arange(800) < 700, -1, np.arange(800))
    try:
        made = trained(altered(admissions, group=giant), tasks["test_results"], replace(method, seed=seed))
    except NotTrainable:
        return
    assert made.results["verdict"].n_groups >= 2
    few = made.results["verdict"].reason.startswith("too few")  # then no interval is given
    numbers = made.results["scores"][["value", "baseline", *([] if few else ["low", "high"])]]
    assert np.isfinite(numbers.to_numpy()).all()


@pytest.mark.parametrize(("name", "role"), [("billing", "billed"), ("test_results", "test_result")])
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_in_which_the_target_never_varies_is_not_trainable(admissions, defaults, name, role, part):
    problem = posed(admissions, defaults[0][name], defaults[1])
    values = admissions.table[role].copy()
    values[problem.row[problem.where(part)] - 1] = values.iloc[0]
    with pytest.raises(NotTrainable, match=f"the {part}.* part of split=grouped"):
        posed(altered(admissions, **{role: values}), defaults[0][name], defaults[1])


def test_a_table_of_which_no_column_can_teach_is_not_trainable(admissions, defaults):
    task = replace(defaults[0]["length_of_stay"], features=["age"])
    with pytest.raises(NotTrainable, match="age: one value in the training rows"):
        posed(altered(admissions, age=40.0), task, defaults[1])


@pytest.mark.parametrize("name", TASKS)
def test_a_trained_task_is_judged_on_its_test_rows(admissions, defaults, name):
    made = trained(admissions, defaults[0][name], defaults[1])
    problem, test = made.problem, made.problem.where("test")
    np.testing.assert_array_equal(made.predicted, made.fitted.predict(problem.features.frame[test]))
    assert made.results["verdict"].n_groups == len(np.unique(problem.group[test]))
    primary = made.results["scores"].iloc[0]
    assert made.results["verdict"].skill == pytest.approx(1 - primary["value"] / primary["baseline"])
    assert {"fit", "score", "leakage", "explain"} <= set(made.seconds)
    numbers = [*asdict(made.results["verdict"]).values(), *asdict(made.results["leakage"]).values()]
    assert all(math.isfinite(value) for value in numbers if isinstance(value, float))


@pytest.mark.parametrize("name", TASKS)
def test_the_same_seed_gives_the_same_results_and_another_seed_another_split(admissions, name):
    tasks, method = asked(
        "significance=permutation", "permutation.count=2", "permutation.trees=5", "explain.rows=5", "split.repeats=2"
    )
    first, again = (trained(admissions, tasks[name], method) for _ in range(2))
    np.testing.assert_array_equal(first.predicted, again.predicted)
    assert catalogue().keys() - first.results.keys() == {"holdout"}  # that needs a column to hold out by
    for assessment in (catalogue()[name] for name in first.results):
        one, other = (assessment.table(run.results[assessment.name]) for run in (first, again))
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, check_exact=True, obj=assessment.name)
        else:
            assert one == other
    other = posed(admissions, tasks[name], replace(method, seed=1))
    assert (other.parts != first.problem.parts).any()


@pytest.mark.slow
def test_planted_effects_are_a_signal_and_noise_is_none():
    tasks, method = asked("leakage.test=0.1", "explain.rows=0")
    planted, noise = simulated(rows=4000), simulated(rows=4000, scenario="noise")
    assert trained(planted, tasks["length_of_stay"], method).results["verdict"].verdict == "signal"
    assert trained(planted, tasks["test_results"], method).results["verdict"].verdict == "signal"
    for task in tasks.values():
        assert trained(noise, task, method).results["verdict"].verdict != "signal"


@pytest.mark.slow
def test_on_noise_a_signal_is_seen_as_rarely_as_its_level_allows():
    """Acceptance criterion 10: at most one in forty (the 95 % interval above 0), and it must reach 2 % as well."""
    tasks, method = asked("explain.rows=0")
    seen = [
        trained(simulated(rows=1500, scenario="noise", seed=seed), task, replace(method, seed=seed))
        .results["verdict"]
        .verdict
        for seed in range(8)
        for task in tasks.values()
    ]
    assert stats.binomtest(seen.count("signal"), len(seen), 0.025, alternative="greater").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not SOURCE.is_file(), reason="data/raw/healthcare_dataset.csv is absent: see data/README.md")
def test_a_forest_on_the_kaggle_table_shows_the_eleven_points_that_leaked():
    """Acceptance criterion 11: 43.9 % with twins, 33.3 % without, one point of tolerance, and nothing elsewhere."""
    tasks, method = asked("task=test_results", "model=random_forest", "explain.rows=0")
    forest = {"_target_": "sklearn.ensemble.RandomForestClassifier", "n_estimators": 30, "n_jobs": 1}  # of full depth
    method = replace(method, model=replace(method.model, classification=forest))
    made = trained(hi_ml.read(SOURCE), tasks["test_results"], method)
    assert made.results["leakage"].random_score == pytest.approx(0.439, abs=0.01)
    assert made.results["leakage"].grouped_score == pytest.approx(0.333, abs=0.01)
    assert made.results["leakage"].predicted_gap == pytest.approx(0.106, abs=0.01)
    assert made.results["leakage"].twin_share == pytest.approx(0.159, abs=0.01)
    assert abs(made.results["leakage"].gap_without_twin) < 0.01
    assert made.results["verdict"].verdict == "no_signal"


def test_nothing_but_the_features_is_taught(admissions, defaults):
    """Swapping private columns, later columns and the targets of test rows changes no prediction of a test row."""
    task, method = defaults[0]["length_of_stay"], defaults[1]
    before = trained(admissions, task, method)
    test = before.problem.row[before.problem.where("test")] - 1
    rng = np.random.default_rng(0)
    stay = admissions.table["length_of_stay"].to_numpy().copy()
    stay[test] = rng.permutation(stay[test])
    changed = altered(
        admissions,
        length_of_stay=stay,
        billed=rng.random(800),
        test_result=pd.Categorical(["Normal"] * 800),
        medication=admissions.table["medication"].to_numpy()[::-1],
        discharged_on=admissions.table["discharged_on"].to_numpy()[::-1],
    )
    changed = replace(changed, twins=admissions.twins)
    np.testing.assert_array_equal(trained(changed, task, method).predicted, before.predicted)


def test_a_nearly_empty_column_is_trained_with(admissions):
    """Its only two values are all in some part of the rows, and absent in others: refits for the leak among them."""
    tasks, method = asked("model=hist_gbm", "task=billing", "leakage.repeats=4", "explain.rows=20")
    problem = posed(admissions, tasks["billing"], method)
    train = problem.row[problem.where("train")] - 1
    age = np.full(800, np.nan)
    age[train[:2]] = [30.0, 40.0]
    assert (
        "age"
        in trained(altered(admissions, admissions.group, age=age), tasks["billing"], method)
        .results["explanation"]
        .roles
    )


def test_a_table_pasted_together_many_times_is_trained_and_judged(admissions, defaults):
    """Every row has copies everywhere: the leakage has no clean rows to compare with, and says so."""
    pasted = np.tile(np.arange(40), 40)
    many = replace(
        admissions,
        table=admissions.table.iloc[pasted].reset_index(drop=True),
        row=np.arange(1, 1601),
        group=pasted,
        twins=Twins(pasted, {}, ()),
    )
    for task in defaults[0].values():
        made = trained(many, task, defaults[1])
        assert made.results["leakage"].twin_share == 1
        assert "constant" in made.results["leakage"].sentence
        assert made.results["verdict"].n_groups == 8


def test_the_same_rows_in_another_order_are_the_same_table(defaults, reading, tmp_path):
    """Digests, groups, splits of every rule, predictions, scores and claims."""
    written = simulate("planted", 600, seed=1, hospitals=5).table.to_pandas()
    moved = np.random.default_rng(0).permutation(len(written))
    written.to_csv(tmp_path / "one.csv", index=False)
    written.iloc[moved].to_csv(tmp_path / "other.csv", index=False)
    tables = [reading(tmp_path / f"{name}.csv") for name in ("one", "other")]
    assert tables[0].sha256 == tables[1].sha256
    assert tables[0].column_sha256 == tables[1].column_sha256
    task, method = defaults[0]["length_of_stay"], defaults[1]
    for split in ("random", "temporal"):
        method = replace(method, split=replace(method.split, name=split))
        one, other = (posed(table, task, method).split_digest() for table in tables)
        assert one == other
    one, other = (trained(table, task, defaults[1]) for table in tables)
    assert one.problem.split_digest() == other.problem.split_digest()
    np.testing.assert_array_equal(one.problem.content, other.problem.content)
    pd.testing.assert_frame_equal(one.problem.table, other.problem.table)
    np.testing.assert_array_equal(one.problem.group, other.problem.group)
    np.testing.assert_array_equal(one.predicted, other.predicted)
    pd.testing.assert_frame_equal(one.results["scores"], other.results["scores"])
    one, other = (hi_ml.state_claims(table, "billing_variation")[0] for table in tables)
    assert one.evidence == other.evidence


@pytest.mark.slow
def test_a_leak_that_was_begun_ahead_is_the_one_that_is_measured_afterwards(admissions, defaults):
    tasks, method = defaults
    problem = posed(admissions, tasks["test_results"], method)
    alone = training.fit(problem, method)
    assert "leakage" not in alone.results  # a fit that nothing is asked of begins nothing
    asked = []
    with another_process("fits") as ask:
        begun = training.begin(problem, method, lambda *call: asked.append(call) or ask(*call))
        judged = training.train(problem, method, begun=begun)
    ((_, bare, *_),) = asked  # the leak alone, and none of the table goes there
    assert not len(bare.table.columns)
    assert judged.results["leakage"] == training.assess(alone).results["leakage"]
    assert list(judged.results) == list(training.train(problem, method).results)
