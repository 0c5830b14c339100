from dataclasses import replace

import pytest
from pydantic import ValidationError

from hi_ml.app.config import build
from hi_ml.data.column import Column
from hi_ml.data.schema import MISSING_WORDS, ROLES, Dataset

AGE = {"from": "Age", "kind": "number", "known": "admission"}


def dataset(columns=None, **keys):
    return build(Dataset, {"name": "mine", "source": "mine.csv", "columns": {"age": AGE, **(columns or {})}, **keys})


def column(**keys):
    return build(Column, {**AGE, **keys})


def test_the_kaggle_table_has_a_column_for_each_role_but_the_ones_it_lacks(described):
    kaggle = described("mine.csv")
    assert set(ROLES) - set(kaggle.columns) == {"patient_id", "length_of_stay", "disposition"}
    assert {role for role, column in kaggle.columns.items() if column.private} == {"patient_name", "doctor"}


def test_a_column_without_from_stands_under_its_own_name():
    described = dataset({"smoker": {"kind": "category", "known": "admission"}})
    assert described.columns["smoker"].source == "smoker"


def test_a_column_from_null_is_absent():
    described = dataset({"sex": {"from": None, "kind": "category", "known": "admission"}})
    assert list(described.present()) == ["age"]


def test_the_stay_is_computed_where_both_dates_are_there_and_it_is_not():
    dates = {role: {"kind": "date", "known": "discharge"} for role in ("admitted_on", "discharged_on")}
    assert dataset(dates).computes_stay()
    assert not dataset({**dates, "length_of_stay": {"kind": "number", "known": "discharge"}}).computes_stay()
    assert not dataset({"admitted_on": dates["admitted_on"]}).computes_stay()


def test_a_column_is_described_in_plain_values():
    assert dataset().spec("age") == {
        "role": "age", "source": "Age", "kind": "number", "missing": MISSING_WORDS, "low": None, "high": None,
        "format": None, "spelling": "case",
    }  # fmt: skip


def test_a_computed_stay_is_described_by_its_two_dates():
    dates = {role: {"kind": "date", "known": "discharge"} for role in ("admitted_on", "discharged_on")}
    spec = dataset(dates, stay="inclusive").spec("length_of_stay")
    assert (spec["kind"], spec["inclusive"]) == ("stay", True)
    assert [date["role"] for date in spec["between"]] == ["admitted_on", "discharged_on"]


@pytest.mark.parametrize(
    "keys",
    [
        {"declarations": {"acute_conditions": ["Asthma"], "toxic": ["Lead"]}},
        {"declarations": {"toxic": ["Lead"]}, "acute_conditions": ["Asthma"], "severe_conditions": None},
        {"declarations": {"acute_conditions": None, "toxic": ["Lead"]}, "acute_conditions": ["Asthma"]},
    ],
    ids=["below", "beside", "null below"],
)
def test_declarations_stand_below_their_key_and_three_of_them_beside_it(keys):
    declared = dataset(**keys)
    assert declared.declarations == {"acute_conditions": ["Asthma"], "toxic": ["Lead"]}
    assert replace(declared, rows=7).declarations == declared.declarations


def test_two_declarations_of_one_name_that_differ_are_refused():
    with pytest.raises(ValidationError, match="acute_conditions differ"):
        dataset(acute_conditions=["Asthma"], declarations={"acute_conditions": ["Gout"]})


@pytest.mark.parametrize(
    ("written", "meant"), [(";", ";"), ("\t", "\t"), ("\\t", "\t"), ("|", "|")], ids=["semicolon", "tab", "\\t", "bar"]
)
def test_a_separator_may_come_from_a_command_line(written, meant):
    assert dataset(separator=written).separator == meant


@pytest.mark.parametrize("written", ["", ";;", "a", "0", '"', "\n", "\r", "\0", "é"])
def test_what_separates_nothing_is_refused(written):
    with pytest.raises(ValidationError, match="one character"):
        dataset(separator=written)


@pytest.mark.parametrize(("written", "meant"), [("UTF8", "utf-8"), ("latin-1", "iso8859-1"), ("CP1252", "cp1252")])
def test_an_encoding_has_one_name(written, meant):
    assert dataset(encoding=written).encoding == meant


@pytest.mark.parametrize("written", ["utf-9", "", "hex", "rot13", "undefined", "a\0b"])
def test_what_encodes_no_text_is_refused(written):
    with pytest.raises(ValidationError, match="an encoding that Python knows"):
        dataset(encoding=written)


@pytest.mark.parametrize("written", ["%d/%m/%Y", "%Y-%m-%dT%H:%M:%S%z", "%d %B %Y", "%Y-%m", "%Y%m%d"])
def test_a_date_format_is_taken(written):
    assert column(kind="date", format=written).format == written


@pytest.mark.parametrize("written", ["%Q", "%d%", "%H:%M", "%Y", "day", ""])
def test_a_format_that_reads_no_date_is_refused(written):
    with pytest.raises(ValidationError, match="strftime"):
        column(kind="date", format=written)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"kind": "numbr"}, "kind"),
        ({"known": "later"}, "known"),
        ({"lowest": 3}, "lowest"),
        ({"low": "abc"}, "low"),
        ({"high": float("inf")}, "high"),
        ({"private": "maybe"}, "private"),
        ({"from": ""}, "from"),
        ({"from": 5}, "from"),
        ({"low": 9, "high": 3}, "low is 9, above high, which is 3"),
        ({"kind": "category", "flag_below": 0}, "only kind number"),
        ({"format": "%d/%m/%Y"}, "only kind date"),
    ],
)
def test_a_wrong_key_of_a_column_is_named(keys, reason):
    with pytest.raises(ValidationError, match=reason):
        column(**keys)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"naem": "x"}, "naem"),
        ({"max_rejected": "abc"}, "max_rejected"),
        ({"max_rejected": 1.1}, "max_rejected"),
        ({"max_rejected": -0.1}, "max_rejected"),
        ({"max_rejected": float("nan")}, "max_rejected"),
        ({"missing": "na"}, "missing"),
        ({"missing": [False]}, "missing"),
        ({"stay": "sometimes"}, "stay"),
        ({"seed": -1}, "seed"),
        ({"name": "../up"}, "a name of letters"),
        ({"name": ""}, "a name of letters"),
        ({"source": ""}, "source"),
        ({"source": ["a.csv", "b.csv"]}, "source"),
        ({"source": None}, "no scenario to simulate"),
        ({"columns": {}}, "every column is declared absent"),
        ({"columns": None}, "columns"),
        ({"columns": {"age": None}}, "columns"),
        ({"columns": {"a[0]": AGE}}, "a name of letters"),
        ({"columns": {"row": AGE}}, "taken"),
        ({"columns": {"admitted_on": AGE}}, "columns.admitted_on.kind is number; expected date"),
        ({"columns": {"billed": {**AGE, "kind": "category"}}}, "columns.billed.kind is category; expected number"),
        ({"columns": {"a": {**AGE, "private": True}, "b": AGE}}, "columns.a is private"),
    ],
)
def test_a_wrong_key_of_a_dataset_is_named(keys, reason):
    with pytest.raises(ValidationError, match=reason):
        build(Dataset, {"name": "mine", "source": "mine.csv", "columns": {"age": AGE}, **keys})


def test_a_scenario_takes_the_place_of_a_source():
    assert dataset(source=None, scenario="noise").source is None
