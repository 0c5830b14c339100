"""Does recorded care differ between insurers, for patients of one condition and age?"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import Untestable
from hi_ml.claims import kinds
from hi_ml.claims.aggregates import TIMES, UNIT, counts, crosstab, cube_clusters, moments_of, patients, sums
from hi_ml.claims.chart import STAR, Chart
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import AMOUNTS, DistinctAdmissions, commonest
from hi_ml.claims.finding import FACT, Detail, Draft, Estimand, Evidence
from hi_ml.claims.kinds import Asked, Columns, Stratified
from hi_ml.claims.requirements import constant, has, require_columns, require_two
from hi_ml.claims.subgroup_screen import age_bins
from hi_ml.claims.tails import Draws
from hi_ml.statistics.contingency import association, can_vary, cramers_v, largest_share_gap
from hi_ml.statistics.estimates import Integers, Margin, joint_power
from hi_ml.statistics.means import comparable, standardised_difference
from hi_ml.statistics.moments import Moments

SENTENCE = "Recorded care differs between insurers."
NOTE = (
    "These are differences in recorded care among insured, admitted patients. Who was refused, waited or had no "
    "insurance is not in the table, so access itself cannot be tested."
)
CARE = {"admission_type": "admission type", "medication": "medication", "test_result": "test result"}
STAY = "length_of_stay"
CASE_MIX = ("condition", "sex", "blood_type")
FEW = 5  # patients of a level, below which no figure is named by it
Taken = Callable[[str], pd.DataFrame]
"""Returns the rows with a column and the insurer, for those insurers that are large enough."""


@dataclass(frozen=True, config=STRICT)
class InsuranceAccess:
    """What the finding is set to."""

    smallest_effect: PositiveFloat  # Cohen's w, and Cohen's f of the length of stay, that matters
    # standardised difference between an insurer and the rest that a balance table would flag
    smallest_difference: float
    age_bands: Annotated[list[float], Field(min_length=1)]  # ages, in years, at which a stratum of age begins
    smallest_group: PositiveInt  # admissions from which an insurer is compared
    permutations: PositiveInt  # of the patients, where stays have tails too heavy for a chi-square


def insurance_access(admissions: DistinctAdmissions, settings: InsuranceAccess) -> Draft:
    """Draft the finding: parts `admission_type`, `medication`, `test_result` and `length_of_stay`; one must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `insurer` and some of the four; compares within `condition` and age bin where they are there.
    """
    admissions = admissions.by("insurer")
    stratified_rows = _stratified(admissions, settings)
    margin = Margin(settings.smallest_effect, joint_power(len(CARE) + 1))
    draws = Draws(settings.permutations, admissions.rng(STAY))
    associations = cache(partial(_association, stratified_rows, margin))
    parts = [(role, partial(_care, associations, role, margin)) for role in CARE]
    parts.append((STAY, partial(_stay, stratified_rows, margin, draws)))
    around = "Recorded care differs between insurers in {}."
    draft = Draft.of(SENTENCE, "any", parts, notes=[NOTE], words=CARE | {STAY: "length of stay"}, around=around)
    try:
        stratified_rows("insurer")
    except Untestable:
        return draft
    balance = standardised_differences(stratified_rows)
    care = kinds.residual_table(dict(_testable(associations)), "insurer", admissions.units)
    extreme = list(_largest(balance, settings.smallest_difference))
    return dataclasses.replace(
        draft.also(*_marginal(stratified_rows, margin), *extreme).in_units(admissions.units),
        tables={"payer_care": care, "payer_balance": balance},
        facts={"zone": settings.smallest_difference if extreme else None},
    )


def _stratified(admissions: DistinctAdmissions, settings: InsuranceAccess) -> Taken:
    """Take the insurers that are large enough, say to which stratum each row belongs, and return what takes a column.

    Where only a few columns can be taken at once, all of it is done anew for each.
    """

    @cache
    def stratified(*roles: str) -> pd.DataFrame:
        rows = admissions.take("insurer", "condition", "age", *roles)
        require_columns(rows, "insurer")
        if len(rows["insurer"].dropna().unique()) == 1:
            raise constant("the insurer")
        large = require_two(rows, "insurer", settings.smallest_group)
        strata = with_strata(rows[rows["insurer"].isin(large)], settings.age_bands)
        return strata.assign(insurer=commonest(strata, "insurer"))

    @cache
    def taken(role: str = "insurer") -> pd.DataFrame:
        rows = stratified(role) if admissions.first.narrow else stratified(*CARE, STAY, *CASE_MIX)
        rows = rows[[name for name in dict.fromkeys(["insurer", role, UNIT, TIMES, "stratum"]) if name in rows]]
        return rows if role in AMOUNTS or role not in rows else rows.assign(**{role: commonest(rows, role)})

    return taken


def _association(stratified_rows: Taken, margin: Margin, role: str) -> Stratified:
    rows = stratified_rows(role)
    require_columns(rows, role)
    what = f"the {CARE[role]} between insurers of one stratum"
    return kinds.stratified_association(rows, Columns(role, "insurer", "stratum"), margin, what)


def _care(associations: Callable[[str], Stratified], role: str, margin: Margin) -> Iterator[Evidence]:
    tested = associations(role)
    test, strata = tested.test, tested.strata
    words = f"association of insurer and {CARE[role]} within condition and age band"
    detail: dict[str, float | int | str] = {
        "strata": strata,
        "sum_of_strata": test.sum_of_strata,
        "sum_df": test.sum_df,
        "p_sum": test.p_sum,
    }
    detail |= {FACT: fact} if (fact := tested.fact()) else {}
    yield Evidence.of_effect(Estimand(role, words, "Cohen's w"), test.w, margin.size, detail=detail)


def _stay(stratified_rows: Taken, margin: Margin, draws: Draws) -> Iterator[Evidence]:
    rows = stratified_rows(STAY)
    require_columns(rows, STAY)
    words = "spread of the mean stays of insurers over the spread of stays, within condition and age band"
    asked = Asked(Estimand(STAY, words, "Cohen's f"), margin, 0, "the length of stay", directional=False)
    yield kinds.spread_within(rows, Columns(STAY, "insurer", "stratum"), asked, draws)


def _marginal(stratified_rows: Taken, margin: Margin) -> Iterator[Evidence]:
    """Repeat the associations without strata, with the figures that people quote."""
    for role, care in CARE.items():
        if not has(rows := stratified_rows(role), role):
            continue
        counted, keys = counts(rows, ["insurer", role]), ("insurer", role)
        table = crosstab(counted, keys)
        if not can_vary(table.to_numpy()[None]):
            continue
        told = ((table == 0) | (table >= FEW)).all().to_numpy()
        if not told.any():
            continue
        higher, lower, level, gap = largest_share_gap(table, told)
        detail: Detail = {
            "cramers_v": cramers_v(table),
            "largest_share_gap": gap,
            "level": str(table.columns[level]),
            "higher": str(table.index[higher]),
            "lower": str(table.index[lower]),
        }
        words = f"association of insurer and {care}, condition and age not held fixed"
        clusters = cube_clusters(counted, keys)
        effect = association(table.to_numpy()[None], margin=margin, clusters=clusters).w
        estimand = Estimand(f"{role} (marginal)", words, "Cohen's w")
        yield Evidence.of_effect(estimand, effect, margin.size, role="secondary", detail=detail)


def _largest(balance: pd.DataFrame, flagged_from: float) -> Iterator[Evidence]:
    care = balance[(balance["kind"] == "care") & ~(balance["patients"] < FEW)]
    for row in care.loc[care["difference"].abs().sort_values().index[-1:]].to_dict("records"):
        words = "largest standardised difference in care between an insurer and the rest"
        detail = {"insurer": row["insurer"], "level": f"{row['variable']} {row['level']}".strip()}
        detail |= {"flagged_from": flagged_from}
        estimand = Estimand("largest difference", words, "standard deviations")
        yield Evidence.of_figure(estimand, abs(row["difference"]), row["n"], detail=detail)


def with_strata(rows: pd.DataFrame, age_bands: Sequence[float]) -> pd.DataFrame:
    """Add `stratum`: condition and age band, as far as the table has them; missing where either is.

    Parameters
    ----------
    rows : DataFrame
        Columns by role.
    age_bands : sequence of float
        Ages, in years, at which a band begins.
    """
    stratum = pd.Series("all", index=rows.index, dtype="str")
    if has(rows, "condition"):
        stratum = rows["condition"].astype("str")
    if has(rows, "age"):
        stratum = stratum + ", " + age_bins(rows["age"], age_bands)
    return rows.assign(stratum=stratum)


def standardised_differences(taken: Taken) -> pd.DataFrame:
    """Compare each insurer with the rest, in standard deviations, on its patients' care and on who they are.

    Parameters
    ----------
    taken : callable
        Returns the rows with `insurer` and a column; what of care, stay, age and case mix is there is compared.

    Returns
    -------
    DataFrame
        `insurer, kind` (`care` or `case mix`), `variable, level` (empty for a number), `difference` (of means or
        shares over the root mean variance), `n` (admissions of the insurer), `patients` (of them at the level).
    """
    tables = [
        *(part for role in CARE for part in _share_differences(taken(role), role, "care")),
        *_mean_difference(taken(STAY), STAY, "care"),
        *(part for role in CASE_MIX for part in _share_differences(taken(role), role, "case mix")),
        *_mean_difference(taken("age"), "age", "case mix"),
    ]
    columns = ["insurer", "kind", "variable", "level", "difference", "n", "patients"]
    return pd.concat(tables, ignore_index=True).reindex(columns=columns) if tables else pd.DataFrame(columns=columns)


def _testable(associations: Callable[[str], Stratified]) -> Iterator[tuple[str, Stratified]]:
    for role in CARE:
        with contextlib.suppress(Untestable):
            yield role, associations(role)


def _share_differences(rows: pd.DataFrame, role: str, kind: str) -> Iterator[pd.DataFrame]:
    if not has(rows, role):
        return
    counted, keys = counts(rows, ["insurer", role]), ("insurer", role)
    seen, who = (crosstab(table, keys).T for table in (counted, patients(counted, keys).to_frame("n")))
    level, insurer = np.repeat(np.arange(len(seen)), seen.shape[1]), np.tile(np.arange(seen.shape[1]), len(seen))
    words = {"level": seen.index.map(str)[level], "insurer": seen.columns[insurer], "patients": who.to_numpy().ravel()}
    lines = pd.DataFrame(words).assign(kind=kind, variable=role)
    count, n = seen.to_numpy().ravel(), seen.sum().to_numpy()[insurer]
    yield _against_rest(lines, Moments(n, count, count), level)


def _mean_difference(rows: pd.DataFrame, role: str, kind: str) -> Iterator[pd.DataFrame]:
    if has(rows, role):
        table = sums(rows.drop(columns=UNIT, errors="ignore"), ["insurer"], role)
        lines = table.index.to_frame(index=False).assign(kind=kind, variable=role, level="")
        yield _against_rest(lines, moments_of(table), np.zeros(len(lines), dtype=np.int64))


def _against_rest(lines: pd.DataFrame, groups: Moments, variable: Integers) -> pd.DataFrame:
    """Compare each group with all others of its variable, and add what was found to the line that names it."""
    rest = groups.pooled([variable == number for number in np.unique(variable)]).at(variable).less(groups)
    usable = comparable(groups, rest, 2)
    difference = standardised_difference(groups.at(usable), rest.at(usable))
    return lines[usable].assign(difference=difference, n=groups.n[usable].astype(np.int64))


CLAIM = Claim(
    name="insurance_access",
    settings=InsuranceAccess,
    draft=insurance_access,
    position=5,
    charts=(
        Chart(
            name="care",
            kind="care_heat_map",
            table="payer_care",
            shows="Heat map: recorded care by insurer, with adjusted residuals",
            note="Share of the insurer's admissions, and below it the adjusted residual within condition and age band: "
            f"by chance, 1 cell in 20 lies beyond ±2. {STAR}",
            count=lambda care: int(care.drop_duplicates(["outcome", "insurer"]).groupby("outcome")["n"].sum().max()),
        ),
        Chart(
            name="balance",
            kind="balance",
            table="payer_balance",
            shows="Love plot: differences between insurers",
            note="Each insurer against all others, in standard deviations, condition and age not held fixed.",
            count=lambda balance: int(balance.drop_duplicates("insurer")["n"].sum()),
            given=("zone",),
        ),
    ),
)
