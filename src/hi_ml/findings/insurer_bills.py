"""How much do bills differ between insurers?"""

import pandas as pd

from hi_ml.findings.aggregates import moments_of, sums
from hi_ml.findings.evidence import Estimand, Evidence, Gap, described, estimated
from hi_ml.findings.gates import constant, lacking, too_few
from hi_ml.statistics.effect import Margin
from hi_ml.statistics.means import largest_gap, one_way

PART = "insurers"


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
    if gap := lacking(rows, ["insurer", "billed"], PART):
        return (gap,)
    table = insurer_sums(rows)
    if len(table) == 1:
        return (constant(PART, "the insurer"),)
    large = table[table["n"] >= smallest_group]
    if len(large) <= 1:
        return (too_few(PART, f"{len(large)} insurers of {smallest_group} admissions or more", "two"),)
    groups = moments_of(large)
    if not groups.within.all():
        return (constant(PART, "the bill of some insurer"),)
    effect = one_way(groups, margin=Margin(smallest, power))
    higher, lower, gap_between = largest_gap(groups)
    words = "spread of the mean bills of insurers over the spread of bills"
    pair = {"higher": str(large.index[higher]), "lower": str(large.index[lower])}
    return (
        estimated(Estimand(PART, words, "Cohen's f"), effect, smallest, detail={"insurers": len(large)}),
        described(
            Estimand("insurers (largest gap)", "largest gap between the mean bills of two insurers", "currency"),
            gap_between,
            effect.n,
            detail=pair,
        ),
    )
