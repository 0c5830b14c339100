"""Whatever is wrong with the table, the request or the disk: a result or one sentence, and nothing half-written."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hi_ml import track
from hi_ml import train as module
from hi_ml.data.simulation import simulate

QUICK = ("dataset=kaggle", "dataset.source=mine.csv", "task=length_of_stay", "model=baseline", "tracking=none")


@pytest.fixture
def train(inside):
    """Train the baseline on mine.csv, in this process."""
    return lambda *more: inside(module.main, *QUICK, *more)


@pytest.fixture
def write(tmp_path):
    """Write mine.csv from bytes, text or a frame."""

    def write_it(content, name="mine.csv"):
        if isinstance(content, pd.DataFrame):
            content = content.to_csv(index=False)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write_it


@pytest.fixture
def place(tmp_path, admissions_csv):
    """A folder with mine.csv."""
    shutil.copy(admissions_csv, tmp_path / "mine.csv")
    return tmp_path


def files(folder, but=("mine.csv",)):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name not in but
    )


def one_sentence(ended, kind, words):
    """Whether a command refused in one sentence of a kind, with some words in it."""
    assert ended.code == 1
    assert re.fullmatch(rf"{kind}: .*\n", ended.stderr), ended.stderr
    assert words in ended.stderr
    assert "hi_ml.track" not in ended.stdout
    return True


def ragged(cells):
    header, *lines = cells.to_csv(index=False).splitlines()
    return "\n".join([header, *(f"{line},1" if row % 9 == 0 else line for row, line in enumerate(lines))])


FILES = {  # one or two of each kind; what else may be wrong, test_sources and test_data_validate have
    "empty": (lambda _: "", "SourceUnreadable", "mine.csv is empty"),
    "misspelt column": (
        lambda cells: cells.rename(columns={"Doctor": "Docter"}), "ColumnProblem", "'Doctor' (did you mean Docter?)",
    ),
    "duplicated column": (
        lambda cells: pd.concat([cells, cells[["Age"]]], axis=1), "ColumnProblem", "more than one column named 'Age'",
    ),
    "a web page": (lambda _: "<!DOCTYPE html><html>Sign in</html>", "ColumnProblem", "none of the columns"),
    "cut-off gzip": (lambda _: b"\x1f\x8b\x08" + bytes(99), "SourceUnreadable", "cannot be read as a table"),
    "ragged rows": (ragged, "TooManyRejected", "34 of 300 rows cannot be read (11.3%; at most 5.0% may be)"),
    "no dates": (
        lambda cells: cells.assign(**{"Discharge Date": "soon"}), "TooManyRejected", "date 300 (such as 'aaaa')",
    ),
    "no value anywhere": (
        lambda cells: cells.assign(**dict.fromkeys(cells, "NaN")), "TooManyRejected", "none is left",
    ),
    "constant target": (
        lambda cells: cells.assign(**{"Date of Admission": "2024-01-01", "Discharge Date": "2024-01-08"}),
        "NotTrainable", "found only 7.0",
    ),
    "ten rows": (lambda cells: cells.head(10), "NotTrainable", "at least 25 groups of rows"),
    "one admission, copied": (lambda cells: pd.concat([cells.head(1)] * 60), "NotTrainable", "found only"),
}  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_a_bad_file_ends_in_one_sentence(tmp_path, train, write, cells, file):
    content, kind, words = FILES[file]
    write(content(cells))
    assert one_sentence(train(), kind, words)
    left = [name.split("/")[-1] for name in files(tmp_path)]
    assert left == (["rejected.csv"] if kind == "TooManyRejected" else [])


REQUESTS = [  # what is wrong with their form alone, test_conf has
    ("dataset.columns.age.from=Years", "ColumnProblem", "here: ++dataset.columns.age.from=null"),
    ("dataset.columns.admitted_on.from=null", "NotTrainable", "declares no 'length_of_stay'"),
    ("+dataset.columns.zodiac={kind: category, known: admission}", "ColumnProblem", "no column 'zodiac'"),
    ("tasks.length_of_stay.features=[]", "NotTrainable", "no column is left to predict from"),
    ("tasks.length_of_stay.features=[room]", "ConfigurationInvalid", "set horizon=stay"),
    ("tasks.length_of_stay.target=zodiac", "NotTrainable", "columns.zodiac.from"),
    ("tasks.length_of_stay.score=log_loss", "ConfigurationInvalid", "log_loss scores no regression"),
    ("model.regression._target_=no.Such", "ConfigurationInvalid", "model.regression._target_=no.Such is no learner"),
    ("+model.regression.foo=1", "ConfigurationInvalid", "no argument 'foo'"),
    ("model.regression.strategy=nothing", "ConfigurationInvalid", "strategy"),
]


@pytest.mark.parametrize(("override", "kind", "words"), REQUESTS)
def test_a_request_that_the_table_or_the_learner_cannot_serve_ends_in_one_sentence(place, train, override, kind, words):
    assert one_sentence(train(override), kind, words)
    assert files(place) == []


def many_levels(_):
    table = simulate("planted", 10_000, seed=1).table.to_pandas().astype(str)
    return table.assign(**{"Insurance Provider": [f"Insurer {row}" for row in range(10_000)]})


def holes(cells):
    return cells.mask(np.random.default_rng(0).random(cells.shape) < 0.1, "")


def stray_damage(cells):
    damaged = cells.copy()
    damaged.loc[3, "Age"], damaged.loc[4, "Age"], damaged.loc[5, "Discharge Date"] = "abc", "400", "1999-01-01"
    header, *lines = damaged.to_csv(index=False).splitlines()
    return "\r\n".join([header, *lines[:9], "", "x", *lines[9:]])


WHOLE = {
    "as it is": (lambda cells: cells, "lgbm", 0),
    "stray damage": (stray_damage, "baseline", 4),
    "another column": (lambda cells: cells.assign(note="é"), "baseline", 0),
    "30 rows": (lambda cells: cells.head(30), "lgbm", 0),
    "NaN in every column": (holes, "linear", 0),
    "a column of one value": (lambda cells: cells.assign(Gender="Female", Age="40"), "linear", 0),
    "a column without values": (lambda cells: cells.assign(Hospital="", Age=""), "lgbm", 0),
    "categories that are numbers": (lambda cells: cells.assign(Gender=np.arange(300) % 2), "lgbm", 0),
    "10,000 levels": (many_levels, "lgbm", 0),
}


@pytest.mark.parametrize(
    "file", [pytest.param(name, marks=() if name == "stray damage" else pytest.mark.slow) for name in WHOLE]
)
def test_an_odd_table_ends_in_a_result(tmp_path, train, write, cells, file):
    make, model, rejected = WHOLE[file]
    write(make(cells))
    ended = train(f"model={model}")
    assert (ended.code, ended.stderr) == (0, "")
    (run,) = tmp_path.glob("outputs/train/*/length_of_stay")
    assert json.loads((run / "data.json").read_text(encoding="utf-8"))["rows_rejected"] == rejected
    assert json.loads((run / "verdict.json").read_text(encoding="utf-8"))["verdict"]
    assert (run / "rejected.csv").exists() == bool(rejected)
    assert not [name for name in files(tmp_path) if "unfinished" in name]


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [1, 20, 60])
def test_a_full_disk_ends_in_one_sentence_and_leaves_nothing(place, command, kilobytes):
    ended = command("train", *QUICK, under=f"ulimit -f {kilobytes}")
    assert one_sentence(ended, "OutputFailed", "Could not write")
    assert files(place) == []


@pytest.mark.slow
def test_a_disk_too_full_for_the_store_loses_no_run_and_leaves_no_half_store(place, command, inside):
    small = (
        f"~assessments.{name}" for name in ("intervals", "calibration", "subgroups", "explanation")
    )  # a small page
    ended = command("train", *QUICK[:-1], *small, under="ulimit -f 500")
    assert ended.code == 1
    assert re.fullmatch(r"TrackingFailed: .*Nothing is lost.*python -m hi_ml\.track run=\S+\n", ended.stderr)
    assert not (place / "mlflow.db").exists()
    sent = inside(track.main, ended.stderr.split()[-1])
    assert sent.code == 0, sent.stderr
    assert (place / "mlflow.db").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite:///file:{place}/mlflow.db?mode=ro&uri=true", "readonly database"),
        ("sqlite:///{place}/mine.csv/mlflow.db", "mine.csv"),
    ],
)
def test_a_store_that_takes_nothing_loses_no_run(place, command, inside, migrated_store, uri, words):
    shutil.copy(migrated_store, place / "mlflow.db")
    ended = command("train", *QUICK[:-1], MLFLOW_TRACKING_URI=uri.format(place=place))
    assert ended.code == 1
    assert re.fullmatch(r"TrackingFailed: .*Nothing is lost.*python -m hi_ml\.track run=\S+\n", ended.stderr)
    assert words in ended.stderr
    sent = inside(track.main, ended.stderr.split()[-1])
    assert sent.code == 0, sent.stderr


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(place):
    words = f"{sys.executable} -m hi_ml.train --cfg job | head -1"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words}"], cwd=place, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
