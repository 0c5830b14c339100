import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hi_ml.data.digests import column_digest, row_digests, table_digest
from hi_ml.data.simulation import simulate

TEXT = st.lists(st.one_of(st.none(), st.text(max_size=4)), min_size=1, max_size=12)
NUMBERS = st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=1, max_size=12)
DAYS = st.lists(st.one_of(st.none(), st.integers(-(10**14), 10**14)), min_size=1, max_size=12)
KINDS = [(TEXT, pa.string()), (NUMBERS, pa.float64()), (DAYS, pa.timestamp("us"))]


@pytest.mark.parametrize(("cells", "kind"), KINDS, ids=str)
@settings(deadline=None)
@given(data=st.data())
def test_a_digest_changes_with_any_one_cell(cells, kind, data):
    before = data.draw(cells)
    after = list(before)
    place = data.draw(st.integers(0, len(before) - 1))
    after[place] = data.draw(cells)[0]
    assume(after[place] != before[place])
    assert column_digest(pa.array(before, kind)) != column_digest(pa.array(after, kind))


@pytest.mark.parametrize(("cells", "kind"), KINDS, ids=str)
@settings(deadline=None)
@given(data=st.data())
def test_a_digest_is_the_same_for_the_same_cells_however_they_lie_in_memory(cells, kind, data):
    values = pa.array(data.draw(cells), kind)
    padded = pa.concat_arrays([values[:1], values, values[:1]])[1:-1]
    assert column_digest(padded) == column_digest(values)
    if pa.types.is_string(kind):
        assert column_digest(values.dictionary_encode()) == column_digest(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "bc"], ["ab", "c"]),
        ([None, "a"], ["", "a"]),
        (["a"], ["a", None]),
        ([None], [None, None]),
        (["a", "b", "a"], ["b", "a", "b"]),
    ],
)
def test_a_digest_tells_cells_from_their_joined_text(one, other):
    assert column_digest(pa.array(one, pa.string())) != column_digest(pa.array(other, pa.string()))


def test_a_missing_number_is_no_zero():
    assert column_digest(pa.array([None, 1.0])) != column_digest(pa.array([0.0, 1.0]))


def test_the_digest_of_a_table_changes_with_a_column_its_name_and_their_order():
    columns = {"age": "aa", "sex": "bb"}
    others = [{"age": "aa"}, {"age": "aa", "sex": "bc"}, {"sex": "bb", "age": "aa"}, {"age": "aa", "room": "bb"}]
    rows = np.array([1, 2], dtype=np.uint64)
    digests = [table_digest(one, rows) for one in [columns, *others]]
    assert len({*digests, table_digest(columns, rows + rows)}) == 6
    assert table_digest(columns, rows[::-1]) == digests[0]


@pytest.fixture(scope="module")
def table():
    return simulate("planted", 300, seed=1, hospitals=5).table


def test_the_digest_of_a_table_is_the_same_from_any_file_that_holds_it(tmp_path, table, reading):
    pyarrow.csv.write_csv(table, tmp_path / "mine.csv")
    pyarrow.parquet.write_table(table, tmp_path / "mine.parquet", row_group_size=37)
    places = [table.column_names.index(name) for name in ("Gender", "Hospital", "Name")]
    coded = table
    for place in places:
        coded = coded.set_column(place, coded.column_names[place], coded.column(place).dictionary_encode())
    pyarrow.parquet.write_table(coded, tmp_path / "coded.parquet")
    pyarrow.parquet.write_table(table[:120], tmp_path / "part-1.parquet")
    pyarrow.parquet.write_table(table[120:], tmp_path / "part-2.parquet")
    frame = table.to_pandas()
    frame.to_csv(tmp_path / "pandas.csv", index=False, sep=";")
    files = ["mine.csv", "mine.parquet", "coded.parquet", "part-*.parquet"]
    found = {reading(tmp_path / name).sha256 for name in files}
    found.add(reading(tmp_path / "pandas.csv", separator=";").sha256)
    assert len(found) == 1


def test_any_one_cell_changes_the_digest_of_its_role_and_of_the_table(tmp_path, cells, reading):
    def digested(frame):
        frame.to_csv(tmp_path / "mine.csv", index=False)
        return reading(tmp_path / "mine.csv")

    before = digested(cells)
    for role, column in before.dataset.present().items():
        changed, name = cells.copy(), column.source
        changed.loc[17, name] = cells.loc[cells[name].ne(cells.loc[17, name]).idxmax(), name]
        after = digested(changed)
        assert after.sha256 != before.sha256
        assert [one for one in after.column_sha256 if after.column_sha256[one] != before.column_sha256[one]] == [role]


# Rows


def admissions(rows=40):
    """Typed public columns, with missing cells."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows).astype(float),
            "hospital": pd.Categorical(rng.choice(["St Ann", "Lee and Sons", "Über-Klinik"], rows)),
            "admitted_on": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D"),
        }
    )
    table.loc[3, ["age", "admitted_on"]] = None
    table.loc[4, "hospital"] = None
    return table


SPELLING = {"hospital": "words"}


def test_a_row_keeps_its_digest_in_another_order_and_beside_other_rows():
    table = admissions()
    digests = row_digests(table, SPELLING)
    assert digests.dtype == np.uint64
    more = pd.concat([table.astype({"hospital": str}).iloc[[7]].assign(hospital="Aaa"), table[::-1]])
    more["hospital"] = pd.Categorical(more["hospital"], categories=["Aaa", "Über-Klinik", "St Ann", "Lee and Sons"])
    np.testing.assert_array_equal(row_digests(more[["hospital", "admitted_on", "age"]], SPELLING)[1:], digests[::-1])


def test_two_spellings_of_one_category_have_one_digest():
    table = admissions()
    other = table.assign(hospital=table["hospital"].cat.rename_categories({"Lee and Sons": "SONS, and Lee"}))
    np.testing.assert_array_equal(row_digests(other, SPELLING), row_digests(table, SPELLING))
    assert (row_digests(other, {}) != row_digests(table, {})).any()


@pytest.mark.parametrize(
    ("role", "value"),
    [("age", 17.5), ("age", np.nan), ("hospital", "St Ann"), ("hospital", None), ("admitted_on", pd.NaT)],
)
def test_any_other_cell_makes_another_digest(role, value):
    table = admissions()
    row = int(np.flatnonzero(table["hospital"] == "Lee and Sons")[0])
    changed = table.copy()
    changed.loc[row, role] = value
    differ = row_digests(changed, SPELLING) != row_digests(table, SPELLING)
    assert np.flatnonzero(differ).tolist() == [row]


def test_the_cells_of_two_columns_cannot_be_exchanged():
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    first, second = row_digests(table, {})
    assert first != second


def test_zero_is_zero_whatever_its_sign():
    assert len(set(row_digests(pd.DataFrame({"a": [0.0, -0.0]}), {}))) == 1


def test_the_digests_of_rows_are_the_same_in_every_process():
    """They are kept beside models for years: these numbers may not change."""
    table = pd.DataFrame({"age": [30.0, np.nan], "sex": pd.Categorical(["Female", None])})
    days = pd.to_datetime(["2024-01-31", None])
    for unit in ("s", "us", "ns"):
        table["admitted_on"] = days.astype(f"datetime64[{unit}]")
        assert row_digests(table, {"sex": "case"}).tolist() == [12904461011164968042, 5880988458008420037]
