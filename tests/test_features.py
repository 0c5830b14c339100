import tracemalloc

import numpy as np
import pandas as pd
import pytest

from hi_ml.data.column import Column
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.modeling.encoding import Encoding, encoder, forget_few
from hi_ml.modeling.features import Features
from hi_ml.scorer import serving

COLUMNS = {
    "patient_name": Column("text", "admission", "Name", private=True),
    "age": Column("number", "admission", "Age", low=0, high=120),
    "condition": Column("category", "admission", "Condition"),
    "hospital": Column("category", "admission", "Hospital", spelling="words"),
    "admitted_on": Column("date", "admission", "In"),
    "discharged_on": Column("date", "discharge", "Out"),
}
TABLE = pd.DataFrame(
    {
        "Name": ["Ann Lee", "Bo Ray", "Cy Dee", "Di Fox"],
        "Age": ["30", "", "40.5", "50"],
        "Condition": ["Asthma", "asthma ", "n/a", "Cancer"],
        "Hospital": ["Sons and Miller", "Miller and Sons,", "Miller and Sons,", "Lee Ltd"],
        "In": ["2024-02-28", "2024-12-31", "2024-01-01 23:59:00", ""],
        "Out": ["2024-03-01", "2025-01-01", "2024-01-01 23:59:30", "2024-05-05"],
    }
)
ROLES = ["age", "condition", "hospital", "admitted_on", "length_of_stay"]


@pytest.fixture
def dataset(tmp_path):
    TABLE.to_csv(tmp_path / "admissions.csv", index=False)
    return Dataset("mine", COLUMNS, source=str(tmp_path / "admissions.csv"))


@pytest.fixture
def admissions(dataset, tmp_path):
    return read(dataset, lambda _: tmp_path)


@pytest.fixture
def made(admissions):
    return Features.of(admissions, ROLES)


def column(features, name):
    return features.frame[name].tolist()


def test_a_number_is_itself_and_missing_where_it_is_missing(made):
    assert column(made, "age") == pytest.approx([30, np.nan, 40.5, 50], nan_ok=True)


def test_a_category_is_its_place_among_the_levels(made):
    assert made.levels("condition") == ["Asthma", "Cancer"]
    assert column(made, "condition") == pytest.approx([0, 0, np.nan, 1], nan_ok=True)


def test_spellings_of_one_category_are_one_level(made):
    assert made.levels("hospital") == ["Lee Ltd", "Miller and Sons,"]
    assert column(made, "hospital") == [1, 1, 1, 0]


def test_a_date_is_a_day_a_weekday_and_a_month(made):
    days = pd.to_datetime(TABLE["In"], format="ISO8601").dt.normalize()
    expected = pd.DataFrame(
        {
            "admitted_on": (days - pd.Timestamp("1970-01-01")).dt.days,
            "admitted_on.weekday": days.dt.day_of_week,
            "admitted_on.month": days.dt.month,
        }
    )
    pd.testing.assert_frame_equal(made.frame[list(expected)], expected, check_dtype=False)


def test_every_feature_knows_its_column(made):
    assert made.role == {
        "age": "age",
        "condition": "condition",
        "hospital": "hospital",
        "admitted_on": "admitted_on",
        "admitted_on.weekday": "admitted_on",
        "admitted_on.month": "admitted_on",
        "length_of_stay": "length_of_stay",
    }
    assert list(made.frame) == list(made.role)
    assert set(map(str, made.frame.dtypes)) == {"float64"}


def test_a_number_and_a_date_have_no_levels(made):
    assert made.levels("age") is None
    assert made.levels("admitted_on.month") is None
    assert made.levels("length_of_stay") is None


def test_some_columns_bring_their_features_in_the_order_that_was_asked(made):
    """A model trained beside others must be the one trained alone."""
    some = made.only(["admitted_on", "age"])
    assert list(some.frame) == list(some.role) == ["admitted_on", "admitted_on.weekday", "admitted_on.month", "age"]
    assert list(some.specs) == ["admitted_on", "age"]
    pd.testing.assert_frame_equal(some.frame, made.frame[list(some.frame)])


@pytest.mark.parametrize("rows", [np.array([True, False, False, True]), np.array([0, 3])], ids=["mask", "places"])
def test_some_rows_are_numbered_anew(made, rows):
    part = made.part(rows, ["hospital", "age"])
    expected = pd.DataFrame({"hospital": [1, 0], "age": [30, 50]}, dtype=float)
    pd.testing.assert_frame_equal(part.frame, expected)
    assert part.role == {"hospital": "hospital", "age": "age"}
    assert part.levels("hospital") == made.levels("hospital")


def test_no_columns_make_no_features(admissions):
    assert Features.of(admissions, []).frame.empty


def test_serving_makes_the_same_features_of_the_raw_table(made):
    """What a model was taught and what it is asked come from the same code: the numbers must agree to the bit."""
    columns = list(made.specs.values())
    scorer = serving.Scorer({"columns": columns}, pipeline=None)
    for raw in (TABLE, TABLE.replace("", None), TABLE.sample(frac=1, random_state=0)):
        served = serving.features(scorer.typed(raw), columns)
        expected = made.frame.iloc[raw.index].reset_index(drop=True)
        pd.testing.assert_frame_equal(served, expected, check_exact=True)


def test_a_category_without_any_value_is_a_column_of_holes(tmp_path):
    TABLE.assign(Condition="").to_csv(tmp_path / "empty.csv", index=False)
    found = read(Dataset("mine", COLUMNS, source=str(tmp_path / "empty.csv")), lambda _: tmp_path)
    made = Features.of(found, ["condition"])
    assert made.levels("condition") == []
    assert made.frame["condition"].isna().all()


def levelled(*sizes, copies=1):
    """Features of one column whose levels are of so many patients, each of whom comes so often."""
    codes = np.repeat(np.arange(len(sizes)), sizes).repeat(copies)
    names = [f"level {number}" for number in range(len(sizes))]
    specs = {"ward": {"role": "ward", "kind": "category", "levels": names}}
    features = Features(pd.DataFrame({"ward": codes.astype(float)}), specs, {"ward": "ward"})
    return features, np.arange(sum(sizes)).repeat(copies)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ((9, 4, 1, 5), [0, 3]),
        ((9, 4, 5), [0]),  # four alone would be a cell of four: the next level joins them
        ((9, 5), [0, 1]),
        ((4, 3), []),
        ((2, 9, 9), [2]),
    ],
)
@pytest.mark.parametrize("copies", [1, 3])
def test_levels_of_too_few_patients_are_pooled_with_the_unseen_ones(sizes, kept, copies):
    features, group = levelled(*sizes, copies=copies)
    pooled = features.pooled(np.ones(len(group), dtype=bool), group, smallest=5)
    codes = features.frame["ward"]
    np.testing.assert_array_equal(pooled.frame["ward"], codes.where(codes.isin(kept), -1))
    assert [level for level in pooled.levels("ward") if level] == [f"level {code}" for code in kept]
    assert features.levels("ward")[1] == "level 1"  # the others' table is untouched


def test_what_counts_is_the_training_part_and_a_missing_value_is_no_level():
    features, group = levelled(9, 9)
    features.frame.loc[:1, "ward"] = np.nan
    train = np.arange(18) < 13  # four of the second level
    pooled = features.pooled(train, group, smallest=5)
    np.testing.assert_array_equal(pooled.frame["ward"], [np.nan] * 2 + [-1.0] * 16)  # seven join the four


def test_a_mean_target_of_too_few_patients_is_forgotten():
    rng = np.random.default_rng(0)
    codes, group = rng.integers(0, 40, 600).astype(float), rng.integers(0, 400, 600)
    codes[:3], codes[3:8], target = np.nan, 40, rng.normal(size=600)
    specs = {"ward": {"role": "ward", "kind": "category", "levels": [str(number) for number in range(41)]}}
    features = Features(pd.DataFrame({"ward": codes}), specs, {"ward": "ward"}, smallest=5)
    encode = encoder(Encoding("ordinal", "raw", level_rows=2), features, target, group, classes=0, seed=0)
    encode.fit_transform(features.frame.to_numpy(), target)
    before = encode.transform(np.array([[np.nan], [40.0], [0.0]])).ravel()
    forget_few(encode, features, np.where(codes == 40, 7, group))
    after = encode.transform(np.array([[np.nan], [40.0], [0.0]])).ravel()
    np.testing.assert_allclose(after[:2], target.mean())
    assert after[2] == before[2] != target.mean()


def test_codes_by_the_thousand_take_memory_by_the_row():
    codes = np.arange(20_000) % 8_000
    group = codes % 1_000
    specs = {"code": {"role": "code", "kind": "category", "levels": [str(number) for number in range(8_000)]}}
    features = Features(pd.DataFrame({"code": codes.astype(float)}), specs, {"code": "code"}, smallest=5)
    encode = encoder(Encoding("ordinal", "raw", level_rows=2), features, codes % 7.0, group, classes=0, seed=0)
    encode.fit_transform(features.frame.to_numpy(), codes % 7.0)
    tracemalloc.start()
    forget_few(encode, features, group)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6  # a flag for each level and row would be 160 MB
