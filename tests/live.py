"""A service of its own process for tests, and what speaks to it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from hi_ml.data.sources.wire import Framer, frame


def adt(
    number, trigger="A01", *, visit=None, unit="W1", at="20261128", end="", prior="", seen="20261129080000", **cells
):
    """One message of admission, transfer, discharge and so on."""
    patient = cells.get("patient", f"P{visit or number}")
    lines = [
        f"MSH|^~\\&|ADT|H|HI|ML|{seen}||ADT^{trigger}^X|{number}|P|2.5",
        f"EVN||{seen}",
        f"PID|1||{patient}^^^H^MR||Canary^Zyx||19600520|F|||1 Canary Street||555-CANARY|||||||SSN-CANARY",
        *([f"MRG|{cells.get('goes', patient)}^^^H^MR||||{prior}"] if prior or "goes" in cells else []),
        f"PV1|1|{cells.get('kind', 'I')}|{unit}^2^B^Mercy|U{'|' * 15}V{visit or number}{'|' * 25}{at}|{end}",
        f"DG1|1||{cells.get('condition', 'Asthma')}^Canary text",
    ]
    return "\r".join([*lines, ""]).encode()


class Line:
    """One connection of MLLP."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.framer, self.answers = Framer(2**20), []

    def send(self, *messages):
        """Send messages at once, without waiting."""
        self.socket.sendall(b"".join(map(frame, messages)))

    def hear(self):
        """Wait for the next answer; its code and the number of the message."""
        while not self.answers:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError
            self.answers += self.framer.feed(data)
        line = next(line for line in self.answers.pop(0).content.decode().split("\r") if line.startswith("MSA"))
        return tuple(line.split("|")[1:3])

    def ask(self, message):
        self.send(message)
        return self.hear()


class Service:
    """A running `listen`."""

    def __init__(self, process, folder):
        self.process, self.folder, self.said = process, folder, []
        for line in process.stdout:
            self.said.append(line)
            if ports := re.search(r"at [\d.]+:(\d+); page at (https?://[\d.]+:\d+)/", line):
                self.mllp, self.url = int(ports[1]), ports[2]
                return
        raise AssertionError(process.stderr.read())

    def get(self, path, **headers):
        request = urllib.request.Request(f"{self.url}/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def post(self, content, **headers):
        request = urllib.request.Request(f"{self.url}/fhir", json.dumps(content).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def board(self, position=None):
        """The board, once it has come up to a position."""
        return until(
            lambda: json.loads(self.get("board.json")), lambda board: position is None or board["position"] >= position
        )

    def end(self, number=signal.SIGTERM):
        """Send a signal; the exit code and what was said on stderr."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


def until(ask, good, seconds=30):
    """Ask until the answer is good."""
    end = time.monotonic() + seconds
    while not good(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.02)
    return answer


@contextmanager
def listening(folder, *overrides, limit=()):
    """A service in a folder, on free ports, killed at the end if it still lives."""
    words = [*limit, sys.executable, "-m", "hi_ml.listen", "mllp.port=0", "http.port=0", *overrides]
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TZ": "UTC", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield Service(process, Path(folder))
    finally:
        process.kill()
        process.communicate()


def events(service, last=None, seconds=30):
    """Yield (kind, id, data) of the stream of events."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    request = urllib.request.Request(f"{service.url}/events", headers=headers)
    with urllib.request.urlopen(request, timeout=seconds) as stream:
        told = {}
        for line in stream:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                told[name] = value
            elif told.get("event"):
                yield told["event"], int(told.get("id", -1)), told["data"]
                told = {}
