import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from hi_ml.prediction import drift
from hi_ml.prediction.drift import Sensitivity
from hi_ml.scorer import serving

SCRIPT = Path(__file__).parents[1] / "experiments" / "drift.py"
SPEC = importlib.util.spec_from_file_location("drift_study", SCRIPT)
study = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(study)

INSURERS, WARDS = ["Aetna", "Cigna", "Medicare", "Blue Cross"], [f"Ward {i:03}" for i in range(200)]
CATEGORY = {"kind": "category", "missing": [], "spelling": "case"}
WARD = {"role": "ward", "source": "Ward", **CATEGORY}
COLUMNS = [
    {"role": "age", "source": "Age", "kind": "number", "missing": []},
    {"role": "insurer", "source": "Insurance Provider", "levels": INSURERS, **CATEGORY},
    WARD | {"levels": WARDS},
    {"role": "admitted_on", "source": "Date of Admission", "kind": "date", "missing": []},
    {"role": "length_of_stay", "kind": "stay", "inclusive": False},
]
TAUGHT = 5_000


def rows(count, seed):
    """Typed columns of one law."""
    rng = np.random.default_rng(seed)
    return {
        "age": pa.array(rng.integers(18, 86, count).astype(float)),
        "insurer": pa.array(rng.choice(INSURERS, count)).dictionary_encode(),
        "ward": pa.array(rng.choice(WARDS, count)).dictionary_encode(),
        "admitted_on": pa.array(np.datetime64("2024-01-01") + rng.integers(0, 365, count)).cast(pa.timestamp("us")),
        "length_of_stay": pa.array(rng.integers(1, 31, count).astype(float)),
    }


def numbers(typed):
    return serving.numbers(typed, COLUMNS)


@pytest.fixture(scope="module")
def known():
    """The profile of rows of the law, as it comes out of a file."""
    features = serving.features(rows(TAUGHT, 0), COLUMNS)
    return json.loads(json.dumps(drift.profile(features, COLUMNS, np.arange(TAUGHT))))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        (
            {"age": pa.array(np.arange(12.0 * 18, 12.0 * 18 + 400))},
            "1 of 5 columns are unlike it (Age: 100.0 % of the values are above",
        ),
        ({"length_of_stay": pa.array(np.full(400, 0.2))}, "length_of_stay: 100.0 % of the values are at most 2"),
        (
            {
                "insurer": pa.array(["A", "B"] * 200).dictionary_encode(),
                "ward": pa.array(["C"] * 400).dictionary_encode(),
            },
            "2 of 5",
        ),
        ({"insurer": pa.array(["A", "Aetna", "Cigna"] * 133 + ["A"]).dictionary_encode()}, ""),
    ],
)
def test_rows_of_another_table_or_another_unit_are_counted_by_column(known, changes, said):
    counts = drift.count_rows(known, numbers(rows(400, 1) | changes))
    sentence = drift.another_table(known, counts)
    assert said in sentence
    assert bool(said) == bool(sentence)


def reported(known, count, sensitivity=None, *, seed=1, **changes):
    counts = drift.count_rows(known, numbers(rows(count, seed) | changes))
    return drift.compare(known, counts, sensitivity or Sensitivity())


def words(values):
    return pa.array(values, pa.string()).dictionary_encode()


@pytest.mark.parametrize("count", [0, 1, 40, 3_000])
def test_rows_of_the_same_law_raise_no_alarm(known, count):
    found = reported(known, count)
    assert drift.alarms(found) == []
    assert list(found) == ["Age", "Insurance Provider", "Ward", "Date of Admission", "length_of_stay"]
    assert {column["n"] for column in found.values()} == {count}
    assert {column["sentence"] for column in found.values()} == {""}


PLANTED = {
    "older": ("Age", "values", lambda n: {"age": pa.array(rows(n, 2)["age"].to_numpy() + 25)}),
    "in months": ("Age", "values", lambda n: {"age": pa.array(rows(n, 2)["age"].to_numpy() * 12)}),
    "one age": ("Age", "values", lambda n: {"age": pa.array(np.full(n, 51.0))}),
    "no age": ("Age", "missing", lambda n: {"age": pa.nulls(n, pa.float64())}),
    "one insurer": ("Insurance Provider", "values", lambda n: {"insurer": words(["Aetna"] * n)}),
    "a new insurer": ("Insurance Provider", "new levels", lambda n: {"insurer": words(["Newcomer"] * n)}),
    "one ward of 200": ("Ward", "values", lambda n: {"ward": words(["Ward 017"] * n)}),
    "no date": ("Date of Admission", "missing", lambda n: {"admitted_on": pa.nulls(n, pa.timestamp("us"))}),
    "long stays": ("length_of_stay", "values", lambda n: {"length_of_stay": pa.array(np.full(n, 40.0))}),
}


@pytest.mark.parametrize("count", [40, 2_000])
@pytest.mark.parametrize(("name", "part", "change"), PLANTED.values(), ids=PLANTED)
def test_gross_drift_is_seen_in_forty_rows(known, name, part, change, count):
    found = reported(known, count, **change(count))
    assert [column for column, one in found.items() if one["alarm"]] == [name]
    assert found[name]["part"] == part
    (said,) = drift.alarms(found)
    assert said.startswith(f"{name}: ")


def test_an_alarm_is_a_statistic_above_its_threshold(known):
    for _, _, change in PLANTED.values():
        for column in reported(known, 60, **change(60)).values():
            assert column["alarm"] == (column["statistic"] > column["threshold"])
            assert 0 <= column["statistic"] <= 1
            assert 0 < column["threshold"] <= 1


def test_the_sentence_says_what_moved_from_what_to_what(known):
    said = [drift.alarms(reported(known, 200, **change(200)))[0] for _, _, change in PLANTED.values()]
    older, months, one_age, no_age, insurer, new, ward, date, stay = said
    assert "median 52 in training, 79 here; middle half 35 to 69, here 62 to above 82" in older
    assert "above 82 here" in months
    assert "median 52 in training, 52 here; middle half 35 to 69, here 52 (" in one_age
    assert "missing in 0.0 % of the training rows, 100.0 % here" in no_age
    assert "Aetna in 25" in insurer
    assert "100.0 % here" in insurer
    assert "100.0 % of these rows hold a level that no training row held, 0.0 % were to be expected" in new
    assert "Ward 010 to Ward 019 in 4.9" in ward
    assert "missing" in date
    assert "here above 29 (" in stay
    assert all("alarm above" in sentence and ("Check" in sentence) for sentence in said)


def test_a_night_is_always_later_than_training(known):
    tonight = pa.array(np.full(40, np.datetime64("2031-05-05"))).cast(pa.timestamp("us"))
    assert drift.alarms(reported(known, 40, admitted_on=tonight)) == []


def test_a_threshold_falls_with_the_rows_down_to_what_matters(known):
    found = [reported(known, count)["Age"]["threshold"] for count in (1, 10, 100, 100_000)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == 0.1


def test_of_many_rows_only_a_distance_that_matters_counts(known):
    older = {"age": pa.array(rows(200_000, 3)["age"].to_numpy() + 1)}
    assert not reported(known, 200_000, **older)["Age"]["alarm"]
    strict = Sensitivity(smallest_distance=0.0, smallest_rate=0.0)
    assert reported(known, 200_000, strict, **older)["Age"]["alarm"]


def test_a_stricter_level_needs_a_larger_distance(known):
    usual, strict = (reported(known, 40, Sensitivity(level=level))["Age"]["threshold"] for level in (0.2, 0.001))
    assert strict > usual


@pytest.mark.parametrize("wrong", [{"level": 0}, {"level": 1}, {"smallest_distance": -0.1}, {"smallest": 0.1}])
def test_a_sensitivity_is_checked(wrong):
    with pytest.raises(ValidationError):
        Sensitivity(**wrong)


def test_spellings_of_a_level_are_one_level(known):
    found = reported(known, 40, insurer=words(["AETNA", "cigna ", "Medicare", " blue  cross"] * 10))
    assert found["Insurance Provider"]["new_rate"] == 0
    assert not found["Insurance Provider"]["alarm"]


def test_counts_of_chunks_of_any_size_add_up(known):
    whole = rows(1_000, 4)
    parts = [{role: values.slice(at, 300) for role, values in whole.items()} for at in range(0, 1_000, 300)]
    counts = [drift.count_rows(known, numbers(part)) for part in parts]
    for role, expected in drift.count_rows(known, numbers(whole)).items():
        np.testing.assert_array_equal(sum(count[role] for count in counts), expected)


def test_a_report_is_json_and_the_same_every_time(known):
    first, again = (json.dumps(reported(known, 40)) for _ in range(2))
    assert first == again


def test_missing_cells_and_new_levels_are_counted(known):
    found = reported(
        known, 40,
        age=pa.array([None] * 10 + [50.0] * 30),
        insurer=words([None] * 20 + ["Newcomer"] * 5 + ["Aetna"] * 15),
    )  # fmt: skip
    assert found["Age"]["missing_rate"] == 0.25
    assert found["Age"]["missing_rate_training"] == 0
    assert (found["Insurance Provider"]["missing_rate"], found["Insurance Provider"]["new_rate"]) == (0.5, 0.25)


def one_column(codes, levels, group):
    made = drift.profile(pd.DataFrame({"ward": codes}), [WARD | {"levels": levels}], np.array(group))
    return made["columns"][0]


def test_a_level_that_one_group_holds_says_how_likely_a_new_one_is():
    found = one_column([0.0, 0.0, 1.0, 1.0, 2.0, np.nan], ["a", "b", "c"], [0, 1, 2, 2, 3, 4])
    # Of five groups and six rows: a stands for itself, b (one group twice) and c for levels unseen, one is missing.
    assert found["counts"] == [round(3 * 5 / 6), round(2 * 5 / 6), 0, 0, 1]
    assert found["pairs"] == 1


def test_levels_that_training_did_not_hold_are_new():
    levels = ["a", None, "c"]
    column = one_column([0.0] * 50 + [2.0] * 50, levels, range(100))
    made = {"rows": 100, "groups": 100, "columns": [column]}
    new = serving.numbers({"ward": words(["b"] * 10)}, [WARD | {"levels": levels}])
    found = drift.compare(made, drift.count_rows(made, new))["Ward"]
    assert (found["part"], found["new_rate"], found["alarm"]) == ("new levels", 1.0, True)


def test_rows_of_levels_that_are_too_small_to_be_known_are_expected_and_no_cell_is_of_a_few():
    rng = np.random.default_rng(0)
    codes, fresh = (rng.zipf(1.3, 4000).clip(max=5000) - 1.0 for _ in range(2))
    size = np.bincount(codes.astype(int), minlength=5000)
    known = np.where(size[codes.astype(int)] < 5, -1.0, codes)
    levels = [f"w{code}" if count >= 5 else None for code, count in enumerate(size)]
    columns = [WARD | {"levels": levels}, {"role": "age", "source": "Age", "kind": "number"}]
    age = np.r_[np.repeat(50.0, 3996), 90, 91, np.nan, np.nan]
    made = drift.profile(pd.DataFrame({"ward": known, "age": age}), columns, np.arange(4000), smallest=5)
    assert all(count == 0 or count >= 5 for column in made["columns"] for count in column["counts"])
    assert [sum(column["counts"]) for column in made["columns"]] == [4000, 4000]
    new = serving.numbers({"ward": words([f"w{code:.0f}" for code in fresh])}, columns[:1])
    found = drift.compare(
        made | {"columns": made["columns"][:1]}, drift.count_rows({"columns": made["columns"][:1]}, new)
    )
    assert found["Ward"]["new_rate"] == pytest.approx(found["Ward"]["new_rate_expected"], abs=0.02)
    assert found["Ward"]["new_rate"] > 0.15
    assert not found["Ward"]["alarm"]


def test_near_copies_count_as_one_row():
    codes, levels = [0.0, 1.0] * 60, ["a", "b"]
    few, many = (one_column(codes, levels, group) for group in (np.arange(120) // 4, np.arange(120)))
    assert sum(few["counts"]) * 4 == sum(many["counts"]) == 120


def test_a_profile_is_small_and_holds_no_row():
    bills = np.random.default_rng(5).uniform(1_000, 50_000, TAUGHT).round(2)
    spec = {"role": "billed", "source": "Billing Amount", "kind": "number"}
    made = drift.profile(pd.DataFrame({"billed": bills}), [spec], np.arange(TAUGHT))
    text = json.dumps(made)
    assert len(text) < 1_000
    assert not set(made["columns"][0]["edges"]) & set(bills)


def test_a_model_without_a_profile_has_none(tmp_path, known):
    assert drift.load(tmp_path) is None
    (tmp_path / drift.FILE).write_text(json.dumps(known))
    assert drift.load(tmp_path) == known


def test_the_study_counts_alarms_with_exact_limits():
    answers = pd.DataFrame(
        [("planted", 33_000, 40, "none", "any", n == 3) for n in range(20)], columns=[*study.ASKED, "alarm"]
    )
    (row,) = study.summary(answers).to_dict("records")
    assert (row["batches"], row["alarms"], row["share"]) == (20, 1, 0.05)
    assert (row["low"], row["high"]) == (0.0013, 0.2487)  # Clopper & Pearson


def test_the_study_reads_fresh_rows_of_the_same_law():
    taught = study.simulate("planted", 300, seed=7)
    (_, _, count, batch), *_ = study._batches(taught, study.WORLDS[2], [40], 1)
    assert count == len(batch) == 40
    assert set(batch["Hospital"].to_pylist()) <= set(taught.hospitals)


@pytest.mark.slow
@pytest.mark.parametrize("world", study.WORLDS, ids=str)
def test_few_batches_of_the_training_distribution_raise_an_alarm(world):
    found = study.summary(study.study(world, range(500, 503), [10, 400], 20)).set_index(["change", "rows"])
    assert found.loc["none", "batches"].eq(60).all()
    assert found.loc["none", "share"].max() <= 0.15  # of 5 %, 9 of 60 are exceeded once in 1,300


@pytest.mark.slow
def test_batches_that_moved_raise_one():
    found = study.summary(study.study(study.WORLDS[0], range(500, 502), [40, 200, 1_000], 10))
    moved = found[found["change"] != "none"].set_index(["rows", "change"])["share"]
    assert moved.loc[200].min() >= 0.8
    assert moved.loc[1_000].min() == 1
    assert moved.loc[40, "all from one hospital"] == 1
