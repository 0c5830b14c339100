"""What does each column that a learner takes contribute to each of its predictions?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_TINY = np.finfo(float).tiny
_NEAR = 1e-8  # relative difference of two shares whose logarithms differ as much
_LOG_ODDS = (
    "booster_",
    "tree_count_",
    "decision_function",
    "class_prior_",
)  # what a classifier has that adds up log-odds


def contributions(learner: Any, X: Floats, *, centre: Floats | None = None) -> tuple[Floats, Floats, str] | None:
    """Compute what each encoded column contributes to each prediction, exactly.

    Parameters
    ----------
    learner : object
        Fitted.
    X : array of float64, shape (n, n_encoded)
    centre : array of float64, shape (n_encoded,), optional
        The row from which a linear model's contributions are counted; the mean of the rows by default.

    Returns
    -------
    values : array of float64, shape (n_outputs, n, n_encoded)
        In what the learner adds up, see `unit_of`.
    base : array of float64, shape (n_outputs,)
        What is added to.
    method : str
        How they were computed.

    None stands for all three where there is no exact way.
    """
    if hasattr(learner, "booster_"):
        booster = learner.booster_  # its wrapper checks every number again
        flat = booster.predict(X, pred_contrib=True, num_threads=1)
        return *_of_rows(flat, X), "exact TreeSHAP (LightGBM pred_contrib)"
    if hasattr(learner, "tree_count_"):
        from catboost import Pool  # noqa: PLC0415 -- an extra that only its learners need

        flat = learner.get_feature_importance(Pool(X), type="ShapValues", thread_count=1)
        return *_of_rows(flat, X), "exact TreeSHAP (CatBoost ShapValues)"
    if hasattr(learner, "coef_"):
        centre = X.mean(axis=0) if centre is None else centre
        slopes = np.atleast_2d(learner.coef_)
        base = slopes @ centre + np.atleast_1d(learner.intercept_)
        return slopes[:, None, :] * (X - centre)[None], base, "exact for a linear model, around the mean of the rows"
    if hasattr(learner, "constant_") or hasattr(learner, "class_prior_"):
        constant = raw(learner, X)
        return np.zeros((len(constant), len(X), X.shape[1])), constant[:, 0], "a constant has no contributions"
    from shap import TreeExplainer  # noqa: PLC0415 -- seconds of import that only these learners need
    from shap.utils._exceptions import InvalidModelError  # noqa: PLC0415 -- the same

    try:
        return *of_shap(TreeExplainer(learner)(X)), "exact TreeSHAP (shap)"
    except InvalidModelError:
        return None


def _of_rows(flat: Any, X: Floats) -> tuple[Floats, Floats]:
    """Return the values and the base of what a booster lists by row: the columns of each output, then its base."""
    by_output = np.asarray(flat).reshape(len(X), -1, X.shape[1] + 1)
    return by_output[:, :, :-1].swapaxes(0, 1), by_output[0, :, -1]


def recalibrated(
    learner: Any, X: Floats, exact: tuple[Floats, Floats], *, slope: float, intercepts: Sequence[float]
) -> tuple[Floats, Floats]:
    """Turn the contributions to what a classifier adds up into those to its recalibrated log-odds.

    Parameters
    ----------
    exact : (array of float64, shape (n_outputs, n, n_encoded), array of float64, shape (n_outputs,))
        Contributions and base of the learner.
    slope, intercepts : float, sequence of float
        See `hi_ml.scorer.serving.recalibrate`; the intercepts of the learner's classes, in its order.

    Returns
    -------
    (values, base)
        Of the same shapes. The logistic function or, of several outputs, the softmax of their sums is what is served.

    Notes
    -----
    Log-odds scale with the slope, and so do exact Shapley values. Averaged probabilities do not add up once they are
    recalibrated; the logarithm of each does, along the straight way from its base (Aumann & Shapley 1974, *Values of
    Non-Atomic Games*): its contributions times the mean of 1 / p on the way.
    """
    values, base = exact
    if unit_of(learner) == "share":
        share, first = raw(learner, X), base[:, None]
        start = slope * np.log(first)
        reached = np.where(share > 0, slope * np.log(np.where(share > 0, share, 1.0)), np.log(_TINY))  # 0 stays 0
        moved = np.abs(share - first) > _NEAR * first
        rate = np.where(moved, (reached - start) / np.where(moved, share - first, 1.0), slope / first)
        values, base = rate[:, :, None] * values, start[:, 0]
    else:
        values, base = slope * values, slope * base
    shifts = np.asarray(intercepts, dtype=float)
    return values, base + (shifts if len(base) > 1 else shifts[1:] - shifts[:1])  # of two labels, one may be added up


def unit_of(learner: Any) -> str:
    """Return the unit of what a classifier adds up: only a forest averages probabilities."""
    return "log-odds" if any(hasattr(learner, name) for name in _LOG_ODDS) else "share"


def owners(encoder: Any, features: list[str], role: Mapping[str, str]) -> list[str]:
    """Return the source column of every encoded column.

    Parameters
    ----------
    features : list of str
        In the order of its steps.
    role : mapping of str to str
        By feature.
    """
    positions = encoder.output_indices_
    owner = [""] * sum(position.stop - position.start for position in positions.values())
    for index, name in enumerate(features):
        position = positions[f"feature_{index}"]
        owner[position] = [role[name]] * (position.stop - position.start)
    return owner


def raw(learner: Any, X: Floats) -> Floats:
    """Return what a learner adds up before any link: amounts, log-odds, or probabilities; shape (n_outputs, n)."""
    if hasattr(learner, "booster_"):
        sums = learner.predict(X, raw_score=True)
    elif hasattr(learner, "tree_count_"):
        sums = learner.predict(X, prediction_type="RawFormulaVal", thread_count=1)
    elif hasattr(learner, "decision_function"):
        sums = learner.decision_function(X)
    elif hasattr(learner, "predict_proba"):
        sums = learner.predict_proba(X)
        if hasattr(learner, "class_prior_"):
            sums = np.log(np.clip(sums, _TINY, None))
    else:
        sums = learner.predict(X)
    return np.atleast_2d(np.asarray(sums, dtype=float).T)


def of_shap(explained: Any) -> tuple[Floats, Floats]:
    """Return the values, shape (n_outputs, n, n_encoded), and the base per output of an explanation of shap."""
    values = explained.values if explained.values.ndim > 2 else explained.values[:, :, None]  # noqa: PLR2004 -- one output
    return values.transpose(2, 0, 1), np.atleast_2d(explained.base_values.reshape(len(values), -1))[0]
