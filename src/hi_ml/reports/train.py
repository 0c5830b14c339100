"""From a dataset to the run folders of its tasks: read and encoded once, then each trained and written.

A run folder is complete without MLflow.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.app.files import atomic_folder
from hi_ml.app.launch import Invocation
from hi_ml.app.process import Ask, Pending
from hi_ml.app.timing import round_seconds, stopwatch
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.read import Admissions, read
from hi_ml.data.schema import Dataset
from hi_ml.evaluation import training
from hi_ml.evaluation.assessment import FittedRun, Method, catalogue
from hi_ml.modeling import problem as problems
from hi_ml.modeling import splits
from hi_ml.modeling.features import Features
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task, select
from hi_ml.prediction import package
from hi_ml.reports import drawing, model, train_charts
from hi_ml.reports.provenance import of_run, provenance
from hi_ml.tracking.contest import rows_of
from hi_ml.tracking.folder import RunFolder, keep_rejected


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    here: Invocation
    method: Method
    all_charts: bool
    stated: Mapping[str, str | None]  # by a person, to items of the checklist for reports
    models: Path  # where they wait until their run folders are written
    ask: Ask  # lets something be done meanwhile, by another process


@dataclass(frozen=True)
class Judged:
    """A trained task whose charts are being drawn, and whose model is being packaged."""

    run: FittedRun
    started: float  # seconds since 1970
    charts: list[tuple[str, Pending, pd.DataFrame]]  # place in the run folder, `Picture` and table of each
    model: Path
    packaged: Pending  # the seconds that it took, once the model is there


def _write(judged: Judged, folder: RunFolder, *, table: "Prepared", request: Request) -> None:
    """Write every file of a run to an empty folder; raises as `finish`."""
    run, admissions = judged.run, table.admissions
    assessments, seconds = catalogue(), run.seconds
    folder.write(config=request.here.config, overrides=request.here.overrides)
    folder.write(**{name: assessments[name].table(result) for name, result in run.results.items()})
    folder.write(predictions=_predictions(run), rows=rows_of(run.problem, admissions.dataset))
    folder.write(split=_certificate(run.problem, admissions, request.method.split))
    if len(admissions.rejected):
        keep_rejected(folder.path, admissions.rejected)
    used = list(dict.fromkeys(run.problem.features.role.values()))
    data = {
        **admissions.provenance(),
        "names_of_organisations_too": table.words.excused,
        "rows_without_target": len(admissions.row) - len(run.problem.target),
        "used": used,
        "refused": run.problem.refused,
    }
    facts = of_run(run, admissions)
    for name, picture, behind in reversed(judged.charts):  # from the end that the other process has not come to
        chart = picture.soonest()
        drawing.write(chart.png, behind, folder.path / name)
        seconds["draw"] += chart.seconds
    seconds["package"] = judged.packaged.result()
    shutil.move(judged.model, folder.model)
    started = provenance(request.here, facts, started=judged.started)
    folder.write(run=started, data=data, timings=round_seconds(seconds))
    model.write(folder, folder, request.stated)
    table.words.refuse(folder.path)


def _predictions(run: FittedRun) -> pd.DataFrame:
    problem, conformal = run.problem, run.results.get("intervals")
    test = problem.where("test")
    frame = pd.DataFrame({"row": problem.row[test], "group": problem.group[test], "twin": problem.twin[test]})
    reach = {} if conformal is None else conformal.columns
    if not problem.labels:
        return frame.assign(target=run.target, prediction=run.predicted, **reach)
    labels = np.array(problem.labels, dtype=object)
    frame = frame.assign(target=labels[run.target.astype(int)], prediction=labels[run.predicted.argmax(axis=1)])
    probabilities = {f"p_{label}": run.predicted[:, k] for k, label in enumerate(problem.labels)}
    return frame.assign(**probabilities, **reach)


def _certificate(problem: Problem, admissions: Admissions, split: Split) -> dict[str, Any]:
    """Say that the parts share no patient, no copy and, where a date cuts, no day; counted anew from the table."""
    rows = np.searchsorted(admissions.row, problem.row)
    kinds = {"patients": admissions.coded.get("patient_id", admissions.group)[rows], "twins": problem.twin}
    if "admitted_on" in admissions.table:
        days = admissions.table["admitted_on"].iloc[rows].dt.floor("D")
        kinds["days"] = np.asarray(pd.factorize(days)[0])
    promised = {"random": [], "temporal": [*kinds]}.get(split.name, ["patients", "twins"])
    return {
        "split": split.name,
        "split_sha256": problem.split_digest(),
        "patients_told_apart_by": admissions.identity,
        "promised_none": promised,
        **splits.certify(problem.parts, kinds, problem.content),
        "left_out": splits.left_out(split, problem.group, problem.table),
    }


@dataclass(frozen=True)
class Prepared:
    """A table that is ready for any of the tasks it was read for."""

    admissions: Admissions
    features: Features  # of all columns that one of the tasks may use
    words: PrivateWords  # what no file may hold

    def pose(self, task: Task, method: Method) -> Problem:
        """Select the rows and columns of a task, and split the rows; raises as `hi_ml.modeling.problem.pose`."""
        return problems.pose(
            self.admissions,
            task,
            features=self.features,
            model=method.model,
            split=method.split,
            seed=method.seed,
            smallest_cell=method.smallest_cell,
        )


def prepare(dataset: Dataset, tasks: list[Task], folder: Path, seconds: dict[str, float]) -> Prepared:
    """Read and encode once for all tasks.

    Parameters
    ----------
    folder : Path
        Gets ``rejected.csv``, if cells cannot be read.
    seconds : dict of str to float
        What the steps take is added here.

    Raises
    ------
    HiMlError
        If the table cannot be read, or a task asks for a column that it may not have.
    """
    with stopwatch(seconds, "read"):
        admissions = read(dataset, partial(keep_rejected, folder))
    with stopwatch(seconds, "encode"):
        columns = problems.available(admissions)
        features = Features.of(admissions, dict.fromkeys(role for task in tasks for role in select(task, columns)[0]))
        words = admissions.private_words()
    return Prepared(admissions, features, words)


@dataclass(frozen=True)
class Begun:
    """A task that is posed, of which another process does what needs no model."""

    problem: Problem
    answers: Mapping[str, Pending]  # by the name of the assessment


def begin(task: Task, table: Prepared, request: Request) -> Begun:
    """Pose a task; raises as `hi_ml.modeling.problem.pose`."""
    problem = table.pose(task, request.method)
    return Begun(problem, training.begin(problem, request.method, request.ask))


def judge(begun: Begun, request: Request, *, seconds: dict[str, float]) -> FittedRun:
    """Train one task, and ask of it all that was asked for.

    Parameters
    ----------
    seconds : dict of str to float
        What earlier steps took; this function adds its own.

    Raises
    ------
    HiMlError
        If the learner refuses its settings, or an assessment the problem.
    """
    return training.train(begun.problem, request.method, seconds, begun.answers)


def hand_over(run: FittedRun, table: Prepared, request: Request) -> Judged:
    """Let the charts of a trained task be drawn, and its model be packaged."""
    started = time.time() - sum(run.seconds.values())
    with stopwatch(run.seconds, "draw"):
        charts = list(train_charts.of_run(run, all_charts=request.all_charts))
    answers = [(name, request.ask(drawing.draw, chart, at_last=True), behind) for name, chart, behind in charts]
    folder = request.models / run.problem.task.name
    dataset = table.admissions.dataset
    packaged = request.ask(_package, folder, run, package.other_columns(dataset), dataset.name)
    return Judged(run, started, answers, folder, packaged)


def _package(folder: Path, run: FittedRun, others: Mapping[str, Any], dataset: str) -> float:
    seconds: dict[str, float] = {}
    with stopwatch(seconds, "package"):
        package.save_run(folder, run, others, table=dataset)
    return seconds["package"]


def finish(judged: Judged, table: Prepared, request: Request, path: Path) -> None:
    """Write the run folder of a trained task, whole or not at all, as soon as its charts and its model are there.

    Parameters
    ----------
    table : Prepared
        On which the problem was posed.
    path : Path
        The run folder to make.

    Raises
    ------
    HiMlError
        If the model cannot be kept, or a file would hold a private word.
    """
    with atomic_folder(path) as work:
        _write(judged, RunFolder(work), table=table, request=request)
