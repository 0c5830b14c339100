import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from hi_ml.app.errors import RunFolderInvalid
from hi_ml.reports.drawing import save
from hi_ml.tracking.folder import RunFolder, keep_rejected

SCORES = pd.DataFrame({"score": ["mae"], "part": ["test"], "value": [0.1 + 0.2]})
CONTENTS = {
    "config": {"seed": 0, "model": {"name": "größer"}},
    "overrides": ["seed=0", "task=[a,b]"],
    "run": {"task": "billing"},
    "data": {"sha256": "ab"},
    "timings": {"fit": 1.235},
    "verdict": {"verdict": "signal"},
    "scores": SCORES,
    "leakage": {"gap": 0.0},
    "predictions": pd.DataFrame({"row": [1, 2]}),
    "explanation": pd.DataFrame({"row": [2]}),
    "subgroups": pd.DataFrame({"role": ["sex"]}),
    "probes": [{"name": "columns"}],
}
FILES = {
    "config.yaml",
    "overrides.txt",
    "verdict.json",
    "leakage.json",
    "scores.csv",
    "run.json",
    "data.json",
    "timings.json",
    "predictions.parquet",
    "explanation/shap_values.parquet",
}
CHECKS = {"subgroups.csv", "probes.json"}  # which a run may lack


@pytest.fixture
def folder(tmp_path):
    """A finished run."""
    finished = RunFolder(tmp_path)
    finished.write(**CONTENTS)
    return finished


def test_what_is_written_is_read_back(folder):
    found = folder.read()
    assert found.keys() == CONTENTS.keys() - {"predictions", "explanation"}  # tables of rows are asked for by name
    for name, content in CONTENTS.items():
        if isinstance(content, pd.DataFrame):
            pd.testing.assert_frame_equal(folder.load(name), content, check_exact=True)
        else:
            assert found[name] == content
    assert folder.tracked() == {}
    assert folder.verdict("none") == "signal"


def test_no_cell_of_a_table_runs_in_a_spreadsheet_and_all_read_back(folder):
    levels = ['=HYPERLINK("//x")', "+1+1", "-2+3", "@SUM(1)", "\t=1", "'quoted", "''=1", "-2", "plain", None]
    table = pd.DataFrame({"level": levels, "n": range(-5, 5), "kind": pd.Categorical(levels)})
    table["flag"] = [True, None] * 5
    folder.write(worth=table)
    figure = Figure()
    _, data = save(figure, table, folder.charts / "worth")
    for path in (folder.path / "worth.csv", data):
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert (
            not cells.drop(columns=["n", "flag"])
            .map(lambda cell: cell[:1] in set("=+-@\t") and cell != "-2")
            .any(axis=None)
        )
        assert [str(cell) for cell in folder.content(path)["level"].fillna("None")] == [str(one) for one in levels]
        assert folder.content(path)["n"].tolist() == list(range(-5, 5))


def test_what_no_one_named_has_the_name_that_it_is_given(folder):
    folder.write(worth={"days": 1.5}, nothing=None, decisions=pd.DataFrame({"threshold": [0.1]}))
    assert json.loads((folder.path / "worth.json").read_text()) == {"days": 1.5}
    assert {"worth", "decisions"} <= folder.read().keys()
    assert not list(folder.path.glob("nothing*"))


def test_the_note_of_where_a_run_is_tracked_is_read_but_is_no_file_of_the_run(folder):
    before = folder.files()
    folder.write(tracked={"uri": "somewhere"})
    assert folder.tracked() == {"uri": "somewhere"}
    assert folder.files() == before


def test_files_below_folders_are_listed(folder):
    for below in (folder.charts, folder.model):
        below.mkdir()
    (folder.charts / "scores.png").write_bytes(b"")
    (folder.model / "MLmodel").write_text("")
    listed = {str(path.relative_to(folder.path)) for path in folder.files()}
    assert listed == FILES | CHECKS | {"charts/scores.png", "model/MLmodel"}


@pytest.mark.parametrize("name", sorted(name for name in FILES if not name.endswith(".parquet")))
def test_a_folder_that_lacks_a_file_is_no_finished_run(folder, name):
    (folder.path / name).unlink()
    with pytest.raises(RunFolderInvalid, match=f"has no {name}"):
        folder.read()


@pytest.mark.parametrize(
    ("name", "content"), [("verdict.json", "{"), ("config.yaml", "a: [1"), ("scores.csv", ""), ("run.json", "")]
)
def test_a_half_written_file_is_no_finished_run(folder, name, content):
    (folder.path / name).write_text(content)
    with pytest.raises(RunFolderInvalid, match=f"has no readable {name}"):
        folder.read()


def test_rejected_cells_are_kept_beside_the_runs(tmp_path):
    cells = pd.DataFrame({"row": [3], "column": ["Age"], "value": ["x,y"], "rule": ["number"]})
    assert keep_rejected(tmp_path, cells) == tmp_path / "rejected.csv"
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "rejected.csv"), cells)


def test_what_a_killed_run_left_inside_of_another_does_not_belong_to_it(tmp_path):
    for name in ("search.json", "length_of_stay.abc.unfinished/scores.csv", "length_of_stay/run.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in RunFolder(tmp_path).files()] == ["search.json"]
