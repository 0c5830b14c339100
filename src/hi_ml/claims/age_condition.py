"""Do hypertension and diabetes take a larger share of admissions in the old, and acute conditions in the young?"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import Untestable
from hi_ml.claims.aggregates import (
    counts,
    crosstab,
    cube,
    cube_clusters,
    having,
    moments_of,
    over,
    over_units,
    patients,
)
from hi_ml.claims.chart import GREY, STAR, Chart, largest
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import MOST_LEVELS, DistinctAdmissions, among
from hi_ml.claims.finding import Draft, Estimand, Evidence
from hi_ml.claims.requirements import constant, no_such_level, require_columns, require_declared, require_sizes
from hi_ml.statistics.contingency import association, can_vary
from hi_ml.statistics.estimates import Effect, Floats, Margin
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.multiplicity import discoveries
from hi_ml.statistics.proportions import Trend, difference_of_shares, share_trend, wilson

YEARS_A_DECADE = 10
UNIT = "share of admissions"
CLAIMED = ("claimed", "not claimed")
NOTE = (
    "Shares are of admissions, not of people: one condition stands on each admission, so the shares of an age group "
    "sum to 1, and one rises only where another falls. They do not say how common a condition is in the population."
)


@dataclass(frozen=True, config=STRICT)
class AgeCondition:
    """What the finding is set to."""

    conditions: Annotated[list[str], Field(min_length=1)]  # those claimed to take a larger share in the old
    split_age: float  # years from which a patient counts as old
    smallest_effect: PositiveFloat  # difference of shares of admissions that matters, 0 to 1
    smallest_association: PositiveFloat  # Cohen's w between decade and condition that matters
    smallest_group: PositiveInt  # admissions needed on each side of the split


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some conditions whose share is claimed to differ, and on which side it is larger."""

    name: str
    levels: Sequence[str]
    old: bool
    key: str


def age_condition(admissions: DistinctAdmissions, settings: AgeCondition) -> Draft:
    """Draft the finding: a part per configured condition, and `acute`; all must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `age` and `condition`.
    """
    acute = admissions.declarations.get("acute_conditions", ())
    parts = [_Part(word.casefold(), (word,), True, "conditions") for word in settings.conditions]
    parts.append(_Part("acute", acute, False, "acute_conditions"))
    counted = cache(partial(_both_sides, admissions.take("age", "condition"), settings))
    claim = (
        f"From age {settings.split_age:g} on, {' and '.join(settings.conditions)} take a larger share of admissions "
        "than before, and acute conditions a smaller one."
    )
    estimates = [(part.name, partial(_share_gap, counted, part, settings)) for part in parts]
    rise, fall = "takes a larger share of admissions than before", "acute conditions take a smaller one"
    words = {part.name: f"{part.levels[0]} {rise}" if part.old else fall for part in parts}
    draft = Draft.of(
        claim, "all", estimates, notes=[NOTE], words=words, around=f"From age {settings.split_age:g} on, {{}}."
    )
    try:
        table = counted()
    except Untestable:
        return draft
    forest = condition_forest(table, settings.conditions, settings.smallest_effect)
    return dataclasses.replace(
        draft.also(
            *_from_last_copies(admissions, parts, settings), *_trends(table, parts), *_association(table, settings)
        ),
        tables={"share_by_decade": share_by_decade(table, settings.conditions), "condition_forest": forest},
    )


def _both_sides(rows: pd.DataFrame, settings: AgeCondition) -> pd.DataFrame:
    require_columns(rows, "age", "condition")
    table = age_counts(rows, settings.split_age)
    split = f"{settings.split_age:g}"
    sides = _sides(table, np.ones(len(table), dtype=bool), [True, False])
    require_sizes(sides, [f"aged {split} or more", f"aged under {split}"], settings.smallest_group)
    return table


def _sides(table: pd.DataFrame, within: ArrayLike, order: Sequence[bool]) -> Moments:
    """Count what is marked on the two sides of the split."""
    return moments_of(over_units(having(table, within), ["older"]), pd.Index(order, name="older"))


def _share_gap(
    counted: Callable[[], pd.DataFrame], part: _Part, settings: AgeCondition, copies: str = ""
) -> Iterator[Evidence]:
    require_declared(part.levels, f"no condition is declared {part.name}", part.key)
    table = counted()
    within = of_levels(table, part.levels)
    if not within.any():
        sizes = over(table, ["condition"])["n"].sort_values(ascending=False, kind="stable")
        raise no_such_level("condition", part.levels, sizes, part.key)
    if within.all():
        raise constant("the condition")
    split = f"{settings.split_age:g}"
    sides = f"age {split} and over less under {split}" if part.old else f"age under {split} less {split} and over"
    words = f"share of admissions with {' or '.join(part.levels)}: {sides}{copies and f', {copies}'}"
    yield Evidence.of_effect(
        Estimand(f"{part.name}{copies and f' ({copies})'}", words, UNIT),
        difference(table, part.levels, settings.smallest_effect, old=part.old),
        settings.smallest_effect,
        claims_positive=True,
        role="secondary" if copies else "primary",
    )


def _from_last_copies(
    admissions: DistinctAdmissions, parts: Sequence[_Part], settings: AgeCondition
) -> tuple[Evidence, ...]:
    """Repeat the parts with the last of the copies kept: the copies differ in age, and nobody knows which is right."""
    if admissions.copies == 0:
        return ()
    counted = cache(partial(age_counts, admissions.last.take(["age", "condition"]), settings.split_age))
    again = [(part.name, partial(_share_gap, counted, part, settings, "last copies kept")) for part in parts]
    return Draft.of("", "all", again).evidence


def _trends(table: pd.DataFrame, parts: Sequence[_Part]) -> Iterator[Evidence]:
    for part in parts:
        line = trend(table, part.levels)
        if line:
            words = f"rise of the share of {' or '.join(part.levels)} per decade of age"
            estimand = Estimand(f"{part.name} (trend)", words, "share of admissions per decade")
            yield Evidence.of_figure(
                estimand, line.slope, int(table["n"].sum()), detail={"z": line.z, "p_value": line.p_value}
            )


def _association(table: pd.DataFrame, settings: AgeCondition) -> Iterator[Evidence]:
    counted, keys = over_units(table, ["decade", "condition"]), ("decade", "condition")
    if can_vary(cells := cube(counted, keys)):
        margin = Margin(settings.smallest_association)
        effect = association(cells, margin=margin, clusters=cube_clusters(counted, keys)).w
        estimand = Estimand("decade by condition", "association of decade of age and condition", "Cohen's w")
        yield Evidence.of_effect(estimand, effect, settings.smallest_association, role="secondary")


def age_counts(rows: pd.DataFrame, split_age: float) -> pd.DataFrame:
    """Count admissions by side of the split, decade of age and condition: all that the closed forms need.

    Parameters
    ----------
    rows : DataFrame
        With `age` in years and `condition`.
    split_age : float
        Years.

    Returns
    -------
    DataFrame
        Column `n`, indexed by `older` (bool), `decade` (its first year) and `condition`, and by patient where patients
        come again.
    """
    complete = rows[rows["age"].notna() & rows["condition"].notna()]
    decade = (complete["age"] // YEARS_A_DECADE * YEARS_A_DECADE).astype("int64")
    return counts(complete.assign(older=complete["age"] >= split_age, decade=decade), ["older", "decade", "condition"])


def difference(table: pd.DataFrame, levels: Sequence[str], smallest: float, *, old: bool = True) -> Effect:
    """Compare the share of some conditions between the sides of the split.

    Parameters
    ----------
    table : DataFrame
        From `age_counts`, with admissions on both sides.
    levels : sequence of str
        Conditions, in any case.
    smallest : float
        Smallest difference of shares that matters.
    old : bool
        Whether to take old less young; else young less old.
    """
    return difference_of_shares(_sides(table, of_levels(table, levels), [old, not old]), margin=Margin(smallest))


def trend(table: pd.DataFrame, levels: Sequence[str]) -> Trend | None:
    """Fit a line to the share of some conditions over the decades of age.

    Returns
    -------
    Trend or None
        Per decade; None where there is one decade only, or nothing to vary.
    """
    decades = table.index.get_level_values("decade").unique().sort_values()
    groups = moments_of(over_units(having(table, of_levels(table, levels)), ["decade"]), decades)
    if decades.size == 1 or groups.total.sum() in (0, groups.n.sum()):
        return None
    return share_trend(groups.total, groups.n, decades.to_numpy() / YEARS_A_DECADE, clusters=groups)


def of_levels(table: pd.DataFrame, levels: Sequence[str]) -> NDArray[np.bool_]:
    """Mark the rows of a table whose condition is one of the levels, in any case."""
    return among(table.index.get_level_values("condition").to_series(), levels).to_numpy()


def share_by_decade(table: pd.DataFrame, claimed: Sequence[str] = ()) -> pd.DataFrame:
    """Give each condition's share of the admissions of each decade of age, with Wilson's 95 % limits.

    Returns
    -------
    DataFrame
        `decade, condition, n` (admissions of the decade), `count, share, low, high`, `overall` (the condition's share
        at any age), `claimed`, `patients` (of those counted).
    """
    decades = crosstab(table, ("decade", "condition"))
    total, decades = decades.sum(axis=1), decades[shown_levels(table, claimed)]
    long = decades.reset_index().melt(id_vars="decade", var_name="condition", value_name="count")
    n = long["decade"].map(total)
    effective = np.concatenate([_design_effects(table, level, decades.index) for level in decades.columns])
    low, high = wilson(long["count"] / effective, n / effective)
    long = long.assign(n=n, share=long["count"] / n, low=low, high=high).astype({"n": "int64", "count": "int64"})
    overall = long["condition"].map(decades.sum() / total.sum())
    who = patients(table, ["decade", "condition"]).reindex(pd.MultiIndex.from_frame(long[["decade", "condition"]]))
    long = long.assign(
        overall=overall, claimed=among(long["condition"], claimed), patients=who.fillna(0).to_numpy(dtype=np.int64)
    )
    return long[["decade", "condition", "n", "count", "share", "low", "high", "overall", "claimed", "patients"]]


def _design_effects(table: pd.DataFrame, level: str, decades: pd.Index) -> Floats:
    """Say by how much the variance of a condition's share in each decade grows since patients come again; 1 at least.

    Of a few patients it may come out as nothing, which would make their share sure.
    """
    groups = moments_of(over_units(having(table, of_levels(table, [level])), ["decade"]), decades)
    return np.maximum(groups.design_effect, 1.0) if groups.clusters else np.ones(len(decades))


def shown_levels(table: pd.DataFrame, claimed: Sequence[str]) -> list[str]:
    """List the conditions of a chart in alphabetical order: those claimed, and the commonest."""
    common = over(table, ["condition"])["n"].nlargest(MOST_LEVELS).index
    return sorted({*common, *table.index.get_level_values("condition")[of_levels(table, claimed)]})


def condition_forest(table: pd.DataFrame, claimed: Sequence[str], smallest: float) -> pd.DataFrame:
    """Give the difference of shares, old less young, of every condition, those of the claim first.

    Returns
    -------
    DataFrame
        `label` (the condition), `estimate, low, high, low90, high90, p_value, discovery` (Benjamini-Hochberg over the
        conditions), `claimed, n, smallest_effect, unit, mark` (one of `CLAIMED`).
    """
    levels = shown_levels(table, claimed)
    effects = [difference(table, [level], smallest) for level in levels]
    names = ["estimate", "low", "high", "low90", "high90", "p_zero"]
    forest = pd.DataFrame([[getattr(effect, name) for name in names] for effect in effects], columns=names)
    forest = forest.rename(columns={"p_zero": "p_value"})
    forest.insert(0, "label", levels)
    is_claimed = among(forest["label"], claimed)
    return forest.assign(
        discovery=discoveries(forest["p_value"]),
        claimed=is_claimed,
        n=[effect.n for effect in effects],
        smallest_effect=smallest,
        unit=UNIT,
        mark=np.where(is_claimed, *CLAIMED),
    ).sort_values("claimed", ascending=False, kind="stable")


CLAIM = Claim(
    name="age_condition",
    settings=AgeCondition,
    draft=age_condition,
    position=1,
    charts=(
        Chart(
            name="conditions",
            kind="forest",
            table="condition_forest",
            shows="Forest plot: shares, old less young",
            note=f"Share of admissions of the older less that of the younger. {GREY} {STAR}",
            count=largest,
            options={"marks": CLAIMED},
        ),
        Chart(
            name="heat_map",
            kind="decade_heat_map",
            table="share_by_decade",
            shows="Heat map: share of each condition by decade of age",
            note="Figures: shares in %; those of one decade of age sum to 100 %. Shades: less the condition's share at "
            "any age, which stands behind its name. ►: the claim names it.",
            count=lambda table: int(table["count"].sum()),
        ),
        Chart(
            name="decades",
            kind="decade_lines",
            table="share_by_decade",
            shows="Line graphs: share of each condition by age",
            note="Bands: Wilson's 95 % intervals, each decade on its own.",
            count=lambda table: int(table["count"].sum()),
        ),
    ),
)
