"""python -m hi_ml.board evaluate=true dataset=<name>: does a model foretell the beds better than counting does?"""

from dataclasses import asdict
from functools import partial
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files, Seed, refuse_strange_targets
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.files import atomic_folder
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.assessment import Method
from hi_ml.modeling.models import Model
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task
from hi_ml.prediction.feed.backtest import backtest
from hi_ml.prediction.feed.past import past
from hi_ml.reports import board as reports
from hi_ml.tracking.folder import OF_OTHER_STEPS, RunFolder, keep_rejected


@dataclass(frozen=True, config=STRICT)
class BoardSettings:
    """The keys of ``conf/board.yaml``."""

    dataset: Dataset
    files: Files
    model: Model
    tasks: dict[str, Task]
    split: Split
    evaluate: bool  # replay the table in the order of time
    horizons: list[Annotated[int, Field(ge=1, le=60)]]  # days ahead
    interval: Annotated[float, Field(gt=0, lt=1)]
    smallest_gain: Annotated[float, Field(ge=0, lt=1)]  # share of the CRPS of counting
    seed: Seed  # fixes everything random
    trust: list[str]  # learners of other packages that may run, as module.Class


def board(settings: BoardSettings, here: launch.Invocation) -> None:
    """Replay the forecasts of a table of admissions, and judge them.

    Raises
    ------
    HiMlError
        If the table cannot be read, or holds too few days.
    """
    if len(settings.tasks) != 1:
        raise ConfigurationInvalid.one_task("board", list(settings.tasks))
    (task,) = settings.tasks.values()
    refuse_strange_targets(asdict(settings.model), settings.trust, key="model")
    admissions = read(settings.dataset, partial(keep_rejected, here.folder))
    method = Method(settings.model, settings.split, settings.seed)
    known = past(admissions, task, method, level=settings.interval)
    result = backtest(
        known.stays, known.predicted, cut=known.cut, last=known.last, horizons=settings.horizons,
        level=settings.interval, smallest_gain=settings.smallest_gain,
    )  # fmt: skip
    with atomic_folder(here.folder, ours=OF_OTHER_STEPS) as work:
        RunFolder(work).write(config=here.config, overrides=here.overrides, **reports.files(result))
    print(reports.summary(result))
    print(f"Run folder: {here.folder}")


main = launch.command(board)

if __name__ == "__main__":
    main()
