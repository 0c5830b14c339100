import functools
import re
from datetime import datetime, timedelta, timezone

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hi_ml.app.config import build, compose
from hi_ml.app.errors import TooManyRejected
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset

N = 300
BILL, ADMITTED, DISCHARGED = "Billing Amount", "Date of Admission", "Discharge Date"


@pytest.fixture
def told(tmp_path, cells, monkeypatch):
    """Read the table with some columns replaced, as a command does with such arguments."""
    monkeypatch.chdir(tmp_path)

    def read_it(*arguments, separator=",", **columns):
        frame = cells.assign(**{name.replace("_", " "): values for name, values in columns.items()})
        frame.to_csv("mine.csv", index=False, sep=separator)
        return _read("dataset.source=mine.csv", f'dataset.separator="{separator}"', *arguments)

    return read_it


@functools.cache
def _composed():
    return compose("train", "dataset=kaggle")


def _read(*arguments):
    """Read as a command with these arguments does, without composing all anew."""
    node = OmegaConf.create(_composed())
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        OmegaConf.update(node, override.key_or_group, override.value(), force_add=override.is_force_add())
    return read(build(Dataset, node["dataset"]), lambda _: "rejected.csv")


def _settings(text):
    """The settings that a sentence names, as a shell hands them over."""
    return [quoted or bare.rstrip(".") for quoted, bare in re.findall(r"'(\+\+[^']*)'|(\+\+\S+)", text)]


def _bills(cells, written):
    return [written(float(bill)) for bill in cells[BILL]]


def test_a_point_before_three_digits_is_asked_about_with_both_readings(told, cells):
    bills = _bills(cells, lambda bill: f"{abs(bill) / 1000 + 1:.3f}")
    found = told(Billing_Amount=bills)
    (warning,) = found.warnings
    assert "three digits behind it" in warning
    thousands, decimal = _settings(warning)
    assert told(decimal, Billing_Amount=bills).table["billed"].equals(found.table["billed"])
    there = told(thousands, Billing_Amount=bills)
    assert there.table["billed"].mean() == pytest.approx(1000 * found.table["billed"].mean())
    assert there.warnings == told(decimal, Billing_Amount=bills).warnings == ()


@pytest.mark.parametrize("written", ["{:.2f}", "{:.4f}", "0.{:03.0f}", "{:.0f}"])
def test_a_point_before_other_digits_is_not(told, cells, written):
    assert told(Billing_Amount=_bills(cells, lambda bill: written.format(abs(bill) % 1000))).warnings == ()


def _german(bill):
    return f"{bill:,.2f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize(
    ("written", "readings"),
    [
        (_german, [{"decimal": ",", "thousands": "."}]),
        (lambda bill: f"{bill:.2f}".replace(".", ","), [{"decimal": ","}]),
        (lambda bill: f"{bill:,.2f}", [{"thousands": ","}]),
        (lambda bill: f"{bill:,.0f}", [{"thousands": ","}, {"decimal": ","}]),
        (lambda bill: f"$ {bill:.2f}", [{"money": "$"}]),
        (lambda bill: f"{bill:.2f} €", [{"money": "€"}]),
    ],
)
def test_marks_that_nobody_declared_stop_the_run_with_the_keys_that_read_them(told, cells, written, readings):
    bills = _bills(cells, lambda bill: written(abs(bill) + 1000))
    with pytest.raises(TooManyRejected) as refused:
        told(separator=";", Billing_Amount=bills)
    expected = [f'++dataset.columns.billed.{mark}="{sign}"' for reading in readings for mark, sign in reading.items()]
    assert _settings(str(refused.value)) == expected
    assert "max_rejected" not in str(refused.value)
    found = told(*expected[: len(readings[0])], separator=";", Billing_Amount=bills)
    assert found.table["billed"].mean() == pytest.approx(cells[BILL].astype(float).abs().mean() + 1000, abs=1)


def test_blanks_may_part_thousands_and_marks_may_stand_in_the_whole_dataset(told, cells):
    bills = _bills(cells, lambda bill: f"{abs(bill):,.1f}".replace(",", "\u202f").replace(".", ","))
    found = told("dataset.decimal=','", "dataset.thousands=' '", separator=";", Billing_Amount=bills)
    assert found.table["billed"].mean() == pytest.approx(cells[BILL].astype(float).abs().mean(), abs=0.1)


ZONES = [
    (lambda moment: moment.isoformat(), "carry an offset"),
    (lambda moment: moment.strftime("%Y-%m-%d %H:%MZ"), "carry an offset"),
    (lambda moment: moment.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(), "carry an offset"),
    (None, "all moments are in UTC"),
]


@pytest.mark.parametrize(("written", "what"), ZONES)
def test_nights_are_those_of_the_wards_clock_and_without_one_moments_in_utc_are_asked_about(told, cells, written, what):
    """Admitted at 23:00 and discharged at 10:00 in New York, three days later: three nights there, two in UTC."""
    admitted, discharged = datetime.fromisoformat("2024-01-02T04:00Z"), datetime.fromisoformat("2024-01-04T15:00Z")
    if written is None:
        ends = {ADMITTED: admitted, DISCHARGED: discharged}
        moments = {name: pa.array([end] * N, pa.timestamp("us", "UTC")) for name, end in ends.items()}
        table = pa.table({name: moments.get(name, pa.array(cells[name])) for name in cells})
        pyarrow.parquet.write_table(table, "mine.parquet")
        ask = lambda *arguments: _read("dataset.source=mine.parquet", *arguments)  # noqa: E731 -- as `told`
    else:
        columns = {"Date_of_Admission": [written(admitted)] * N, "Discharge_Date": [written(discharged)] * N}
        ask = lambda *arguments: told(*arguments, **columns)  # noqa: E731 -- likewise
    found = ask()
    assert [what in warning for warning in found.warnings] == [True, True]
    assert _settings(found.warnings[0]) == ["++dataset.zone=Europe/Berlin"]
    there = ask("++dataset.zone=America/New_York")
    assert (set(there.table["length_of_stay"]), there.warnings) == ({3.0}, ())


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("Discharge_Date", "2099-12-31", "2099-12-31"),
        ("Date_of_Admission", "1900-01-01", "1900-01-01"),
        ("Billing_Amount", "9999999", "1e+07"),
        ("Room_Number", "-99", "-99"),
        ("Age", "99", "99"),
    ],
)
def test_a_value_far_too_common_and_far_off_is_named(told, cells, column, value, text):
    name = column.replace("_", " ")
    values = [value if row % 6 == 0 else cell for row, cell in enumerate(cells[name])]
    (warning,) = told("dataset.max_rejected=0.3", **{column: values}).warnings
    assert warning.startswith(f"{name}: 50 rows have {text}")
    assert told(**{column: cells[name]}).warnings == ()


def _ordered(cells, first, second):
    """Dates of which the even rows are written one way and the odd ones another."""
    return [
        pd.Timestamp(day).strftime(second if row % 2 else first) for row, day in enumerate(cells[ADMITTED])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "words", "declared"),
    [
        ("%m/%d/%Y", "%d/%m/%Y", "cells were read as %m/%d/%Y, of which", "%m/%d/%Y"),
        ("%d.%m.%Y", "%m.%d.%Y", "cells were read as %d.%m.%Y, of which", "%d.%m.%Y"),
        ("%Y-%m-%d", "%d/%m/%Y", "150 cells were read as YYYY-MM-DD; of those set aside", None),
        ("%d/%m/%Y", "%m/%d/%Y", "mixes orders of dates: ", None),
    ],
)
def test_dates_of_two_orders_are_counted_and_no_key_is_promised(told, cells, first, second, words, declared):
    how = [f'++dataset.columns.admitted_on.format="{declared}"'] if declared else []
    with pytest.raises(TooManyRejected, match="mixes orders of dates") as refused:
        told(*how, Date_of_Admission=_ordered(cells, first, second))
    assert words in str(refused.value)
    assert "max_rejected" not in str(refused.value)
    assert "month first" in str(refused.value) or "day first" in str(refused.value)
    found = (
        told(*how, "dataset.max_rejected=0.99", Date_of_Admission=_ordered(cells, first, second)) if declared else None
    )
    assert found is None or "mixes orders of dates" in found.warnings[0]


@pytest.mark.parametrize(
    ("way", "stray"), [("%d/%m/%Y", "31/02/2023"), ("%Y-%m-%d", "2023-02-31"), ("%Y-%m-%d", "2023-13-40")]
)
def test_a_day_that_is_in_no_calendar_is_of_no_other_order(told, cells, way, stray):
    dates = pd.to_datetime(cells["Date of Admission"]).dt.strftime(way)
    dates.iloc[3] = stray
    found = told(f'++dataset.columns.admitted_on.format="{way}"', Date_of_Admission=dates)
    assert not [words for words in found.warnings if "orders" in words]


@pytest.mark.parametrize("written", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y.%m.%d"])
def test_dates_of_one_other_order_are_told_with_the_key_that_reads_them(told, cells, written):
    dates = _ordered(cells, written, written)
    with pytest.raises(TooManyRejected) as refused:
        told(Date_of_Admission=dates)
    (key,) = _settings(str(refused.value))
    assert told(key, Date_of_Admission=dates).table["admitted_on"].tolist() == pd.to_datetime(cells[ADMITTED]).tolist()


@pytest.mark.parametrize("written", ["%Y%m%d", "%d %b %Y", "%B %d, %Y", "%d.%m.%y", "%d/%m/%Y %H:%M"])
def test_a_column_that_no_date_can_be_read_from_is_told_with_the_keys_that_read_it(told, cells, written):
    dates = _ordered(cells, written, written)
    with pytest.raises(TooManyRejected) as refused:
        told(Date_of_Admission=dates)
    assert "max_rejected" not in str(refused.value)
    readings = [
        told(key, Date_of_Admission=dates).table["admitted_on"].dt.date for key in _settings(str(refused.value))
    ]
    assert any(reading.tolist() == pd.to_datetime(cells[ADMITTED]).dt.date.tolist() for reading in readings)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"Discharge_Date": ["9999-12-31"] * N},
            "Name the column that holds dates: dataset.columns.discharged_on.from",
        ),
        ({"Date_of_Admission": ["soon"] * N}, "Name the column that holds dates: dataset.columns.admitted_on.from"),
        ({"Age": ["young", "old"] * (N // 2)}, "Name the column that holds numbers: dataset.columns.age.from"),
        ({"Age": ["1200"] * N}, "dataset.columns.age.low and dataset.columns.age.high"),
        ({"Date_of_Admission": ["2150-01-01"] * N}, "may have changed places"),
        ({"Date_of_Admission": ["1920-01-01"] * N}, "dataset.columns.length_of_stay.high"),
    ],
)
def test_what_most_rows_break_is_no_exception_and_its_remedy_is_of_its_cause(told, columns, words):
    with pytest.raises(TooManyRejected) as refused:
        told(**columns)
    assert words in str(refused.value)
    assert "max_rejected" not in str(refused.value)


@pytest.mark.parametrize("code", ["90+", "> 89", "90 or older", "120 +"])
def test_top_codes_that_nobody_declared_are_said_to_be_what_was_set_aside(told, cells, code):
    ages = [code if row < 6 else age for row, age in enumerate(cells["Age"])]
    (warning,) = told(Age=ages).warnings
    assert "6 cells" in warning
    assert "the largest values are what was set aside" in warning
    assert _settings(warning) == [f'++dataset.columns.age.top="{code}"']


@pytest.mark.parametrize("ident", ["1.23457E+12", "9.9e+15", "1,23457E+12"])
def test_an_identifier_in_scientific_notation_is_refused_by_that_name(told, ident):
    described = "++dataset.columns.patient_id={from: MRN, kind: identifier, known: admission, private: true}"
    found = told(described, MRN=[ident if row < 6 else f"12E{row}" for row in range(N)])
    assert found.rejected["rule"].tolist() == ["scientific"] * 6
    assert set(found.rejected["value"]) == {"<private>"}


@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [("2000-01-01", None, N - 1), (None, "2030-12-31", N - 1), ("2000-01-01", "2030-12-31", N - 2)],
)
def test_a_date_may_have_a_range(told, cells, low, high, kept):
    ends = [f"++dataset.columns.admitted_on.{end}={day}" for end, day in (("low", low), ("high", high)) if day]
    days = ["1901-05-05", "2031-01-01", *cells[ADMITTED][2:]]
    found = told(*ends, Date_of_Admission=days, Discharge_Date=[*days[:2], *cells[DISCHARGED][2:]])
    assert len(found.row) == kept
    assert set(found.rejected["rule"]) == {"range"}
