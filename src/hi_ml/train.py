"""python -m hi_ml.train model=lgbm: trains, judges, explains and tracks one model per task."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import hydra
from omegaconf import DictConfig
from pydantic import Field
from tqdm import tqdm

from hi_ml import launch, problems, training
from hi_ml.artifacts import RunFolder, keep_rejected, whole_or_nothing
from hi_ml.config import arguments, conf_dir
from hi_ml.datasets.reading import Admissions, read
from hi_ml.datasets.schema import Dataset
from hi_ml.errors import HiMlError, NotTrainable, OutputFailed, TrackingFailed, Unserved
from hi_ml.features import Features
from hi_ml.leakage import Leakage
from hi_ml.models import Model
from hi_ml.privacy import PrivateWords
from hi_ml.runs import screen
from hi_ml.runs.writing import Request, write
from hi_ml.splits import Split
from hi_ml.stores import command_to_open, store_uri
from hi_ml.tasks import Moment, Task, select
from hi_ml.tracking import send

_STEPS = ("fit", "write", "track")  # of a task, for the progress bar


def train(
    *,
    dataset: Dataset,
    model: Model,
    tasks: dict[str, Task],
    split: Split,
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    horizon: Moment | None,
    smallest_skill: Annotated[float, Field(ge=0, lt=1)],
    leakage: Leakage,
    explain: training.Explain,
    charts: Literal["default", "all"],
    tracking: Literal["default", "none"],
    here: launch.Here,
) -> None:
    """Train one model per task, each to a run folder of its own and to MLflow.

    Parameters
    ----------
    dataset, model, tasks, split, leakage, explain
        The objects of ``conf/``.
    seed : int
        Fixes everything random.
    horizon : {"admission", "stay", "discharge"} or None
        Moves the moment of prediction of all tasks.
    smallest_skill : float
        Share of the baseline's loss.
    charts : {"default", "all"}
    tracking : {"default", "none"}
    here : Here

    Raises
    ------
    HiMlError
        If the table cannot be read, or a task could not be trained or tracked; what could be, stands.
    """
    method = training.Method(model, split, leakage, explain, smallest_skill, seed)
    for task in tasks.values():
        if (here.folder / task.name).exists():
            raise OutputFailed.stands(here.folder / task.name)
    asked = [replace(task, horizon=horizon or task.horizon) for task in tasks.values()]
    request = Request(here, method, charts == "all")
    failed: list[HiMlError] = []
    with launch.progress(1 + len(_STEPS) * len(asked)) as stage:
        stage("read")
        started: dict[str, float] = {}
        table = _prepared(dataset, asked, here.folder, started)
        for task in asked:
            try:
                folder = _made(task, table, request, here.folder / task.name, seconds=dict(started), stage=stage)
                stage(f"{task.name}: track")
                if tracking == "default":
                    _track(folder)
            except (NotTrainable, TrackingFailed) as error:
                failed.append(error)
    _say_where(here.folder, tracked=tracking == "default")
    if failed:
        raise Unserved.of(failed)


Table = tuple[Admissions, Features, PrivateWords]


def _prepared(dataset: Dataset, tasks: list[Task], folder: Path, seconds: dict[str, float]) -> Table:
    """Read and encode once for all tasks."""
    with training.timed(seconds, "read"):
        admissions = read(dataset, partial(keep_rejected, folder))
    with training.timed(seconds, "encode"):
        columns = problems.available(admissions)
        features = Features.of(admissions, dict.fromkeys(role for task in tasks for role in select(task, columns)[0]))
        words = PrivateWords.of(admissions.private, admissions.public)
    return admissions, features, words


def _made(
    task: Task, table: Table, request: Request, path: Path, *, seconds: dict[str, float], stage: launch.Stage
) -> RunFolder:
    """Train one task and write its run folder, whole or not at all."""
    admissions, features, words = table
    stage(f"{task.name}: fit, judge, explain")
    method = request.method
    problem = problems.pose(
        admissions, task, features=features, model=method.model, split=method.split, seed=method.seed
    )
    trained = training.train(problem, method, seconds)
    stage(f"{task.name}: charts, model, run folder")
    with whole_or_nothing(path) as work:
        write(trained, RunFolder(work), admissions=admissions, request=request, words=words)
    tqdm.write(screen.summary(trained, path))
    return RunFolder(path)


def _track(folder: RunFolder) -> None:
    tracked = send(folder)
    if tracked.champion_verdict != "signal":
        tqdm.write(
            f"Note: the champion of {tracked.model} has the verdict '{tracked.champion_verdict}': "
            f"it is no better than knowing nothing."
        )


def _say_where(folder: Path, *, tracked: bool) -> None:
    made = sorted(path.parent for path in folder.glob("*/run.json"))
    if not made:
        return
    print()
    if tracked:
        print(command_to_open(store_uri()))
        return
    print(f"python -m hi_ml.track run={made[0]}")


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def main(cfg: DictConfig) -> None:
    """Run the command from its configuration."""
    launch.quiet()
    with launch.one_sentence():
        train(**arguments(train, cfg), here=launch.Here.of(cfg))


if __name__ == "__main__":
    launch.run(main)
