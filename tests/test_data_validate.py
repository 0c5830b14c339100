import csv
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hi_ml.app.errors import HiMlError, PrivateValueFound, SourceUnreadable, TooManyRejected
from hi_ml.data.read import read
from hi_ml.data.validate import PRIVATE, ROW
from hi_ml.tracking.folder import as_csv, keep_rejected

N = 300


@pytest.fixture
def damaged(tmp_path, cells, reading):
    """Read the table with some cells replaced: ``damaged({("Age", 3): "abc"})``, rows counted from 0."""

    def read_it(changes, **description):
        frame = cells.copy()
        for (column, row), value in changes.items():
            frame.loc[row, column] = value
        frame.to_csv(tmp_path / "mine.csv", index=False)
        return reading(tmp_path / "mine.csv", **description)

    return read_it


@pytest.mark.parametrize(
    ("column", "value", "rule", "shown"),
    [
        ("Age", "abc", "number", "aaa"),  # of what should be a number, only where letters stood
        ("Age", "Room 12 b\u00e9", "number", "Aaaa 99 aa"),
        ("Age", "400", "range", "400"),
        ("Billing Amount", "1e16", "range", "1e16"),  # without a declared range
        ("Billing Amount", "$ 1,000", "number", "$ 1,000"),
        ("Date of Admission", "2020-02-30", "date", "2020-02-30"),
        ("Date of Admission", "3\u093f May\x1b[31m", "date", "9 Aaa\\x1b[99a"),
        ("Discharge Date", "9999-12-31", "date", "9999-12-31"),
        ("Gender", "Fe\0male", "text", "Fe\\x00male"),
    ],
)
def test_an_unreadable_cell_sets_its_row_aside_and_is_listed(damaged, column, value, rule, shown):
    found = damaged({(column, 5): value})
    assert found.rejected.to_dict("records") == [{"row": 6, "column": column, "value": shown, "rule": rule}]
    assert found.row.tolist() == [row for row in range(1, N + 1) if row != 6]
    assert found.counts["rows_read"] == N
    assert found.counts["rows_rejected"] == 1


def test_a_discharge_before_the_admission_breaks_the_order(damaged, cells):
    found = damaged({("Discharge Date", 5): "1999-01-01", ("Discharge Date", 8): cells.loc[8, "Date of Admission"]})
    assert found.rejected.to_numpy().tolist() == [[6, "Discharge Date", "1999-01-01", "order"]]
    assert found.table["length_of_stay"].min() == 0


@pytest.mark.parametrize("value", ["", " n/A "])
def test_a_word_for_missing_is_no_fault(damaged, value):
    found = damaged({(column, 5): value for column in ("Age", "Gender", "Date of Admission", "Name")})
    assert found.rejected.empty
    assert found.table.loc[5, ["age", "sex", "admitted_on", "length_of_stay"]].isna().all()


def test_a_row_may_break_several_rules_and_counts_once(damaged):
    found = damaged({("Age", 5): "abc", ("Billing Amount", 5): "much", ("Room Number", 9): "attic"})
    assert found.rejected[["row", "column"]].to_numpy().tolist() == [
        [6, "Age"],
        [6, "Billing Amount"],
        [10, "Room Number"],
    ]
    assert found.counts["rows_rejected"] == 2


def test_a_row_with_a_wrong_number_of_fields_is_listed_without_any_of_its_values(tmp_path, cells, reading):
    lines = cells.to_csv(index=False).splitlines()
    lines[4] += ",x"
    lines[9] = f"Secret Patient,{lines[9]}"
    lines.insert(2, "")
    (tmp_path / "mine.csv").write_text("\n".join(lines), encoding="utf-8")
    found = reading(tmp_path / "mine.csv")
    assert found.rejected.to_numpy().tolist() == [[4, "", ROW, "fields"], [9, "", ROW, "fields"]]
    assert found.counts["rows_rejected"] == 2


@pytest.mark.parametrize("cell", ['a "b", c', "4\r0", "4\n0", "4\r\n0", "\r", ",", "é"])
def test_the_list_of_rejected_cells_reads_back_to_the_character(cell):
    cells = pd.DataFrame({"row": [1, 2], "column": ["Age", "Age"], "value": [cell, "x"], "rule": ["number", "number"]})
    back = pd.read_csv(io.StringIO(as_csv(cells), newline=""), keep_default_na=False)
    pd.testing.assert_frame_equal(back, cells)


def test_the_file_of_rejected_cells_holds_the_four_columns(tmp_path, damaged):
    damaged({("Age", 5): 'a "b", c'})
    listed = pd.read_csv(tmp_path / "rejected.csv")
    assert list(listed) == ["row", "column", "value", "rule"]
    assert listed.to_numpy().tolist() == [[6, "Age", 'a "a", a', "number"]]


def test_no_file_is_written_where_nothing_is_rejected(tmp_path, damaged):
    damaged({})
    assert not (tmp_path / "rejected.csv").exists()


def test_a_value_of_a_private_column_is_hidden(damaged):
    private = {"admitted_on": {"from": "Date of Admission", "kind": "date", "known": "admission", "private": True}}
    found = damaged({("Date of Admission", 5): "soon"}, columns=private)
    assert found.rejected.to_numpy().tolist() == [[6, "Date of Admission", PRIVATE, "date"]]


PEOPLE = {  # a name, and ways in which it may stand in another cell
    "आशा देवी शर्मा": ["देखें आशा देवी शर्मा", "आशा  देवी शर्मा"],
    "مُحَمَّد عَلِيّ": ["محمد علي", "see مُحَمَّد عَلِيّ"],
    "สมชาย ใจดี": ["สมชาย ใจดี", "ดูสมชายใจดี"],
    "山田太郎": ["患者山田太郎様", "山田太郎"],
    "José Muñoz": ["Jose\u0301 Mun\u0303oz", "JOSE MUNOZ", "seen: Munoz"],
    "Zoë O\u2019Brien": ["zoe o'brien", "Mrs O\u2019Brien"],
}


@pytest.mark.parametrize("name", PEOPLE)
def test_a_name_of_the_row_is_hidden_in_every_script_and_spelling(damaged, name):
    for written in PEOPLE[name]:
        found = damaged({("Name", 5): name, ("Gender", 5): f"{written}\0"})
        assert found.rejected["value"].tolist() == [PRIVATE], written


@pytest.mark.parametrize("name", list(PEOPLE)[:-1])
def test_a_name_of_another_row_is_hidden_in_every_script(damaged, name):
    found = damaged({("Name", 9): name, ("Gender", 5): f"see {name}\0"})
    assert found.rejected["value"].tolist() == [PRIVATE]


@pytest.mark.parametrize(
    ("own", "shown"),
    [("MRN-0012345", PRIVATE), ("0012345", PRIVATE), ("12", "see 12345-0012345\\x00")],
)
def test_an_identifier_of_the_row_is_hidden_without_its_prefix(damaged, own, shown):
    private = {"patient_id": {"from": "Room Number", "kind": "identifier", "known": "admission", "private": True}}
    found = damaged({("Room Number", 5): own, ("Gender", 5): "see 12345-0012345\0"}, columns={**private, "room": {
        "from": None, "kind": "number", "known": "stay"}})  # fmt: skip
    assert found.rejected["value"].tolist() == [shown]


def test_a_private_column_without_letters_hides_no_row(damaged):
    numbers = {("Doctor", row): str(1_000 + row) for row in range(N)}
    assert damaged({**numbers, ("Age", 7): "400"}).rejected["value"].tolist() == ["400"]


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+cmd", "-cmd|' /C calc'!A0", "\tx", "'quoted"])
def test_no_cell_of_the_list_runs_in_a_spreadsheet(cell):
    cells = pd.DataFrame({"row": [1, 2], "column": [cell, "Age"], "value": [cell, "-12.5"], "rule": ["number"] * 2})
    back = pd.read_csv(io.StringIO(as_csv(cells), newline=""), keep_default_na=False, dtype=str)
    assert back[["column", "value"]].to_numpy().tolist() == [[f"'{cell}"] * 2, ["Age", "-12.5"]]


def test_every_value_of_a_row_is_hidden_where_its_private_text_holds_no_letter(tmp_path, cells, reading):
    shifted = cells.copy()
    shifted.loc[5] = ["17", *cells.loc[5].iloc[:-1]]  # a cell too many in front, one lost behind
    shifted.to_csv(tmp_path / "mine.csv", index=False)
    found = reading(tmp_path / "mine.csv")
    assert set(found.rejected["row"]) == {6}
    assert set(found.rejected["value"]) == {PRIVATE}
    assert {"Age", "Date of Admission"} <= set(found.rejected["column"])


@pytest.mark.parametrize("wrap", ["{}", " {} ", "seen by {} at noon", "{}; {}"])
@pytest.mark.parametrize("fold", [str, str.upper])
def test_a_private_name_in_another_column_is_hidden(damaged, cells, wrap, fold):
    for name in (cells.loc[200, "Name"], cells.loc[200, "Doctor"]):
        found = damaged({("Age", 5): fold(wrap.format(name, name)), ("Age", 7): "abc"})
        assert found.rejected["value"].tolist() == [PRIVATE, "aaa"]


def test_a_private_number_in_another_column_is_hidden_too(damaged):
    private = {"patient_id": {"from": "Room Number", "kind": "identifier", "known": "admission", "private": True}}
    found = damaged({("Room Number", 3): "98765", ("Age", 5): "98765", ("Age", 7): "abc"}, columns={**private, "room": {
        "from": None, "kind": "number", "known": "stay"}})  # fmt: skip
    assert found.rejected["value"].tolist() == [PRIVATE, "aaa"]


def test_more_than_the_allowed_share_stops_with_the_file_written(tmp_path, damaged):
    changes = {("Age", row): "abc" for row in range(15)}
    assert damaged(changes).counts["rows_rejected"] == 15  # 5 % of 300
    with pytest.raises(TooManyRejected) as found:
        damaged({**changes, ("Gender", 20): "a\0", ("Billing Amount", 21): "much"})
    said = str(found.value)
    assert "17 of 300 rows cannot be read (5.7%; at most 5.0% may be)" in said
    assert "Age number 15 (such as 'aaa'), Billing Amount number 1 (such as 'aaaa')" in said
    assert str(tmp_path / "rejected.csv") in said
    assert len(pd.read_csv(tmp_path / "rejected.csv")) == 17


def test_the_share_may_be_raised_but_a_row_must_be_left(damaged):
    changes = {("Age", row): "abc" for row in range(N - 1)}
    assert len(damaged(changes, max_rejected=1).row) == 1
    with pytest.raises(TooManyRejected, match=r"100\.0%; none is left"):
        damaged({**changes, ("Age", N - 1): "abc"}, max_rejected=1)


def test_no_private_value_stands_in_the_sentence(damaged, cells):
    with pytest.raises(TooManyRejected) as found:
        damaged({("Age", row): cells.loc[row, "Name"] for row in range(50)})
    assert cells.loc[0, "Name"] not in str(found.value)


def test_ragged_rows_are_counted_in_words(tmp_path, cells, reading):
    header, *lines = cells.to_csv(index=False).splitlines()
    (tmp_path / "mine.csv").write_text("\n".join([f"{header},", *lines]), encoding="utf-8")
    with pytest.raises(TooManyRejected, match="300 with another number of fields than the header"):
        reading(tmp_path / "mine.csv")


NESTED = {
    "list": pa.array([["a"]] * N),
    "struct": pa.array([{"a": 1}] * N),
    "map": pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64())),
}


@pytest.mark.parametrize("column", ["Age", "Gender", "Date of Admission", "Name"])
@pytest.mark.parametrize("nested", NESTED)
def test_cells_that_are_no_values_break_a_rule(tmp_path, cells, reading, column, nested):
    table = pa.Table.from_pandas(cells)
    table = table.set_column(table.column_names.index(column), column, NESTED[nested])
    pa.parquet.write_table(table, tmp_path / "mine.parquet")
    with pytest.raises(TooManyRejected, match=f"{column} (number|text|date) 300"):
        reading(tmp_path / "mine.parquet")


def test_a_type_that_nothing_can_be_made_of_is_named(tmp_path, cells, reading):
    table = pa.Table.from_pandas(cells)
    odd = pa.array([0] * N, pa.timestamp("us", "Nowhere/Nothing"))
    table = table.set_column(table.column_names.index("Date of Admission"), "Date of Admission", odd)
    pa.parquet.write_table(table, tmp_path / "mine.parquet")
    with pytest.raises(SourceUnreadable, match=r"'Date of Admission'.*Nowhere/Nothing.*kind date"):
        reading(tmp_path / "mine.parquet")


def written(rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


CELLS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text(alphabet='0123456789-/:.,eE+ "\n\0', max_size=12),
    st.sampled_from(["today", "nan", "1e999", "9999-99-99", "2020-01-01T00:00:00+99:99", "-0", "\ufeff", "true"]),
)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 14), CELLS), min_size=1, max_size=6))
def test_a_table_with_any_cells_damaged_is_read_or_rejected_and_no_row_is_lost(
    changes, tmp_path_factory, cells, described
):
    table = cells.head(40).to_numpy(dtype=object)
    for row, column, value in changes:
        table[row, column] = value
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "mine.csv").write_bytes(written([list(cells), *table]))
    try:
        found = read(described(folder / "mine.csv", max_rejected=1), lambda listed: keep_rejected(folder, listed))
    except PrivateValueFound:
        twice = [row for row, _ in {(row, column) for row, column, _ in changes}]
        assert len(twice) > len(set(twice)), "a name can stand in a public cell of its row only if both were damaged"
        return
    rejected = sorted(set(found.rejected["row"]))
    assert sorted([*found.row.tolist(), *rejected]) == list(range(1, 41))
    assert (found.counts["rows_read"], found.counts["rows_rejected"]) == (40, len(rejected))
    assert set(rejected) <= {row + 1 for row, _, _ in changes}
    untouched = [row for row in range(40) if row not in {row for row, _, _ in changes}]
    kept = found.table.loc[np.searchsorted(found.row, np.array(untouched) + 1)]
    assert kept["age"].tolist() == cells.loc[untouched, "Age"].astype(float).tolist()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_with_any_bytes_damaged_ends_in_a_table_or_a_sentence(data, tmp_path_factory, admissions_csv, described):
    content = bytearray(admissions_csv.read_bytes()[:6_000])
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=20))
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "mine.csv").write_bytes(bytes(content))
    try:
        found = read(described(folder / "mine.csv", max_rejected=1), lambda listed: keep_rejected(folder, listed))
    except HiMlError as error:
        said = str(error)
    else:
        rows = sorted({*found.row.tolist(), *found.rejected["row"]})
        assert rows == list(range(1, found.counts["rows_read"] + 1))
        said = "one sentence"
    assert len(said.splitlines()) == 1


# Rows that cannot be believed although each of their cells can be read


def totals(cells, first):
    row = dict.fromkeys(cells, "") | {
        first: "Total",
        "Billing Amount": str(cells["Billing Amount"].astype(float).sum()),
    }
    return pd.concat([cells, pd.DataFrame([row])], ignore_index=True)


@pytest.mark.parametrize("first", ["Name", "Hospital", "Doctor", "Medical Condition"])
def test_a_row_of_totals_is_set_aside_and_named(tmp_path, cells, reading, caplog, first):
    totals(cells, first).to_csv(tmp_path / "mine.csv", index=False)
    found = reading(tmp_path / "mine.csv")
    assert found.rejected.to_numpy().tolist() == [[N + 1, "", ROW, "empty"]]
    assert found.table["billed"].mean() == pytest.approx(cells["Billing Amount"].astype(float).mean())
    assert "set aside: 1 of which hardly more than numbers is known, as of a row of totals" in caplog.text


def test_rows_of_separators_are_set_aside_and_sparse_ones_are_not(damaged, cells):
    bare = {(column, 5): "" for column in cells}
    sparse = {(column, 6): "" for column in cells if column not in ("Age", "Gender", "Date of Admission")}
    found = damaged(bare | sparse)
    assert found.rejected.to_numpy().tolist() == [[6, "", ROW, "empty"]]


@pytest.mark.parametrize(
    ("day", "kept"), [("2099-12-31", False), ("1900-01-01", False), ("2030-01-01", False), ("2021-01-01", True)]
)
def test_a_stay_that_nobody_stays_is_set_aside(damaged, caplog, day, kept):
    found = damaged({("Date of Admission", 5): "2020-01-10", ("Discharge Date", 5): day})
    rule = "order" if day < "2020" else "stay_range"
    assert found.rejected.to_numpy().tolist() == ([] if kept else [[6, "Discharge Date", day, rule]])
    assert (f"Discharge Date {rule} 1 (such as '{day}')" in caplog.text) != kept


def test_how_long_anybody_stays_may_be_declared(damaged):
    short = {"length_of_stay": {"from": None, "kind": "number", "known": "discharge", "high": 3}}
    changes = {("Date of Admission", 5): "2020-01-10", ("Discharge Date", 5): "2020-01-14"}
    found = damaged(changes, columns=short, max_rejected=1)
    assert [6, "Discharge Date", "2020-01-14", "stay_range"] in found.rejected.to_numpy().tolist()
    assert found.table["length_of_stay"].max() <= 3


@pytest.mark.parametrize(
    ("admitted", "discharged", "nights"),
    [
        ("2020-01-10 14:30:00", "2020-01-10", 0),  # a bare date says nothing of the hour
        ("2020-01-10", "2020-01-10 08:00:00", 0),
        ("2020-01-10 14:30:00", "2020-01-11", 1),
        ("2020-01-10 14:30:00", "2020-01-10 14:29:59", None),
        ("2020-01-10 14:30:00", "2020-01-09", None),
    ],
)
def test_the_order_of_two_dates_is_that_of_the_coarser_one(damaged, admitted, discharged, nights):
    found = damaged({("Date of Admission", 5): admitted, ("Discharge Date", 5): discharged})
    assert found.rejected["rule"].tolist() == ([] if nights is not None else ["order"])
    assert nights is None or found.table.loc[5, "length_of_stay"] == nights


IDENTIFIER = {"patient_id": {"from": "MRN", "kind": "identifier", "known": "admission", "private": True}}


@pytest.mark.parametrize("value", ["0", "99999", "UNKNOWN", "000-00-0000"])
def test_an_identifier_of_too_many_is_nobodys(tmp_path, cells, reading, caplog, value):
    numbers = [value if row % 3 == 0 else f"P{row}" for row in range(N)]
    cells.assign(MRN=numbers).to_csv(tmp_path / "mine.csv", index=False)
    found = reading(tmp_path / "mine.csv", columns=IDENTIFIER)
    assert np.bincount(found.group).max() == np.bincount(found.twins.group).max()
    assert found.provenance()["warnings"] == list(found.warnings)
    assert "stands for 100 of 300 rows that are not one person's" in caplog.text
    assert value not in "".join(found.warnings).replace("100 of 300", "")


def test_an_identifier_of_many_rows_of_one_person_is_a_person(tmp_path, cells, reading):
    cells, often = cells.copy(), np.arange(N) % 3 == 0
    days = pd.Timestamp("2019-01-01") + pd.to_timedelta(np.arange(N) * 5, unit="D")
    cells.loc[often, ["Gender", "Blood Type"]] = ["Female", "A+"]
    cells.loc[often, "Date of Admission"] = days[often].astype(str)
    cells.loc[often, "Discharge Date"] = (days + pd.Timedelta(days=3))[often].astype(str)
    cells.assign(MRN=[f"P{0 if many else row}" for row, many in enumerate(often)]).to_csv(
        tmp_path / "mine.csv", index=False
    )
    found = reading(tmp_path / "mine.csv", columns=IDENTIFIER)
    assert np.bincount(found.group).max() >= 100
    assert found.warnings == ()
