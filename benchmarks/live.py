"""What does a message cost `listen`, how long does its sender wait, and does memory grow?

python benchmarks/live.py --messages 200000
"""

import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hi_ml.data.sources.wire import Framer, frame
from hi_ml.interface import declare
from hi_ml.prediction.feed.outlook import Forecaster
from hi_ml.prediction.feed.visits import Visit

CONNECTIONS = 8
WINDOW = 32  # messages that a connection sends before it waits for their answers
STAY = 4  # messages of one visit: admission, transfer, correction, discharge
PER_DAY = 137  # visits: a year of them are 200,000 messages
APART = 16 * CONNECTIONS  # visits between two messages of one: each connection has all of its visits
PEOPLE, UNITS = 1000, 10  # of the board
BEGAN = datetime.now() - timedelta(days=390)  # noqa: DTZ005 -- the hospital's clock
TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[1]


def message(number: int) -> bytes:
    """Write one of the messages of a year: the four of a visit lie apart, so that about 400 people are in at a time."""
    step = number % STAY
    visit = number // STAY - APART * step
    came = BEGAN + timedelta(days=visit / PER_DAY)
    seen, trigger = came + timedelta(days=APART * step / PER_DAY), ("A01", "A02", "A08", "A03")[step]
    stamp = f"{seen:%Y%m%d%H%M%S}"
    lines = [
        f"MSH|^~\\&|ADT|H|HI|ML|{stamp}||ADT^{trigger}^X|{number}|P|2.5",
        f"EVN||{stamp}",
        f"PID|1||{visit}^^^H^MR||Doe^Jane^^^^^L||19600520|F|||1 Main Street^^Town||555 0100",
        f"PV1|1|I|W{(visit + (step > 0)) % 9}^2^B^Mercy|U{'|' * 15}{visit}{'|' * 25}{came:%Y%m%d%H%M%S}",
        "DG1|1||Asthma^Asthma",
        "IN1|1|PLAN|COMPANY|Aetna",
    ]
    return frame("\r".join([*lines, ""]).encode())


def speak(port: int, numbers: range, window: int) -> list[float]:
    """Send messages on one connection, so many before each wait; return the seconds until each window was answered."""
    seconds = []
    with socket.create_connection(("127.0.0.1", port)) as line:
        framer = Framer(2**20)
        for start in range(0, len(numbers), window):
            some = numbers[start : start + window]
            began, waiting = time.perf_counter(), len(some)
            line.sendall(b"".join(map(message, some)))
            while waiting:
                waiting -= len(framer.feed(line.recv(65536)))
            seconds.append(time.perf_counter() - began)
    return seconds


def use(process: "subprocess.Popen[str]") -> tuple[float, float]:
    """Return the CPU seconds and the megabytes that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    return (int(fields[11]) + int(fields[12])) / TICKS, int(resident[1]) / 1024 if resident else 0.0


def board_seconds(folder: Path) -> tuple[float, float]:
    """Return the CPU seconds of a board of 1,000 people in 10 units, the first of a day, and the next."""
    at = datetime(2026, 6, 1, 12, tzinfo=UTC)
    draw = np.random.default_rng(0)
    came = np.sort(draw.uniform(0, 365, PEOPLE * 25))
    stayed = draw.gamma(2, 7.3, len(came))
    visits = [
        Visit(
            f"{i:016x}", status="in" if there else "out", patient_class="I", unit=f"W{i % UNITS}", hospital="Mercy",
            admitted=at - timedelta(365 - day), discharged=None if there else at - timedelta(365 - day - stay),
        )
        for i, (day, stay, there) in enumerate(zip(came, stayed, came + stayed > 365, strict=True))
    ]  # fmt: skip
    here = [visit for visit in visits if visit.status == "in"]
    outlook = Forecaster(declare("kaggle"), str(folder), range(1, 15), 0.9, required=False)
    seconds = []
    for _ in range(2):
        began = time.process_time()
        outlook.board(here, {}, visits, at)
        seconds.append(time.process_time() - began)
    print(f"{len(here):,} people in {UNITS} units")
    return seconds[0], seconds[1]


def main() -> None:
    """Start the service, speak to it, and print what that took."""
    words = argparse.ArgumentParser()
    words.add_argument("--messages", type=int, default=200_000)
    count = words.parse_args().messages
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hi_ml.listen", "mllp.port=0", "http.port=0"]
        process: Any = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        port = int(re.search(r"at 127.0.0.1:(\d+)", process.stdout.readline())[1])  # type: ignore[index]
        process.stdout.readline()
        speak(port, range(4_000), WINDOW)
        time.sleep(1)
        first, size = use(process)
        alone = speak(port, range(4_000, 5_000), 1)
        began, (before, _) = time.perf_counter(), use(process)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = [
                range(i, 5_000 + count, CONNECTIONS * STAY) for i in range(5_000, 5_000 + CONNECTIONS * STAY, STAY)
            ]
            lists = [[n + step for n in part for step in range(STAY)] for part in parts]
            list(pool.map(lambda numbers: speak(port, numbers, WINDOW), lists))
        wall = time.perf_counter() - began
        time.sleep(2)
        after, grown = use(process)
        eight = []
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            starts = [count + 10_000 * (i + 1) for i in range(CONNECTIONS)]
            for times in pool.map(lambda start: speak(port, range(start, start + 250), 1), starts):
                eight += times
        process.send_signal(signal.SIGTERM)
        process.wait()
        stored = sum(path.stat().st_size for path in Path(folder).glob("live.sqlite*"))
    learned, drawn = board_seconds(Path())
    sent = sum(map(len, lists))
    rows = {
        "CPU a message, receipt and visit (ms)": 1000 * (after - before) / sent,
        "messages a CPU second": sent / (after - before),
        f"messages a second, {CONNECTIONS} connections": sent / wall,
        "answer, 1 connection, median (ms)": 1000 * statistics.median(alone),
        "answer, 1 connection, 99 % (ms)": 1000 * statistics.quantiles(alone, n=100)[98],
        f"answer, {CONNECTIONS} connections, median (ms)": 1000 * statistics.median(eight),
        f"answer, {CONNECTIONS} connections, 99 % (ms)": 1000 * statistics.quantiles(eight, n=100)[98],
        "memory at first (MB)": size,
        f"memory after {sent:,} messages more (MB)": grown,
        "disk a message (bytes)": stored / (sent + 7_000),
        "CPU until then (s)": first,
        "board, and what is learned once a day, CPU (s)": learned,
        "board, CPU (s)": drawn,
    }
    for name, value in rows.items():
        print(f"{name:48} {value:12,.3f}")


if __name__ == "__main__":
    main()
