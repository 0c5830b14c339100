"""What does a chart of a claim draw, and what does it say in words?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

BARS = "Lines: 95 % intervals"
GREY = f"{BARS}; grey: effects too small to matter."
STAR = "A star stands at a false discovery rate of 5 % (Benjamini-Hochberg)."


def total(table: pd.DataFrame) -> int:
    """Count what a chart shows where every line has rows of its own."""
    return int(table["n"].sum())


def largest(table: pd.DataFrame) -> int:
    """Count what a chart shows where its lines share their rows."""
    return int(table["n"].max())


@dataclass(frozen=True)
class Chart:
    """What a chart of a claim draws, how, and what it says in words."""

    name: str  # end of the file's stem
    kind: str  # how it is drawn: a key of `hi_ml.reports.findings_charts.KINDS`
    table: str  # of the draft; the chart is left out where it is absent or empty
    shows: str  # for a reader who cannot see it
    note: str  # what the caption says of the method; may name facts of the draft, as ``{hospitals:,}``
    count: Callable[[pd.DataFrame], int] | str = total  # how many are shown; or the fact of the draft that says it
    noun: str = "admissions"  # what they are
    options: Mapping[str, Any] = field(default_factory=dict)  # of the kind
    given: tuple[str, ...] = ()  # options that are facts of the draft, None where it has them not

    @property
    def says(self) -> str:
        """What it shows, as a title: without its kind."""
        what = self.shows.partition(": ")[2]
        return what[:1].upper() + what[1:]
