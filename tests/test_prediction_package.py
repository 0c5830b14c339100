import hashlib
import itertools
import json
import subprocess
import sys
from copy import copy
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from mlflow.models import get_model_info
from mlflow.types.schema import AnyType
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from hi_ml.app.config import build, conf_dir
from hi_ml.app.errors import ModelUnservable
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.data.simulation import simulate
from hi_ml.modeling import problem
from hi_ml.modeling.encoding import usable
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Fitted, Model, fit, fit_quantiles
from hi_ml.modeling.targets import target_of
from hi_ml.modeling.tasks import Task, select
from hi_ml.prediction import load, package
from hi_ml.scorer import serving
from hi_ml.statistics.calibration import Recalibration

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
ROWS, TAUGHT = 700, 500
PAIRS = [(model, task) for model in MODELS for task in ("length_of_stay", "test_results")]
SAVED = [*PAIRS, ("lgbm", "billing")]


class Saved:
    """A model on disk, and what it was made from."""

    def __init__(self, folder, fitted, features, labels):
        self.folder, self.fitted, self.features, self.labels = folder, fitted, features, labels
        self.scorer = folder / "artifacts" / "scorer"

    @cached_property
    def by_hi_ml(self):
        return serving.load(self.scorer)

    @cached_property
    def by_mlflow(self):
        return mlflow.pyfunc.load_model(str(self.folder))

    @cached_property
    def expected(self):
        """What the fitted pipeline says of every row of the table."""
        return self.fitted.predict(self.features.frame)

    @cached_property
    def mapping(self):
        return json.loads((self.scorer / "mapping.json").read_text())

    @cached_property
    def signature(self):
        return get_model_info(str(self.folder)).signature


@pytest.fixture(scope="module")
def raw():
    """The simulated table as a file would hold it, dates as text."""
    table = simulate("planted", ROWS, seed=0).table.to_pandas()
    dates = ["Date of Admission", "Discharge Date"]
    return table.assign(**{name: pd.to_datetime(table[name]).dt.strftime("%Y-%m-%d") for name in dates})


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    """Teach a shipped model a task on the first rows of the simulated table, and save it: ``save("lgbm", "billing")``.

    The others are arguments of `hi_ml.train`.
    """
    folder = tmp_path_factory.mktemp("models")
    numbers = itertools.count()

    def save_it(model_name, task_name, *arguments, interval=None, recalibration=None):
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", [f"model={model_name}", f"dataset.rows={ROWS}", f"task={task_name}", *arguments])
        model, task = build(Model, cfg.model), build(dict[str, Task], cfg.tasks)[task_name]
        admissions = read(build(Dataset, cfg.dataset), lambda _: folder)
        features = Features.of(admissions, select(task, problem.available(admissions))[0])
        target, labels = target_of(task, admissions.table[task.target])
        first = np.arange(ROWS) < TAUGHT
        part = features.part(first, usable(features, first)[0])
        rows, group, asked = target[first], admissions.group[first], {"classes": len(labels), "seed": 0}
        fitted = fit(model, part, rows, group=group, **asked)
        quantiles = () if labels or not interval else (0.9,) if "floor" in interval else (0.05, 0.95)
        bounds = fit_quantiles(model, part, rows, group=group, quantiles=quantiles, seed=0) if quantiles else None
        fitted = replace(fitted, bounds=bounds, recalibration=recalibration)
        described = package.mapping(task, fitted, part, labels=labels, seen=part.frame, interval=interval)
        path = folder / str(next(numbers))
        package.save(path, fitted, described)
        return Saved(path, fitted, features, labels)

    return save_it


@pytest.fixture(scope="module")
def kept(save):
    """Every shipped model of two tasks, and one of a third."""
    return {pair: save(*pair) for pair in SAVED}


@pytest.fixture(scope="module")
def with_intervals(save):
    """Models with intervals: every one that has quantiles, one that has none, and one of classes."""
    sets = {**INTERVAL, "method": "labels", "thresholds": {"all": 0.8, "levels": [0.3, 0.9]}}
    recalibration = Recalibration(0.5, (0.0, 0.3, -0.2))
    amounts = {name: save(name, "length_of_stay", interval=INTERVAL) for name in BOUNDED}
    amounts["floor"] = save("lgbm", "length_of_stay", interval={**INTERVAL, "floor": 4.0})
    by_class = {**sets, "by": {"label": True}, "thresholds": {"all": 0.6, "levels": [0.7, None, 0.62]}}
    return amounts | {
        "sets": save("lgbm", "test_results", interval=sets, recalibration=recalibration),
        "by class": save("lgbm", "test_results", interval=by_class, recalibration=recalibration),
    }


INTERVAL = {
    "level": 0.9,
    "method": "quantiles",
    "whole": True,
    "by": {"role": "sex", "edges": None},
    "thresholds": {"all": 2.0, "levels": [0.5, None]},
    "approximate": False,
    "sentence": "Ninety in a hundred stays lie inside.",
}
BOUNDED = ["baseline", "catboost", "hist_gbm", "lgbm", "linear"]


@pytest.mark.parametrize("name", BOUNDED)
def test_mlflow_answers_with_the_bounds_that_the_learners_and_thresholds_give(with_intervals, raw, name):
    one = with_intervals[name]
    assert (one.fitted.bounds is None) == (name == "linear")
    found = one.by_mlflow.predict(raw)
    assert list(found) == ["prediction", "low", "high"]
    assert outputs(one) == dict.fromkeys(found, "double")
    same(found["prediction"], one.expected, name)
    matrix = one.fitted.encode(one.features.frame)
    ends = [bound.predict(matrix) for bound in one.fitted.bounds] if one.fitted.bounds else [one.expected] * 2
    threshold = np.where(raw["Gender"].str.casefold() == "female", 0.5, 2.0)
    low, high = serving.widen(one.expected, *ends, threshold, whole=True)
    same(found["low"], low, name)
    same(found["high"], high, name)
    assert len(set(found["high"])) > 1
    pd.testing.assert_frame_equal(one.by_hi_ml.predict(raw), found, check_exact=name != "linear")


def test_mlflow_answers_with_intervals_that_begin_at_the_floor(with_intervals, raw):
    one = with_intervals["floor"]
    found = one.by_mlflow.predict(raw)
    np.testing.assert_array_equal(found["low"], np.minimum(4, one.expected))
    (bound,) = one.fitted.bounds
    threshold = np.where(raw["Gender"].str.casefold() == "female", 0.5, 2.0)
    high = np.floor(bound.predict(one.fitted.encode(one.features.frame)) + threshold + 1e-9)
    np.testing.assert_array_equal(found["high"], np.maximum(high, one.expected))
    pd.testing.assert_frame_equal(one.by_hi_ml.predict(raw), found)


def test_mlflow_answers_with_sets_of_a_threshold_for_each_label(with_intervals, raw):
    one = with_intervals["by class"]
    found = one.by_mlflow.predict(raw)
    inside = one.expected >= 1 - np.array([0.7, 0.6, 0.62])
    inside[np.arange(len(raw)), one.expected.argmax(axis=1)] = True
    assert found["prediction_set"].tolist() == ["|".join(np.array(one.labels)[row]) for row in inside]
    assert found["prediction_set"].nunique() > 2
    pd.testing.assert_frame_equal(one.by_hi_ml.predict(raw), found)


def test_mlflow_answers_with_the_set_of_recalibrated_labels(with_intervals, raw):
    one = with_intervals["sets"]
    found = one.by_mlflow.predict(raw)
    assert list(found) == ["prediction", *(f"p_{label}" for label in one.labels), "prediction_set"]
    assert outputs(one) == dict.fromkeys(found, "double") | {"prediction": "string", "prediction_set": "string"}
    np.testing.assert_array_equal(found.filter(regex="^p_"), one.expected)
    threshold = np.where(raw["Gender"].str.casefold() == "female", 0.3, 0.9)
    expected = [
        "|".join(label for label, held in zip(one.labels, row, strict=True) if held)
        for row in serving.label_set(one.expected, threshold)
    ]
    assert found["prediction_set"].tolist() == expected
    assert len(set(expected)) > 2


def outputs(one):
    return {column.name: column.type.name for column in one.signature.outputs}


@pytest.mark.parametrize(("model", "task"), PAIRS)
def test_the_matrix_of_every_model_is_to_the_bit_that_of_its_pipeline(kept, raw, model, task):
    """With missing cells and with categories that training lacked."""
    one = kept[model, task]
    draw = np.random.default_rng(0)
    torn = raw.astype(object).mask(draw.random(raw.shape) < 0.1, None)
    torn["Medical Condition"] = torn["Medical Condition"].mask(draw.random(ROWS) < 0.1, "Green Fever")
    typed = one.by_hi_ml.typed(torn)
    features = serving.features(typed, one.mapping["columns"])
    numbers = one.by_hi_ml.numbers(typed)
    np.testing.assert_array_equal(one.by_hi_ml.encode(numbers), one.fitted.encode(features))
    assert any(mask.any() for mask in one.by_hi_ml.unseen(numbers).values())
    same(amounts(one.by_hi_ml.predict(torn)), one.fitted.predict(features), model)


def amounts(frame):
    """The numbers of an answer: amounts, or the shares of the labels."""
    shares = frame.filter(regex="^p_")
    return (shares if shares.shape[1] > 1 else frame["prediction"]).to_numpy(dtype=float)


def same(found, expected, model):
    """Equal to the bit; to 1e-9 for a linear model, whose sums depend on how BLAS takes the rows."""
    np.testing.assert_allclose(found, expected, rtol=1e-9 if model == "linear" else 0, atol=0)


@pytest.mark.parametrize(("model", "task"), PAIRS)
def test_a_model_loaded_again_gives_the_same_numbers(kept, raw, model, task):
    one = kept[model, task]
    by_hi_ml, by_mlflow = one.by_hi_ml.predict(raw), one.by_mlflow.predict(raw)
    same(amounts(by_hi_ml), one.expected, model)
    same(amounts(by_mlflow), one.expected, model)
    pd.testing.assert_frame_equal(by_hi_ml, by_mlflow, check_exact=model != "linear")
    by_row = pd.DataFrame([one.by_hi_ml.predict_row(row) for row in raw[:40].to_dict("records")])
    pd.testing.assert_frame_equal(by_row, by_hi_ml[:40], check_exact=model != "linear")


@pytest.mark.parametrize("model", MODELS)
def test_the_label_is_the_likeliest_and_the_shares_are_named_verbatim(kept, raw, model):
    found = kept[model, "test_results"].by_hi_ml.predict(raw)
    assert list(found) == ["prediction", "p_Abnormal", "p_Inconclusive", "p_Normal"]
    assert (found.drop(columns="prediction").idxmax(axis=1).str.removeprefix("p_") == found["prediction"]).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_order_and_number_of_rows_asked_at_once_do_not_matter(kept, raw, model):
    scorer = kept[model, "length_of_stay"].by_hi_ml
    whole = amounts(scorer.predict(raw))
    one_by_one = [amounts(scorer.predict(raw.iloc[[i]]))[0] for i in range(0, ROWS, 100)]
    same(one_by_one, whole[::100], model)
    same(amounts(scorer.predict(raw[::-1].reset_index(drop=True))), whole[::-1], model)


AS_FILED = {
    "whole numbers as text": lambda raw: raw.astype(str),
    "ages as fractions": lambda raw: raw.assign(Age=raw["Age"].astype(float)),
    "ages as nullable integers": lambda raw: raw.assign(Age=raw["Age"].astype("Int64")),
    "dates parsed": lambda raw: raw.assign(**{"Date of Admission": pd.to_datetime(raw["Date of Admission"])}),
    "dates as Python dates": lambda raw: raw.assign(
        **{"Date of Admission": pd.to_datetime(raw["Date of Admission"]).dt.date}
    ),
    "dates with a time": lambda raw: raw.assign(**{"Date of Admission": raw["Date of Admission"] + " 13:30:00"}),
    "categories as categories": lambda raw: raw.assign(Gender=raw["Gender"].astype("category")),
    "categories as objects": lambda raw: raw.astype({"Gender": object, "Medical Condition": object}),
    "odd case and spaces": lambda raw: raw.assign(Gender="  " + raw["Gender"].str.upper() + " "),
    "more columns, in another order": lambda raw: raw.assign(Shoe=42)[[*raw.columns[::-1], "Shoe"]],
}


@pytest.mark.parametrize("written", AS_FILED.values(), ids=AS_FILED)
@pytest.mark.parametrize("task", ["length_of_stay", "test_results"])
def test_however_the_cells_are_written_the_numbers_are_the_same(kept, raw, task, written):
    one = kept["lgbm", task]
    same(amounts(one.by_mlflow.predict(written(raw))), one.expected, "lgbm")


HOLES = {
    "none": lambda cells: [None] * len(cells),
    "nan": lambda cells: [np.nan] * len(cells),
    "words": lambda cells: ["n/a"] * len(cells),
    "every other": lambda cells: cells.where(np.arange(len(cells)) % 2 == 0),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("column", ["Age", "Medical Condition", "Date of Admission"])
def test_missing_cells_are_scored(kept, raw, model, hole, column):
    some = raw[:50]
    found = kept[model, "length_of_stay"].by_mlflow.predict(some.assign(**{column: hole(some[column])}))
    assert np.isfinite(amounts(found)).all()


def test_a_category_never_seen_is_scored_as_one_that_training_lacked(kept, raw):
    one = kept["lgbm", "test_results"]
    features = one.features.frame.assign(condition=float(serving.UNSEEN))
    found = one.by_hi_ml.predict(raw.assign(**{"Medical Condition": "Green Fever"}))
    same(amounts(found), one.fitted.predict(features), "lgbm")


def test_the_mapping_keeps_places_and_forgets_levels_that_were_not_taught():
    frame = pd.DataFrame({"sex": [0.0, 1.0, 2.0, np.nan]})
    features = Features(frame, {"sex": {"role": "sex", "levels": ["f", "m", "x"]}}, {"sex": "sex"})
    task = Task("days", "days", "regression", "days", "admission", "mae")
    fitted = Fitted([None, None], ["sex"], 0, 0.0)
    found = package.mapping(task, fitted, features, labels=[], seen=frame.iloc[[0, 2, 3]])
    assert found["columns"] == [{"role": "sex", "levels": ["f", None, "x"]}]
    assert features.specs["sex"]["levels"] == ["f", "m", "x"]


@pytest.mark.parametrize(("model", "task"), PAIRS)
def test_the_signature_names_every_column_and_takes_any_type(kept, model, task):
    one = kept[model, task]
    sources = [spec["source"] for spec in serving.inputs(one.mapping["columns"])]
    assert [column.name for column in one.signature.inputs] == sources
    assert {(type(column.type), column.required) for column in one.signature.inputs} == {(AnyType, False)}
    assert list(outputs(one)) == ["prediction", *(f"p_{label}" for label in one.labels)]
    assert "Name" not in sources
    assert "Doctor" not in sources


@pytest.mark.parametrize(("model", "task"), PAIRS)
def test_the_input_example_is_invented_and_can_be_scored(kept, raw, model, task):
    example = kept[model, task].by_mlflow.input_example
    assert len(example) == 1
    assert not raw.merge(example.astype(raw.dtypes[list(example)]), on=list(example)).shape[0]
    assert np.isfinite(amounts(kept[model, task].by_hi_ml.predict(example))).all()


def test_an_invented_admission_obeys_the_mapping():
    specs = [
        {"role": "age", "source": "Age", "kind": "number", "low": 0, "high": 120},
        {"role": "weight", "source": "Weight", "kind": "number", "low": 30, "high": None},
        {"role": "score", "source": "Score", "kind": "number", "low": None, "high": None},
        {"role": "day", "source": "Day", "kind": "date", "format": "%d/%m/%Y"},
        {"role": "sex", "source": "Sex", "kind": "category", "levels": [None, "m"]},
        {"role": "ward", "source": "Ward", "kind": "category", "levels": []},
    ]
    found = package.invent_admission({"columns": specs}).to_dict("records")
    assert found == [{"Age": 60, "Weight": 30, "Score": 1, "Day": "15/01/2024", "Sex": "m", "Ward": "unknown"}]


def test_a_computed_stay_asks_for_its_two_dates(save, raw):
    one = save("lgbm", "billing", "tasks.billing.horizon=discharge")
    sources = [spec["source"] for spec in serving.inputs(one.mapping["columns"])]
    assert {"Date of Admission", "Discharge Date"} <= set(sources)
    assert len(sources) == len(set(sources))
    same(amounts(one.by_hi_ml.predict(raw)), one.expected, "lgbm")


@pytest.mark.parametrize(("model", "task"), PAIRS)
def test_requirements_are_pinned_to_what_is_installed(kept, model, task):
    lines = (kept[model, task].folder / "requirements.txt").read_text().split()
    pinned = dict(line.split("==") for line in lines)
    assert {"mlflow", "numpy", "pandas", "pyarrow", "scikit-learn", "skops"} <= set(pinned)
    assert ("lightgbm" in pinned) == model.startswith("lgbm")
    assert not any("hi_ml" in line or "hi-ml" in line for line in lines)
    assert all(version(name) == found for name, found in pinned.items())


@pytest.mark.parametrize(("model", "task"), PAIRS)
def test_the_folder_holds_no_pickle_and_no_row(kept, model, task):
    one = kept[model, task]
    files = {str(path.relative_to(one.folder)): path for path in one.folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "serving.py", "artifacts/scorer/mapping.json", "artifacts/scorer/pipeline.skops"} <= set(files)
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib", ".npy", ".parquet"))]
    for path in files.values():
        assert not path.read_bytes().startswith(b"\x80"), path.name
    assert files["serving.py"].read_bytes() == Path(serving.__file__).read_bytes()


def test_a_learner_that_could_not_be_loaded_again_is_not_kept(tmp_path):
    """skops writes what it would refuse to read, and MLflow only logs that its example failed."""
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0]})
    strange = make_pipeline(FunctionTransformer(copy), Ridge()).fit(frame, [1, 2, 3])
    spec = {"role": "age", "source": "Age", "kind": "number", "missing": []}
    described = {"task": "days", "kind": "regression", "labels": [], "columns": [spec], "features": ["age"]}
    with pytest.raises(ModelUnservable, match=r"days cannot be kept.*copy\.copy"):
        package.save(tmp_path / "model", Fitted(strange, ["age"], 0, 0.0), described)
    assert not (tmp_path / "model").exists()


def test_the_mapping_knows_the_digests_of_the_learners_and_mlflow_that_of_all(kept, with_intervals):
    for one, names in ((kept["lgbm", "test_results"], {"pipeline"}), (with_intervals["lgbm"], {"pipeline", "bounds"})):
        assert {path.stem for path in one.scorer.glob("*.skops")} == names
        for name in names:
            digest = hashlib.sha256((one.scorer / f"{name}.skops").read_bytes()).hexdigest()
            assert one.mapping[f"{name}_sha256"] == digest
        assert get_model_info(str(one.folder)).metadata["scorer_sha256"] == load.digest(one.scorer)


@pytest.mark.parametrize(("model", "task"), [("lgbm", "length_of_stay"), ("catboost", "test_results")])
def test_two_equal_trainings_write_one_model_to_the_byte(kept, save, model, task):
    memory = [object() for _ in range(10_000)]  # moves what comes to other addresses
    assert load.digest(save(model, task).scorer) == load.digest(kept[model, task].scorer)
    assert memory


WITHOUT_HI_ML = """
import sys
sys.modules["hi_ml"] = None  # an import of it fails
import mlflow, pandas
table, *folders = sys.argv[1:]
for number, folder in enumerate(folders):
    found = mlflow.pyfunc.load_model(folder).predict(pandas.read_csv(table))
    found.to_json(f"out{number}.json", orient="records", double_precision=15)
assert not [name for name in sys.modules if name.startswith("hi_ml.")]
"""


@pytest.mark.slow
def test_a_machine_without_hi_ml_gives_the_same_numbers(kept, raw, tmp_path):
    raw.to_csv(tmp_path / "in.csv", index=False)
    asked = [*PAIRS[::3], ("lgbm", "billing")]
    command = [sys.executable, "-I", "-c", WITHOUT_HI_ML, "in.csv", *(kept[one].folder for one in asked)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    for number, (model, task) in enumerate(asked):
        found = pd.read_json(tmp_path / f"out{number}.json")
        exact = 1e-13 if model != "linear" else 1e-9
        np.testing.assert_allclose(amounts(found), kept[model, task].expected, rtol=exact)
