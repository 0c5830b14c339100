"""A file or a folder is written whole, or not at all, and nothing of anyone else is touched."""

import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pytest

from hi_ml import compare, findings, predict, simulate, track, train, tune
from hi_ml.app.errors import OutputFailed
from hi_ml.app.files import atomic, atomic_folder, own, unfinished_folder, write_json


def test_a_folder_in_which_a_run_was_killed_is_taken_again_and_one_at_work_is_not(tmp_path):
    with pytest.raises(OutputFailed, match=r"holds models\.\w+\.unfinished"), unfinished_folder(tmp_path, "models"):
        own(tmp_path)
    left = tmp_path / "models.x.unfinished"
    left.mkdir()
    (left / ".hi_ml").touch()
    own(tmp_path)
    assert not left.exists()


def test_a_file_takes_its_name_when_all_is_written(tmp_path):
    with atomic(tmp_path / "a.csv") as part:
        part.write_text("new")
        assert part.parent == tmp_path
        assert not (tmp_path / "a.csv").exists()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "new")]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt, SystemExit])
def test_a_file_that_could_not_be_finished_vanishes_and_the_old_one_stands(tmp_path, failure):
    def write_half():
        with atomic(tmp_path / "a.csv") as part:
            part.write_text("half")
            raise failure

    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(failure):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "old")]


def test_json_holds_plain_values_and_no_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"number": np.float64(0.1), "count": np.int64(3), "yes": np.bool_(True), "word": "größer"})
    assert json.loads(path.read_text()) == {"number": 0.1, "count": 3, "yes": True, "word": "größer"}
    assert "größer" in path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"number": float("nan")})


def contents(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_text() for path in folder.rglob("*")}


def test_a_folder_takes_its_name_when_all_is_written(tmp_path):
    path = tmp_path / "runs" / "billing"
    with atomic_folder(path) as work:
        (work / "a").write_text("done")
        assert not path.exists()
    assert contents(tmp_path / "runs") == {"billing": False, "billing/a": "done"}


def test_what_an_earlier_step_of_the_run_wrote_goes_along(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rejected.csv").write_text("row")
    with atomic_folder(tmp_path / "run", ours=["rejected.csv"]) as work:
        (work / "run.json").write_text("{}")
    assert contents(tmp_path / "run") == {"rejected.csv": "row", "run.json": "{}"}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_folder_that_could_not_be_finished_vanishes_and_an_earlier_step_stands(tmp_path, failure):
    def write_half():
        with atomic_folder(tmp_path / "run", ours=["rejected.csv"]) as work:
            (work / "a").write_text("half")
            raise failure

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rejected.csv").write_text("row")
    with pytest.raises(failure):
        write_half()
    assert contents(tmp_path) == {"run": False, "run/rejected.csv": "row"}


def test_what_comes_while_a_folder_is_written_stands(tmp_path):
    def write_beside_another():
        with atomic_folder(tmp_path / "run") as work:
            (work / "a").write_text("ours")
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "theirs").write_text("theirs")

    with pytest.raises(OutputFailed, match="holds theirs"):
        write_beside_another()
    assert contents(tmp_path) == {"run": False, "run/theirs": "theirs"}


def test_what_cannot_be_moved_back_is_not_removed(tmp_path, monkeypatch):
    path = tmp_path / "run"
    path.mkdir()
    (path / "study.journal").write_text("trials")
    replaced, replace = [], Path.replace

    def fail_later(source, target):
        replaced.append(source)
        if len(replaced) > 1:
            raise OSError("disk gone")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", fail_later)
    with pytest.raises(OSError, match="disk gone"), atomic_folder(path, ours=["study.journal"]):
        pass
    (kept,) = tmp_path.glob("run.*/study.journal")
    assert kept.read_text() == "trials"


def test_only_what_killed_runs_left_long_ago_is_removed(tmp_path):
    marked = {"old.x.unfinished": 0, "run/billing.x.unfinished": 0, "busy.x.unfinished": 0, "young.x.unfinished": None}
    for name, time in marked.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / ".hi_ml").touch()
        if time is not None:
            os.utime(tmp_path / name / ".hi_ml", (time, time))
    (tmp_path / "mine.unfinished").mkdir()  # without our mark
    (tmp_path / "mine.unfinished" / "notes.txt").write_text("mine")
    os.utime(tmp_path / "mine.unfinished", (0, 0))
    (tmp_path / "new").mkdir()
    busy = os.open(tmp_path / "busy.x.unfinished", os.O_RDONLY)
    fcntl.flock(busy, fcntl.LOCK_EX)
    os.close(own(tmp_path / "new"))
    os.close(busy)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "busy.x.unfinished", "mine.unfinished", "new", "run", "young.x.unfinished"
    ]  # fmt: skip
    assert contents(tmp_path / "run") == {}
    assert contents(tmp_path / "mine.unfinished") == {"notes.txt": "mine"}


def test_two_processes_do_not_share_a_folder(tmp_path):
    handle = own(tmp_path)
    with pytest.raises(OutputFailed, match="another run at work"):
        own(tmp_path)
    os.close(handle)
    os.close(own(tmp_path))


@pytest.mark.parametrize("command", [train, tune, findings, compare, predict, simulate, track])
@pytest.mark.parametrize("where", [".", "mine", "mine/link"])
def test_no_command_takes_a_folder_that_holds_anything(tmp_path, monkeypatch, inside, command, where):
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "mine/a_notes.txt", "mine/charts/mine.png", "mine/run.json", "mine/there/rejected.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("the user's own")
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "mine" / "there")
    before = contents(tmp_path)
    ended = inside(command.main, f"hydra.run.dir={where}")
    assert ended.code == 1
    assert ended.stderr.startswith("OutputFailed: ")
    assert "Nothing there was touched" in ended.stderr
    assert contents(tmp_path) == before


def test_an_empty_present_folder_is_no_run_folder(tmp_path, monkeypatch, inside):
    monkeypatch.chdir(tmp_path)
    ended = inside(findings.main, "hydra.run.dir=.")
    assert (ended.code, "hydra.run.dir=" in ended.stderr) == (1, True)
    assert tmp_path.is_dir()


def test_a_run_goes_where_a_link_points_to(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with atomic_folder(tmp_path / "link") as work:
        (work / "run.json").write_text("{}", encoding="utf-8")
    assert (tmp_path / "there" / "run.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]
