import datetime as dt
import decimal
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from hi_ml.app.errors import ConfigurationInvalid, PrivateValueFound, TooManyRejected
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.read import read
from hi_ml.data.simulation import simulate

N = 300
CANARIES = ("Canary Birdwell", "Finch O'Warbler", "Émile Nightingale-Roy")


@pytest.fixture
def plain(admissions_csv, reading):
    """The table as it is."""
    return reading(admissions_csv)


@pytest.fixture
def read_frame(tmp_path, reading):
    """Write a frame and read it."""

    def read_it(frame, **changes):
        frame.to_csv(tmp_path / "mine.csv", index=False)
        return reading(tmp_path / "mine.csv", **changes)

    return read_it


def described_as(**columns):
    return {role: {"known": "admission", **column} for role, column in columns.items()}


def test_the_table_holds_the_public_columns_by_role_in_their_kinds(plain):
    kinds = plain.table.dtypes.astype(str).to_dict()
    assert "patient_name" not in kinds
    assert "doctor" not in kinds
    assert {kinds[role] for role in ("age", "billed", "room", "length_of_stay")} == {"float64"}
    assert {kinds[role] for role in ("admitted_on", "discharged_on")} == {"datetime64[us]"}
    assert {kinds[role] for role in ("sex", "hospital", "insurer", "test_result")} == {"category"}
    assert len(plain.table) == len(plain.row) == len(plain.group) == N


def test_the_values_are_those_of_the_source(plain, cells):
    assert plain.table["age"].tolist() == cells["Age"].astype(float).tolist()
    assert plain.table["billed"].tolist() == cells["Billing Amount"].astype(float).tolist()
    assert plain.table["sex"].tolist() == cells["Gender"].tolist()
    assert plain.table["admitted_on"].dt.strftime("%Y-%m-%d").tolist() == cells["Date of Admission"].tolist()


@pytest.mark.parametrize(("convention", "more"), [("nights", 0), ("inclusive", 1)])
def test_the_stay_is_counted_by_its_convention(admissions_csv, reading, cells, convention, more):
    first, last = (pd.to_datetime(cells[name]) for name in ("Date of Admission", "Discharge Date"))
    stay = reading(admissions_csv, stay=convention).table["length_of_stay"]
    assert stay.tolist() == ((last - first).dt.days + more).tolist()


def test_nights_are_counted_by_the_clock_of_the_place(tmp_path, reading, cells, read_frame):
    first, last = "2024-01-01T20:00:00-05:00", "2024-01-02T10:00:00-05:00"  # one night there, none in UTC
    frame = cells.assign(**{"Date of Admission": first, "Discharge Date": last})
    assert set(read_frame(frame).table["length_of_stay"]) == {1.0}
    table = pa.Table.from_pandas(cells)
    for name, written in (("Date of Admission", first), ("Discharge Date", last)):
        stamps = pa.array([dt.datetime.fromisoformat(written)] * N, pa.timestamp("us", "America/New_York"))
        table = table.set_column(table.column_names.index(name), name, stamps)
    pyarrow.parquet.write_table(table, tmp_path / "mine.parquet")
    assert set(reading(tmp_path / "mine.parquet").table["length_of_stay"]) == {1.0}


def test_a_stay_in_the_source_is_taken_as_it_is(read_frame, cells):
    stay = described_as(length_of_stay={"kind": "number", "from": "Days"})
    assert set(read_frame(cells.assign(Days="7"), columns=stay).table["length_of_stay"]) == {7.0}


def test_a_column_may_be_added_under_its_own_name(read_frame, cells):
    found = read_frame(cells.assign(smoker="yes"), columns=described_as(smoker={"kind": "category"}))
    assert set(found.table["smoker"]) == {"yes"}
    assert read_frame(cells.assign(smoker="yes")).extra == ("smoker",)


@pytest.mark.parametrize("role", ["age", "patient_name", "admitted_on", "hospital", "billed"])
def test_a_role_that_the_table_lacks_is_left_out(admissions_csv, reading, described, role):
    column = described("x").columns[role]
    absent = {role: {"from": None, "kind": column.kind, "known": column.known}}
    found = reading(admissions_csv, columns=absent)
    assert role not in found.table
    assert role not in found.column_sha256
    assert ("length_of_stay" in found.table) == (role != "admitted_on")


@pytest.mark.parametrize("column", ["Name", "Age", "Gender", "Date of Admission", "Discharge Date", "Hospital"])
def test_a_column_without_any_value_is_missing_not_wrong(read_frame, cells, column):
    found = read_frame(cells.assign(**{column: ""}))
    assert found.rejected.empty
    assert len(found.row) == N


def test_a_table_of_numbers_alone_has_no_twins_and_no_patients(read_frame, cells):
    numbers = cells["Billing Amount"]
    with pytest.raises(TooManyRejected, match="none is left"):  # no row of it is an admission
        read_frame(cells.assign(**dict.fromkeys(cells, "")).assign(**{"Billing Amount": numbers}))


def test_spellings_are_merged_and_counted(read_frame, cells):
    frame = cells.copy()
    frame.loc[:9, "Gender"] = frame.loc[:9, "Gender"].str.upper()
    frame.loc[:9, "Hospital"] = frame.loc[:9, "Hospital"].map(lambda name: ", ".join(reversed(name.split())))
    found = read_frame(frame)
    assert found.table["sex"].cat.categories.tolist() == ["Female", "Male"]
    assert found.counts["spellings_merged.sex"] == frame.loc[:9, "Gender"].nunique()
    assert found.counts["spellings_merged.hospital"] > 0
    assert found.table["hospital"].nunique() == cells["Hospital"].nunique()


def test_what_lies_below_a_flag_is_kept_and_counted(read_frame, cells):
    before = (cells["Billing Amount"].astype(float) < 0).sum()
    frame = cells.copy()
    frame.loc[:4, "Billing Amount"] = "-12.5"
    found = read_frame(frame)
    assert found.counts["below_0.billed"] == before + 5
    assert set(found.table.loc[:4, "billed"]) == {-12.5}


def test_copies_form_groups(plain):
    copies = simulate("planted", N, seed=1, hospitals=5).original
    assert sum(plain.twins.differ.values()) == (copies != np.arange(N)).sum()
    for row, original in enumerate(copies):
        assert plain.group[row] == plain.group[original]


def test_the_admissions_of_a_declared_patient_form_a_group(read_frame, cells):
    patients = described_as(patient_id={"kind": "identifier", "from": "Patient", "private": True})
    frame = cells.assign(Patient=[str(row % 50) for row in range(N)])
    found = read_frame(frame, columns=patients)
    assert found.identity == "patient_id"
    assert all(len(set(found.group[row::50])) == 1 for row in range(50))


def test_a_missing_patient_is_nobody(read_frame, cells):
    patients = described_as(patient_id={"kind": "identifier", "from": "Patient", "private": True})
    found = read_frame(cells.assign(Patient=["" if row < 20 else str(row) for row in range(N)]), columns=patients)
    assert found.group.tolist() == found.twins.group.tolist()


def test_an_identifier_that_counts_the_rows_hides_no_copies(read_frame, cells, plain):
    numbered = described_as(visit={"kind": "identifier", "from": "Visit"})
    found = read_frame(cells.assign(Visit=np.arange(N)), columns=numbered)
    assert found.twins.differ == plain.twins.differ


def test_a_table_of_nothing_but_row_numbers_is_read(read_frame, cells, described):
    absent = {
        role: {"from": None, "kind": column.kind, "known": column.known}
        for role, column in described("x").columns.items()
    }
    columns = {**absent, **described_as(visit={"kind": "identifier", "from": "Visit"})}
    assert len(read_frame(cells.assign(Visit=np.arange(N)), columns=columns).row) == N


def test_an_age_in_bands_is_a_category(read_frame, cells):
    columns = described_as(age={"kind": "category", "from": "Age"})
    found = read_frame(cells.assign(Age="[40-50)"), columns=columns)
    assert set(found.table["age"]) == {"[40-50)"}
    assert found.identity == "untested"


def test_dates_are_read_in_a_declared_format(read_frame, cells, plain):
    frame, columns = cells.copy(), {}
    for role, name in (("admitted_on", "Date of Admission"), ("discharged_on", "Discharge Date")):
        frame[name] = pd.to_datetime(cells[name]).dt.strftime("%d.%m.%Y")
        columns |= described_as(**{role: {"kind": "date", "from": name, "format": "%d.%m.%Y"}})
    assert read_frame(frame, columns=columns).sha256 == plain.sha256


LONG_STAYS = {"length_of_stay": {"from": None, "kind": "number", "known": "discharge", "high": 10_000}}


@pytest.mark.parametrize(
    ("column", "values"),
    [  # beside those whose values test_scorer_serving has
        ("Age", pa.array([decimal.Decimal("30.5"), None] * 150)),
        ("Age", pa.array([True, False] * 150)),
        ("Age", pa.nulls(N)),
        ("Gender", pa.array([1.5, np.inf] * 150)),
        ("Gender", pa.array([1.0, 1e300] * 150)),
        ("Gender", pa.array([b"f", b""] * 150, pa.binary_view())),
        ("Gender", pa.array([1, 2] * 150).dictionary_encode()),
        ("Gender", pa.array([dt.date(2024, 1, 1), None] * 150)),
        ("Gender", pa.array([dt.time(1), None] * 150)),
        ("Gender", pa.array([decimal.Decimal("1.50"), None] * 150)),
        ("Gender", pa.nulls(N)),
        ("Name", pa.array(["Ann Lee", None] * 150).dictionary_encode()),
        ("Discharge Date", pa.array([dt.datetime(2030, 1, 1)] * N, pa.timestamp("s"))),  # noqa: DTZ001
        ("Discharge Date", pa.array([1_900_000_000_000_000_001] * N, pa.timestamp("ns"))),
        ("Discharge Date", pa.array([dt.date(2030, 1, 1)] * N, pa.date64())),
        ("Discharge Date", pa.nulls(N)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.type),
)
def test_a_column_of_a_parquet_file_may_be_of_any_plain_type(tmp_path, cells, reading, column, values):
    table = pa.Table.from_pandas(cells)
    table = table.set_column(table.column_names.index(column), column, values)
    pyarrow.parquet.write_table(table, tmp_path / "mine.parquet")
    found = reading(tmp_path / "mine.parquet", columns=LONG_STAYS)
    assert found.rejected.empty
    assert len(found.row) == N


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**31 - 1] * 3 + [19_000] * (N - 3), pa.date32()),
        pa.array([10**15] * 3 + [1_900_000_000] * (N - 3), pa.timestamp("s")),
        pa.array([-(10**17)] * 3 + [1_900_000_000_000_000] * (N - 3), pa.timestamp("us")),
        pa.array([86_400_000 * 10**7] * 3 + [86_400_000 * 20_000] * (N - 3), pa.date64()),
    ],
    ids=lambda values: str(values.type),
)
def test_a_date_outside_the_calendar_is_rejected(tmp_path, cells, reading, values):
    table = pa.Table.from_pandas(cells)
    table = table.set_column(table.column_names.index("Discharge Date"), "Discharge Date", values)
    pyarrow.parquet.write_table(table, tmp_path / "mine.parquet")
    found = reading(tmp_path / "mine.parquet", max_rejected=1, columns=LONG_STAYS)
    assert found.rejected.query("rule == 'date'")["row"].tolist() == [1, 2, 3]


def test_a_simulated_table_needs_no_file(described):
    dataset = replace(described("unused", rows=N, seed=1, hospitals=5, scenario="planted"), source=None)
    found = read(dataset, keep_rejected=None)
    assert found.origin == "simulated:planted"
    assert len(found.row) == N


@pytest.mark.parametrize(
    ("keys", "words"),
    [({"scenario": "nothing"}, "nothing"), ({"rows": 0}, "0"), ({"effect": 99}, "99"), ({"hospitals": 0}, "0")],
)
def test_what_cannot_be_simulated_is_a_wrong_configuration(described, keys, words):
    dataset = replace(described("unused", **{"scenario": "planted", **keys}), source=None)
    with pytest.raises(ConfigurationInvalid, match=words):
        read(dataset, keep_rejected=None)


@pytest.fixture
def with_canaries(tmp_path, cells, reading):
    """A table with known names in its private columns, in good rows and bad ones, and what was rejected of it."""
    frame = cells.copy()
    frame.loc[[3, 40, 41], "Name"] = CANARIES
    frame.loc[[4, 42, 43], "Doctor"] = CANARIES
    frame.loc[40, "Age"] = "abc"
    frame.loc[41, "Age"] = CANARIES[2]
    frame.loc[42, "Room Number"] = f"with {CANARIES[1]}"
    lines = frame.to_csv(index=False).splitlines()
    lines[60] = f"{CANARIES[0]},{lines[60]}"
    (tmp_path / "mine.csv").write_text("\n".join(lines), encoding="utf-8")
    return reading(tmp_path / "mine.csv")


def test_no_private_name_stands_in_anything_that_is_written(tmp_path, with_canaries):
    folder = tmp_path / "written"
    folder.mkdir()
    with_canaries.table.to_parquet(folder / "table.parquet")
    with_canaries.rejected.to_csv(folder / "rejected.csv")
    parts = [with_canaries.provenance(), with_canaries.extra, with_canaries.twins.skipped, with_canaries.identity]
    (folder / "rest.json").write_text(json.dumps(parts), encoding="utf-8")
    PrivateWords.of(CANARIES, ()).refuse(folder)
    (folder / "rest.json").write_text(json.dumps([*parts, CANARIES[1]]), encoding="utf-8")
    with pytest.raises(PrivateValueFound, match=r"rest\.json"):
        PrivateWords.of(CANARIES, ()).refuse(folder)


def test_the_search_knows_the_names_of_rejected_rows_too(with_canaries):
    assert set(CANARIES) <= with_canaries.private
    assert not with_canaries.private & with_canaries.public


def test_a_name_in_a_public_cell_of_a_rejected_row_excuses_nothing(tmp_path, cells, reading):
    frame = cells.copy()
    frame.loc[3, "Name"] = frame.loc[3, "Hospital"] = CANARIES[0]
    frame.loc[3, "Age"] = "abc"
    frame.loc[5, "Name"] = frame.loc[5, "Hospital"] = CANARIES[1]
    frame.to_csv(tmp_path / "mine.csv", index=False)
    found = reading(tmp_path / "mine.csv")
    words = found.private_words()
    assert words.count(CANARIES[0]) == 1
    assert words.count(CANARIES[1]) == 0
