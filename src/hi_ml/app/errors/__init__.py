"""Every way in which hi_ml refuses, with its sentence: what was expected, what was found, what to do."""

from hi_ml.app.errors.configuration import ConfigurationInvalid, SiteKeyInvalid
from hi_ml.app.errors.feed import MessageRefused, Undelivered
from hi_ml.app.errors.machine import EngineRefused, MemoryExhausted, OutputFailed, SparkFailed, TimeIsOver
from hi_ml.app.errors.models import (
    GroupsTorn,
    Missing,
    ModelRefused,
    ModelUnknown,
    ModelUnservable,
    NotAsClaimed,
    NotResumable,
    NotTrainable,
    NotValidatable,
    Unserved,
    Untestable,
)
from hi_ml.app.errors.runs import NoContest, NotComparable, RunFolderInvalid, TrackingFailed
from hi_ml.app.errors.tables import ColumnProblem, JoinRefused, PrivateValueFound, SourceUnreadable, TooManyRejected
from hi_ml.app.errors.wording import Defect, HiMlError, command_to_track, quoted, setting

__all__ = [
    "ColumnProblem",
    "ConfigurationInvalid",
    "Defect",
    "EngineRefused",
    "GroupsTorn",
    "HiMlError",
    "JoinRefused",
    "MemoryExhausted",
    "MessageRefused",
    "Missing",
    "ModelRefused",
    "ModelUnknown",
    "ModelUnservable",
    "NoContest",
    "NotAsClaimed",
    "NotComparable",
    "NotResumable",
    "NotTrainable",
    "NotValidatable",
    "OutputFailed",
    "PrivateValueFound",
    "RunFolderInvalid",
    "SiteKeyInvalid",
    "SourceUnreadable",
    "SparkFailed",
    "TimeIsOver",
    "TooManyRejected",
    "TrackingFailed",
    "Undelivered",
    "Unserved",
    "Untestable",
    "command_to_track",
    "quoted",
    "setting",
]
