"""The standard charts of a trained task, each with its table."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_ml.evaluation import conformal, refits
from hi_ml.evaluation import explanations as contributions
from hi_ml.evaluation.explanations import Explanation, importance
from hi_ml.evaluation.subgroups import DIFFERENT, ERRORS_ONLY, VERDICTS, Subgroups
from hi_ml.evaluation.training import Method, Trained
from hi_ml.modeling.scores.score import scores_of
from hi_ml.reports.charts import explanations, heat_maps, predictions, tuning
from hi_ml.reports.charts.forests import forest
from hi_ml.reports.charts.scores import intervals, scores_against_baseline
from hi_ml.reports.charts.style import caption
from hi_ml.reports.screen import calibrated
from hi_ml.statistics import curves
from hi_ml.statistics import curves as binned
from hi_ml.statistics.groups import row_weights

Chart = tuple[str, Figure, pd.DataFrame]
BEFORE_RECALIBRATION = "Explanations are of the learner before recalibration."
_PER_GROUP = "Rows of a near-duplicate group count as one."
_DAYS_OF_YEAR = 365.2425


def of_scores(trained: Trained) -> Iterator[Chart]:
    """Yield name, figure and table of the charts that show how good the model is."""
    title, test = trained.verdict.sentence, trained.problem.where("test")
    target, weights = trained.problem.target[test], row_weights(trained.problem.group[test])
    n = len(target)
    better = {score.name for score in scores_of(trained.problem.task) if score.better == "more"}
    note = caption(n, f"Test part, {trained.verdict.n_groups:,} groups; 95 % intervals over groups. {_PER_GROUP}")
    judged = trained.scores[~trained.scores["score"].isin(conformal.SCORES)]  # which have a chart of their own
    yield "scores", scores_against_baseline(judged, title=title, caption=note, higher_is_better=better), judged
    note = caption(n, f"Test part. {_PER_GROUP}")
    if trained.problem.labels:
        yield from _of_classes(trained, target, weights, title=title, note=note)
        return
    unit = trained.problem.task.unit
    table = binned.predicted_observed_table(target, trained.predicted, weights)
    yield (
        "predicted_observed",
        predictions.predicted_observed(
            table, title=title, caption=f"{note} Band: central 80 %. {calibrated(trained)}", unit=unit
        ),
        table,
    )
    table = binned.residual_table(target, trained.predicted, weights)
    yield (
        "residuals",
        predictions.residuals(table, title=title, caption=f"{note} Band: central 80 %.", unit=unit),
        table,
    )


def of_intervals(trained: Trained) -> Iterator[Chart]:
    """Yield name, figure and table of the chart that shows coverage and width of the intervals."""
    issued = trained.interval
    if issued is None or issued.described is None:
        return
    note = f"Test part, one row per group. {issued.note} Grey: 95 % band of the coverage of sound intervals."
    drawn = intervals(
        issued.table, title=issued.sentence, caption=caption(int(issued.table["n"].iloc[0]), note, noun="groups")
    )
    yield "intervals", drawn, issued.table


def of_subgroups(trained: Trained, asked: Subgroups) -> Iterator[Chart]:
    """Yield name, figure and table of the chart that shows for whom the model is better or worse.

    Levels too small for a verdict are left to the table, unless all are: their intervals would make the others look
    like points.
    """
    task, found = trained.problem.task, trained.subgroups
    compared = found[(found["score"] == task.score) & found["difference_low"].notna()]
    if compared.empty:
        return
    large = compared["groups"] >= asked.fewest
    lines = compared[large] if large.any() else compared
    control = lines["role"].isin(asked.controls).map({True: " (negative control)", False: ""})
    table = pd.DataFrame(
        {
            "label": lines["role"].str.replace("_", " ") + ": " + lines["level"] + control,
            "unit": lines["unit"],
            "estimate": lines["difference"],
            "low": lines["difference_low"],
            "high": lines["difference_high"],
            "n": lines["n"],
            "smallest_effect": lines["margin"],
            "mark": lines["verdict"],
        }
    )
    different = int((lines["verdict"] == DIFFERENT).sum())
    title = f"{task.score} of {task.name}, level less rest: {different} of {len(lines)} levels differ by what matters"
    note = f"Test part; 95 % intervals over groups. Right of 0: larger errors than the rest has. {_PER_GROUP}"
    if small := len(compared) - len(lines):
        note += f" Levels of fewer than {asked.fewest} groups, not shown: {small}."
    note += f" {ERRORS_ONLY}" if trained.verdict.verdict != "signal" else ""
    n = int(trained.problem.where("test").sum())
    yield "subgroups", forest(table, title=title, caption=caption(n, note), marks=VERDICTS), table


def of_explanation(trained: Trained) -> Iterator[Chart]:
    """Yield name, figure and table of the charts that show why the model predicts what it predicts."""
    found = trained.explanation
    if not len(found.place):
        return
    before = f" {BEFORE_RECALIBRATION}" if trained.fitted.recalibration else ""
    note = caption(len(found.place), f"Test part; {found.method}; 95 % intervals over rows.{before}")
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
    note = caption(len(found.place), f"Test part; {found.method}.{before}")
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
    yield "learning_curve", tuning.learning_curve(table, title=title, caption=note, score=task.score), table


def _of_classes(trained: Trained, target: np.ndarray, weights: np.ndarray, *, title: str, note: str) -> Iterator[Chart]:
    labels, shares = trained.problem.labels, trained.predicted
    observed = [labels[int(code)] for code in target]
    made = [labels[code] for code in shares.argmax(axis=1)]
    table = curves.confusion_table(observed, made, weights, labels=labels)
    yield "confusion_matrix", heat_maps.confusion(table, title=title, caption=note), table
    table = curves.reliability_table(observed, shares, weights, labels=labels)
    table = table.merge(_measures(trained.calibration), on="class", how="left")
    band = (
        f"{note} Grey: 95 % consistency band. In the large: log-odds by which the class occurs more than predicted, "
        f"0 is ideal; slope of its log-odds on the predicted ones, 1 is ideal; 95 % intervals over groups."
    )
    yield "reliability", predictions.reliability(table, title=title, caption=band), table
    table = curves.roc_table(observed, shares, weights, labels=labels)
    yield "roc", predictions.roc(table, title=title, caption=f"{note} One class against the rest."), table
    table = curves.precision_recall_table(observed, shares, weights, labels=labels)
    drawn = predictions.precision_recall(table, title=title, caption=f"{note} One class against the rest.")
    yield "precision_recall", drawn, table


def _measures(calibration: pd.DataFrame) -> pd.DataFrame:
    """Lay the measures of a class side by side, each with its limits."""
    wide = [
        part.set_index("class")[["value", "low", "high"]].set_axis([name, f"{name}_low", f"{name}_high"], axis=1)
        for name, part in calibration.groupby("measure")
    ]
    return pd.concat(wide, axis=1).reset_index()


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
