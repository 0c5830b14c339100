"""hi_ml in Python, for notebooks and tests: what the commands do, without a run folder.

The names are options of ``conf/`` and the defaults those of the commands, so that a notebook and a command line give
the same numbers.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hi_ml.app.config import build, compose
from hi_ml.app.errors import ConfigurationInvalid, TooManyRejected
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.claims.finding import Finding
from hi_ml.data.read import Admissions
from hi_ml.data.read import read as read_admissions
from hi_ml.data.schema import Dataset
from hi_ml.evaluation import training
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.findings import FindingsSettings, ready
from hi_ml.modeling.features import Features
from hi_ml.modeling.problem import Problem, available
from hi_ml.modeling.problem import pose as pose_problem
from hi_ml.modeling.tasks import select
from hi_ml.prediction.load import load_model
from hi_ml.tracking.folder import FILES, keep_rejected
from hi_ml.train import TrainSettings

__all__ = ["assess", "declare", "fit", "load_model", "pose", "read", "state_claims"]


def declare(dataset: str | Path = "simulated", *, config_dir: str | Path | None = None, **changes: Any) -> Dataset:
    """Describe a table: where it is, what its columns mean and what may be in them.

    Parameters
    ----------
    dataset : str or Path
        An option of ``conf/dataset``, or a CSV or Parquet file with the columns of ``conf/dataset/kaggle.yaml``.
    config_dir : str or Path, optional
        A folder with options of your own, as ``--config-dir`` of the commands.
    **changes
        Keys under ``dataset``; those of ``columns`` are added to what is known of the columns.

    Raises
    ------
    hydra.errors.HydraException
        If there is no such option.
    pydantic.ValidationError
        If a key or a value is wrong.

    Examples
    --------
    A table without rooms:

    >>> mine = declare("mine.csv", columns={"room": {"from": None}})
    >>> mine.source, "room" in mine.present()
    ('mine.csv', False)
    """
    option = str(dataset)
    if "." in option or "/" in option:  # no name has these
        option, changes = "kaggle", {"source": str(dataset), **changes}
    node = compose("train", f"dataset={option}", config_dir=config_dir)["dataset"]
    columns = node["columns"]
    for role, column in changes.pop("columns", {}).items():
        columns[role] = {**columns.get(role, {}), **column}
    described: Dataset = build(Dataset, {**node, **changes, "columns": columns})
    return described


def read(dataset: Dataset | str | Path = "simulated", **changes: Any) -> Admissions:
    """Read a table: typed, checked, its near-duplicates grouped.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `declare` returns, or takes.
    **changes
        As `declare`, of a dataset that is not yet described.

    Returns
    -------
    Admissions
        ``.table`` has the public columns, ``.rejected`` the cells that could not be read.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If there is no such table.
    TooManyRejected
        If more of its rows cannot be read than the dataset allows; ``rejected.csv`` in the current directory has why.

    Examples
    --------
    A tenth of the rows of a simulated table are near-copies of others:

    >>> admissions = read("simulated", rows=1100)
    >>> len(admissions.table), len(set(admissions.twins.group))
    (1100, 991)
    """
    described = dataset if isinstance(dataset, Dataset) else declare(dataset, **changes)
    rejected: list[pd.DataFrame] = []

    def remember(cells: pd.DataFrame) -> Path:
        rejected.append(cells)
        return Path.cwd() / FILES["rejected"]

    try:
        return read_admissions(described, remember)
    except TooManyRejected:
        keep_rejected(Path.cwd(), *rejected)
        raise


def pose(
    admissions: Admissions,
    task: str = "length_of_stay",
    model: str = "lgbm",
    *,
    split: str = "grouped",
    seed: int = 0,
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
) -> Problem:
    """Select the rows and columns of a task, and split the rows.

    Parameters
    ----------
    task, model, split : str
        Options of ``conf/``; the columns are the same for every model.
    seed : int
        Fixes everything random.
    overrides : sequence of str
        What else one may ask of `hi_ml.train` on the command line: ``["horizon=discharge"]``.
    config_dir : str or Path, optional
        As `declare`.

    Raises
    ------
    hydra.errors.HydraException
        If there is no such option.
    NotTrainable, ConfigurationInvalid
        If the table has no such task, or the task asks for a column that it may not have.

    Examples
    --------
    Rows with all their near-copies go to the three parts:

    >>> problem = pose(read("simulated", rows=900), "billing", "linear")
    >>> {part: int(problem.where(part).sum()) for part in ("train", "calibration", "test")}
    {'train': 540, 'calibration': 180, 'test': 180}
    """
    words = [f"task={task}", f"model={model}", f"split={split}", f"seed={seed}", *overrides]
    return _posed(admissions, _settings(words, config_dir))


def fit(
    admissions: Admissions,
    task: str = "length_of_stay",
    model: str = "lgbm",
    *,
    split: str = "grouped",
    seed: int = 0,
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
) -> FittedRun:
    """Fit a model to the training part of a task, and predict the test part.

    Parameters and errors are those of `pose`; a table in which another column gives the target away is refused too.

    Returns
    -------
    FittedRun
        ``.fitted`` is the pipeline, ``.predicted`` the test part's predictions, ``.problem`` what `pose` returns.

    Examples
    --------
    A linear model of the days of stay comes nearer to them than the median of the training part:

    >>> run = fit(read("simulated", rows=900), "length_of_stay", "linear")
    >>> bool(run.losses().mean() < run.losses(run.constant()).mean())
    True
    """
    words = [f"task={task}", f"model={model}", f"split={split}", f"seed={seed}", *overrides]
    settings = _settings(words, config_dir)
    return training.fit(_posed(admissions, settings), settings.method())


def assess(run: FittedRun, *names: str) -> dict[str, Any]:
    """Ask a fitted model how good it is, for whom, how sure, how honest.

    Parameters
    ----------
    names : str
        Keys under ``assessments`` in ``conf/train.yaml``; all of them, if none is given.

    Returns
    -------
    dict of str to result
        By name, in the order of assessing.

    Raises
    ------
    ConfigurationInvalid
        If a name is no assessment of this run.

    Examples
    --------
    The model that knows nothing is judged like any other:

    >>> run = fit(read("simulated", rows=900), "billing", "baseline")
    >>> verdict = assess(run, "verdict")["verdict"]
    >>> verdict.verdict, verdict.reason
    ('inconclusive', 'it predicts the constant')
    """
    asked = run.method.assessments
    for name in names:
        if name not in asked:
            raise ConfigurationInvalid.not_one_of("assessment", name, list(asked))
    chosen = {name: asked[name] for name in names} if names else asked
    return dict(training.assess(replace(run, method=replace(run.method, assessments=chosen))).results)


def state_claims(
    admissions: Admissions, finding: str = "all", *, keep_duplicates: bool = False, overrides: Sequence[str] = ()
) -> list[Finding]:
    """State and test the claims people make about such tables.

    Parameters
    ----------
    finding : str
        An option of ``conf/finding``.
    keep_duplicates : bool
        Keep near-duplicates, to show what would have been claimed; never a result.
    overrides : sequence of str
        What else one may ask of `hi_ml.findings` on the command line: ``["seed=1"]``.

    Examples
    --------
    A simulated table of this size, in which the claims hold, shows that they do:

    >>> (finding,) = state_claims(read("simulated", rows=5500), "emergency_stay")
    >>> print(finding.claim, finding.verdict)
    Emergency admissions stay longer than the others, the more so in severe conditions. supported
    """
    cfg = compose("findings", f"finding={finding}", *overrides)
    settings = build(FindingsSettings, cfg)
    smallest = settings.smallest_cell
    distinct = ready(admissions, seed=settings.seed, keep_duplicates=keep_duplicates, smallest_cell=smallest)
    return state(distinct, settings_of(settings.findings))


def _settings(words: Sequence[str], config_dir: str | Path | None) -> TrainSettings:
    settings: TrainSettings = build(TrainSettings, compose("train", *words, config_dir=config_dir))
    return settings


def _posed(admissions: Admissions, settings: TrainSettings) -> Problem:
    (task,) = settings.at_horizon()
    features = Features.of(admissions, select(task, available(admissions))[0])
    return pose_problem(
        admissions,
        task,
        features=features,
        model=settings.model,
        split=settings.split,
        seed=settings.seed,
        smallest_cell=settings.smallest_cell,
    )
