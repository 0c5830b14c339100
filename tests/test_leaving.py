"""What leaves the machine, and who may read what stays."""

import html
import json
import os
import re
import shutil
import sqlite3
import unicodedata
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from hi_ml import compare, findings, predict, report, train, validate
from hi_ml.data.simulation import simulate
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.leaving import FLOWS, leaving
from hi_ml.tracking.leaving import mask_few as in_words

REAL = Path(__file__).resolve().parents[1] / "data" / "raw" / "healthcare_dataset.csv"
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
    table = pd.DataFrame(simulate(rows=1100, hospitals=60).table.to_pydict()).astype({"Age": object})
    with_few(table)
    for number, name in enumerate(NAMES):
        table.loc[number::11, "Name" if number % 2 else "Doctor"] = name
        table.loc[100 + number, "Age"] = f"see {name}"
        table.loc[200 + number, "Medication"] = f"of {unicodedata.normalize('NFC', name)}"
        table.loc[130 + number, "Age"] = f"see {name.split()[-1]}"  # a surname, or a given name, alone
        table.loc[150 + number, "Medication"] = f"by {name.split()[0]}"
    source = tmp_path_factory.mktemp("elsewhere") / "table.csv"
    table.to_csv(source, index=False)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    quick = ("model.regression.n_estimators=20", "model.classification.n_estimators=20", "charts=all")
    which = "+dataset.drop=[{where: {medication: [Trial]}, why: on trial}]"
    who = "+dataset.columns.patient_id={from: Case, kind: identifier, known: admission, private: true}"
    model = "model_uri=models:/kaggle.test_results/1"
    said = [
        inside(main, "dataset=kaggle", f"dataset.source={source}", which, who, *arguments)
        for main, arguments in (
            (train.main, ("task=[length_of_stay,test_results]", *quick)),
            (findings.main, ()),
            (train.main, ("task=test_results", "model=baseline")),
            (validate.main, (model, "++dataset.columns.test_result.levels={Rare: null}")),
            (predict.main, (model, f"input={source}", "output=scored.parquet")),
            (compare.main, ("task=test_results",)),
        )
    ]
    said.append(inside(report.main, "runs=kaggle/test_results"))
    said += [inside(report.main, f"run={path.parent}") for path in tmp_path.glob("outputs/train/*/*/verdict.json")]
    assert [done.code for done in said] == [0] * 10, [done.stderr for done in said]
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        assert not names_in(told(path)), path
    assert not names_in("".join(done.stdout + done.stderr for done in said))
    sent = [path for path in tmp_path.glob("mlartifacts/**/*") if path.is_file()]
    assert {path.suffix for path in sent} >= {".csv", ".png", ".html", ".json", ".skops"}
    assert {path.name for path in sent if path.suffix == ".parquet"} == {"digests.parquet"}
    for path in [*sent, *tmp_path.glob("outputs/report/*/*"), *tmp_path.glob("outputs/compare/*/*")]:
        assert not list(counts_of_few(path)), path
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        values = "SELECT value FROM tags UNION SELECT value FROM params UNION SELECT description FROM model_versions"
        texts = [text for (text,) in store.execute(values)]
        counted = [
            key for key, value in store.execute("SELECT key, value FROM metrics") if "rows" in key and 0 < value < 5
        ]
    assert (FEW_IN_WORDS.findall("\n".join(map(str, texts))), counted) == ([], [])
    homes = [RunFolder(path.parent) for path in tmp_path.glob("outputs/**/run.json")]
    kept = {path.name for home in homes for path in {*home.files()} - {*leaving(home)}}
    assert kept == {"predictions.parquet", "rows.parquet", "rejected.csv", "shap_values.parquet", "attrition.csv"}
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


def with_few(table):
    """Put into a table what few patients have: a label, levels, a hospital, rows that a rule takes."""
    table["Case"] = [f"c{row}" for row in range(len(table))]
    ward = range(600, 640)  # 40 admissions of 3 patients
    for name in ("Name", "Gender", "Blood Type", "Age", "Case"):
        table.loc[ward, name] = [table.loc[640 + row % 3, name] for row in ward]
    table.loc[ward, "Hospital"] = "Ward of Three"
    table["Discharge Date"] = table["Discharge Date"].astype(object)
    for name, level, rows in (
        ("Test Results", "Strange", 3),
        ("Test Results", "Rare", 18),  # of whom fewer are in the test part
        ("Insurance Provider", "Twofold", 2),
        ("Admission Type", "Fourfold", 4),
        ("Gender", "Other", 4),
        ("Blood Type", None, 3),
        ("Medication", "Trial", 3),
        ("Discharge Date", "1999-01-01", 3),
    ):
        start = 700 + 20 * list(table).index(name) + len(level or "")
        table.loc[start : start + rows - 1, name] = level


# whole numbers that count no rows and no patients: settings, ends of axes, degrees of freedom, what was tested
NO_COUNTS = {
    "seed", "features", "repeats", "explained_rows", "parts", "parts_testable", "df", "ranks_agree", "discovery",
    "edges", "days", "data", "low", "high", "within", "floor", "number", "version", "splits", "untrained",
    "digits", "runs",
}  # fmt: skip
FEW_IN_WORDS = re.compile(
    r"(?<![\d.,])[1-4] (?:rows?|patients?|admissions?|groups?|copies|cells|pairs of near|stays)\b"
)


def counts_of_few(path):
    """Yield what a file that was sent, or a page, counts of fewer than five."""
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        assert "row" not in table
        for name in set(table.select_dtypes("integer")) | {*table.filter(regex="^(n|n_.*|count|groups|patients)$")}:
            yield from [(name, n) for n in table[name] if 0 < n < 5 and name not in NO_COUNTS]
        yield from FEW_IN_WORDS.findall(
            "\n".join(table.select_dtypes(["object", "str"]).fillna("").astype(str).to_numpy().ravel())
        )
    elif path.suffix == ".json":
        for key, value in leaves_of(json.loads(path.read_text())):
            if isinstance(value, str):
                yield from FEW_IN_WORDS.findall(value)
            elif isinstance(value, int) and not isinstance(value, bool) and 0 < value < 5 and key not in NO_COUNTS:
                yield key, value
    elif path.suffix == ".html":
        text = re.sub(r"<(style|script).*?</\1>|<svg.*?</svg>", "", path.read_text(), flags=re.DOTALL)
        yield from FEW_IN_WORDS.findall(re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", text)))


def leaves_of(node, key=""):
    """Yield the key and the value of every leaf of a document."""
    for name, value in node.items() if isinstance(node, dict) else ((key, one) for one in node):
        yield from leaves_of(value, name) if isinstance(value, dict | list) else [(name, value)]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_file(), reason="data/raw/healthcare_dataset.csv is absent: see data/README.md")
def test_of_the_real_table_nothing_leaves_that_is_of_a_few_patients(called, tmp_path):
    quick = ["dataset=kaggle", f"dataset.source={REAL}", "tracking=none"]
    off = [f"~assessments.{name}" for name in ("usefulness", "significance", "probes", "explanation")]
    called("train", tmp_path / "train", *quick, "task=test_results", "model=baseline", *off)
    called("findings", tmp_path / "findings", *quick, "findings.billing_variation.permutations=19")
    for home in (RunFolder(tmp_path / "train" / "test_results"), RunFolder(tmp_path / "findings")):
        beside = RunFolder(tmp_path / f"{home.path.name} in words")
        beside.path.mkdir()
        beside.write(**{name: in_words(home.load(name), 5) for name in FLOWS if home.keeps(name)})
        files = {path.name: path for path in leaving(home)} | {path.name: path for path in beside.path.iterdir()}
        assert {"run.json", "report.html"} <= files.keys()
        for path in files.values():
            assert not list(counts_of_few(path)), path


def test_small_counts_of_rows_on_their_way_are_sent_in_words_and_so_is_what_their_difference_would_tell(folder):
    folder.write(
        run={"n": 900, "rows": 850, "seed": 3, "parts": {"train": 848, "test": 2}, "all": True},
        data={
            "rows_read": 900,
            "rows_rejected": 3,
            "left_out": {"newborns": 44, "dead": 3},
            "names": ["a"],
            "warnings": ["4 rows have 2099-12-31", "1 of 900 cells is odd", "5 cells", "1,003 rows", "id 3: many rows"],
        },
    )
    said = {name: in_words(folder.load(name), 5) for name in ("run", "data")}
    assert said["run"] == {
        "n": 900, "rows": 850, "seed": 3, "parts": {"train": 848, "test": "fewer than 5"}, "all": True,
    }  # fmt: skip
    assert said["data"] == {
        "rows_read": "894 and a few more",
        "rows_rejected": "fewer than 5",
        "left_out": {"newborns": 44, "dead": "fewer than 5"},
        "names": ["a"],
        "warnings": ["5 cells", "1,003 rows", "id 3: many rows"],
    }
    assert {"run.json", "data.json"} <= names(folder)
