"""What speaks for or against a claim, what could not be tested, and what is found in the end?

A claim is drafted with its evidence; then the family of claims decides, which makes it a finding.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from hi_ml.app.errors import Missing, Untestable
from hi_ml.claims.chart import Chart
from hi_ml.claims.distinct import HOSPITALS, PATIENTS
from hi_ml.statistics.estimates import LEVEL, Effect, Interval

Role = Literal["primary", "secondary", "exploratory"]
Rule = Literal["all", "any"]
Verdict = Literal["supported", "not_supported", "inconclusive", "not_testable"]
Outcome = Literal["STRONG", "SUFFICIENT", "ABSENT", "NEGLIGIBLE", "OPPOSITE", "UNCERTAIN"]
Reason = Missing | Outcome
Detail = Mapping[str, float | int | str]

FACT = "fact"  # of the detail of evidence: what is plain to see, in words, which a sentence says first
MARKS = {"primary": "decides the verdict", "secondary": "shown beside it", "exploratory": "exploratory"}
"""What a line of a forest plot is, by the role of its evidence."""


def as_far(gaps: Sequence[Untestable]) -> str:
    """Say how a verdict is limited that covers less than the claim."""
    return " as far as it can be tested" if gaps else " in part"


@dataclass(frozen=True)
class Estimand:
    """What is estimated."""

    part: str  # short name within the finding
    words: str  # the quantity, as a reader would say it
    unit: str  # of the estimate: ``days``, ``share of admissions``, ``share of variance``, ``Cohen's f``


@dataclass(frozen=True)
class Evidence:
    """One estimate with its interval and, where it takes part in a verdict, its two tests."""

    part: str  # see `Estimand`
    estimand: str
    unit: str
    estimate: float
    low: float | None  # 95 % limits
    high: float | None
    low90: float | None  # 90 % limits
    high90: float | None
    n: int  # admissions behind the estimate
    smallest_effect: float | None = None  # in the unit of the estimate
    p_support: float | None = None  # of "no effect"; 1 where a directional claim meets the other sign. Not adjusted
    p_absence: float | None = None  # of "an effect at least as large as the smallest that matters". Not adjusted
    role: Role = "primary"  # only primary evidence takes part in the verdict
    n_needed: int | None = None  # admissions at which absence would be shown with 90 % power if it is true
    # statistic, degrees of freedom, permutations, two-sided tests, companions
    detail: Detail = field(default_factory=dict)
    # what the admissions are of, and how many: the units of inference, patients, or hospitals for what belongs to them;
    # None where every admission is one
    units: int | None = None
    units_are: str = "admissions"
    design_effect: float = 1.0  # variance of the estimate over what it would be if every admission were a unit
    keeps_level: bool = True  # False where tails are so heavy that the interval holds the truth less often than it says

    @classmethod
    def of_effect(
        cls,
        estimand: Estimand,
        effect: Effect,
        smallest: float,
        *,
        claims_positive: bool = False,
        role: Role = "primary",
        detail: Detail | None = None,
        keeps_level: bool = True,
    ) -> "Evidence":
        """State an effect.

        Parameters
        ----------
        smallest : float
            Smallest effect that matters: the margin with which the effect was computed.
        claims_positive : bool
            Whether the claim names the sign. Then support needs a positive estimate, and absence is one-sided.
        detail : mapping, optional
            Further figures.
        keeps_level : bool
            Whether the interval holds the truth as often as it says.
        """
        figures: dict[str, float | int | str] = {"statistic": effect.statistic}
        if np.isfinite(effect.df):
            figures["df"] = effect.df
        if claims_positive:
            figures |= {"p_two_sided": effect.p_zero, "p_outside": effect.p_outside}
        return cls(
            part=estimand.part,
            estimand=estimand.words,
            unit=estimand.unit,
            estimate=effect.estimate,
            low=effect.low,
            high=effect.high,
            low90=effect.low90,
            high90=effect.high90,
            n=effect.n,
            smallest_effect=smallest,
            p_support=1.0 if claims_positive and effect.estimate <= 0 else effect.p_zero,
            p_absence=effect.p_above if claims_positive else effect.p_outside,
            role=role,
            n_needed=effect.n_needed,
            detail=figures | dict(detail or {}),
            units=effect.units,
            units_are="admissions" if effect.units is None else PATIENTS,
            design_effect=effect.design_effect,
            keeps_level=keeps_level,
        )

    @classmethod
    def of_figure(
        cls,
        estimand: Estimand,
        figure: Interval | float,
        n: int,
        *,
        role: Role = "secondary",
        detail: Detail | None = None,
    ) -> "Evidence":
        """State a figure that takes part in no test against a smallest effect."""
        low, high = (figure.low, figure.high) if isinstance(figure, Interval) else (None, None)
        return cls(
            part=estimand.part,
            estimand=estimand.words,
            unit=estimand.unit,
            estimate=figure.value if isinstance(figure, Interval) else figure,
            low=low,
            high=high,
            low90=None,
            high90=None,
            n=n,
            role=role,
            detail=dict(detail or {}),
        )

    @property
    def is_directional(self) -> bool:
        """Whether the claim names the sign."""
        return "p_two_sided" in self.detail

    @property
    def size(self) -> float:
        """The estimate in the direction claimed, or in either."""
        return self.estimate if self.is_directional else abs(self.estimate)

    @property
    def is_beyond(self) -> bool:
        """Whether the whole interval lies beyond the smallest effect that matters, in a direction that is claimed."""
        smallest = 0.0 if self.smallest_effect is None else self.smallest_effect
        low, high = self.low, self.high
        return (low is not None and low > smallest) or (
            high is not None and high < -smallest and not self.is_directional
        )

    @property
    def excluded(self) -> float | None:
        """The least effect that the 90 % interval rules out, in the direction claimed or in either."""
        if self.high90 is None or self.low90 is None or self.is_directional:
            return self.high90
        return max(self.high90, -self.low90)

    @property
    def counted(self) -> str:
        """How many admissions stand behind it, and of how many patients: the n that is printed."""
        if self.units is None:
            return f"{self.n:,}"
        joined = "in" if self.units_are == HOSPITALS else "of"
        return f"{self.n:,} admissions {joined} {self.units:,} {self.units_are}, design effect {self.design_effect:.1f}"


def forest_lines(evidence: Iterable[Evidence]) -> pd.DataFrame:
    """Lay out the estimates that have a smallest effect that matters, as a forest draws them.

    Returns
    -------
    DataFrame
        `label, unit, estimate, low, high, n, smallest_effect, mark` (one of `MARKS`).
    """
    lines = [
        (item.estimand, item.unit, item.estimate, item.low, item.high, item.n, item.smallest_effect, MARKS[item.role])
        for item in evidence
        if item.smallest_effect is not None
    ]
    columns = ["label", "unit", "estimate", "low", "high", "n", "smallest_effect", "mark"]
    return pd.DataFrame(lines, columns=columns)


Part = tuple[str, Callable[[], Iterable[Evidence]]]
"""Name of a part, and what estimates it: the evidence that decides first, or it raises `Untestable`."""


@dataclass(frozen=True)
class Draft:
    """A claim with its evidence, before the family of claims has decided."""

    claim: str  # the sentence under test
    rule: Rule  # whether every part must hold, or one
    asked: int  # parts that the claim has; those among the gaps are not testable
    evidence: tuple[Evidence, ...] = ()  # primary, secondary and exploratory
    gaps: tuple[Untestable, ...] = ()  # parts that cannot be tested
    notes: tuple[str, ...] = ()  # what a reader must know beside the numbers
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # what the charts draw
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the charts say or need beside their tables
    charts: tuple[Chart, ...] = ()  # beside the forest plot of its evidence, in the order of the report
    # by part, what the claim says of it; and the sentence around that, so that a verdict says no more than was tested
    words: Mapping[str, str] = field(default_factory=dict)
    around: str = "{}."

    @classmethod
    def of(
        cls,
        claim: str,
        rule: Rule,
        parts: Sequence[Part],
        *,
        notes: Iterable[str] = (),
        words: Mapping[str, str] | None = None,
        around: str = "{}.",
    ) -> "Draft":
        """Estimate the parts of a claim, and collect what could not be tested."""
        evidence: list[Evidence] = []
        gaps: list[Untestable] = []
        for name, estimate in parts:
            try:
                evidence += estimate()
            except Untestable as untestable:
                gaps.append(dataclasses.replace(untestable, part=name))
        said = dict.fromkeys(name for name, _ in parts) if words is None else words
        clauses = {name: said.get(name) or name.replace("_", " ") for name, _ in parts}
        own = claim.rstrip(".").replace("{", "{{").replace("}", "}}")
        return cls(
            claim,
            rule,
            len(parts),
            tuple(evidence),
            tuple(gaps),
            tuple(notes),
            words=clauses,
            around=around if words else f"{own} ({{}}).",
        )

    def in_units(self, units: str, beginning: str = "") -> "Draft":
        """Name the units of inference, ``hospitals``, of all evidence that has any and whose part begins so."""
        named = [
            dataclasses.replace(item, units_are=units) if item.units and item.part.startswith(beginning) else item
            for item in self.evidence
        ]
        return dataclasses.replace(self, evidence=tuple(named))

    @property
    def shown(self) -> str:
        """The claim, as far as its parts were tested and none beside the deciding ones was found wanting."""
        wanting = {gap.part for gap in self.gaps}
        wanting |= {
            item.part
            for item in self.evidence
            if item.part in self.words
            and item.role != "primary"
            and ((item.p_support or 0.0) >= LEVEL or item.estimate <= 0)
        }
        clauses = [clause for part, clause in self.words.items() if part not in wanting]
        if not wanting or not clauses:
            return self.claim
        *others, last = clauses
        link = " and " if self.rule == "all" else " or "
        return self.around.format(f"{', '.join(others)}{link}{last}" if others else last)

    def also(self, *evidence: Evidence) -> "Draft":
        """Add what is shown beside the parts."""
        return dataclasses.replace(self, evidence=(*self.evidence, *evidence))

    @property
    def parts(self) -> tuple[Evidence, ...]:
        """The evidence that decides."""
        return tuple(item for item in self.evidence if item.role == "primary")


@dataclass(frozen=True)
class Finding:
    """A claim, its evidence and its verdict."""

    finding: str  # name of the claim
    claim: str  # as drafted
    rule: Rule
    verdict: Verdict
    # `STRONG` or `SUFFICIENT` support; `ABSENT`, `NEGLIGIBLE` or `OPPOSITE` effect; `UNCERTAIN`; or the reason
    # code of what is missing
    reason: Reason
    p_support: float  # of the whole claim, adjusted for the family of claims (Holm)
    p_absence: float
    evidence: tuple[Evidence, ...]  # as drafted
    gaps: tuple[Untestable, ...]
    parts: int  # how many parts the claim has, and how many this table can answer
    parts_testable: int
    excludes_effects_above: Mapping[str, float]  # upper 90 % limit of each part
    # admissions that would show absence with 90 % power, if it is true; only where undecided for lack of them
    n_needed: int | None
    sentences: tuple[str, ...]  # the verdict and its evidence in plain words
    notes: tuple[str, ...]  # as drafted
    tables: Mapping[str, pd.DataFrame]
    facts: Mapping[str, Any]
    charts: tuple[Chart, ...]
    # the claim in the words that the verdict covers; another one than `claim` where a part of that is not tested, or
    # where what it says beside the deciding parts is not found
    covered: str

    @property
    def as_far(self) -> str:
        """What follows the verdict where it covers less than the claim."""
        return "" if self.covered == self.claim else as_far(self.gaps)


def record(finding: Finding) -> dict[str, Any]:
    """Turn a finding into plain dicts, lists and values, ready for JSON; without what only the charts need."""
    fields = {name: value for name, value in vars(finding).items() if name not in ("tables", "facts", "charts")}
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Untestable):
        return {"part": value.part, "reason": value.reason, "words": value.words, "key": value.key}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value.item() if hasattr(value, "item") else value
