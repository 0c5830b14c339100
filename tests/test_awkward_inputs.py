"""Small tables that went wrong once, and others of their kind: each is read to its right value, or is asked about."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hi_ml
from hi_ml.app.config import build
from hi_ml.data.privacy import words_in
from hi_ml.data.schema import Dataset

N = 200
NIGHTS = np.arange(N) % 14 + 1
IN = pd.Timestamp("2023-01-02") + pd.to_timedelta(np.arange(N) * 7 % 600, unit="D")
BILLS = 15_000 + 50.25 * np.arange(N)
ODD = np.arange(N) % 3 == 0
STILL = [3, 50, 90, 140]  # rows of who is still in hospital
SAME = np.flatnonzero(NIGHTS == 1)[:8]
PATIENT = {"patient_id": {"from": "MRN", "kind": "identifier", "known": "admission", "private": True}}


@pytest.fixture
def base():
    """A clean table: 200 admissions of as many patients, 3 hospitals, 3 types."""
    return pd.DataFrame(
        {
            "Name": [f"Person{row:03d} Invented{row:03d}" for row in range(N)],
            "Age": (20 + np.arange(N) * 13 % 70).astype(str),
            "Gender": np.where(np.arange(N) % 2, "Male", "Female"),
            "Blood Type": np.array(["A+", "B+", "O-", "AB-"])[np.arange(N) // 3 % 4],
            "Medical Condition": np.array(["Asthma", "Cancer", "Diabetes", "Obesity", "Arthritis"])[np.arange(N) % 5],
            "Date of Admission": IN.strftime("%Y-%m-%d"),
            "Doctor": [f"Doctor{row % 40} Madeup{row % 40}" for row in range(N)],
            "Hospital": np.array(["South Clinic", "East Clinic", "West Clinic"])[np.arange(N) % 3],
            "Insurance Provider": np.array(["Alpha", "Beta"])[np.arange(N) % 2],
            "Billing Amount": [f"{bill:.2f}" for bill in BILLS],
            "Room Number": (100 + np.arange(N)).astype(str),
            "Admission Type": np.array(["1", "2", "3"])[np.arange(N) // 2 % 3],
            "Discharge Date": (IN + pd.to_timedelta(NIGHTS, unit="D")).strftime("%Y-%m-%d"),
            "Medication": np.array(["Aspirin", "Ibuprofen"])[np.arange(N) // 5 % 2],
            "Test Results": np.array(["Normal", "Abnormal", "Inconclusive"])[np.arange(N) // 7 % 3],
        }
    )


def more(**cells):
    """Append a row with some cells, by name."""
    return lambda table: pd.concat([table, pd.DataFrame([cells])], ignore_index=True).fillna("")


def put(name, values, rows=slice(None)):
    """Write cells of a column."""

    def change(table):
        column = np.array(table[name], dtype=object)
        column[rows] = values
        return table.assign(**{name: column})

    return change


def both(*changes):
    def change(table):
        for one in changes:
            table = one(table)
        return table

    return change


def same_day(admitted, discharged, *, instants=False):
    """Let eight leave on the day they came, one of the two moments with its hour."""
    nights = np.where(np.isin(np.arange(N), SAME), 0, NIGHTS)
    first, last = IN + pd.Timedelta(hours=14.5), IN + pd.to_timedelta(nights, unit="D")
    last = last + pd.Timedelta(hours=15 * instants)
    return both(put("Date of Admission", first.strftime(admitted)), put("Discharge Date", last.strftime(discharged)))


def hospitals(*names):
    return put("Hospital", np.array(names)[np.arange(N) % len(names)])


def half_way(one, other):
    """Write codes in one way, and from half of the rows on in another."""
    code = np.arange(N) // 2 % 3 + 1
    return put("Admission Type", [(one if row < N // 2 else other).format(c) for row, c in enumerate(code)])


def identifiers(nobody):
    ids = np.array([f"{100_000_000_007 + 7 * row}" for row in range(N)], dtype=object)
    return lambda table: table.assign(MRN=np.where(ODD, nobody, ids))


CLEAN = {"rows": N, "stay": NIGHTS.mean(), "bill": BILLS.mean(), "hospitals": 3, "types": 3}
GONE = {"rows": N - len(STILL), "stay": np.delete(NIGHTS, STILL).mean()}
SHORTER = {"rows": N, "stay": np.where(np.isin(np.arange(N), SAME), 0, NIGHTS).mean()}
NOBODY = {"rows": N, "patients": N}
TOTALS = [{"Name": "Total"}, {"Name": "Summe", "Age": "11000"}, {"Doctor": "ИТОГО"}, {}]
CASES = {
    "clean": (lambda table: table, {}, CLEAN),
    **{f"totals {cells}": (more(**{"Billing Amount": f"{BILLS.sum():.2f}"}, **cells), {}, CLEAN) for cells in TOTALS},
    **{
        f"still in hospital {day}": (put("Discharge Date", day, STILL), {}, GONE)
        for day in ("2099-12-31", "9999-12-31", "1900-01-01", "2050-06-30")
    },
    "same day, bare discharge": (same_day("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"), {}, SHORTER),
    "same day, bare discharge, ISO": (same_day("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"), {}, SHORTER),
    "same day, bare admission": (same_day("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", instants=True), {}, SHORTER),
    "same day, two hours": (same_day("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M", instants=True), {}, SHORTER),
    "vowel signs, Devanagari": (
        hospitals(*(f"{word} अस्पताल" for word in ("किरण", "करण", "करुण", "कारण", "कीरण"))), {}, CLEAN | {"hospitals": 5},
    ),
    "vowel signs, Bengali": (hospitals("কলা", "কালা", "কিলা", "কুলা"), {}, CLEAN | {"hospitals": 4}),
    "tone marks, Thai": (hospitals("ขาว", "ข่าว", "ข้าว"), {}, CLEAN),
    "vowel signs, Khmer": (hospitals("កា", "កិ", "កុ"), {}, CLEAN),
    "one name in three forms": (hospitals("Cafe\u0301", "Caf\u00e9", "Caf\u00ad\u00e9"), {}, CLEAN | {"hospitals": 1}),
    "codes 1 and 1.0": (half_way("{}", "{}.0"), {}, CLEAN),
    "codes 1.00 and 1": (half_way("{}.00", "{}"), {}, CLEAN),
    "codes 250.1 and 250.10": (half_way("250.{}", "250.{}0"), {}, CLEAN | {"types": 6}),
    "codes 1 and 001": (half_way("{}", "00{}"), {}, CLEAN | {"types": 6}),
    **{f"nobody {nobody}": (identifiers(nobody), PATIENT, NOBODY) for nobody in ("0", "-1", "999999999", "unknown")},
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_an_awkward_table_is_read_to_its_right_value(tmp_path, base, kind):
    change, columns, right = CASES[kind]
    change(base).to_csv(tmp_path / "mine.csv", index=False)
    read = hi_ml.read(tmp_path / "mine.csv", columns=columns)
    table = read.table
    found = {
        "rows": len(table),
        "stay": table["length_of_stay"].mean(),
        "bill": table["billed"].mean(),
        "hospitals": table["hospital"].nunique(),
        "types": table["admission_type"].nunique(),
        "patients": len(np.unique(read.group)),
    }
    assert {name: found[name] for name in right} == pytest.approx(right)
    assert len(read.rejected[["row"]].drop_duplicates()) == len(change(base)) - len(table)
    assert ("counts as no identity" in " ".join(read.warnings)) == kind.startswith("nobody")


@pytest.mark.parametrize(
    ("separator", "mark", "keys", "mean"),
    [
        (";", ".", {}, None),
        (";", ".", {"thousands": "."}, BILLS.round().mean()),
        (",", "'", {"thousands": "'"}, BILLS.round().mean()),
        (";", ",", {"thousands": ","}, BILLS.round().mean()),
        (";", ",", {"decimal": ","}, BILLS.round().mean() / 1000),
    ],
)
def test_a_mark_in_three_digits_is_declared_or_asked_about(tmp_path, base, separator, mark, keys, mean):
    bills = [f"{bill:,.0f}".replace(",", mark) for bill in BILLS]
    base.assign(**{"Billing Amount": bills}).to_csv(tmp_path / "mine.csv", sep=separator, index=False)
    read = hi_ml.read(tmp_path / "mine.csv", separator=separator, **keys)
    if mean is None:
        assert any("20.018" in line or "thousands" in line for line in read.warnings)
    else:
        assert read.table["billed"].mean() == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Europe/Berlin"])
@pytest.mark.parametrize("declared", [True, False])
def test_nights_of_moments_in_utc_are_those_of_the_ward(tmp_path, base, zone, declared):
    nights = pd.to_timedelta(NIGHTS, unit="D")
    moments = {
        "Date of Admission": (IN + pd.Timedelta(hours=23)).tz_localize(zone, ambiguous=True),
        "Discharge Date": (IN + nights + pd.Timedelta(hours=10)).tz_localize(zone, ambiguous=True),
    }
    utc = {name: pa.array(at.tz_convert(None).to_numpy(), pa.timestamp("us", "UTC")) for name, at in moments.items()}
    table = pa.table({name: utc.get(name, base[name].tolist()) for name in base})
    pq.write_table(table, tmp_path / "mine.parquet")
    read = hi_ml.read(tmp_path / "mine.parquet", **({"zone": zone} if declared else {}))
    assert any("zone" in line for line in read.warnings) != declared
    if declared:
        assert read.table["length_of_stay"].mean() == pytest.approx(NIGHTS.mean())


NAMES = ["अनीता शर्मा", "مُحَمَّد عَلِيّ", "สมชายใจดี", "王小明", "Zoë Qwfpñame", "Zoe\u0308 Qwfpn\u0303ame"]


@pytest.mark.parametrize("word", [None, 0, -1])
@pytest.mark.parametrize("name", NAMES)
def test_no_letter_of_a_name_in_another_rows_cell_is_shown(tmp_path, base, caplog, name, word):
    told = name if word is None else name.split()[word]
    both(put("Name", name, [7]), put("Age", f"see {told}", [90]))(base).to_csv(tmp_path / "mine.csv", index=False)
    caplog.set_level(logging.DEBUG)
    read = hi_ml.read(tmp_path / "mine.csv")
    assert len(read.table) == N - 1
    said = " ".join([*read.rejected.astype(str).to_numpy().ravel(), *read.warnings, caplog.text])
    assert not set(words_in(told)) & set(words_in(said))


def test_a_column_of_which_half_is_missing_is_used_and_found_to_tell(tmp_path):
    rng = np.random.default_rng(0)
    code, known = rng.integers(0, 60, 1500), rng.random(1500) < 0.48
    stay = np.round(np.where(known, 3 + code % 10, 8) + rng.gamma(2, 1, 1500))
    procedure = np.where(known, pd.Series(code).map("P{}".format), "")
    table = pd.DataFrame({"procedure": procedure, "age": rng.integers(18, 90, 1500), "length_of_stay": stay})
    table.to_csv(tmp_path / "mine.csv", index=False)
    columns = {
        "procedure": {"kind": "category", "known": "admission"},
        "age": {"kind": "number", "known": "admission"},
        "length_of_stay": {"kind": "number", "known": "discharge"},
    }
    mine = build(Dataset, {"name": "mine", "source": str(tmp_path / "mine.csv"), "columns": columns})
    run = hi_ml.fit(hi_ml.read(mine), "length_of_stay", "lgbm")
    error = np.abs(run.target - run.predicted).mean() / np.abs(run.target - run.constant()).mean()
    assert "procedure" in run.problem.features.role.values()
    assert error < 0.75
