import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.special import logit
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import OneHotEncoder

from hi_ml.scorer.contributions import contributions, owners, raw, unit_of

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(200, 3))
Y = 2 * X[:, 0] - X[:, 1] * X[:, 2]
AMOUNTS = [
    LGBMRegressor(n_estimators=5, verbosity=-1, n_jobs=1),
    HistGradientBoostingRegressor(max_iter=5),
    RandomForestRegressor(5, random_state=0),
    Ridge(),
    DummyRegressor(),
]
LABELS = [
    (LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1), "log-odds"),
    (HistGradientBoostingClassifier(max_iter=5), "log-odds"),
    (RandomForestClassifier(5, random_state=0), "share"),
    (LogisticRegression(), "log-odds"),
    (DummyClassifier(), "log-odds"),
]


def named(learner):
    return type(learner[0] if isinstance(learner, tuple) else learner).__name__


@pytest.mark.parametrize("learner", AMOUNTS, ids=named)
def test_base_and_contributions_add_up_to_the_amount(learner):
    values, base, _ = contributions(learner.fit(X, Y), X)
    assert values.shape == (1, 200, 3)
    np.testing.assert_allclose(base + values[0].sum(axis=1), learner.predict(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("learner", "unit"), LABELS, ids=map(named, LABELS))
def test_base_and_contributions_add_up_to_what_a_classifier_adds_up(learner, unit):
    values, base, _ = contributions(learner.fit(X, Y > 0), X)
    assert unit_of(learner) == unit
    added = (base[:, None] + values.sum(axis=2)).T
    shares = learner.predict_proba(X)
    expected = shares if unit == "share" else np.log(shares) if added.shape[1] == 2 else logit(shares[:, 1:])
    np.testing.assert_allclose(added, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(raw(learner, X).T, expected, rtol=1e-6, atol=1e-6)


def test_a_linear_model_is_explained_from_the_row_that_is_given():
    learner = Ridge().fit(X, Y)
    values, base, _ = contributions(learner, X, centre=np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(values[0], learner.coef_ * (X - [1, 2, 3]))
    np.testing.assert_allclose(base, learner.predict([[1.0, 2.0, 3.0]]))
    around_the_mean, _, _ = contributions(learner, X)
    np.testing.assert_allclose(around_the_mean[0].mean(axis=0), 0, atol=1e-12)


def test_a_learner_that_nothing_explains_exactly_has_no_contributions():
    assert contributions(KNeighborsRegressor().fit(X, Y), X) is None


def test_every_encoded_column_has_the_source_column_it_came_from():
    frame = pd.DataFrame({"sex": [0.0, 1.0], "day": [1.0, 2.0], "empty": [np.nan] * 2, "day.month": [1.0, 1.0]})
    steps = [OneHotEncoder(), "passthrough", "drop", "passthrough"]
    titled = [(f"feature_{place}", step, [name]) for place, (step, name) in enumerate(zip(steps, frame, strict=True))]
    encoder = ColumnTransformer(titled).fit(frame)
    role = {"sex": "sex", "day": "admitted_on", "empty": "ward", "day.month": "admitted_on"}
    assert owners(encoder, list(frame), role) == ["sex", "sex", "admitted_on", "admitted_on"]
