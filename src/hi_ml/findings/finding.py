"""One claim that can be false: drafted with its evidence, then decided."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from hi_ml.findings.evidence import Evidence, Gap, Missing

Rule = Literal["all", "any"]
Verdict = Literal["supported", "not_supported", "inconclusive", "not_testable"]
Outcome = Literal["STRONG", "SUFFICIENT", "ABSENT", "NEGLIGIBLE", "OPPOSITE", "UNCERTAIN"]
Reason = Missing | Outcome


@dataclass(frozen=True)
class Draft:
    """A finding before the family of claims has decided.

    Attributes
    ----------
    finding : str
        Name of the module and of its YAML.
    claim : str
        The sentence under test.
    rule : {"all", "any"}
        Whether every part must hold, or one.
    asked : int
        Parts that the claim has; those among the gaps are not testable.
    evidence : tuple of Evidence
        Primary, secondary and exploratory.
    gaps : tuple of Gap
        Parts that cannot be tested.
    notes : tuple of str
        What a reader must know beside the numbers.
    tables : mapping of str to DataFrame
        What the charts draw.
    """

    finding: str
    claim: str
    rule: Rule
    asked: int
    evidence: tuple[Evidence, ...] = ()
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[Evidence, ...]:
        """The evidence that decides."""
        return tuple(item for item in self.evidence if item.role == "primary")


@dataclass(frozen=True)
class Finding:
    """A claim, its evidence and its verdict.

    Attributes
    ----------
    finding, claim, rule, evidence, gaps, notes, tables
        As drafted.
    verdict : {"supported", "not_supported", "inconclusive", "not_testable"}
    reason : str
        `STRONG` or `SUFFICIENT` support; `ABSENT`, `NEGLIGIBLE` or `OPPOSITE` effect; `UNCERTAIN`; or the reason code
        of what is missing.
    p_support, p_absence : float
        Of the whole claim, adjusted for the family of claims (Holm).
    parts, parts_testable : int
        How many parts the claim has, and how many this table can answer.
    excludes_effects_above : mapping of str to float
        Upper 90 % limit of each part.
    n_needed : int or None
        Admissions that would show absence with 90 % power, if it is true; only where undecided for lack of them.
    sentences : tuple of str
        The verdict and its evidence in plain words.
    """

    finding: str
    claim: str
    rule: Rule
    verdict: Verdict
    reason: Reason
    p_support: float
    p_absence: float
    evidence: tuple[Evidence, ...]
    gaps: tuple[Gap, ...]
    parts: int
    parts_testable: int
    excludes_effects_above: Mapping[str, float]
    n_needed: int | None
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]


def record(finding: Finding) -> dict[str, Any]:
    """Turn a finding into plain dicts, lists and values, ready for JSON; without the tables.

    Parameters
    ----------
    finding : Finding
    """
    fields = {name: value for name, value in vars(finding).items() if name != "tables"}
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value.item() if hasattr(value, "item") else value
