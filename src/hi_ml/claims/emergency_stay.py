"""Do emergency admissions stay longer, the more so in severe conditions?"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.text import p_statement, with_unit
from hi_ml.claims.aggregates import (
    UNIT,
    counts,
    each_admission,
    keys_of,
    mean_table,
    moments_of,
    over,
    patients,
    sums,
    units_of,
)
from hi_ml.claims.chart import GREY, STAR, Chart, largest
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import DistinctAdmissions, among
from hi_ml.claims.finding import MARKS, Draft, Estimand, Evidence, forest_lines
from hi_ml.claims.kinds import Asked, Columns, difference
from hi_ml.claims.requirements import constant, has, require_columns, require_declared, require_sizes
from hi_ml.claims.subgroup_screen import stay_screen
from hi_ml.claims.tails import Draws, Sample, is_heavy
from hi_ml.statistics.estimates import LEVEL, Floats, Interval, Margin
from hi_ml.statistics.means import cochran_q, comparable, contrast, differences
from hi_ml.statistics.moments import moments

SENTENCE = "Emergency admissions stay longer than the others, the more so in severe conditions."
WORDS = {
    "emergency": "emergency admissions stay longer than the others",
    "severity": "the more so in severe conditions",
}
NOTE = (
    "The verdict stands on the difference between emergency and other admissions; what conditions add to it is shown "
    "beside it and cannot change it."
)


@dataclass(frozen=True, config=STRICT)
class EmergencyStay:
    """What the finding is set to."""

    emergency: str  # the admission type claimed to stay longer
    smallest_effect: PositiveFloat  # difference of mean stays that matters, in days
    # difference of that difference between severe conditions and the rest that matters, in days
    smallest_interaction: PositiveFloat
    smallest_group: PositiveInt  # admissions needed of each group
    # ages, in years, at which a band of the subgroup screen begins
    age_bands: Annotated[list[float], Field(min_length=1)]
    permutations: PositiveInt  # of the patients, where stays have tails too heavy for a t interval


def emergency_stay(admissions: DistinctAdmissions, settings: EmergencyStay) -> Draft:
    """Draft the finding: part `emergency` decides; `severity` is shown where it is declared.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `admission_type` and `length_of_stay`.
    """
    admissions = admissions.by("admission_type")
    rows = admissions.take("admission_type", "length_of_stay", "condition")
    severe = admissions.declarations.get("severe_conditions", ())
    draws = Draws(settings.permutations, admissions.rng("emergency"))
    parts = [
        ("emergency", partial(_emergency, rows, settings, draws)),
        ("severity", partial(_severity, rows, severe, settings)),
    ]
    draft = Draft.of(SENTENCE, "all", parts, notes=[NOTE], words=WORDS)
    if not has(rows, "admission_type", "length_of_stay"):
        return draft
    tables = {"stay_distribution": stay_distribution(rows)}
    facts: dict[str, Any] = {}
    if draft.parts:
        draft, facts = draft.also(*_companions(rows, settings)), {"smallest": settings.smallest_effect}
        if has(rows, "condition"):
            screen = stay_screen(admissions.first, settings.age_bands, settings.smallest_group)
            forest = _marked(stay_by_condition(rows, settings), screen, settings.emergency)
            tables |= {"stay_by_condition": _with_all(draft.parts, forest), "stay_screen": screen}
            draft = draft.also(*_by_condition(forest, _dependence(rows, forest, settings)))
            draft = dataclasses.replace(draft, notes=(NOTE, *_screen_note(screen)))
    by_day = admissions.take("admitted_on", "admission_type", "length_of_stay")
    if has(by_day, "admitted_on"):
        tables["stay_by_month"] = stay_by_month(by_day)
    return dataclasses.replace(draft.in_units(admissions.units), tables=tables, facts=facts)


def _emergency(rows: pd.DataFrame, settings: EmergencyStay, draws: Draws) -> Iterator[Evidence]:
    require_columns(rows, "admission_type", "length_of_stay")
    complete = rows[rows["admission_type"].notna()]
    marked = complete.assign(emergency=among(complete["admission_type"], [settings.emergency]))
    estimand = Estimand("emergency", "mean stay of emergency admissions less that of the others", "days")
    asked = Asked(estimand, Margin(settings.smallest_effect), settings.smallest_group, "the length of stay")
    yield difference(marked, Columns("length_of_stay", "emergency"), asked, draws, names=["emergency", "other"])


def _sample(rows: pd.DataFrame, emergency: str) -> Sample:
    """Take the stays, the others first, with their patients."""
    complete = each_admission(rows[rows["admission_type"].notna() & rows["length_of_stay"].notna()])
    urgent = among(complete["admission_type"], [emergency]).to_numpy().astype(np.int64)
    return Sample(complete["length_of_stay"].to_numpy(dtype=np.float64), urgent, units_of(complete))


def _severity(rows: pd.DataFrame, severe: Sequence[str], settings: EmergencyStay) -> Iterator[Evidence]:
    require_declared(severe, "no condition is declared severe", "severe_conditions")
    require_columns(rows, "admission_type", "length_of_stay", "condition")
    complete = rows[rows["condition"].notna()]
    table = stay_sums(complete.assign(severe=among(complete["condition"], severe)), settings.emergency, "severe")
    cells = pd.MultiIndex.from_product([[True, False], [True, False]], names=["severe", "emergency"])
    groups = moments_of(table, cells)
    names = ["severe emergency", "severe other", "milder emergency", "milder other"]
    require_sizes(groups, names, settings.smallest_group)
    if not groups.within.any():
        raise constant("the length of stay")
    effect = contrast(groups, [1, -1, -1, 1], margin=Margin(settings.smallest_interaction))
    words = f"emergency difference in {', '.join(severe)} less that in other conditions"
    yield Evidence.of_effect(
        Estimand("severity", words, "days"),
        effect,
        settings.smallest_interaction,
        claims_positive=True,
        role="secondary",
        keeps_level=not is_heavy(_sample(complete, settings.emergency), effect.df),
    )


def _companions(rows: pd.DataFrame, settings: EmergencyStay) -> Iterator[Evidence]:
    """Show what skewed stays would hide from a mean: ranks, and the ratio of geometric means."""
    sample = _sample(rows, settings.emergency)
    days = sample.values
    words = "chance that an emergency admission stays longer than another one, ties counted half"
    yield Evidence.of_figure(Estimand("emergency (ranks)", words, "probability"), sample.exceeding(1, 0), days.size)
    logs = moments(np.log(np.maximum(days, 1.0)), 1 - sample.groups, 2, sample.units)
    if days.min() > 0 and logs.within.any():
        effect = contrast(logs, [1, -1], margin=Margin(np.log(2)))
        ratio = Interval(*(float(np.exp(value)) for value in (effect.estimate, effect.low, effect.high)))
        words = "geometric mean stay of emergency admissions over that of the others"
        yield Evidence.of_figure(Estimand("emergency (ratio)", words, "ratio"), ratio, days.size)


def _marked(forest: pd.DataFrame, screen: pd.DataFrame, emergency: str) -> pd.DataFrame:
    """Mark the subgroups that stand among all contrasts of the screen, not among these few alone."""
    emergencies = screen[(screen["within"] == "condition") & among(screen["level"], [emergency])]
    standing = emergencies.loc[emergencies["discovery"], "stratum"]
    return forest.assign(discovery=forest["condition"].isin(standing))


def _with_all(parts: Sequence[Evidence], forest: pd.DataFrame) -> pd.DataFrame:
    """Put the estimate that decides above those of the conditions, as lines of a forest plot."""
    lines = forest.rename(columns={"condition": "label"}).assign(unit="days", mark=MARKS["exploratory"])
    both = pd.concat([forest_lines(parts).assign(label="all conditions"), lines], ignore_index=True)
    both = both.astype({"discovery": "boolean"}).fillna({"discovery": False})
    return both if len(forest) else both.head(0)


def _screen_note(screen: pd.DataFrame) -> Iterator[str]:
    for row in screen.head(1).to_dict("records"):
        standing = int(screen["discovery"].sum())
        yield (
            f"The most striking of {len(screen):,} subgroup contrasts of stays is {row['level']} within "
            f"{row['stratum']} ({with_unit(row['estimate'], 'days')}, {p_statement(row['p_value'])}); chance alone "
            f"gives {len(screen) * row['p_value']:.1f} as small. {standing or 'None'} of them "
            f"{'stand' if standing > 1 else 'stands'} at a false discovery rate of 5 %."
        )


def _dependence(rows: pd.DataFrame, forest: pd.DataFrame, settings: EmergencyStay) -> Floats | None:
    """Give the covariance of the emergency differences of the conditions; None where no patient comes again."""
    if UNIT not in rows:
        return None
    cells = moments_of(stay_sums(rows, settings.emergency, "condition"), _cells((True, False), forest["condition"]))
    differ = np.hstack([np.eye(len(forest)), -np.eye(len(forest))])
    covariance: Floats = differ @ cells.covariance @ differ.T
    return covariance


def _by_condition(forest: pd.DataFrame, covariance: Floats | None) -> Iterator[Evidence]:
    """Show the subgroups, which can never change the verdict, and whether they agree."""
    for row in forest.to_dict("records"):
        words = f"mean stay of emergency admissions less that of the others, {row['condition']}"
        interval = Interval(row["estimate"], row["low"], row["high"])
        detail = {"p_value": row["p_value"], "discovery": int(row["discovery"])}
        estimand = Estimand(f"emergency in {row['condition']}", words, "days")
        yield Evidence.of_figure(estimand, interval, row["n"], role="exploratory", detail=detail)
    if len(forest) > 1:
        test = cochran_q(forest["estimate"], forest["error"], covariance)
        words = "disagreement of the emergency difference between conditions (Cochran's Q)"
        detail = {"df": test.df, "p_value": test.p_value}
        estimand = Estimand("emergency by condition", words, "chi-square")
        yield Evidence.of_figure(estimand, test.q, int(forest["n"].sum()), role="exploratory", detail=detail)


def stay_sums(rows: pd.DataFrame, emergency: str, *also: str) -> pd.DataFrame:
    """Count and sum the stays of emergency and other admissions: all that the closed forms need.

    Parameters
    ----------
    rows : DataFrame
        With `length_of_stay` in days and `admission_type`.
    emergency : str
        The admission type that is one, in any case.
    *also : str
        Further keys, such as `condition`.

    Returns
    -------
    DataFrame
        Columns `n, total, squares`, indexed by `emergency` (bool) and the further keys.
    """
    complete = rows[rows["admission_type"].notna()]
    marked = complete.assign(emergency=among(complete["admission_type"], [emergency]))
    return sums(marked, ["emergency", *also], "length_of_stay")


def stay_by_month(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the mean stay of each admission type by month of admission.

    Returns
    -------
    DataFrame
        `month` (its first day), `admission_type, n, mean, low, high` in days; the 95 % limits are NaN for a single
        admission.
    """
    complete = rows[rows["admitted_on"].notna()]
    month = complete["admitted_on"].dt.to_period("M").dt.to_timestamp()
    return mean_table(sums(complete.assign(month=month), ["month", "admission_type"], "length_of_stay"))


def stay_distribution(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the stays of each admission type by whole days.

    Returns
    -------
    DataFrame
        `admission_type, days, n, share` (of the type), `mean` (of the type, in days).
    """
    complete = rows[rows["length_of_stay"].notna() & rows["admission_type"].notna()]
    days = np.floor(complete["length_of_stay"]).astype("int64")
    counted = counts(complete.assign(days=days), ["admission_type", "days"])
    table = over(counted, keys_of(counted)).reset_index()
    stays = over(sums(complete, ["admission_type"], "length_of_stay"), ["admission_type"])
    means = (stays["total"] + stays["base"]) / stays["n"]
    share = table["n"] / table.groupby("admission_type")["n"].transform("sum")
    who = patients(counted, keys_of(counted)).to_numpy()
    return table.assign(share=share, mean=table["admission_type"].map(means), patients=who)


def stay_by_condition(rows: pd.DataFrame, settings: EmergencyStay) -> pd.DataFrame:
    """Give the difference of mean stays, emergency less others, within each condition.

    Returns
    -------
    DataFrame
        `condition, estimate, low, high, low90, high90, error` (standard error), `p_value, n, smallest_effect`;
        conditions with too few or constant stays are left out.
    """
    table = stay_sums(rows, settings.emergency, "condition")
    conditions = np.array(sorted(table.index.get_level_values("condition").unique()), dtype=object)
    cells = moments_of(table, _cells((True, False), conditions))
    first, second = (cells.at(np.arange(conditions.size) + side * conditions.size) for side in (0, 1))
    usable = comparable(first, second, settings.smallest_group)
    effect = differences(first.at(usable), second.at(usable))
    low, high = effect.limits()
    low90, high90 = effect.limits(2 * LEVEL)
    return pd.DataFrame(
        {
            "condition": conditions[usable],
            "estimate": effect.estimate,
            "low": low,
            "high": high,
            "low90": low90,
            "high90": high90,
            "error": effect.error,
            "p_value": effect.p_value,
            "n": (first.n + second.n)[usable].astype(np.int64),
            "smallest_effect": settings.smallest_effect,
        }
    )


def _cells(emergency: Sequence[bool], conditions: Iterable[object]) -> pd.MultiIndex:
    return pd.MultiIndex.from_product([emergency, list(conditions)], names=["emergency", "condition"])


CLAIM = Claim(
    name="emergency_stay",
    settings=EmergencyStay,
    draft=emergency_stay,
    position=3,
    charts=(
        Chart(
            name="by_condition",
            kind="forest",
            table="stay_by_condition",
            shows="Forest plot: emergencies less others",
            note=f"Emergency admissions less the others; conditions cannot change the verdict. {GREY} {STAR}",
            count=largest,
            options={"marks": (MARKS["primary"], MARKS["exploratory"])},
        ),
        Chart(
            name="months",
            kind="month_lines",
            table="stay_by_month",
            shows="Line graphs: mean stay by admission type and month",
            note="Bands: 95 % intervals, each month on its own.",
            given=("smallest",),
        ),
        Chart(
            name="distribution",
            kind="stay_distribution",
            table="stay_distribution",
            shows="Bar charts: stays by admission type",
            note="Stays in whole days.",
        ),
    ),
)
