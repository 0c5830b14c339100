import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.sources import pieces
from hi_ml.data.sources.csv import Delimited
from hi_ml.data.sources.pieces import cut, of_csv, of_parquet

NAMES = ["a", "b", "c"]
GOOD = st.builds("{},{},007\n".format, st.integers(0, 99), st.sampled_from(["x", "", '"two\nlines"', '"a ""b"""']))
RAGGED = st.sampled_from(["1\n", "1,2\n", "1,2,3,4\n"])
LINES = st.lists(st.one_of(GOOD, GOOD, RAGGED, st.just("\n")), min_size=1, max_size=60)


def csv(path, body, header="a,b,c\n"):
    path.write_text(header + body, encoding="utf-8", newline="")
    return Delimited(path, "utf-8", ",", header.strip().split(","), bare=not body.strip("\n"))


def joined(parts, columns):
    parts = list(parts)
    numbers = [np.concatenate([np.array([], dtype=int), *(getattr(part, name) for part in parts)]) for name in
               ("row", "ragged")]  # fmt: skip
    cells = [cell for part in parts for cell in part.table.select(columns).to_pylist()]
    return cells, numbers[0].tolist(), numbers[1].tolist()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("pieces")


@given(lines=LINES, rows=st.integers(1, 25), data=st.data())
def test_a_csv_in_pieces_holds_what_it_holds_in_one(place, lines, rows, data):
    file = csv(place / "in.csv", "".join(lines))
    table, row, ragged = file.read(["a", "b"])
    chunks = list(cut(of_csv(file, ["a", "b"]), rows, after=0))
    assert joined(chunks, ["a", "b"]) == (table.to_pylist(), row.tolist(), ragged.tolist())
    assert [len(chunk) for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
    skipped = data.draw(st.integers(0, len(chunks)))
    left = cut(of_csv(file, ["a", "b"]), rows, after=skipped * rows)
    assert joined(left, ["a"]) == joined(chunks[skipped:], ["a"])


def test_chunks_do_not_depend_on_how_the_file_is_parsed(place, monkeypatch):
    lines = "".join(f"{i},x\n" if i % 97 == 0 else f"{i},{'y' * (i % 50)},z\n" for i in range(1, 3000))
    file = csv(place / "in.csv", lines)
    whole = [(joined([one], NAMES)) for one in cut(of_csv(file, NAMES), 500, after=0)]
    monkeypatch.setattr(pieces, "_BLOCK", 1 << 10)
    assert len(list(of_csv(file, NAMES))) > 10
    assert [(joined([one], NAMES)) for one in cut(of_csv(file, NAMES), 500, after=0)] == whole
    assert [numbers[0] for _, numbers, _ in whole] == [1, 501, 1001, 1501, 2001, 2501]


@pytest.mark.parametrize("after", [0, 1, 99, 100, 101, 250, 299, 300])
def test_parquet_is_read_from_any_row_and_skips_whole_row_groups(place, after, monkeypatch):
    table = pa.table({"a": np.arange(1, 301), "s": [f"level {i % 7}" for i in range(300)]})
    path = place / "in.parquet"
    pq.write_table(table, path, row_group_size=100)
    monkeypatch.setattr(pieces, "_BATCH", 30)
    parts = list(of_parquet(path, ["s", "a"], dictionaries=["s"], after=after))
    if parts:
        assert parts[0].row[0] > after - 100
    cells, row, ragged = joined(cut(iter(parts), 50, after=after), ["a", "s"])
    assert cells == table.slice(after).to_pylist()
    assert (row, ragged) == (list(range(after + 1, 301)), [])
    assert all(pa.types.is_dictionary(part.table.column("s").type) for part in parts)


def test_a_header_alone_has_no_piece(place):
    assert list(of_csv(csv(place / "in.csv", ""), NAMES)) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"1,2,3\n4,\xe9,6\n", "line 3"),
        (b"1,2,3\n4,\xe9\n", "line 3"),
        (b'1,2,"3\n' + b"4,5,6\n" * 300_000, "524,288 characters"),
    ],
)
def test_what_cannot_be_read_to_its_end_is_refused(place, body, words):
    path = place / "in.csv"
    path.write_bytes(b"a,b,c\n" + body)
    with pytest.raises(SourceUnreadable, match=words):
        list(of_csv(Delimited(path, "utf-8", ",", NAMES, bare=False), NAMES))


@pytest.mark.parametrize("swallowing", ['1,"2,3,4,5\n6,7,8,9,10\n11",12,13,14\n', '1,2,"x\n6,7,8,9,10\n"\n'])
def test_a_quote_that_swallows_rows_is_refused_with_its_row(place, swallowing):
    file = csv(place / "in.csv", "0,0,0,0,0\n" + swallowing, "a,b,c,d,e\n")
    with pytest.raises(SourceUnreadable, match="in row 2"):
        list(of_csv(file, ["a"]))


def test_a_packed_csv_is_read_and_a_torn_one_is_not(place):
    packed = gzip.compress(b"a,b,c\n" + b"1,2,3\n" * 100_000)
    path = place / "in.csv.gz"
    path.write_bytes(packed)
    file = Delimited(path, "utf-8", ",", NAMES, bare=False)
    assert sum(len(piece) for piece in of_csv(file, ["a"])) == 100_000
    path.write_bytes(packed[:-20])
    with pytest.raises(OSError, match="compressed stream"):
        list(of_csv(file, ["a"]))
