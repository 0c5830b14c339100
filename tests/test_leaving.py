"""What leaves the machine, and who may read what stays."""

import html
import json
import os
import re
import shutil
import sqlite3
import unicodedata
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hi_ml import findings, train
from hi_ml.data.simulation import simulate
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.leaving import leaving

NAMES = (
    "अनीता शर्मा",
    "مُحَمَّد عَلِيّ",
    "สมชายใจดี",
    "王小明",
    "Zyxéline Qwfpñame",
    unicodedata.normalize("NFD", "Jluyône Vbkçanary"),
)
FEW, MANY = pd.DataFrame({"level": ["a", "b"], "n": [4, 900]}), pd.DataFrame({"level": ["a", "b"], "n": [5, 900]})


@pytest.fixture
def folder(tmp_path):
    """A run folder of findings, as far as it has to be one."""
    folder = RunFolder(tmp_path / "run")
    folder.charts.mkdir(parents=True)
    folder.write(config={"smallest_cell": 5}, overrides=["seed=1"], run={"n": 900})
    return folder


def names(folder, **how):
    return {path.relative_to(folder.path).as_posix() for path in leaving(folder, **how)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("worth.csv", FEW),  # an assessment that nobody told this module of
        ("worth.csv", FEW.rename(columns={"n": "n_positive"})),
        ("worth.csv", FEW.rename(columns={"n": "patients"})),
        ("worth.csv", pd.DataFrame({"row": [7], "value": [1.0]})),
        ("worth.json", {"levels": [{"level": "a", "groups": 3}]}),
        ("worth.json", {"worst": {"row": 1700}}),
        ("charts/worth.csv", FEW),
        ("rows.parquet", MANY),
        ("worth.xlsx", "who knows"),
    ],
)
def test_what_tells_of_rows_or_of_a_few_stays_at_home_whoever_wrote_it(folder, name, content):
    before = names(folder)
    path = folder.path / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path) if path.suffix == ".parquet" else content.to_csv(path, index=False)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.with_suffix(".png").write_bytes(b"")
    assert names(folder) == before
    assert names(folder, share_rows=True) == before | {
        name,
        path.with_suffix(".png").relative_to(folder.path).as_posix(),
    }


def test_a_picture_leaves_with_its_table_and_a_page_with_all_its_pictures(folder):
    folder.write(report="<html>")
    for name, table in (("good", MANY), ("bad", FEW)):
        table.to_csv(folder.charts / f"{name}.csv", index=False)
        (folder.charts / f"{name}.png").write_bytes(b"")
    assert names(folder) == {"config.yaml", "overrides.txt", "run.json", "charts/good.csv", "charts/good.png"}
    folder.write(config={"smallest_cell": 4})
    assert {"report.html", "charts/bad.png"} < names(folder)


@pytest.mark.parametrize("files", ["private", "umask"])
def test_what_a_command_writes_is_its_users_alone_unless_the_machine_decides(inside, tmp_path, files):
    before = os.umask(0o022)
    try:
        ended = inside(findings.main, "dataset.rows=300", "finding=emergency_stay", "tracking=none", f"files={files}")
    finally:
        os.umask(before)
    assert ended.code == 0, ended.stderr
    (folder,) = tmp_path.glob("outputs/findings/*")
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")] if path.is_dir()}
    assert (modes, folders) == (({0o600}, {0o700}) if files == "private" else ({0o644}, {0o755}))


@pytest.mark.slow
def test_nothing_that_leaves_holds_a_name_in_any_script_or_a_cell_of_a_few(
    inside, migrated_store, tmp_path, tmp_path_factory
):
    """Names stand in their own column, in other rows' unreadable cells and in other rows' categories."""
    table = pd.DataFrame(simulate(rows=900, hospitals=60).table.to_pydict()).astype({"Age": object})
    for number, name in enumerate(NAMES):
        table.loc[number::11, "Name" if number % 2 else "Doctor"] = name
        table.loc[100 + number, "Age"] = f"see {name}"
        table.loc[200 + number, "Medication"] = f"of {unicodedata.normalize('NFC', name)}"
    source = tmp_path_factory.mktemp("elsewhere") / "table.csv"
    table.to_csv(source, index=False)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    quick = ("model.regression.n_estimators=40", "model.classification.n_estimators=30", "charts=all")
    said = [
        inside(main, "dataset=kaggle", f"dataset.source={source}", *arguments)
        for main, arguments in ((train.main, ("task=[length_of_stay,test_results]", *quick)), (findings.main, ()))
    ]
    assert [done.code for done in said] == [0, 0], [done.stderr for done in said]
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        assert not names_in(told(path)), path
    assert not names_in("".join(done.stdout + done.stderr for done in said))
    sent = [path for path in tmp_path.glob("mlartifacts/**/*") if path.is_file()]
    assert {path.suffix for path in sent} >= {".csv", ".png", ".html", ".json", ".skops"}
    assert {path.name for path in sent if path.suffix == ".parquet"} == {"digests.parquet"}
    for path in sent:
        assert not list(small_cells(path)), path
    homes = [RunFolder(path.parent) for path in tmp_path.glob("outputs/**/run.json")]
    kept = {path.name for home in homes for path in {*home.files()} - {*leaving(home)}}
    assert kept == {"predictions.parquet", "rows.parquet", "rejected.csv", "shap_values.parquet"}
    size = table.groupby("Hospital")["Name"].nunique()
    for path in tmp_path.glob("mlartifacts/**/mapping.json"):
        (hospital,) = (spec for spec in json.loads(path.read_text())["columns"] if spec["role"] == "hospital")
        named = [level for level in hospital["levels"] if level]
        assert named
        assert min(size[size.index.isin(named)]) >= 5


def told(path):
    """All that a file says, decompressed and unescaped."""
    content = path.read_bytes()
    if path.suffix == ".skops":
        with zipfile.ZipFile(path) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    if path.suffix == ".parquet":
        content += pd.read_parquet(path).to_csv().encode()
    if path.suffix == ".png":
        with Image.open(path) as picture:
            content = str(picture.info).encode()
    if path.suffix == ".db":
        with sqlite3.connect(path) as store:
            content += "\n".join(store.iterdump()).encode()
    text = html.unescape(content.decode("utf-8", "ignore"))
    return re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), text)


def names_in(text):
    """Which words of the names stand in a text: accents, vowel signs and case aside."""

    def plain(words):
        folded = unicodedata.normalize("NFKD", words).casefold()
        return "".join(c for c in folded if unicodedata.category(c) not in ("Mn", "Mc"))

    text = plain(text)
    return {word for name in NAMES for word in plain(name).split() if word in text}


def small_cells(path):
    """Yield what a file that was sent counts of fewer than five."""
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        assert "row" not in table
        for name in table.columns[table.columns.str.fullmatch(r"n|n_.*|count|groups|patients|admissions")]:
            yield from table.loc[table[name].between(1, 4), name]
    elif path.name == "reference.json":
        for one in json.loads(path.read_text())["columns"]:
            yield from np.intersect1d(one["counts"], [1, 2, 3, 4])
