import bz2
import gzip
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hi_ml.app.errors import ColumnProblem, SourceUnreadable
from hi_ml.data.sources.files import load

N = 300


@pytest.fixture(scope="module")
def text(admissions_csv):
    return admissions_csv.read_text(encoding="utf-8")


@pytest.fixture
def loading(tmp_path, described):
    """Write a file and load it."""

    def load_it(content, name="mine.csv", **changes):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load(described(path, **changes))

    return load_it


def compressed(data, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def test_cells_come_as_they_are_written(loading, cells, text):
    raw = loading(text)
    assert raw.table.to_pandas().astype(str).equals(cells[raw.table.column_names])
    assert raw.row.tolist() == list(range(1, N + 1))
    assert raw.ragged.tolist() == []
    assert len(raw) == N


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: text.encode("utf-8-sig"), id="UTF-8 with its mark"),
        pytest.param(lambda text: text.encode("utf-16"), id="UTF-16"),
        pytest.param(lambda text: text.encode("utf-32"), id="UTF-32"),
        pytest.param(lambda text: b"\xfe\xff" + text.encode("utf-16-be"), id="UTF-16, big end first"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda text: text.replace("\n", "\r").encode(), id="CR"),
        pytest.param(lambda text: text.rstrip("\n").encode(), id="no last line end"),
        pytest.param(lambda text: text.replace('"', "").encode(), id="no quotes"),
        pytest.param(lambda text: b"\n\n" + text.replace("\n", "\n\n").encode(), id="empty lines"),
        pytest.param(lambda text: gzip.compress(text.encode()), id="gzip"),
        pytest.param(lambda text: gzip.compress(text.encode("utf-16")), id="UTF-16 in gzip"),
        pytest.param(lambda text: bz2.compress(text.encode()), id="bzip2"),
        pytest.param(lambda text: compressed(text.encode(), "zstd"), id="Zstandard"),
    ],
)
@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz"])
def test_a_table_reads_the_same_however_its_file_is_written(loading, text, encode, name):
    raw = loading(encode(text), name)
    assert raw.table.equals(loading(text).table)
    assert raw.row.tolist() == list(range(1, N + 1))


def test_a_declared_encoding_is_used(loading, text):
    accented = text.replace("Female", "Féminin")
    for encoding in ("latin-1", "cp1252", "utf-16-le"):
        raw = loading(accented.encode(encoding), encoding=encoding)
        assert raw.table.equals(loading(accented).table)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_declared_separator_is_used(loading, cells, text, separator):
    raw = loading(cells.to_csv(index=False, sep=separator), separator=separator)
    assert raw.table.equals(loading(text).table)


def test_a_value_may_hold_separators_quotes_and_line_ends(loading, cells):
    note = 'said "no",\nthen "yes"\r\n; a, b, c'
    raw = loading(cells.assign(Hospital=note).to_csv(index=False))
    assert set(raw.table["Hospital"].to_pylist()) == {note}
    assert len(raw) == N


def test_columns_that_the_dataset_does_not_describe_are_listed_and_left(loading, cells):
    more = cells.assign(Zodiac="Leo", note="é")
    raw = loading(more.to_csv(index=False).encode("latin-1"))
    assert raw.extra == ("Zodiac", "note")
    assert "Zodiac" not in raw.table.column_names


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_rows_keep_their_numbers_behind_ragged_and_empty_lines(data, tmp_path_factory, described, text):
    lines = text.splitlines()
    for place in sorted(data.draw(st.sets(st.integers(1, N), max_size=8)), reverse=True):
        kind = data.draw(st.sampled_from(["longer", "shorter", "empty", "blank", "word"]))
        if kind == "longer":
            lines[place] += ",1"
        elif kind == "shorter":
            lines[place] = ",".join(lines[place].split(",")[:4])
        else:
            lines.insert(place, {"empty": "", "blank": "   ", "word": "x"}[kind])
    rows = [line for line in lines[1:] if line]  # the oracle: an empty line is no row
    ragged = [number for number, line in enumerate(rows, start=1) if line.count(",") != 14]
    path = tmp_path_factory.mktemp("ragged") / "mine.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    raw = load(described(path))
    assert raw.ragged.tolist() == ragged
    assert raw.row.tolist() == [number for number in range(1, len(rows) + 1) if number not in ragged]


def test_rows_keep_their_numbers_in_a_file_of_many_blocks(loading, text):
    header, *lines = text.splitlines()
    many = lines * 60  # megabytes: the parallel reader does not number rows
    many[7_000] += ",1"
    many[15_000] = "x"
    raw = loading("\n".join([header, *many]))
    assert raw.ragged.tolist() == [7_001, 15_001]
    assert len(raw) == len(many)
    assert np.isin([7_000, 7_002, 15_002], raw.row).all()


@pytest.mark.parametrize(
    ("first", "last"), [(100, None), (1, None), (299, None), (100, 140), (1, 299)],
    ids=["in the middle", "in the first row", "near the end", "two", "first and last"],
)  # fmt: skip
@pytest.mark.parametrize("quoted", [True, False])
def test_a_quote_that_swallows_rows_is_found(loading, text, first, last, quoted):
    lines = text.splitlines() if quoted else text.replace('"', "").splitlines()
    for place in filter(None, (first, last)):
        lines[place] = f'"{lines[place]}'
    if quoted:  # the next quote closes the field: nothing is swallowed, and no row lost
        assert len(loading("\n".join(lines))) == N
        return
    with pytest.raises(SourceUnreadable, match=f"in row {first} and swallows"):
        loading("\n".join(lines))


def test_a_quote_in_a_column_that_is_not_described_is_found_too(loading, cells):
    lines = cells.assign(note="none").to_csv(index=False).splitlines()
    lines[20] = lines[20].replace("none", '"none')
    with pytest.raises(SourceUnreadable, match="in row 20"):
        loading("\n".join(lines))


def test_a_quote_that_swallows_a_large_file_is_found(loading, text):
    header, *lines = text.replace('"', "").splitlines() * 60
    lines[2] = f'"{lines[2]}'
    with pytest.raises(SourceUnreadable, match="runs on for a million characters"):
        loading("\n".join([header, *lines]))


def test_a_quote_inside_a_value_is_a_quote(loading, text):
    raw = loading(text.replace('"', "").replace("Female", 'Fe"male'))
    assert set(raw.table["Gender"].to_pylist()) == {"Male", 'Fe"male'}
    assert len(raw) == N


@pytest.mark.parametrize(
    ("content", "changes", "words"),
    [
        (lambda _: "", {}, "is empty"),
        (lambda _: " \n\n ", {}, "is empty"),
        (lambda _: gzip.compress(b""), {}, "is empty"),
        (lambda text: text.splitlines()[0], {}, "a header and no rows"),
        (lambda text: text.splitlines()[0] + "\n\n", {}, "a header and no rows"),
        (lambda text: text.replace(",", ";"), {}, "Set 'dataset.separator=\";\"'"),
        (lambda text: text.replace(",", "\t"), {}, 'Set \'dataset.separator="\\\\t"'),
        (lambda text: text.replace("Female", "Féminin").encode("latin-1"), {}, "is not utf-8: line [1-9] holds"),
        (lambda text: text.replace("Age", "Âge").encode("latin-1"), {}, "is not utf-8: line 1 holds"),
        (lambda text: text.encode() + b"\xc3", {}, f"line {N + 2} holds"),
        (lambda text: text.encode("utf-16")[:-1], {}, f"is not utf-16: line {N + 1} holds"),
        (lambda text: text.replace("Female", "Féminin"), {"encoding": "ascii"}, "is not ascii: line"),
        (lambda text: text.encode("utf-16-le"), {}, "zero bytes"),
        (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, {}, "zero bytes"),
        (lambda _: b"PK\x03\x04\x80\n" + bytes(range(256)) * 40, {}, "a workbook, a picture or the like"),
        (lambda _: b"PAR1" + bytes(range(256)), {}, "cannot be read as a table: Parquet"),
        (lambda text: gzip.compress(text.encode())[:900], {}, "cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_with_its_reason(loading, text, content, changes, words):
    with pytest.raises((SourceUnreadable, ColumnProblem), match=words):
        loading(content(text), **changes)


def test_a_line_of_a_bad_byte_is_counted_through_a_large_file(loading, text):
    header, *lines = text.splitlines()
    many = [header, *lines * 20]
    many[4_000] = many[4_000].replace("ale", "älé")
    with pytest.raises(SourceUnreadable, match="line 4001 holds"):
        loading("\n".join(many).encode("latin-1"))


def test_a_file_that_is_not_there_says_where_it_was_looked_for_and_where_to_get_it(tmp_path, described):
    with pytest.raises(SourceUnreadable, match=r"No file at .*nothing.csv \(looked in .*kaggle.com"):
        load(described(tmp_path / "nothing.csv"))


@pytest.mark.parametrize("name", ["~nobody_of_this_name/a.csv", "a\0b.csv", "x" * 5_000])
def test_a_name_that_no_file_can_have_is_refused(described, name):
    with pytest.raises(SourceUnreadable):
        load(described(name))


def test_a_folder_is_no_file(tmp_path, described):
    with pytest.raises(SourceUnreadable, match=r"is a folder.*\*\.csv"):
        load(described(tmp_path))


def test_what_is_no_regular_file_is_not_waited_for(tmp_path, described):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceUnreadable, match="No file at"):
        load(described(tmp_path / "pipe"))


def test_an_absent_column_is_named_with_what_is_there_and_the_key_to_set(loading, cells):
    renamed = cells.rename(columns={"Insurance Provider": "Insurence Provider", "Age": " AGE "})
    with pytest.raises(ColumnProblem) as found:
        loading(renamed.to_csv(index=False))
    said = str(found.value)
    assert "'Age' (did you mean ' AGE '?)" in said
    assert "'Insurance Provider' (did you mean Insurence Provider?)" in said
    assert "It has: Name, ' AGE ', Gender" in said
    assert "Set dataset.columns.age.from, dataset.columns.insurer.from" in said


def test_a_first_line_without_any_described_name_is_not_shown_since_it_may_be_an_admission(loading, cells):
    headless = cells.to_csv(index=False, header=False)
    with pytest.raises(ColumnProblem) as found:
        loading(headless)
    assert "none of the columns that dataset=kaggle describes: Name, Age, Gender, Blood Type" in str(found.value)
    assert not any(name in str(found.value) for name in [*cells["Name"][:2], *cells["Doctor"][:2]])


def test_a_described_column_must_be_there_once(loading, cells):
    twice = cells.copy()
    twice.insert(3, "Age", "1", allow_duplicates=True)
    with pytest.raises(ColumnProblem, match="more than one column named 'Age'"):
        loading(twice.to_csv(index=False))


def test_another_column_may_be_there_twice_or_differ_in_case(loading, cells):
    more = cells.assign(age="1")
    more.insert(3, "note", "1")
    more.insert(3, "note", "2", allow_duplicates=True)
    assert loading(more.to_csv(index=False)).extra == ("note", "age")


@pytest.fixture
def parts(tmp_path, cells):
    """Two files of one table."""
    cells[:100].to_csv(tmp_path / "b.csv", index=False)
    cells[100:].to_csv(tmp_path / "a.csv", index=False)
    return tmp_path


def test_files_are_read_in_the_order_of_their_names(parts, described, cells):
    raw = load(described(parts / "*.csv"))
    assert raw.table["Name"].to_pylist() == [*cells["Name"][100:], *cells["Name"][:100]]
    assert raw.row.tolist() == list(range(1, N + 1))


def test_rows_are_numbered_through_all_files(parts, described):
    with (parts / "a.csv").open("a") as file:
        file.write("x\n")
    raw = load(described(parts / "*.csv"))
    assert raw.ragged.tolist() == [201]
    assert raw.row.tolist() == [*range(1, 201), *range(202, 302)]


def test_files_may_order_their_columns_differently_and_have_more(parts, described, cells):
    cells[100:].iloc[:, ::-1].assign(note="x").to_csv(parts / "a.csv", index=False)
    raw = load(described(parts / "*.csv"))
    assert raw.table["Age"].to_pylist() == [*cells["Age"][100:], *cells["Age"][:100]]
    assert raw.extra == ("note",)


def test_a_column_that_one_file_lacks_is_named_with_the_file(parts, described, cells):
    cells[100:].drop(columns="Age").to_csv(parts / "a.csv", index=False)
    with pytest.raises(ColumnProblem, match=r"a\.csv has no column 'Age'"):
        load(described(parts / "*.csv"))


def test_files_that_disagree_on_a_type_are_refused(tmp_path, described, admissions_csv):
    table = load(described(admissions_csv)).table
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    numbers = table.set_column(1, "Age", table["Age"].cast(pa.int64()))
    pa.parquet.write_table(numbers, tmp_path / "b.parquet")
    with pytest.raises(SourceUnreadable, match=r"do not agree on the type of a column.*Age.*string vs int64"):
        load(described(tmp_path / "*.parquet"))


def test_only_the_described_columns_of_a_parquet_file_are_read(tmp_path, described, admissions_csv):
    table = load(described(admissions_csv)).table.append_column("Zodiac", pa.array(["Leo"] * N))
    pa.parquet.write_table(table, tmp_path / "mine.parquet")
    raw = load(described(tmp_path / "mine.parquet"))
    assert raw.extra == ("Zodiac",)
    assert raw.table.equals(table.drop_columns("Zodiac"))
