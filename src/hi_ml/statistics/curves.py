"""How well do a model's classes and probabilities agree with what occurred? Tables of points, ready to draw.

Every function takes one optional weight per row: the rows of a group share a weight of 1, so that a group of
near-copies counts once in every share and quantile. Columns named `n` always count rows.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from hi_ml.statistics.binned import Floats, Mask, as_floats, equal_count_bins, row_weights, span


def confusion_table(
    target: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None, *, labels: Sequence[object]
) -> pd.DataFrame:
    """Count what was predicted for each observed class.

    Returns
    -------
    DataFrame
        One row per pair of `labels`: `target, prediction, n, share`, the share weighted and of all rows of that
        target; NaN for a class that was not observed.

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
    return pairs.assign(n=np.bincount(cell, minlength=size**2), share=share.ravel())


def reliability_table(
    target: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    labels: Sequence[object],
    bins: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare the probability given to each class with how often the class then occurred.

    The consistency band is where the observed share of a bin falls, with probability `level`, if the probabilities
    are right: outcomes y* drawn from p, here by binomial quantiles at the bin's mean probability instead of
    resampling, so nothing is random (a little wider than resampling where probabilities differ inside a bin). The
    number of trials is the sum of weights: the rows of a group count as one.

    Parameters
    ----------
    target : array of labels, shape (n,)
    probabilities : array of float, shape (n, k)
        One column per label.
    weights : array of float, shape (n,), optional
    labels : sequence of k labels
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
        for inside in equal_count_bins(probability, bins):
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
    points: int = 200,
) -> pd.DataFrame:
    """Trace the receiver operating characteristic of each class against the rest.

    Returns
    -------
    DataFrame
        `class, false_positive_rate, true_positive_rate, threshold, area, n, n_positive`: at most `points` rows per
        class, of the curve whose exact `area` is given; one row of NaN where a class is absent or alone.
    """
    weight = row_weights(weights, target)
    parts = []
    for label, occurred, probability in _one_against_rest(target, probabilities, labels):
        false_positive = true_positive = threshold = np.array([np.nan])
        area = np.nan
        if 0 < occurred.sum() < occurred.size:
            false_positive, true_positive, threshold = roc_curve(occurred, probability, sample_weight=weight)
            area = auc(false_positive, true_positive)
        kept = _thin(false_positive + true_positive, points)
        part = {
            "class": label,
            "false_positive_rate": false_positive[kept],
            "true_positive_rate": true_positive[kept],
            "threshold": threshold[kept],
        }
        parts.append(pd.DataFrame(part).assign(area=area, n=occurred.size, n_positive=int(occurred.sum())))
    return pd.concat(parts, ignore_index=True)


def precision_recall_table(
    target: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    labels: Sequence[object],
    points: int = 200,
) -> pd.DataFrame:
    """Trace precision against recall of each class against the rest.

    Returns
    -------
    DataFrame
        `class, recall, precision, threshold, area` (average precision), `chance` (share of the class: the precision
        of guessing), `n, n_positive`: at most `points` rows per class; one row of NaN where a class is absent.
    """
    weight = row_weights(weights, target)
    parts = []
    for label, occurred, probability in _one_against_rest(target, probabilities, labels):
        precision = recall = threshold = np.array([np.nan])
        area = np.nan
        if occurred.any():
            precision, recall, threshold = precision_recall_curve(occurred, probability, sample_weight=weight)
            threshold = np.append(threshold, np.inf)
            area = average_precision_score(occurred, probability, sample_weight=weight)
        kept = _thin(-recall, points)
        part = {"class": label, "recall": recall[kept], "precision": precision[kept], "threshold": threshold[kept]}
        chance = np.average(occurred, weights=weight)
        counts = {"area": area, "chance": chance, "n": occurred.size, "n_positive": int(occurred.sum())}
        parts.append(pd.DataFrame(part).assign(**counts))
    return pd.concat(parts, ignore_index=True)


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
