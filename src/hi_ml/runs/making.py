"""From a dataset to the run folders of its tasks: read and encoded once, then each trained and written."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hi_ml import problems, training
from hi_ml.artifacts import RunFolder, keep_rejected, whole_or_nothing
from hi_ml.datasets.reading import Admissions, read
from hi_ml.datasets.schema import Dataset
from hi_ml.features import Features
from hi_ml.launch import Stage
from hi_ml.privacy import PrivateWords
from hi_ml.problems import Problem
from hi_ml.runs.writing import Request, write
from hi_ml.tasks import Task, select


@dataclass(frozen=True)
class Prepared:
    """A table that is ready for any of the tasks it was read for.

    Attributes
    ----------
    admissions : Admissions
    features : Features
        Of all columns that one of the tasks may use.
    words : PrivateWords
        What no file may hold.
    """

    admissions: Admissions
    features: Features
    words: PrivateWords

    def pose(self, task: Task, method: training.Method) -> Problem:
        """Select the rows and columns of a task, and split the rows; raises as `hi_ml.problems.pose`."""
        return problems.pose(
            self.admissions, task, features=self.features, model=method.model, split=method.split, seed=method.seed
        )


def prepare(dataset: Dataset, tasks: list[Task], folder: Path, seconds: dict[str, float]) -> Prepared:
    """Read and encode once for all tasks.

    Parameters
    ----------
    dataset : Dataset
    tasks : list of Task
    folder : Path
        Gets ``rejected.csv``, if cells cannot be read.
    seconds : dict of str to float
        What the steps take is added here.

    Raises
    ------
    HiMlError
        If the table cannot be read, or a task asks for a column that it may not have.
    """
    with training.timed(seconds, "read"):
        admissions = read(dataset, partial(keep_rejected, folder))
    with training.timed(seconds, "encode"):
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
    table : Prepared
    request : Request
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
    with whole_or_nothing(path) as work:
        write(trained, RunFolder(work), admissions=table.admissions, request=request, words=table.words)
    return trained
