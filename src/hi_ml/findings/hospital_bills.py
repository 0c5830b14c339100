"""How much do bills differ between hospitals, beyond what the luck of few admissions makes?"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from hi_ml.findings.aggregates import moments_of, sums
from hi_ml.findings.distinct import DistinctAdmissions
from hi_ml.findings.evidence import Estimand, Evidence, Gap, estimated
from hi_ml.findings.gates import constant, lacking, too_few
from hi_ml.statistics.effect import POWER, Floats, Margin
from hi_ml.statistics.permutation import permutation_p
from hi_ml.statistics.regression import residuals
from hi_ml.statistics.variance_components import GAP_PER_SD, BetweenGroups, between_groups, pair_icc, smallest_icc

PART = "hospitals"
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
    if gap := lacking(rows, [name, "billed"], PART):
        return gap
    groups = moments_of(hospital_sums(rows, name)).large_enough(2)
    if groups.n.size <= 1:
        return too_few(PART, f"{groups.n.size} hospitals of two admissions or more", "two")
    if groups.n.sum() < smallest:
        return too_few(PART, f"{groups.n.sum():,.0f} admissions in hospitals of two or more", str(smallest))
    return constant(PART, "the bill within hospitals") if not groups.within.any() else None


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
    return between, estimated(Estimand(PART, words, "share of variance"), between.icc, smallest, detail=detail)


def permuted(evidence: Evidence, admissions: DistinctAdmissions, permutations: int) -> Evidence:
    """Replace the p-value of the F table by one that needs no distribution.

    Parameters
    ----------
    evidence : Evidence
        From `compare_hospitals`.
    admissions : DistinctAdmissions
        The same.
    permutations : int
    """
    rows = admissions.rows
    known = rows.loc[rows["hospital"].notna() & rows["billed"].notna(), ["hospital", "billed"]]
    hospital, _ = pd.factorize(known["hospital"])
    several = np.bincount(hospital)[hospital] > 1
    bills, rng = known["billed"].to_numpy(dtype=np.float64), admissions.rng(PART)
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
