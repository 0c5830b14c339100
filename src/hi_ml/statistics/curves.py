"""How do amounts, classes and probabilities sit against what was observed? Tables of cells, bins and points, to draw.

``target``, ``prediction`` and ``weights`` have one entry a row, shape (n,), ``probabilities`` one column per label. The
weight is optional: the rows of a group share a weight of 1, so that a group of near-copies counts once in every share
and quantile. Columns named `n` always count rows. Where a `rule` says of whom each row is, no cell, bin or point is of
fewer patients than it allows: cells are left out, bins and points joined.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from hi_ml.statistics.disclosure import Disclosure, withheld
from hi_ml.statistics.estimates import Floats

Mask = NDArray[np.bool_]
_Curve = tuple[dict[str, Floats], Floats, dict[str, float]]
"""Columns of a curve, what rises along it, and what is said of it as a whole."""

OUTER_SHARE = 0.005  # what lies beyond this share on either side is counted in the outermost cell
_CELLS, _BANDS, _POINTS = 40, 12, 200  # along an axis, of about equal counts, of a curve: at most so many
_NONE = np.array([np.nan])
ROWS_PER_BIN = 20  # fewer rows say nothing about an 80 % range or a share


def cell_counts(
    prediction: ArrayLike,
    other: ArrayLike,
    *,
    name: str = "target",
    bins: int = _CELLS,
    whole: bool | None = None,
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Count rows in the cells of a grid; only cells that hold a row are returned.

    Parameters
    ----------
    prediction, other : array of float, shape (n,)
        The two values of each row, finite.
    name : str
        What `other` is; names its columns. A `target` shares its grid with the prediction, so that the diagonal
        means "predicted exactly".
    bins : int
        Cells along an axis, at most; fewer where rows are few.
    whole : bool, optional
        Whether `other` gets cells of whole width, as values a whole step apart need: otherwise some cells would hold
        more of them than the next. Left out: if it holds whole numbers only.

    Returns
    -------
    DataFrame
        `prediction_low, prediction_high, <name>_low, <name>_high, n`. The outermost cells also hold what lies beyond
        the central 99 %.
    """
    across, up = as_floats(prediction), as_floats(other)
    bins = bins if rule is None else min(bins, max(5, int(2 * np.sqrt(across.size) / rule.smallest)))
    whole = _is_whole(up) if whole is None else whole
    if name == "target":
        across_edges = up_edges = _edges(np.concatenate([across, up]), bins, whole=whole)
    else:
        across_edges, up_edges = _edges(across, bins, whole=_is_whole(across)), _edges(up, bins, whole=whole)
    inside = (np.clip(across, *across_edges[[0, -1]]), np.clip(up, *up_edges[[0, -1]]))
    counts = np.histogram2d(*inside, bins=[across_edges, up_edges])[0]
    if rule is not None:
        shape = counts.shape
        places = np.ravel_multi_index((_cell(inside[0], across_edges), _cell(inside[1], up_edges)), shape)
        counts[withheld(rule.sizes(places, counts.size), rule.smallest).reshape(shape)] = 0
    column, row = np.nonzero(counts)
    return pd.DataFrame(
        {
            "prediction_low": across_edges[column],
            "prediction_high": across_edges[column + 1],
            f"{name}_low": up_edges[row],
            f"{name}_high": up_edges[row + 1],
            "n": counts[column, row].astype(int),
        }
    )


def _cell(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """The cell of each value, as `numpy.histogram` counts it: the last one holds its upper end."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def quantiles_by_prediction(
    prediction: ArrayLike,
    other: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int = _BANDS,
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Describe a value among rows of like prediction: its median and the range of its central 80 %.

    Parameters
    ----------
    prediction, other : array of float, shape (n,)
        What the rows are ordered by, and what is described.
    bins : int
        Bins of about equal row count, at most: equal predictions stay together, and a bin holds about 20 rows or more;
        under a rule as many that a tenth of them is a cell.

    Returns
    -------
    DataFrame
        `prediction_low, prediction_high, prediction` (weighted mean), `q10, q50, q90` (weighted, inverse of the
        empirical distribution), `n`.
    """
    across, up, weight = as_floats(prediction), as_floats(other), row_weights(weights, prediction)
    rows = []
    for inside in equal_count_bins(across, bins, rule, beyond=0.1):
        q10, q50, q90 = np.quantile(up[inside], [0.1, 0.5, 0.9], method="inverted_cdf", weights=weight[inside])
        rows.append((*span(across[inside], weight[inside]), q10, q50, q90, int(inside.sum())))
    return pd.DataFrame(rows, columns=["prediction_low", "prediction_high", "prediction", "q10", "q50", "q90", "n"])


def _histogram(residual: Floats, weight: Floats, *, whole: bool, rule: Disclosure | None) -> pd.DataFrame:
    """Count residuals in equal steps, of whole width where asked: the share is weighted, and of all rows."""
    edges = _edges(residual, _CELLS, whole=whole)
    inside = np.clip(residual, edges[0], edges[-1])
    counts, mass = np.histogram(inside, edges)[0], np.histogram(inside, edges, weights=weight)[0]
    table = pd.DataFrame(
        {"residual_low": edges[:-1], "residual_high": edges[1:], "n": counts, "share": mass / weight.sum()}
    )
    return table if rule is None else table[~withheld(rule.sizes(_cell(inside, edges), len(table)), rule.smallest)]


def predicted_observed_table(
    target: ArrayLike,
    prediction: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Set observed against predicted values: `cell_counts` (layer `cell`), `quantiles_by_prediction` (layer `band`).

    Predictions that hardly differ get fewer bands, each at least two cells wide.
    """
    cells = cell_counts(prediction, target, rule=rule)
    wide = max(1, cells["prediction_low"].nunique() // (2 if rule is None else 1))  # a rule makes cells wide already
    return _layers(
        cell=cells, band=quantiles_by_prediction(prediction, target, weights, bins=min(_BANDS, wide), rule=rule)
    )


def residual_table(
    target: ArrayLike,
    prediction: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Set out residuals, observed minus predicted: layers `histogram`, `cell` and `band` (against the prediction)."""
    residual, whole = as_floats(target) - as_floats(prediction), _is_whole(as_floats(target))
    return _layers(
        histogram=_histogram(residual, row_weights(weights, target), whole=whole, rule=rule),
        cell=cell_counts(prediction, residual, name="residual", whole=whole, rule=rule),
        band=quantiles_by_prediction(prediction, residual, weights, rule=rule),
    )


def equal_count_bins(
    values: Floats, bins: int, rule: Disclosure | None = None, *, events: Mask | None = None, beyond: float = 1.0
) -> Iterator[Mask]:
    """Yield one row mask per bin, in order of value: about equal counts, ties together, about 20 rows or more.

    Under a rule a share `beyond` of a bin is a cell's worth of rows, and so are the rows with and without an event.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    least = ROWS_PER_BIN if rule is None else max(ROWS_PER_BIN, int(rule.smallest / beyond))
    wanted = min(bins, max(1, values.size // least))
    middle = np.cumsum(counts) - counts / 2  # a value belongs to the bin that holds the middle of its rows
    position = np.floor(middle * wanted / max(values.size, 1))[inverse]
    cells = (position == bin_ for bin_ in np.unique(position))
    yield from cells if rule is None else rule.joined(cells, events=events)


def span(values: Floats, weight: Floats) -> tuple[float, float, float]:
    """Return the smallest, largest and weighted mean value."""
    return float(values.min()), float(values.max()), float(np.average(values, weights=weight))


def as_floats(values: ArrayLike) -> Floats:
    """Return the values as an array of float64."""
    return np.asarray(values, dtype=np.float64)


def row_weights(weights: ArrayLike | None, like: ArrayLike) -> Floats:
    """Return the weights as float64, or 1 for each row of `like`."""
    return np.ones(len(np.asarray(like))) if weights is None else as_floats(weights)


def _layers(**tables: pd.DataFrame) -> pd.DataFrame:
    named = [table.assign(layer=name) for name, table in tables.items()]
    stacked = pd.concat(named, ignore_index=True)
    return stacked[["layer", *stacked.columns.drop("layer")]]


def _is_whole(values: Floats) -> bool:
    return bool(np.all(values == np.round(values)))


def _edges(values: Floats, bins: int, *, whole: bool) -> Floats:
    few = min(bins, max(5, int(2 * np.sqrt(values.size))))
    low, high = np.quantile(values, [OUTER_SHARE, 1 - OUTER_SHARE])
    if whole:
        first, last = np.round(low), np.round(high)
        step = np.ceil((last - first + 1) / few)
        return np.arange(first - 0.5, last + 0.5 + step, step)
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):  # one value: a cell around it, wide enough to see
        return np.array([low - 0.5, high + 0.5])
    return np.linspace(low, high, few + 1)


def confusion_table(
    target: ArrayLike,
    prediction: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    labels: Sequence[object],
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Count what was predicted for each observed class.

    Returns
    -------
    DataFrame
        One row per pair of `labels`: `target, prediction, n, share`, the share weighted and of all rows of that
        target; NaN for a class that was not observed, and both where a rule withholds them.

    Raises
    ------
    ValueError
        If a value is not among the labels.

    Examples
    --------
    Of two that were "yes", one was taken for "no":

    >>> confusion_table(["yes", "yes", "no"], ["yes", "no", "no"], labels=["no", "yes"])
      target prediction  n  share
    0     no         no  1    1.0
    1     no        yes  0    0.0
    2    yes         no  1    0.5
    3    yes        yes  1    0.5
    """
    observed, predicted = _codes(target, labels), _codes(prediction, labels)
    size = len(labels)
    cell = observed * size + predicted
    mass = np.bincount(cell, weights=row_weights(weights, target), minlength=size**2).reshape(size, size)
    total = mass.sum(axis=1, keepdims=True)
    share = np.divide(mass, total, out=np.full_like(mass, np.nan), where=total > 0)
    pairs = pd.MultiIndex.from_product([labels, labels], names=["target", "prediction"]).to_frame(index=False)
    table = pairs.assign(n=np.bincount(cell, minlength=size**2), share=share.ravel())
    if rule is not None:
        hidden = withheld(rule.sizes(cell, size**2), rule.smallest, *np.divmod(np.arange(size**2), size))
        table = table.assign(n=table["n"].where(~hidden), share=table["share"].where(~hidden))
    return table


def reliability_table(
    target: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    labels: Sequence[object],
    bins: int = 10,
    level: float = 0.95,
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Compare the probability given to each class with how often the class then occurred.

    The consistency band is where the observed share of a bin falls, with probability `level`, if the probabilities
    are right: outcomes y* drawn from p, here by binomial quantiles at the bin's mean probability instead of
    resampling, so nothing is random (a little wider than resampling where probabilities differ inside a bin). The
    number of trials is the sum of weights: the rows of a group count as one.

    Parameters
    ----------
    bins : int
        Bins of about equal row count per class, at most.
    level : float
        Probability that the band holds the share of a bin.

    Returns
    -------
    DataFrame
        `class, probability_low, probability_high, probability` (weighted mean), `observed, low, high, n`.

    References
    ----------
    Broecker & Smith (2007), Weather and Forecasting 22, 651. https://doi.org/10.1175/WAF993.1
    """
    weight = row_weights(weights, target)
    rows = []
    for label, occurred, probability in _one_against_rest(target, probabilities, labels):
        for inside in equal_count_bins(probability, bins, rule, events=occurred):
            extent = span(probability[inside], weight[inside])
            trials = max(1, round(weight[inside].sum()))
            low, high = binom.ppf([(1 - level) / 2, (1 + level) / 2], trials, np.clip(extent[2], 0, 1)) / trials
            observed = np.average(occurred[inside], weights=weight[inside])
            rows.append((label, *extent, observed, low, high, int(inside.sum())))
    names = ["class", "probability_low", "probability_high", "probability", "observed", "low", "high", "n"]
    return pd.DataFrame(rows, columns=names)


def roc_table(
    target: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    labels: Sequence[object],
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Trace the receiver operating characteristic of each class against the rest.

    Returns
    -------
    DataFrame
        `class, false_positive_rate, true_positive_rate, threshold, area, n, n_positive`: at most 200 rows per class, of
        the curve whose exact `area` is given; one row of NaN where a class is absent or alone, none where too few
        patients have it, or lack it.
    """
    return _curves(_roc, target, probabilities, row_weights(weights, target), labels, rule)


def precision_recall_table(
    target: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    labels: Sequence[object],
    rule: Disclosure | None = None,
) -> pd.DataFrame:
    """Trace precision against recall of each class against the rest.

    Returns
    -------
    DataFrame
        `class, recall, precision, threshold, area` (average precision), `chance` (share of the class: the precision
        of guessing), `n, n_positive`: at most 200 rows per class; one row of NaN where a class is absent, none
        where too few patients have it, or lack it.
    """
    return _curves(_precision_recall, target, probabilities, row_weights(weights, target), labels, rule)


def _roc(occurred: Mask, probability: Floats, weight: Floats) -> _Curve:
    rates, area = (_NONE,) * 3, np.nan
    if 0 < occurred.sum() < occurred.size:
        rates = roc_curve(occurred, probability, sample_weight=weight, drop_intermediate=False)
        area = auc(*rates[:2])
    columns = dict(zip(("false_positive_rate", "true_positive_rate", "threshold"), rates, strict=True))
    return columns, rates[0] + rates[1], {"area": area}


def _precision_recall(occurred: Mask, probability: Floats, weight: Floats) -> _Curve:
    precision, recall, threshold, area = _NONE, _NONE, _NONE, np.nan
    if occurred.any():
        precision, recall, threshold = precision_recall_curve(occurred, probability, sample_weight=weight)
        threshold = np.append(threshold, np.inf)
        area = average_precision_score(occurred, probability, sample_weight=weight)
    facts = {"area": area, "chance": np.average(occurred, weights=weight)}
    return {"recall": recall, "precision": precision, "threshold": threshold}, -recall, facts


def _curves(
    trace: Callable[[Mask, Floats, Floats], _Curve],
    target: ArrayLike,
    probabilities: ArrayLike,
    weight: Floats,
    labels: Sequence[object],
    rule: Disclosure | None,
) -> pd.DataFrame:
    """Trace each class against the rest, in few points, and those alone that may be shown."""
    parts = []
    for label, occurred, probability in _one_against_rest(target, probabilities, labels):
        if rule is None or not (rule.tells(occurred) or rule.tells(~occurred)):
            columns, key, facts = trace(occurred, probability, weight)
            told = _told(columns["threshold"], occurred, probability, rule)
            chosen = told[_thin(key[told], _POINTS)]
            part = pd.DataFrame({"class": label, **{name: values[chosen] for name, values in columns.items()}})
            parts.append(part.assign(**facts, n=occurred.size, n_positive=int(occurred.sum())))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _told(threshold: Floats, occurred: Mask, probability: Floats, rule: Disclosure | None) -> NDArray[np.intp]:
    """The positions of a curve's points that may be shown: ends, and those between which enough patients lie."""
    if rule is None or threshold.size == 1:
        return np.arange(threshold.size)
    return np.flatnonzero(np.isin(threshold, rule.steps(probability, occurred)) | np.isinf(threshold))


def _one_against_rest(
    target: ArrayLike, probabilities: ArrayLike, labels: Sequence[object]
) -> Iterator[tuple[object, Mask, Floats]]:
    codes, columns = _codes(target, labels), as_floats(probabilities)
    for code, label in enumerate(labels):
        yield label, codes == code, columns[:, code]


def _codes(values: ArrayLike, labels: Sequence[object]) -> NDArray[np.intp]:
    codes: NDArray[np.intp] = pd.Index(np.asarray(labels, dtype=object)).get_indexer(
        pd.Index(np.asarray(values, dtype=object))
    )
    if (codes < 0).any():
        strange = np.asarray(values)[codes < 0][0]
        raise ValueError(f"A class is {strange!r}. Every class should be one of the labels {list(labels)}.")
    return codes


def _thin(key: Floats, points: int) -> NDArray[np.intp]:
    """Choose positions, first and last included, about evenly spaced in a non-decreasing key."""
    if key.size <= points:
        return np.arange(key.size)
    wanted = np.linspace(key[0], key[-1], points - 1)
    return np.unique(np.append(np.searchsorted(key, wanted), key.size - 1))
