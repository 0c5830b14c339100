"""Draws the picture of the board in README: a simulated hospital, a model, the service, a browser.

``python experiments/board_picture.py``: writes experiments/board.png; about two minutes.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("board.png")
ROWS, SIZE = 9000, {"width": 1000, "height": 880}


def run(folder: Path, *words: str) -> None:
    """Run a command of the package to its end."""
    command = [sys.executable, "-m", *words]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 -- our own commands


def start(folder: Path) -> tuple["subprocess.Popen[str]", str, str]:
    """Start the service; where it hears, and where its page is."""
    words = [sys.executable, "-m", "hi_ml.listen", "dataset=kaggle", "mllp.port=0", "http.port=0", "zone=UTC"]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- our own command
    for line in process.stdout or ():
        if said := re.search(r"at (\S+); page at (\S+)", line):
            return process, said[1], said[2]
    raise RuntimeError("the service did not start")


def until(url: str, said: str) -> None:
    """Ask until the service says something."""
    while said not in urllib.request.urlopen(url).read().decode():  # noqa: S310 -- our own service
        time.sleep(1)


def main() -> None:
    """Simulate, train, listen, send, look."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(folder, "hi_ml.simulate", "stream=true", "scenario=hard", f"rows={ROWS}", "output=feed.hl7")
        words = ["dataset=kaggle", "dataset.source=feed.csv", "dataset.columns.admitted_on.known=after"]
        run(folder, "hi_ml.train", *words, "dataset.columns.blood_type.known=after", "task=length_of_stay")
        process, address, page = start(folder)
        replay = [
            sys.executable,
            "-m",
            "hi_ml.replay",
            "input=feed.hl7",
            f"to={address}",
            "speed=live",
            "connections=8",
        ]
        sender = subprocess.Popen(replay, cwd=folder, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- our own command
        past = int(re.sub(r"\D", "", sender.stdout.readline().split()[0]))  # type: ignore[union-attr]
        until(f"{page}metrics", f"hi_ml_folded_position {past}\n")
        for each in (sender, process):
            each.terminate()
            each.wait()
        process, _, page = start(folder)
        with sync_playwright() as browsers:
            looking = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            window = looking.new_page(viewport=SIZE)
            until(f"{page}board.json", '"horizons":[{')
            window.goto(page)
            window.wait_for_selector("#days tbody tr")
            window.screenshot(path=PICTURE)
            looking.close()
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
