"""Do hypertension and diabetes take a larger share of admissions in the old, and acute conditions in the young?"""

import dataclasses
from collections.abc import Iterator
from typing import Annotated

import pandas as pd
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.config import STRICT
from hi_ml.findings.age_shares import age_counts, condition_forest, difference, having, share_by_decade, trend
from hi_ml.findings.aggregates import cube, over
from hi_ml.findings.distinct import DistinctAdmissions
from hi_ml.findings.evidence import Estimand, Evidence, Gap, described, estimated, sorted_out
from hi_ml.findings.finding import Draft
from hi_ml.findings.gates import constant, for_each, lacking, small_groups, unmapped
from hi_ml.statistics.contingency import association, can_vary
from hi_ml.statistics.effect import Margin

NOTE = (
    "Shares are of admissions, not of people: one condition stands on each admission, so the shares of an age group "
    "sum to 1, and one rises only where another falls. They do not say how common a condition is in the population."
)


@dataclass(frozen=True, config=STRICT)
class AgeCondition:
    """What the finding is set to.

    Attributes
    ----------
    conditions : list of str
        Those claimed to take a larger share in the old.
    split_age : float
        Years from which a patient counts as old.
    smallest_effect : float
        Difference of shares of admissions that matters, 0 to 1.
    smallest_association : float
        Cohen's w between decade and condition that matters.
    smallest_group : int
        Admissions needed on each side of the split.
    """

    conditions: Annotated[list[str], Field(min_length=1)]
    split_age: float
    smallest_effect: PositiveFloat
    smallest_association: PositiveFloat
    smallest_group: PositiveInt


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some conditions whose share is claimed to differ, and on which side it is larger."""

    name: str
    levels: tuple[str, ...]
    old: bool
    key: str


def age_condition(admissions: DistinctAdmissions, settings: AgeCondition) -> Draft:
    """Draft the finding: a part per configured condition, and `acute`; all must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `age` and `condition`.
    settings : AgeCondition
    """
    acute = admissions.declarations.acute_conditions
    parts = [_Part(word.casefold(), (word,), True, "conditions") for word in settings.conditions]
    undeclared = () if acute else (unmapped("acute", "no condition is declared acute", "acute_conditions"),)
    parts += [_Part("acute", tuple(acute), False, "acute_conditions")] if acute else []
    draft = Draft("age_condition", _claim(settings), "all", len(settings.conditions) + 1, notes=(NOTE,))
    gap = lacking(admissions.rows, ["age", "condition"], "")
    table = age_counts(admissions.rows, settings.split_age) if gap is None else pd.DataFrame()
    gap = gap or small_groups(_sides(table, settings.split_age), settings.smallest_group, "")
    if gap:
        return dataclasses.replace(draft, gaps=for_each(gap, [part.name for part in parts]) + undeclared)
    evidence, gaps = sorted_out(
        [
            *(_share_gap(table, part, settings) for part in parts),
            *_from_last_copies(admissions, parts, settings),
            *_trends(table, parts),
            _association(table, settings),
        ]
    )
    forest = condition_forest(table, settings.conditions, settings.smallest_effect)
    tables = {"share_by_decade": share_by_decade(table), "condition_forest": forest}
    return dataclasses.replace(draft, evidence=evidence, gaps=gaps + undeclared, tables=tables)


def _claim(settings: AgeCondition) -> str:
    return (
        f"From age {settings.split_age:g} on, {' and '.join(settings.conditions)} take a larger share of admissions "
        "than before, and acute conditions a smaller one."
    )


def _sides(table: pd.DataFrame, split_age: float) -> "pd.Series[int]":
    older = table.index.get_level_values("older").to_numpy(dtype=bool)
    old = int(table["n"].to_numpy()[older].sum())
    young = int(table["n"].sum()) - old
    return pd.Series({f"aged {split_age:g} or more": old, f"aged under {split_age:g}": young})


def _share_gap(table: pd.DataFrame, part: _Part, settings: AgeCondition, copies: str = "") -> Evidence | Gap:
    within = having(table, part.levels)
    if not within.any():
        return unmapped(part.name, f"no admission has condition {' or '.join(part.levels)}", part.key)
    if within.all():
        return constant(part.name, "the condition")
    split = f"{settings.split_age:g}"
    sides = f"age {split} and over less under {split}" if part.old else f"age under {split} less {split} and over"
    words = f"share of admissions with {' or '.join(part.levels)}: {sides}{copies and f', {copies}'}"
    return estimated(
        Estimand(f"{part.name}{copies and f' ({copies})'}", words, "share of admissions"),
        difference(table, part.levels, settings.smallest_effect, old=part.old),
        settings.smallest_effect,
        claims_positive=True,
        role="secondary" if copies else "primary",
    )


def _from_last_copies(
    admissions: DistinctAdmissions, parts: list[_Part], settings: AgeCondition
) -> list[Evidence | Gap]:
    """Repeat the parts with the last of the copies kept: the copies differ in age, and nobody knows which is right."""
    if admissions.copies == 0:
        return []
    table = age_counts(admissions.last, settings.split_age)
    answers = [_share_gap(table, part, settings, "last copies kept") for part in parts]
    return [answer for answer in answers if isinstance(answer, Evidence)]


def _trends(table: pd.DataFrame, parts: list[_Part]) -> Iterator[Evidence]:
    for part in parts:
        line = trend(table, part.levels)
        if line:
            words = f"rise of the share of {' or '.join(part.levels)} per decade of age"
            estimand = Estimand(f"{part.name} (trend)", words, "share of admissions per decade")
            yield described(estimand, line.slope, int(table["n"].sum()), detail={"z": line.z, "p_value": line.p_value})


def _association(table: pd.DataFrame, settings: AgeCondition) -> Evidence | None:
    cells = cube(over(table, ["decade", "condition"]), ("decade", "condition"))
    if not can_vary(cells):
        return None
    effect = association(cells, margin=Margin(settings.smallest_association)).w
    estimand = Estimand("decade by condition", "association of decade of age and condition", "Cohen's w")
    return estimated(estimand, effect, settings.smallest_association, role="secondary")
