import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hi_ml.datasets.digests import column_digest, table_digest
from hi_ml.datasets.simulation import simulate

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
        ([None, "a"], ["a", None]),
        (["a"], ["a", None]),
        ([None], [None, None]),
        (["a", "b"], ["b", "a"]),
    ],
)
def test_a_digest_tells_cells_from_their_joined_text(one, other):
    assert column_digest(pa.array(one, pa.string())) != column_digest(pa.array(other, pa.string()))


def test_a_missing_number_is_no_zero():
    assert column_digest(pa.array([None, 1.0])) != column_digest(pa.array([0.0, 1.0]))


def test_the_digest_of_a_table_changes_with_a_column_its_name_and_their_order():
    columns = {"age": "aa", "sex": "bb"}
    others = [{"age": "aa"}, {"age": "aa", "sex": "bc"}, {"sex": "bb", "age": "aa"}, {"age": "aa", "room": "bb"}]
    assert len({table_digest(one) for one in [columns, *others]}) == 5


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


def test_the_digest_of_a_file_changes_with_any_one_column(tmp_path, cells, reading):
    def digest(frame):
        frame.to_csv(tmp_path / "mine.csv", index=False)
        return reading(tmp_path / "mine.csv").sha256

    found = {digest(cells)}
    for name in cells:
        changed = cells.copy()
        changed.loc[17, name] = cells.loc[cells[name].ne(cells.loc[17, name]).idxmax(), name]
        found.add(digest(changed))
    assert len(found) == 1 + cells.shape[1]


def test_the_digest_of_a_role_names_the_column_that_changed(tmp_path, cells, reading):
    cells.to_csv(tmp_path / "mine.csv", index=False)
    before = reading(tmp_path / "mine.csv").column_sha256
    cells.assign(Age=np.where(np.arange(len(cells)) == 3, "1", cells["Age"])).to_csv(tmp_path / "mine.csv", index=False)
    after = reading(tmp_path / "mine.csv").column_sha256
    assert [role for role in before if before[role] != after[role]] == ["age"]
