"""What lies in a file, an address or several of them, cell by cell, before anything is believed."""

import bz2
import csv
import gzip
import io
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hi_ml import findings, predict, simulate, train
from hi_ml.app.errors import ColumnProblem, SourceUnreadable
from hi_ml.data import sources
from hi_ml.data.sources import csv as csv_source
from hi_ml.data.sources import parquet
from hi_ml.data.sources.pieces import cut
from hi_ml.data.sources.table import load, open_source

N = 300


@pytest.fixture(scope="module")
def text(admissions_csv):
    return admissions_csv.read_text(encoding="utf-8")


@pytest.fixture
def loading(tmp_path, described):
    """Write a file and load it; the columns come as lists."""

    def load_it(content, name="mine.csv", **changes):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return whole(described(path, **changes))

    return load_it


def whole(dataset):
    _, piece, extra, _ = load(dataset)
    cells = piece.table.to_pydict()
    return SimpleNamespace(
        cells=cells, row=piece.row.tolist(), ragged=piece.ragged.tolist(), n=len(piece), extra=extra, table=piece.table
    )


def compressed(data, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def test_cells_come_as_they_are_written(loading, cells, text):
    raw = loading(text)
    assert raw.cells == cells[list(raw.cells)].to_dict("list")
    assert (raw.row, raw.ragged, raw.n) == (list(range(1, N + 1)), [], N)


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
    assert raw.cells == loading(text).cells
    assert raw.row == list(range(1, N + 1))


def test_a_declared_encoding_is_used(loading, text):
    accented = text.replace("Female", "Féminin")
    for encoding in ("latin-1", "cp1252", "utf-16-le"):
        raw = loading(accented.encode(encoding), encoding=encoding)
        assert raw.cells == loading(accented).cells


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_declared_separator_is_used(loading, cells, text, separator):
    raw = loading(cells.to_csv(index=False, sep=separator), separator=separator)
    assert raw.cells == loading(text).cells


def test_a_value_may_hold_separators_quotes_and_line_ends(loading, cells):
    note = 'said "no",\nthen "yes"\r\n; a, b, c'
    raw = loading(cells.assign(Hospital=note).to_csv(index=False))
    assert set(raw.cells["Hospital"]) == {note}
    assert raw.n == N


def test_columns_that_the_dataset_does_not_describe_are_listed_and_left(loading, cells):
    more = cells.assign(Zodiac="Leo", note="é")
    raw = loading(more.to_csv(index=False).encode("latin-1"))
    assert raw.extra == ("Zodiac", "note")
    assert "Zodiac" not in raw.cells


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
    raw = whole(described(path))
    assert raw.ragged == ragged
    assert raw.row == [number for number in range(1, len(rows) + 1) if number not in ragged]


def test_rows_keep_their_numbers_in_a_file_of_many_blocks(loading, text):
    header, *lines = text.splitlines()
    many = lines * 60  # megabytes: the parallel reader does not number rows
    many[7_000] += ",1"
    many[15_000] = "x"
    raw = loading("\n".join([header, *many]))
    assert raw.ragged == [7_001, 15_001]
    assert raw.n == len(many)
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
        assert loading("\n".join(lines)).n == N
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
    assert set(raw.cells["Gender"]) == {"Male", 'Fe"male'}
    assert raw.n == N


@pytest.mark.parametrize(
    ("content", "changes", "words"),
    [
        (lambda _: "", {}, "is empty"),
        (lambda _: " \n\n ", {}, "is empty"),
        (lambda _: gzip.compress(b""), {}, "is empty"),
        (lambda text: text.splitlines()[0], {}, "a header and no rows"),
        (lambda text: text.splitlines()[0] + "\n\n", {}, "a header and no rows"),
        (lambda text: text.replace(",", ";"), {}, "Set '\\+\\+dataset.separator=\";\"'"),
        (lambda text: text.replace(",", "\t"), {}, 'Set \'\\+\\+dataset.separator="\\\\t"'),
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
    assert "here: '++dataset.columns.age.from=\" AGE \"' '++dataset.columns.insurer.from=" in said


def test_a_first_line_without_any_described_name_is_not_shown_since_it_may_be_an_admission(loading, cells):
    headless = cells.to_csv(index=False, header=False)
    with pytest.raises(ColumnProblem) as found:
        loading(headless)
    assert "none of the columns that dataset=kaggle describes: Name, Age, Gender, Blood Type" in str(found.value)
    assert not any(name in str(found.value) for name in [*cells["Name"][:2], *cells["Doctor"][:2]])


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
    raw = whole(described(parts / "*.csv"))
    assert raw.cells["Name"] == [*cells["Name"][100:], *cells["Name"][:100]]
    assert raw.row == list(range(1, N + 1))


def test_rows_are_numbered_through_all_files(parts, described):
    with (parts / "a.csv").open("a") as file:
        file.write("x\n")
    raw = whole(described(parts / "*.csv"))
    assert raw.ragged == [201]
    assert raw.row == [*range(1, 201), *range(202, 302)]


def test_files_may_order_their_columns_differently_and_have_more(parts, described, cells):
    cells[100:].iloc[:, ::-1].assign(note="x").to_csv(parts / "a.csv", index=False)
    raw = whole(described(parts / "*.csv"))
    assert raw.cells["Age"] == [*cells["Age"][100:], *cells["Age"][:100]]
    assert raw.extra == ("note",)


def test_a_column_that_one_file_lacks_is_named_with_the_file(parts, described, cells):
    cells[100:].drop(columns="Age").to_csv(parts / "a.csv", index=False)
    with pytest.raises(ColumnProblem, match=r"a\.csv has no column 'Age'"):
        load(described(parts / "*.csv"))


def test_files_that_disagree_on_a_type_are_refused(tmp_path, described, admissions_csv):
    table = pa.table(whole(described(admissions_csv)).cells)
    pq.write_table(table, tmp_path / "a.parquet")
    numbers = table.set_column(1, "Age", table["Age"].cast(pa.int64()))
    pq.write_table(numbers, tmp_path / "b.parquet")
    with pytest.raises(SourceUnreadable, match=r"do not agree on the type of a column.*Age.*string vs int64"):
        load(described(tmp_path / "*.parquet"))


def test_only_the_described_columns_of_a_parquet_file_are_read(tmp_path, described, admissions_csv):
    table = pa.table(whole(described(admissions_csv)).cells).append_column("Zodiac", pa.array(["Leo"] * N))
    pq.write_table(table, tmp_path / "mine.parquet")
    raw = whole(described(tmp_path / "mine.parquet"))
    assert raw.extra == ("Zodiac",)
    assert raw.cells == table.drop_columns("Zodiac").to_pydict()


@pytest.mark.parametrize("kind", [pa.large_string(), pa.null(), pa.dictionary(pa.int8(), pa.string())])
def test_files_may_hold_text_and_nothing_in_several_types(parts, described, cells, kind):
    other = pa.table(cells[:3].to_dict("list")).drop_columns("Hospital")
    hospital = pa.array([None] * 3 if kind == pa.null() else ["a", "b", "a"], kind)
    pq.write_table(other.append_column("Hospital", hospital), parts / "c.csv")  # its bytes count, not its name
    raw = whole(described(parts / "*.csv"))
    assert raw.n == N + 3
    assert raw.cells["Hospital"][:N] == [*cells["Hospital"][100:], *cells["Hospital"][:100]]
    assert raw.cells["Hospital"][N:] == hospital.to_pylist()


# Piece by piece

NAMES = ["a", "b", "c"]
GOOD = st.builds("{},{},007\n".format, st.integers(0, 99), st.sampled_from(["x", "", '"two\nlines"', '"a ""b"""']))
RAGGED = st.sampled_from(["1\n", "1,2\n", "1,2,3,4\n"])
LINES = st.lists(st.one_of(GOOD, GOOD, RAGGED, st.just("\n")), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pieces")


@pytest.fixture(scope="module")
def opened(folder, described):
    """Open a CSV file of three columns, or of others, with a body."""

    def open_it(body, header="a,b,c\n", name="in.csv"):
        path = folder / name
        path.write_bytes(header.encode() + (body.encode() if isinstance(body, str) else body))
        return open_source(str(path), described(path))

    return open_it


def content(pieces, columns):
    """Cells, numbers of their rows, numbers of the ragged rows."""
    pieces = list(pieces)
    cells = [cell for piece in pieces for cell in piece.table.select(columns).to_pylist()]
    numbers = ([int(row) for piece in pieces for row in getattr(piece, name)] for name in ("row", "ragged"))
    return cells, *numbers


@given(lines=LINES, rows=st.integers(1, 25), data=st.data())
def test_the_pieces_of_a_csv_hold_what_a_reader_of_lines_finds(opened, lines, rows, data):
    file = opened("".join(lines))
    found = [row for row in csv.reader(io.StringIO("".join(lines), newline="")) if row]
    good = [number for number, row in enumerate(found, start=1) if len(row) == 3]
    cells = [dict(zip("ab", found[number - 1], strict=False)) for number in good]
    ragged = [number for number in range(1, len(found) + 1) if number not in good]
    chunks = list(cut(file.pieces(["a", "b"]), rows, after=0))
    assert content(chunks, ["a", "b"]) == (cells, good, ragged)
    assert [len(chunk) for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
    skipped = data.draw(st.integers(0, len(chunks)))
    left = cut(file.pieces(["a", "b"], after=skipped * rows), rows, after=skipped * rows)
    assert content(left, ["a"]) == content(chunks[skipped:], ["a"])


@pytest.mark.parametrize("ragged", [97, 2_900, 5_000], ids=["often", "near the end", "never"])
def test_chunks_do_not_depend_on_how_the_file_is_parsed(opened, monkeypatch, ragged):
    file = opened("".join(f"{i},x\n" if i % ragged == 0 else f"{i},{'y' * (i % 50)},z\n" for i in range(1, 3000)))
    chunks = [content([one], NAMES) for one in cut(file.pieces(NAMES), 500, after=0)]
    monkeypatch.setattr(csv_source, "_BLOCK", 1 << 10)
    assert len(list(file.pieces(NAMES))) > 10
    assert [content([one], NAMES) for one in cut(file.pieces(NAMES), 500, after=0)] == chunks
    assert [numbers[0] for _, numbers, _ in chunks] == [1, 501, 1001, 1501, 2001, 2501]


@pytest.mark.parametrize("after", [0, 1, 99, 100, 101, 250, 299, 300])
def test_parquet_is_read_from_any_row_and_skips_whole_row_groups(folder, described, after, monkeypatch):
    table = pa.table({"a": np.arange(1, 301), "s": [f"level {i % 7}" for i in range(300)]})
    pq.write_table(table, folder / "in.parquet", row_group_size=100)
    monkeypatch.setattr(parquet, "_BATCH", 30)
    pieces = list(open_source(str(folder / "in.parquet"), described(folder)).pieces(["s", "a"], after=after))
    if pieces:
        assert pieces[0].row[0] > after - 100
    cells, row, ragged = content(cut(iter(pieces), 50, after=after), ["a", "s"])
    assert cells == table.slice(after).to_pylist()
    assert (row, ragged) == (list(range(after + 1, 301)), [])


def test_a_header_alone_has_no_piece(opened):
    assert list(opened("").pieces(NAMES)) == []


# A new source is one file

DUMMY = """
import numpy as np
import pyarrow as pa
from hi_ml.data.simulation import simulate
from hi_ml.data.sources.pieces import NO_ROWS, Piece

class Dummy:
    def __init__(self, location):
        self.location, self.rows = location, int(location.removeprefix("dummy://"))
        self.table = simulate("planted", self.rows, seed=1, hospitals=5).table
        self.schema = self.table.schema

    @staticmethod
    def opens(location, start):
        return location.startswith("dummy://")

    @classmethod
    def open(cls, location, dataset):
        return cls(location)

    def pieces(self, columns, *, after=0):
        for start in range(after, self.rows, 70):
            rows = self.table.select(columns).slice(start, 70)
            yield Piece(rows, np.arange(start + 1, start + 1 + len(rows)), NO_ROWS)

    def sha256(self):
        return "0" * 64

    def state(self):
        return self.location

SOURCE = Dummy
"""


@pytest.fixture
def dummy(tmp_path, monkeypatch):
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "dummy_rows.py").write_text(DUMMY)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path / "added")])


@pytest.mark.slow
@pytest.mark.usefixtures("dummy")
def test_a_source_added_by_one_file_is_trained_on_tested_and_scored(inside, small_model, tmp_path, admissions_csv):
    table = ("dataset=kaggle", f"dataset.source=dummy://{N}")
    quick = ("task=length_of_stay", "model=baseline", "tracking=none")
    assert inside(train.main, *table, *quick).code == 0
    assert inside(findings.main, *table, "finding=emergency_stay", "tracking=none").code == 0
    model = small_model("baseline", "length_of_stay").folder.parents[1]
    scores = {}
    for source in (f"dummy://{N}", str(admissions_csv)):
        done = inside(predict.main, f"model_uri={model}", f"input={source}", "output=out.csv", "chunk_rows=110")
        assert done.code == 0, done.stderr
        scores[source] = pd.read_csv(tmp_path / "out.csv")
    one, other = scores.values()
    pd.testing.assert_frame_equal(one, other)
    assert len(one) == N


@pytest.mark.usefixtures("dummy")
@pytest.mark.parametrize(
    "address", ["dumy://3", "s3://bucket/a.csv", "https://there/a.csv", "file:///a.csv", "S3:/a.csv"]
)
def test_an_address_that_no_source_opens_is_refused_by_its_beginning(described, address):
    with pytest.raises(SourceUnreadable, match=f"begins with {address.split('/')[0]}//? cannot be read"):
        load(described(address))


@pytest.mark.parametrize("name", ["s3://bucket/scored.csv", "gs:/bucket/scored.parquet", "ftp://there/scored.csv"])
def test_nothing_is_written_to_an_address_nor_to_a_folder_of_that_name(inside, tmp_path, name):
    for main, words in ((predict.main, ["input=a.csv"]), (simulate.main, ["rows=50"])):
        refused = inside(main, *words, f"output={name}")
        assert refused.code == 1
        assert "Nothing can be written to an address" in refused.stderr or "cannot be found" in refused.stderr
    assert not [path for path in tmp_path.iterdir() if ":" in path.name]


def test_the_home_is_where_a_tilde_says(inside, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert inside(simulate.main, "rows=50", 'output="~/mine.csv"').code == 0
    assert (tmp_path / "home" / "mine.csv").is_file()
    assert not (tmp_path / "~").exists()


def test_folders_in_folders_are_found_and_a_file_of_two_names_is_read_once(tmp_path, cells, described):
    for name, start in {"a.csv": 0, "2023/b.csv": 100, "2023/01/c.csv": 200}.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        cells[start : start + 100].to_csv(tmp_path / "tree" / name, index=False)
    assert whole(described(tmp_path / "tree/**/*.csv")).n == N
    (tmp_path / "tree" / "again.csv").symlink_to(tmp_path / "tree" / "a.csv")
    (tmp_path / "tree" / "2023" / "copy.csv").hardlink_to(tmp_path / "tree" / "a.csv")
    (tmp_path / "tree" / "folder").symlink_to(tmp_path / "tree" / "2023")
    assert sorted(whole(described(tmp_path / "tree/**/*.csv")).cells["Name"]) == sorted(cells["Name"])
