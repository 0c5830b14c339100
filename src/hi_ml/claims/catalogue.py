"""Which claims are there, and what becomes of them on one table?"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hi_ml.app.config import build, plain
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.claims.age_condition import AgeCondition, age_condition
from hi_ml.claims.billing_variation import BillingVariation, billing_variation
from hi_ml.claims.distinct import DistinctAdmissions
from hi_ml.claims.emergency_stay import EmergencyStay, emergency_stay
from hi_ml.claims.finding import Draft, Finding
from hi_ml.claims.insurance_access import InsuranceAccess, insurance_access
from hi_ml.claims.medication_recovery import MedicationRecovery, medication_recovery
from hi_ml.claims.verdicts import decide


class Claim(NamedTuple):
    """A function that drafts a finding, and what it is set to."""

    draft: Callable[[DistinctAdmissions, Any], Draft]
    settings: type


CLAIMS = {
    "age_condition": Claim(age_condition, AgeCondition),
    "billing_variation": Claim(billing_variation, BillingVariation),
    "emergency_stay": Claim(emergency_stay, EmergencyStay),
    "medication_recovery": Claim(medication_recovery, MedicationRecovery),
    "insurance_access": Claim(insurance_access, InsuranceAccess),
}
"""The family, in the order of reports."""


def settings_of(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the `findings` node of a configuration into settings, one object per finding asked for.

    Parameters
    ----------
    nodes : mapping of str to node
        As composed from `conf/finding/<name>.yaml`.

    Raises
    ------
    ConfigurationInvalid
        If a name is no finding.
    pydantic.ValidationError
        If a key is unknown, missing or of another type.
    """
    for name in nodes:
        if name not in CLAIMS:
            raise ConfigurationInvalid.not_one_of("finding", name, list(CLAIMS))
    return {name: build(claim.settings, plain(nodes[name])) for name, claim in CLAIMS.items() if name in nodes}


def state(admissions: DistinctAdmissions, settings: Mapping[str, Any]) -> list[Finding]:
    """Draft the findings that have settings, and give each its verdict.

    Parameters
    ----------
    settings : mapping of str to settings
        By finding, from `settings_of`. Those left out still count in the family of five.

    Returns
    -------
    list of Finding
        In the order of `CLAIMS`.
    """
    return decide([CLAIMS[name].draft(admissions, settings[name]) for name in CLAIMS if name in settings])
