"""The standard charts of a trained task, each with its table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.evaluation import calibration, refits, subgroups, usefulness
from hi_ml.evaluation import explanations as contributions
from hi_ml.evaluation import first_look as first_looks
from hi_ml.evaluation.assessment import FittedRun, catalogue
from hi_ml.evaluation.coverage import SCORES
from hi_ml.evaluation.subgroups import DIFFERENT, ERRORS_ONLY, VERDICTS
from hi_ml.modeling.scores.score import loss_of, scores_of
from hi_ml.modeling.scores.score import title as score_title
from hi_ml.reports.drawing import Drawing, caption
from hi_ml.statistics import curves
from hi_ml.statistics.disclosure import Disclosure

Chart = tuple[str, Drawing, pd.DataFrame]
Rows = NDArray[np.int64]
_PER_GROUP = "Near-copies of an admission count as one."
_ONE_BY_ONE = "One class against the rest."
_BAND = "Band: central 80 %."
_BEYOND = "What lies beyond the central 99 % is counted in the outermost cells."
_MOST_CLASSES = 4  # that are explained one by one: those whose probability is moved most
_DAYS_OF_YEAR = 365.2425


def of_run(run: FittedRun, *, all_charts: bool) -> Iterator[Chart]:
    """Yield the place in the run folder, without the ending, the drawing and the table of every chart of a run.

    Parameters
    ----------
    all_charts : bool
        Whether those are drawn, too, that need further predictions or fits.
    """
    for result in run.results:
        for name, drawing, table in _OF_RESULT.get(result, _none)(run):
            yield f"{'explanation' if result == 'explanation' else 'charts'}/{name}", drawing, table
    for name, drawing, table in _of_refits(run) if all_charts else ():
        yield f"charts/{name}", drawing, table


def _none(_: FittedRun) -> Iterator[Chart]:
    return iter(())


def _of_scores(run: FittedRun) -> Iterator[Chart]:
    """How good is the model?"""
    n, weights, name = run.units.admissions, run.units.votes, _name(run)
    rule = run.rule
    better = {score.name for score in scores_of(run.problem.task) if score.better == "more"}
    counted = run.units.describe(run.results["verdict"].design_effect)
    note = caption(n, f"Test part, {counted}; 95 % intervals over {run.units.noun}. {_PER_GROUP}")
    scores = run.results["scores"]
    scores = scores[~scores["score"].isin(SCORES)]  # which have a chart of their own
    title = _titled(run, f"How good are the predictions of {name}, beside knowing nothing?")
    look = {"title": title, "caption": note, "higher_is_better": better}
    named = scores.assign(name=scores["score"].map(score_title))
    yield "scores", Drawing("scores.scores_against_baseline", named, look), scores
    note = f"Test part. {_PER_GROUP}"
    if not run.problem.labels:
        table, unit = curves.residual_table(run.target, run.predicted, weights, rule=rule), run.problem.task.unit
        words = caption(n, f"{note} {_BAND} {_hidden(run, table)} {_BEYOND}")
        title = _titled(run, f"How far is the observed {name} from the predicted one?")
        if (table["layer"] == "cell").any():  # of enough patients
            drawing = Drawing("predictions.residuals", table, {"title": title, "caption": words, "unit": unit})
            yield "residuals", drawing, table
        return
    observed, labels = _observed(run), run.problem.labels
    likeliest = [labels[code] for code in run.predicted.argmax(axis=1)]
    table = curves.confusion_table(observed, likeliest, weights, labels=labels, rule=rule)
    words = caption(n, f"{note} Cells of fewer than {rule.smallest} patients are not shown.")
    title = _titled(run, f"Which class of {name} is predicted, by what occurred")
    yield "confusion_matrix", Drawing("heat_maps.confusion", table, {"title": title, "caption": words}), table
    words = caption(n, f"{note} {_ONE_BY_ONE}")
    for chart, trace, shows in (
        ("roc", curves.roc_table, "How well does the probability of a class tell who has it?"),
        (
            "precision_recall",
            curves.precision_recall_table,
            "How many of those called are right, by how many are found",
        ),
    ):
        table = trace(observed, run.predicted, weights, labels=labels, rule=rule)
        if len(table):
            look = {"title": _titled(run, shows), "caption": words}
            yield chart, Drawing(f"predictions.{chart}", table, look), table


def _of_leakage(run: FittedRun) -> Iterator[Chart]:
    """What would a split have added that tears copies, or patients, apart?"""
    gap = run.results["leakage"]
    rows = [
        ("Near-copies in training and test", gap.gap, gap.low, gap.high),
        ("Further admissions of the same patients", gap.patient_gap, gap.patient_low, gap.patient_high),
        ("Copies, for a model that memorises", gap.predicted_gap, np.nan, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["source", "gap", "low", "high"])
    share, unit = run.problem.labels, run.problem.task.unit
    if share:
        table[["gap", "low", "high"]] *= 100
    score = score_title(gap.score).capitalize()
    note = f"{score} on a random split, against fits that leave out the rows of the tested copies, or patients."
    words = caption(run.units.admissions, note)
    title = f"What would a careless split add to the score?\n{gap.sentence}"
    look = {"title": title, "caption": words, "unit": "percentage points" if share else unit}
    yield "leakage", Drawing("scores.leak", table, look), table


def _of_calibration(run: FittedRun) -> Iterator[Chart]:
    """Are predictions right on the whole, and their differences as large as those that occur?"""
    n, weights, name = run.units.admissions, run.units.votes, _name(run)
    note, found = caption(n, f"Test part. {_PER_GROUP}"), run.results["calibration"]
    if not run.problem.labels:
        table = curves.predicted_observed_table(run.target, run.predicted, weights, rule=run.rule)
        note = f"{note} {_BAND} {_hidden(run, table)} {_BEYOND}"
        title = f"Which {name} was observed, by what was predicted\n{calibration.plain(found)}"
        if (table["layer"] == "cell").any():  # of enough patients
            look = {"title": title, "caption": note, "unit": run.problem.task.unit}
            yield "predicted_observed", Drawing("predictions.predicted_observed", table, look), table
        return
    table = curves.reliability_table(_observed(run), run.predicted, weights, labels=run.problem.labels, rule=run.rule)
    if table.empty:
        return
    table = table.merge(_measures(found), on="class", how="left")
    note = (
        f"{note} Grey: 95 % consistency band. In the large: log-odds by which the class occurs more than predicted, "
        f"0 is ideal; slope of its log-odds on the predicted ones, 1 is ideal; 95 % intervals over {run.units.noun}."
    )
    title = f"How often does a class occur, by its predicted probability?\n{calibration.plain(found)}"
    yield "reliability", Drawing("predictions.reliability", table, {"title": title, "caption": note}), table


def _of_usefulness(run: FittedRun) -> Iterator[Chart]:
    """From which share on would one act on a prediction?"""
    result = run.results["usefulness"]
    if result is None or not run.problem.labels:
        return
    table = usefulness.curve(result)
    note = (
        "Test part; 95 % intervals over units. Dashed: acting on all; at 0: on none. A false alarm weighs t / (1 - t)."
    )
    words = caption(run.units.admissions, note)
    title = f"What is acting on the probabilities worth?\n{usefulness.sentence(result)}"
    yield "net_benefit", Drawing("predictions.net_benefit", table, {"title": title, "caption": words}), table


def _of_intervals(run: FittedRun) -> Iterator[Chart]:
    """Do the intervals hold what they promise, and how wide are they?"""
    conformal = run.results["intervals"]
    if conformal.description is None:
        return
    note = f"Test part, copies counted once. {conformal.note} Grey: 95 % band of the coverage of sound intervals."
    words = caption(int(conformal.table["n"].iloc[0]), note)
    what, size = ("label sets", "large") if run.problem.labels else ("intervals", "wide")
    title = f"How often do {what} hold the truth, and how {size} are they?\n{conformal.sentence}"
    drawing = Drawing("scores.intervals", conformal.table, {"title": title, "caption": words})
    yield "intervals", drawing, conformal.table


def _of_subgroups(run: FittedRun) -> Iterator[Chart]:
    """For whom is the model better or worse?

    Levels that differ in any score come first, then all in the primary one; controls that do not differ are counted in
    the caption. Levels too small for a verdict are left to the table, unless all are: their intervals would make the
    others look like points.
    """
    task, table, how = run.problem.task, run.results["subgroups"], run.method.assessments["subgroups"]
    differs, primary = table["verdict"] == DIFFERENT, table["score"] == loss_of(task).name
    compared = table[(differs | primary) & table["difference_low"].notna()].sort_values(
        "verdict", key=lambda verdicts: verdicts != DIFFERENT, kind="stable"
    )
    if compared.empty:
        return
    calm = compared["control"] & (compared["verdict"] != DIFFERENT)
    shown = compared if calm.all() else compared[~calm]
    large = shown["groups"] >= how.fewest
    lines = shown[large] if large.any() else shown
    control = lines["control"].map({True: " (negative control)", False: ""})
    score = (", " + lines["score"].str.replace("_", " ")).where(lines["score"] != loss_of(task).name, "")
    table = pd.DataFrame(
        {
            "label": lines["role"].str.replace("_", " ") + ": " + lines["level"] + score + control,
            "unit": lines["unit"],
            "estimate": lines["difference"],
            "low": lines["difference_low"],
            "high": lines["difference_high"],
            "n": lines["n"],
            "smallest_effect": lines["margin"],
            "mark": lines["verdict"],
        }
    )
    score = score_title(loss_of(task).name)
    title = f"For whom is the {score} larger?\n{subgroups.sentence(run.results['subgroups'])}"
    note = f"Test part; 95 % intervals over {run.units.noun}. Right of 0: larger errors than the rest has. {_PER_GROUP}"
    note += f" Drawn: {score}, and what differs in another score."
    if folded := len(compared) - len(shown):
        note += f" Negative controls ({', '.join(how.controls).replace('_', ' ')}): none of {folded} levels differs."
    if small := len(shown) - len(lines):
        note += f" Levels of fewer than {how.fewest} units, not shown: {small}."
    note += f" {ERRORS_ONLY}" if run.results["verdict"].verdict != "signal" else ""
    words = caption(run.units.admissions, note)
    look = {"title": title, "caption": words, "marks": VERDICTS}
    yield "subgroups", Drawing("forests.forest", table, look), table


def _of_holdout(run: FittedRun) -> Iterator[Chart]:
    """Does the recipe hold where it was not taught?"""
    result = run.results["holdout"]
    table = result[(result["measure"] == "skill") & result["value"].notna()].drop(columns=["measure", "class", "unit"])
    if table.empty:
        return
    note = f"95 % intervals over {run.units.noun}; each place by a model that saw none of its admissions or patients."
    words = caption(int(table["n"][table["next_low"].isna()].sum()), note)
    title = f"Skill where the model was not taught\n{catalogue()['holdout'].sentence(result)}"
    yield "holdout", Drawing("forests.left_out", table, {"title": title, "caption": words}), table


def _of_explanation(run: FittedRun) -> Iterator[Chart]:
    """Why does the model predict what it predicts?"""
    explanation = contributions.in_probabilities(run.results["explanation"])
    n, unit = len(explanation.index), explanation.unit
    if len(np.unique(run.units.unit[explanation.index])) < run.rule.smallest:
        return
    note = caption(n, f"Test part; {explanation.method}; 95 % intervals over rows.")
    moved = np.abs(explanation.values).sum(axis=2).mean(axis=1).round(contributions.PLACES)
    if not moved.any():
        explanation = replace(explanation, values=np.zeros_like(explanation.values))
    ranking = contributions.importance(explanation)
    what = "the predicted probabilities" if explanation.classes else f"the predicted {_name(run)}"
    title = _titled(run, f"How much does each column move {what}?")
    look = {"title": title, "caption": note, "unit": unit}
    yield "importance", Drawing("explanations.importance", ranking, look), ranking
    for place, output in enumerate(np.argsort(-moved, kind="stable")[: _MOST_CLASSES * bool(moved.any())]):
        for name, drawing, table in _of_output(run, explanation, int(output)):
            yield f"{name}_{place + 1}" if place else name, drawing, table


def _of_output(run: FittedRun, explanation: contributions.Explanation, output: int) -> Iterator[Chart]:
    """Why is this amount predicted, or this class as likely?"""
    label = explanation.classes[output] if explanation.classes else None
    what = f"the predicted {_name(run)}" if label is None else f"the probability of {label}"
    named = {} if label is None else {"class": label}
    values = pd.DataFrame(explanation.values[output], columns=explanation.roles)
    numbers, cells = _cells(run, explanation)
    rule = Disclosure(run.units.unit[explanation.index], run.rule.smallest)
    base, unit = float(explanation.base[output]), explanation.unit
    look = {"caption": caption(len(values), f"Test part; {explanation.method}. {_means(run)}"), "unit": unit}
    table = contributions.swarm_table(values, numbers, rule)
    title = _titled(run, f"What each column adds to {what}, admission by admission")
    yield "beeswarm", Drawing("explanations.beeswarm", table, look | {"title": title}), table.assign(**named)
    table = contributions.dependence_table(values, numbers, rule)
    title = _titled(run, f"What each value of the main columns adds to {what}")
    yield "dependence", Drawing("explanations.dependence", table, look | {"title": title}), table.assign(**named)
    rows = contributions.typical_rows(values, base, rule)
    seen = _seen(run, explanation, label, rows)
    table = contributions.waterfall_table(values, cells, base, rule, rows=rows, seen=seen)
    title = _titled(run, f"How {what} comes about, where it is low, middling and high")
    look["unit"] = unit if label is None else "%"
    yield "waterfall", Drawing("explanations.waterfall", table, look | {"title": title}), table.assign(**named)


def _seen(
    run: FittedRun, explanation: contributions.Explanation, label: str | None, rows: Mapping[str, Rows]
) -> pd.DataFrame:
    """What became of the explained rows, and what their intervals promised: where that has the unit of what is drawn.

    Of a class nothing is said where it has, or has not, come true for too few patients of any of the rows drawn.
    """
    target, units = run.target[explanation.index], run.units.unit[explanation.index]
    if label is not None:
        occurred = target == run.problem.labels.index(label)
        kinds = [units[index[occurred[index] == kind]] for index in rows.values() for kind in (True, False)]
        few = any(0 < len(np.unique(kind)) < run.rule.smallest for kind in kinds)
        return pd.DataFrame(index=range(len(target))) if few else pd.DataFrame({"observed": 100.0 * occurred})
    if explanation.unit != run.problem.task.unit:  # a logarithm of it
        return pd.DataFrame(index=range(len(target)))
    conformal = run.results.get("intervals")
    reach = {} if conformal is None else {name: conformal.columns.get(name) for name in ("low", "high")}
    ends = {f"reach_{name}": ends[explanation.index] for name, ends in reach.items() if ends is not None}
    return pd.DataFrame({"observed": target, **ends})


def _of_first_look(run: FittedRun) -> Iterator[Chart]:
    """What does the table hold?"""
    table = run.results["first_look"]
    if (table["n"] > 0).any():
        title = f"The table at first look\n{first_looks.sentence(table)}"
        words = caption(
            len(run.problem.target), f"Rows that have {_name(run)}. Each bar: {run.rule.smallest} patients or more."
        )
        drawing = Drawing("first_look.first_look", table, {"title": title, "caption": words})
        yield "first_look", drawing, table


def _of_refits(run: FittedRun) -> Iterator[Chart]:
    """What would less data, or a column less, have cost?"""
    n, task = run.units.admissions, run.problem.task
    title = _titled(run, f"How much does the loss on {_name(run)} grow without a column?")
    note = caption(n, f"Test part; growth of the loss when a column is shuffled, 95 % intervals over {run.units.noun}.")
    table = refits.permutation_importance(run)
    unit = str(table["unit"].iloc[0])
    look = {"title": title, "caption": note, "unit": unit, "measure": "Growth of the loss"}
    yield "permutation_importance", Drawing("explanations.importance", table, look), table
    note = caption(
        n, f"Test part; the same model fitted on fewer training groups, 95 % intervals over {run.units.noun}."
    )
    table = refits.learning_curve(run)
    title = _titled(run, f"Would more admissions help to predict {_name(run)}?")
    look = {"title": title, "caption": note, "score": score_title(loss_of(task).name)}
    yield "learning_curve", Drawing("tuning.learning_curve", table, look), table


_OF_RESULT: dict[str, Callable[[FittedRun], Iterator[Chart]]] = {
    "scores": _of_scores,
    "leakage": _of_leakage,
    "calibration": _of_calibration,
    "usefulness": _of_usefulness,
    "intervals": _of_intervals,
    "subgroups": _of_subgroups,
    "holdout": _of_holdout,
    "explanation": _of_explanation,
    "first_look": _of_first_look,
}


def _name(run: FittedRun) -> str:
    return run.problem.task.title


def _titled(run: FittedRun, shows: str) -> str:
    """Say what a chart shows, and below it the verdict on the model."""
    return f"{shows}\n{run.results['verdict'].headline}"


def _hidden(run: FittedRun, table: pd.DataFrame) -> str:
    """Say how much the cells leave out: those of few patients."""
    hidden = len(run.target) - int(table.loc[table["layer"] == "cell", "n"].sum())
    return f"Not shown: {hidden:,} in cells of fewer than {run.rule.smallest} patients." if hidden else ""


def _means(run: FittedRun) -> str:
    return f"Each point or bar: the mean of {run.rule.smallest} patients or more."


def _observed(run: FittedRun) -> list[str]:
    return [run.problem.labels[int(code)] for code in run.target]


def _measures(calibration: pd.DataFrame) -> pd.DataFrame:
    """Lay the measures of a class side by side, each with its limits."""
    wide = [
        part.set_index("class")[["value", "low", "high"]].set_axis([name, f"{name}_low", f"{name}_high"], axis=1)
        for name, part in calibration.groupby("measure")
    ]
    return pd.concat(wide, axis=1).reset_index()


def _cells(run: FittedRun, explanation: contributions.Explanation) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The explained rows' own values: dates as years for an axis, and as they are."""
    rows = np.flatnonzero(run.problem.where("test"))[explanation.index]
    values = run.problem.table[explanation.roles].iloc[rows].reset_index(drop=True)
    dates = values.select_dtypes("datetime")
    years = dates.apply(lambda day: day.dt.year + (day.dt.day_of_year - 1) / _DAYS_OF_YEAR)
    return values.assign(**years), values
