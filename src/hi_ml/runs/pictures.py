"""The standard charts of a trained task, each with its table."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_ml import refits
from hi_ml.charts import classification, explanations, learning, regression
from hi_ml.charts.scores import scores_against_baseline
from hi_ml.charts.style import caption
from hi_ml.explanations import Explanation, importance
from hi_ml.statistics import binned, contributions, curves
from hi_ml.statistics.grouped import row_weights
from hi_ml.training import Method, Trained

Chart = tuple[str, Figure, pd.DataFrame]
_HIGHER_IS_BETTER = ("r2", "roc_auc", "macro_f1", "balanced_accuracy", "accuracy")
_PER_GROUP = "Rows of a near-duplicate group count as one."
_DAYS_OF_YEAR = 365.2425


def of_scores(trained: Trained) -> Iterator[Chart]:
    """Yield name, figure and table of the charts that show how good the model is."""
    title, test = trained.verdict.sentence, trained.problem.where("test")
    target, weights = trained.problem.target[test], row_weights(trained.problem.group[test])
    n = len(target)
    better = {name for name in trained.scores["score"] if name in _HIGHER_IS_BETTER or name.startswith("within_")}
    note = caption(n, f"Test part, {trained.verdict.n_groups:,} groups; 95 % intervals over groups. {_PER_GROUP}")
    figure = scores_against_baseline(trained.scores, title=title, caption=note, higher_is_better=better)
    yield "scores", figure, trained.scores
    note = caption(n, f"Test part. {_PER_GROUP}")
    if trained.problem.labels:
        yield from _of_classes(trained, target, weights, title=title, note=note)
        return
    unit = trained.problem.task.unit
    table = binned.predicted_observed_table(target, trained.predicted, weights)
    yield (
        "predicted_observed",
        regression.predicted_observed(table, title=title, caption=f"{note} Band: central 80 %.", unit=unit),
        table,
    )
    table = binned.residual_table(target, trained.predicted, weights)
    yield "residuals", regression.residuals(table, title=title, caption=f"{note} Band: central 80 %.", unit=unit), table


def of_explanation(trained: Trained) -> Iterator[Chart]:
    """Yield name, figure and table of the charts that show why the model predicts what it predicts."""
    found = trained.explanation
    if not len(found.place):
        return
    note = caption(len(found.place), f"Test part; {found.method}; 95 % intervals over rows.")
    ranking = importance(found)
    title = f"What moves the prediction of {trained.problem.task.name}: {trained.verdict.verdict.replace('_', ' ')}"
    yield "importance", explanations.importance(ranking, title=title, caption=note, unit=found.unit), ranking
    focus = int(np.abs(found.values).sum(axis=2).mean(axis=1).argmax())
    if trained.problem.labels:
        title = f"{title}; class {_class_name(trained, focus)}"
    rows = trained.problem.row[trained.problem.where("test")][found.place]
    values = pd.DataFrame(found.values[focus], columns=found.roles, index=rows)
    shown, dated = _shown(trained, found)
    base = float(found.base[focus])
    note = caption(len(found.place), f"Test part; {found.method}.")
    look = {"title": title, "caption": note, "unit": found.unit}
    table = contributions.swarm_table(values, shown)
    yield "beeswarm", explanations.beeswarm(table, **look), table
    table = contributions.dependence_table(values, shown)
    yield "dependence", explanations.dependence(table, **look), table
    chosen = contributions.typical_rows(values, base)
    table = contributions.waterfall_table(values, dated, base, rows=chosen)
    yield "waterfall", explanations.waterfall(table, **look), table


def of_refits(trained: Trained, method: Method) -> Iterator[Chart]:
    """Yield name, figure and table of the charts that need further predictions or fits."""
    title, n, task = trained.verdict.sentence, int(trained.problem.where("test").sum()), trained.problem.task
    note = caption(n, "Test part; growth of the loss when a column is shuffled, 95 % intervals over groups.")
    table = refits.permutation_importance(trained, seed=method.seed)
    unit = str(table["unit"].iloc[0])
    growth = explanations.importance(table, title=title, caption=note, unit=unit, measure="Growth of the loss")
    yield "permutation_importance", growth, table
    note = caption(n, "Test part; the same model fitted on fewer training groups, 95 % intervals over test groups.")
    table = refits.learning_curve(trained, method)
    yield "learning_curve", learning.learning_curve(table, title=title, caption=note, score=task.score), table


def _of_classes(trained: Trained, target: np.ndarray, weights: np.ndarray, *, title: str, note: str) -> Iterator[Chart]:
    labels, shares = trained.problem.labels, trained.predicted
    observed = [labels[int(code)] for code in target]
    made = [labels[code] for code in shares.argmax(axis=1)]
    table = curves.confusion_table(observed, made, weights, labels=labels)
    yield "confusion_matrix", classification.confusion(table, title=title, caption=note), table
    table = curves.reliability_table(observed, shares, weights, labels=labels)
    band = f"{note} Grey: 95 % consistency band."
    yield "reliability", classification.reliability(table, title=title, caption=band), table
    table = curves.roc_table(observed, shares, weights, labels=labels)
    yield "roc", classification.roc(table, title=title, caption=f"{note} One class against the rest."), table
    table = curves.precision_recall_table(observed, shares, weights, labels=labels)
    drawn = classification.precision_recall(table, title=title, caption=f"{note} One class against the rest.")
    yield "precision_recall", drawn, table


def _class_name(trained: Trained, output: int) -> str:
    classes = trained.fitted.pipeline.classes_
    named = classes[1:] if len(trained.explanation.values) == 1 else classes
    return trained.problem.labels[int(named[output])]


def _shown(trained: Trained, found: Explanation) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The explained rows' own values: dates as years for an axis, and as text for a label."""
    rows = np.flatnonzero(trained.problem.where("test"))[found.place]
    values = trained.problem.table[found.roles].iloc[rows].set_axis(trained.problem.row[rows])
    dates = values.select_dtypes("datetime")
    years = dates.apply(lambda day: day.dt.year + (day.dt.day_of_year - 1) / _DAYS_OF_YEAR)
    return values.assign(**years), values.assign(**dates.apply(lambda day: day.dt.strftime("%Y-%m-%d")))
