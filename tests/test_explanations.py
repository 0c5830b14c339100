import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, logit, softmax

from hi_ml.app.config import build, compose, conf_dir
from hi_ml.evaluation import explanations
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.evaluation.explanations import Explain, Explanation, importance, measure, table
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model, fit
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.disclosure import Disclosure

SHIPPED = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
ROWS = 300
ROLES = ["age", "condition", "hospital", "admitted_on"]
ALL = Explain(rows=1000, seconds=60)  # more rows and seconds than there are
DAYS = Task("days", "days", "regression", "days", "admission", "mae")
LABELS = ["Abnormal", "Inconclusive", "Normal"]


@cache
def shipped(name):
    return build(Model, compose("train", f"model={name}")["model"])


def admissions(seed=0):
    """A number with holes, few levels, many levels (target-encoded), and a date of two parts."""
    rng = np.random.default_rng(seed)
    day = rng.integers(19_000, 19_700, ROWS)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(ROWS) < 0.1, np.nan, rng.uniform(18, 90, ROWS)),
            "condition": rng.integers(0, 6, ROWS),
            "hospital": np.arange(ROWS) % 40,
            "admitted_on": day,
            "admitted_on.weekday": day % 7,
        }
    ).astype(float)
    levels = {"condition": [f"condition {k}" for k in range(6)], "hospital": [f"hospital {k}" for k in range(40)]}
    specs = {role: {"levels": levels[role]} if role in levels else {} for role in ROLES}
    return Features(frame, specs, {name: name.split(".")[0] for name in frame})


def outcome(made, classes, *, seed=0):
    noise = np.random.default_rng(seed).normal(size=ROWS)
    known = made.frame["condition"] + made.frame["age"].fillna(50) / 30 + made.frame["admitted_on.weekday"] / 4 + noise
    return known.to_numpy() if not classes else pd.qcut(known, classes, labels=False).to_numpy(dtype=float)


def explained(model, target, *, classes=0, how=ALL, taught=None):
    """A model fitted to all rows, or to other values of theirs, and the explanation of all rows."""
    made, rows = admissions(), np.arange(ROWS)
    fitted = fit(model, taught or made, target, group=rows, classes=classes, seed=0)
    problem = Problem(
        task=DAYS, features=made, target=target, labels=LABELS[:classes], table=made.frame,
        parts=np.full(ROWS, 2, dtype=np.int8), row=rows, content=rows, group=rows, twin=rows, refused={}, units={},
    )  # fmt: skip
    return fitted, measure(FittedRun(problem, None, fitted, fitted.predict(made.frame), None), how)


def added(found):
    """What base and contributions say of each row, shape (n, n_outputs)."""
    return (found.values.sum(axis=2) + found.base[:, None]).T


def sums(name, share):
    """What a classifier adds up before its link."""
    if name == "random_forest":
        return share
    return np.log(share) if name == "baseline" or share.shape[1] > 2 else logit(share[:, 1:])


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("name", SHIPPED)
def test_contributions_add_up_to_what_the_model_predicts(name, classes):
    made = admissions()
    fitted, found = explained(shipped(name), outcome(made, classes), classes=classes)
    predicted, sum_ = fitted.predict(made.frame), added(found)
    if classes == 3 and name != "random_forest":
        np.testing.assert_allclose(softmax(sum_, axis=1), predicted, atol=1e-6)
    else:
        np.testing.assert_allclose(sum_.T, sums(name, predicted).T if classes else [predicted], rtol=1e-6, atol=1e-6)
    assert found.values.shape == (max(1, len(found.classes)), ROWS, len(ROLES))
    assert found.classes == (LABELS[1:2] if classes == 2 and len(found.base) == 1 else LABELS[:classes])
    assert found.roles == ROLES
    assert found.unit == ("days" if not classes else "share" if name == "random_forest" else "log-odds")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_class_that_training_lacks_is_not_explained(name):
    made = admissions()
    target = np.where(outcome(made, 2) == 0, 0.0, 2.0)
    fitted, found = explained(shipped(name), target, classes=3)
    np.testing.assert_allclose(added(found), sums(name, fitted.predict(made.frame)[:, [0, 2]]), atol=1e-6)
    assert set(table(found)["class"]) == ({"Normal"} if len(found.base) == 1 else {"Abnormal", "Normal"})


@pytest.mark.parametrize("name", SHIPPED)
def test_a_column_of_which_the_model_saw_nothing_contributes_nothing(name):
    made = admissions()
    empty = Features(made.frame.assign(age=np.nan), made.specs, made.role)
    fitted, found = explained(shipped(name), outcome(made, 0), taught=empty)
    assert not found.values[:, :, ROLES.index("age")].any()
    assert found.roles == ROLES
    np.testing.assert_allclose(added(found)[:, 0], fitted.predict(made.frame), rtol=1e-6)


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.filterwarnings("ignore:LightGBM binary classifier:UserWarning")  # shap says what its output was once
def test_lightgbm_contributions_are_those_of_shap(classes):
    from shap import TreeExplainer  # noqa: PLC0415 -- seconds of import

    made = admissions()
    fitted, found = explained(shipped("lgbm"), outcome(made, classes), classes=classes)
    oracle = TreeExplainer(fitted.pipeline[-1])(fitted.encode(made.frame))
    values = oracle.values.reshape(ROWS, -1, len(found.values)).transpose(2, 0, 1)
    encoded = values.shape[2]
    if classes < 3:  # with three, a level-rich column becomes three encoded ones
        assert encoded == 5
    middle = slice(2, encoded - 2)
    np.testing.assert_allclose(found.values[:, :, 0], values[:, :, 0], atol=1e-9)
    np.testing.assert_allclose(found.values[:, :, 1], values[:, :, 1], atol=1e-9)
    np.testing.assert_allclose(found.values[:, :, 2], values[:, :, middle].sum(axis=2), atol=1e-9)
    np.testing.assert_allclose(found.values[:, :, 3], values[:, :, -2:].sum(axis=2), atol=1e-9)
    assert np.abs(values[:, :, -1]).max() > 0  # both parts of the date speak
    assert np.abs(values[:, :, -2]).max() > 0


def test_a_one_hot_column_gets_the_sum_of_its_levels():
    made = admissions()
    fitted, found = explained(shipped("linear"), outcome(made, 0))
    encoder, learner = fitted.pipeline
    X = encoder.transform(made.frame.to_numpy())
    place = encoder.output_indices_["feature_1"]
    assert place.stop - place.start == 6
    shifted = (X - X.mean(axis=0))[:, place] @ learner.coef_[place]
    np.testing.assert_allclose(found.values[0, :, 1], shifted, atol=1e-12)
    level = made.frame["condition"].to_numpy()
    for k in range(6):
        assert np.ptp(found.values[0, level == k, 1]) == pytest.approx(0, abs=1e-12)


def test_a_constant_has_no_contributions():
    target = outcome(admissions(), 3)
    _, found = explained(shipped("baseline"), target, classes=3)
    assert not found.values.any()
    np.testing.assert_allclose(log_softmax(found.base), np.log(np.bincount(target.astype(int)) / ROWS))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [0, 3])
def test_a_learner_that_no_exact_method_knows_is_explained_by_sampling(classes):
    near = {"_target_": "sklearn.neighbors.KNeighborsRegressor", "n_neighbors": 20}
    model = replace(
        shipped("linear"),
        regression=near,
        classification={**near, "_target_": "sklearn.neighbors.KNeighborsClassifier"},
        space={},
    )
    fitted, found = explained(model, outcome(admissions(), classes), classes=classes, how=Explain(rows=40, seconds=60))
    made = admissions().frame.iloc[found.index]
    assert found.method.startswith("permutation SHAP")
    np.testing.assert_allclose(added(found).squeeze(), fitted.predict(made), atol=1e-9)
    assert importance(found)["column"].iloc[0] == "condition"


@pytest.mark.parametrize(("rows", "place"), [(4, [0, 100, 199, 299]), (1, [0]), (ROWS, range(ROWS))])
def test_rows_are_taken_evenly_up_to_the_limit(rows, place):
    _, found = explained(shipped("lgbm"), outcome(admissions(), 0), how=Explain(rows=rows, seconds=60))
    assert found.index.tolist() == list(place)
    assert found.values.shape == (1, len(place), 4)


@pytest.mark.parametrize("classes", [0, 3])
def test_no_rows_asked_for_are_an_empty_explanation(classes):
    nothing = Explain(rows=0, seconds=60)
    _, found = explained(shipped("lgbm"), outcome(admissions(), classes), classes=classes, how=nothing)
    laid = table(found)
    assert laid.empty
    assert [name for name in laid if name != "class"] == ["row", *ROLES, "base_value"]
    assert importance(found).empty


def test_the_budget_of_seconds_limits_the_rows(monkeypatch):
    """A clock on which 20 rows take two seconds: 10 s pay for 100 rows, and no budget for the 20 that tell."""
    for seconds, rows in ((10.0, 100), (0.0, 20)):
        clock = iter([0.0, 1.0, 5.0, 7.0])
        monkeypatch.setattr(explanations.time, "perf_counter", lambda clock=clock: next(clock))
        model = shipped("linear")
        _, found = explained(model, outcome(admissions(), 0), how=Explain(rows=250, seconds=seconds))
        assert len(found.index) == rows
        assert (found.index[0], found.index[-1]) == (0, ROWS - 1)


def test_contributions_that_do_not_add_up_are_an_error(monkeypatch):
    honest = explanations.contributions
    monkeypatch.setattr(explanations, "contributions", lambda *given: (honest(*given)[0] * 1.001, *honest(*given)[1:]))
    with pytest.raises(ArithmeticError, match="differ from the prediction"):
        explained(shipped("lgbm"), outcome(admissions(), 0))


def small(outputs=1, classes=()):
    values, index = np.arange(outputs * 6, dtype=float).reshape(outputs, 3, 2) - 2, np.array([0, 2, 4])
    base = np.arange(outputs) + 0.5
    return Explanation(index, index + 11, values, base, list(classes), ["age", "sex"], "days", "by hand")


def test_the_table_of_an_amount_names_the_source_rows():
    found = table(small())
    assert list(found.columns) == ["row", "age", "sex", "base_value"]
    assert found["row"].tolist() == [11, 13, 15]
    assert found["age"].tolist() == [-2, 0, 2]
    assert set(found["base_value"]) == {0.5}


def test_the_table_of_classes_holds_a_block_per_class():
    found = table(small(3, "abc"))
    assert list(found.columns) == ["row", "class", "age", "sex", "base_value"]
    assert found["class"].tolist() == [*"aaabbbccc"]
    assert found.groupby("class")["base_value"].first().tolist() == [0.5, 1.5, 2.5]


def test_importance_is_the_mean_size_over_rows_and_classes_largest_first():
    found = importance(small(2))
    size = np.abs(small(2).values).mean(axis=(0, 1))
    assert found["column"].tolist() == ["sex", "age"]
    np.testing.assert_allclose(found["importance"], size[::-1])
    assert (found["low"] >= 0).all()
    assert (found["high"] > found["importance"]).all()
    assert set(found["n"]) == {3}


def test_importance_of_one_row_is_an_empty_table():
    zero = np.array([0])
    one = Explanation(zero, zero, np.ones((1, 1, 2)), np.zeros(1), [], ["age", "sex"], "days", "by hand")
    assert importance(one).empty


def test_swarm_shows_the_largest_columns_and_shades_numbers_only():
    features = pd.DataFrame({"age": [30.0, np.nan, 70.0], "payer": ["A", "B", None], "room": [1, 2, 3]})
    values = pd.DataFrame({"age": [0.1, 0.2, -0.3], "payer": [1.0, -2, 0], "room": 0.0})
    table = explanations.swarm_table(values, features, everyone(3), columns=2)
    assert table["column"].tolist() == ["payer"] * 3 + ["age"] * 3
    assert table["contribution"].tolist() == [-2, 0, 1, -0.3, 0.1, 0.2]
    np.testing.assert_array_equal(table["shade"], [np.nan] * 3 + [1, 0, np.nan])


def everyone(n):
    """A rule under which each row is a patient of whom one may speak."""
    return Disclosure(np.arange(n), 1)


def test_dependence_pools_rare_levels():
    features = pd.DataFrame({"hospital": list("aaabbcd"), "age": np.arange(7)})
    values = pd.DataFrame({"hospital": np.arange(7.0), "age": 0.5})
    table = explanations.dependence_table(values, features, everyone(7), levels=3)
    levels = table[table["kind"] == "level"].set_index("level")
    assert levels["n"].to_dict() == {"a": 3, "b": 2, "2 other levels": 2}
    assert levels["q50"].to_dict() == {"a": 1.0, "b": 3.5, "2 other levels": 5.5}
    points = table[table["kind"] == "point"]
    assert points["number"].tolist() == list(range(7))
    assert points["contribution"].eq(0.5).all()


@pytest.mark.parametrize(
    ("hospitals", "levels"),
    [
        ("aaaaaabbbbbcccccc", {"a": 6, "b": 5, "c": 6}),
        ("aaaaaaabbbbbbbcc", {"a": 7, "2 other levels": 9}),  # two alone would be a cell of two
        ("aaaaaaaabbbccc", {"a": 8, "2 other levels": 6}),
        ("aaaabbbccc", {"3 other levels": 10}),
    ],
)
def test_levels_of_too_few_patients_are_pooled_until_they_are_enough(hospitals, levels):
    values = pd.DataFrame({"hospital": np.arange(len(hospitals)) * 1.0})
    rule = Disclosure(np.arange(len(hospitals)), 5)
    table = explanations.dependence_table(values, pd.DataFrame({"hospital": list(hospitals)}), rule)
    assert dict(zip(table["level"], table["n"], strict=True)) == levels


def test_no_point_and_no_bar_is_of_fewer_patients_than_the_rule_allows():
    rng, n = np.random.default_rng(0), 600
    patient = rng.integers(0, 250, n)
    age = np.where(rng.random(n) < 0.004, np.nan, rng.integers(18, 90, n))
    day = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"))
    features = pd.DataFrame({"age": age, "payer": rng.choice(["A", "B", "C"], n, p=[0.9, 0.095, 0.005])})
    values = pd.DataFrame(rng.normal(size=(n, 3)), columns=["age", "payer", "day"]) * [3, 2, 1]
    rule = Disclosure(patient, 5)
    numbers = features.assign(day=day.dt.day_of_year.astype(float))
    swarm = explanations.swarm_table(values, numbers, rule)
    dependence = explanations.dependence_table(values, numbers, rule)
    rows = explanations.typical_rows(values, 0.0, rule)
    waterfall = explanations.waterfall_table(values, features.assign(day=day), 0.0, rule, rows=rows)
    for drawn in (swarm, dependence, waterfall):
        assert (drawn["n"] >= 5).all()
        assert not {"row", "index"} & set(drawn)
    assert swarm.groupby("column")["n"].sum().between(n - 4, n).all()  # less the ages that too few lack
    assert all(len(np.unique(patient[index])) >= 5 for index in rows.values())
    shown = set(waterfall.loc[waterfall["column"] == "day", "value"])
    assert all(re.fullmatch(r"2024-\d\d", month) for month in shown)
    assert set(waterfall.loc[waterfall["column"] == "payer", "value"]) <= {"A", "mostly A"}
    for panel, index in rows.items():
        assert waterfall.loc[waterfall["panel"] == panel, "contribution"].sum() == pytest.approx(
            values.iloc[index].sum(axis=1).mean()
        )


def test_waterfall_leads_from_the_base_value_to_the_prediction():
    features = pd.DataFrame({name: [1.0] for name in "abcd"})
    values = pd.DataFrame({"a": [0.5], "b": [-2.0], "c": [0.25], "d": [-0.125]})
    table = explanations.waterfall_table(values, features, 10.0, everyone(1), rows={"Only": np.array([0])}, columns=2)
    assert table["column"].tolist() == ["b", "a", "2 other columns"]
    assert table["contribution"].tolist() == [-2.0, 0.5, 0.125]
    assert table[["low", "high"]].to_numpy().tolist() == [[8.0, 10.0], [8.0, 8.5], [8.5, 8.625]]
    assert table["prediction"].tolist() == [8.625] * 3
    assert table["value"].tolist() == ["1", "1", ""]


@pytest.mark.parametrize(("n", "names"), [(1, ["Middle"]), (2, ["Middle", "High"]), (100, ["Low", "Middle", "High"])])
def test_typical_rows_are_low_middle_and_high_and_never_twice_the_same(n, names):
    values = pd.DataFrame({"a": np.arange(n)[::-1] * 1.0})
    rows = explanations.typical_rows(values, 3.0, everyone(n))
    assert list(rows) == names
    assert pd.Series([values["a"].iloc[index].mean() for index in rows.values()]).is_monotonic_increasing
    assert len(np.unique(np.concatenate(list(rows.values())))) == sum(map(len, rows.values()))


@pytest.mark.parametrize("classes", [2, 3])
def test_in_probabilities_base_and_contributions_are_the_probability_and_nobody_who_says_nothing_gets_any(classes):
    fitted, found = explained(shipped("linear"), outcome(admissions(), classes), classes=classes)
    silent = replace(found, values=np.concatenate([found.values, 0 * found.values[:, :, :1]], axis=2))
    made = explanations.in_probabilities(silent)
    probabilities = 100 * fitted.predict(admissions().frame.iloc[found.index])[:, -len(made.base) :]
    np.testing.assert_allclose(added(made), probabilities, atol=1e-6)
    assert made.unit == explanations.POINTS
    assert not made.values[:, :, -1].any()
    assert explanations.in_probabilities(made) is made
