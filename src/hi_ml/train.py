"""python -m hi_ml.train model=lgbm: trains, judges, explains and tracks one model per task."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import hydra
from omegaconf import DictConfig
from pydantic import Field
from tqdm import tqdm

from hi_ml.app import launch
from hi_ml.app.config import arguments, conf_dir
from hi_ml.app.errors import HiMlError, NotTrainable, OutputFailed, TrackingFailed, Unserved
from hi_ml.data.schema import Dataset
from hi_ml.evaluation import training
from hi_ml.evaluation.leakage import Leakage
from hi_ml.evaluation.probes.probe import Probing
from hi_ml.evaluation.significance import Permutation
from hi_ml.evaluation.subgroups import Subgroups
from hi_ml.modeling.models import Model
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Moment, Task
from hi_ml.reports import screen
from hi_ml.reports.train import Request, make, prepare
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.head_to_head import head_to_head
from hi_ml.tracking.registry import Promote, PromotionPolicy
from hi_ml.tracking.send import send
from hi_ml.tracking.store import command_to_open, store_uri

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
    here: launch.Invocation,
) -> None:
    """Train one model per task, each to a run folder of its own and to MLflow.

    Parameters
    ----------
    dataset, model, tasks, split, leakage, explain, subgroups, probes, permutation
        The objects of ``conf/``.
    seed : int
        Fixes everything random.
    horizon : {"admission", "stay", "discharge"} or None
        Moves the moment of prediction of all tasks.
    smallest_skill : float
        Share of the baseline's loss.
    recalibrate : bool
        Whether the shares of classes are recalibrated inside the training part.
    significance : {"interval", "permutation"}
        ``permutation`` also refits on targets exchanged between groups.
    interval : float or None
        With which probability intervals and sets of labels hold the truth; None makes none.
    interval_by : str or None
        Column whose levels get intervals of that probability each.
    charts : {"default", "all"}
    tracking : {"default", "none"}
    promote : {"auto", "always", "never"}
        ``auto`` makes a model champion that is shown to be better than the present one on rows new to both.

    Raises
    ------
    HiMlError
        If the table cannot be read, or a task could not be trained or tracked; what could be, stands.
    """
    method = training.Method(model, split, leakage, explain, smallest_skill, seed, recalibrate, subgroups)
    method = replace(method, probing=probes, permutation=permutation if significance == "permutation" else None)
    method = replace(method, interval=interval, interval_by=interval_by)
    for task in tasks.values():
        if (here.folder / task.name).exists():
            raise OutputFailed.stands(here.folder / task.name)
    asked = [replace(task, horizon=horizon or task.horizon) for task in tasks.values()]
    request = Request(here, method, charts == "all")
    failed: list[HiMlError] = []
    with launch.progress(1 + len(_STEPS) * len(asked)) as stage:
        stage("read")
        started: dict[str, float] = {}
        table = prepare(dataset, asked, here.folder, started)
        for task in asked:
            path = here.folder / task.name
            try:
                problem = table.pose(task, method)
                trained = make(problem, table, request, path, seconds=dict(started), stage=stage)
                tqdm.write(screen.summary(trained, path))
                stage(f"{task.name}: track")
                if tracking == "default":
                    _track(RunFolder(path), PromotionPolicy(promote, partial(head_to_head, trained, dataset)))
            except (NotTrainable, TrackingFailed) as error:
                failed.append(error)
    _say_where(here.folder, tracked=tracking == "default")
    if failed:
        raise Unserved.of(failed)


def _track(folder: RunFolder, terms: PromotionPolicy) -> None:
    for line in send(folder, terms).sentences():
        tqdm.write(line)


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
        train(**arguments(train, cfg), here=launch.Invocation.of(cfg))


if __name__ == "__main__":
    launch.run(main)
