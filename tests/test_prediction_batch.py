"""Batch scoring in this process; as a command, and killed, in test_predict.py."""

import csv
import gzip
import itertools
import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

import hi_ml
from hi_ml.app.ahead import prefetch
from hi_ml.app.errors import ColumnProblem, NotAsClaimed, OutputFailed, SourceUnreadable, TooManyRejected
from hi_ml.data.sources import csv as csv_source
from hi_ml.data.sources.files import sha256
from hi_ml.predict import _show
from hi_ml.prediction import batch

MODELS = ["catboost", "lgbm", "lgbm_bagged", "hist_gbm", "random_forest", "baseline", "linear"]


@pytest.fixture(scope="session")
def model(small_model):
    return small_model("lgbm", "length_of_stay")


@pytest.fixture(scope="session")
def admissions(cells):
    """Forty admissions as text, with the id column and a column that no model knows."""
    table = cells.head(40).copy()
    return table.assign(Case=[f"case {row}" for row in range(1, 41)], Ward=["east", "west"] * 20)


@pytest.fixture
def scored(tmp_path, described, model, monkeypatch):
    """Score a file or a glob in a folder; ``.said`` is what was said, ``.chunks`` how many were scored."""
    monkeypatch.setattr(csv_source, "_BLOCK", 1 << 11)  # so that a chunk comes in several pieces

    def score(source, output="out.csv", of=model, stage=print, **asked):
        said, chunks = [], []

        def count(*how_far):
            chunks.append(how_far)
            stage(*how_far)

        settings = {"chunk_rows": 15, "max_rejected": 1, **asked}
        request = batch.BatchRequest(str(source), tmp_path / output, described(source), **settings)
        files = batch.fingerprints(request.input, request.dataset)
        result = batch.score(request, of, files=files, say=said.append, stage=count)
        table = read(request.output)
        return SimpleNamespace(told=result.manifest, said=said, path=request.output, table=table, chunks=len(chunks))

    score.folder, score.model = tmp_path, model
    return score


def stop(after, error=KeyboardInterrupt):
    """What ends a work with an error when so many chunks are done."""
    done = iter(range(1, 10_000))

    def stage(*_):
        if next(done) == after:
            raise error

    return stage


def read(path):
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def put(table, path):
    table.to_csv(path, index=False)
    return path


def rejected(path):
    return pd.read_csv(f"{path}.rejected.csv", dtype=str, keep_default_na=False)


# What comes out


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("task", ["length_of_stay", "test_results"])
def test_the_answers_are_those_of_the_served_model(scored, small_model, admissions, tmp_path, name, task):
    one = small_model(name, task)
    found = scored(put(admissions, tmp_path / "in.csv"), "out.parquet", of=one).table
    expected = one.scorer.predict(admissions)
    assert list(found) == ["row", "Case", *expected, "unknown"]
    assert found["row"].tolist() == list(range(1, 41))
    exact = name != "linear"  # whose sums depend on how BLAS takes the rows
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_exact=exact, rtol=1e-9, check_dtype=False)


def written(table, path):
    """Write a table in the format that a file's name says, Parquet with types."""
    if path.name.endswith(".parquet"):
        typed = table.assign(
            **{"Age": table["Age"].astype(int), "Date of Admission": pd.to_datetime(table["Date of Admission"]).dt.date}
        )
        pq.write_table(pa.Table.from_pandas(typed, preserve_index=False), path, row_group_size=11)
    elif path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    else:
        put(table, path)
    return path


def test_every_format_in_and_out_gives_the_same_answers(scored, admissions, tmp_path):
    tables = [
        scored(written(admissions, tmp_path / name), output).table
        for name in ("in.csv", "in.csv.gz", "in.parquet")
        for output in ("out.csv", "out.parquet")
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_dtype=False, check_exact=True)


def test_a_glob_is_scored_in_the_order_of_the_names(scored, admissions, tmp_path):
    written(admissions[25:], tmp_path / "part_b.parquet")
    written(admissions[:25], tmp_path / "part_a.csv")
    written(admissions[:0], tmp_path / "part_0.csv")
    whole = scored(put(admissions, tmp_path / "whole.csv")).table
    done = scored(tmp_path / "part_*")
    assert done.table["file"].tolist() == [str(tmp_path / "part_a.csv")] * 25 + [str(tmp_path / "part_b.parquet")] * 15
    pd.testing.assert_frame_equal(done.table.drop(columns="file"), whole)
    assert [one["rows"] for one in done.told["files"]] == [0, 25, 15]


@pytest.mark.parametrize("name", ["lgbm", "linear", "random_forest"])
def test_the_number_of_threads_does_not_change_a_byte(scored, small_model, admissions, tmp_path, name):
    source = put(pd.concat([admissions] * 5), tmp_path / "in.csv")
    one, three = (
        scored(source, f"{threads}.csv", of=small_model(name, "test_results"), threads=threads, reasons=2).path
        for threads in (1, 3)
    )
    assert one.read_bytes() == three.read_bytes()


def test_kept_columns_pass_unchanged(scored, admissions, tmp_path):
    odd = admissions.assign(**{"Room Number": ["007", "", " 1e3 ", 'a "b", c'] * 10})
    path = scored(put(odd, tmp_path / "in.csv"), keep=("Room Number", "Ward")).path
    found = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(found)[:4] == ["row", "Case", "Room Number", "Ward"]
    assert found["Room Number"].tolist() == odd["Room Number"].tolist()
    typed = pa.Table.from_pandas(admissions, preserve_index=False)
    typed = typed.append_column("When", pa.array(range(40), pa.timestamp("ns", "UTC")))
    pq.write_table(typed, tmp_path / "in.parquet")
    kept = scored(tmp_path / "in.parquet", "out.parquet", keep=("When",)).path
    assert pq.read_table(kept).column("When").equals(typed.column("When"))


def test_targets_are_not_needed_and_what_nobody_asked_for_is_listed(scored, admissions, tmp_path):
    few = admissions.drop(columns=["Discharge Date", "Billing Amount", "Test Results", "Name", "Case"])
    done = scored(put(few, tmp_path / "in.csv"))
    assert {"Ward", "Medication"} <= set(done.told["columns_ignored"])
    assert "Age" not in done.told["columns_ignored"]
    assert done.told["id"] is None
    assert "Case" not in done.table


def test_categories_never_seen_are_counted_by_row_and_by_column(scored, admissions, tmp_path):
    strange = admissions.copy()
    strange.loc[3, ["Gender", "Blood Type"]] = "Z"
    strange.loc[39, "Gender"] = "Y"
    strange.loc[7, ["Gender", "Age"]] = ["X", "rejected, so not counted"]
    done = scored(put(strange, tmp_path / "in.csv"))
    assert done.table["unknown"].tolist() == [0, 0, 0, 2, *[0] * 34, 1]
    assert done.told["unknown_rate"]["Gender"] == 2 / 39
    assert done.told["unknown_rate"]["Blood Type"] == 1 / 39
    assert done.told["unknown_rate"]["Insurance Provider"] == 0


def test_reasons_are_told_in_words(scored, admissions, tmp_path):
    table = scored(put(admissions, tmp_path / "in.csv"), reasons=2).table
    assert list(table)[-2:] == ["reason_1", "reason_2"]
    assert table["reason_1"].str.fullmatch(r"\w+=.+ \([+-][\d.]+ days\)").all()


def test_the_manifest_says_what_was_done(scored, admissions, model, tmp_path):
    done = scored(put(admissions, tmp_path / "in.csv"), keep=("Ward",), command=("input=in.csv",))
    assert json.loads((tmp_path / "out.csv.manifest.json").read_text()) == done.told
    assert (done.told["rows_in"], done.told["rows_scored"], done.told["rows_rejected"]) == (40, 40, 0)
    assert (done.told["model_uri"], done.told["model_sha256"], done.told["verdict"]) == (model.uri, "lgbm", "signal")
    assert done.told["input_sha256"] == sha256(str(tmp_path / "in.csv"))
    assert done.told["command"][-1] == "input=in.csv"
    assert set(done.told["drift"]["Age"]) >= {"statistic", "threshold", "alarm"}
    assert done.told["drift"]["Age"]["n"] == 40
    assert set(done.told) >= {"versions", "seconds", "output_sha256", "id", "separator", "encoding", "chunk_rows"}


def test_intervals_that_do_not_keep_their_level_are_marked(scored, admissions, model, tmp_path, capsys):
    source = put(admissions, tmp_path / "in.csv")
    told = scored(source).told["interval"]
    described = model.scorer.mapping["interval"]
    assert told == {key: described[key] for key in ("level", "keeps_level", "sentence")}
    of_old = {key: value for key, value in described.items() if key not in ("keeps_level", "floor")}
    for interval, marked in (
        (described | {"keeps_level": False, "sentence": "38 % held."}, True),
        (described | {"keeps_level": True}, False),
        (of_old, False),
        (None, False),
    ):
        other = replace(model, scorer=replace(model.scorer, mapping=model.scorer.mapping | {"interval": interval}))
        done = scored(source, of=other)
        assert (done.told["interval"] is None) == (interval is None)
        _show(batch.BatchRequest(str(source), done.path, None), other, done.told)
        assert ("Note: intervals do not keep their level. 38 % held." in capsys.readouterr().out) == marked


def test_the_share_that_is_done_is_told_and_not_guessed_of_a_compressed_file(scored, admissions, tmp_path):
    def told(name):
        steps = []
        source = written(pd.concat([admissions] * 3), tmp_path / name)
        scored(source, chunk_rows=30, stage=lambda *step: steps.append(step))
        return steps

    rows = ["30 rows", "60 rows", "90 rows", "120 rows"]
    assert told("in.parquet") == list(zip(rows, [0.25, 0.5, 0.75, 1], strict=True))
    assert told("in.csv.gz") == [(row, 0) for row in rows]
    words, shares = zip(*told("in.csv"), strict=True)
    assert list(words) == rows
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1], rel=0.02)


def test_only_the_contracted_files_are_left_and_older_ones_replaced(scored, admissions, tmp_path):
    bad = admissions.assign(Age=["x", *admissions["Age"][1:]])
    scored(put(bad, tmp_path / "in.csv"))
    assert (tmp_path / "out.csv.rejected.csv").is_file()
    scored(put(admissions, tmp_path / "in.csv"))
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv", "out.csv.manifest.json"}


# What cannot be scored


def test_bad_rows_are_listed_and_all_others_scored(scored, admissions, tmp_path):
    lines = admissions.to_csv(index=False).splitlines()
    lines[3] = lines[3].replace(admissions["Age"][2], "forty", 1)
    lines[20] += ",one more"
    lines[21] = "few"
    done = scored(written_lines(lines, tmp_path))
    assert done.table["row"].tolist() == [row for row in range(1, 41) if row not in (3, 20, 21)]
    assert rejected(done.path).to_numpy().tolist() == [
        ["3", "Age", "aaaaa", "number"],
        ["20", "", "<row>", "fields"],
        ["21", "", "<row>", "fields"],
    ]
    assert done.told["rows_rejected"] == 3


def written_lines(lines, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_rejected_row_of_several_files_names_its_file(scored, admissions, tmp_path):
    put(admissions, tmp_path / "part_a.csv")
    put(admissions.assign(Age=["-1", *admissions["Age"][1:]]), tmp_path / "part_b.csv")
    done = scored(tmp_path / "part_*.csv")
    assert rejected(done.path).to_numpy().tolist() == [["41", str(tmp_path / "part_b.csv"), "Age", "-1", "range"]]


@pytest.mark.parametrize(
    ("age", "name", "shown"),
    [
        ("forty", "Ann Lee", "aaaaa"),
        ("Ann Lee", "Ann Lee", "<private>"),
        ("seen by ANN lee today", "Ann Lee", "<private>"),
        ("Ann Lee", "33", "<private>"),  # fields are shifted
        ("forty", "", "<private>"),
        ("forty", "n/a", "<private>"),
    ],
)
def test_a_value_that_is_or_could_be_private_is_not_shown(scored, admissions, tmp_path, age, name, shown):
    bad = admissions.copy()
    bad.loc[4, ["Age", "Name"]] = [age, name]
    for source in ("in.csv", "in.parquet"):
        if source == "in.csv":
            put(bad, tmp_path / source)
        else:
            pq.write_table(pa.Table.from_pandas(bad, preserve_index=False), tmp_path / source)
        assert rejected(scored(tmp_path / source).path)["value"].tolist() == [shown]


def test_a_name_of_another_row_in_a_bad_cell_is_not_shown(scored, admissions, tmp_path):
    bad = admissions.copy()
    bad.loc[4, "Age"], bad.loc[6, "Age"] = admissions["Doctor"][9].upper(), f"seen by {admissions['Name'][8]}"
    assert rejected(scored(put(bad, tmp_path / "in.csv")).path)["value"].tolist() == ["<private>"] * 2


def test_more_bad_rows_than_allowed_stop_the_output_and_keep_the_list(scored, admissions, tmp_path):
    bad = admissions.copy()
    bad.loc[:2, "Age"] = "x"
    path = put(bad, tmp_path / "in.csv")
    with pytest.raises(
        TooManyRejected, match=r"3 of 40 rows.*Age number 3.*out\.csv\.rejected\.csv.*raise max_rejected"
    ):
        scored(path, max_rejected=0.07)
    assert {one.name for one in tmp_path.iterdir()} == {"in.csv", "out.csv.rejected.csv"}
    assert len(rejected(tmp_path / "out.csv")) == 3
    assert scored(path, max_rejected=0.075).told["rows_scored"] == 37


def test_no_row_that_can_be_scored_is_too_few(scored, admissions, tmp_path):
    with pytest.raises(TooManyRejected, match="none is left"):
        scored(put(admissions.assign(Age="x"), tmp_path / "in.csv"))


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (
            ["13/05/2024", "05/13/2024"],
            "and 20 day first, 20 month first were set aside. Write all of them as YYYY-MM-DD",
        ),
        (["2024-05-13", "13.05.2024"], "reads dates as YYYY-MM-DD, and 20 day first were set aside"),
        (["soon", "later"], "reads dates as YYYY-MM-DD. Write all of them as YYYY-MM-DD"),
    ],
)
def test_dates_that_the_model_cannot_read_are_told_by_their_orders_and_how_to_write_them(
    scored, admissions, tmp_path, dates, words
):
    path = put(admissions.assign(**{"Date of Admission": dates * 20}), tmp_path / "in.csv")
    with pytest.raises(TooManyRejected, match="Date of Admission: the model reads") as refused:
        scored(path, max_rejected=0.05)
    assert words in str(refused.value)
    assert "or raise" not in str(refused.value)


def test_a_file_of_another_table_is_said_to_be_one(scored, admissions, tmp_path):
    assert scored(put(admissions, tmp_path / "in.csv")).told["another_table"] == ""
    other = admissions.assign(**{"Insurance Provider": "Elsewhere", "Medical Condition": "Gout"})
    note = scored(put(other, tmp_path / "other.csv")).told["another_table"]
    assert note.startswith("This looks like another table than the model's: 2 of ")
    assert "Insurance Provider: 100.0 % of the cells hold levels never seen in training" in note


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04\0\0\0\0", "zero bytes"),
        (b"PAR1 torn", "cannot be read as a table"),
        (gzip.compress(b"Age,Gender\n" * 900)[:-12], "cannot be read as a table"),
        (b"Age,Gender\n1,\xe9\n", "has no column"),
        (b"just text\n", "has no column"),
    ],
    ids=["nothing", "an archive", "a torn Parquet file", "a torn gzip file", "another encoding", "no table"],
)
def test_a_bad_file_is_one_sentence_and_leaves_nothing(scored, tmp_path, content, words):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises((SourceUnreadable, ColumnProblem), match=words):
        scored(tmp_path / "in.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_file_that_is_damaged_far_inside_leaves_nothing(scored, admissions, tmp_path):
    path = written(pd.concat([admissions] * 50), tmp_path / "in.csv.gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        scored(path)
    parquet = written(pd.concat([admissions] * 50), tmp_path / "in.parquet")
    content = bytearray(parquet.read_bytes())
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
    parquet.write_bytes(content)
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        scored(parquet)
    assert {one.name for one in tmp_path.iterdir()} == {"in.csv.gz", "in.parquet"}


@pytest.mark.parametrize("source", ["absent.csv", "absent_*.csv"])
def test_no_file_is_said_to_be_absent(scored, tmp_path, source):
    with pytest.raises(SourceUnreadable, match="found no file at"):
        scored(tmp_path / source)


def test_a_header_without_rows_is_refused(scored, admissions, tmp_path):
    with pytest.raises(SourceUnreadable, match="no rows"):
        scored(put(admissions[:0], tmp_path / "in.csv"))


def test_a_column_that_is_not_there_is_named_with_a_like_one(scored, admissions, tmp_path):
    with pytest.raises(ColumnProblem, match=r"no column 'Gender' .did you mean gender"):
        scored(put(admissions.rename(columns={"Gender": "gender"}), tmp_path / "in.csv"))
    with pytest.raises(ColumnProblem, match="more than one column named 'Age'"):
        scored(put(pd.concat([admissions, admissions[["Age"]]], axis=1), tmp_path / "in.csv"))


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("Name", "private"),
        ("Doctor", "private"),
        ("Wart", "did you mean Ward"),
        ("prediction", "twice"),
        ("row", "twice"),
    ],
)
def test_what_may_not_be_kept_is_refused(scored, admissions, tmp_path, keep, words):
    table = admissions.assign(prediction="1", row="1")
    with pytest.raises(ColumnProblem, match=words):
        scored(put(table, tmp_path / "in.csv"), keep=(keep,))


def test_kept_columns_of_several_types_are_refused(scored, admissions, tmp_path):
    written(admissions, tmp_path / "part_a.csv")
    written(admissions, tmp_path / "part_b.parquet")
    with pytest.raises(SourceUnreadable, match="'Age' is int64 and string"):
        scored(tmp_path / "part_*", keep=("Age",))


def test_the_input_is_not_overwritten(scored, admissions, tmp_path):
    with pytest.raises(OutputFailed, match="only read"):
        scored(put(admissions, tmp_path / "out.csv"), "out.csv")


def test_what_an_earlier_night_left_beside_its_output_is_not_taken_for_input(scored, admissions, tmp_path):
    put(admissions, tmp_path / "tonight.csv")
    put(admissions, tmp_path / "out.parquet.rejected.csv")
    with pytest.raises(OutputFailed, match=r"out\.parquet\.rejected\.csv is one of .* a folder of its own"):
        scored(tmp_path / "*.csv", "out.parquet")


CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "NA", "-1", "999", "1e400", "nan", "2024-13-01", '"', "a,b", "a\nb", "a\rb", "\0", "x" * 300, "ä"]
    ),
)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_the_cells_every_row_is_scored_or_rejected(
    data, model, admissions, described, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("fuzzed")
    table = admissions.head(12).copy()
    for _ in range(data.draw(st.integers(1, 8))):
        row, column = data.draw(st.integers(0, 11)), data.draw(st.integers(0, table.shape[1] - 1))
        table.iloc[row, column] = data.draw(CELLS)
    torn = data.draw(st.integers(-1, 12))
    with (folder / "in.csv").open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        for place, line in enumerate([list(table), *table.to_numpy().tolist()]):
            writer.writerow(line[:-1] if place == torn else line)
    request = batch.BatchRequest(
        str(folder / "in.csv"), folder / "out.csv", described(folder), chunk_rows=data.draw(st.integers(1, 13)),
        max_rejected=1,
    )  # fmt: skip
    files = batch.fingerprints(request.input, request.dataset)
    try:
        told = batch.score(request, model, files=files, say=print, stage=print).manifest
    except (TooManyRejected, SourceUnreadable, ColumnProblem):  # all rejected, a quote, the header torn
        return
    scored_rows = read(request.output)["row"].tolist() if told["rows_scored"] else []
    bad_rows = rejected(request.output)["row"].astype(int).tolist() if told["rows_rejected"] else []
    assert sorted({*scored_rows, *bad_rows}) == list(range(1, 13))
    assert not set(scored_rows) & set(bad_rows)
    assert (told["rows_scored"], told["rows_rejected"]) == (len(scored_rows), len(set(bad_rows)))
    shutil.rmtree(folder)


# What was stopped goes on


def damaged(admissions):
    """Some of the rows cannot be read."""
    table = pd.concat([admissions, admissions], ignore_index=True)
    table.loc[[2, 33, 70], "Age"] = "x"
    return table


@pytest.mark.parametrize(("source", "output"), [("in.csv", "out.parquet"), ("in.parquet", "out.csv")])
@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_work_goes_on_to_the_same_bytes(scored, admissions, source, output, after):
    table = damaged(admissions)
    if source == "in.csv":
        put(table, scored.folder / source)
    else:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), scored.folder / source, row_group_size=22)
    asked = {"keep": ("Ward",), "reasons": 1}
    whole = scored(scored.folder / source, output, **asked)
    expected = {path.name: path.read_bytes() for path in scored.folder.iterdir() if "manifest" not in path.name}
    for path in scored.folder.glob("out*"):
        path.unlink()
    told = f"{after} finished chunks are kept .* the same command goes on"
    with pytest.raises(KeyboardInterrupt, match=told):
        scored(scored.folder / source, output, stage=stop(after), **asked)
    assert [path.name for path in scored.folder.glob("out*")] == [f"{output}.unfinished"]
    again = scored(scored.folder / source, output, **asked)
    assert again.chunks == 6 - after  # finished chunks are not scored again
    assert {path.name: path.read_bytes() for path in scored.folder.iterdir() if "manifest" not in path.name} == expected
    assert {**again.told, "seconds": 0} == {**whole.told, "seconds": 0}
    assert again.said == [f"Goes on behind row {15 * after}, where an earlier call was stopped."]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"keep": ("Ward",)}, "keep"),
        ({"reasons": 1}, "reasons"),
        ({"chunk_rows": 9}, "chunk_rows"),
        ({"input": 1}, "input"),
        ({"of": 1}, "model"),
    ],
)
def test_another_request_starts_afresh_and_says_so(scored, admissions, changed, word):
    path = put(admissions, scored.folder / "in.csv")
    with pytest.raises(KeyboardInterrupt):
        scored(path, stage=stop(2))
    if "input" in changed:
        put(admissions[::-1], path)
    other = SimpleNamespace(**{**vars(scored.model), "sha256": "another"})
    asked = {name: value for name, value in changed.items() if name not in ("input", "of")}
    done = scored(path, of=other if "of" in changed else scored.model, **asked)
    assert done.said == [f"{scored.folder / 'out.csv.unfinished'} is of a call with another {word}: starts afresh."]
    assert done.told["rows_scored"] == 40


@pytest.mark.parametrize("module", ["data/privacy.py", "data/sources/csv.py", "scorer/serving.py", "predict.py"])
def test_other_code_starts_afresh_whichever_file_of_it_changed(scored, admissions, monkeypatch, module):
    package = shutil.copytree(Path(hi_ml.__file__).parent, scored.folder / "hi_ml")
    monkeypatch.setattr(hi_ml, "__file__", str(package / "__init__.py"))
    path = put(admissions, scored.folder / "in.csv")
    with pytest.raises(KeyboardInterrupt):
        scored(path, stage=stop(1))
    with pytest.raises(KeyboardInterrupt, match="2 finished chunks"):  # the same code goes on
        scored(path, stage=stop(1))
    with (package / module).open("a") as file:
        file.write("# changed")
    done = scored(path)
    assert [sentence.split("another ")[1] for sentence in done.said] == ["version of hi_ml: starts afresh."]
    assert done.chunks == 3


def torn(parts):
    parts[2].write_bytes(parts[2].read_bytes()[:-7])


def overwritten(parts):
    content = parts[2].read_bytes()
    parts[2].write_bytes(content[:-400] + bytes(300) + content[-100:])


def lost(parts):
    parts[2].unlink()


def exchanged(parts):
    contents = [part.read_bytes() for part in parts]
    parts[2].write_bytes(contents[3])
    parts[3].write_bytes(contents[2])


def renamed(parts):
    number, rest = parts[2].name.split(".", 1)
    parts[3].unlink()
    parts[2].rename(parts[2].with_name(f"{int(number) + 1:09}.{rest}"))


def of_another_request(parts):
    """The same rows, with other columns kept."""
    other = parts[0].parents[1] / "other.csv.unfinished"
    parts[2].unlink()
    shutil.copy(sorted(other.glob("*.arrows"))[2], parts[2].parent)


@pytest.mark.parametrize("damage", [torn, overwritten, lost, exchanged, renamed, of_another_request])
def test_a_damaged_part_costs_work_and_never_rows(scored, admissions, tmp_path, damage):
    path = put(damaged(admissions), tmp_path / "in.csv")
    expected = scored(path).path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        scored(path, stage=stop(4))
    with pytest.raises(KeyboardInterrupt):
        scored(path, "other.csv", keep=("Ward",), stage=stop(4))
    damage(sorted((tmp_path / "out.csv.unfinished").glob("*.arrows")))
    done = scored(path)
    assert done.path.read_bytes() == expected
    assert len(rejected(done.path)) == 3
    assert done.said == ["Goes on behind row 30, where an earlier call was stopped."]
    assert done.chunks == 4


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", bytes(100)])
def test_where_nothing_says_of_which_request_the_parts_are_all_is_scored(scored, admissions, tmp_path, content):
    path = put(admissions, tmp_path / "in.csv")
    with pytest.raises(KeyboardInterrupt):
        scored(path, stage=stop(2))
    (tmp_path / "out.csv.unfinished" / "request.json").write_bytes(content)
    done = scored(path)
    assert (done.chunks, done.said) == (3, [])


@pytest.mark.parametrize("names", [["notes.txt"], ["output.csv"], ["lock", "plan.xlsx"], ["mine/lock"]])
def test_a_folder_of_someone_else_is_not_taken_for_unfinished_work(scored, admissions, tmp_path, names):
    path = put(admissions, tmp_path / "in.csv")
    for name in names:
        file = tmp_path / "out.csv.unfinished" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    with pytest.raises(OutputFailed, match="Nothing was touched"):
        scored(path)
    assert {(tmp_path / "out.csv.unfinished" / name).read_text() for name in names} == {"mine"}


def test_a_second_process_is_refused_and_the_first_is_not_disturbed(scored, admissions, tmp_path):
    path = put(admissions, tmp_path / "in.csv")
    work = tmp_path / "out.csv.unfinished"
    work.mkdir()
    with FileLock(work / "lock"), pytest.raises(OutputFailed, match="another process"):
        scored(path)
    assert scored(path).told["rows_scored"] == 40


def test_a_file_that_changes_while_it_is_read_is_refused(scored, admissions, tmp_path):
    path = put(admissions, tmp_path / "in.csv")
    with pytest.raises(SourceUnreadable, match="changed while it was read"):
        scored(path, stage=lambda *_: put(admissions[::-1], path))
    assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]


def test_a_file_that_changes_in_place_with_its_size_and_time_kept_is_refused(scored, admissions, tmp_path):
    path = put(admissions, tmp_path / "in.csv")

    def change(*_):
        status, content = path.stat(), path.read_bytes()
        path.write_bytes(content.replace(b"Male", b"male"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.raises(SourceUnreadable, match="changed while it was read"):
        scored(path, stage=change)


def test_a_file_that_was_only_touched_is_as_it_was(scored, admissions, tmp_path):
    path = put(admissions, tmp_path / "in.csv")
    assert scored(path, stage=lambda *_: os.utime(path)).told["rows_scored"] == 40


# Threads


@pytest.mark.parametrize("threads", [1, 3])
def test_things_come_in_the_order_of_the_items_and_so_many_ahead(threads):
    taken = []

    def numbers():
        for number in range(20):
            taken.append(number)
            yield number

    def late(number):
        time.sleep(0.003 if number % 3 == 0 else 0)
        return -number

    for place, made in enumerate(prefetch(numbers(), late, threads=threads)):
        assert made == -place
        time.sleep(0.001)
        assert len(taken) <= place + 1 + threads
    assert taken == list(range(20))


def test_as_many_things_are_made_at_once_as_there_are_threads():
    meeting = threading.Barrier(3, timeout=5)  # breaks, and raises, unless three wait for each other
    assert len([*prefetch(range(6), lambda _: meeting.wait(), threads=3)]) == 6


def test_what_making_something_of_an_item_raises_is_raised_in_its_place():
    used = prefetch([2, 1, 0, 5], lambda number: 2 / number, threads=2)
    assert [next(used), next(used)] == [1, 2]
    with pytest.raises(ZeroDivisionError):
        next(used)


def test_nobody_waits_for_what_is_no_longer_needed():
    begun, over = threading.Event(), threading.Event()

    def wait(number):
        begun.set()
        return over.wait(5 * number)

    used = prefetch(range(9), wait, threads=2)
    assert next(used) is False
    begun.wait(5)
    started = time.monotonic()
    used.close()
    assert time.monotonic() < started + 1
    over.set()


# The proof


@pytest.fixture
def proven(described, model):
    """Verify an output."""

    def prove(output, of=model, sample=25):
        return batch.prove(
            output.with_name(f"{output.name}.manifest.json"), fetch=lambda _: of, dataset=described("x"),
            sample=sample, seed=0,
        )  # fmt: skip

    return prove


@pytest.mark.parametrize(("name", "output"), list(itertools.product(["lgbm", "linear"], ["out.csv", "out.parquet"])))
def test_an_output_is_proven_by_its_digests_and_by_scoring_rows_again(
    scored, proven, small_model, admissions, output, name
):
    for task in ("length_of_stay", "test_results"):
        one = small_model(name, task)
        reasons = 2 if name == "lgbm" else 0
        path = scored(
            put(damaged(admissions), scored.folder / "in.csv"), output, of=one, keep=("Ward",), reasons=reasons
        ).path
        proof = proven(path, of=one)
        assert proof.rows == 25
        assert proof.exact or name == "linear"
        assert "is what its manifest claims" in str(proof)


def test_a_file_that_came_later_is_no_part_of_the_claim(scored, proven, admissions, tmp_path):
    put(admissions, tmp_path / "part_b.csv")
    put(admissions, tmp_path / "part_c.csv")
    path = scored(tmp_path / "part_*").path
    put(admissions[::-1], tmp_path / "part_a.csv")
    assert proven(path, sample=80).rows == 80


def forge(path, edit):
    """Change an output, and its digest in the manifest with it."""
    table = pq.read_table(path)
    pq.write_table(edit(table), path)
    manifest = path.with_name(f"{path.name}.manifest.json")
    told = json.loads(manifest.read_text())
    told["output_sha256"] = sha256(str(path))
    manifest.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.set_column(2, "prediction", pa.compute.add(t.column("prediction"), 1e-6)), "prediction differs"),
        (lambda t: t.set_column(1, "Case", t.column("Case").take(list(range(39, -1, -1)))), "Case differs"),
        (lambda t: t.slice(1), "absent"),
        (lambda t: t.drop_columns(["unknown"]), "columns are"),
    ],
)
def test_a_forged_output_with_a_forged_digest_is_found_out(scored, proven, admissions, tmp_path, edit, words):
    path = scored(put(admissions, tmp_path / "in.csv"), "out.parquet").path
    forge(path, edit)
    with pytest.raises(NotAsClaimed, match=words):
        proven(path, sample=40)


def test_each_file_that_changed_is_named(scored, proven, admissions, model, tmp_path):
    path = scored(put(admissions, tmp_path / "in.csv")).path
    other = SimpleNamespace(**{**vars(model), "sha256": "another"})
    with pytest.raises(NotAsClaimed, match="the model models:/lgbm/1 is another"):
        proven(path, of=other)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\n", b"\r\n"))
    with pytest.raises(NotAsClaimed, match=r"out\.csv has another SHA-256"):
        proven(path)
    path.write_bytes(content)
    proven(path)
    put(admissions[::-1], tmp_path / "in.csv")
    with pytest.raises(NotAsClaimed, match=r"in\.csv has another SHA-256"):
        proven(path)
    (tmp_path / "in.csv").unlink()
    with pytest.raises(NotAsClaimed, match=r"in\.csv cannot be read"):
        proven(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json"])
def test_what_is_no_manifest_is_refused(proven, tmp_path, content):
    (tmp_path / "out.csv.manifest.json").write_text(content)
    with pytest.raises(NotAsClaimed, match="no manifest"):
        proven(tmp_path / "out.csv")
    with pytest.raises(NotAsClaimed, match="no manifest"):
        proven(tmp_path / "absent.csv")
