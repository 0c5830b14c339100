"""Findings are the same wherever the rows are added up, or one sentence says why they are not."""

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engines
from hi_ml.app.config import build, compose
from hi_ml.app.errors import EngineRefused, TooManyRejected
from hi_ml.claims.aggregates import moments_of
from hi_ml.claims.remote import ready_remote
from hi_ml.data.schema import Dataset
from hi_ml.data.sql.engine import open_engine
from hi_ml.data.sql.table import open_table

BY_NUMBER = "++dataset.columns.patient_id={from: Case, kind: identifier, private: true}"


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    return engines.hard(tmp_path_factory.mktemp("hard") / "hard.parquet")


@pytest.mark.slow
def test_duckdb_says_of_a_hard_table_what_is_found_in_memory(hard):
    words = [BY_NUMBER, "dataset.columns.sex.kind=null", "dataset.advanced_medications=[Lipitor,Penicillin]"]
    ours = engines.stated("sql", hard, *words)
    assert ours[0]["rows_rejected"] == 10
    assert ours[0]["duplicate_pairs"] > 100
    engines.assert_equal(ours, engines.stated("local", hard, *words))


@pytest.mark.slow
def test_patients_who_are_told_apart_by_names_are_so_in_duckdb(hard):
    words = ["dataset.advanced_medications=[Lipitor,Penicillin]", "dataset.stay=inclusive"]
    engines.assert_equal(engines.stated("sql", hard, *words), engines.stated("local", hard, *words))


def remote(path, *words):
    """The rows of a Parquet file, by DuckDB."""
    dataset = build(Dataset, compose("findings", "dataset=kaggle", f"dataset.source={path}", *words)["dataset"])
    return ready_remote(
        open_table(open_engine("sql", dataset, []), dataset, lambda _: path),
        seed=0,
        keep_duplicates=False,
        smallest_cell=5,
    )


def test_a_large_mean_leaves_a_small_spread_its_digits(hard, tmp_path):
    bills = 1e9 + np.random.default_rng(0).standard_normal(pq.read_metadata(hard).num_rows)
    table = pq.read_table(hard)
    pq.write_table(table.set_column(table.column_names.index("Billing Amount"), "Billing Amount", pa.array(bills)),
                   tmp_path / "large.parquet")  # fmt: skip
    rows = remote(tmp_path / "large.parquet", "dataset.columns.age.high=300", "dataset.columns.patient_name.from=null",
                  "dataset.max_rejected=1").first  # fmt: skip
    known = rows.take(["sex", "billed"]).dropna()
    groups = moments_of(rows.sums(["sex"], "billed"))
    by_sex = (known["billed"] - 1e9).groupby(known["sex"])
    assert groups.n.tolist() == by_sex.size().tolist()
    np.testing.assert_allclose(groups.sum, known.groupby("sex")["billed"].sum(), rtol=1e-12)
    np.testing.assert_allclose(groups.variance, by_sex.var(), rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["dataset.source=null", "+dataset.scenario=noise"], EngineRefused, "Set dataset.source=<path>"),
        (["+dataset.first_by=patient_name"], EngineRefused, "keep the first rows in a query. Or set engine=local."),
        (["+dataset.drop=[{where: {sex: [Male]}, why: no}]"], EngineRefused, "leave the rows out in a query. Or set"),
        (
            ["+dataset.joins={s: {source: s.csv, on: [sex], columns: {a: {}}}}"],
            EngineRefused,
            "join the tables in a query",
        ),
        (["++dataset.source={reader: meds, path: m, cut: at}"], EngineRefused, "Write it so, or set engine=local."),
        (["++dataset.source={reader: omop, path: o}"], EngineRefused, "Write it so, or set engine=local."),
        (["++dataset.source={url: 'sqlite:///t.sqlite', table: t}"], EngineRefused, "another database"),
        (["dataset.max_rejected=0"], TooManyRejected, "Age range 5, Discharge Date order 5"),
    ],
)
def test_what_is_not_done_is_said_in_one_sentence(hard, words, error, says):
    with pytest.raises(error) as refused:
        remote(hard, *words)
    assert says in str(refused.value)


@pytest.mark.slow
def test_a_run_says_who_added_the_rows_up_and_nothing_else(hard, command, tmp_path):
    with duckdb.connect(tmp_path / "t.duckdb") as connection:
        connection.execute("CREATE TABLE admissions AS FROM read_parquet(?)", [str(hard)])
    ended = command("findings", "dataset=kaggle", "engine=sql", "finding=age_condition", "tracking=none",
                    "dataset.source={url: 'duckdb:///t.duckdb', table: admissions}", "hydra.run.dir=run")  # fmt: skip
    assert (ended.code, ended.stderr) == (0, "")
    assert '"engine": "sql"' in (tmp_path / "run" / "data.json").read_text()
    assert "engine=sql" in (tmp_path / "run" / "report.html").read_text()
    rejected = pd.read_csv(tmp_path / "run" / "rejected.csv")
    assert rejected.values.tolist() == [["Age", "range", 5], ["Discharge Date", "order", 5]]
