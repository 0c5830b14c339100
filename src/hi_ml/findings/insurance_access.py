"""Does recorded care differ between insurers, for patients of one condition and age?"""

from collections.abc import Iterator

import pandas as pd
from pydantic.dataclasses import dataclass

from hi_ml.config import STRICT
from hi_ml.findings.admissions import Admissions
from hi_ml.findings.aggregates import completed, counts, crosstab, cube, moments_of, sums
from hi_ml.findings.evidence import Draft, Estimand, Evidence, Gap, described, estimated, sorted_out
from hi_ml.findings.gates import constant, for_each, lacking, large_levels, too_few
from hi_ml.findings.insurer_tables import care_residuals, standardised_differences
from hi_ml.findings.stay_screen import age_band
from hi_ml.statistics.contingency import association, can_vary, cramers_v, largest_share_gap
from hi_ml.statistics.effect import Interval, Margin, joint_power
from hi_ml.statistics.regression import comparable_within, within_strata

CLAIM = "Recorded care differs between insurers."
NOTE = (
    "These are differences in recorded care among insured, admitted patients. Who was refused, waited or had no "
    "insurance is not in the table, so access itself cannot be tested."
)
CARE = {"admission_type": "admission type", "medication": "medication", "test_result": "test result"}
STAY = "length_of_stay"


@dataclass(frozen=True, config=STRICT)
class InsuranceAccess:
    """What the finding is set to.

    Attributes
    ----------
    smallest_effect : float
        Cohen's w, and Cohen's f of the length of stay, that matters.
    smallest_difference : float
        Standardised difference between an insurer and the rest that a balance table would flag.
    age_bands : list of float
        Ages, in years, at which a stratum of age begins.
    smallest_group : int
        Admissions from which an insurer is compared.
    """

    smallest_effect: float
    smallest_difference: float
    age_bands: list[float]
    smallest_group: int


def insurance_access(admissions: Admissions, settings: InsuranceAccess) -> Draft:
    """Draft the finding: parts `admission_type`, `medication`, `test_result` and `length_of_stay`; one must hold.

    Parameters
    ----------
    admissions : Admissions
        Needs `insurer` and some of the four; compares within `condition` and age band where they are there.
    settings : InsuranceAccess
    """
    names = (*CARE, STAY)
    draft = Draft("insurance_access", CLAIM, "any", len(names), notes=(NOTE,))
    rows = admissions.rows
    gap = lacking(rows, ["insurer"], "") or _insurers(rows, settings.smallest_group)
    if gap:
        return dataclasses.replace(draft, gaps=for_each(gap, names))
    rows = stratified(large_levels(rows, "insurer", settings.smallest_group), settings.age_bands)
    margin = Margin(settings.smallest_effect, joint_power(len(names)))
    answers = [*(_care(rows, role, margin) for role in CARE), _stay(rows, margin)]
    ...
