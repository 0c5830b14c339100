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
_FILLED = 0.25  # share of the known cells in levels of enough rows, from which on their mean targets are worth learning


@dataclass(frozen=True, config=STRICT)
class Encoding:
    """How features become what a learner takes."""

    # ``native`` leaves it to the learner, which is told which columns are categories, to sort their levels
    categories: Literal["ordinal", "native", "onehot"]
    numbers: Literal["raw", "scaled"]  # ``scaled`` also fills missing numbers with the median and marks where it did
    many_levels: int = 32  # a category of more levels becomes the mean target of its levels, cross-fitted
    # rows at which the mean of a level weighs as much as that of all; where fewer than a quarter of the known cells lie
    # in such levels, the most common levels, ``many_levels`` of them, keep codes of their own, and the others share one
    level_rows: float = 5


def usable(features: Features, train: NDArray[np.bool_]) -> tuple[list[str], dict[str, str]]:
    """Choose the features that vary in the training rows: missing is a value of its own, and no other is left out.

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
    rows = features.frame[train]
    names = [name for name in features.role if len(rows[name].unique()) > 1]
    roles = {features.role[name] for name in names}
    without = {name: role for name, role in features.role.items() if role not in roles}
    return names, {
        role: f"{_lack(rows[name], features.smallest)} in the training rows" for name, role in without.items()
    }


def _lack(values: pd.Series, smallest: int) -> str:
    if (values == UNSEEN).any():
        return f"no level of {smallest} patients"
    return "one value" if values.notna().any() else "no value"


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
        elif len(features.levels(name) or ()) <= encoding.many_levels:
            step = _categories(encoding, "auto")
        else:
            rows = features.frame[name].value_counts()
            named = rows.drop(UNSEEN, errors="ignore")
            if named[named >= encoding.level_rows].sum() >= _FILLED * rows.sum():
                step = TargetEncoder(target_type=kind, cv=cross, smooth=encoding.level_rows)
            else:  # folds would be told apart by their means, and rows by the folds
                step = _categories(encoding, [_most_common(features.frame[name], encoding.many_levels)])
        steps.append((f"feature_{position}", step, [position]))
    return ColumnTransformer(steps, sparse_threshold=0)


def _numbers(how: str) -> Any:
    if how == "raw":
        return "passthrough"
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())


def _categories(encoding: Encoding, levels: Any) -> Any:
    if encoding.categories == "onehot":
        return OneHotEncoder(categories=levels, handle_unknown="ignore", sparse_output=False)
    missing = encoding.many_levels if encoding.categories == "native" else np.nan  # a code that no level has
    return OrdinalEncoder(
        categories=levels, handle_unknown="use_encoded_value", unknown_value=UNSEEN, encoded_missing_value=missing
    )


def _most_common(codes: pd.Series, count: int) -> Floats:
    """The codes of the most common levels, ascending, with NaN at the end where some are missing."""
    common = np.sort(codes[codes != UNSEEN].value_counts().index[:count].to_numpy())
    return np.append(common, np.nan) if codes.isna().any() else common


def native_columns(encoder: ColumnTransformer) -> list[int]:
    """Return the columns of the learner's matrix that hold codes of categories, which have no order."""
    return [
        encoder.output_indices_[title].start
        for title, step, _ in encoder.transformers_
        if isinstance(step, OrdinalEncoder) and not np.isnan(step.encoded_missing_value)
    ]


def forget_few(encoder: ColumnTransformer, features: Features, group: NDArray[np.int64]) -> None:
    """Let a level that too few groups of these rows have, such as "missing", stand for the mean of all, not its own."""
    for _, step, columns in encoder.transformers_:
        if isinstance(step, TargetEncoder):
            groups = pd.Series(group).groupby(features.frame.iloc[:, columns[0]].to_numpy(), dropna=False).nunique()
            few = groups.reindex(step.categories_[0]).to_numpy() < features.smallest
            for means, overall in zip(step.encodings_, np.atleast_1d(step.target_mean_), strict=True):
                means[few] = overall


def forget_folds(encoder: ColumnTransformer) -> None:
    """The folds of the cross-fitting are row numbers: no part of a model that is kept."""
    for _, step, _ in encoder.transformers_:
        if isinstance(step, TargetEncoder):
            step.set_params(cv=_TARGET_FOLDS)
