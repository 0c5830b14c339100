"""What is true of a simulated table, and how well anyone could predict it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.datasets.simulation.bills import bill_scores
from hi_ml.datasets.simulation.coefficients import coefficients
from hi_ml.datasets.simulation.knowledge import Knowledge, result_knowledge, stay_knowledge
from hi_ml.datasets.simulation.law import CENTRE_BILL, CENTRE_STAY, Floats
from hi_ml.datasets.simulation.outcomes import DAYS
from hi_ml.datasets.simulation.scores import Scores, result_scores, stay_scores
from hi_ml.datasets.simulation.simulated import Simulated
from hi_ml.datasets.simulation.vocabulary import TEST_RESULTS

Expectations = dict[tuple[str, str, str], Floats]


@dataclass(frozen=True)
class Truth:
    """What is true of a simulated table.

    Attributes
    ----------
    coefficients : dict
        Everything that decided the table, under plain names that JSON can hold.
    scores : dict
        By task, horizon, and then `constant` (best constant prediction), `optimal` (every coefficient known) and
        `attainable` (hospital effects learned from the training part of the default split): scores by name, means over
        the originals.
    expectation : DataFrame
        Columns `row` (1 = first), `task`, `horizon`, `level` (class, or empty) and `expectation`: the expected days or
        USD, or the chance of the class, given the columns known at the horizon and every coefficient. A copy has the
        expectations of its original, whose age decided the outcomes.
    """

    coefficients: dict[str, Any]
    scores: dict[str, dict[str, dict[str, Scores]]]
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

    >>> from hi_ml.datasets.simulation import simulate
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
