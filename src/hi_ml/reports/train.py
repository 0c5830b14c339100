"""A trained task becomes a run folder, complete without MLflow.

From a dataset to the run folders of its tasks: read and encoded once, then each trained and written.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hi_ml.app.launch import Invocation, Stage
from hi_ml.app.timing import stopwatch
from hi_ml.data.digests import row_digests
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.read import Admissions, read
from hi_ml.data.schema import Dataset
from hi_ml.evaluation import explanations, subgroups, training
from hi_ml.evaluation.training import Method, Trained
from hi_ml.modeling import problem as problems
from hi_ml.modeling import splits
from hi_ml.modeling.features import Features
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.tasks import Task, select
from hi_ml.prediction import drift, package
from hi_ml.reports import train_charts
from hi_ml.reports.charts.style import save
from hi_ml.reports.provenance import of_problem, provenance
from hi_ml.tracking.folder import RunFolder, atomic_folder, keep_rejected


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    here: Invocation
    method: Method
    all_charts: bool


def write(
    trained: Trained, folder: RunFolder, *, admissions: Admissions, request: Request, words: PrivateWords
) -> None:
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
    problem, seconds = trained.problem, trained.seconds
    folder.write_request(request.here.config, request.here.overrides)
    folder.write_judgement(asdict(trained.verdict), trained.scores, asdict(trained.gap))
    tested = trained.significance
    folder.write_probes([asdict(probe) for probe in trained.probes], asdict(tested) if tested else None)
    folder.write_checks(trained.calibration, trained.subgroups)
    folder.write_rows(_predictions(trained), _contributions(trained))
    folder.write_parts(_parts(trained, admissions))
    if len(admissions.rejected):
        keep_rejected(folder.path, admissions.rejected)
    with stopwatch(seconds, "draw"):
        for name, figure, table in train_charts.of_scores(trained):
            save(figure, table, folder.charts / name)
        for name, figure, table in train_charts.of_intervals(trained):
            save(figure, table, folder.charts / name)
        for name, figure, table in train_charts.of_subgroups(trained, request.method.subgroups):
            save(figure, table, folder.charts / name)
        for name, figure, table in train_charts.of_explanation(trained):
            save(figure, table, folder.explanation / name)
        for name, figure, table in train_charts.of_refits(trained, request.method) if request.all_charts else ():
            save(figure, table, folder.charts / name)
    with stopwatch(seconds, "package"):
        seen = problem.features.frame[problem.where("train")]
        interval = trained.interval.described if trained.interval else None
        described = package.mapping(
            problem.task, trained.fitted, problem.features, labels=problem.labels, seen=seen, interval=interval
        )
        reference = drift.profile(seen, described["columns"], problem.group[problem.where("train")])
        described |= package.other_columns(admissions.dataset)
        package.save(folder.model, trained.fitted, described, reference=reference)
    folder.write_provenance(_run(trained, admissions, request), _data(trained, admissions), seconds)
    with stopwatch(seconds, "search for private words"):
        words.refuse(folder.path)


def _predictions(trained: Trained) -> pd.DataFrame:
    problem = trained.problem
    test = problem.where("test")
    frame = pd.DataFrame({"row": problem.row[test], "group": problem.group[test]})
    reach = trained.interval.columns if trained.interval else {}
    if not problem.labels:
        return frame.assign(target=problem.target[test], prediction=trained.predicted, **reach)
    labels = np.array(problem.labels, dtype=object)
    frame = frame.assign(
        target=labels[problem.target[test].astype(int)], prediction=labels[trained.predicted.argmax(axis=1)]
    )
    shares = {f"p_{label}": trained.predicted[:, k] for k, label in enumerate(problem.labels)}
    return frame.assign(**shares, **reach)


def _parts(trained: Trained, admissions: Admissions) -> pd.DataFrame:
    """Which row went to which part; ``attrs["roles"]`` names the public columns behind the digests."""
    problem = trained.problem
    part = pd.Series(problem.parts).map(dict(enumerate(splits.PARTS)))  # missing where the split leaves a row out
    digest = row_digests(problem.table, admissions.dataset.spellings())
    rows = pd.DataFrame({"row": problem.row, "group": problem.group, "part": part, "digest": digest})
    rows.attrs["roles"] = list(problem.table.columns)
    return rows


def _contributions(trained: Trained) -> pd.DataFrame:
    problem = trained.problem
    labels = [problem.labels[int(code)] for code in trained.fitted.pipeline.classes_] if problem.labels else []
    return explanations.table(trained.explanation, problem.row[problem.where("test")], labels)


def _run(trained: Trained, admissions: Admissions, request: Request) -> dict[str, Any]:
    problem, method = trained.problem, request.method
    facts = {
        **of_problem(problem, admissions, model=method.model, seed=method.seed),
        "split": method.split.name,
        "unseen_in_test": _unseen(trained),
        "explained_rows": len(trained.explanation.place),
        "explanation": trained.explanation.method,
        "interval": f"{trained.interval.sentence} {trained.interval.note}" if trained.interval else None,
        "notes": list(_notes(trained, method)),
    }
    return provenance(request.here, facts, started=time.time() - sum(trained.seconds.values()))


def _notes(trained: Trained, method: Method) -> Iterator[str]:
    problem, model = trained.problem, method.model
    if model.predicts == "mean" and not problem.labels:
        yield f"{model.name} predicts the mean, the baseline is the median: on skewed targets its mae starts behind."
    if method.recalibrate and not problem.labels:
        yield "recalibrate=true does nothing for a regression."
    if method.recalibrate and problem.labels:
        yield (
            "The class shares are recalibrated inside the training part. Explanations, the leak of a random split and "
            "the permutation test are of the learner before recalibration."
        )
    for role, why in subgroups.left_out(problem, method.subgroups).items():
        yield f"Subgroups of {role} are not compared: {why}."
    if trained.verdict.verdict != "signal" and len(trained.subgroups):
        yield subgroups.ERRORS_ONLY


def _unseen(trained: Trained) -> dict[str, int]:
    """Count, per category column, the test rows whose level no training row held."""
    problem, found = trained.problem, {}
    for name, role in problem.features.role.items():
        if problem.features.levels(name) is not None:
            taught, asked = (problem.features.frame.loc[problem.where(part), name] for part in ("train", "test"))
            found[role] = int((~asked.isin(taught) & asked.notna()).sum())
    return found


def _data(trained: Trained, admissions: Admissions) -> dict[str, Any]:
    used = list(dict.fromkeys(trained.problem.features.role.values()))
    return {**admissions.provenance(), "used": used, "refused": trained.problem.refused}


@dataclass(frozen=True)
class Prepared:
    """A table that is ready for any of the tasks it was read for."""

    admissions: Admissions
    features: Features  # of all columns that one of the tasks may use
    words: PrivateWords  # what no file may hold

    def pose(self, task: Task, method: training.Method) -> Problem:
        """Select the rows and columns of a task, and split the rows; raises as `hi_ml.modeling.problem.pose`."""
        return problems.pose(
            self.admissions, task, features=self.features, model=method.model, split=method.split, seed=method.seed
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
        words = PrivateWords.of(admissions.private, admissions.public)
    return Prepared(admissions, features, words)


def make(
    problem: Problem, table: Prepared, request: Request, path: Path, *, seconds: dict[str, float], stage: Stage
) -> training.Trained:
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
    trained = training.train(problem, request.method, seconds)
    stage(f"{name}: charts, model, run folder")
    with atomic_folder(path) as work:
        write(trained, RunFolder(work), admissions=table.admissions, request=request, words=table.words)
    return trained
