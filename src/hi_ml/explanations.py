"""Why did each row get its prediction? Shapley contributions of the source columns."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.contributions import contributions, of_shap, owners, raw, unit_of
from hi_ml.models import Fitted
from hi_ml.statistics.grouped import mean_interval

Floats = NDArray[np.float64]
_PROBE = 20  # rows that tell how long a row takes
_BACKGROUND = 50  # rows that stand for a column left out, where a learner is a black box
_ORDERS = 4  # of the columns, there and back
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
    unit = unit_of(learner) if fitted.classes else unit
    roles = list(dict.fromkeys(role[name] for name in fitted.features))
    place = _evenly(len(frame), _affordable(fitted, frame, rows, seconds))
    if not len(place):
        return Explanation(place, np.zeros((1, 0, len(roles))), np.zeros(1), roles, unit, "no rows were asked for")
    X = fitted.encode(frame.iloc[place])
    encoded, base, method = _contributions(learner, X)
    owner = owners(encoder, fitted.features, role)
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
    """The exact contributions, or close ones where there is no exact way."""
    exact = contributions(learner, X)
    if exact is not None:
        return exact
    return *of_shap(_any_learner(learner, X)), f"permutation SHAP, against {_BACKGROUND} of the rows"


def _any_learner(learner: Any, X: Floats) -> Any:
    """Shapley values by sampled orders of the columns: they add up exactly, and each is approximate."""
    from shap.explainers import Permutation  # noqa: PLC0415 -- as above
    from shap.maskers import Independent  # noqa: PLC0415 -- as above

    def asked(rows: Floats) -> Floats:
        made = raw(learner, rows)
        return np.asarray(made[0] if len(made) == 1 else made.T)

    background = Independent(X[_evenly(len(X), min(_BACKGROUND, len(X)))])
    return Permutation(asked, background, seed=0)(X, max_evals=_ORDERS * (2 * X.shape[1] + 1), silent=True)


def _check(added: Floats, learner: Any, X: Floats) -> None:
    expected = raw(learner, X)
    worst = float(np.abs(added - expected).max(initial=0))
    if worst > _ADDITIVE * max(1.0, float(np.abs(expected).max(initial=0))):
        raise ArithmeticError(f"base + contributions differ from the prediction by up to {worst:.3g}")


def _affordable(fitted: Fitted, frame: pd.DataFrame, rows: int, seconds: float) -> int:
    rows = min(rows, len(frame))
    if rows <= _PROBE:
        return rows
    X = fitted.encode(frame.iloc[_evenly(len(frame), _PROBE)])
    started = time.perf_counter()
    _contributions(fitted.pipeline[-1], X)
    each = (time.perf_counter() - started) / _PROBE
    return max(_PROBE, min(rows, int(seconds / max(each, 1e-9))))


def _evenly(n: int, rows: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, rows).round().astype(np.int64))
