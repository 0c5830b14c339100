"""From a dataset to the run folders of its tasks: read and encoded once, then each trained and written.

A run folder is complete without MLflow.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.app.files import atomic_folder
from hi_ml.app.launch import Invocation, Stage
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
from hi_ml.reports import model, train_charts
from hi_ml.reports.charts.style import save
from hi_ml.reports.provenance import of_problem, provenance
from hi_ml.scorer.serving import UNSEEN
from hi_ml.tracking.contest import rows_of
from hi_ml.tracking.folder import RunFolder, keep_rejected


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    here: Invocation
    method: Method
    all_charts: bool
    stated: Mapping[str, str | None]  # by a person, to items of the checklist for reports


def write(run: FittedRun, folder: RunFolder, *, admissions: Admissions, request: Request, words: PrivateWords) -> None:
    """Write every file of a run.

    Parameters
    ----------
    folder : RunFolder
        An empty folder that exists.
    words : PrivateWords
        None of them may stand in any file.

    Raises
    ------
    PrivateValueFound
        If one does.
    """
    assessments, seconds = catalogue(), run.seconds
    folder.write(config=request.here.config, overrides=request.here.overrides)
    folder.write(**{name: assessments[name].table(result) for name, result in run.results.items()})
    folder.write(predictions=_predictions(run), rows=rows_of(run.problem, admissions.dataset))
    folder.write(split=_certificate(run.problem, admissions, request.method.split))
    if len(admissions.rejected):
        keep_rejected(folder.path, admissions.rejected)
    with stopwatch(seconds, "draw"):
        for name, figure, table in train_charts.of_run(run, all_charts=request.all_charts):
            save(figure, table, folder.path / name)
    with stopwatch(seconds, "package"):
        package.save_run(folder.model, run, admissions.dataset)
    used = list(dict.fromkeys(run.problem.features.role.values()))
    data = {
        **admissions.provenance(),
        "names_of_organisations_too": words.excused,
        "rows_without_target": len(admissions.row) - len(run.problem.target),
        "used": used,
        "refused": run.problem.refused,
    }
    facts = of_problem(run.problem, admissions, model=run.method.model, seed=run.method.seed) | _facts(run)
    started = time.time() - sum(seconds.values())
    folder.write(run=provenance(request.here, facts, started=started), data=data, timings=round_seconds(seconds))
    model.write(folder, folder, request.stated)
    with stopwatch(seconds, "search for private words"):
        words.refuse(folder.path)


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


def _facts(run: FittedRun) -> dict[str, Any]:
    explanation, conformal = run.results.get("explanation"), run.results.get("intervals")
    return {
        "split": run.method.split.name,
        "unseen_in_test": _unseen(run.problem),
        "explained_rows": len(explanation.index) if explanation else 0,
        "explanation": explanation.method if explanation else None,
        "interval": f"{conformal.sentence} {conformal.note}" if conformal else None,
        "notes": list(_notes(run)),
        "sentences": {
            name: catalogue()[name].sentence(result) for name, result in run.results.items() if result is not None
        },
    }


def _notes(run: FittedRun) -> Iterator[str]:
    method, model, classes = run.method, run.method.model, bool(run.problem.labels)
    yield from run.problem.remarks
    asks = run.problem.task.asks
    if model.predicts != asks and not classes:
        yield (
            f"{model.name} predicts the {model.predicts}, and the score asks for the {asks}: on skewed targets it "
            f"starts behind."
        )
    if run.fitted.recalibration:
        yield (
            "The class shares are recalibrated inside the training part, and explained as they are served. The leak of "
            "a random split and the permutation test are of the learner before recalibration."
        )
    assessments = catalogue()
    for name, settings in method.assessments.items():
        yield from assessments[name].notes(run, settings)


def _unseen(problem: Problem) -> dict[str, int]:
    """Count, per category column, the test rows whose level no training row has, or too few patients of them."""
    counts = {}
    for name, role in problem.features.role.items():
        if problem.features.levels(name) is not None:
            counts[role] = int((problem.features.frame.loc[problem.where("test"), name] == UNSEEN).sum())
    return counts


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


def make(
    problem: Problem, table: Prepared, request: Request, path: Path, *, seconds: dict[str, float], stage: Stage
) -> FittedRun:
    """Train one task and write its run folder, whole or not at all.

    Parameters
    ----------
    problem : Problem
        Posed on `table`.
    path : Path
        The run folder to make.
    seconds : dict of str to float
        What earlier steps took; this function adds its own.
    stage : callable
        Told which step is under way.

    Raises
    ------
    HiMlError
        If the learner refuses its settings, the model cannot be kept, or a file would hold a private word.
    """
    name = problem.task.name
    stage(f"{name}: fit, judge, explain")
    run = training.train(problem, request.method, seconds)
    stage(f"{name}: charts, model, run folder")
    with atomic_folder(path) as work:
        write(run, RunFolder(work), admissions=table.admissions, request=request, words=table.words)
    return run
