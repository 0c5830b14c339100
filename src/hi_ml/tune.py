"""python -m hi_ml.tune model=lgbm task=length_of_stay: searches a model's space, then trains the best."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import optuna
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid, HiMlError, TrackingFailed, Unserved, quoted
from hi_ml.app.files import atomic_folder, unfinished_folder
from hi_ml.app.process import this_process
from hi_ml.app.timing import stopwatch
from hi_ml.modeling.tuning.result import run
from hi_ml.modeling.tuning.search import begin_study, finished_trials, identity, refuse_unsearchable
from hi_ml.modeling.tuning.validation import Plan
from hi_ml.reports import screen
from hi_ml.reports import search as searches
from hi_ml.reports.search import config_to_train
from hi_ml.reports.train import Begun, Request, finish, hand_over, judge, prepare
from hi_ml.tracking.folder import OF_OTHER_STEPS, RunFolder
from hi_ml.train import TrainSettings, say_next, say_sent

log = logging.getLogger("hi_ml")
_STEPS = 5  # beside the trials, for the progress bar


@dataclass(frozen=True, config=STRICT)
class TuneSettings(TrainSettings):
    """The keys of ``conf/tune.yaml``: those of train, for one task, and those of the search."""

    trials: Annotated[int, Field(ge=1)]  # configurations, the defaults among them; a resumed search goes on until then
    folds: Annotated[int, Field(ge=2)]  # of the cross-validation
    # at most so many, while searching, of a learner that has no early stopping; the best is trained with all
    trees: Annotated[int, Field(ge=1)] | None
    resume: str | None  # the folder of an earlier search, whose finished trials are not repeated

    def plan(self) -> Plan:
        """Return how configurations are searched and held against each other."""
        return Plan(self.trials, self.folds, self.smallest_gain, self.seed, self.trees)


def tune(settings: TuneSettings, here: launch.Invocation) -> None:
    """Search the space of a model by cross-validation inside the training part, then train the best.

    Raises
    ------
    HiMlError
        If the table cannot be read, the search cannot be made or resumed, or the best cannot be trained or tracked;
        what could be done, stands.
    """
    if len(settings.tasks) != 1:
        raise ConfigurationInvalid.one_task("tune", list(settings.tasks))
    (name,), (task,) = settings.tasks, settings.at_horizon()
    method, plan, model, path = settings.method(), settings.plan(), settings.model, here.folder / name
    tracked, seconds, failures = settings.tracking == "default", dict[str, float](), list[HiMlError]()
    with this_process() as ask, launch.progress(_STEPS + settings.trials) as stage, _resumable(here):
        stage("read")
        table = prepare(settings.dataset, [task], here.folder, seconds)
        problem = table.pose(task, method)
        refuse_unsearchable(problem, model)
        key = identity(problem, model, plan, data=table.admissions.sha256)
        study = _study(key, RunFolder(here.folder).study, settings.resume)
        log.info(
            "%d trials in %d folds; if interrupted, go on with: %s", plan.trials, plan.folds, _command_to_resume(here)
        )
        with stopwatch(seconds, "search"):
            result = run(problem, model, plan, study=study, stage=stage)
        with atomic_folder(here.folder, ours=OF_OTHER_STEPS) as work:
            searches.write(result, RunFolder(work), table=table, here=here, seconds=seconds)
        tqdm.write(searches.summary(result, here))
        best = replace(here, config=config_to_train(result, here.config))
        method = replace(method, model=result.tuned)
        with unfinished_folder(here.folder, "models") as models:
            request = Request(best, method, settings.charts == "all", settings.report, models, ask)
            stage(f"{name}: fit, judge, explain")
            best_run = judge(Begun(problem, {}), request, seconds={step: seconds[step] for step in ("read", "encode")})
            tqdm.write(screen.summary(best_run))
            stage(f"{name}: charts, model, run folder")
            finish(hand_over(best_run, table, request), table, request, path)
        tqdm.write(screen.where(path))
        stage("track")
        for folder in (here.folder, path) if tracked else ():  # MLflow nests the model in the search it came of
            try:
                say_sent(settings.send(folder, settings.policy(best_run)))
            except TrackingFailed as error:
                failures.append(error)
    say_next([here.folder, path], tracked=tracked)
    if failures:
        raise Unserved.of(failures)


def _study(key: dict[str, Any], path: Path, resume: str | None) -> optuna.Study:
    """Begin a study in the run folder, with the trials of the one that is resumed."""
    earlier = finished_trials(RunFolder(Path(resume).expanduser()).study, key) if resume else []
    study = begin_study(path, key)
    study.add_trials(earlier)
    return study


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
    return here.itself(f"resume={quoted(str(here.folder))}")


main = launch.command(tune)

if __name__ == "__main__":
    main()
