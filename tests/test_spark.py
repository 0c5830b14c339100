"""Spark gives what one machine gives, to the bit, whatever happens to its workers; or one sentence, and nothing."""

import json
import os
import signal
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engines
from hi_ml.app.errors import SparkFailed
from hi_ml.data.sources.spark import session
from hi_ml.predict import main
from hi_ml.prediction.batch import spark as on_spark
from hi_ml.prediction.batch.worker import work

KEY = "Case"


@pytest.fixture(scope="session")
def admissions(cells):
    """Two hundred admissions, two of which no model can read, one of them with a formula in its place."""
    table = cells.head(200).copy().assign(Case=[f"case {row}" for row in range(200)])
    table.loc[[7, 150], "Age"] = ["forty", "=1+1"]
    return table


@pytest.fixture(scope="session")
def asked(small_model):
    """What all calls ask for: the model, whose identifier is the key."""
    folder = small_model("lgbm", "length_of_stay").folder.parents[1]
    return (f"model_uri={folder}", "dataset=kaggle", "reasons=2", "keep=[Room Number]", "chunk_rows=40")


@pytest.fixture
def tonight(tmp_path, admissions):
    """The admissions as a folder of Parquet, of which Spark makes two partitions."""
    return put(admissions, tmp_path / "tonight")


def put(table, folder):
    folder.mkdir()
    for number, rows in enumerate((table.iloc[:60], table.iloc[60:])):
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), folder / f"{number}.parquet")
    return folder


def manifest(path):
    return json.loads(path.with_name(f"{path.name}.manifest.json").read_text())


@pytest.fixture
def kills(tmp_path, monkeypatch):
    """Let the first worker die in the middle of its first partition."""
    died = tmp_path / "died"

    def dying(batches, shipped):
        for batch in work(batches, shipped):
            yield batch
            if not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(on_spark, "work", dying)
    return died


def test_without_pyspark_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(SparkFailed, match=r"Python package pyspark.* pip install 'hi_ml\[spark\]'"):
        session([])


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyspark leaves a pipe open
def test_without_java_one_sentence_says_what_to_install(monkeypatch):
    from pyspark.sql import SparkSession  # noqa: PLC0415 -- it is there once the fixture has installed it

    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(SparkFailed, match=r"Java 17 or newer.*/nowhere/bin/java: No such file.*openjdk-17"):
        session([])


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_all_is_as_on_one_machine_to_the_bit_though_a_worker_dies(inside, tonight, asked, kills, tmp_path):
    one = inside(main, *asked, f"input={tonight}/*.parquet", "output=one.parquet")
    assert one.code == 0, one.stderr
    done = inside(main, *asked, f"input={tonight}", "output=many", "engine=spark")
    assert (done.code, done.stderr) == (0, "")
    assert kills.exists()
    assert "200 rows read, 198 scored, 2 rejected" in done.stdout
    expected = pq.read_table(tmp_path / "one.parquet").drop_columns(["row", "file"]).sort_by(KEY)
    assert pq.read_table(tmp_path / "many").sort_by(KEY).equals(expected)
    told, of_one = manifest(tmp_path / "many"), manifest(tmp_path / "one.parquet")
    for name in ("drift", "unknown_rate", "rows_in", "rows_scored", "model_sha256", "columns_ignored"):
        assert told[name] == of_one[name], name
    assert sorted((part["rows_in"], part["rows_scored"]) for part in told["partitions"]) == [(60, 59), (140, 139)]
    rejected, of_one = (pd.read_csv(tmp_path / f"{name}.rejected.csv") for name in ("many", "one.parquet"))
    assert rejected.sort_values(KEY).values.tolist() == [["case 150", *CELL], ["case 7", "Age", "aaaaa", "number"]]
    assert of_one[["column", "value", "rule"]].values.tolist() == [["Age", "aaaaa", "number"], CELL]
    assert {path.stat().st_mode & 0o77 for path in (tmp_path / "many").iterdir()} == {0}

    (proof,) = (line.split()[-1] for line in done.stdout.splitlines() if "hi_ml.predict verify=" in line)
    assert "many is what its manifest claims" in inside(main, proof).stdout
    part = next((tmp_path / "many").iterdir())
    pq.write_table(pq.read_table(part).slice(1), part)
    assert inside(main, proof).stderr.startswith("NotAsClaimed: many is not shown to be")


CELL = ["Age", "'=1+1", "number"]


@pytest.mark.slow
def test_a_table_that_spark_knows_becomes_another(spark, inside, admissions, asked, tmp_path):
    spark.read.parquet(str(put(admissions, tmp_path / "raw"))).write.saveAsTable("tonight")
    asked = (*asked, "engine=spark", 'input={url: "spark://", table: tonight}', 'output={url: "spark://", table: s}')
    done = inside(main, *asked)
    assert (done.code, done.stderr) == (0, "")
    told = manifest(tmp_path / "s.parquet")
    rows = spark.table("s")
    assert rows.count() == told["rows_scored"] == 198
    assert [row[0] for row in rows.select("manifest_id").distinct().collect()] == [told["manifest_id"]]
    again = inside(main, *asked)
    assert again.code == 1
    assert again.stderr.startswith("OutputFailed: spark:// (s) is there already")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "asked_too", "said"),
    [
        ({KEY: "case"}, [], "SparkFailed: key=Case does not tell the rows of tonight apart: 0 have none, 200 share"),
        ({KEY: None}, [], "200 have none"),
        ({}, ["key=case"], "SparkFailed: engine=spark needs key=<column>"),
        ({}, ["key=Name"], "which the model's dataset declares private"),
        ({}, ["input=absent"], "SparkFailed: Spark cannot read absent"),
        ({}, ["output=tonight/scored"], "is one of the files of input="),
        ({}, ["max_rejected=0"], "TooManyRejected: tonight: 2 of 200 rows"),
        ({"Age": "forty"}, [], "TooManyRejected"),
    ],
)
@pytest.mark.usefixtures("spark")
def test_what_cannot_be_served_is_one_sentence_and_nothing_is_written(
    inside, admissions, asked, tmp_path, changes, asked_too, said
):
    put(admissions.assign(**changes), tmp_path / "tonight")
    done = inside(main, *asked, "input=tonight", "output=scored", "engine=spark", *asked_too)
    assert done.code == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} - {"outputs", "scored.rejected.csv"} == {"tonight"}


@pytest.mark.slow
def test_findings_are_those_of_one_machine(spark, tmp_path):
    hard = engines.hard(tmp_path / "hard.parquet")
    words = ["finding=age_condition"]  # and one claim of each kind
    spark.read.parquet(f"file://{hard}").write.mode("overwrite").saveAsTable("default.hard")
    engines.assert_equal(engines.stated("spark", hard.parent, *words), engines.stated("local", hard, *words))
    known = engines.stated("spark", '{url: "spark://", table: default.hard}', *words, own={})
    engines.assert_equal(known, engines.stated("local", hard, *words, own={}))
