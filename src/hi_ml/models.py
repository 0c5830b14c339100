"""From a YAML to a fitted scikit-learn Pipeline: encoding, learner, early stopping."""

import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from hi_ml.config import STRICT, instantiate
from hi_ml.errors import ConfigurationInvalid
from hi_ml.features import Features
from hi_ml.serving import UNSEEN
from hi_ml.splits import folds

Floats = NDArray[np.float64]
_TARGET_FOLDS = 5  # cross-fitting of a target encoding
_CONSTANT = {"_target_": "sklearn.dummy.DummyClassifier", "strategy": "prior"}


@dataclass(frozen=True, config=STRICT)
class Encoding:
    """How features become what a learner takes.

    Attributes
    ----------
    categories : {"ordinal", "onehot"}
    numbers : {"raw", "scaled"}
        ``scaled`` also fills missing numbers with the median and marks where it did.
    many_levels : int
        A category of more levels is target-encoded.
    level_rows : int
        It is left out unless half of the training rows sit in levels of at least so many rows.
    """

    categories: Literal["ordinal", "onehot"]
    numbers: Literal["raw", "scaled"]
    many_levels: int = 32
    level_rows: int = 20


@dataclass(frozen=True, config=STRICT)
class EarlyStopping:
    """When a learner that adds trees may stop.

    Attributes
    ----------
    rounds : int
        Without improvement.
    share : float
        Of the training groups that are held out to measure it.
    """

    rounds: int = Field(ge=1)
    share: float = Field(gt=0, le=0.5)


@dataclass(frozen=True, config=STRICT)
class Model:
    """One YAML: learners, encoding, early stopping, search space.

    Attributes
    ----------
    name : str
    regression, classification : dict
        The learner of each kind: ``_target_`` and its arguments.
    predicts : {"median", "mean"}
        What the regression learner aims at; the baseline is the median.
    encoding : Encoding
    early_stopping : EarlyStopping or None
    space : dict
        What `tune` may try.
    """

    name: str
    regression: dict[str, Any]
    classification: dict[str, Any]
    predicts: Literal["median", "mean"]
    encoding: Encoding
    early_stopping: EarlyStopping | None = None
    space: dict[str, Any] = Field(default_factory=dict)


@plain_dataclass(frozen=True)
class Fitted:
    """A pipeline with what is to be known of its making.

    Attributes
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Steps ``encode`` and ``learn``; takes the frame of ``features``.
    features : list of str
        Columns of that frame, in order.
    classes : int
        Number of labels of the task; 0 for regression.
    seconds : float
        Of the fit.
    """

    pipeline: Pipeline
    features: list[str]
    classes: int
    seconds: float

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Predict amounts, shape (n,), or probabilities of all labels of the task, shape (n, n_classes)."""
        frame = frame[self.features]
        if not self.classes:
            return np.asarray(self.pipeline.predict(frame), dtype=float)
        shares = np.zeros((len(frame), self.classes))
        shares[:, self.pipeline.classes_.astype(int)] = self.pipeline.predict_proba(frame)
        return shares


def usable(model: Model, features: Features, train: NDArray[np.bool_]) -> tuple[list[str], dict[str, str]]:
    """Choose the features that the training rows can teach.

    Parameters
    ----------
    model : Model
    features : Features
    train : array of bool, shape (n,)

    Returns
    -------
    kept : list of str
        Features.
    left_out : dict of str to str
        Role and reason of the columns of which nothing is kept.
    """
    kept, why = [], {}
    for name, role in features.role.items():
        values = features.frame.loc[train, name]
        if values.nunique(dropna=False) < 2:  # noqa: PLR2004 -- one value teaches nothing
            why[role] = "one value in the training rows"
        elif _many(model, features, name) and not _well_filled(values, model.encoding.level_rows):
            why[role] = (
                f"{values.nunique()} levels, and fewer than half of the training rows in levels of "
                f"{model.encoding.level_rows} rows or more"
            )
        else:
            kept.append(name)
    roles = {features.role[name] for name in kept}
    return kept, {role: reason for role, reason in why.items() if role not in roles}


def fit(
    model: Model, features: Features, target: Floats, *, group: NDArray[np.int64], classes: int, seed: int
) -> Fitted:
    """Fit encoding and learner.

    Parameters
    ----------
    model : Model
    features : Features, shape (n, n_features)
        Training rows and usable features only.
    target : array of float64, shape (n,)
        Amounts, or class numbers.
    group : array of int64, shape (n,)
        Groups stay together in every inner split (early stopping, cross-fitted encoding).
    classes : int
        Number of labels; 0 for regression.
    seed : int

    Returns
    -------
    Fitted
    """
    started = time.perf_counter()
    if classes and len(np.unique(target)) < 2:  # noqa: PLR2004 -- one label teaches a constant, and learners refuse it
        model = replace(model, classification=_CONSTANT, early_stopping=None)
    learner = _learner(model, classes=classes)
    if "random_state" in learner.get_params():
        learner.set_params(random_state=seed)
    inner, held = _inner(model, target, group, seed=seed, classes=classes)
    taught = features.part(inner, list(features.frame.columns))
    encoder = _encoder(model, taught, target[inner], group[inner], classes=classes, seed=seed)
    X = encoder.fit_transform(taught.frame, target[inner])
    _forget_folds(encoder)
    with _refusals(model):
        if len(held):
            stopping = encoder.transform(features.frame.iloc[held]), target[held]
            _fit_stopping(learner, model, (X, target[inner]), stopping)
        else:
            learner.fit(X, target[inner])
    pipeline = Pipeline([("encode", encoder), ("learn", learner)])
    return Fitted(pipeline, list(features.frame.columns), classes, time.perf_counter() - started)


def _learner(model: Model, *, classes: int) -> Any:
    with _refusals(model):
        return instantiate(model.classification if classes else model.regression)


@contextmanager
def _refusals(model: Model) -> Iterator[None]:
    """Turn what a learner says of its settings, in whatever exception, into a sentence about the configuration."""
    try:
        yield
    except Exception as error:  # each library has its own
        raise ConfigurationInvalid.learner(model.name, error) from error


def _inner(
    model: Model, target: Floats, group: NDArray[np.int64], *, seed: int, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold groups out for early stopping, if the learner can use them."""
    if model.early_stopping is None:
        return np.arange(len(target)), np.array([], dtype=np.int64)
    inner, held = folds(group, count=round(1 / model.early_stopping.share), seed=seed)[0]
    if not classes:
        return inner, held
    strange = ~np.isin(target[held], target[inner])  # a learner refuses labels it never saw: their groups teach it
    moved = np.isin(group[held], group[held][strange])
    return np.sort(np.append(inner, held[moved])), held[~moved]


def _fit_stopping(learner: Any, model: Model, train: tuple[Floats, Floats], held: tuple[Floats, Floats]) -> None:
    """Hand the held-out rows to the learner in the words that it knows."""
    known = inspect.signature(learner.fit).parameters
    if "X_val" in known:  # scikit-learn
        learner.fit(*train, X_val=held[0], y_val=held[1])
        return
    from lightgbm import early_stopping  # noqa: PLC0415 -- another learner does not need it

    rounds = model.early_stopping.rounds if model.early_stopping else 0
    learner.fit(*train, eval_X=held[0], eval_y=held[1], callbacks=[early_stopping(rounds, verbose=False)])


def _encoder(
    model: Model, features: Features, target: Floats, group: NDArray[np.int64], *, classes: int, seed: int
) -> ColumnTransformer:
    """One transformer per feature, so that every encoded column knows the feature it came from."""
    cross = folds(group, count=_TARGET_FOLDS, seed=seed)
    kind = {0: "continuous", 2: "binary"}.get(classes and len(np.unique(target)), "multiclass")
    steps = []
    for place, name in enumerate(features.frame.columns):
        if features.frame[name].isna().all():
            step: Any = "drop"  # no row of these has a value, and a learner may refuse such a column
        elif features.levels(name) is None:
            step = _numbers(model.encoding.numbers)
        elif _many(model, features, name):
            step = TargetEncoder(target_type=kind, cv=cross)
        else:
            step = _categories(model.encoding.categories)
        steps.append((f"feature_{place}", step, [name]))
    return ColumnTransformer(steps, sparse_threshold=0)


def _numbers(how: str) -> Any:
    if how == "raw":
        return "passthrough"
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())


def _categories(how: str) -> Any:
    if how == "onehot":
        return OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNSEEN)


def _forget_folds(encoder: ColumnTransformer) -> None:
    """The folds of the cross-fitting are row numbers: no part of a model that is kept."""
    for _, step, _ in encoder.transformers_:
        if isinstance(step, TargetEncoder):
            step.set_params(cv=_TARGET_FOLDS)


def _many(model: Model, features: Features, name: str) -> bool:
    return len(features.levels(name) or ()) > model.encoding.many_levels


def _well_filled(values: pd.Series, rows: int) -> bool:
    counts = values.value_counts()
    return bool(counts[counts >= rows].sum() * 2 >= len(values))
