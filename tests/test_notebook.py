"""The notebook of the findings: made again, and the committed one compared with what makes it."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
MAKE = ROOT / "experiments" / "make_notebook.py"
COMMITTED = ROOT / "experiments" / "healthinsights.ipynb"
LARGEST = 900_000  # bytes
PLACES = [f"/{folder}/" for folder in ("home", "root", "tmp", "work")] + [str(ROOT), str(Path.home())]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "made.ipynb"
    subprocess.run([sys.executable, MAKE, "--output", path], cwd=path.parent, check=True, capture_output=True)
    return path


def outputs(path):
    return [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]


@pytest.fixture(params=["made", "committed"])
def path(request, made):
    return made if request.param == "made" else COMMITTED


def test_the_committed_notebook_has_the_cells_of_its_source(made):
    ours, theirs = (
        [(cell.cell_type, cell.source) for cell in nbformat.read(path, 4).cells] for path in (made, COMMITTED)
    )
    assert ours == theirs


def test_it_ran_without_error_and_shows_the_charts(path):
    nbformat.validate(nbformat.read(path, 4))
    found = outputs(path)
    assert not [output for output in found if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in found) >= 6


def test_it_says_every_verdict(path):
    printed = "".join(output.text for output in outputs(path) if output.output_type == "stream")
    assert printed.count("Supported") == 5
    assert "Emergency admissions stay longer" in printed


def test_it_is_small_and_says_nothing_of_the_machine(path):
    text = path.read_text("utf-8")
    assert len(text) < LARGEST
    assert not [place for place in PLACES if place in text]
    assert set(json.loads(text)["metadata"]) == {"kernelspec"}
