"""python -m hi_ml.board dataset=<name>: how many beds will be taken, and does a model say it better than counting?"""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Seed, refuse_strange_targets
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.files import atomic_folder
from hi_ml.data.read import read
from hi_ml.evaluation.assessment import Method
from hi_ml.modeling.models import Model
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task
from hi_ml.prediction.feed.backtest import backtest
from hi_ml.prediction.feed.log import Log
from hi_ml.prediction.feed.outlook import OutlookSettings
from hi_ml.prediction.feed.past import past
from hi_ml.prediction.feed.settings import site_zone
from hi_ml.reports import board as reports
from hi_ml.tracking.folder import OF_OTHER_STEPS, RunFolder, keep_rejected


@dataclass(frozen=True, config=STRICT)
class BoardSettings(OutlookSettings):
    """The keys of ``conf/board.yaml``."""

    model: Model
    tasks: dict[str, Task]
    split: Split
    evaluate: bool  # replay the table in the order of time
    at: str | None  # the moment of a board from the log; None: now
    smallest_gain: Annotated[float, Field(ge=0, lt=1)]  # share of the CRPS of counting
    seed: Seed  # fixes everything random
    trust: list[str]  # learners of other packages that may run, as module.Class


def board(settings: BoardSettings, here: launch.Invocation) -> None:
    """Draw one board from the log, or replay the forecasts of a table of admissions and judge them.

    Raises
    ------
    HiMlError
        If there is no log, or the table cannot be read or holds too few days.
    """
    (_evaluate if settings.evaluate else _draw)(settings, here)
    print(f"Run folder: {here.folder}")


def _draw(settings: BoardSettings, here: launch.Invocation) -> None:
    zone = site_zone(settings.zone)
    try:
        at = datetime.fromisoformat(settings.at) if settings.at else datetime.now(zone)
    except ValueError as error:
        raise ConfigurationInvalid(f"at takes a moment such as 2026-11-29T08:00; found {settings.at}.") from error
    at = at.replace(tzinfo=at.tzinfo or zone).astimezone(zone)
    log = Log.open(Path(settings.log.path), zone, read_only=True)
    visits = log.visits_at(at)
    outlook = settings.outlook(smallest_gain=settings.smallest_gain)
    present = [visit for visit in visits if visit.status == "in" and visit.patient_class == settings.counted]
    past_visits = [visit for visit in visits if visit.status in ("in", "out")]
    drawn = outlook.board(present, log.scores([visit.visit for visit in present]), past_visits, at)
    log.close()
    with atomic_folder(here.folder, ours=OF_OTHER_STEPS) as work:
        files = reports.files_of_board(drawn, len(present), at)
        RunFolder(work).write(config=here.config, overrides=here.overrides, **files)
    print(reports.summary_of_board(drawn, len(present), at))


def _evaluate(settings: BoardSettings, here: launch.Invocation) -> None:
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


main = launch.command(board)

if __name__ == "__main__":
    main()
