"""Why did each row get its prediction? Shapley contributions of the source columns."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.models import Fitted
from hi_ml.statistics.grouped import mean_interval

Floats = NDArray[np.float64]
_PROBE = 20  # rows that tell how long a row takes
_LOG_ODDS = ("booster_", "decision_function", "class_prior_")  # what a classifier has that adds up log-odds
_ADDITIVE = 1e-6  # relative error at which base + contributions no longer are the prediction


@dataclass(frozen=True)
class Explanation:
    """Contributions that add up to the prediction.

    Attributes
    ----------
    place : array of int64, shape (n,)
        Which of the offered rows were explained, in order.
    values : array of float64, shape (n_outputs, n, n_roles)
        In ``unit``; one output for regression and two classes, one per class else.
    base : array of float64, shape (n_outputs,)
        The prediction before any column speaks.
    roles : list of str
    unit : str
        Of the task; for classes ``log-odds``, or ``share`` where a learner averages probabilities.
    method : str
        How they were computed.
    """

    place: NDArray[np.int64]
    values: Floats
    base: Floats
    roles: list[str]
    unit: str
    method: str


def explain(
    fitted: Fitted, frame: pd.DataFrame, role: dict[str, str], *, unit: str, limits: tuple[int, float]
) -> Explanation:
    """Explain predictions, by columns of the source.

    Parameters
    ----------
    fitted : Fitted
    frame : DataFrame, shape (n_offered, n_features)
    role : dict of str to str
        By feature, the column it came from.
    unit : str
        Of a regression; classes are explained in what their learner adds up.
    limits : (int, float)
        At most so many rows, and about so many seconds; rows are taken evenly over the frame.

    Raises
    ------
    ArithmeticError
        If base and contributions do not add up to the learner's raw prediction.
    """
    rows, seconds = limits
    encoder, learner = fitted.pipeline[0], fitted.pipeline[-1]
    frame = frame[fitted.features]
    unit = _of_classes(learner) if fitted.classes else unit
    roles = list(dict.fromkeys(role[name] for name in fitted.features))
    place = _evenly(len(frame), _affordable(encoder, learner, frame, rows, seconds))
    if not len(place):
        return Explanation(place, np.zeros((1, 0, len(roles))), np.zeros(1), roles, unit, "no rows were asked for")
    X = encoder.transform(frame.iloc[place])
    encoded, base, method = _contributions(learner, X)
    owner = _owners(encoder, fitted.features, role)
    values = np.stack([encoded[:, :, [who == name for who in owner]].sum(axis=2) for name in roles], axis=2)
    _check(values.sum(axis=2) + base[:, None], learner, X)
    return Explanation(place, values, base, roles, unit, method)


def table(explanation: Explanation, row: NDArray[np.int64], labels: list[str]) -> pd.DataFrame:
    """Lay the contributions out: ``row``, for classes ``class``, one column per source column, ``base_value``.

    Parameters
    ----------
    explanation : Explanation
    row : array of int64, shape (n_offered,)
        Source row of every offered row.
    labels : list of str
        Of the classes; with two, contributions are those of the second. Empty for regression.
    """
    named = labels[1:] if len(explanation.values) == 1 and labels else labels
    parts = []
    for k, values in enumerate(explanation.values):
        part = pd.DataFrame(values, columns=explanation.roles)
        part.insert(0, "row", row[explanation.place])
        if labels:
            part.insert(1, "class", named[k])
        part["base_value"] = explanation.base[k]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def importance(explanation: Explanation) -> pd.DataFrame:
    """Rank the columns by their mean absolute contribution.

    Returns
    -------
    DataFrame
        ``column, importance, low, high, unit, n``: mean over rows (and classes) with a 95 % interval, largest first.
    """
    size = np.abs(explanation.values).mean(axis=0)
    found = [mean_interval(size[:, j]) for j in range(size.shape[1])] if len(size) > 1 else []
    frame = pd.DataFrame(
        [
            (name, one.value, max(one.low, 0.0), one.high, explanation.unit, len(size))
            for name, one in zip(explanation.roles, found, strict=False)
        ],
        columns=["column", "importance", "low", "high", "unit", "n"],
    )
    return frame.sort_values("importance", ascending=False, ignore_index=True, kind="stable")


def _contributions(learner: Any, X: Floats) -> tuple[Floats, Floats, str]:
    """Contributions of the encoded columns, shape (n_outputs, n, n_encoded), and the base per output."""
    if hasattr(learner, "booster_"):
        flat = np.asarray(learner.predict(X, pred_contrib=True)).reshape(len(X), -1, X.shape[1] + 1)
        return flat[:, :, :-1].swapaxes(0, 1), flat[0, :, -1], "exact TreeSHAP (LightGBM pred_contrib)"
    if hasattr(learner, "coef_"):
        centre = X.mean(axis=0)
        slopes = np.atleast_2d(learner.coef_)
        base = slopes @ centre + np.atleast_1d(learner.intercept_)
        return slopes[:, None, :] * (X - centre)[None], base, "exact for a linear model, around the mean of the rows"
    if hasattr(learner, "constant_") or hasattr(learner, "class_prior_"):
        raw = _raw(learner, X)
        return np.zeros((raw.shape[0], len(X), X.shape[1])), raw[:, 0], "a constant has no contributions"
    from shap import TreeExplainer  # noqa: PLC0415 -- seconds of import that only these learners need

    found = TreeExplainer(learner)(X)
    values = found.values[:, :, None] if found.values.ndim == 2 else found.values  # noqa: PLR2004 -- one output
    return values.transpose(2, 0, 1), np.atleast_2d(found.base_values.reshape(len(X), -1))[0], "exact TreeSHAP (shap)"


def _raw(learner: Any, X: Floats) -> Floats:
    """What the learner adds up before any link: amounts, log-odds, or probabilities; shape (n_outputs, n)."""
    if hasattr(learner, "booster_"):
        raw = learner.predict(X, raw_score=True)
    elif hasattr(learner, "decision_function"):
        raw = learner.decision_function(X)
    elif hasattr(learner, "predict_proba"):
        raw = learner.predict_proba(X)
        if hasattr(learner, "class_prior_"):
            raw = np.log(np.clip(raw, np.finfo(float).tiny, None))
    else:
        raw = learner.predict(X)
    return np.atleast_2d(np.asarray(raw, dtype=float).T)


def _of_classes(learner: Any) -> str:
    """The unit of what a classifier adds up: only a forest averages probabilities."""
    return "log-odds" if any(hasattr(learner, name) for name in _LOG_ODDS) else "share"


def _check(added: Floats, learner: Any, X: Floats) -> None:
    raw = _raw(learner, X)
    worst = float(np.abs(added - raw).max(initial=0))
    if worst > _ADDITIVE * max(1.0, float(np.abs(raw).max(initial=0))):
        raise ArithmeticError(f"base + contributions differ from the prediction by up to {worst:.3g}")


def _affordable(encoder: Any, learner: Any, frame: pd.DataFrame, rows: int, seconds: float) -> int:
    rows = min(rows, len(frame))
    if rows <= _PROBE:
        return rows
    X = encoder.transform(frame.iloc[_evenly(len(frame), _PROBE)])
    started = time.perf_counter()
    _contributions(learner, X)
    each = (time.perf_counter() - started) / _PROBE
    return max(_PROBE, min(rows, int(seconds / max(each, 1e-9))))


def _evenly(n: int, rows: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, rows).round().astype(np.int64))


def _owners(encoder: Any, features: list[str], role: dict[str, str]) -> list[str]:
    """The source column of every encoded column."""
    owner = [""] * sum(found.stop - found.start for found in encoder.output_indices_.values())
    for place, name in enumerate(features):
        found = encoder.output_indices_[f"feature_{place}"]
        owner[found] = [role[name]] * (found.stop - found.start)
    return owner
