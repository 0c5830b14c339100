"""The README's commands run as they stand, and its make targets exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_readme_is_short_enough_to_read():
    assert len(TEXT.splitlines()) <= 150


def test_every_make_target_exists():
    for target in sorted(set(re.findall(r"^make ([a-z]+)$|`make ([a-z]+)`", TEXT, flags=re.MULTILINE))):
        subprocess.run(["make", "-n", "".join(target)], cwd=ROOT, check=True, capture_output=True)


def test_every_file_it_names_exists():
    for name in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / name).exists(), name


def test_a_readers_path_is_read_in_an_afternoon():
    path = re.findall(r"\]\((src/hi_ml/[^)]+\.py)\)", TEXT)
    assert 5 <= len(path) <= 10
    assert sum(len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in path) <= 2_000


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_run(block, tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
