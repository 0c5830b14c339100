"""Does what is billed differ between hospitals, or between insurers?"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.config import STRICT
from hi_ml.findings.aggregates import mean_table, moments_of
from hi_ml.findings.distinct import DistinctAdmissions
from hi_ml.findings.evidence import Evidence, Gap, sorted_out
from hi_ml.findings.finding import Draft
from hi_ml.findings.gates import lacking
from hi_ml.findings.hospital_bills import compare_hospitals, hospital_sums, permuted, sensitivities, too_little
from hi_ml.findings.hospital_tables import hospital_tables
from hi_ml.findings.insurer_bills import between_insurers, insurer_sums
from hi_ml.statistics.effect import joint_power
from hi_ml.statistics.multiplicity import FAMILY
from hi_ml.statistics.permutation import enough_permutations
from hi_ml.statistics.variance_components import GAP_PER_SD, BetweenGroups

NAME = "billing_variation"
CLAIM = "What is billed differs between hospitals, or between insurers."
NOTE = (
    "Nothing in the table says how complex a procedure was, so a difference between hospitals may be one of patients."
)
PARTS = 2


@dataclass(frozen=True, config=STRICT)
class BillingVariation:
    """What the finding is set to.

    Attributes
    ----------
    smallest_gap : float
        Average distance of two random hospitals that matters, as a share of the mean bill.
    smallest_f : float
        Cohen's f between insurers that matters.
    permutations : int
        Of the bills over the hospitals.
    smallest_pairs : int
        Pairs of admissions of one hospital below which the hospitals stay undecided.
    smallest_group : int
        Admissions from which an insurer is compared; the hospitals together need twice as many.
    smallest_volume : int
        Admissions from which a hospital is shown.
    """

    smallest_gap: PositiveFloat
    smallest_f: PositiveFloat
    permutations: PositiveInt
    smallest_pairs: int
    smallest_group: PositiveInt
    smallest_volume: PositiveInt


def billing_variation(admissions: DistinctAdmissions, settings: BillingVariation) -> Draft:
    """Draft the finding: parts `hospitals` and `insurers`, one of which must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `billed`, and `hospital` or `insurer`.
    settings : BillingVariation
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
    kept, gaps = sorted_out(answers)
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
