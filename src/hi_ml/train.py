"""python -m hi_ml.train model=lgbm: trains, judges, explains and tracks one model per task."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from hi_ml.app import launch
from hi_ml.app.config import STRICT, refuse_strange_targets
from hi_ml.app.errors import HiMlError, NotTrainable, TrackingFailed, Unserved, command_to_track
from hi_ml.app.files import unfinished_folder
from hi_ml.app.passwords import without_password
from hi_ml.app.process import Pending, another_process, this_process
from hi_ml.data.column import Moment
from hi_ml.evaluation.assessment import FittedRun, Method, NoSettings, build_settings
from hi_ml.evaluation.explanations import Explain
from hi_ml.evaluation.holdout import Holdout, check_described
from hi_ml.evaluation.intervals import Rule
from hi_ml.evaluation.judgement import Judging
from hi_ml.evaluation.leakage import Leakage
from hi_ml.evaluation.probes import Probing
from hi_ml.evaluation.significance import Permutation
from hi_ml.evaluation.subgroups import Subgroups
from hi_ml.modeling.models import Model, refuse_unknown_arguments
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task
from hi_ml.reports import screen
from hi_ml.reports.train import Begun, Judged, Request, begin, finish, hand_over, judge, prepare
from hi_ml.tracking.contest import head_to_head
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.registry import Promote, PromotionPolicy
from hi_ml.tracking.send import RunSettings, Tracked
from hi_ml.tracking.store import how_to_look, store_uri

S = TypeVar("S")
T = TypeVar("T")
_STEPS = ("fit", "write", "track")  # of a task, for the progress bar
_WAITING = 2  # tasks at most whose charts, or whose sending to MLflow, the other process still owes
_NEEDED = ["mlflow.pyfunc", "hi_ml.reports.charts.style"]  # by packages and charts; imported while this process reads


@dataclass(frozen=True, config=STRICT)
class TrainSettings(RunSettings):
    """The keys of ``conf/train.yaml``."""

    model: Model
    tasks: dict[str, Task]
    trust: list[str]  # learners of other packages than scikit-learn, LightGBM and CatBoost, as module.Class
    split: Split
    horizon: Moment | None  # moves the moment of prediction of all tasks
    smallest_skill: Annotated[float, Field(ge=0, lt=1)]  # share of the baseline's loss
    recalibrate: bool  # whether the probabilities of classes are recalibrated inside the training part
    # what is asked of each model, in this order; empty: its settings stand under a key of their own, or it has none
    assessments: dict[str, dict[str, Any] | None]
    leakage: Leakage
    explain: Explain
    subgroups: Subgroups
    probes: Probing
    significance: Literal["interval", "permutation"]  # permutation also refits on targets exchanged between groups
    permutation: Permutation
    # with which probability intervals and sets of labels hold the truth; None makes none
    interval: Annotated[float, Field(gt=0, lt=1)] | None
    interval_by: str | None  # column whose levels, or `class` for sets of labels, get that probability each
    holdout_by: str | None  # a column whose levels are left out in turn
    report: dict[str, str | None]  # what a person says to items of TRIPOD+AI
    charts: Literal["default", "all"]
    promote: Promote  # auto: champion if shown to be better than the present one on rows new to both
    # share of the present champion's loss (in tune, also of the defaults'); a smaller one is not worth a change
    smallest_gain: Annotated[float, Field(ge=0, lt=1)]

    def method(self) -> Method:
        """Return what is done with every task.

        Raises
        ------
        ConfigurationInvalid
            If the model would run code that is not trusted.
        """
        refuse_strange_targets(asdict(self.model), self.trust, key="model")
        refuse_unknown_arguments(self.model)
        rule = Rule(level=self.interval, by=self.interval_by, bands=self.subgroups.bands) if self.interval else None
        elsewhere = {
            "verdict": Judging(smallest_skill=self.smallest_skill),
            "leakage": self.leakage,
            "intervals": rule,
            "repeats": NoSettings() if self.split.repeats > 1 else None,
            "subgroups": self.subgroups,
            "holdout": Holdout(self.holdout_by) if self.holdout_by else None,
            "significance": self.permutation if self.significance == "permutation" else None,
            "probes": self.probes,
            "explanation": self.explain,
        }
        assessments = build_settings(self.assessments, elsewhere)
        return Method(self.model, self.split, self.seed, self.recalibrate, assessments, self.smallest_cell)

    def at_horizon(self) -> list[Task]:
        """Return the tasks, each at the moment of prediction that was asked for."""
        return [replace(task, horizon=self.horizon or task.horizon) for task in self.tasks.values()]

    def policy(self, run: FittedRun) -> PromotionPolicy:
        """Return on which terms a model may become champion."""
        return PromotionPolicy(self.promote, partial(head_to_head, run, self.dataset), self.smallest_gain)


def train(settings: TrainSettings, here: launch.Invocation) -> None:
    """Train one model per task, each to a run folder of its own and to MLflow.

    Raises
    ------
    HiMlError
        If the table cannot be read, or a task could not be trained or tracked; what could be, stands.
    """
    tasks, method, tracked = settings.at_horizon(), settings.method(), settings.tracking == "default"
    check_described(settings.holdout_by, settings.dataset, {task.target for task in tasks})
    failures: list[HiMlError] = []
    lines: list[dict[str, str]] = []
    folders: list[Path] = []  # in the order that was asked for
    process = another_process if len(tasks) > 1 else this_process
    with (
        unfinished_folder(here.folder, "models") as models,
        process("compares leaks, draws charts, packages models and sends runs", imports=_NEEDED) as ask,
        launch.progress(1 + len(_STEPS) * len(tasks)) as stage,
    ):
        request = Request(here, method, settings.charts == "all", settings.report, models, ask)
        stage("read")
        seconds: dict[str, float] = {}
        table = prepare(settings.dataset, tasks, here.folder, seconds)

        def judge_task(task: Begun) -> Judged:
            stage(f"{task.problem.task.name}: fit, judge, explain")
            run = judge(task, request, seconds=dict(seconds))
            tqdm.write(screen.summary(run))
            return hand_over(run, table, request)

        def write_task(task: Judged) -> tuple[str, Pending | None]:
            name, path = task.run.problem.task.name, here.folder / task.run.problem.task.name
            stage(f"{name}: charts, model, run folder")
            finish(task, table, request, path)
            folders.append(path)
            tqdm.write(screen.where(path))
            lines.append(screen.line(task.run))
            return name, ask(settings.sending(path, settings.policy(task.run))) if tracked else None

        def say_task(task: tuple[str, Pending | None]) -> None:
            name, sending = task
            if sending is not None:
                stage(f"{name}: track")
                say_sent(sending.result())

        begun = behind(each(tasks, partial(begin, table=table, request=request), failures), 1)
        judged = behind(each(begun, judge_task, failures), _WAITING, lambda task: task.packaged.done())
        written = behind(each(judged, write_task, failures), _WAITING)
        for _ in each(written, say_task, failures):
            pass  # each step asks the one before it for the next task
    if len(lines) > 1:
        print(screen.closing(lines))
    if folders:
        say_next(folders, tracked=tracked)
    if failures:
        raise Unserved.of(failures)


def each(items: Iterable[S], does: Callable[[S], T], failures: list[HiMlError]) -> Iterator[T]:
    """Yield what is made of each item, and keep why of others nothing can be."""
    for item in items:
        try:
            yield does(item)
        except (NotTrainable, TrackingFailed) as error:
            failures.append(error)


def behind(items: Iterator[T], count: int, ready: Callable[[T], bool] = lambda _: False) -> Iterator[T]:
    """Yield each item when so many after it are made, one is and it is ready, or no more can be made."""
    waiting: deque[T] = deque()
    try:
        for item in items:
            waiting.append(item)
            while len(waiting) > count or (len(waiting) > 1 and ready(waiting[0])):
                yield waiting.popleft()
    except Exception:
        yield from waiting
        raise
    yield from waiting


def say_sent(tracked: Tracked) -> None:
    """Say what became of a run in MLflow."""
    for sentence in tracked.sentences():
        tqdm.write(screen.wrapped(sentence))


def say_next(folders: Sequence[Path], *, tracked: bool) -> None:
    """Say which command opens MLflow, and where the first run stands there that was sent; or which send them there."""
    print()
    if not tracked:
        print(*map(command_to_track, folders), sep="\n")
        return
    uri = store_uri()
    sent = (RunFolder(folder).tracked().get(without_password(uri), {}).get("experiment_id") for folder in folders)
    print(how_to_look(uri, next(filter(None, sent), "")))


main = launch.command(train)

if __name__ == "__main__":
    main()
