"""python -m hi_ml.tune model=lgbm task=length_of_stay: searches a model's space, then trains the best."""

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import hydra
import optuna
from omegaconf import DictConfig
from pydantic import Field
from tqdm import tqdm

from hi_ml.app import launch
from hi_ml.app.config import arguments, conf_dir
from hi_ml.app.errors import ConfigurationInvalid, HiMlError, OutputFailed, TrackingFailed, Unserved
from hi_ml.app.timing import stopwatch
from hi_ml.data.schema import Dataset
from hi_ml.evaluation import training
from hi_ml.evaluation.leakage import Leakage
from hi_ml.evaluation.probes.probe import Probing
from hi_ml.evaluation.significance import Permutation
from hi_ml.evaluation.subgroups import Subgroups
from hi_ml.modeling.models import Model
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Moment, Task
from hi_ml.modeling.tuning.result import run
from hi_ml.modeling.tuning.search import begin_study, finished_trials, identity, refuse_unsearchable
from hi_ml.modeling.tuning.validation import Plan
from hi_ml.reports import screen
from hi_ml.reports import search as searches
from hi_ml.reports.search import config_to_train
from hi_ml.reports.train import Request, make, prepare
from hi_ml.tracking.folder import RunFolder, atomic_folder
from hi_ml.tracking.head_to_head import head_to_head
from hi_ml.tracking.registry import Promote, PromotionPolicy
from hi_ml.tracking.send import send
from hi_ml.tracking.store import command_to_open, store_uri

log = logging.getLogger("hi_ml")
_STEPS = 5  # beside the trials, for the progress bar


def tune(
    *,
    dataset: Dataset,
    model: Model,
    tasks: dict[str, Task],
    split: Split,
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    horizon: Moment | None,
    smallest_skill: Annotated[float, Field(ge=0, lt=1)],
    recalibrate: bool,
    leakage: Leakage,
    explain: training.Explain,
    subgroups: Subgroups,
    probes: Probing,
    significance: Literal["interval", "permutation"],
    permutation: Permutation,
    interval: Annotated[float, Field(gt=0, lt=1)] | None,
    interval_by: str | None,
    charts: Literal["default", "all"],
    tracking: Literal["default", "none"],
    promote: Promote,
    trials: Annotated[int, Field(ge=1)],
    folds: Annotated[int, Field(ge=2)],
    trees: Annotated[int, Field(ge=1)] | None,
    smallest_gain: Annotated[float, Field(ge=0, lt=1)],
    resume: str | None,
    here: launch.Invocation,
) -> None:
    """Search the space of a model by cross-validation inside the training part, then train the best.

    Parameters
    ----------
    dataset, model, tasks, split, seed, horizon, smallest_skill, recalibrate, leakage, explain, subgroups, probes
        As of `train`; one task.
    significance, permutation, interval, interval_by, charts, tracking, promote
        As of `train`.
    trials : int
        Configurations, the defaults among them; a resumed search goes on until so many are finished.
    folds : int
        Of the cross-validation.
    trees : int or None
        At most so many, while searching, of a learner that has no early stopping; the best is trained with all.
    smallest_gain : float
        Share of the defaults' loss; a smaller one does not matter.
    resume : str or None
        The folder of an earlier search, whose finished trials are not repeated.

    Raises
    ------
    HiMlError
        If the table cannot be read, the search cannot be made or resumed, or the best cannot be trained or tracked;
        what could be done, stands.
    """
    method = training.Method(model, split, leakage, explain, smallest_skill, seed, recalibrate, subgroups)
    method = replace(method, probing=probes, permutation=permutation if significance == "permutation" else None)
    method = replace(method, interval=interval, interval_by=interval_by)
    task, path, seconds = _only(tasks, horizon), here.folder / next(iter(tasks)), dict[str, float]()
    with launch.progress(_STEPS + trials) as stage, _resumable(here):
        stage("read")
        table = prepare(dataset, [task], here.folder, seconds)
        problem, plan = table.pose(task, method), Plan(trials, folds, smallest_gain, seed, trees)
        refuse_unsearchable(problem, model)
        key = identity(problem, model, plan, data=table.admissions.sha256)
        study = _study(key, RunFolder(here.folder).study, resume)
        log.info("%d trials in %d folds; if interrupted, go on with: %s", trials, folds, _command_to_resume(here))
        with stopwatch(seconds, "search"):
            result = run(problem, model, plan, study=study, stage=stage)
        with atomic_folder(here.folder) as work:
            searches.write(result, RunFolder(work), table=table, here=here, seconds=seconds)
        tqdm.write(searches.summary(result, here))
        best = replace(here, config=config_to_train(result, here.config))
        request = Request(best, replace(method, model=result.tuned), charts == "all")
        taken = {step: seconds[step] for step in ("read", "encode")}
        trained = make(problem, table, request, path, seconds=taken, stage=stage)
        tqdm.write(screen.summary(trained, path))
        stage("track")
        terms = PromotionPolicy(promote, partial(head_to_head, trained, dataset))
        failed = _track(here.folder, path, terms) if tracking == "default" else []
    _say_where(here.folder, path, tracked=tracking == "default")
    if failed:
        raise Unserved.of(failed)


def _only(tasks: dict[str, Task], horizon: Moment | None) -> Task:
    if len(tasks) != 1:
        raise ConfigurationInvalid.one_task("tune", list(tasks))
    (task,) = tasks.values()
    return replace(task, horizon=horizon or task.horizon)


def _study(key: dict[str, Any], path: Path, resume: str | None) -> optuna.Study:
    """Begin a study in the run folder, with the trials of the one that is resumed."""
    if path.exists():
        raise OutputFailed.stands(path)
    earlier = finished_trials(RunFolder(Path(resume)).study, key) if resume else []
    study = begin_study(path, key)
    study.add_trials(earlier)
    return study


def _track(search: Path, best: Path, terms: PromotionPolicy) -> list[HiMlError]:
    """Send the search with its trials, then the model that came of it, which MLflow nests in the search."""
    failed: list[HiMlError] = []
    for folder in (search, best):
        try:
            for line in send(RunFolder(folder), terms).sentences():
                tqdm.write(line)
        except TrackingFailed as error:
            failed.append(error)
    return failed


def _say_where(search: Path, best: Path, *, tracked: bool) -> None:
    print()
    if tracked:
        print(command_to_open(store_uri()))
        return
    for folder in (search, best):
        print(f"python -m hi_ml.track run={folder}")


@contextmanager
def _resumable(here: launch.Invocation) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        if not RunFolder(here.folder).study.exists():
            raise
        how = f"Interrupted. The finished trials stand. Go on with: {_command_to_resume(here)}"
        raise KeyboardInterrupt(how) from stop


def _command_to_resume(here: launch.Invocation) -> str:
    kept = [word for word in here.overrides if not word.lstrip("+~").startswith(("resume=", "hydra."))]
    return shlex.join(["python", "-m", here.command, *kept, f"resume={here.folder}"])


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="tune")
def main(cfg: DictConfig) -> None:
    """Run the command from its configuration."""
    launch.quiet()
    with launch.one_sentence():
        tune(**arguments(tune, cfg), here=launch.Invocation.of(cfg))


if __name__ == "__main__":
    launch.run(main)
