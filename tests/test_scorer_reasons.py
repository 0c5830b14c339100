import re
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.neighbors import KNeighborsRegressor

from hi_ml.app.config import build, compose
from hi_ml.app.errors import ModelRefused
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.evaluation.explanations import Explain, measure
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model, fit
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tasks import Task
from hi_ml.prediction import package
from hi_ml.scorer import serving
from hi_ml.scorer.reasons import _amounts, _factor, _value, reasons
from hi_ml.scorer.serving import Scorer
from hi_ml.statistics.calibration import Recalibration

SHIPPED = ["catboost", "hist_gbm", "lgbm", "linear", "random_forest"]
ROWS = 400
WORDS = ["", "na"]
COLUMNS = [
    {"role": "age", "source": "Age", "kind": "number", "missing": WORDS},
    {
        "role": "ward",
        "source": "Ward",
        "kind": "category",
        "missing": WORDS,
        "levels": [f"Ward {k}" for k in range(6)],
        "spelling": "case",
    },
    {"role": "admitted_on", "source": "Day", "kind": "date", "missing": WORDS, "format": None},
]
ROLES = [spec["role"] for spec in COLUMNS]
LABELS = ["high", "low", "middle"]
WRITTEN = re.compile(r"(\w+)=(.+) \(([+-][\d,.]+(?:e-\d+)?) (.+)\)")


def admissions(n=ROWS, seed=0):
    """A number with holes, a category, a date of which the weekday matters, and what is made of them."""
    draw = np.random.default_rng(seed)
    day = np.datetime64("2024-01-01") + draw.integers(0, 400, n)
    ward = draw.integers(0, 6, n)
    age = np.where(draw.random(n) < 0.1, np.nan, draw.integers(18, 90, n) + 0.5 * (ward == 1))
    raw = pd.DataFrame({"Age": age, "Ward": [f"Ward {k}" for k in ward], "Day": day.astype(str)})
    target = 3 * ward + np.nan_to_num(age, nan=50) / 10 + (day.astype(int) % 7) + draw.normal(size=n)
    return raw, target


def taught(model, classes=0, *, recalibration=None):
    """A scorer of a shipped model, and its fit on the features of the table."""
    raw, target = admissions()
    if classes:
        target = pd.qcut(target, classes, labels=False).astype(float)
    specs = {spec["role"]: spec for spec in COLUMNS}
    frame = serving.features(Scorer({"columns": COLUMNS}, None).typed(raw), COLUMNS)
    made = Features(frame, specs, {name: name.split(".")[0] for name in frame})
    fitted = fit(model, made, target, group=np.arange(ROWS), classes=classes, seed=0)
    kind = "classification" if classes else "regression"
    task = Task("days", "days", kind, "days", "admission", "log_loss" if classes else "mae")
    mapping = package.mapping(task, fitted, made, labels=LABELS[:classes], seen=frame)
    return Scorer(mapping | {"recalibration": recalibration}, fitted.pipeline), fitted, made


def explain(fitted, made, classes=0):
    """The explanation of all rows, by SHAP."""
    rows = np.arange(ROWS)
    problem = Problem(
        task=Task("days", "days", "regression", "days", "admission", "mae"), features=made, target=np.zeros(ROWS),
        labels=LABELS[:classes], table=made.frame, parts=np.full(ROWS, 2, dtype=np.int8), row=rows, content=rows,
        group=rows, twin=rows, refused={}, units={},
    )  # fmt: skip
    return measure(FittedRun(problem, None, fitted, fitted.predict(made.frame), None), Explain(ROWS, 1e6))


@cache
def shipped(name):
    return build(Model, compose("train", f"model={name}")["model"])


def told(scorer, raw, count=3):
    """Per row the reasons, taken apart: column, value, contribution, unit."""
    typed = scorer.typed(raw)
    found = reasons(scorer, scorer.encode(scorer.numbers(typed)), typed, count)
    assert list(found) == [f"reason_{k + 1}" for k in range(count)]
    rows = zip(*(column.to_pylist() for column in found.values()), strict=True)
    return [[text and WRITTEN.fullmatch(text).groups() for text in row] for row in rows]


def number(text):
    return float(text.replace(",", ""))


def cells(raw):
    """What the reasons should call each cell."""
    age = [_value(None if np.isnan(value) else value) for value in raw["Age"]]
    return {"age": age, "ward": raw["Ward"].tolist(), "admitted_on": raw["Day"].tolist()}


def check(rows, values, raw, unit):
    """Hold the reasons of all rows against contributions, shape (n, n_roles), from elsewhere."""
    shown = cells(raw)
    for i, row in enumerate(rows):
        order = np.argsort(-np.abs(values[i]), kind="stable")
        for place, one in zip(order, row, strict=False):
            if values[i, place] == 0:
                assert one is None
                continue
            role, value, amount, its_unit = one
            assert (role, value, its_unit) == (ROLES[place], shown[ROLES[place]][i], unit)
            np.testing.assert_allclose(number(amount), values[i, place], rtol=0.05)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_reasons_of_an_amount_are_its_largest_contributions_with_their_values(name):
    scorer, fitted, made = taught(shipped(name))
    expected = explain(fitted, made).values[0]
    rows = told(scorer, admissions()[0])
    check(rows, expected, admissions()[0], "days")
    assert {one[0] for row in rows for one in row if one} == set(ROLES)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_reasons_of_a_label_speak_of_the_one_that_is_predicted(name, classes):
    scorer, fitted, made = taught(shipped(name), classes)
    found = explain(fitted, made, classes)
    likeliest = fitted.predict(made.frame).argmax(axis=1)
    if len(found.values) == 1:
        expected = np.where(likeliest == 1, 1, -1)[:, None] * found.values[0]
    else:
        expected = found.values[likeliest, np.arange(ROWS)]
    raw = admissions()[0]
    rows = told(scorer, raw)
    check(rows, expected, raw, "share" if name == "random_forest" else "log-odds")
    right = [sum(number(one[2]) for one in row if one) > 0 for row in rows]
    assert np.mean(right) > 0.8  # together they speak for the label, not against it


@pytest.mark.parametrize("name", ["lgbm", "linear", "random_forest"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_reasons_of_a_recalibrated_label_are_its_explanation(name, classes):
    how = Recalibration(0.7, (0.0, 0.1, -0.2)[:classes])
    scorer, fitted, made = taught(shipped(name), classes, recalibration=asdict(how))
    fitted = replace(fitted, recalibration=how)
    found = explain(fitted, made, classes)
    likeliest = fitted.predict(made.frame).argmax(axis=1)
    one = np.where(likeliest == 1, 1, -1)[:, None] * found.values[0]
    expected = one if len(found.values) == 1 else found.values[likeliest, np.arange(ROWS)]
    check(told(scorer, admissions()[0]), expected, admissions()[0], "log-odds")


def test_columns_that_moved_nothing_are_no_reasons():
    scorer, _, _ = taught(shipped("baseline"))
    assert told(scorer, admissions()[0][:5]) == [[None] * 3] * 5


def test_there_are_as_many_reasons_as_asked_for_even_if_the_columns_are_fewer():
    scorer, _, _ = taught(shipped("lgbm"))
    raw = admissions()[0][:4]
    typed = scorer.typed(raw)
    found = reasons(scorer, scorer.encode(scorer.numbers(typed)), typed, 5)
    assert [column.null_count for column in found.values()][3:] == [4, 4]
    assert told(scorer, raw, count=1) == [row[:1] for row in told(scorer, raw)]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_reasons_of_a_row_do_not_depend_on_the_rows_beside_it(name):
    scorer, _, _ = taught(shipped(name))
    raw = admissions()[0]
    whole = told(scorer, raw[:20])
    assert [told(scorer, raw[i : i + 1])[0] for i in range(20)] == whole


def test_no_rows_have_no_reasons_and_the_columns_are_those_of_rows():
    scorer, _, _ = taught(shipped("lgbm"))
    typed = scorer.typed(admissions()[0][:0])
    found = reasons(scorer, scorer.encode(scorer.numbers(typed)), typed, 2)
    assert {name: (len(column), column.type) for name, column in found.items()} == {
        "reason_1": (0, pa.string()),
        "reason_2": (0, pa.string()),
    }


def test_missing_and_unseen_values_are_named_as_they_are():
    scorer, _, _ = taught(shipped("lgbm"))
    raw = pd.DataFrame({"Age": [np.nan], "Ward": ["  Green   ward "], "Day": [""]})
    (row,) = told(scorer, raw)
    assert {(role, value) for role, value, _, _ in row} == {
        ("age", "missing"),
        ("ward", "Green ward"),
        ("admitted_on", "missing"),
    }


def test_a_learner_without_exact_contributions_is_refused():
    scorer, fitted, _ = taught(shipped("lgbm"))
    other = KNeighborsRegressor().fit(
        np.zeros((5, scorer.encode(scorer.numbers(scorer.typed(admissions()[0]))).shape[1])), range(5)
    )
    fitted.pipeline.steps[-1] = ("learn", other)
    typed = scorer.typed(admissions()[0])
    with pytest.raises(ModelRefused, match="no reasons for predictions of a KNeighborsRegressor"):
        reasons(scorer, scorer.encode(scorer.numbers(typed)), typed, 1)


@pytest.mark.parametrize(
    ("moved", "written"),
    [
        (2.13, " (+2.1 days)"),
        (-0.9996, " (-1.0 days)"),
        (9.97, " (+10 days)"),
        (12.4, " (+12 days)"),
        (-1234.5, " (-1,234 days)"),
        (0.04217, " (+0.042 days)"),
        (3e-7, " (+3.0e-07 days)"),
        (0.0, None),
    ],
)
def test_contributions_are_written_in_two_digits_or_whole_numbers(moved, written):
    texts, place = _amounts(np.array([[moved, 3.0]]), "days")
    assert texts.take(place[0]).to_pylist() == [written, " (+3.0 days)"]


@pytest.mark.parametrize(
    ("factor", "written"),
    [(1.35, "1.35"), (0.7412, "0.74"), (3.0, "3.0"), (132.6, "133"), (1.0062, "1.0062"), (0.0213, "0.021")],
)
def test_contributions_to_a_logarithm_are_written_as_what_they_multiply_by(factor, written):
    assert _factor(np.log(factor), "days") == f" (×{written} days)"


@pytest.mark.parametrize(
    ("value", "written"),
    [(72.0, "72"), (18856.281306, "18856.3"), (-3.5, "-3.5"), (1e15, "1e+15"), (None, "missing"), ("B+", "B+")],
)
def test_values_are_written_as_a_reader_would(value, written):
    assert _value(value) == written
