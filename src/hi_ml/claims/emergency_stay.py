"""How long do admissions stay, by type, month and condition? Sums, and the tables of the charts.

Do emergency admissions stay longer?
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.claims.aggregates import counts, mean_table, moments_of, sums
from hi_ml.claims.distinct import DistinctAdmissions, among
from hi_ml.claims.finding import Draft, Estimand, Evidence, Gap, described, estimated, split_by_type
from hi_ml.claims.requirements import constant, lacking, small_groups, unmapped
from hi_ml.claims.subgroup_screen import stay_screen
from hi_ml.statistics.estimates import LEVEL, Interval, Margin
from hi_ml.statistics.means import cochran_q, comparable, contrast, differences, probability_of_exceeding
from hi_ml.statistics.moments import Moments, moments


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
    known = rows[rows["admission_type"].notna()]
    marked = known.assign(emergency=among(known["admission_type"], [emergency]))
    return sums(marked, ["emergency", *also], "length_of_stay")


def stay_by_month(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the mean stay of each admission type by month of admission.

    Returns
    -------
    DataFrame
        `month` (its first day), `admission_type, n, mean, low, high` in days; the 95 % limits are NaN for a single
        admission.
    """
    known = rows[rows["admitted_on"].notna()]
    month = known["admitted_on"].dt.to_period("M").dt.to_timestamp()
    return mean_table(sums(known.assign(month=month), ["month", "admission_type"], "length_of_stay"))


def stay_distribution(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the stays of each admission type by whole days.

    Returns
    -------
    DataFrame
        `admission_type, days, n, share` (of the type), `mean` (of the type, in days).
    """
    known = rows[rows["length_of_stay"].notna() & rows["admission_type"].notna()]
    days = np.floor(known["length_of_stay"]).astype("int64")
    table = counts(known.assign(days=days), ["admission_type", "days"]).reset_index()
    means = known.groupby("admission_type", observed=True)["length_of_stay"].mean()
    share = table["n"] / table.groupby("admission_type")["n"].transform("sum")
    return table.assign(share=share, mean=table["admission_type"].map(means))


def stay_by_condition(table: pd.DataFrame, smallest_group: int, smallest_effect: float) -> pd.DataFrame:
    """Give the difference of mean stays, emergency less others, within each condition.

    Parameters
    ----------
    table : DataFrame
        From `stay_sums` with `condition`.
    smallest_group : int
        Admissions needed on both sides.
    smallest_effect : float
        Days that matter.

    Returns
    -------
    DataFrame
        `condition, estimate, low, high, low90, high90, error` (standard error), `p_value, n, smallest_effect`;
        conditions with too few or constant stays are left out.
    """
    conditions = np.array(sorted(table.index.get_level_values("condition").unique()), dtype=object)
    first, second = (_side(table, emergency, conditions) for emergency in (True, False))
    usable = comparable(first, second, smallest_group)
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
            "smallest_effect": smallest_effect,
        }
    )


def _side(table: pd.DataFrame, emergency: bool, conditions: NDArray[np.object_]) -> Moments:
    cells = pd.MultiIndex.from_product([[emergency], conditions], names=["emergency", "condition"])
    return moments_of(table.reindex(cells, fill_value=0.0))


PARTS = 2
SMALLEST_P_SAID = 0.0001
CLAIM = "Emergency admissions stay longer than the others, the more so in severe conditions."
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


def emergency_stay(admissions: DistinctAdmissions, settings: EmergencyStay) -> Draft:
    """Draft the finding: part `emergency` decides; `severity` is shown where it is declared.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `admission_type` and `length_of_stay`.
    """
    rows, severe = admissions.rows, admissions.declarations.get("severe_conditions")
    if gap := lacking(rows, ["admission_type", "length_of_stay"], "emergency"):
        return _draft([gap, _severity_gap(rows, severe)])
    table = stay_sums(rows, settings.emergency)
    answers: list[Evidence | Gap | None] = [_core(table, settings), _severity(rows, severe, settings)]
    notes: tuple[str, ...] = (NOTE,)
    tables = {"stay_distribution": stay_distribution(rows)}
    if isinstance(answers[0], Evidence):
        answers += _companions(rows, settings)
        if lacking(rows, ["condition"], "") is None:
            cells = stay_sums(rows, settings.emergency, "condition")
            screen = stay_screen(rows, settings.age_bands, settings.smallest_group)
            forest = stay_by_condition(cells, settings.smallest_group, settings.smallest_effect)
            tables |= {"stay_by_condition": _marked(forest, screen, settings.emergency), "stay_screen": screen}
            answers += _by_condition(tables["stay_by_condition"])
            notes = (*notes, *_screen_note(screen))
    if lacking(rows, ["admitted_on"], "") is None:
        tables["stay_by_month"] = stay_by_month(rows)
    return dataclasses.replace(_draft(answers), tables=tables, notes=notes)


def _draft(answers: Iterable[Evidence | Gap | None]) -> Draft:
    evidence, gaps = split_by_type(answers)
    return Draft("emergency_stay", CLAIM, "all", PARTS, evidence=evidence, gaps=gaps, notes=(NOTE,))


def _core(table: pd.DataFrame, settings: EmergencyStay) -> Evidence | Gap:
    n = table["n"].reindex([True, False], fill_value=0).astype("int64")
    if gap := small_groups(n.set_axis(["emergency", "other"]), settings.smallest_group, "emergency"):
        return gap
    groups = moments_of(table.reindex([True, False]))
    if not groups.within.any():
        return constant("emergency", "the length of stay")
    return estimated(
        Estimand("emergency", "mean stay of emergency admissions less that of the others", "days"),
        contrast(groups, [1, -1], margin=Margin(settings.smallest_effect)),
        settings.smallest_effect,
        claims_positive=True,
    )


def _severity_gap(rows: pd.DataFrame, severe: Sequence[str] | None) -> Gap | None:
    if not severe:
        return unmapped("severity", "no condition is declared severe", "severe_conditions")
    return lacking(rows, ["admission_type", "length_of_stay", "condition"], "severity")


def _severity(rows: pd.DataFrame, severe: Sequence[str] | None, settings: EmergencyStay) -> Evidence | Gap:
    if gap := _severity_gap(rows, severe):
        return gap
    marked = rows[rows["condition"].notna()]
    table = stay_sums(marked.assign(severe=among(marked["condition"], severe or [])), settings.emergency, "severe")
    cells = pd.MultiIndex.from_product([[True, False], [True, False]], names=["severe", "emergency"])
    table = table.reorder_levels(["severe", "emergency"]).reindex(cells, fill_value=0.0)
    names = ["severe emergency", "severe other", "milder emergency", "milder other"]
    if gap := small_groups(table["n"].astype("int64").set_axis(names), settings.smallest_group, "severity"):
        return gap
    groups = moments_of(table)
    if not groups.within.any():
        return constant("severity", "the length of stay")
    words = f"emergency difference in {', '.join(severe or [])} less that in other conditions"
    return estimated(
        Estimand("severity", words, "days"),
        contrast(groups, [1, -1, -1, 1], margin=Margin(settings.smallest_interaction)),
        settings.smallest_interaction,
        claims_positive=True,
        role="secondary",
    )


def _companions(rows: pd.DataFrame, settings: EmergencyStay) -> Iterator[Evidence]:
    """Show what skewed stays would hide from a mean: ranks, and the ratio of geometric means."""
    known = rows[rows["admission_type"].notna() & rows["length_of_stay"].notna()]
    emergency = among(known["admission_type"], [settings.emergency]).to_numpy()
    days = known["length_of_stay"].to_numpy(dtype=np.float64)
    words = "chance that an emergency admission stays longer than another one, ties counted half"
    superiority = probability_of_exceeding(days[emergency], days[~emergency])
    yield described(Estimand("emergency (ranks)", words, "probability"), superiority, days.size)
    logs = moments(np.log(np.maximum(days, 1.0)), (~emergency).astype(np.int64), 2)
    if days.min() > 0 and logs.within.any():
        effect = contrast(logs, [1, -1], margin=Margin(np.log(2)))
        ratio = Interval(*(float(np.exp(value)) for value in (effect.estimate, effect.low, effect.high)))
        words = "geometric mean stay of emergency admissions over that of the others"
        yield described(Estimand("emergency (ratio)", words, "ratio"), ratio, days.size)


def _marked(forest: pd.DataFrame, screen: pd.DataFrame, emergency: str) -> pd.DataFrame:
    """Mark the subgroups that stand among all contrasts of the screen, not among these few alone."""
    emergencies = screen[(screen["within"] == "condition") & among(screen["level"], [emergency])]
    found = emergencies.loc[emergencies["discovery"], "stratum"]
    return forest.assign(discovery=forest["condition"].isin(found))


def _screen_note(screen: pd.DataFrame) -> Iterator[str]:
    for row in screen.head(1).to_dict("records"):
        found = int(screen["discovery"].sum())
        p_value = f"p = {row['p_value']:.2g}" if row["p_value"] >= SMALLEST_P_SAID else f"p < {SMALLEST_P_SAID}"
        yield (
            f"The most striking of {len(screen):,} subgroup contrasts of stays is {row['level']} within "
            f"{row['stratum']} ({row['estimate']:+.2f} days, {p_value}); chance alone gives "
            f"{len(screen) * row['p_value']:.1f} as small. {found or 'None'} of them "
            f"{'stand' if found > 1 else 'stands'} at a false discovery rate of 5 %."
        )


def _by_condition(forest: pd.DataFrame) -> Iterator[Evidence]:
    """Show the subgroups, which can never change the verdict, and whether they agree."""
    for row in forest.to_dict("records"):
        words = f"mean stay of emergency admissions less that of the others, {row['condition']}"
        interval = Interval(row["estimate"], row["low"], row["high"])
        detail = {"p_value": row["p_value"], "discovery": int(row["discovery"])}
        estimand = Estimand(f"emergency in {row['condition']}", words, "days")
        yield described(estimand, interval, row["n"], role="exploratory", detail=detail)
    if len(forest) > 1:
        test = cochran_q(forest["estimate"], forest["error"])
        words = "disagreement of the emergency difference between conditions (Cochran's Q)"
        detail = {"df": test.df, "p_value": test.p_value}
        estimand = Estimand("emergency by condition", words, "chi-square")
        yield described(estimand, test.q, int(forest["n"].sum()), role="exploratory", detail=detail)
