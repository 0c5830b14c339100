import html
import io
import json
import zipfile
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hi_ml.app.errors import PrivateValueFound
from hi_ml.data.privacy import PrivateWords, refuse_own_names, words_in
from hi_ml.data.simulation import simulate

NAME = "Zoë O'Canary-Finch"
WORDS = PrivateWords.of([NAME, "Bo Ray", "Cher", "Ann Maria Lee"], [])


def as_npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def as_zip(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def as_parquet(cells, **keys):
    file = io.BytesIO()
    pd.DataFrame({"cells": cells, **keys}).to_parquet(file)
    return file.getvalue()


def notebook(text):
    cell = {"cell_type": "code", "source": ["x = 1"], "outputs": [{"data": {"text/plain": ["a\n", text]}}]}
    return json.dumps({"cells": [cell]}).encode()


FILES = {
    "text.txt": lambda name: f"one\ntwo {name}, three".encode(),
    "table.csv": lambda name: pd.DataFrame({"a": [1, 2], "b": ["x", name]}).to_csv().encode(),
    "plain.json": lambda name: json.dumps({"a": [{"b": name}]}).encode(),
    "key.json": lambda name: json.dumps({name: 1}).encode(),
    "json in.json": lambda name: json.dumps({"a": json.dumps({"b": name})}).encode(),
    "broken.json": lambda name: f'{{"a": "{name}"'.encode(),
    "notebook.ipynb": notebook,
    "lines.json": lambda name: json.dumps({"a": f"one\n{name}\ttwo"}).encode(),
    "broken line.yaml": lambda name: yaml.safe_dump({"a": f"{'y' * 74} {name}"}, allow_unicode=True).encode(),
    "escaped.yaml": lambda name: yaml.safe_dump({"a": name}).encode(),
    "MLmodel": lambda name: yaml.safe_dump({"signature": json.dumps([{"name": name}])}).encode(),
    "broken.yaml": lambda name: f"a: [{name}".encode(),
    "page.html": lambda name: f"<p>{html.escape(name)}</p>".encode(),
    "link.txt": lambda name: f"file:///srv/{quote(name)}/x".encode(),
    "model.skops": lambda name: as_zip(**{"schema.json": json.dumps({"content": {"levels": [name]}})}),
    "named member.zip": lambda name: as_zip(**{f"{name}.txt": "x"}),
    "zip in.zip": lambda name: as_zip(inner=as_zip(**{"a.txt": name})),
    "text.npy": lambda name: as_npy(np.array(["x", name])),
    "bytes.npy": lambda name: as_npy(np.array([b"x", name.encode()])),
    "objects.npy": lambda name: as_npy(np.array(["x", {"a": name}], dtype=object)),
    "arrays.npz": lambda name: as_zip(**{"a.npy": as_npy(np.array([name]))}),
    "text.parquet": lambda name: as_parquet(["x", name]),
    "category.parquet": lambda name: as_parquet(pd.Categorical(["x", name])),
    "list.parquet": lambda name: as_parquet([["x"], ["y", name]]),
    "struct.parquet": lambda name: as_parquet([{"a": {"b": name}}]),
    "bytes.parquet": lambda name: as_parquet([name.encode()]),
    "column.parquet": lambda name: as_parquet([1], **{name: [2]}),
}


@pytest.mark.parametrize("file", FILES)
def test_a_planted_name_is_found_in_every_kind_of_file_and_no_other_is(tmp_path, file):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / file).write_bytes(FILES[file]("nobody at all"))
    WORDS.refuse(tmp_path)
    (tmp_path / "inner" / file).write_bytes(FILES[file](NAME))
    with pytest.raises(PrivateValueFound) as found:
        WORDS.refuse(tmp_path)
    assert f"inner/{file} (" in str(found.value)
    assert "Canary" not in str(found.value)


def test_an_empty_folder_holds_no_name(tmp_path):
    WORDS.refuse(tmp_path)


def test_a_picture_is_not_searched(tmp_path):
    (tmp_path / "chart.png").write_bytes(b"\x89PNG\r\n\x1a\n" + NAME.encode())
    WORDS.refuse(tmp_path)


@pytest.mark.parametrize(
    "text", ["bo ray", "BO RAY", "Bo  Ray", "Bo\tRay", "Ray, Bo Ray", "(Bo Ray)", "Bo-Ray", "Dr. Bo Ray's", "Bo, Ray"]
)
def test_a_name_is_found_however_it_is_set(text):
    assert WORDS.count(text) == 1


@pytest.mark.parametrize(
    "text",
    ["Bo Raymond", "Jumbo Ray", "Ray Bo", "Bo and Ray", "Bo,Ray", "Bo\nRay", '"Bo","Ray"', "Bo 1 Ray", "Cher", ""],
)
def test_what_is_no_such_name_is_not_found(text):
    assert WORDS.count(text) == 0


def test_names_are_counted_each_time():
    assert WORDS.count("Bo Ray and Bo Ray; Ann Maria Lee\nzoë o'canary-finch") == 4


def test_a_name_of_three_words_is_not_found_by_two():
    assert WORDS.count("Ann Maria and Maria Lee") == 0


def test_a_name_inside_a_public_value_is_excused():
    words = PrivateWords.of(["Bo Ray", "Ann Lee", "Al Po"], ["Bo Ray and Sons", "LEE, ANN", "Group Al  Po"])
    assert words.count("Bo Ray met Al Po") == 0
    assert words.count("Ann Lee") == 1  # the public value has the words in another order


def test_a_part_of_a_word_of_a_public_value_excuses_nothing():
    assert PrivateWords.of(["Bo Ray"], ["Bo Rayner", "Jumbo Ray"]).count("Bo Ray") == 1


WORD = st.text(alphabet="abcdefgh", min_size=1, max_size=3)
SOME = st.lists(st.lists(WORD, min_size=2, max_size=3).map(" ".join), max_size=6)


@given(SOME, SOME, st.lists(WORD, max_size=12))
def test_the_search_finds_what_comparing_every_place_finds(private, public, text):
    def places(name, words):
        return sum(words[i : i + len(name)] == name for i in range(len(words)))

    wanted = [name.split() for name in sorted(set(private))]
    wanted = [name for name in wanted if not any(places(name, value.split()) for value in public)]
    found = PrivateWords.of(private, public).count(" ".join(text))
    assert found == sum(places(name, text) for name in wanted)


def test_the_names_of_the_largest_table_are_searched_in_a_large_model(tmp_path):
    table = simulate("noise", 55_500).table
    words = PrivateWords.of([*table["Name"].to_pylist(), *table["Doctor"].to_pylist()], table["Hospital"].to_pylist())
    rng = np.random.default_rng(0)
    lines = (f"leaf_value={' '.join(map(repr, values))}" for values in rng.normal(size=(32_000, 8)).tolist())
    model = json.dumps({"content": "\n".join(lines)})
    assert len(model) > 5_000_000
    (tmp_path / "pipeline.skops").write_bytes(as_zip(**{"schema.json": model}))
    words.refuse(tmp_path)
    (tmp_path / "other.txt").write_text(f"seen by {table['Doctor'][7].as_py()} and signed", encoding="utf-8")
    with pytest.raises(PrivateValueFound, match=r"other\.txt"):
        words.refuse(tmp_path)


OWN = {
    "Latin": ("Dr. José Muñoz", "seen by MUNOZ, Jose\u0301"),
    "Devanagari": ("अनीता शर्मा", "शर्मा अनीता"),
    "Arabic": ("مُحَمَّد عَلِيّ", "السيد محمد علي"),
    "Thai": ("สมชายใจดี", "คุณสมชายใจดีครับ"),
    "CJK": ("王小明", "病人王小明先生"),
    "id": ("MRN-0012345", "case 0012345 again, MRN"),
}


def column(*texts):
    return pa.array(texts, pa.string()).dictionary_encode()


@pytest.mark.parametrize(("name", "text"), OWN.values(), ids=OWN)
def test_a_public_text_that_holds_a_private_value_of_its_own_row_is_refused_without_repeating_it(name, text):
    names, row = [column("Cy Dee", None, name)], np.array([7, 8, 12])
    refuse_own_names({"Note": column(text, text, "nothing")}, names, row)  # of another row: what is written is searched
    with pytest.raises(PrivateValueFound, match=r"Column Note is not private.* in 1 rows \(data row 12\)") as refused:
        refuse_own_names({"Ward": column("a", "b", "c"), "Note": column(None, "nothing", text)}, names, row)
    assert not {*words_in(name), *words_in(text)} & {*words_in(str(refused.value))} - {"mrn", "again", "by"}


ALONE = {
    "surname": ("Ann Maria O'Brien-Smith", "see Smith"),
    "given name": ("Zoë Qwfp", "ZOE's"),
    "one name": ("Cher", "cher"),
    "no apostrophe": ("Sean O’Brien", "for OBRIEN"),
    "no hyphen": ("Ann Smith-Jones", "Smithjones"),
    "no title": ("Dr. Lee", "Lee Ward"),
    "initials": ("O'Brien, J. R.", "Obrien o BRIEN"),
    "without accents": ("José Muñoz", "munoz"),
    "full width": ("Ann Smith", "Ｓｍｉｔｈ"),
    "soft hyphen": ("Ann Smith", "Smi­th"),
    "Devanagari": ("अनीता शर्मा", "शर्मा जी"),
    "Arabic": ("مُحَمَّد عَلِيّ", "محمد"),
    "Thai": ("สมชายใจดี", "สมชาย"),
    "CJK": ("王小明", "小明"),
    "Hangul": ("김민준", "민준 씨"),
    "id": ("MRN-0012345", "case 0012345"),
}


@pytest.mark.parametrize(("name", "text"), ALONE.values(), ids=ALONE)
def test_one_word_of_a_name_alone_is_refused_in_its_own_row(name, text):
    names = column("Cy Dee", name, "Bo Ray")
    with pytest.raises(PrivateValueFound, match=r"in 1 rows \(data row 8\)") as refused:
        refuse_own_names({"Note": column("none", text, "none")}, [names], np.array([7, 8, 9]))
    assert not {*words_in(name), *words_in(text)} & {*words_in(str(refused.value))} - {"s", "for", "of", "see", "one"}
    refuse_own_names({"Note": column("none", text, text, text)}, [column("Bo Ray", name, None, "Cy Dee")], np.arange(4))


@pytest.mark.parametrize(
    ("name", "text"),
    [("Ann van Dam", "by van"), ("Dr. Lee", "Dr"), ("12", "Ward 12"), ("Ann Lee", "Leeds"), ("J. Lee", "J"), ("", "")],
)
def test_what_names_nobody_alone_is_no_name(name, text):
    refuse_own_names({"Note": column(text)}, [column(name)], np.array([1]))


@pytest.mark.parametrize(("name", "text"), [("Ann White", "White"), ("April May", "May"), ("Bo Urgent", "Urgent care")])
def test_a_word_that_mostly_others_have_is_a_category(name, text):
    refuse_own_names({"Note": column(*[text] * 3)}, [column(name, "Cy Dee", "Di Fox")], np.arange(3))
    refuse_own_names({}, [column(name)], np.arange(1))
    refuse_own_names({"Note": column(text)}, [], np.arange(1))


def test_what_names_an_organisation_too_is_counted():
    words = PrivateWords.of(["Ann Lee", "Bo Ray", "王小明"], ["Ann Lee and Sons", "王小明医院"])
    assert (words.excused, words.count("Ann Lee, Bo Ray")) == (2, 1)
