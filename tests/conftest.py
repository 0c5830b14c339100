"""What several test files share: a small table and its description, commands, a store that is ready."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each worker, before a library starts more that wait for each other

import functools
import gc
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.csv
import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

import hi_ml
from hi_ml.app.config import build, compose, conf_dir
from hi_ml.app.launch import Invocation
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.data.simulation import simulate
from hi_ml.tracking.folder import keep_rejected

for _name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
    os.environ.pop(_name, None)  # no test tells somebody's server of itself

gc.set_threshold(100_000, 50, 100)  # a worker holds so many objects that looking for garbage took a twelfth of its time

settings.register_profile("shared machine", deadline=None, derandomize=True)  # the same inputs in every run ...
settings.register_profile("search", deadline=None)  # ... but for pytest --hypothesis-profile=search
settings.load_profile("shared machine")


_OTHER_MODELS = {"catboost", "hist_gbm", "lgbm_bagged", "random_forest"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Let fast tests take one model of trees and one of sums: what is tried of each model is slow of the others."""
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if _OTHER_MODELS & {value for value in values if isinstance(value, str)}:
            item.add_marker(pytest.mark.slow)


class Ended(NamedTuple):
    """How a command ended and what it said."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def admissions_csv(tmp_path_factory):
    """A small simulated table as a CSV file, under the names of the Kaggle table."""
    path = tmp_path_factory.mktemp("admissions") / "admissions.csv"
    pyarrow.csv.write_csv(simulate("planted", 300, seed=1, hospitals=5).table, path)
    return path


@pytest.fixture(scope="session")
def cells(admissions_csv):
    """The same table as text, cell by cell; take a copy to damage it."""
    return pd.read_csv(admissions_csv, dtype=str, keep_default_na=False)


@pytest.fixture(scope="session")
def described():
    """Describe a file as conf/dataset/kaggle.yaml does, with changes; ``columns`` adds to or replaces columns."""
    kaggle = yaml.safe_load((conf_dir() / "dataset" / "kaggle.yaml").read_text(encoding="utf-8"))

    def describe(source, *, columns=(), **changes):
        node = {**kaggle, "source": str(source), **changes}
        return build(Dataset, {**node, "columns": {**kaggle["columns"], **dict(columns)}})

    return describe


@pytest.fixture
def reading(tmp_path, described):
    """Read a file; what is rejected goes to rejected.csv in the folder of the test."""

    def read_it(source, **changes):
        return read(described(source, **changes), lambda cells: keep_rejected(tmp_path, cells))

    return read_it


@pytest.fixture
def command(tmp_path):
    """Run a command in the folder of the test, on one thread: ``command("train", "seed=1", under="ulimit -f 9")``."""

    def run(module, *overrides, under="", **environment):
        words = [sys.executable, "-m", f"hi_ml.{module}", *overrides]
        ended = subprocess.run(
            ["bash", "-c", f'{under}; exec "$@"', "bash", *words] if under else words,
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def inside(tmp_path, monkeypatch, capsys):
    """Run the `main` of a command as `command` does, but in this process: ``inside(main, "seed=1")``."""
    root, ours = logging.getLogger(), logging.getLogger("hi_ml")
    handlers, level, environment, raising = root.handlers[:], ours.level, dict(os.environ), logging.raiseExceptions
    hook = sys.unraisablehook

    def run(main, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    yield run
    root.handlers[:], logging.raiseExceptions, sys.unraisablehook = handlers, raising, hook
    ours.setLevel(level)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="session")
def called():
    """Do what a command does, in this process and into a folder of one's own: ``called("train", folder, "seed=1")``."""

    def call(name, folder, *overrides):
        cfg = compose(name, *overrides)
        folder.mkdir(parents=True, exist_ok=True)
        module = import_module(f"hi_ml.{name}")
        settings = build(getattr(module, f"{name.capitalize()}Settings"), cfg)
        getattr(module, name)(settings, Invocation(folder, cfg, list(overrides), f"hi_ml.{name}"))
        return folder

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory, called):
    """A finished run folder of the length of stay that was never tracked; take a copy to change it."""
    overrides = ["task=length_of_stay", "model=linear", "dataset.rows=400", "explain.rows=0", "tracking=none"]
    return called("train", tmp_path_factory.mktemp("finished"), *overrides) / "length_of_stay"


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory):
    """An empty MLflow store, its migrations done; copy it rather than create another."""
    from hi_ml.tracking.store import exclusive  # noqa: PLC0415 -- seconds that only the tests of tracking pay

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with exclusive(f"sqlite:///{path}"):
        return path


@pytest.fixture
def here(tmp_path, monkeypatch, migrated_store):
    """The folder of the test as the working folder, with an empty default store."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def drawn():
    """Draw admissions of ``n`` patients and their returns, by role; claims hold by as much as is said.

    ``older``: share that Diabetes and Hypertension each gain from age 50 on, at the cost of Asthma. ``hospital`` and
    ``insurer``: spread of the hospitals' mean bills, and how much dearer Aetna is. ``emergency`` and ``severe``: days
    that emergencies stay longer, and those with Cancer more. ``medication`` and ``readmission``: days that Aspirin and
    Ibuprofen stay longer, and share that returns more often than one in ten. ``elective`` and ``insured``: share of
    Aetna's admissions that is elective beside a third of the others, and days that they stay longer.
    """
    old_drugs, new_drugs = ["Aspirin", "Ibuprofen"], ["Lipitor", "Penicillin"]

    def draw(n, *, seed=0, older=0.0, hospital=0.0, insurer=0.0, emergency=0.0, severe=0.0, medication=0.0,
             readmission=0.0, elective=0.0, insured=0.0, hospitals=200):  # fmt: skip
        rng = np.random.default_rng(seed)
        age, house = rng.integers(18, 86, n).astype(float), rng.integers(0, hospitals, n)
        old, young = [0.2 - 2 * older, 0.2, 0.2 + older, 0.2 + older, 0.2], [0.2] * 5
        condition = np.where(age >= 50, rng.choice(5, n, p=old), rng.choice(5, n, p=young))
        patients = pd.DataFrame(
            {
                "patient_id": np.arange(n),
                "patient_name": rng.integers(0, 2 * n + 1, n),
                "age": age,
                "sex": rng.choice(["Female", "Male"], n),
                "blood_type": rng.choice(list("ABCDEFGH"), n),
                "condition": np.array(["Asthma", "Cancer", "Diabetes", "Hypertension", "Obesity"])[condition],
                "hospital": pd.Series(house).astype("str"),
                "hospital_as_written": "House " + pd.Series(house).astype("str"),
                "insurer": rng.choice(["Aetna", "Cigna", "Medicare"], n),
            }
        )
        drug = rng.choice(old_drugs + new_drugs, n)
        returns = np.flatnonzero(rng.random(n) < 0.1 + readmission * np.isin(drug, old_drugs))
        frame = pd.concat([patients, patients.iloc[returns]], ignore_index=True)
        rows, aetna = len(frame), (frame["insurer"] == "Aetna").to_numpy()
        kind = rng.choice(["Elective", "Emergency", "Urgent"], rows)
        kind = np.where(aetna & (rng.random(rows) < elective), "Elective", kind)
        drug = np.append(drug, rng.choice(old_drugs + new_drugs, rows - n))
        urgent = kind == "Emergency"
        days = rng.integers(1, 31, rows) + medication * np.isin(drug, old_drugs) + insured * aetna
        days = days + emergency * urgent + severe * (urgent & (frame["condition"] == "Cancer").to_numpy())
        stay = pd.to_timedelta(np.round(days), unit="D")
        first = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
        again = (first + stay[:n])[returns] + pd.to_timedelta(rng.integers(1, 31, rows - n), unit="D")
        admitted = first.append(again)
        bills = rng.uniform(1_000, 49_000, rows) + rng.normal(0, hospital, hospitals)[frame["hospital"].astype(int)]
        return frame.assign(
            admission_type=pd.Series(kind, dtype="str"),
            medication=pd.Series(drug, dtype="str"),
            test_result=pd.Series(rng.choice(["Abnormal", "Normal"], rows), dtype="str"),
            admitted_on=admitted,
            discharged_on=admitted + stay,
            length_of_stay=days.astype(float),
            billed=bills + insurer * aetna,
        )

    return draw


@pytest.fixture(scope="session")
def evidence():
    """Look up the evidence of a finding by the beginning of its part's name."""
    return lambda finding, part: next(item for item in finding.evidence if item.part.startswith(part))


@pytest.fixture(scope="session")
def stated():
    """State one claim of a table as its YAML sets it: ``stated("emergency_stay", frame, smallest_group=50)``."""
    nodes = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (conf_dir() / "finding").glob("*.yaml")}

    def state_one(name, frame, twins=None, *, declared=None, seed=0, keep_duplicates=False, **changes):
        twins = np.arange(len(frame)) if twins is None else twins
        rows = one_row_each(frame, twins, declarations=declared, seed=seed, keep_duplicates=keep_duplicates)
        (finding,) = state(rows, settings_of({name: nodes[name] | changes}))
        return finding

    return state_one


@pytest.fixture(scope="session")
def texts():
    """List the texts of a figure that can be seen: title, legends, names, ticks, numbers, caption."""

    def of(figure):
        panels = [one for ax in figure.axes if ax.get_visible() for one in [ax, *ax.child_axes]]
        legends = [*figure.legends, *filter(None, (ax.get_legend() for ax in panels))]
        listed = [*figure.texts, *(text for legend in legends for text in legend.get_texts())]
        for ax in panels:
            listed += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
            for axis, ends in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                ticks = [tick for tick in axis.get_major_ticks() if min(ends) <= tick.get_loc() <= max(ends)]
                listed += [tick.label1 for tick in ticks]
        return [text for text in listed if text.get_visible() and text.get_text()]

    return of


@pytest.fixture(scope="session")
def legible(texts):
    """Check that no text of a figure covers another or leaves the picture."""
    from hi_ml.reports.charts.style import house_style  # noqa: PLC0415 -- a second that only these tests pay

    def check(figure):
        with house_style():
            figure.draw_without_rendering()
            boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
        for (one, a), (other, b) in combinations(boxes, 2):
            assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1, (one, other)
        for text, box in boxes:
            assert box.min.min() > -1, text
            assert (box.max < figure.bbox.size + 1).all(), text

    return check


@pytest.fixture(scope="session")
def small_model(tmp_path_factory, admissions_csv):
    """Fit a small model and load it for batch scoring: ``small_model("lgbm", "length_of_stay")``.

    The table declares its column ``Case`` as the id, and Name and Doctor as private. The MLflow model lies at
    ``.folder.parents[1]``.
    """
    from hi_ml.evaluation import training  # noqa: PLC0415 -- what most test files do not need
    from hi_ml.prediction import package  # noqa: PLC0415 -- the same

    table = pyarrow.csv.read_csv(admissions_csv)
    path = tmp_path_factory.mktemp("cases") / "cases.csv"
    pyarrow.csv.write_csv(table.append_column("Case", [[f"c{row}" for row in range(table.num_rows)]]), path)
    case = {"from": "Case", "kind": "identifier", "known": "admission"}
    admissions = hi_ml.read(path, columns={"case": case})

    @functools.cache
    def make(name, task):
        run = hi_ml.fit(admissions, task, name)
        intervals = {"intervals": run.method.assessments["intervals"]}
        run = training.assess(replace(run, method=replace(run.method, assessments=intervals)))
        folder = tmp_path_factory.mktemp("model") / "model"
        package.save_run(folder, run, package.other_columns(admissions.dataset), table=admissions.dataset.name)
        return replace(hi_ml.load_model(folder), uri=f"models:/{name}/1", sha256=name, verdict="signal")

    return make


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, driven by Playwright."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 -- half a second that few tests need

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--no-first-run"]  # fmt: skip
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=quiet)
        yield running
        running.close()


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """Start a Spark on two processors that tries a task four times; a pyspark that is absent goes beside the tree."""
    _install_spark()
    from hi_ml.data.sources.spark import session  # noqa: PLC0415 -- what most test files do not need

    warehouse = tmp_path_factory.mktemp("warehouse").as_uri()
    running = session(["spark.master=local[2,4]", "spark.driver.memory=1g", f"spark.sql.warehouse.dir={warehouse}"])
    yield running
    running.stop()


def _install_spark():
    if shutil.which("java") is None:
        pytest.skip("no Java here: apt-get install openjdk-17-jre-headless")
    if find_spec("pyspark"):
        return
    constraints = Path(__file__).parents[1] / "constraints.txt"
    (wanted,) = re.findall(r"^pyspark==.*$", constraints.read_text(), flags=re.MULTILINE)
    place = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "hi_ml", wanted)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if not place.is_dir():
            with tempfile.TemporaryDirectory(dir=place.parent) as part:
                words = ["--quiet", "--no-compile", "--constraint", constraints, "--target", f"{part}/site", wanted]
                subprocess.run([sys.executable, "-m", "pip", "install", *words], check=True, capture_output=True)
                Path(part, "site").rename(place)
    sys.path.append(str(place))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(place)]))
