"""A table that is larger than it looks: it ends in a sentence, in seconds, and in little memory."""

import gzip
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hi_ml.app import memory
from hi_ml.app.errors import ModelUnknown, SourceUnreadable
from hi_ml.data.sources import table
from hi_ml.prediction.load import load_model
from hi_ml.tracking.store import client_of


@pytest.fixture(scope="module")
def bomb(tmp_path_factory, admissions_csv):
    """A few kilobytes of gz after gz of a header and rows of separators, which hold a gigabyte."""
    with admissions_csv.open("rb") as file:
        header = file.readline()
    row = b"," * header.count(b",") + b"\n"
    member = gzip.compress(row * ((8 << 20) // len(row)), 9)
    path = tmp_path_factory.mktemp("bomb") / "bomb.csv.gz"
    path.write_bytes(gzip.compress(header) + member * 128)
    return path


def test_what_unpacks_to_more_than_a_table_is_refused_where_that_shows(bomb, reading):
    with pytest.raises(SourceUnreadable, match="unpacks to more than 200 times its size"):
        reading(bomb)


@pytest.mark.parametrize("packed", ["gzip", "bz2", "zstd"])
def test_no_compressed_file_may_hold_more_than_it_is_allowed(admissions_csv, reading, tmp_path, packed):
    path, size = tmp_path / "mine.csv.packed", admissions_csv.stat().st_size
    with pa.CompressedOutputStream(str(path), packed) as file:
        file.write(admissions_csv.read_bytes())
    assert len(reading(path, max_bytes=size).row) == 300
    with pytest.raises(SourceUnreadable, match=rf"more than {size - 1:,} bytes.*dataset.max_bytes={4 * (size - 1)}"):
        reading(path, max_bytes=size - 1)


def test_a_parquet_file_may_not_unpack_to_more_either(reading, tmp_path):
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"Age": ["x" * 1000] * 5000}), path, use_dictionary=False)
    with pytest.raises(SourceUnreadable, match=r"dataset\.max_bytes="):
        reading(path, max_bytes=1_000_000)


def test_a_table_that_memory_cannot_hold_is_refused_before_it_is_read(admissions_csv, reading, monkeypatch):
    monkeypatch.setattr(table, "available", lambda: 100_000)
    with pytest.raises(SourceUnreadable, match=r"would take about \d.* GB of memory or more, and 0.0 GB are free"):
        reading(admissions_csv)


def test_memory_is_what_the_machine_the_container_and_the_shell_leave():
    ask = "from hi_ml.app.memory import available; print(available())"
    words = ["bash", "-c", f'ulimit -v 3000000; exec "{sys.executable}" -c "{ask}"']
    few = subprocess.run(words, capture_output=True, text=True, check=True)
    assert 0 < int(few.stdout) < 3_000_000 * 1024
    assert memory.available() > int(few.stdout)


def test_a_header_may_be_longer_than_what_is_read_at_first(reading, tmp_path, cells):
    long, wide = tmp_path / "long.csv", tmp_path / "wide.csv"
    cells.assign(**{"n" * 3_000_000: "1"}).to_csv(long, index=False)
    assert len(reading(long).row) == 300
    names = [f"laboratory value {number}" for number in range(3000)]
    more = pd.DataFrame(np.ones((300, len(names)), dtype=int), columns=names)
    pd.concat([cells, more], axis=1).to_csv(wide, index=False)
    assert len(reading(wide).extra) == len(names)


def test_a_first_line_without_end_is_no_header(reading, tmp_path):
    (tmp_path / "mine.csv").write_bytes(b'Name,"Age' + b"x" * (17 << 20))
    with pytest.raises(SourceUnreadable, match="a first line of more than 16 MiB"):
        reading(tmp_path / "mine.csv")


def test_text_that_is_none_is_said_to_be_none(reading, tmp_path, admissions_csv):
    table = pa.csv.read_csv(admissions_csv)
    bytes_alone = pa.array([b"\xff\xfe"] * len(table)).buffers()
    text = pa.Array.from_buffers(pa.string(), len(table), bytes_alone)
    place = table.column_names.index("Gender")
    pq.write_table(table.set_column(place, "Gender", text), tmp_path / "mine.parquet")
    with pytest.raises(SourceUnreadable, match=r"Column 'Gender' of .* holds bytes that are not UTF-8"):
        reading(tmp_path / "mine.parquet")


@pytest.fixture
def dripping():
    """The address of a server that answers anything, one byte after the other, without end."""
    server = socket.create_server(("127.0.0.1", 0))

    def drip(connection):
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.05)

    def serve():
        with suppress(OSError):
            while True:
                Thread(target=drip, args=[server.accept()[0]], daemon=True).start()

    Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_a_server_that_drips_is_given_up(dripping, monkeypatch):
    begun, alarm = time.monotonic(), signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match=r"longer than tracking_seconds=0\.5"), client_of(dripping, 0.5) as client:
        client.search_experiments()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dripping)
    with pytest.raises(ModelUnknown, match="does not give models:/a@b: it took longer"):
        load_model("models:/a@b", seconds=0.5)
    assert time.monotonic() - begun < 10
    assert signal.getsignal(signal.SIGALRM) == alarm


@pytest.mark.slow
def test_reading_ends_soon_after_an_interrupt(tmp_path, admissions_csv):
    path = tmp_path / "mine.csv"
    header, _, rows = admissions_csv.read_text().partition("\n")
    path.write_text(f"{header}\n{rows * 4000}")
    words = ["dataset=kaggle", f"dataset.source={path}", "tracking=none"]
    with subprocess.Popen(
        [sys.executable, "-m", "hi_ml.train", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not _reads(process.pid, path):
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert time.monotonic() - begun < 2.0  # a second, and another on a busy machine
    assert "Interrupted. Nothing half-written was kept." in said


def _reads(pid, path):
    return any(name.resolve() == path for name in Path(f"/proc/{pid}/fd").iterdir())
