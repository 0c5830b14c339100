"""A model whose probabilities are recalibrated by what it says of training rows that it was not fitted to."""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hi_ml.modeling import models
from hi_ml.modeling.features import Features
from hi_ml.modeling.splits import folds
from hi_ml.statistics.calibration import Recalibration

Floats = NDArray[np.float64]
_FOLDS = 3  # of the training rows, as good as five for a slope: each is predicted by a model fitted to the other two


def fit(
    model: models.Model, features: Features, target: Floats, *, group: NDArray[np.int64], classes: int, seed: int
) -> models.Fitted:
    """Fit as `hi_ml.modeling.models.fit` does and, for classes, a slope and intercepts to out-of-fold predictions.

    Parameters
    ----------
    features : Features, shape (n, n_features)
        Training rows and usable features only: no other row is looked at.
    target : array of float64, shape (n,)
    group : array of int64, shape (n,)
        Groups stay together in the folds; at least two.
    classes : int
        Number of labels; 0 for regression, which is fitted as it is, as is a learner that predicts a constant.

    Notes
    -----
    The models of the folds make as many rounds as the one that is kept: where early stopping happened to end decides
    how far its probabilities are drawn apart, and only models that share it can tell by how much.
    """
    started = time.perf_counter()
    fitted = models.fit(model, features, target, group=group, classes=classes, seed=seed)
    if not classes or hasattr(fitted.pipeline[-1], "class_prior_"):  # a constant has no spread to mend
        return fitted
    probabilities, alike = np.empty((len(target), classes)), models.as_stopped(model, fitted)
    for train, test in folds(group, count=_FOLDS, seed=seed):
        inner = models.fit(alike, features.part(train), target[train], group=group[train], classes=classes, seed=seed)
        probabilities[test] = inner.predict(features.frame.iloc[test])
    recalibration = Recalibration.of(target.astype(int), probabilities, np.ones(len(target)))
    return replace(fitted, recalibration=recalibration, seconds=time.perf_counter() - started)
