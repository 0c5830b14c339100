"""What each column adds to a prediction; that it adds up, for every shipped model, is tested with the explanations."""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import OneHotEncoder

from hi_ml.scorer.contributions import contributions, owners

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(200, 3))
Y = 2 * X[:, 0] - X[:, 1] * X[:, 2]


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
