"""What leaves the machine, and who may read what stays."""

import json
import os

import pandas as pd
import pytest

from hi_ml import findings
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.leaving import leaving

FEW, MANY = pd.DataFrame({"level": ["a", "b"], "n": [4, 900]}), pd.DataFrame({"level": ["a", "b"], "n": [5, 900]})


@pytest.fixture
def folder(tmp_path):
    """A run folder of findings, as far as it has to be one."""
    folder = RunFolder(tmp_path / "run")
    folder.charts.mkdir(parents=True)
    folder.write(config={"smallest_cell": 5}, overrides=["seed=1"], run={"n": 900})
    return folder


def names(folder, **how):
    return {path.relative_to(folder.path).as_posix() for path in leaving(folder, **how)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("worth.csv", FEW),  # an assessment that nobody told this module of
        ("worth.csv", FEW.rename(columns={"n": "n_positive"})),
        ("worth.csv", FEW.rename(columns={"n": "patients"})),
        ("worth.csv", pd.DataFrame({"row": [7], "value": [1.0]})),
        ("worth.json", {"levels": [{"level": "a", "groups": 3}]}),
        ("worth.json", {"worst": {"row": 1700}}),
        ("charts/worth.csv", FEW),
        ("rows.parquet", MANY),
        ("worth.xlsx", "who knows"),
    ],
)
def test_what_tells_of_rows_or_of_a_few_stays_at_home_whoever_wrote_it(folder, name, content):
    before = names(folder)
    path = folder.path / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path) if path.suffix == ".parquet" else content.to_csv(path, index=False)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.with_suffix(".png").write_bytes(b"")
    assert names(folder) == before
    assert names(folder, share_rows=True) == before | {
        name,
        path.with_suffix(".png").relative_to(folder.path).as_posix(),
    }


def test_a_picture_leaves_with_its_table_and_a_page_with_all_its_pictures(folder):
    folder.write(report="<html>")
    for name, table in (("good", MANY), ("bad", FEW)):
        table.to_csv(folder.charts / f"{name}.csv", index=False)
        (folder.charts / f"{name}.png").write_bytes(b"")
    assert names(folder) == {"config.yaml", "overrides.txt", "run.json", "charts/good.csv", "charts/good.png"}
    folder.write(config={"smallest_cell": 4})
    assert {"report.html", "charts/bad.png"} < names(folder)


@pytest.mark.parametrize("files", ["private", "umask"])
def test_what_a_command_writes_is_its_users_alone_unless_the_machine_decides(inside, tmp_path, files):
    before = os.umask(0o022)
    try:
        ended = inside(findings.main, "dataset.rows=300", "finding=emergency_stay", "tracking=none", f"files={files}")
    finally:
        os.umask(before)
    assert ended.code == 0, ended.stderr
    (folder,) = tmp_path.glob("outputs/findings/*")
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")] if path.is_dir()}
    assert (modes, folders) == (({0o600}, {0o700}) if files == "private" else ({0o644}, {0o755}))
