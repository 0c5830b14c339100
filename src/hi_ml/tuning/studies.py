"""Which trials are finished, and of which search? A file that outlives a search that was killed.

Trials run in memory; each is appended to the file when it is finished, as one line. So nothing half-run stands there,
and a line that a full disk or a kill cut short, the last, does not count.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hi_ml.config import leaves
from hi_ml.errors import NotResumable

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
    path : Path
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
