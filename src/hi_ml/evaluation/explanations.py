"""Why did each row get its prediction? Shapley contributions of the source columns, and the tables of their charts.

In the tables, `values` holds the contributions and `features` what the rows hold in the same columns, numbers or text;
both have one line per row. No line of a table is of fewer patients than its `rule` allows. Nothing is random.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from scipy.special import expit, softmax

from hi_ml.app.config import STRICT
from hi_ml.app.text import number, short
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.modeling.models import Fitted
from hi_ml.scorer.contributions import contributions, of_shap, owners, raw, recalibrated, unit_of
from hi_ml.statistics.disclosure import Disclosure
from hi_ml.statistics.groups import mean_interval

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_PROBE = 20  # rows that tell how long a row takes
_BACKGROUND = 50  # rows that stand for a column left out, where a learner is a black box
_ORDERS = 4  # of the columns, there and back
_SWARM_LEVELS = 8  # of a column of text, in a swarm
_TYPICAL = 25  # patients who stand for a low, a middle or a high prediction
_ADDITIVE = 1e-6  # relative error at which base + contributions no longer are the prediction
QUANTILES = {"q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9}
_NAMED = 3  # columns, on the screen
PLACES = 4  # after the point: a column that moves predictions by less moves none
_NODES = 32  # of the quadrature along the way from the base to a prediction
POINTS = "percentage points"  # the unit of contributions to probabilities


@settings(frozen=True, config=STRICT)
class Explain:
    """How much is explained."""

    rows: int = Field(2000, ge=0)  # test rows, at most
    seconds: float = Field(10, ge=0)  # about so long, at most


@dataclass(frozen=True)
class Explanation:
    """Contributions that add up to the prediction."""

    index: NDArray[np.int64]  # int64, shape (n,); which of the test rows were explained, in order
    row: NDArray[np.int64]  # int64, shape (n,); their source rows
    # float64, shape (n_outputs, n, n_roles); in ``unit``; one output for regression and two classes, one per
    # class else
    values: Floats
    base: Floats  # float64, shape (n_outputs,); the prediction before any column speaks
    classes: list[str]  # of each output; of two classes, the contributions are those of the second. Empty: an amount
    roles: list[str]
    # of the task, or a logarithm of it (`hi_ml.modeling.scale`); for classes ``log-odds``, or ``share`` where a
    # learner averages probabilities that are served as such
    unit: str
    method: str  # how they were computed


def measure(run: FittedRun, how: Explain) -> Explanation:
    """Explain predictions of test rows, taken evenly, by columns of the source.

    Raises
    ------
    ArithmeticError
        If base and contributions do not add up to the learner's raw prediction, or to what is served.
    """
    problem, fitted, test = run.problem, run.fitted, run.problem.where("test")
    encoder, learner = fitted.pipeline[0], fitted.pipeline[-1]
    frame, role = problem.features.frame[test], problem.features.role
    unit = "log-odds" if fitted.recalibration else unit_of(learner)
    unit = unit if fitted.classes else fitted.scale.unit(problem.task.unit)
    roles = list(dict.fromkeys(role[name] for name in fitted.features))
    index = _evenly(len(frame), _affordable(fitted, frame, how))
    row = problem.row[test][index]
    classes = [problem.labels[int(code)] for code in learner.classes_] if fitted.classes else []
    if not len(index):
        return Explanation(
            index, row, np.zeros((1, 0, len(roles))), np.zeros(1), classes[-1:], roles, unit, "no rows were asked for"
        )
    X = fitted.encode(frame.iloc[index])
    encoded, base, method = _contributions(learner, X)
    _check(encoded.sum(axis=2) + base[:, None], raw(learner, X))
    if (made := fitted.recalibration) is not None:
        shifts = [made.intercepts[int(code)] for code in learner.classes_]
        encoded, base = recalibrated(learner, X, (encoded, base), slope=made.slope, intercepts=shifts)
        served = run.predicted[index][:, learner.classes_.astype(int)].T
        _check(_shares(encoded.sum(axis=2) + base[:, None]), served)
    owner = owners(encoder, fitted.features, role)
    values = np.stack([encoded[:, :, [who == name for who in owner]].sum(axis=2) for name in roles], axis=2)
    return Explanation(index, row, values, base, classes[-len(values) :], roles, unit, method)


def table(explanation: Explanation) -> pd.DataFrame:
    """Lay the contributions out: ``row``, for classes ``class``, one column per source column, ``base_value``."""
    parts = []
    for k, values in enumerate(explanation.values):
        part = pd.DataFrame(values, columns=explanation.roles)
        part.insert(0, "row", explanation.row)
        if explanation.classes:
            part.insert(1, "class", explanation.classes[k])
        part["base_value"] = explanation.base[k]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def in_probabilities(explanation: Explanation) -> Explanation:
    """Turn contributions to log-odds, or to shares, of classes into percentage points of probability.

    Each column gets what its contribution changes along the straight way from the base to the prediction, so that base
    and contributions still add up to the probability (Aumann & Shapley 1974, Values of Non-Atomic Games). Contributions
    to an amount stay as they are.
    """
    if not explanation.classes or explanation.unit == POINTS:
        return explanation
    values, base = explanation.values, explanation.base
    if explanation.unit != "share":
        sums, along = values.sum(axis=2), np.zeros_like(values)
        for node, weight in zip(*np.polynomial.legendre.leggauss(_NODES), strict=True):
            shares = _shares(base[:, None] + (node + 1) / 2 * sums)[:, :, None]
            others = shares * values if len(values) == 1 else (shares * values).sum(axis=0)
            along += weight / 2 * shares * (values - others)
        values, base = along, _shares(base[:, None])[:, 0]
    return replace(explanation, values=100 * values, base=100 * base, unit=POINTS)


def importance(explanation: Explanation) -> pd.DataFrame:
    """Rank the columns by their mean absolute contribution.

    Returns
    -------
    DataFrame
        ``column, importance, low, high, unit, n``: mean over rows (and classes) with a 95 % interval, largest first.
    """
    size = np.abs(explanation.values).mean(axis=0)
    means = [mean_interval(size[:, j]) for j in range(size.shape[1])] if len(size) > 1 else []
    frame = pd.DataFrame(
        [
            (name, mean.value, max(mean.low, 0.0), mean.high, explanation.unit, len(size))
            for name, mean in zip(explanation.roles, means, strict=False)
        ],
        columns=["column", "importance", "low", "high", "unit", "n"],
    )
    return frame.sort_values("importance", ascending=False, ignore_index=True, kind="stable")


def swarm_table(
    values: pd.DataFrame, features: pd.DataFrame, rule: Disclosure, *, columns: int = 10, points: int = 400
) -> pd.DataFrame:
    """Lay out the contributions of the columns that contribute most, each point the mean of a few patients.

    Returns
    -------
    DataFrame
        `column, contribution, shade` (0 to 1, the mean rank of a number among the rows; NaN for text and for missing
        numbers), `level` (of text; rare ones are pooled), `n` (rows), largest mean absolute contribution first. Rows of
        like contribution, and of one level, make a point.
    """
    parts, size = [], -(-len(values) // points)
    for column in _largest_first(values)[:columns]:
        contribution, shade = values[column].to_numpy(float), _shade(features[column])
        order = np.argsort(contribution, kind="stable")
        text = not _is_number(features[column])
        levels = (_pool(_texts(features[column]), _SWARM_LEVELS, rule) if text else pd.Series("", features.index)).array
        blocks = [order[(levels == level)[order]] for level in pd.unique(levels[order])]
        part, first = _means(rule, blocks, size, contribution=contribution, shade=shade)
        parts.append(part.assign(column=column, level=levels[first] if text else None))
    return pd.concat(parts, ignore_index=True)[["column", "contribution", "shade", "level", "n"]]


def dependence_table(
    values: pd.DataFrame,
    features: pd.DataFrame,
    rule: Disclosure,
    *,
    columns: int = 4,
    points: int = 500,
    levels: int = 8,
) -> pd.DataFrame:
    """Lay out how the contribution of each of the largest columns depends on the column's own value.

    Returns
    -------
    DataFrame
        For numbers, with few patients a point: `column, kind` (`point`), `number, contribution, n`, means over rows of
        like number. For text one line per level: `column, kind` (`level`), `level, n` and the quantiles `q10, q25, q50,
        q75, q90` of the contribution, in order of the median; levels beyond the most frequent, and those of too few
        patients, are pooled.
    """
    parts = []
    for column in _largest_first(values)[:columns]:
        feature, contribution = features[column], values[column]
        if _is_number(feature):
            both = {"contribution": contribution.to_numpy(float), "number": feature.to_numpy(float, na_value=np.nan)}
            part = _means(rule, [np.lexsort([*both.values()])], -(-len(values) // points), **both)[0].assign(
                kind="point"
            )
        else:
            part = _quantiles_by_level(_pool(_texts(feature), levels, rule), contribution).assign(kind="level")
        parts.append(part.assign(column=column))
    order = ["column", "kind", "number", "contribution", "level", "n", *QUANTILES]
    return pd.concat(parts, ignore_index=True).reindex(columns=order)


def typical_rows(values: pd.DataFrame, base_value: float, rule: Disclosure) -> dict[str, Rows]:
    """Choose low, middle and high predictions: the positions of the rows around 5, 50 and 95 % of all, no row twice.

    Each are rows of enough patients, up to 25 where there are many; the middle ones alone where all are few.
    """
    order = np.argsort((values.sum(axis=1) + base_value).to_numpy(), kind="stable")
    runs = rule.runs(order, min(_TYPICAL, len(order) // 10))
    last = int(runs.max(initial=0))
    chosen = {"Low": round(0.05 * last), "Middle": round(0.5 * last), "High": round(0.95 * last)}
    names = {run: name for name, run in chosen.items()} | {chosen["Middle"]: "Middle"}
    return {names[run]: np.sort(order[runs == run]) for run in sorted(names)}


def waterfall_table(
    values: pd.DataFrame,
    features: pd.DataFrame,
    base_value: float,
    rule: Disclosure,
    *,
    rows: Mapping[str, Rows],
    seen: pd.DataFrame | None = None,
    columns: int = 5,
) -> pd.DataFrame:
    """Lay out how predictions of a few like rows build up from the base value on the mean, largest contribution first.

    Parameters
    ----------
    base_value : float
        What the contributions are added to.
    rows : mapping of str to array of int
        The positions of the rows to show, by what they are called; see `typical_rows`.
    seen : DataFrame, optional
        What became of each row, and what its interval promised, in the unit of the prediction.
    columns : int
        The rest is pooled.

    Returns
    -------
    DataFrame
        `panel, n` (rows), `column, value` (in words: a mean, a month, a level that most of them have), `contribution,
        low, high` (ends of the bar), `base_value, prediction`, and the means of what was `seen`.
    """
    parts = []
    seen = pd.DataFrame(index=values.index) if seen is None else seen
    for panel, index in rows.items():
        contribution = values.iloc[index].mean()
        contribution = contribution.iloc[np.argsort(-contribution.abs().to_numpy(), kind="stable")]
        largest = contribution.iloc[:columns]
        part = pd.DataFrame({"column": largest.index, "contribution": largest.to_numpy()})
        part["value"] = [_typical(features[column].iloc[index], index, rule) for column in largest.index]
        if rest := len(contribution) - len(largest):
            pooled = {
                "column": f"{rest} other column{'s' * (rest > 1)}",
                "contribution": contribution.iloc[columns:].sum(),
                "value": "",
            }
            part = pd.concat([part, pd.DataFrame([pooled])], ignore_index=True)
        end = base_value + part["contribution"].cumsum()
        start = end - part["contribution"]
        part = part.assign(panel=panel, n=len(index), low=np.minimum(start, end), high=np.maximum(start, end))
        part = part.assign(base_value=base_value, prediction=base_value + contribution.sum())
        parts.append(part.assign(**seen.iloc[index].mean()))
    order = ["panel", "n", "column", "value", "contribution", "low", "high", "base_value", "prediction", *seen]
    return pd.concat(parts, ignore_index=True)[order]


def _means(rule: Disclosure, blocks: Sequence[Rows], size: int, **columns: Floats) -> tuple[pd.DataFrame, Rows]:
    """Average columns over so many rows that follow one another in a block, and count these; missing values apart.

    The position of the first row of each line comes along.
    """
    frame = pd.DataFrame(columns)
    missing = frame.isna().any(axis=1).to_numpy()
    rows, numbers, start = [], [], 0
    for block in (block[missing[block] == lacks] for block in blocks for lacks in (False, True)):
        run = rule.runs(block, size)
        rows.append(block[run >= 0])
        numbers.append(run[run >= 0] + start)
        start += int(run.max(initial=-1)) + 1
    order = np.concatenate(rows)
    number, first = np.unique(np.concatenate(numbers), return_index=True)
    grouped = frame.iloc[order].groupby(np.concatenate(numbers))
    return grouped.mean().assign(n=grouped.size()).loc[number], order[first]


def _typical(feature: "pd.Series[Any]", index: Rows, rule: Disclosure) -> str:
    """Say what a few rows have in a column, on the whole."""
    known = np.zeros(len(rule.unit), dtype=bool)
    known[index[feature.notna().to_numpy()]] = True
    if rule.tells(known):
        return "mixed"
    if is_datetime64_any_dtype(feature):
        return "missing" if feature.isna().all() else str(pd.Timestamp(feature.mean()).strftime("%Y-%m"))
    if _is_number(feature):
        return short(float(feature.mean()))
    texts = _texts(feature)
    most = texts.value_counts().index[0]
    shared = np.zeros(len(rule.unit), dtype=bool)
    shared[index[(texts == most).to_numpy()]] = True
    return "mixed" if rule.tells(shared) else most if (texts == most).all() else f"mostly {most}"


def _largest_first(values: pd.DataFrame) -> list[str]:
    return list(values.abs().mean().sort_values(ascending=False, kind="stable").index)


def _is_number(feature: "pd.Series[Any]") -> bool:
    return is_numeric_dtype(feature) and not is_bool_dtype(feature)


def _shade(feature: "pd.Series[Any]") -> Floats:
    if not _is_number(feature):
        return np.full(len(feature), np.nan)
    rank = feature.rank().to_numpy(float, na_value=np.nan)
    spread = np.nanmax(rank) - np.nanmin(rank) if np.isfinite(rank).any() else 0.0
    return (rank - np.nanmin(rank)) / spread if spread else np.where(np.isfinite(rank), 0.5, np.nan)


def _texts(feature: "pd.Series[Any]") -> "pd.Series[str]":
    codes, distinct = pd.factorize(feature, use_na_sentinel=False)
    return pd.Series(np.array([_text(value) for value in distinct], dtype=object)[codes], dtype=object)


def _text(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    return f"{value:,.6g}" if isinstance(value, float | np.floating) else str(value)


def _pool(levels: "pd.Series[str]", most: int, rule: Disclosure) -> "pd.Series[str]":
    """Keep the most frequent levels, as long as they, and the others together, are of enough patients."""
    codes, names = pd.factorize(levels)
    size = rule.sizes(codes, len(names))
    frequent = np.argsort(-size, kind="stable")
    kept = len(names) if len(names) <= most else most - 1
    while kept and (size[frequent[kept - 1]] < rule.smallest or rule.tells(np.isin(codes, frequent[kept:]))):
        kept -= 1
    rest = len(names) - kept
    return levels.where(np.isin(codes, frequent[:kept]), f"{rest} other level{'s' * (rest > 1)}")


def _quantiles_by_level(levels: "pd.Series[str]", contribution: "pd.Series[float]") -> pd.DataFrame:
    grouped = pd.Series(contribution.to_numpy()).groupby(levels.to_numpy())
    table = pd.DataFrame({name: grouped.quantile(share) for name, share in QUANTILES.items()}).assign(n=grouped.size())
    return table.rename_axis("level").reset_index().sort_values("q50", kind="stable")


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

    def predict(rows: Floats) -> Floats:
        sums = raw(learner, rows)
        return np.asarray(sums[0] if len(sums) == 1 else sums.T)

    background = Independent(X[_evenly(len(X), min(_BACKGROUND, len(X)))])
    return Permutation(predict, background, seed=0)(X, max_evals=_ORDERS * (2 * X.shape[1] + 1), silent=True)


def _check(added: Floats, expected: Floats) -> None:
    worst = float(np.abs(added - expected[-len(added) :]).max(initial=0))
    if worst > _ADDITIVE * max(1.0, float(np.abs(expected).max(initial=0))):
        raise ArithmeticError(f"base + contributions differ from the prediction by up to {worst:.3g}")


def _shares(sums: Floats) -> Floats:
    """The probabilities, shape (n_outputs, n), that log-odds of one or several outputs stand for."""
    return np.asarray(expit(sums) if len(sums) == 1 else softmax(sums, axis=0))


def _affordable(fitted: Fitted, frame: pd.DataFrame, how: Explain) -> int:
    rows = min(how.rows, len(frame))
    if rows <= _PROBE:
        return rows
    X = fitted.encode(frame.iloc[_evenly(len(frame), _PROBE)])
    started = time.perf_counter()
    _contributions(fitted.pipeline[-1], X)
    each = (time.perf_counter() - started) / _PROBE
    return max(_PROBE, min(rows, int(how.seconds / max(each, 1e-9))))


def _evenly(n: int, rows: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, rows).round().astype(np.int64))


def _brief(explanation: Explanation) -> str | None:
    """Name the columns that move predictions most, and by how much on average."""
    if not len(explanation.index):
        return None
    explanation = in_probabilities(explanation)
    first = importance(explanation).head(_NAMED).to_dict("records")
    if all(not round(row["importance"], PLACES) for row in first):
        return "Drivers: none, no column moves a prediction by as much as can be shown."
    moved = (f"{row['column'].replace('_', ' ')} ({number(row['importance'], digits=3)})" for row in first)
    return f"Drivers, in {explanation.unit}: {', '.join(moved)}."


ASSESSMENTS = [Assessment("explanation", measure, Explain, step="explain", table=table, brief=_brief)]
