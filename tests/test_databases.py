"""The same cells from a file and from a database are one table; a password is nowhere; a database is only read."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import engines
import hi_ml
from hi_ml import findings, predict, train
from hi_ml.app.errors import ConfigurationInvalid, SourceUnreadable
from hi_ml.data.location import Database
from hi_ml.data.simulation import simulate
from hi_ml.data.sources.database import write
from hi_ml.data.sources.table import Fingerprint, open_source

CANARY, VARIABLE = "sw0rd/c@nary", "WARD_PASSWORD"
KEY = "case_no"  # of a name that every server takes without quotes
N = 300
REAL = Path(__file__).resolve().parents[1] / "data" / "raw" / "healthcare_dataset.csv"


def tool(name):
    """Find a program of PostgreSQL, on the path or where Debian keeps it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or str(debian[-1])


def as_nobody(*words):
    """Run a program of PostgreSQL, which refuses to be root's."""
    user = [] if os.geteuid() else ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    subprocess.run([*user, *words], check=True, capture_output=True, cwd=tempfile.gettempdir())


@pytest.fixture(scope="session")
def server():
    """Start a PostgreSQL of our own, which asks for a password; its address and its folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="hi_ml.postgresql."))  # a path of pytest's is not open to others
    (folder / "secret").write_text(CANARY)
    for path in (folder, folder / "secret"):
        if not os.geteuid():
            shutil.chown(path, "nobody")
    data, options = f"{folder}/data", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    as_nobody(tool("initdb"), "-D", data, "-U", "ann", "-A", "scram-sha-256", f"--pwfile={folder}/secret",
              "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
    as_nobody(tool("pg_ctl"), "-D", data, "-o", f"{options} -c fsync=off", "-l", f"{folder}/log", "-w", "start")
    yield SimpleNamespace(url=f"postgresql://ann@127.0.0.1:{port}/postgres", folder=folder)
    as_nobody(tool("pg_ctl"), "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def postgresql(server, monkeypatch):
    monkeypatch.setenv(VARIABLE, CANARY)
    return server.url


def asked(url, *statements):
    """Run statements in the server, and return the rows of the last."""
    import adbc_driver_postgresql.dbapi as driver  # noqa: PLC0415 -- what is tested is found without it

    with driver.connect(url.replace("ann@", "ann:sw0rd%2Fc%40nary@")) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
        connection.commit()
        return rows


@pytest.fixture(scope="session")
def numbered():
    """A simulated table with a number of each row, bills as decimals, and dates as dates."""
    table = simulate("planted", N, seed=1, hospitals=5).table
    bills = [Decimal(str(round(bill, 3))) for bill in table["Billing Amount"].to_pylist()]
    place = table.column_names.index("Billing Amount")
    table = table.set_column(place, "Billing Amount", pa.array(bills, pa.decimal128(18, 3)))
    return table.append_column(KEY, pa.array(range(N)))


@pytest.fixture(scope="session")
def everywhere(numbered, server, tmp_path_factory):
    """The same cells by every kind of source, in a database in any order."""
    folder = tmp_path_factory.mktemp("everywhere")
    shuffled = numbered.take(pa.array(np.random.default_rng(0).permutation(N)))
    pyarrow.csv.write_csv(numbered, folder / "t.csv")
    pq.write_table(numbered, folder / "t.parquet")
    plain = shuffled.to_pandas().astype({"Date of Admission": str, "Discharge Date": str, "Billing Amount": float})
    with closing(sqlite3.connect(folder / "t.sqlite")) as connection:
        plain.to_sql("admissions", connection, index=False)
    with closing(duckdb.connect(folder / "t.duckdb")) as connection:
        connection.execute("CREATE TABLE admissions AS SELECT * FROM shuffled")
    pyarrow.csv.write_csv(shuffled, folder / "shuffled.csv")
    _copy(server, folder / "shuffled.csv", "admissions", _of_postgresql(numbered.schema))
    ordered = {"table": "admissions", "order_by": [KEY]}
    return {
        "CSV": str(folder / "t.csv"),
        "Parquet": str(folder / "t.parquet"),
        "SQLite": {"url": f"sqlite:///{folder}/t.sqlite", **ordered},
        "DuckDB": {"url": f"duckdb:///{folder}/t.duckdb", **ordered},
        "PostgreSQL": {"url": server.url, "password_from": f"env {VARIABLE}", **ordered},
        "SQLAlchemy": {"url": f"sqlite+pysqlite:///{folder}/t.sqlite", **ordered},
    }


def _copy(server, path, table, columns):
    """Make a table of PostgreSQL of a CSV."""
    listed = ", ".join(f'"{name}" {kind}' for name, kind in columns)
    with path.open() as file:
        environment = {**os.environ, "PGPASSWORD": CANARY}
        words = [tool("psql"), "-q", server.url, "-c", f"CREATE TABLE {table} ({listed})",
                 "-c", f"COPY {table} FROM STDIN CSV HEADER"]  # fmt: skip
        subprocess.run(words, stdin=file, env=environment, check=True, capture_output=True)


def _of_postgresql(schema):
    for field in schema:
        kinds = {"int64": "bigint", "date32[day]": "date", "string": "text"}
        yield field.name, "numeric" if pa.types.is_decimal(field.type) else kinds[str(field.type)]


def test_the_same_cells_are_one_table_one_split_and_equal_scores(everywhere, postgresql):
    tables = {kind: hi_ml.read("kaggle", source=source) for kind, source in everywhere.items()}
    assert len({table.sha256 for table in tables.values()}) == 1
    runs = [hi_ml.fit(tables[kind], model="linear") for kind in ("CSV", "Parquet", "PostgreSQL")]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.problem.parts, runs[0].problem.parts)
        np.testing.assert_array_equal(run.predicted, runs[0].predicted)
    assert postgresql not in str(tables["PostgreSQL"].table)


def of(url, *, order_by=("k",), **rest):
    return Database(url=url, order_by=list(order_by), **{"table": "t", **rest})


def cells(database, *names, dataset=None):
    source = open_source(database.address, dataset)
    pieces = list(source.pieces(list(names) or source.schema.names))
    return pa.concat_tables([piece.table for piece in pieces]).to_pydict()


def test_types_that_no_file_has_arrive_as_a_csv_says_them(postgresql):
    asked(
        postgresql,
        "DROP TABLE IF EXISTS t",
        "DROP TYPE IF EXISTS mood",
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TABLE t (k int, n numeric, r real, m money, e mood, c char(5), u uuid, j jsonb, z timestamptz, "
        "a int[])",
        "INSERT INTO t VALUES (2, 0.10, 0.1, 12.5, 'ok', 'ab', '00000000-0000-0000-0000-000000000001', '{\"a\": 1}', "
        "'2024-03-01 10:00+02', '{1,2}'), (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    read = cells(of(postgresql, password_from=VARIABLE))
    second = {name: column[1] for name, column in read.items()}
    moment = second.pop("z")
    assert (moment.isoformat(), read["k"]) == ("2024-03-01T08:00:00+00:00", [1, 2])
    assert second == {"k": 2, "n": "0.10", "r": "0.1", "m": "12.50", "e": "ok", "c": "ab", "j": '{"a": 1}',
                      "a": "{1,2}", "u": "00000000-0000-0000-0000-000000000001"}  # fmt: skip


def test_a_column_of_sqlite_is_what_its_cells_are(tmp_path):
    path = tmp_path / "o'dd #name.sqlite"
    late = [None] * 2_000
    columns = {
        "k": range(2_002),
        "whole": [*late, 1, 2],
        "mixed": [*late, 0.1, "x"],
        "real": [*late, 1, 0.1],
        "never": [*late, None, None],
        "text": [*late, "007", "7"],
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t ({', '.join(columns)})")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", zip(*columns.values(), strict=True))
    read = cells(of(f"sqlite:///{path}"))
    tail = {name: column[-2:] for name, column in read.items()}
    assert float(tail["mixed"].pop(0)) == 0.1  # to the bit, in however many digits
    assert tail == {"k": [2_000, 2_001], "whole": [1, 2], "mixed": ["x"], "real": [1.0, 0.1],
                    "never": [None, None], "text": ["007", "7"]}  # fmt: skip
    assert [len(column) for column in read.values()] == [2_002] * 6


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "postgresql"])
def test_rows_come_in_the_declared_order_and_ties_in_that_of_the_cells(kind, tmp_path, postgresql):
    rows = [("b", 1), (None, 2), ("B", 3), ("a", 5), ("a", 4), ("é", 6)]
    values = ", ".join(f"({'NULL' if k is None else repr(k)}, {v})" for k, v in rows)
    statements = ["CREATE TABLE t (k text, v int)", f"INSERT INTO t VALUES {values}"]  # noqa: S608 -- of this test
    if kind == "postgresql":
        url = postgresql
        asked(url, "DROP TABLE IF EXISTS t", *statements)
    else:
        url = f"{kind}:///{tmp_path}/t"
        driver = sqlite3 if kind == "sqlite" else duckdb
        with closing(driver.connect(tmp_path / "t")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
    read = cells(of(url, password_from=VARIABLE), "v", "k")
    assert read["k"] == ["B", "a", "a", "b", "é", None]  # by bytes, as every server can; nulls last
    assert read["v"] == [3, 4, 5, 1, 6, 2]
    assert cells(of(url, password_from=VARIABLE), "v")["v"] == read["v"]


def test_a_source_sees_the_table_as_it_was_when_it_was_opened_and_changes_nothing(postgresql):
    asked(postgresql, "DROP TABLE IF EXISTS t", "CREATE TABLE t (k int)", "INSERT INTO t VALUES (1), (2)")
    database = of(postgresql, password_from=VARIABLE)
    read = Fingerprint.of(database.address, None)
    asked(postgresql, "INSERT INTO t VALUES (0)")
    (piece,) = read.open(database.address, None).pieces(["k"])
    assert piece.table["k"].to_pylist() == [1, 2]
    assert read.source.sha256() == read.sha256 != Fingerprint.of(database.address, None).sha256
    query = "WITH gone AS (DELETE FROM t RETURNING k) SELECT k FROM gone"
    with pytest.raises(SourceUnreadable):
        cells(of(postgresql, table=None, query=query, password_from=VARIABLE))
    assert asked(postgresql, "SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"order_by": []}, "no order"),
        ({"order_by": ["kk"]}, r"order_by names 'kk' \(did you mean k\?\), which .* has not. It has: k"),
        ({"table": "tt"}, r"postgresql://.* \(tt\) was not served: .*tt"),
        ({"table": None, "query": "SELEC 1"}, r"\(query\) was not served: .*syntax error"),
        ({"password_from": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE, which is not set"),
        ({"password_from": None}, "was not served: .*password"),
        ({"url": "oracle://ann@127.0.0.1/ward"}, "needs the Python package"),
        ({"url": "s3://bucket/t.csv"}, "s3"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_mends_it(postgresql, changes, sentence):
    asked(postgresql, "DROP TABLE IF EXISTS t", "CREATE TABLE t (k int)")
    with pytest.raises((SourceUnreadable, ConfigurationInvalid), match=sentence):
        cells(of(**{"url": postgresql, "password_from": VARIABLE, **changes}))


@pytest.mark.parametrize("kind", ["SQLite", "DuckDB"])
def test_a_path_to_a_database_is_told_what_is_missing(everywhere, kind):
    path = everywhere[kind]["url"].split("///")[1]
    with pytest.raises(SourceUnreadable, match=rf'database of {kind}.*url: "{kind.lower()}:////\S+", table: <name>'):
        hi_ml.read("kaggle", source=path)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "postgresql", "sqlite+pysqlite"])
def test_rows_are_written_once_or_not_at_all(kind, tmp_path, postgresql):
    url = postgresql if kind == "postgresql" else f"{kind}:///{tmp_path}/out"
    if kind == "postgresql":
        asked(url, "DROP TABLE IF EXISTS t")
    database = of(url, password_from=VARIABLE if kind == "postgresql" else None, order_by=["row"])

    def put(number, values, broken=False):
        def batches():
            for value in values:
                yield pa.record_batch({"row": [value], "p": [value / 3], "w": ["x"], "number": [number]})
            if broken:
                raise OSError("the disk is gone")

        kinds = pa.schema({"row": pa.int64(), "p": pa.float64(), "w": pa.string(), "number": pa.string()})
        write(database, pa.RecordBatchReader.from_batches(kinds, batches()), instead_of=("number", number))

    put("one", [1, 2])
    put("two", [3])
    put("one", [4, 5])  # again: in place of the first
    with pytest.raises(SourceUnreadable, match="was not served"):
        put("two", [6], broken=True)
    read = cells(database)
    assert read == {"row": [3, 4, 5], "p": [1.0, 4 / 3, 5 / 3], "w": ["x"] * 3, "number": ["two", "one", "one"]}


@pytest.mark.slow
def test_admissions_of_a_database_are_scored_into_a_table_and_proven(
    everywhere, postgresql, inside, small_model, tmp_path
):
    model = small_model("linear", "length_of_stay").folder.parents[1]
    asked(postgresql, "DROP TABLE IF EXISTS scores")
    wanted = everywhere["PostgreSQL"]
    source = f'{{url: "{postgresql}", table: admissions, order_by: [{KEY}], password_from: {VARIABLE}}}'
    words = ["dataset=kaggle", f"model_uri={model}", f"keep=[{KEY}]", "chunk_rows=128"]
    table = f'output={{url: "{postgresql}", table: scores, password_from: {VARIABLE}}}'
    for _ in range(2):  # a second time takes the place of the first
        ended = inside(predict.main, *words, f"input={source}", table)
        assert ended.code == 0, ended.stderr
    ended = inside(predict.main, *words, f"input={everywhere['CSV']}", "output=scores.csv")
    assert ended.code == 0, ended.stderr
    rows = pd.DataFrame(cells(of(postgresql, table="scores", order_by=["row"], password_from=VARIABLE)))
    expected = pd.read_csv(tmp_path / "scores.csv")
    manifest = json.loads((tmp_path / "scores.parquet.manifest.json").read_text())
    assert set(rows.pop("manifest_id")) == {manifest["manifest_id"]}
    pd.testing.assert_frame_equal(rows, expected, check_dtype=False)
    assert not (tmp_path / "scores.parquet").exists()
    assert manifest["files"][0]["file"] == Database(**wanted | {"password_from": VARIABLE}).address
    prove = inside(predict.main, "verify=scores.parquet.manifest.json")
    assert (prove.code, "agree to the last digit" in prove.stdout) == (0, True), prove.stderr
    asked(postgresql, "UPDATE scores SET prediction = prediction + 1 WHERE row = 7")
    assert "has another SHA-256" in inside(predict.main, "verify=scores.parquet.manifest.json").stderr


def _ways_to_fail(url, folder):
    """Thirty commands of which each ends in another error, with the environment that each has."""
    port = url.split(":")[2].split("/")[0]
    whole = {"url": url, "table": "admissions", "order_by": [KEY], "password_from": VARIABLE}
    urls = [
        url.replace(port, "1"), url.replace(port, "port"), url.replace("127.0.0.1", "no.such.host.invalid"),
        url.replace("/postgres", "/nowhere"), url.replace("ann@", "bob@"), url.replace("ann@", ""), "postgresql://",
        f"{url}?sslmode=require", f"{url}?sslmode=nonsense", f"{url}?%zz", "no url", f"oracle://ann@127.0.0.1:{port}/x",
        "mysql+nothing://ann@h/x", f"sqlite:///{folder}/none.sqlite", f"duckdb:///{folder}/none.duckdb",
        url.replace("ann@", "ann:sw0rd%2Fc%40nary@"), f"{url}?password=sw0rd%2Fc%40nary", "s3://bucket/t.csv",
    ]  # fmt: skip
    queries = ["SELEC", "SELECT 1; SELECT 2", "SELECT 1/0 AS case_no", "SELECT 1"]
    changes = [{"table": table} for table in ("nothing", "a.b.c.d", 'q"uote', None)]
    changes += [{"order_by": []}, {"order_by": ["nothing"]}, {"password_from": None}, {"password_from": "NOT_SET"}]
    changes += [{"tabel": "x"}, {"query": "SELECT 1"}, *({"table": None, "query": query} for query in queries)]
    changes += [{"url": url} for url in urls]
    return [{**whole, **change} for change in changes]


@pytest.mark.slow
@pytest.mark.usefixtures("postgresql")
def test_findings_are_the_same_wherever_the_rows_are_added_up(everywhere):
    expected = engines.stated("local", everywhere["CSV"])
    for kind in ("CSV", "PostgreSQL"):
        source = everywhere[kind]
        if kind != "CSV":  # sums need no order
            inner = ", ".join(f"{key}: {json.dumps(value)}" for key, value in source.items() if key != "order_by")
            source = f"{{{inner}}}"
        engines.assert_equal(engines.stated("sql", source), expected)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_file(), reason="data/raw/healthcare_dataset.csv is absent: see data/README.md")
def test_postgresql_says_of_a_part_of_the_real_table_what_is_found_in_memory(server, postgresql, tmp_path):
    part = tmp_path / "part.csv"
    with REAL.open(encoding="utf-8") as lines:
        part.write_text("".join(islice(lines, 10_001)), encoding="utf-8")
    header = pd.read_csv(part, nrows=1)
    kinds = {"int64": "bigint", "float64": "double precision"}
    dates = {"Date of Admission": "date", "Discharge Date": "date"}
    _copy(
        server,
        part,
        "real",
        [(name, dates.get(name, kinds.get(str(kind), "text"))) for name, kind in header.dtypes.items()],
    )
    ours = engines.stated("sql", f"{{url: {postgresql!r}, table: real, password_from: env {VARIABLE}}}")
    engines.assert_equal(ours, engines.stated("local", part))


@pytest.mark.slow
@pytest.mark.usefixtures("everywhere")
def test_a_password_is_nowhere_however_a_command_fails(server, inside, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, CANARY)
    forms = [CANARY, "sw0rd%2Fc%40nary"]
    ways = _ways_to_fail(server.url, tmp_path)
    assert len(ways) >= 30
    for number, way in enumerate(ways):
        inner = ", ".join(f"{key}: {json.dumps(value)}" for key, value in way.items())
        main, words = [
            (train.main, [f"dataset.source={{{inner}}}", "task=billing", "tracking=none"]),
            (findings.main, [f"dataset.source={{{inner}}}", "tracking=none"]),
            (predict.main, [f"input={{{inner}}}", "output=x.csv", f"model_uri={tmp_path}"]),
        ][number % 3]
        ended = inside(main, "dataset=kaggle", *words)
        assert ended.code == 1, (way, ended)
        assert "Defect" not in ended.stderr, (way, ended.stderr)
        said = (
            ended.stdout
            + ended.stderr
            + "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
        )
        assert not any(form in said for form in forms), (way, said)
    assert not any(form in (server.folder / "log").read_text() for form in forms)


@pytest.mark.slow
@pytest.mark.usefixtures("everywhere")
def test_a_password_is_in_no_file_tag_or_argument_of_a_run_that_ends(server, command, tmp_path):
    source = f'{{url: "{server.url}", table: admissions, order_by: [{KEY}], password_from: {VARIABLE}}}'
    words = ["dataset=kaggle", f"dataset.source={source}", "task=length_of_stay", "model=linear", "explain.rows=0"]
    ended = command("train", *words, **{VARIABLE: CANARY})
    assert ended.code == 0, ended.stderr
    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"postgresql://ann@" in content for content in contents)  # the source itself is named
    assert not any(form in content for content in contents for form in (CANARY.encode(), b"sw0rd%2Fc%40nary"))
