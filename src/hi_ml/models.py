"""From a YAML to a fitted scikit-learn Pipeline: a learner on encoded features, with early stopping."""

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
from sklearn.pipeline import Pipeline

from hi_ml.config import STRICT, instantiate
from hi_ml.encoding import Encoding, encoder, forget_folds
from hi_ml.errors import ConfigurationInvalid
from hi_ml.features import Features
from hi_ml.splits import folds

Floats = NDArray[np.float64]
_CONSTANT = {"_target_": "sklearn.dummy.DummyClassifier", "strategy": "prior"}


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
    encode = encoder(model.encoding, taught, target[inner], group[inner], classes=classes, seed=seed)
    X = encode.fit_transform(taught.frame, target[inner])
    forget_folds(encode)
    with _refusals(model):
        if len(held):
            stopping = encode.transform(features.frame.iloc[held]), target[held]
            _fit_stopping(learner, model, (X, target[inner]), stopping)
        else:
            learner.fit(X, target[inner])
    pipeline = Pipeline([("encode", encode), ("learn", learner)])
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
