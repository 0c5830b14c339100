"""What a YAML may say of columns: moments in blocks, kinds left to the values, codes, bands, top codes, keys."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from hi_ml.app.config import build
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset

FRAME = pd.DataFrame(
    {
        "Alter": ["[50-60)", "[60-70)", "[50-60)", "70 or Older"],
        "Art": ["1", "2", "1", "7"],
        "diag_1": ["250.83", "V57", "8", "E11.9"],
        "diag_2": ["401", "?", "427", "999"],
        "lab 1": ["4.5", "5", "", "6"],
        "A1C": ["None", ">8", "?", "Norm"],
        "stay": ["3", "120 +", "8", "120"],
        "Haus": ["A", "A", "B", "B"],
        "nr": ["7", "8", "7", "8"],
    }
)


def table(tmp_path, columns, frame=FRAME, **keys):
    path = tmp_path / "mine.csv"
    frame.to_csv(path, index=False)
    node = {"name": "mine", "source": str(path), "max_rejected": 0.5, "columns": columns, **keys}
    return read(build(Dataset, node), lambda _: path)


def test_blocks_name_columns_by_name_range_and_glob_and_what_is_named_nowhere_is_after(tmp_path):
    known = {"admission": ["Haus", "diag_1..lab 1"], "discharge": ["diag_*", "age"]}
    admissions = table(tmp_path, {"age": {"from": "Alter", "bands": True}, "stay": {"known": "stay", "top": "120 +"},
                                  "kind_of": {"from": "Art", "kind": "category"}}, known=known)  # fmt: skip
    moments = {role: column.known for role, column in admissions.dataset.present().items()}
    assert moments == {
        "age": "discharge", "age_band": "discharge", "stay": "stay", "kind_of": "after", "Haus": "admission",
        "diag_1": "admission", "diag_2": "admission", "lab 1": "admission",
    }  # fmt: skip
    assert admissions.extra == ("A1C", "nr")


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"admission": ["diagg_*"]}, "names no column of the file.*has: Alter, Art, diag_1"),
        ({"admission": ["diag_*"], "stay": ["d*"]}, "says of column 'diag_1' both admission and stay"),
        ({"admission": ["nr..Art"]}, "a range <first>..<last> in the file's order"),
    ],
)
def test_a_block_that_says_nothing_or_two_things_is_refused(tmp_path, known, said):
    with pytest.raises(ConfigurationInvalid, match=said):
        table(tmp_path, {}, known=known)


def test_a_column_of_a_block_never_takes_the_role_of_another_one(tmp_path):
    with pytest.raises(ConfigurationInvalid, match=r"columns.<role>: \{from: nr\}"):
        table(tmp_path, {"nr": {"from": "Art", "kind": "category"}}, known={"admission": ["nr"]})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "2", ""], "number"),
        (["1.5", "-2e3", "?", "2"], "number"),
        (["007", "012", "007", ""], "category"),
        (["250", "V45", "401", "250"], "category"),
        (["2024-01-31", "", "2024-02-01", "2024-02-01"], "date"),
        (["31.01.2024", "", "01.02.2024", "01.02.2024"], "category"),
        (["", "?", "", ""], "category"),
        ([f"x{i}" for i in range(200)], "identifier"),
        ([str(i) for i in range(200)], "identifier"),
        ([str(i + 0.5) for i in range(200)], "number"),
        ([f"patient {i} was ill" for i in range(200)], "text"),
    ],
)
def test_a_kind_that_is_left_out_is_taken_from_the_values_and_told(tmp_path, caplog, values, kind):
    frame = pd.DataFrame({"x": values, "y": np.arange(len(values)) % 3})
    with caplog.at_level(logging.INFO, "hi_ml"):
        admissions = table(tmp_path, {"y": {"kind": "number"}}, frame, known={"admission": ["x"]})
    assert admissions.dataset.columns["x"].kind == kind
    assert f"kinds taken from the values: {kind}: x" in caplog.text
    assert admissions.provenance()["kinds_taken"] == {"x": kind}


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"bands": True}, "number"), ({"low": 0}, "number"), ({"unit": "mmol"}, "number"),
        ({"format": "%d.%m.%Y"}, "date"), ({"levels": {"1": "a"}}, "category"),
        ({"groups": "icd9_chapters"}, "category"), ({"from": ["a", "b"]}, "identifier"),
    ],
)  # fmt: skip
def test_a_kind_may_be_said_by_another_key(keys, kind):
    assert build(Dataset, {"name": "m", "source": "m", "columns": {"x": keys}}).columns["x"].kind == kind


def test_words_for_missing_may_be_those_of_one_column(tmp_path):
    columns = {"a1c": {"from": "A1C", "kind": "category", "missing": ["?"]}, "diag_2": {"kind": "category"}}
    admissions = table(tmp_path, columns, missing=["None"])
    assert admissions.table["a1c"].tolist()[:2] == ["None", ">8"]
    assert admissions.table["a1c"].isna().tolist() == [False, False, True, False]
    assert admissions.table["diag_2"].tolist()[1] == "?"


def test_a_number_that_means_missing_is_missing_in_a_typed_file_too(tmp_path):
    frame, path = pd.DataFrame({"x": [1.0, -9.0, 3.0], "y": [1, 2, 3], "z": [-9, 2, 3]}), tmp_path / "mine.parquet"
    frame.to_parquet(path)
    columns = {
        "x": {"kind": "number", "missing": [-9]},
        "y": {"kind": "number"},
        "z": {"kind": "category", "missing": ["-9.0"]},
    }
    typed = read(build(Dataset, {"name": "m", "source": str(path), "columns": columns}), lambda _: path).table
    assert typed.isna().sum().to_dict() == {"x": 1, "y": 0, "z": 1}


@pytest.mark.parametrize(
    "codes", [["1", "2", "1", "7"], [1, 2, 1, 7], [1.0, 2.0, 1.0, 7.0]], ids=["text", "int", "float"]
)
def test_levels_decode_and_a_code_without_label_stays_and_is_counted(tmp_path, codes):
    path = tmp_path / "mine.parquet"
    FRAME.assign(Art=codes).to_parquet(path)
    for levels in ({1: "Notfall", "2.0": None}, {"1": "Notfall", 2: "NULL"}):
        columns = {"admission_type": {"from": "Art", "kind": "category", "levels": levels}, "stay": {"top": ["120 +"]}}
        admissions = read(build(Dataset, {"name": "m", "source": str(path), "columns": columns}), lambda _: path)
        assert admissions.table["admission_type"].astype(object).where(lambda s: s.notna(), None).tolist() == [
            "Notfall", None, "Notfall", "7",
        ]  # fmt: skip
        assert admissions.counts["without_label.admission_type"] == 1


def test_levels_may_stand_in_a_file_of_one_table_or_of_several(tmp_path):
    one, several = tmp_path / "one.csv", tmp_path / "several.csv"
    one.write_text("code,label\n1,Notfall\n")
    several.write_text('Haus,name\nA,Nord\n,\nArt,name\n1,Notfall\n2,"Geplant, spät"\n')
    for path in (one, several):
        admissions = table(tmp_path, {"admission_type": {"from": "Art", "levels": str(path)}})
        assert set(admissions.table["admission_type"]) >= {"Notfall", "7"}
    with pytest.raises(ConfigurationInvalid, match="several tables of which one begins 'diag_1'"):
        table(tmp_path, {"diag_1": {"levels": str(several)}})
    with pytest.raises(ConfigurationInvalid, match=r"columns.diag_1.levels=none.csv cannot be read"):
        table(tmp_path, {"diag_1": {"levels": "none.csv"}})


@pytest.mark.parametrize("word", ["No", "Yes", "null"])
def test_a_word_that_yaml_takes_for_something_else_is_refused_with_the_remedy(word):
    value = {"No": False, "Yes": True, "null": None}[word]
    with pytest.raises(ValidationError, match="in quotes"):
        build(Dataset, {"name": "m", "source": "m", "columns": {"x": {"missing": [value]}}})


def test_groups_are_added_beside_the_codes(tmp_path):
    ranges = tmp_path / "ranges.csv"
    ranges.write_text("from,to,group\n1,499,low\nE,F,letters\n")
    for groups in (str(ranges), [[1, 499, "low"], ["E", "F", "letters"]]):
        admissions = table(tmp_path, {"diag_1": {"groups": groups}})
        assert admissions.table["diag_1"].tolist() == ["250.83", "V57", "8", "E11.9"]
        assert admissions.table["diag_1_group"].astype(object).where(lambda s: s.notna(), None).tolist() == [
            "low", None, "low", "letters",
        ]  # fmt: skip
        assert admissions.counts["without_group.diag_1_group"] == 1
    with pytest.raises(ConfigurationInvalid, match=r"one of icd10_chapters, icd9_chapters.*did you mean icd9_chapters"):
        table(tmp_path, {"diag_1": {"groups": "icd9_chapter"}})


@pytest.mark.parametrize(
    ("groups", "codes"),
    [
        ("icd9_chapters", {"250.83": "endocrine", "25083": "endocrine", "008.45": "infectious", "8": "infectious",
                           "V57": "factors", "E933": "external causes", "410.9": "circulatory", "999.9": "injury"}),
        ("icd10_chapters", {"E11.9": "endocrine", "e119": "endocrine", "C7A.00": "neoplasms", "Z99": "factors",
                            "T98.3": "injury", "I10": "circulatory", "A00": "infectious", "250": None}),
    ],
)  # fmt: skip
def test_chapters_of_diseases_are_known(tmp_path, groups, codes):
    frame = pd.DataFrame({"code": list(codes), "y": range(len(codes))})
    admissions = table(tmp_path, {"code": {"groups": groups}, "y": {"kind": "number"}}, frame)
    assert [None if pd.isna(name) else name for name in admissions.table["code_group"]] == list(codes.values())


def test_bands_are_a_number_and_an_ordered_category(tmp_path):
    frame = pd.DataFrame({"Alter": ["5-9", "10-49", "50 to 69", "70 or Older", "< 5", "?"]})
    for bands, numbers in ((True, [7, 29.5, 59.5, 70, 2.5]), ("lower", [5, 10, 50, 70, 0])):
        typed = table(tmp_path, {"age": {"from": "Alter", "bands": bands}}, frame).table
        assert typed["age"].tolist()[:5] == numbers
        assert typed["age_band"].cat.categories.tolist() == ["< 5", "5-9", "10-49", "50 to 69", "70 or Older"]
    typed = table(tmp_path, {"age": {"from": "Alter", "bands": True, "kind": "category"}}, frame).table
    assert typed["age_number"].tolist()[:5] == [7, 29.5, 59.5, 70, 2.5]
    assert typed["age"].cat.categories.tolist()[0] == "< 5"


def test_labels_may_make_bands_of_another_language(tmp_path):
    frame = pd.DataFrame({"Alter": ["18 bis 29", "70 und älter", "30-69"]})
    columns = {"age": {"from": "Alter", "bands": "lower", "levels": {"70 und älter": "70+", "18 bis 29": "18-29"}}}
    assert table(tmp_path, columns, frame).table["age"].tolist() == [18, 70, 30]


def test_what_is_no_band_is_rejected(tmp_path):
    frame = pd.DataFrame({"Alter": ["18-29", "old", "30-69"]})
    admissions = table(tmp_path, {"age": {"from": "Alter", "bands": True}}, frame)
    assert admissions.rejected.to_dict("records") == [{"row": 2, "column": "Alter", "value": "aaa", "rule": "number"}]


def test_a_top_code_is_a_number_flagged_counted_and_never_set_aside(tmp_path):
    admissions = table(tmp_path, {"length_of_stay": {"from": "stay", "top": "120 +"}})
    assert admissions.table["length_of_stay"].tolist() == [3, 120, 8, 120]
    assert admissions.topped["length_of_stay"].tolist() == [False, True, False, False]
    assert admissions.counts["top_coded.length_of_stay"] == 1
    assert not len(admissions.rejected)


@pytest.mark.parametrize("key", ["columns", "beside"])
def test_several_columns_tell_a_patient(tmp_path, key):
    hospital = {"hospital": {"from": "Haus", "kind": "category"}, "age": {"from": "Alter", "bands": True}}
    if key == "columns":
        admissions = table(tmp_path, {**hospital, "patient_id": {"from": ["Haus", "nr"], "private": True}})
    else:
        admissions = table(tmp_path, hospital, patient_id=["hospital", "nr"])
    frame = pd.concat([FRAME, FRAME.iloc[:1].assign(Alter="[60-70)")])
    assert len(set(admissions.group)) == 4
    again = table(tmp_path, hospital, frame, patient_id=["hospital", "nr"])
    assert pd.factorize(again.group)[0].tolist() == [0, 1, 2, 3, 0]
    assert again.identity == "patient_id"
    assert again.dataset.private_sources() == {"nr": "identifier"}
    missing = table(tmp_path, hospital, frame.assign(nr=["7", "", "7", "8", "7"]), patient_id=["hospital", "nr"])
    assert (missing.coded["patient_id"] < 0).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("stay", ["inclusive", {"counts": "inclusive"}])
def test_what_a_stay_counts_holds_for_a_stated_one_too(tmp_path, stay):
    columns = {"length_of_stay": {"from": "stay", "kind": "number", "unit": "days"}}
    admissions = table(tmp_path, columns, pd.DataFrame({"stay": ["1", "0", "2"]}), stay=stay)
    assert admissions.dataset.stay == "inclusive"
    assert admissions.rejected["value"].tolist() == ["0"]
    assert admissions.rejected["rule"].tolist() == ["range"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"kind": "date", "levels": {"1": "a"}}, "only kind number or category can have levels"),
        ({"kind": "number", "groups": "icd9_chapters"}, "only kind category can have groups"),
        ({"kind": "text", "bands": True}, "only kind number or category can have bands"),
        ({"kind": "category", "top": "9+"}, "only kind number can have top"),
        ({"top": "many"}, "top takes words such as"),
        ({"kind": "category", "from": ["a", "b"]}, "only kind identifier is made of several columns"),
    ],
)
def test_a_key_that_the_kind_cannot_have_is_refused(keys, said):
    with pytest.raises(ValidationError, match=said):
        build(Dataset, {"name": "m", "source": "m", "columns": {"x": keys}})


def test_a_described_table_is_what_it_was(described, admissions_csv):
    """A YAML that says all says the same as before: nothing is added, and no kind is taken."""
    plain = described(admissions_csv)
    admissions = read(plain, lambda _: admissions_csv)
    assert admissions.dataset.columns == plain.columns
    assert not admissions.kinds
    assert pa.types.is_dictionary(pa.array(admissions.table["sex"]).type)


def test_kinds_are_taken_with_the_marks_of_the_table_and_names_keep_theirs(tmp_path):
    rows = {"पीड़ा": ["1,5", "2,25", "3"], "Wert": ["7", "8,1", ""], "Ort": ["a,b", "c", "d"]}
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", sep=";", index=False)
    said = {"name": "mine", "source": str(tmp_path / "mine.csv"), "separator": ";", "decimal": ",", "columns": {}}
    table = read(build(Dataset, {**said, "known": {"after": ["*"]}}), lambda _: tmp_path).table
    assert table["पीड़ा"].tolist() == [1.5, 2.25, 3.0]
    assert (table["Wert"][:2].tolist(), table["Ort"].dtype.name) == ([7.0, 8.1], "category")
