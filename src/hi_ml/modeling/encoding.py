"""How do features become what a learner takes, and which of them can teach anything?"""

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from hi_ml.app.config import STRICT
from hi_ml.modeling.features import Features
from hi_ml.modeling.splits import folds
from hi_ml.scorer.serving import UNSEEN

Floats = NDArray[np.float64]
_TARGET_FOLDS = 5  # cross-fitting of a target encoding


@dataclass(frozen=True, config=STRICT)
class Encoding:
    """How features become what a learner takes."""

    categories: Literal["ordinal", "onehot"]
    numbers: Literal["raw", "scaled"]  # ``scaled`` also fills missing numbers with the median and marks where it did
    many_levels: int = 32  # a category of more levels is target-encoded
    level_rows: int = 20  # it is left out unless half of the training rows sit in levels of at least so many rows


def usable(encoding: Encoding, features: Features, train: NDArray[np.bool_]) -> tuple[list[str], dict[str, str]]:
    """Choose the features that the training rows can teach.

    Parameters
    ----------
    train : array of bool, shape (n,)

    Returns
    -------
    names : list of str
        Features.
    left_out : dict of str to str
        Role and reason of the columns of which no feature is usable.
    """
    names, why = [], {}
    for name, role in features.role.items():
        values = features.frame.loc[train, name]
        if values.nunique(dropna=False) < 2:  # noqa: PLR2004 -- one value teaches nothing
            why[role] = "one value in the training rows"
        elif _many(encoding, features, name) and not _well_filled(values, encoding.level_rows):
            why[role] = (
                f"{values.nunique()} levels, and fewer than half of the training rows in levels of "
                f"{encoding.level_rows} rows or more"
            )
        else:
            names.append(name)
    roles = {features.role[name] for name in names}
    return names, {role: reason for role, reason in why.items() if role not in roles}


def encoder(
    encoding: Encoding, features: Features, target: Floats, group: NDArray[np.int64], *, classes: int, seed: int
) -> ColumnTransformer:
    """Make one transformer per feature, so that every encoded column knows the feature it came from.

    It takes the features as an array, by position: a frame costs scikit-learn several times as long.

    Parameters
    ----------
    features : Features, shape (n, n_features)
        Training rows and usable features only.
    target : array of float64, shape (n,)
        Amounts, or class numbers.
    group : array of int64, shape (n,)
        Groups stay together in the folds of a cross-fitted encoding.
    classes : int
        Number of labels; 0 for regression.
    """
    cross = folds(group, count=_TARGET_FOLDS, seed=seed)
    kind = {0: "continuous", 2: "binary"}.get(classes and len(np.unique(target)), "multiclass")
    steps = []
    for position, name in enumerate(features.frame.columns):
        if features.frame[name].isna().all():
            step: Any = "drop"  # no row of these has a value, and a learner may refuse such a column
        elif features.levels(name) is None:
            step = _numbers(encoding.numbers)
        elif _many(encoding, features, name):
            step = TargetEncoder(target_type=kind, cv=cross)
        else:
            step = _categories(encoding.categories)
        steps.append((f"feature_{position}", step, [position]))
    return ColumnTransformer(steps, sparse_threshold=0)


def _numbers(how: str) -> Any:
    if how == "raw":
        return "passthrough"
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())


def _categories(how: str) -> Any:
    if how == "onehot":
        return OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNSEEN)


def forget_folds(encoder: ColumnTransformer) -> None:
    """The folds of the cross-fitting are row numbers: no part of a model that is kept."""
    for _, step, _ in encoder.transformers_:
        if isinstance(step, TargetEncoder):
            step.set_params(cv=_TARGET_FOLDS)


def _many(encoding: Encoding, features: Features, name: str) -> bool:
    return len(features.levels(name) or ()) > encoding.many_levels


def _well_filled(values: pd.Series, rows: int) -> bool:
    counts = values.value_counts()
    return bool(counts[counts >= rows].sum() * 2 >= len(values))
