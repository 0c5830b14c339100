"""Everything that decided a simulated table, under plain names that JSON can hold.

What is true of a simulated table, and how well anyone could predict it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.data.simulation.attainable import (
    Knowledge,
    Scores,
    bill_scores,
    result_knowledge,
    result_scores,
    stay_knowledge,
    stay_scores,
)
from hi_ml.data.simulation.outcomes import DAYS, claims
from hi_ml.data.simulation.process import (
    CENTRE_AGE,
    CENTRE_BILL,
    CENTRE_STAY,
    OLDER,
    DataGeneratingProcess,
    Floats,
    ResultLaw,
    StayLaw,
)
from hi_ml.data.simulation.simulate import Simulated
from hi_ml.data.simulation.vocabulary import (
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


def _bill(law: DataGeneratingProcess, hospitals: tuple[str, ...]) -> dict[str, Any]:
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


Expectations = dict[tuple[str, str, str], Floats]


@dataclass(frozen=True)
class Truth:
    """What is true of a simulated table."""

    coefficients: dict[str, Any]  # everything that decided the table, under plain names that JSON can hold
    # by task, horizon, and then `constant` (best constant prediction), `optimal` (every coefficient known) and
    # `attainable` (hospital effects learned from the training part of the default split): scores by name, means
    # over the originals
    scores: dict[str, dict[str, dict[str, Scores]]]
    # columns `row` (1 = first), `task`, `horizon`, `level` (class, or empty) and `expectation`: the expected
    # days or USD, or the chance of the class, given the columns known at the horizon and every coefficient. A
    # copy has the expectations of its original, whose age decided the outcomes
    expectation: pd.DataFrame


def truth(simulated: Simulated) -> Truth:
    """Work out the truth of a simulated table, by formula.

    Parameters
    ----------
    simulated : Simulated
        As `simulate` returns it.

    Returns
    -------
    Truth

    Examples
    --------
    Nothing can be learned from noise:

    >>> from hi_ml.data.simulation import simulate
    >>> scores = truth(simulate("noise", 100)).scores["length_of_stay"]["admission"]
    >>> round(scores["constant"]["mae"], 2), round(scores["attainable"]["mae"], 2)
    (7.5, 7.5)
    """
    law, admissions = simulated.law, simulated.admissions
    stays, results = stay_knowledge(law, admissions), result_knowledge(law, admissions)
    scores = {
        "length_of_stay": {
            horizon: _compare(stay_scores(known.margin, np.ones(1)), stay_scores(known.chances, known.weights))
            for horizon, known in stays.items()
        },
        "billing": bill_scores(law, admissions, stays),
        "test_results": {
            horizon: _compare(result_scores(known.margin, np.ones(1)), result_scores(known.chances, known.weights))
            for horizon, known in results.items()
        },
    }
    expectations = _stay_expectations(stays) | _bill_expectations(simulated, stays) | _result_expectations(results)
    return Truth(coefficients(simulated), scores, _tabulate(expectations, simulated.original))


def _compare(constant: Scores, optimal: Scores) -> dict[str, Scores]:
    # So few coefficients decide stays and results that learning them costs nothing to speak of.
    return {"constant": constant, "optimal": optimal, "attainable": optimal}


def _stay_expectations(stays: dict[str, Knowledge]) -> Expectations:
    return {("length_of_stay", horizon, ""): (known.chances @ DAYS)[known.cell] for horizon, known in stays.items()}


def _bill_expectations(simulated: Simulated, stays: dict[str, Knowledge]) -> Expectations:
    bill, admissions = simulated.law.bill, simulated.admissions
    hospital = bill.hospital[admissions["hospital"]] if len(bill.hospital) else 0.0
    place = CENTRE_BILL + hospital + bill.insurer[admissions["insurer"]]
    expected = {horizon: (known.chances @ DAYS)[known.cell] for horizon, known in stays.items()}
    expected["discharge"] = admissions["stay"].to_numpy(np.float64)
    return {("billing", horizon, ""): place + bill.per_day * (days - CENTRE_STAY) for horizon, days in expected.items()}


def _result_expectations(results: dict[str, Knowledge]) -> Expectations:
    return {
        ("test_results", horizon, level): known.chances[known.cell, index]
        for horizon, known in results.items()
        for index, level in enumerate(TEST_RESULTS)
    }


def _tabulate(expectations: Expectations, original: NDArray[np.int64]) -> pd.DataFrame:
    """Stack the expectations of the originals, repeated for their copies, one block of all rows after the other."""
    rows = len(original)
    tasks, horizons, levels = zip(*expectations, strict=True)
    return pd.DataFrame(
        {
            "row": np.tile(np.arange(1, rows + 1), len(expectations)),
            "task": _repeat(tasks, rows),
            "horizon": _repeat(horizons, rows),
            "level": _repeat(levels, rows),
            "expectation": np.concatenate([values[original] for values in expectations.values()]),
        }
    )


def _repeat(labels: tuple[str, ...], times: int) -> "pd.Categorical[str]":
    categories = list(dict.fromkeys(labels))
    codes = np.array([categories.index(label) for label in labels], dtype=np.int8)
    return pd.Categorical.from_codes(np.repeat(codes, times), categories=pd.Index(categories))
