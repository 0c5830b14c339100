import ast
import datetime as dt
import hashlib
import json
import sys
import zipfile
from copy import copy
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from skops.io import dump

from hi_ml.scorer import serving
from hi_ml.scorer.serving import UNSEEN, Scorer, codes, comparable, convert, inputs, key, load, stays

WORDS = ["", "na", "n/a", "nan", "null", "none", "?"]
NUMBER = {"role": "age", "source": "Age", "kind": "number", "missing": WORDS, "low": 0, "high": 120}
FREE = {**NUMBER, "low": None, "high": None}
DATE = {"role": "day", "source": "Day", "kind": "date", "missing": WORDS, "format": None}
OUT = {**DATE, "role": "out", "source": "Out"}
SEX = {"role": "sex", "source": "Sex", "kind": "category", "missing": WORDS, "levels": ["f", "m"], "spelling": "case"}
STAY = {"role": "stay", "kind": "stay", "between": [DATE, OUT], "inclusive": False}


def typed(values, spec, kind):
    """Cells that were read as a kind, and by broken rule the rows that break it."""
    cells, faults = convert(values if isinstance(values, pa.Array) else pa.array(values), spec)
    assert cells.type == kind or (pa.types.is_dictionary(cells.type) and kind is None)
    return cells.to_pylist(), {rule: np.flatnonzero(mask).tolist() for rule, mask in faults.items()}


def numbers(values, spec=FREE):
    return typed(values, spec, pa.float64())


def dates(values, **spec):
    cells, faults = typed(values, {**DATE, **spec}, pa.timestamp("us"))
    return [day and f"{day:%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00") for day in cells], faults


def words(values):
    cells, faults = typed(values, SEX, None)
    assert faults == {}
    return cells


# What the file is


def test_the_module_imports_nothing_of_hi_ml_and_nothing_that_is_not_pinned():
    tree = ast.parse(Path(serving.__file__).read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."])
    }
    assert not any(node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    assert imported - set(sys.stdlib_module_names) == {"mlflow", "numpy", "pandas", "pyarrow", "skops"}


# Cells


@pytest.mark.parametrize("missing", ["", " ", "NA", "n/a", "NaN", "Null", "none", " ? "])
@pytest.mark.parametrize("spec", [NUMBER, DATE, SEX], ids=["number", "date", "category"])
def test_words_for_missing_are_missing_in_any_case(missing, spec):
    typed, faults = convert(pa.array([missing, None]), spec)
    assert typed.to_pylist() == [None, None]
    assert not any(mask.any() for mask in faults.values())


@pytest.mark.parametrize(
    ("written", "number"),
    [("7", 7), (" 7.50 ", 7.5), ("-3", -3), ("+.5", 0.5), ("1e3", 1000), ("5.", 5), ("007", 7)],
)
def test_numbers_are_read_as_they_are_written(written, number):
    assert numbers([written, "1x"]) == ([number, None], {"number": [1]})
    assert numbers([written]) == ([number], {})


@pytest.mark.parametrize(
    "written",
    [
        "12a",
        "1,5",
        "1.234,5",
        "1 000",
        "0x1F",
        "inf",
        "-Infinity",
        "1_000",
        "--1",
        "٣",
        "４５",
        "$12",
        "1,234.50",
        "1e400",
    ],
)
def test_what_is_no_number_is_a_fault(written):
    assert numbers([written, "1"]) == ([None, 1], {"number": [0]})
    assert numbers([written]) == ([None], {"number": [0]})


def test_numbers_outside_the_range_are_a_fault_and_its_ends_are_not():
    assert numbers(["-1", "0", "120", "120.5", ""], NUMBER)[1] == {"range": [0, 3]}


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, None], pa.int8()),
        pa.array([1, 2, None], pa.uint64()),
        pa.array([1.0, 2.0, np.nan]),
        pa.array([1.0, 2.0, None], pa.float32()),
        pa.array([Decimal("1.0"), Decimal("2.0"), None]),
        pa.array(["1", "2", None]),
        pa.array(["1", "2", None]).dictionary_encode(),
        pa.array(["1", "2", None], pa.large_string()),
        pa.array(["1", "2", None], pa.string_view()),
    ],
    ids=lambda values: str(values.type),
)
def test_a_number_may_come_in_any_type(values):
    assert numbers(values) == ([1, 2, None], {})


@pytest.mark.parametrize("huge", ["1e16", "1e101", "-1e300", 1e101])
def test_numbers_whose_squares_would_overflow_are_out_of_range(huge):
    found, faults = numbers([huge])
    assert faults == {"range": [0]}
    assert np.isfinite(found).all()


@pytest.mark.parametrize("spec", [NUMBER, DATE, SEX], ids=["number", "date", "category"])
def test_a_cell_that_is_a_list_is_a_fault(spec):
    typed, faults = convert(pa.array([[1], None, []]), spec)
    assert typed.null_count == 3
    assert [np.flatnonzero(mask).tolist() for mask in faults.values() if mask.any()] == [[0, 2]]


@pytest.mark.parametrize(
    ("spec", "cell", "read"), [(FREE, b" 7 ", 7.0), (SEX, b" f ", "f"), (SEX, b"\xff", "\ufffd")], ids=str
)
def test_bytes_are_read_as_text(spec, cell, read):
    for kind in (pa.binary(), pa.large_binary()):
        assert convert(pa.array([cell, None], kind), spec)[0].to_pylist() == [read, None]


def test_text_with_a_zero_byte_is_a_fault():
    typed, faults = convert(pa.array(["f\0", "m", None]), SEX)
    assert typed.to_pylist() == [None, "m", None]
    assert faults["text"].tolist() == [True, False, False]


def test_infinity_and_dates_are_no_numbers():
    assert numbers(pa.array([np.inf, 1.0])) == ([None, 1], {"number": [0]})
    assert numbers(pa.array([dt.date(2024, 1, 1)])) == ([None], {"number": [0]})


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=1, max_size=8))
def test_any_text_is_read_or_faulted_and_nothing_raises(cells):
    for spec in (NUMBER, DATE, {**DATE, "format": "%d/%m/%Y"}, SEX):
        typed, faults = convert(pa.array(cells, pa.string()), spec)
        assert len(typed) == len(cells)
        for i, cell in enumerate(cells):
            if typed[i].as_py() is None and cell is not None and comparable(cell).lower() not in WORDS:
                assert spec is SEX or any(mask[i] for mask in faults.values())


@settings(deadline=None)
@given(st.lists(st.floats(-1e15, 1e15), min_size=1))
def test_a_number_written_out_is_read_back_to_the_bit(values):
    assert numbers([repr(value) for value in values]) == (values, {})


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2024-02-29", "2024-02-29"),
        ("2024-02-29 13:05:00", "2024-02-29 13:05:00"),
        ("2024-02-29T13:05:00", "2024-02-29 13:05:00"),
        ("2024-02-29T13:05:00+02:00", "2024-02-29 13:05:00"),  # as the clock on the ward shows it
        ("2024-02-29T23:05:00Z", "2024-02-29 23:05:00"),
        ("1899-12-31", "1899-12-31"),
    ],
)
def test_iso_dates_are_read(written, day):
    assert dates([written]) == ([day], {})
    assert dates([written, "soon"]) == ([day, None], {"date": [1]})


@pytest.mark.parametrize(
    "written",
    [
        "29/02/2024",
        "2023-02-29",
        "20240229x",
        "20240229",
        "2024",
        "today",
        "now",
        "2024-13-01",
        "0000-01-01",
        "-2024-01-01",
        "12/31/2020",
        "123456-01-01",
        "0001-01-01",
        "9999-12-31",
    ],
)
def test_what_is_no_iso_date_is_a_fault(written):
    assert dates([written, "2024-01-01"]) == ([None, "2024-01-01"], {"date": [0]})


def test_a_declared_format_is_the_only_one_read():
    assert dates(["29/02/2024", "2024-02-29"], format="%d/%m/%Y") == (["2024-02-29", None], {"date": [1]})


@pytest.mark.parametrize(
    "values",
    [
        pa.array([dt.date(2024, 2, 29), None]),
        pa.array([dt.datetime(2024, 2, 29), None]),  # noqa: DTZ001 -- a table's dates have no zone
        pa.array([dt.datetime(2024, 2, 29), None], pa.timestamp("ns")),  # noqa: DTZ001 -- the same
        pa.array([dt.datetime(2024, 2, 29, tzinfo=dt.UTC), None]),
        pa.array(["2024-02-29", None]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_a_date_may_come_in_any_type(values):
    assert dates(values) == (["2024-02-29", None], {})


def test_a_moment_with_a_zone_is_read_as_its_own_clock_shows_it():
    moment = dt.datetime(2024, 2, 29, 23, 30, tzinfo=dt.UTC)
    assert dates(pa.array([moment], pa.timestamp("us", "Asia/Tokyo"))) == (["2024-03-01 08:30:00"], {})


def test_a_moment_outside_the_calendar_is_a_fault():
    assert dates(pa.array([10**18, -(10**18), 0], pa.timestamp("us"))) == ([None, None, "1970-01-01"], {"date": [0, 1]})


def test_a_bare_number_is_no_date_and_an_empty_column_of_numbers_is_missing():
    assert dates([20240229]) == ([None], {"date": [0]})
    assert dates(pa.array([np.nan, np.nan])) == ([None, None], {})


def test_categories_are_trimmed_and_their_white_space_folded():
    assert words(["  General\t Ward ", None, "n/a"]) == ["General Ward", None, None]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pa.array([1, 2]), ["1", "2"]),
        (pa.array([1.0, None, 2.0]), ["1", None, "2"]),
        (pa.array([1e15, None, 2.0]), ["1000000000000000", None, "2"]),
        (pa.array([1.5, 2.0]), ["1.5", "2"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["a", None, " a "]).dictionary_encode(), ["a", None, "a"]),
        (pa.array(["na", "b"]).dictionary_encode(), [None, "b"]),
        (pa.array([None, np.nan], pa.float64()), [None, None]),
    ],
    ids=str,
)
def test_a_category_reads_as_it_would_from_a_csv(values, shown):
    assert words(values) == shown


def test_spellings_have_their_key():
    assert key(" A  b ", "exact") == "A b"
    assert key(" A  b ", "case") == "a b"
    assert key("Sons, and Miller", "words") == key("MILLER and sons", "words")
    assert key("Miller", "exact") != key("miller", "exact")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Emergency", "Emer\u200bgency", True),  # zero width
        ("Emergency", "\u202aEmergency\u202c", True),  # marks of direction
        ("Kranken\u00adhaus", "Krankenhaus", True),  # soft hyphen
        ("Jose\u0301", "Jos\u00e9", True),
        ("San\u00a0Juan", "San\u3000 Juan", True),
        ("1", "1.0", True),
        ("-3", "-3.00", True),
        ("250.1", "250.10", False),  # of a code, a digit more is another code
        ("007", "7", False),
        ("007", "007.0", False),
        ("किरण", "करण", False),  # vowel signs belong to the word
        ("อา", "อำ", False),
        ("دكتور", "دُكتور", False),
    ],
)
@pytest.mark.parametrize("spelling", ["exact", "case", "words"])
def test_what_two_ways_to_write_a_text_have_in_common(one, other, same, spelling):
    assert (key(one, spelling) == key(other, spelling)) == same


def test_a_word_for_missing_may_hold_what_nobody_sees():
    typed, faults = convert(pa.array(["n/a\u200b", "\ufeffN/A", "north"]), SEX)
    assert (typed.to_pylist(), faults) == ([None, None, "north"], {})


def test_codes_tell_levels_unseen_and_missing_apart():
    found = codes(pa.array(["m", "F ", None, "x", "gone"]), ["f", "m", None], "case")
    assert found.tolist() == pytest.approx([1, 0, np.nan, UNSEEN, UNSEEN], nan_ok=True)
    assert codes(pa.array([None, None], pa.string()), ["f"], "case").tolist() == pytest.approx(
        [np.nan] * 2, nan_ok=True
    )


@pytest.mark.parametrize(("inclusive", "days"), [(False, [2, 0, None]), (True, [3, 1, None])])
def test_a_stay_counts_midnights_whatever_the_hour(inclusive, days):
    start, end = (convert(pa.array(cells), DATE)[0] for cells in (
        ["2024-02-28 23:00:00", "2024-01-01 01:00:00", None],
        ["2024-03-01 01:00:00", "2024-01-01 23:00:00", "2024-01-01"],
    ))  # fmt: skip
    found = stays({"day": start, "out": end}, [{**STAY, "inclusive": inclusive}])
    assert found["stay"].to_pylist() == days


def test_a_stay_asks_for_its_dates_once():
    assert inputs([DATE, STAY, SEX]) == [DATE, OUT, SEX]


# The scorer


FRAME = pd.DataFrame(
    {"Age": [30, 40, 50, 60], "Sex": ["f", "m", "f", "m"], "Day": ["2024-01-01"] * 4, "Out": ["2024-01-09"] * 4}
)


def mapping(**more):
    made = {"kind": "regression", "labels": [], "columns": [NUMBER, SEX, DATE], **more}
    return {"features": [name for spec in made["columns"] for name in serving.names(spec)], **made}


@pytest.fixture(scope="module")
def pipeline():
    features = serving.features(Scorer(mapping(), None).typed(FRAME), mapping()["columns"])
    return taught(Ridge(), features, [1.0, 2.0, 3.0, 4.0])


def taught(learner, features, target):
    """A pipeline as `hi_ml.modeling.models` fits it: a step per feature, then a learner."""
    fill = SimpleImputer(keep_empty_features=True)
    encode = ColumnTransformer([(f"feature_{place}", fill, [place]) for place in range(features.shape[1])])
    return make_pipeline(encode, learner).fit(features.to_numpy(), target)


@pytest.fixture
def scorer(pipeline):
    return Scorer(mapping(), pipeline)


def test_every_missing_column_is_named(scorer):
    with pytest.raises(ValueError, match=r"Expected the columns \['Sex', 'Day'\], not among the 2 given"):
        scorer.predict(pd.DataFrame({"Age": [1], "Shoe": [2]}))


def test_every_bad_cell_is_named_by_column_rule_and_row(scorer):
    broken = FRAME.assign(Age=["30", "old", "-5", "60"], Day=["2024-01-01", "", "soon", "later"])
    with pytest.raises(ValueError, match="1 = first row") as found:
        scorer.predict(broken)
    assert "Age: number in rows 2;" in str(found.value)
    assert "Age: range in rows 3;" in str(found.value)
    assert "Day: date in rows 3, 4 " in str(found.value)
    assert "old" not in str(found.value)  # cells may be private


def test_a_stay_that_ends_before_it_begins_is_named():
    """The reader rejects such a row: a model never saw one."""
    columns = [STAY]
    features = serving.features(Scorer(mapping(columns=columns), None).typed(FRAME), columns)
    scorer = Scorer(mapping(columns=columns), taught(DummyRegressor(), features, [1, 2, 3, 4]))
    assert len(scorer.predict(FRAME.assign(Out=["2024-01-01", None, "2024-01-02", ""]))) == 4
    with pytest.raises(ValueError, match="Out: order in rows 2 "):
        scorer.predict(FRAME.assign(Out=["2024-01-01", "2023-12-31", None, "2024-01-02"]))


def test_rows_are_counted_in_order_whatever_the_index(scorer):
    broken = FRAME.assign(Age=["30", "40", "50", "?x"]).set_axis([9, 9, 7, 1])
    with pytest.raises(ValueError, match="Age: number in rows 4 "):
        scorer.predict(broken)


def test_many_bad_rows_are_counted(scorer):
    broken = pd.concat([FRAME] * 3, ignore_index=True).assign(Age="x")
    with pytest.raises(ValueError, match="rows 1, 2, 3, 4, 5 and 7 more"):
        scorer.predict(broken)


def test_a_column_of_several_types_is_read_cell_by_cell(scorer):
    mixed = FRAME.assign(Age=pd.Series([30, "40", 50.0, "60"], dtype=object))
    pd.testing.assert_frame_equal(scorer.predict(mixed), scorer.predict(FRAME))


def test_an_all_empty_column_of_any_type_is_missing(scorer):
    for empty in (None, np.nan, pd.NA, pd.NaT, ""):
        for column in ("Age", "Sex", "Day"):
            found = scorer.predict(FRAME.assign(**{column: [empty] * 4}))
            assert np.isfinite(found["prediction"]).all()


def test_an_answer_has_the_columns_of_its_kind():
    """A label that the learner never saw has its column, and no share."""
    columns = [NUMBER]
    features = serving.features(Scorer(mapping(columns=columns), None).typed(FRAME), columns)
    amounts = Scorer(mapping(columns=columns), taught(DummyRegressor(strategy="median"), features, [1, 2, 3, 9]))
    assert amounts.predict(FRAME).to_dict("list") == {"prediction": [2.5] * 4}
    learner = taught(DummyClassifier(strategy="prior"), features, np.array([0.0, 2.0, 2.0, 2.0]))
    labels = Scorer(mapping(kind="classification", labels=["a", "b c", "d"], columns=columns), learner)
    assert labels.predict(FRAME).to_dict("list") == {
        "prediction": ["d"] * 4,
        "p_a": [0.25] * 4,
        "p_b c": [0.0] * 4,
        "p_d": [0.75] * 4,
    }


# The matrix


HOSPITAL = {**SEX, "role": "ward", "source": "Ward", "levels": ["a", None, "c"]}
COLUMNS = [NUMBER, SEX, HOSPITAL, DATE, STAY]
ENCODINGS = {
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNSEEN),
    "onehot": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "target": TargetEncoder(target_type="continuous", cv=KFold(2)),
}


def raw_rows(n, seed):
    """Admissions with holes, and with wards that no training row has."""
    draw = np.random.default_rng(seed)

    def some(values):
        return np.where(draw.random(n) < 0.1, None, draw.choice(np.array(values, dtype=object), n))

    days = pd.date_range("2019-12-25", periods=60).strftime("%Y-%m-%d")
    return pd.DataFrame(
        {
            "Age": some(range(18, 90)),
            "Sex": some(["f", "m", " M"]),
            "Ward": some(["a", "c"] if seed == 0 else ["a", "b", "C ", "z"]),
            "Day": some(days),
            "Out": some(["2020-12-31", "2021-01-31"]),
        }
    )


def encoded_by(encoding, numbers, *, drop=(), framed=False):
    """A fitted pipeline that encodes categories and numbers as asked, and drops some features.

    ``framed`` teaches it on a frame, by name, as older versions did.
    """
    made = {"columns": COLUMNS}
    rows = raw_rows(300, seed=0)
    features = serving.features(Scorer(mapping(**made), None).typed(rows), COLUMNS)
    target = np.arange(300) % 7
    steps = [
        (
            f"feature_{place}",
            "drop" if name in drop else ENCODINGS[encoding] if name in ("sex", "ward") else numbers,
            [name if framed else place],
        )
        for place, name in enumerate(features)
    ]
    transformer = ColumnTransformer(steps, sparse_threshold=0)
    learner = make_pipeline(SimpleImputer(), Ridge())
    pipeline = Pipeline([("encode", transformer), ("learn", learner)])
    return Scorer(mapping(**made), pipeline.fit(features if framed else features.to_numpy(), target))


NUMBERS = {
    "raw": "passthrough",
    "scaled": make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("drop", [(), ("sex", "day.weekday")], ids=["all", "some dropped"])
def test_the_matrix_is_to_the_bit_that_of_the_pipeline(encoding, numbers, drop):
    scorer = encoded_by(encoding, numbers, drop=drop)
    typed = scorer.typed(raw_rows(500, seed=1))
    matrix = scorer.encode(scorer.numbers(typed))
    expected = scorer.pipeline[0].transform(serving.features(typed, COLUMNS).to_numpy())
    assert matrix.flags.f_contiguous
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_a_model_that_was_taught_on_frames_has_the_matrix_of_one_taught_on_arrays(numbers):
    old, new = (encoded_by("target", numbers, drop=("sex",), framed=framed) for framed in (True, False))
    numbers = new.numbers(new.typed(raw_rows(50, seed=1)))
    np.testing.assert_array_equal(old.encode(numbers), new.encode(numbers))


def test_a_part_of_the_rows_has_the_matrix_of_that_part():
    scorer = encoded_by("target", NUMBERS["scaled"])
    rows, cuts = raw_rows(100, seed=2), (slice(0, 1), slice(7, 50), slice(99, 100), slice(5, 5))
    whole, *parts = (scorer.numbers(scorer.typed(some)) for some in (rows, *(rows[cut] for cut in cuts)))
    for cut, part in zip(cuts, parts, strict=True):
        np.testing.assert_array_equal(scorer.encode(part), scorer.encode(whole)[cut])
        unseen = scorer.unseen(part)
        for role, mask in scorer.unseen(whole).items():
            assert mask[cut].tolist() == (unseen[role].tolist() if role in unseen else [False] * len(mask[cut]))


def test_categories_that_training_lacked_are_told_per_row_and_column():
    scorer = encoded_by("ordinal", "passthrough")
    rows = raw_rows(6, seed=0).assign(Ward=["a", "b", None, " C", "z", "a"], Sex=["f", "x", "y", None, "M", "f"])
    numbers = scorer.numbers(scorer.typed(rows))
    assert {role: mask.tolist() for role, mask in scorer.unseen(numbers).items()} == {
        "sex": [False, True, True, False, False, False],
        "ward": [False, True, False, False, True, False],
    }
    assert scorer.unseen(scorer.numbers(scorer.typed(raw_rows(6, seed=0)))) == {}


def test_arrow_columns_are_read_with_their_faults_and_nothing_is_raised(scorer):
    columns = {
        "Age": pa.array(["30", "old", "-5"]),
        "Sex": pa.array(["f"] * 3),
        "Day": pa.array(["2024-01-01", "", "x"]),
    }
    typed, faults = scorer.read(columns)
    found = {(source, rule): mask.tolist() for source, rule, mask in faults}
    assert found == {
        ("Age", "number"): [False, True, False],
        ("Age", "range"): [False, False, True],
        ("Day", "date"): [False, False, True],
    }
    assert typed["age"].to_pylist() == [30, None, -5]
    with pytest.raises(ValueError, match=r"Expected the columns \['Day'\]"):
        scorer.read({name: columns[name] for name in ("Age", "Sex")})


def test_a_dictionary_of_many_levels_keeps_its_missing_cells():
    """128 levels are as many as small indices can tell apart: a 129th place, for missing, must still be found."""
    levels = [f"w{i}" for i in range(128)]
    values = pa.DictionaryArray.from_arrays(pa.array([0, None, 127], pa.int8()), pa.array(levels))
    np.testing.assert_array_equal(codes(values, levels, "exact"), [0, np.nan, 127])


def test_levels_that_are_null_in_a_dictionary_are_missing():
    values = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, None]), pa.array(["f", None]))
    np.testing.assert_array_equal(codes(values, ["f"], "exact"), [0, np.nan, np.nan, np.nan])


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from(["f", " F", "na", "7", "7.50", "2024-02-29", "x"])), max_size=20))
def test_a_cell_reads_the_same_alone_in_text_and_in_a_dictionary(cells):
    for spec in (NUMBER, DATE, SEX):
        whole = convert(pa.array(cells, pa.string()), spec)
        coded = convert(pa.array(cells, pa.string()).dictionary_encode(), spec)
        alone = [convert(pa.array([cell], pa.string()), spec) for cell in cells]
        assert whole[0].to_pylist() == coded[0].to_pylist() == [one[0][0].as_py() for one in alone]
        assert set(whole[1]) == set(coded[1]) == {rule for _, faults in alone for rule in faults}
        for rule, mask in whole[1].items():
            assert mask.tolist() == coded[1][rule].tolist() == [rule in faults for _, faults in alone]


# A few rows


CELLS = {
    "Age": [7, 7.5, "7", " 7", "+.5", "1e2", "5.", "130", "x", "1_0", "\uff15", True, Decimal(3), 10**20, 2**60, "na"],
    "Sex": ["f", " M", "x", "F\u200b", "n/a", "", 1, 1.0, b"f", dt.date(2024, 1, 1)],
    "Day": [
        *("2024-01-31", "2024-01-31 23:59:59", "2024-02-30", "31.01.2024", "today", "?", 20240131),
        *(
            dt.date(2024, 1, 31),
            dt.datetime.fromisoformat("2024-01-31 23:00"),
            pd.Timestamp("2024-01-31 23:00"),
            pd.NaT,
        ),
    ],
}
ROW = st.fixed_dictionaries({name: st.sampled_from([None, np.nan, *cells]) for name, cells in CELLS.items()})


@settings(deadline=None, max_examples=150)
@given(st.lists(ROW, min_size=1, max_size=4))
def test_a_few_rows_are_read_as_a_table_reads_them(rows):
    """Cells of every sort, alone and beside others of another sort."""
    scorer, frame = Scorer(mapping(), None), pd.DataFrame(rows)
    few = scorer.few({name: frame[name].tolist() for name in frame})
    if few is not None:
        for name, (values, row) in scorer.numbers(scorer.typed(frame)).items():
            np.testing.assert_array_equal(few[name][0], values if row is None else values[row])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_a_row_is_scored_without_a_table_as_among_others(encoding, numbers, monkeypatch):
    scorer = encoded_by(encoding, numbers, drop=("stay",))
    scorer = replace(scorer, mapping={**scorer.mapping, "columns": COLUMNS[:-1]})  # a stay is read as a table
    rows = raw_rows(100, seed=1)
    expected = scorer.predict(rows)
    monkeypatch.setattr(Scorer, "typed", None)
    answers = [scorer.predict_row(row) for row in rows.to_dict("records")]
    pd.testing.assert_frame_equal(pd.DataFrame(answers), expected, rtol=1e-12)
    pd.testing.assert_frame_equal(scorer.predict(rows[:5]), expected[:5], rtol=1e-12)


def test_a_row_that_cannot_be_read_is_refused_with_the_words_of_a_table(scorer):
    with pytest.raises(ValueError, match=r"Age: number in rows 1 \(1 = first row\)"):
        scorer.predict_row({"Age": "old", "Sex": "f", "Day": "2024-01-01"})
    with pytest.raises(ValueError, match=r"Expected the columns \['Sex'"):
        scorer.predict_row({"Age": 3})
    telling = [NUMBER, *({**SEX, "role": f"c{i}", "source": f"C{i}"} for i in range(5))]
    totals = Scorer(mapping(columns=telling), None)
    assert totals.few({"Age": [3]} | {f"C{i}": ["f" if i < 2 else None] for i in range(5)}) is not None
    assert totals.few({"Age": [3]} | {f"C{i}": ["f" if i < 1 else None] for i in range(5)}) is None


# Intervals, sets and recalibrated shares


def test_an_interval_is_widened_holds_the_prediction_and_nests():
    prediction, low, high = np.array([5.0, 5.0, 5.0]), np.array([3.0, 6.0, 5.0]), np.array([8.0, 9.0, 5.0])
    found = serving.widen(prediction, low, high, 1.0, whole=False)
    np.testing.assert_array_equal(found, [[2, 5, 4], [9, 10, 6]])
    narrowed = serving.widen(prediction, low, high, -4.0, whole=False)
    np.testing.assert_array_equal(narrowed, [[5, 5, 5], [5, 5, 5]])
    per_row = serving.widen(prediction, low, high, np.array([0.0, 1.0, 2.0]), whole=False)
    np.testing.assert_array_equal(per_row, [[3, 5, 3], [8, 10, 7]])


def test_whole_bounds_keep_the_same_whole_values():
    prediction = np.array([5.2, 5.2, 5.0])
    reach = np.array([2.0, 0.1, 1.0])
    low, high = serving.widen(prediction, prediction - reach, prediction + reach, 0.0, whole=True)
    np.testing.assert_array_equal(low, [4, 5.2, 4])
    np.testing.assert_array_equal(high, [7, 5.2, 6])
    third = 0.1 + 0.2  # of a day more than 0.3, by a rounding error
    low, high = serving.widen(np.array([2.0]), np.array([1.3]), np.array([2.7]), third, whole=True)
    assert (low[0], high[0]) == (1, 3)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 4), min_size=1), st.booleans())
def test_whatever_the_learners_say_an_interval_holds_its_prediction_and_grows_with_the_threshold(rows, whole):
    prediction, low, high, threshold = np.array(rows).T
    small = serving.widen(prediction, low, high, threshold, whole=whole)
    large = serving.widen(prediction, low, high, threshold + 1, whole=whole)
    assert (small[0] <= prediction).all()
    assert (prediction <= small[1]).all()
    assert (large[0] <= small[0]).all()
    assert (small[1] <= large[1]).all()


def test_no_interval_reaches_below_the_floor_but_to_its_prediction():
    prediction, high = np.array([5.0, 5.0, -1.0]), np.array([8.0, 9.0, 4.0])
    found = serving.widen(prediction, np.array([3.0, 1.0, -2.0]), high, 2.0, whole=True, floor=0.0)
    np.testing.assert_array_equal(found, [[1, 0, -1], [10, 11, 6]])
    begins = serving.outer(prediction, [high])
    for threshold, top in ((2.0, [10, 11, 6]), (-2.0, [6, 7, 2])):  # what narrows it leaves the floor
        found = serving.widen(prediction, *begins, threshold, whole=True, floor=0.0)
        np.testing.assert_array_equal(found, [[0, 0, -1], top])


def test_each_label_may_have_a_threshold_of_its_own():
    shares = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.9, 0.1, 0.0]])
    inside = serving.label_set(shares, np.array([[0.4, 0.7, 0.85]]))
    assert inside.tolist() == [[True, True, True], [False, True, True], [True, False, False]]


def test_a_set_holds_the_likeliest_label_and_all_that_are_likely_enough():
    shares = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [1.0, 0.0, 0.0]])
    inside = serving.label_set(shares, 0.7)
    assert inside.tolist() == [[True, True, False], [False, True, True], [True, False, False]]
    assert serving.label_set(shares, 0.0).sum(axis=1).tolist() == [1, 1, 1]
    assert serving.label_set(shares, np.array([1.0, 0.0, 0.9])).sum(axis=1).tolist() == [3, 1, 1]


def test_recalibrated_shares_are_a_power_times_a_weight():
    shares = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    slope, intercepts = 0.5, [0.0, 0.2, -0.1]
    expected = shares**slope * np.exp(intercepts)
    np.testing.assert_allclose(serving.recalibrate(shares, slope, intercepts), expected / expected.sum(1)[:, None])
    np.testing.assert_allclose(serving.recalibrate(shares, 1.0, [0, 0, 0]), shares)


def amounts(interval, **more):
    """A scorer that predicts 5 days, with learners of the bounds that say 3 and 8."""
    rows = Scorer(mapping(), None).typed(FRAME)
    features = serving.features(rows, [NUMBER, SEX, DATE])
    made = [taught(DummyRegressor(strategy="constant", constant=value), features, [0] * 4) for value in (5.0, 3.0, 8.0)]
    return Scorer(mapping(interval=interval, **more), made[0], (made[1][-1], made[2][-1]))


def interval(level, *, by=None, levels=None, whole=False):
    return {"level": 0.9, "whole": whole, "by": by, "thresholds": {"all": level, "levels": levels}}


def test_an_amount_is_answered_with_its_bounds():
    found = amounts(interval(0.5)).predict(FRAME)
    assert found.to_dict("list") == {"prediction": [5] * 4, "low": [2.5] * 4, "high": [8.5] * 4}
    assert amounts(interval(0.5, whole=True)).predict(FRAME)[["low", "high"]].to_numpy().tolist() == [[3, 8]] * 4
    assert list(amounts(None).predict(FRAME)) == ["prediction"]


def test_without_learners_of_bounds_they_stand_around_the_prediction():
    scorer = replace(amounts(interval(0.5)), bounds=None)
    assert scorer.predict(FRAME)[["low", "high"]].to_numpy().tolist() == [[4.5, 5.5]] * 4


def test_each_category_has_its_own_threshold_and_others_that_of_all():
    scorer = amounts(interval(0.0, by={"role": "sex", "edges": None}, levels=[1.0, None]))
    found = scorer.predict(FRAME.assign(Sex=["f", "m", None, "x"]))
    assert found["high"].tolist() == [9, 8, 8, 8]


def test_each_band_of_a_number_has_its_own_threshold_and_a_missing_one_that_of_all():
    scorer = amounts(interval(0.0, by={"role": "age", "edges": [40, 60]}, levels=[1.0, 2.0, None]))
    found = scorer.predict(FRAME.assign(Age=[39, 40, 60, None]))
    assert found["high"].tolist() == [9, 10, 8, 8]


def test_labels_are_answered_with_their_set_from_recalibrated_shares():
    features = serving.features(Scorer(mapping(columns=[NUMBER]), None).typed(FRAME), [NUMBER])
    pipeline = taught(DummyClassifier(strategy="prior"), features, np.array([0.0, 0.0, 1.0, 2.0]))
    made = mapping(kind="classification", labels=["a", "b c", "d"], columns=[NUMBER])
    scorer = Scorer({**made, "interval": interval(0.75)}, pipeline)
    assert scorer.predict(FRAME)["prediction_set"].tolist() == ["a|b c|d"] * 4
    doubled = {"slope": 1.0, "intercepts": [0.0, 0.0, float(np.log(4))]}
    found = Scorer({**made, "interval": interval(0.5), "recalibration": doubled}, pipeline).predict(FRAME)
    assert found["prediction"].tolist() == ["d"] * 4
    assert found["prediction_set"].tolist() == ["d"] * 4
    np.testing.assert_allclose(found[["p_a", "p_b c", "p_d"]].iloc[0], [2 / 7, 1 / 7, 4 / 7])


def test_no_rows_have_no_answers_and_the_same_columns():
    scorer = amounts(interval(0.5))
    found = scorer.predict(FRAME[:0])
    assert list(found) == ["prediction", "low", "high"]
    assert len(found) == 0


# Loading


@pytest.fixture
def folder(tmp_path, pipeline):
    return written(tmp_path / "scorer", pipeline)


def written(folder, pipeline):
    """Write a scorer as `hi_ml.prediction.package` does, whatever the pipeline is made of."""
    folder.mkdir(exist_ok=True)
    dump(pipeline, folder / serving.PIPELINE)
    return signed(folder)


def signed(folder):
    digest = hashlib.sha256((folder / serving.PIPELINE).read_bytes()).hexdigest()
    (folder / serving.MAPPING).write_text(json.dumps(mapping(pipeline_sha256=digest)))
    return folder


def test_learners_of_the_bounds_are_loaded_and_a_changed_file_is_refused(folder, pipeline):
    dump([pipeline[-1], pipeline[-1]], folder / serving.BOUNDS)
    digest = hashlib.sha256((folder / serving.BOUNDS).read_bytes()).hexdigest()
    known = json.loads((folder / serving.MAPPING).read_text())
    (folder / serving.MAPPING).write_text(json.dumps({**known, "bounds_sha256": digest, "interval": interval(1.0)}))
    found = load(folder).predict(FRAME)
    np.testing.assert_allclose(found["high"] - found["prediction"], 1)
    content = (folder / serving.BOUNDS).read_bytes()
    (folder / serving.BOUNDS).write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"bounds\.skops was changed"):
        load(folder)


def test_a_scorer_loads_and_gives_the_same_numbers(folder, scorer):
    pd.testing.assert_frame_equal(load(folder).predict(FRAME), scorer.predict(FRAME), check_exact=True)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_pipeline_of_which_one_byte_was_changed_is_refused(folder, place):
    content = bytearray((folder / serving.PIPELINE).read_bytes())
    content[place] ^= 1
    (folder / serving.PIPELINE).write_bytes(content)
    with pytest.raises(ValueError, match=r"pipeline\.skops was changed: expected SHA-256"):
        load(folder)


def test_a_type_outside_the_allow_list_is_refused_even_if_the_digest_agrees(tmp_path):
    strange = written(tmp_path / "strange", make_pipeline(FunctionTransformer(copy), Ridge()))
    with pytest.raises(ValueError, match=r"types outside the allow-list.*copy\.copy"):
        load(strange)


def test_nothing_of_a_refused_file_is_run(folder, tmp_path):
    """A file that names a function to call as it is loaded, as an attacker would write it."""
    content = (folder / serving.PIPELINE).read_bytes()
    schema, members = schema_of(folder / serving.PIPELINE)
    for node in nodes(schema):
        if node.get("__class__") == "Ridge":
            node.update(__class__="system", __module__="os", __loader__="FunctionNode", content="touch evil")
    with zipfile.ZipFile(folder / serving.PIPELINE, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, json.dumps(schema) if name == "schema.json" else member)
    assert (folder / serving.PIPELINE).read_bytes() != content
    with pytest.raises(ValueError, match="outside the allow-list"):
        load(signed(folder))
    assert not list(tmp_path.rglob("evil"))


def schema_of(path):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members["schema.json"]), members


def nodes(tree):
    """Every JSON object below one."""
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes(child)
