"""Which trials are finished, and of which search? A file that outlives a search that was killed.

Trials run in memory; each is appended to the file when it is finished, as one line. So nothing half-run stands there,
and a line that a full disk or a kill cut short, the last, does not count.

What became of one configuration that was tried?
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.config import leaves
from hi_ml.app.errors import NotResumable
from hi_ml.statistics.groups import corrected_interval

_NAME, _ABOUT = "search", "about"


class _Alone:
    """The lock of a file that one process writes; Optuna's own turns an interrupt into a failure to write."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def begin(path: Path, about: Mapping[str, Any]) -> Any:
    """Create the file of a search.

    Parameters
    ----------
    about : mapping
        All that decides which trials are run and what they give, ready for JSON.

    Returns
    -------
    optuna.Study
        What is added to it stands in the file.
    """
    study = _optuna().create_study(storage=_storage(path), study_name=_NAME, direction="minimize")
    study.set_user_attr(_ABOUT, about)
    return study


def finished(path: Path, about: Mapping[str, Any]) -> list[Any]:
    """Return the trials that an earlier search finished, as Optuna has them.

    Raises
    ------
    NotResumable
        If there is no file, it cannot be read, or it is that of another search.
    """
    if not path.is_file():
        raise NotResumable.absent(path)
    try:
        study = _optuna().load_study(storage=_storage(path), study_name=_NAME)
        known = leaves(study.user_attrs[_ABOUT])
    except (KeyError, ValueError) as error:
        raise NotResumable.damaged(path, error) from error
    asked = leaves(json.loads(json.dumps(about)))
    other = {key: (known.get(key), asked.get(key)) for key in {**known, **asked} if known.get(key) != asked.get(key)}
    if other:
        raise NotResumable.another(path.parent, other)
    return [trial for trial in study.get_trials() if trial.state.is_finished()]


def _storage(path: Path) -> Any:
    _optuna()
    from optuna.storages import JournalStorage  # noqa: PLC0415 -- as below
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415 -- as below

    lock: Any = _Alone()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _optuna() -> Any:
    import optuna  # noqa: PLC0415 -- a fifth of a second that only a search pays

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


State = Literal["complete", "pruned", "failed"]
LOSSES, ERROR = "losses", "error"  # what the study keeps of a trial beside its settings
_STATES: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Trial:
    """One configuration with its losses."""

    number: int  # from 0, the defaults
    state: State  # ``pruned``: given up after some of the folds, since others were better on the same ones
    settings: dict[str, Any]  # by argument of the learner
    losses: tuple[float, ...]  # on the folds that were reached
    started: float  # seconds since 1970, and how long it took
    seconds: float
    error: str  # the sentence of a failure, else empty

    @classmethod
    def of(cls, found: Any) -> "Trial":
        """Take a finished trial out of an Optuna study."""
        return cls(
            number=found.number,
            state=_STATES[found.state.name],
            settings=dict(found.params),
            losses=tuple(found.user_attrs.get(LOSSES, ())),
            started=found.datetime_start.timestamp(),
            seconds=found.duration.total_seconds(),
            error=found.user_attrs.get(ERROR, ""),
        )

    @property
    def loss(self) -> float | None:
        """Mean over all folds; None of a trial that did not reach them all."""
        return float(np.mean(self.losses)) if self.state == "complete" else None


def best(trials: list[Trial]) -> Trial:
    """Return the complete trial of the smallest loss, the first of equals."""
    return min((trial for trial in trials if trial.loss is not None), key=lambda trial: (trial.loss, trial.number))


def apart(trial: Trial, defaults: Trial) -> NDArray[np.float64]:
    """Return by how much a trial's loss is above that of the defaults, on each fold that it reached."""
    return np.subtract(trial.losses, defaults.losses[: len(trial.losses)])


def history(trials: list[Trial], *, ratio: float) -> pd.DataFrame:
    """Lay out how the search went.

    Parameters
    ----------
    trials : list of Trial
        In the order of their numbers; the first is that of the defaults, and complete.
    ratio : float
        Rows of a fold's test part over those of its training part.

    Returns
    -------
    DataFrame
        ``number, state, folds, loss, low, high, best, defaults``. The loss of a trial is that of the defaults and the
        mean difference from it on the folds that the trial reached, so that pruned trials can be compared; its 95 %
        interval is that of the difference. ``best`` is the smallest loss of a complete trial so far.
    """
    first, least, rows = trials[0], np.inf, []
    for trial in trials:
        least = min(least, np.inf if trial.loss is None else trial.loss)
        loss, low, high = np.nan, np.nan, np.nan
        if trial.state != "failed":
            found = corrected_interval(apart(trial, first), ratio=ratio)
            loss, low, high = (float(np.mean(first.losses)) + end for end in (found.value, found.low, found.high))
        rows.append((trial.number, trial.state, len(trial.losses), loss, low, high, least, first.loss))
    return pd.DataFrame(rows, columns=["number", "state", "folds", "loss", "low", "high", "best", "defaults"])


def table(trials: list[Trial], *, folds: int) -> pd.DataFrame:
    """List the trials: ``number, state, value, fold_1, ..., started, seconds, error``, then their settings.

    ``value`` is the loss of a complete trial; that of a pruned one, on the folds it reached, would not compare.
    """
    rows = [
        {"number": trial.number, "state": trial.state, "value": trial.loss}
        | {f"fold_{place + 1}": trial.losses[place] if place < len(trial.losses) else None for place in range(folds)}
        | {"started": trial.started, "seconds": round(trial.seconds, 3), "error": trial.error}
        | trial.settings
        for trial in trials
    ]
    return pd.DataFrame(rows)
