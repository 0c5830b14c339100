"""Everything that decided a simulated table, under plain names that JSON can hold."""

from typing import Any

from hi_ml.datasets.simulation.law import CENTRE_AGE, CENTRE_BILL, CENTRE_STAY, OLDER, Floats, Law, ResultLaw, StayLaw
from hi_ml.datasets.simulation.planted import claims
from hi_ml.datasets.simulation.simulated import Simulated
from hi_ml.datasets.simulation.vocabulary import (
    ADMISSION_TYPES,
    ADVANCED_MEDICATIONS,
    CONDITIONS,
    INSURERS,
    MEDICATIONS,
    TEST_RESULTS,
)


def coefficients(simulated: Simulated) -> dict[str, Any]:
    """Return every coefficient by name: shares, and days, USD or log-odds for each level.

    `claims` holds, by finding, the true size of what the finding estimates.
    """
    law = simulated.law
    return {
        "scenario": law.scenario,
        "rows": simulated.table.num_rows,
        "copies": simulated.table.num_rows - len(simulated.admissions),
        "seed": simulated.seed,
        "effect": law.effect,
        "advanced_medications": list(ADVANCED_MEDICATIONS),
        "claims": claims(law.effect),
        "condition_shares": {
            f"under_{OLDER}": _named(CONDITIONS, law.condition[0]),
            f"from_{OLDER}": _named(CONDITIONS, law.condition[1]),
        },
        "admission_type_shares": {
            insurer: _named(ADMISSION_TYPES, shares)
            for insurer, shares in zip(INSURERS, law.admission_type, strict=True)
        },
        "readmission_shares": _named(MEDICATIONS, law.readmission),
        "length_of_stay": _stay(law.stay),
        "billing": _bill(law, simulated.hospitals),
        "test_results": _result(law.result),
    }


def _stay(stay: StayLaw) -> dict[str, Any]:
    return {
        "mean": CENTRE_STAY,
        "concentration": stay.concentration,
        "centre_age": CENTRE_AGE,
        "per_year": stay.per_year,
        "condition": _named(CONDITIONS, stay.condition),
        "admission_type": _named(ADMISSION_TYPES, stay.admission_type),
        "medication": _named(MEDICATIONS, stay.medication),
    }


def _bill(law: Law, hospitals: tuple[str, ...]) -> dict[str, Any]:
    bill = law.bill
    return {
        "mean": CENTRE_BILL,
        "insurer": _named(INSURERS, bill.insurer),
        "per_day": bill.per_day,
        "uniform_half_width": bill.half_width,
        "noise_sd": bill.noise,
        "hospital_sd": float(bill.hospital_sd),
        "hospital": _named(hospitals, bill.hospital),
        "hospital_share_of_admissions": _named(hospitals, law.volume),
    }


def _result(result: ResultLaw) -> dict[str, Any]:
    return {
        "centre_age": CENTRE_AGE,
        "centre_stay": CENTRE_STAY,
        "intercept": _named(TEST_RESULTS, result.intercept),
        "per_year": _named(TEST_RESULTS, result.per_year),
        "per_day": _named(TEST_RESULTS, result.per_day),
        "condition": {
            condition: _named(TEST_RESULTS, logits)
            for condition, logits in zip(CONDITIONS, result.condition, strict=True)
        },
    }


def _named(names: tuple[str, ...], values: Floats) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))
