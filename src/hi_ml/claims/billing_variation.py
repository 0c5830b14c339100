"""Which hospitals stand out, once small ones are kept from doing so by luck? The tables of the charts.

How much do bills differ between hospitals, beyond what the luck of few admissions makes?

How much do bills differ between insurers?

Does what is billed differ between hospitals, or between insurers?
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.claims.aggregates import mean_table, moments_of, sums
from hi_ml.claims.distinct import DistinctAdmissions
from hi_ml.claims.finding import Draft, Estimand, Evidence, Gap, described, estimated, split_by_type
from hi_ml.claims.requirements import constant, lacking, too_few
from hi_ml.statistics.estimates import POWER, Floats, Margin, joint_power
from hi_ml.statistics.means import largest_gap, mean_limits, one_way
from hi_ml.statistics.multiplicity import FAMILY
from hi_ml.statistics.permutation import enough_permutations, permutation_p
from hi_ml.statistics.regression import residuals
from hi_ml.statistics.variance_components import (
    GAP_PER_SD,
    BetweenGroups,
    between_groups,
    funnel,
    pair_icc,
    shrunken,
    smallest_icc,
)

LEVELS = {"95": 0.95, "998": 0.998}
"""Warning and alarm limits of a funnel, by custom."""
POINTS = 60
"""Volumes at which the limits are drawn."""


def hospital_tables(table: pd.DataFrame, between: BetweenGroups, smallest_volume: int) -> dict[str, pd.DataFrame]:
    """Make the tables of the hospital charts.

    Parameters
    ----------
    table : DataFrame
        From `hospital_sums`.
    smallest_volume : int
        Admissions from which a hospital is shown.

    Returns
    -------
    dict of str to DataFrame
        `hospital_funnel`: `hospital, n, mean, centre, low95, high95, low998, high998, outside95, outside998`, largest
        first. `funnel_limits`: the same limits over the volumes shown, `n, centre, low95 ...`. `hospital_effects`:
        `hospital, n, mean, mean_low, mean_high, effect, low, high`, by effect, in currency; every effect is 0 where
        the variance between hospitals is estimated as 0.
    """
    shown = table[table["n"] >= smallest_volume].sort_values("n", ascending=False, kind="stable")
    groups, centre = moments_of(shown), float(table["total"].sum() / table["n"].sum())
    mean_low, mean_high = mean_limits(groups)
    effect, low, high = shrunken(groups, between)
    hospitals = pd.DataFrame({"hospital": shown.index, "n": groups.n.astype(np.int64), "mean": groups.mean})
    limits = _limits(groups.n, centre, between.within)
    outside = {f"outside{name}": _outside(groups.mean, limits, name) for name in LEVELS}
    largest = max(float(groups.n.max(initial=0)), smallest_volume)
    volumes = np.unique(np.geomspace(smallest_volume, largest, POINTS).round())
    effects = hospitals.assign(mean_low=mean_low, mean_high=mean_high, effect=effect, low=low, high=high)
    return {
        "hospital_funnel": hospitals.assign(**limits, **outside),
        "funnel_limits": pd.DataFrame({"n": volumes.astype(np.int64), **_limits(volumes, centre, between.within)}),
        "hospital_effects": effects.sort_values("effect", kind="stable", ignore_index=True),
    }


def _limits(volumes: Floats, centre: float, within: float) -> dict[str, Floats]:
    limits = {"centre": np.full_like(volumes, centre)}
    for name, level in LEVELS.items():
        limits[f"low{name}"], limits[f"high{name}"] = funnel(volumes, centre=centre, within=within, level=level)
    return limits


def _outside(mean: Floats, limits: dict[str, Floats], name: str) -> NDArray[np.bool_]:
    return (mean < limits[f"low{name}"]) | (mean > limits[f"high{name}"])


HOSPITALS = "hospitals"
CASE_MIX = ("age", "sex", "condition", "admission_type", "insurer")
"""Columns that may explain a bill without being the hospital's doing."""


def hospital_sums(rows: pd.DataFrame, name: str = "hospital") -> pd.DataFrame:
    """Count and sum the bills of each hospital: all that the closed forms need.

    Parameters
    ----------
    rows : DataFrame
        With `billed` and the column of names.
    name : str
        `hospital`, or `hospital_as_written` before any spelling rule.
    """
    return sums(rows, [name], "billed")


def too_little(rows: pd.DataFrame, smallest: int, name: str = "hospital") -> Gap | None:
    """Say why bills cannot be compared between hospitals, if they cannot.

    Parameters
    ----------
    rows : DataFrame
        One row per admission.
    smallest : int
        Admissions needed in hospitals of two or more.
    name : str
        Column of hospital names.
    """
    if gap := lacking(rows, [name, "billed"], HOSPITALS):
        return gap
    groups = moments_of(hospital_sums(rows, name)).large_enough(2)
    if groups.n.size <= 1:
        return too_few(HOSPITALS, f"{groups.n.size} hospitals of two admissions or more", "two")
    if groups.n.sum() < smallest:
        return too_few(HOSPITALS, f"{groups.n.sum():,.0f} admissions in hospitals of two or more", str(smallest))
    return constant(HOSPITALS, "the bill within hospitals") if not groups.within.any() else None


def compare_hospitals(
    table: pd.DataFrame, smallest_gap: float, *, power: float = POWER
) -> tuple[BetweenGroups, Evidence]:
    """Estimate the share of the variance of bills that lies between hospitals.

    Hospitals of one admission are left out: they cannot separate within from between.

    Parameters
    ----------
    table : DataFrame
        From `hospital_sums`, with two hospitals of two admissions or more, and some spread within.
    smallest_gap : float
        Average distance of two random hospitals that matters, as a share of the mean bill.
    power : float
        Chance of showing absence that `n_needed` should buy.

    Returns
    -------
    between : BetweenGroups
    evidence : Evidence
        Of the closed forms: its `p_support` is that of the F table.
    """
    bills, several = moments_of(table).together, moments_of(table).large_enough(2)
    mean, variance = float(bills.mean[0]), float(bills.variance[0])
    smallest = smallest_icc(smallest_gap, mean, variance)
    between = between_groups(several, margin=Margin(smallest, power))
    gap, gap_high = (GAP_PER_SD * np.sqrt(icc * variance) for icc in (between.icc.estimate, between.icc.high90))
    detail = {
        "hospitals": several.n.size,
        "pairs": between.pairs,
        "pair_icc": pair_icc(several, mean, variance),
        "typical_gap": float(gap),
        "typical_gap_high90": float(gap_high),
        "mean_bill": mean,
        "p_f_table": between.icc.p_zero,
    }
    words = "share of the variance of bills that lies between hospitals"
    return between, estimated(Estimand(HOSPITALS, words, "share of variance"), between.icc, smallest, detail=detail)


def permuted(evidence: Evidence, admissions: DistinctAdmissions, permutations: int) -> Evidence:
    """Replace the p-value of the F table by one that needs no distribution.

    Parameters
    ----------
    evidence : Evidence
        From `compare_hospitals`.
    admissions : DistinctAdmissions
        The same.
    """
    rows = admissions.rows
    known = rows.loc[rows["hospital"].notna() & rows["billed"].notna(), ["hospital", "billed"]]
    hospital, _ = pd.factorize(known["hospital"])
    several = np.bincount(hospital)[hospital] > 1
    bills, rng = known["billed"].to_numpy(dtype=np.float64), admissions.rng(HOSPITALS)
    p_value = permutation_p(bills[several], hospital[several], permutations=permutations, rng=rng)
    drawn = {"permutations": permutations, "seed": admissions.seed}
    return replace(evidence, p_support=p_value, detail=dict(evidence.detail) | drawn)


def sensitivities(rows: pd.DataFrame, smallest_gap: float, smallest: int) -> Iterator[Evidence]:
    """Repeat the comparison with names as they were written, and with bills adjusted for the patients' mix.

    Parameters
    ----------
    rows : DataFrame
        One row per admission, with a comparison of hospitals that can be made.
    smallest_gap : float
        As in `compare_hospitals`.
    smallest : int
        As in `too_little`.
    """
    if too_little(rows, smallest, "hospital_as_written") is None:
        _, evidence = compare_hospitals(hospital_sums(rows, "hospital_as_written"), smallest_gap)
        yield _secondary(evidence, "names as written")
    adjusted = rows[rows["billed"].notna()]
    bills = adjusted["billed"].to_numpy(dtype=np.float64)
    left = residuals(bills, _case_mix(adjusted)) + bills.mean()
    if too_little(adjusted.assign(billed=left), smallest) is None:
        _, evidence = compare_hospitals(hospital_sums(adjusted.assign(billed=left)), smallest_gap)
        yield _secondary(evidence, f"adjusted for {', '.join(role for role in CASE_MIX if role in rows)}")


def _secondary(evidence: Evidence, how: str) -> Evidence:
    part, words = f"{evidence.part} ({how})", f"{evidence.estimand}, {how}"
    return replace(evidence, part=part, estimand=words, role="secondary")


def _case_mix(rows: pd.DataFrame) -> Floats:
    """Build the covariates: a constant, each level of each category (missing is one), age and whether it is known."""
    columns = [np.ones(len(rows))]
    for role in (role for role in CASE_MIX if role in rows):
        if role == "age":
            age = rows["age"].to_numpy(dtype=np.float64)
            known = np.isfinite(age)
            centred = np.where(known, age - (age[known].mean() if known.any() else 0.0), 0.0)
            columns += [centred, known.astype(np.float64)]
        else:
            codes, levels = pd.factorize(rows[role], use_na_sentinel=False)
            columns += list(np.eye(len(levels))[codes].T)
    return np.column_stack(columns)


INSURERS = "insurers"


def insurer_sums(rows: pd.DataFrame) -> pd.DataFrame:
    """Count and sum the bills of each insurer: all that the closed forms need.

    Parameters
    ----------
    rows : DataFrame
        With `billed` and `insurer`.
    """
    return sums(rows, ["insurer"], "billed")


def between_insurers(
    rows: pd.DataFrame, *, smallest: float, smallest_group: int, power: float
) -> tuple[Evidence | Gap, ...]:
    """Estimate Cohen's f between insurers, and the largest gap between two of them.

    Parameters
    ----------
    rows : DataFrame
        One row per admission.
    smallest : float
        Smallest f that matters.
    smallest_group : int
        Admissions from which an insurer is compared.
    power : float
        Chance of showing absence that `n_needed` should buy.

    Returns
    -------
    tuple of Evidence or Gap
        The part that decides first.
    """
    if gap := lacking(rows, ["insurer", "billed"], INSURERS):
        return (gap,)
    table = insurer_sums(rows)
    if len(table) == 1:
        return (constant(INSURERS, "the insurer"),)
    large = table[table["n"] >= smallest_group]
    if len(large) <= 1:
        return (too_few(INSURERS, f"{len(large)} insurers of {smallest_group} admissions or more", "two"),)
    groups = moments_of(large)
    if not groups.within.all():
        return (constant(INSURERS, "the bill of some insurer"),)
    effect = one_way(groups, margin=Margin(smallest, power))
    higher, lower, gap_between = largest_gap(groups)
    words = "spread of the mean bills of insurers over the spread of bills"
    pair = {"higher": str(large.index[higher]), "lower": str(large.index[lower])}
    return (
        estimated(Estimand(INSURERS, words, "Cohen's f"), effect, smallest, detail={"insurers": len(large)}),
        described(
            Estimand("insurers (largest gap)", "largest gap between the mean bills of two insurers", "currency"),
            gap_between,
            effect.n,
            detail=pair,
        ),
    )


NAME = "billing_variation"
CLAIM = "What is billed differs between hospitals, or between insurers."
NOTE = (
    "Nothing in the table says how complex a procedure was, so a difference between hospitals may be one of patients."
)
PARTS = 2


@dataclass(frozen=True, config=STRICT)
class BillingVariation:
    """What the finding is set to."""

    smallest_gap: PositiveFloat  # average distance of two random hospitals that matters, as a share of the mean bill
    smallest_f: PositiveFloat  # Cohen's f between insurers that matters
    permutations: PositiveInt  # of the bills over the hospitals
    smallest_pairs: int  # pairs of admissions of one hospital below which the hospitals stay undecided
    # admissions from which an insurer is compared; the hospitals together need twice as many
    smallest_group: PositiveInt
    smallest_volume: PositiveInt  # admissions from which a hospital is shown


def billing_variation(admissions: DistinctAdmissions, settings: BillingVariation) -> Draft:
    """Draft the finding: parts `hospitals` and `insurers`, one of which must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `billed`, and `hospital` or `insurer`.
    """
    rows, power = admissions.rows, joint_power(PARTS)
    needed = 2 * settings.smallest_group  # a comparison has two sides
    tables: dict[str, pd.DataFrame] = {}
    answers: list[Evidence | Gap | None] = [too_little(rows, needed)]
    notes = [NOTE]
    if answers[0] is None:
        table = hospital_sums(rows)
        between, closed_form = compare_hospitals(table, settings.smallest_gap, power=power)
        if between.pairs < settings.smallest_pairs:
            evidence = dataclasses.replace(closed_form, p_support=1.0, p_absence=1.0)
        else:
            evidence = permuted(closed_form, admissions, settings.permutations)
        answers += [evidence, *sensitivities(rows, settings.smallest_gap, needed)]
        tables |= hospital_tables(table, between, settings.smallest_volume)
        notes += _hospital_notes(table, between, settings)
    answers += between_insurers(rows, smallest=settings.smallest_f, smallest_group=settings.smallest_group, power=power)
    if lacking(rows, ["insurer", "billed"], "") is None:
        tables["insurer_means"] = mean_table(insurer_sums(rows))
    kept, gaps = split_by_type(answers)
    return Draft(NAME, CLAIM, "any", PARTS, evidence=kept, gaps=gaps, notes=tuple(notes), tables=tables)


def _hospital_notes(table: pd.DataFrame, between: BetweenGroups, settings: BillingVariation) -> Iterator[str]:
    bills = moments_of(table).together
    gap, mean = GAP_PER_SD * np.sqrt(between.icc.high90 * bills.variance[0]), bills.mean[0]
    yield (
        f"Two hospitals drawn at random differ in their mean bill by at most {gap:,.0f} on average "
        f"({100 * gap / mean:.1f} % of the mean bill), with 95 % confidence."
    )
    if table["n"].median() == 1:
        yield "Hospital names do not behave like identifiers: at least half of them stand on a single admission."
    if between.pairs < settings.smallest_pairs:
        yield (
            f"Only {between.pairs:,} pairs of admissions share a hospital; below {settings.smallest_pairs:,} the "
            "hospitals stay undecided."
        )
    if not enough_permutations(settings.permutations, PARTS * FAMILY):
        yield f"{settings.permutations} permutations are too few for the hospitals to support the claim."
