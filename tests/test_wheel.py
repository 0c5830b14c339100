"""The wheel: built, installed elsewhere, run elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel's content, which shadows the checkout."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", place, ROOT], check=True, capture_output=True)
    (wheel,) = place.glob("hi_ml-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", place / "site", wheel], check=True, capture_output=True)
    return place / "site"


def elsewhere(installed, folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_brings_its_own_code_and_configuration(installed, tmp_path):
    where = elsewhere(
        installed, tmp_path, "-c", "import hi_ml, hi_ml.app.config as c; print(hi_ml.__file__); print(c.conf_dir())"
    )
    code, conf = where.stdout.split()
    assert Path(code).is_relative_to(installed)
    assert Path(conf) == installed / "hi_ml" / "conf"


def test_the_main_job_runs_from_the_wheel(installed, tmp_path):
    done = elsewhere(installed, tmp_path, "-m", "hi_ml.train", "dataset.rows=600", "task=billing", "tracking=none")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("outputs/train/*/billing/verdict.json"))


def test_the_findings_run_from_the_wheel(installed, tmp_path):
    done = elsewhere(installed, tmp_path, "-m", "hi_ml.findings", "dataset.rows=600", "tracking=none")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("outputs/findings/*/report.html"))
