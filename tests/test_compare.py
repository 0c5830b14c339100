"""The command: which runs it takes, what it refuses, what it leaves."""

import json
import re
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from hi_ml.app.errors import ConfigurationInvalid, NotComparable, RunFolderInvalid
from hi_ml.compare import main
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.send import send
from hi_ml.tracking.store import store_uri

pytestmark = pytest.mark.slow  # whole runs stand behind every test
EXPERIMENT = "simulated/length_of_stay"
QUICK = ["dataset.rows=400", "explain.rows=0", "tracking=none", "task=length_of_stay"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, called):
    """Run folders that were never tracked: two models on one split, and one that says it was on another."""
    outputs = tmp_path_factory.mktemp("outputs")
    for name in ("linear", "baseline"):
        called("train", outputs / name, *QUICK, f"model={name}")
    folders = {name: outputs / name / "length_of_stay" for name in ("linear", "baseline", "elsewhere")}
    shutil.copytree(folders["linear"], folders["elsewhere"])
    tell(folders["elsewhere"], split_sha256="e" * 64)
    return folders


def tell(folder, **changes):
    """Let a run folder say something else of its run."""
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | changes))


@pytest.fixture(scope="module")
def stored(made, migrated_store, tmp_path_factory):
    """A working folder with a store of these runs, in the order elsewhere, linear, baseline, linear again."""
    place = tmp_path_factory.mktemp("work")
    shutil.copy(migrated_store, place / "mlflow.db")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        for number, name in enumerate(["elsewhere", "linear", "baseline", "linear"]):
            folder = place / "sent" / str(number)
            shutil.copytree(made[name], folder, ignore=shutil.ignore_patterns("charts", "explanation"))
            tell(folder, started=1e9 + number, finished=1e9 + number)
            send(RunFolder(folder))
    return place


@pytest.fixture
def here(stored, tmp_path, monkeypatch):
    """The working folder, to be changed: the store is a copy, its artifacts are not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(stored / "mlflow.db", tmp_path / "mlflow.db")
    shutil.copytree(stored / ".hi_ml", tmp_path / ".hi_ml")
    (tmp_path / "sent").symlink_to(stored / "sent")
    return tmp_path


@pytest.fixture
def compared(called, here):
    """Run the command and read what it left."""

    def compare(*overrides):
        folder = here / "outputs" / "compare" / str(len(list(here.glob("outputs/compare/*"))))
        called("compare", folder, *overrides)
        tables = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
        return SimpleNamespace(folder=folder, about=json.loads((folder / "run.json").read_text()), **tables)

    return compare


def primary(found):
    return found.compare[found.compare["score"] == "mae"]


# Which runs


def test_the_newest_run_and_all_on_its_data_and_split_are_compared(capsys, compared):
    found = compared()
    said = capsys.readouterr().out
    names = set(found.runs["run"])
    assert len(names) == 3
    assert sorted(name.split()[0] for name in names) == ["baseline", "linear", "linear"]
    assert len(primary(found)) == 3
    assert "1 others left out: they have another data or split digest." in said
    assert "made identical predictions: their differences are exactly 0." in " ".join(said.split())
    assert said.splitlines()[-1].endswith("mlflow ui")


def test_a_store_whose_newest_run_stands_alone_says_how_to_make_another(compared):
    client = MlflowClient(tracking_uri=store_uri())
    (experiment,) = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    oldest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])[0]
    for run in client.search_runs([experiment.experiment_id]):
        if run.info.run_id != oldest.info.run_id:
            client.delete_run(run.info.run_id)
    with pytest.raises(NotComparable, match=r"at least two finished runs of simulated/length_of_stay.*found 1\. Train"):
        compared()


def test_the_newest_split_that_two_runs_share_is_taken_and_without_one_each_run_is_named(compared):
    client = MlflowClient(tracking_uri=store_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    first, second, *_ = client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    client.set_tag(first.info.run_id, "split_sha256", "f" * 64)
    assert set(compared().runs["run"]) == {"baseline", "linear"}
    client.set_tag(second.info.run_id, "split_sha256", "0" * 64)
    with pytest.raises(NotComparable, match="found 4, each group on other data or another split: linear; baseline; "):
        compared()


def test_trials_failed_runs_and_runs_without_predictions_are_passed_over(capsys, compared):
    client = MlflowClient(tracking_uri=store_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    newest = client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0]
    digests = {name: newest.data.tags[name] for name in ("data_sha256", "split_sha256")}
    for name in ("trial", "failed", "silent"):
        tags = {"mlflow.parentRunId": newest.info.run_id} if name == "trial" else digests
        made = client.create_run(experiment, int(2e12), tags, run_name=name).info.run_id
        client.set_terminated(made, "FAILED" if name == "failed" else "FINISHED")
    found = compared()
    assert {name.split()[0] for name in found.runs["run"]} == {"linear", "baseline"}
    assert "1 others left out: their predictions are not here" in capsys.readouterr().out


def test_runs_are_chosen_by_name_by_id_and_by_folder(made, capsys, compared):
    by_name = compared("runs=[linear,baseline]")
    ids = dict(zip(by_name.runs["run"], by_name.runs["run_id"], strict=True))
    by_id = compared(f"runs=['{ids['linear']}','{ids['baseline'][:8]}']")
    capsys.readouterr()
    folders = compared(f"runs=['{made['linear']}','{made['baseline']}']")
    assert capsys.readouterr().out.splitlines()[-1].startswith("Run folder: ")  # MLflow has nothing of these
    assert set(folders.runs["run_id"]) == {str(made["linear"]), str(made["baseline"])}
    for found in (by_id, folders):
        pd.testing.assert_frame_equal(found.compare, by_name.compare)


def test_folders_are_compared_without_any_store(here, made, compared):
    (here / "mlflow.db").unlink()
    found = compared(f"runs=['{made['linear']}','{made['baseline']}']")
    assert set(found.runs["run"]) == {"linear", "baseline"}
    assert not (here / "mlflow.db").exists()


def test_an_unknown_run_a_lone_one_and_one_of_another_task_are_refused(here, made, compared):
    with pytest.raises(NotComparable, match=r"no run 'liner' \(did you mean linear\?\)"):
        compared("runs=[liner,baseline]")
    with pytest.raises(NotComparable, match="found 1"):
        compared("runs=[linear,linear]")
    with pytest.raises(NotComparable, match=r"is of task length_of_stay, not of billing\. Set task=length_of_stay"):
        compared("task=billing", f"runs=['{made['linear']}','{made['baseline']}']")
    with pytest.raises(RunFolderInvalid, match=r"run\.json"):
        compared(f"runs=['{here}',baseline]")


def test_an_experiment_without_runs_names_those_that_have_some(compared):
    words = r"(?s)simulated/billing .* found 0.* task=billing\n.* share_rows=true\.\nThe store also has runs of sim"
    with pytest.raises(NotComparable, match=words):
        compared("task=billing")


def test_an_absent_store_is_refused_and_not_created(here, compared):
    (here / "mlflow.db").unlink()
    with pytest.raises(NotComparable, match=r"no store of runs.*python -m hi_ml\.train"):
        compared()
    assert not (here / "mlflow.db").exists()


def test_a_damaged_store_ends_in_a_sentence(here, compared):
    (here / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(NotComparable, match="does not tell its runs"):
        compared()


def test_several_tasks_are_refused(compared):
    with pytest.raises(ConfigurationInvalid, match=r"one task at a time, found task=\[length_of_stay,billing\]"):
        compared("task=[length_of_stay,billing]")


def test_the_command_ends_with_one_and_a_sentence(inside):
    ended = inside(main, "runs=[a,b]")
    assert ended.code == 1
    assert ended.stderr.startswith("NotComparable: There is no store of runs")
    assert "Traceback" not in ended.stderr


# What it leaves


def test_the_run_folder_holds_the_tables_the_chart_and_the_page(compared):
    found = compared("runs=[linear,baseline]")
    files = {str(path.relative_to(found.folder)) for path in found.folder.rglob("*") if path.is_file()}
    promised = {"compare.csv", "runs.csv", "configuration.csv", "report.html", "run.json", "config.yaml"}
    assert files == promised | {"overrides.txt", "charts/differences.csv", "charts/differences.png"}
    assert list(found.compare)[:7] == ["run_a", "run_b", "score", "difference", "low", "high", "p"]
    assert found.about["runs"] == 2
    assert {"model.name", "model.regression.alpha"} <= set(found.configuration["key"])
    assert not {"seed", "dataset.rows", "split.name"} & set(found.configuration["key"])


def test_the_differences_are_those_of_the_scores_of_the_folders(made, compared):
    found = compared("runs=[linear,baseline]")
    scores = {name: pd.read_csv(made[name] / "scores.csv").set_index("score")["value"] for name in made}
    for row in found.compare.itertuples():
        expected = scores[row.run_a][row.score] - scores[row.run_b][row.score]
        assert row.difference == pytest.approx(expected, abs=1e-12), row.score
    kept = found.runs.set_index(["run", "score"])["value"]
    assert kept["linear", "rmse"] == scores["linear"]["rmse"]


def test_the_page_says_all_of_it_and_needs_nothing_else(compared):
    found = compared("runs=[linear,baseline]")
    page = (found.folder / "report.html").read_text()
    (place,) = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert place.startswith(("data:", "#"))
    assert "<script src" not in page
    for word in ("linear", "baseline", "Mean absolute error", "model.regression.alpha", found.about["split_sha256"]):
        assert word in page, word
    with Image.open(found.folder / "charts" / "differences.png") as picture:
        assert picture.width > 800


def test_hostile_names_are_shown_as_text(here, made, compared):
    folder = here / "other"
    shutil.copytree(made["linear"], folder)
    tell(folder, model="<script>x</script>")
    found = compared(f"runs=['{folder}',baseline]")
    page = (found.folder / "report.html").read_text()
    assert "&lt;script&gt;x" in page
    assert "<script>x" not in page


# Many runs


def test_many_runs_fit_the_screen_and_the_chart_and_all_pairs_stand_in_the_table(here, made, capsys, compared):
    folders = []
    for number in range(26):
        folder = here / "many" / f"{number:02}" / "length_of_stay"
        shutil.copytree(made["linear"], folder, ignore=shutil.ignore_patterns("model", "charts", "explanation"))
        rows = pd.read_parquet(folder / "predictions.parquet")
        rows["prediction"] += 0.01 * number
        rows.to_parquet(folder / "predictions.parquet")
        folders.append(f"'{folder}'")
    found = compared(f"runs=[{','.join(folders)}]")
    assert len(primary(found)) == 26 * 25 / 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 90
    assert len(pd.read_csv(found.folder / "charts" / "differences.csv")) == 25
    with Image.open(found.folder / "charts" / "differences.png") as picture:
        assert picture.height < 2500


def test_report_sets_the_runs_of_a_task_side_by_side_and_pairs_those_that_it_can(called, here):
    page = called("report", here / "page", "runs=length_of_stay") / "report.html"
    paired, _, others = page.read_text(encoding="utf-8").partition("Other runs of this task")
    assert paired.count('class="strip"') == 3
    assert others.count('class="strip"') == 1
    assert 'aria-labelledby="differences"' in paired
    assert len(pd.read_csv(here / "page" / "compare.csv").drop_duplicates(["run_a", "run_b"])) == 3
    client = MlflowClient(tracking_uri=store_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    for number, run in enumerate(client.search_runs([experiment])):
        client.set_tag(run.info.run_id, "split_sha256", str(number) * 64)
    alone = (called("report", here / "alone", f"runs={EXPERIMENT}") / "report.html").read_text(encoding="utf-8")
    assert "No two runs can be paired" in alone
    assert alone.count('class="strip"') == 4
    with pytest.raises(NotComparable, match=r"runs=lenght_of_stay names no task .* simulated/length_of_stay"):
        called("report", here / "unknown", "runs=lenght_of_stay")


@pytest.mark.parametrize("width", [390, 1400])
def test_in_a_browser_the_page_of_several_runs_is_not_cut(called, here, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((called("report", here / f"page {width}", "runs=length_of_stay") / "report.html").as_uri())
    long = "? inconclusive (too few patients to tell whether it is 2 % or more)"
    page.locator(".word").first.evaluate("(one, long) => { one.textContent = long }", long)
    page.evaluate("document.querySelectorAll('details.section').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.querySelectorAll('.box')].every(one => one.scrollWidth <= one.clientWidth)")
    page.close()
