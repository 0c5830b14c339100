"""Is what was acknowledged still there after a kill? `listen` is killed at random while senders send, and begun anew.

python experiments/live_kills.py --kills 25 --messages 15000
"""

import argparse
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hi_ml.prediction.feed.sender import Receiver, Sent

SENDERS = 6
UP = (0.02, 0.4)  # seconds after its start, between which the service is killed
HERE = Path(__file__).parent


def message(number: int) -> bytes:
    """Write one admission of its own."""
    lines = [
        f"MSH|^~\\&|ADT|H|HI|ML|20261129080000||ADT^A01^X|K{number}|P|2.5",
        "EVN||20261129080000",
        f"PID|1||{number}^^^H^MR||||19600520|F",
        f"PV1|1|I|W{number % 9}^2^B^Mercy|U{'|' * 15}{number}{'|' * 25}20261128",
    ]
    return "\r".join([*lines, ""]).encode()


def start(folder: Path, port: int) -> subprocess.Popen[str]:
    """Start the service, and wait until it hears."""
    words = [sys.executable, "-m", "hi_ml.listen", f"mllp.port={port}", "http.port=0"]
    process = subprocess.Popen(  # noqa: S603 -- our own command
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = ""
    for line in process.stdout or ():
        said += line
        if re.search(r"visits? in house", line):
            return process
    raise RuntimeError(said)


def study(folder: Path, *, kills: int, messages: int, seed: int = 0) -> dict[str, int]:
    """Kill the service while senders wait for their answers; count what was acknowledged, lost and kept twice."""
    draw = random.Random(seed)  # noqa: S311 -- no secret
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    receiver = Receiver("127.0.0.1", port, None, None, None, patience=120)
    numbers, done = iter(range(10**9)), 0
    with ThreadPoolExecutor(1) as beside:
        process = start(folder, port)
        for _ in range(kills):
            batch = [Sent(message(next(numbers)), None) for _ in range(messages // kills)]
            sending = beside.submit(receiver.send, batch, connections=SENDERS)
            time.sleep(draw.uniform(*UP))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            process = start(folder, port)
            done += sending.result()["AA"]
        process.send_signal(signal.SIGTERM)
        process.communicate()
    with sqlite3.connect(folder / "live.sqlite") as log:
        kept = Counter(control for (control,) in log.execute("SELECT control FROM message"))
        visits = log.execute("SELECT count(*) FROM visit WHERE status = 'in'").fetchone()[0]
    log.close()
    sent = next(numbers)
    return {
        "kills": kills,
        "acknowledged": done,
        "lost": sum(f"K{number}" not in kept for number in range(sent)),
        "double": sum(count > 1 for count in kept.values()),
        "visits": visits,
    }


def main() -> None:
    """Run the study, and write what came of it."""
    words = argparse.ArgumentParser()
    words.add_argument("--kills", type=int, default=25)
    words.add_argument("--messages", type=int, default=15_000)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = study(Path(folder), kills=asked.kills, messages=asked.messages)
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
