"""From a YAML to a fitted scikit-learn Pipeline: a learner on encoded features, with early stopping."""

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from hi_ml.app.config import STRICT, class_of, instantiate
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.modeling.bags import mean_learner
from hi_ml.modeling.encoding import Encoding, encoder, forget_few, forget_folds, native_columns
from hi_ml.modeling.features import Features
from hi_ml.modeling.scale import RAW, TargetScale
from hi_ml.modeling.spaces import Space
from hi_ml.modeling.splits import hold_out
from hi_ml.modeling.tasks import Functional
from hi_ml.scorer.serving import recalibrate
from hi_ml.statistics.calibration import Recalibration

Floats = NDArray[np.float64]
_SEEDS = {"random_state", "random_seed"}
_CONSTANT = {"_target_": "sklearn.dummy.DummyClassifier", "strategy": "prior"}


@dataclass(frozen=True, config=STRICT)
class EarlyStopping:
    """When a learner that adds trees may stop."""

    rounds: int = Field(ge=1)  # without improvement
    share: float = Field(gt=0, le=0.5)  # of the training groups that are held out to measure it


@dataclass(frozen=True, config=STRICT)
class Quantile:
    """What turns the regression learner into one of a quantile."""

    level: str  # name of the argument that takes the quantile's level
    arguments: dict[str, Any]  # other arguments that differ; those of the regression learner stand
    text: str | None = None  # of the argument of the level, "{}" standing for it; the number itself by default

    def at(self, level: float) -> dict[str, Any]:
        """Return the arguments of one quantile."""
        return {**self.arguments, self.level: level if self.text is None else self.text.format(level)}


@dataclass(frozen=True, config=STRICT)
class Model:
    """One YAML: learners, encoding, early stopping, search space."""

    name: str
    regression: dict[str, Any]  # the learner of each kind: ``_target_`` and its arguments
    classification: dict[str, Any]
    predicts: Functional  # what the regression learner aims at
    encoding: Encoding
    # arguments that make the regression learner one of the mean; None where it is one, or cannot be
    mean: dict[str, Any] | None = None
    quantile: Quantile | None = None  # how the bounds of intervals are learned; None where the learner has no quantiles
    early_stopping: EarlyStopping | None = None
    bags: int = Field(default=1, ge=1)  # learners of seeds of their own whose mean is the learner; above 1 of LightGBM
    # what `tune` may try, by argument of a learner; each stands with its default under one of the two
    space: Space = Field(default_factory=dict)

    def aim_at(self, functional: Functional, level: float | None = None) -> "Model":
        """Let the regression learner aim at what a score asks for: at another functional, as far as it knows how.

        Parameters
        ----------
        level : float, optional
            Of a quantile; of the median, otherwise.
        """
        how = None
        if functional == "mean":
            how = self.mean
        elif self.quantile is not None:
            how = self.quantile.at(level or 0.5)
        if functional in (self.predicts, "frequencies") or how is None:
            return self
        return replace(self, regression={**self.regression, **how}, predicts=functional)

    def __post_init__(self) -> None:
        """Check that the space speaks of arguments that the learners have."""
        arguments = {**self.regression, **self.classification}.keys() - {"_target_"}
        if strange := self.space.keys() - arguments:
            raise ValueError(
                f"space names {', '.join(sorted(strange))}, for which no default stands under regression or "
                f"classification; these have {', '.join(sorted(arguments))}"
            )


@plain_dataclass(frozen=True)
class Fitted:
    """A pipeline with what is to be known of its making."""

    pipeline: Pipeline  # steps ``encode`` and ``learn``; takes the array of ``features``
    features: list[str]  # columns of the array that it takes, in order
    classes: int  # number of labels of the task; 0 for regression
    seconds: float  # of the fit
    recalibration: Recalibration | None = None  # what is made of the learner's probabilities
    # of a low and a high quantile, or of the high one alone, on the matrix that the pipeline's encoder makes
    bounds: tuple[Any, ...] | None = None
    scale: TargetScale = RAW  # that pipeline and bounds predict on

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Predict amounts, shape (n,), or probabilities of all labels of the task, shape (n, n_classes)."""
        X = frame[self.features].to_numpy()
        if not self.classes:
            return self.scale.amounts(np.asarray(self.pipeline.predict(X), dtype=float))
        probabilities = np.zeros((len(frame), self.classes))
        probabilities[:, self.pipeline.classes_.astype(int)] = self.pipeline.predict_proba(X)
        if self.recalibration is None:
            return probabilities
        return recalibrate(probabilities, self.recalibration.slope, self.recalibration.intercepts)

    def limits(self, frame: pd.DataFrame) -> list[Floats]:
        """Predict the quantiles of the bounds, each of shape (n,); none without bounds."""
        if self.bounds is None:
            return []
        X = self.encode(frame)
        return [self.scale.quantiles(np.asarray(bound.predict(X), dtype=float)) for bound in self.bounds]

    def encode(self, frame: pd.DataFrame) -> Floats:
        """Make the learner's matrix, shape (n, n_encoded)."""
        return np.asarray(self.pipeline[0].transform(frame[self.features].to_numpy()))


def fit(
    model: Model,
    features: Features,
    target: Floats,
    *,
    group: NDArray[np.int64],
    classes: int,
    seed: int,
    scale: TargetScale = RAW,
) -> Fitted:
    """Fit encoding and learner.

    Parameters
    ----------
    features : Features, shape (n, n_features)
        Training rows and usable features only.
    target : array of float64, shape (n,)
        Amounts, or class numbers.
    group : array of int64, shape (n,)
        Groups stay together in every inner split (early stopping, cross-fitted encoding).
    classes : int
        Number of labels; 0 for regression.
    scale : TargetScale
        On which amounts are learned, and target statistics of the encoding are means.
    """
    started = time.perf_counter()
    if classes and len(np.unique(target)) < 2:  # noqa: PLR2004 -- one label teaches a constant, and learners refuse it
        plain = replace(model.encoding, categories="ordinal")
        model = replace(model, classification=_CONSTANT, encoding=plain, early_stopping=None, bags=1, space={})
    encode, fold = _encode(model, features, scale.learned(target), group=group, classes=classes, seed=seed)
    learner = _fit_learner(model, model.classification if classes else model.regression, fold, seed=seed)
    pipeline = Pipeline([("encode", encode), ("learn", learner)])
    return Fitted(pipeline, list(features.role), classes, time.perf_counter() - started, scale=scale)


def fit_quantiles(
    model: Model,
    features: Features,
    target: Floats,
    *,
    group: NDArray[np.int64],
    quantiles: Sequence[float],
    seed: int,
    scale: TargetScale = RAW,
) -> tuple[Any, ...] | None:
    """Fit a learner of each of some quantiles of the target.

    Parameters
    ----------
    features : Features, shape (n, n_features)
        Training rows and usable features only, as for `fit`.
    target : array of float64, shape (n,)
        Amounts.
    group : array of int64, shape (n,)
    scale : TargetScale
        Of the learner, as for `fit`: the bounds are quantiles on it.

    Returns
    -------
    tuple of learners, or None
        Fitted and early-stopped on the very matrices that the same rows and seed give the learner of `fit`; None where
        the model's learner has no quantiles.
    """
    how = model.quantile
    if how is None:
        return None
    _, fold = _encode(model, features, scale.learned(target), group=group, classes=0, seed=seed)
    nodes = ({**model.regression, **how.at(quantile)} for quantile in quantiles)
    return tuple(_fit_learner(model, node, fold, seed=seed) for node in nodes)


def as_stopped(model: Model, fitted: Fitted) -> Model:
    """Return the model with the rounds that a fit of its classifier stopped at, and no early stopping.

    Parameters
    ----------
    fitted : Fitted
        Of classes; a learner that was not stopped leaves the model as it is.
    """
    learner, fixed = fitted.pipeline[-1], None
    if hasattr(learner, "tree_count_"):  # CatBoost
        fixed = {"iterations": learner.tree_count_}
    elif hasattr(learner, "best_iteration_"):  # LightGBM
        fixed = {"n_estimators": learner.best_iteration_}
    elif hasattr(learner, "n_iter_no_change"):  # scikit-learn's boosting
        fixed = {"max_iter": learner.n_iter_, "early_stopping": False}
    if model.early_stopping is None or fixed is None:
        return model
    return replace(model, classification={**model.classification, **fixed}, early_stopping=None)


@plain_dataclass(frozen=True)
class Fold:
    """Encoded rows and their targets."""

    train: tuple[Floats, Floats]
    validation: tuple[Floats, Floats]  # that stop the learner early; of no rows where nothing does
    native: list[int]  # columns whose numbers are codes of categories, for a learner that knows such


def _encode(
    model: Model, features: Features, target: Floats, *, group: NDArray[np.int64], classes: int, seed: int
) -> tuple[ColumnTransformer, Fold]:
    """Encode the rows that train a learner, and those that are held out to stop it early, if it can use them."""
    train, validation = np.arange(len(target)), np.array([], dtype=np.int64)
    if model.early_stopping is not None:
        labels = target if classes else None
        train, validation = hold_out(group, share=model.early_stopping.share, seed=seed, labels=labels)
    part = features.part(train)
    encode = encoder(model.encoding, part, target[train], group[train], classes=classes, seed=seed)
    X = encode.fit_transform(part.frame.to_numpy(), target[train])
    forget_folds(encode)
    forget_few(encode, part, group[train])
    X_validation = encode.transform(features.frame.iloc[validation].to_numpy()) if len(validation) else X[:0]
    return encode, Fold((X, target[train]), (X_validation, target[validation]), native_columns(encode))


def _fit_learner(model: Model, node: dict[str, Any], fold: Fold, *, seed: int) -> Any:
    """Make a learner and fit it; what it says of its settings becomes a sentence about the configuration."""
    seeds = [seed, *np.random.SeedSequence(seed).generate_state(model.bags - 1).tolist()]
    try:
        learners = [_fit_one(model, node, fold, seed=one) for one in seeds]
        return mean_learner(learners) if model.bags > 1 else learners[0]
    except MemoryError:
        raise
    except Exception as error:  # each library has its own
        if "bad_alloc" in str(error):  # of C++
            raise MemoryError(f"the learner of model={model.name} could not get what it needs") from error
        raise ConfigurationInvalid.learner(model.name, error) from error


def refuse_unknown_arguments(model: Model) -> None:
    """Refuse an argument that a learner does not have; LightGBM would leave it out without a word.

    Raises
    ------
    ConfigurationInvalid
        With the arguments that are spelt nearly so.
    """
    for kind, node in (("regression", model.regression), ("classification", model.classification)):
        learner = class_of(node)
        known = _arguments(learner) if learner else set()
        if known and (strange := sorted(node.keys() - known - {"_target_"})):
            raise ConfigurationInvalid.unknown_argument(f"model.{kind}.{strange[0]}", node["_target_"], sorted(known))


def _arguments(learner: type) -> set[str]:
    """Name the arguments that a learner has; none where that cannot be known."""
    parameters = inspect.signature(learner).parameters.values()
    own = {one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    if all(one.kind != one.VAR_KEYWORD for one in parameters):
        return own
    if not learner.__module__.startswith("lightgbm"):
        return set()
    from lightgbm.basic import _ConfigAliases  # noqa: PLC0415 -- another learner does not need it

    aliases: dict[str, list[str]] = _ConfigAliases._get_all_param_aliases()  # noqa: SLF001 -- it has no public name
    return own.union(aliases, *aliases.values())


def _fit_one(model: Model, node: dict[str, Any], fold: Fold, *, seed: int) -> Any:
    learner = _stopped_alike(instantiate(node), model.early_stopping)
    for name in _SEEDS & learner.get_params().keys():
        learner.set_params(**{name: seed})
    native = {"categorical_feature": fold.native} if fold.native else {}
    return learner.fit(*fold.train, **native, **_stopping(model, learner, fold))


def _stopped_alike(learner: Any, stopping: EarlyStopping | None) -> Any:
    """Let a learner of scikit-learn that can stop do so after the model's rounds, or not by rows of its own choice."""
    arguments = learner.get_params()
    if "n_iter_no_change" not in arguments:
        return learner
    if stopping is not None:
        means = {"n_iter_no_change": stopping.rounds, "early_stopping": True, "validation_fraction": stopping.share}
        return learner.set_params(**{name: value for name, value in means.items() if name in arguments})
    return learner.set_params(early_stopping=False) if arguments.get("early_stopping") == "auto" else learner


def _stopping(model: Model, learner: Any, fold: Fold) -> dict[str, Any]:
    """Name the validation rows in the words that the learner has for them."""
    X, y = fold.validation
    if model.early_stopping is None or not len(X):
        return {}
    arguments = inspect.signature(learner.fit).parameters
    if "X_val" in arguments:  # scikit-learn
        return {"X_val": X, "y_val": y}
    if "early_stopping_rounds" in arguments:  # CatBoost
        return {"eval_set": (X, y), "early_stopping_rounds": model.early_stopping.rounds}
    if "n_iter_no_change" in learner.get_params():  # it holds out rows of its own choice
        return {}
    from lightgbm import early_stopping  # noqa: PLC0415 -- another learner does not need it

    return {"eval_X": X, "eval_y": y, "callbacks": [early_stopping(model.early_stopping.rounds, verbose=False)]}
