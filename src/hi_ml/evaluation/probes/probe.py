"""What a probe looked at, and what it found."""

from dataclasses import dataclass

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT


@settings(frozen=True, config=STRICT)
class Probing:
    """What the probes allow."""

    # share of the baseline's error that one column, or two together, may remove; what removes more is the
    # target under another name. 1 allows all
    largest_skill: float = Field(default=0.95, gt=0, le=1)


@dataclass(frozen=True)
class Probe:
    """One probe of a run."""

    name: str
    passed: bool
    detail: str  # what was found, in a sentence
