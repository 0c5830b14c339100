"""What a stranger's run folder may do to the store: nothing."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hi_ml import track
from hi_ml.app.errors import RunFolderInvalid
from hi_ml.scorer import serving
from hi_ml.scorer.versions import KNOWN
from hi_ml.tracking.door import refuse_strange
from hi_ml.tracking.folder import RunFolder


@pytest.fixture
def stranger(finished, tmp_path):
    (tmp_path / "secret.txt").write_text("CANARY")
    shutil.copytree(finished, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def linked(run):
    (run.path / "notes.txt").symlink_to(run.path.parent / "secret.txt")


def folder_linked(run):
    (run.path / "charts" / "more").symlink_to(run.path.parent)


def link_to_nothing(run):
    (run.model / "artifacts" / "scorer" / "gone.json").symlink_to("/nowhere")


def renamed(key, name):
    def change(run):
        path = run.path / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: name}))

    return change


def other_code(run):
    path = run.model / "serving.py"
    path.write_text(path.read_text() + "\nopen('code_ran', 'w')\n")


def more_code(run):
    (run.model / "code").mkdir()
    (run.model / "code" / "evil.py").write_text("")


def pickled(run):
    (run.model / "python_model.pkl").write_bytes(b"")


def no_code(run):
    (run.model / "serving.py").unlink()


def asks_for(line):
    def change(run):
        path = run.model / "requirements.txt"
        path.write_text(f"{path.read_text()}\n{line}\n")

    return change


def about(change):
    def changed(run):
        path = run.model / "MLmodel"
        content = yaml.safe_load(path.read_text())
        change(content["flavors"])
        path.write_text(yaml.safe_dump(content))

    return changed


HOSTILE = {
    "a link": (linked, "notes.txt is a link"),
    "a linked folder": (folder_linked, "charts/more is a link"),
    "a link to nothing": (link_to_nothing, "gone.json is a link"),
    "a dataset that climbs": (renamed("dataset", "../../far"), "its dataset is '../../far'"),
    "a dataset that climbs encoded": (renamed("dataset", "%2e%2e%2ffar"), "its dataset is"),
    "a task with a slash": (renamed("task", "a/b"), "its task is"),
    "a dataset of another kind": (renamed("dataset", ["x"]), "its dataset is"),
    "other code": (other_code, "no version of hi_ml has written"),
    "no code": (no_code, "no version of hi_ml has written"),
    "more code": (more_code, "model/code/evil.py is no file of a model"),
    "a pickle": (pickled, "model/python_model.pkl is no file"),
    "another package": (asks_for("evil==1.0"), "asks for 'evil==1.0'"),
    "another list of packages": (asks_for("--requirement=more.txt"), "asks for '--requirement=more.txt'"),
    "another loader": (about(lambda f: f["python_function"].update(loader_module="os")), "names other code"),
    "a path of code": (about(lambda f: f["python_function"].update(code="code")), "names other code"),
    "another flavor": (about(lambda f: f.update(sklearn={})), "names other code"),
    "another artifact": (
        about(lambda f: f["python_function"]["artifacts"].update(x={"path": "../x", "uri": ""})), "names other code",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_strangers_folder_is_refused_before_anything_is_sent(stranger, tmp_path, monkeypatch, inside, kind):
    change, words = HOSTILE[kind]
    change(stranger)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ended = inside(track.main, f"run={stranger.path}")
    assert (ended.code, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("RunFolderInvalid: ")
    assert words in ended.stderr
    assert not [path for path in (tmp_path / "here").rglob("*") if path.is_file()]


def test_a_run_of_ours_and_code_that_is_trusted_are_let_in(stranger):
    refuse_strange(stranger)
    other_code(stranger)
    digest = hashlib.sha256((stranger.model / "serving.py").read_bytes()).hexdigest()
    with pytest.raises(RunFolderInvalid, match=f"trust=.sha256:{digest}"):
        refuse_strange(stranger)
    refuse_strange(stranger, [f"sha256:{digest}"])


def test_every_scorer_that_was_ever_committed_is_known():
    """To list them: ``git show <commit>:<path> | sha256sum`` for each, and for the last one once it is committed."""
    root, digests = Path(__file__).parents[1], set()
    for path in ("src/hi_ml/serving.py", "src/hi_ml/scorer/serving.py"):
        listed = subprocess.run(
            ["git", "log", "--format=%H", "--diff-filter=AM", "--", path], cwd=root, capture_output=True, check=False
        )
        for commit in listed.stdout.decode().split()[1 if path.endswith("scorer/serving.py") else 0 :]:
            shown = subprocess.run(["git", "show", f"{commit}:{path}"], cwd=root, capture_output=True, check=True)
            digests.add(hashlib.sha256(shown.stdout).hexdigest())
    now = hashlib.sha256(Path(serving.__file__).read_bytes()).hexdigest()
    assert digests - KNOWN - {now} == set()
