"""What is true of a simulated table, how well could anyone predict it, and how are table and truth kept in files?"""

import errno
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hi_ml.app.files import atomic
from hi_ml.data.simulation import beside
from hi_ml.data.simulation.attainable import (
    Information,
    Scores,
    bill_scores,
    result_information,
    result_scores,
    stay_information,
    stay_scores,
)
from hi_ml.data.simulation.heavy_bills import expected_heavy_bills, heavy_bill_scores
from hi_ml.data.simulation.process import (
    CENTRE_AGE,
    CENTRE_BILL,
    CENTRE_STAY,
    DAYS,
    OLDER,
    TURN,
    DataGeneratingProcess,
    claims,
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
from hi_ml.statistics.estimates import Floats

Expectations = dict[tuple[str, str, str], Floats]  # by task, horizon and level
_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {".csv": pv.write_csv, ".parquet": pq.write_table}


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

    Examples
    --------
    Nothing can be learned from noise:

    >>> from hi_ml.data.simulation import simulate
    >>> scores = truth(simulate("noise", 100)).scores["length_of_stay"]["admission"]
    >>> round(scores["constant"]["mae"], 2), round(scores["attainable"]["mae"], 2)
    (7.5, 7.5)
    """
    process, admissions = simulated.process, simulated.admissions
    stays, results = stay_information(process, admissions), result_information(process, admissions)
    scores = {
        "length_of_stay": _compared_with_constant(stays, stay_scores),
        "billing": (
            heavy_bill_scores(process.heavy, admissions, stays)
            if process.heavy
            else bill_scores(process, admissions, stays)
        ),
        "test_results": _compared_with_constant(results, result_scores),
    }
    expectations = _expectations(simulated, stays, results)
    return Truth(coefficients(simulated), scores, _tabulate(expectations, simulated.original))


def write(simulated: Simulated, output: Path) -> list[Path]:
    """Write the table, and beside it its truth: whoever finds the table finds it whole, and its truth too.

    Parameters
    ----------
    output : Path
        `<stem>.csv` or `<stem>.parquet`. Missing folders are made.

    Returns
    -------
    list of Path
        `output`; `<stem>.truth.json` (`coefficients`, `scores` and `joined`); `<stem>.truth.parquet` (`row`, `task`,
        `horizon`, `level`, `expectation`); the tables to be joined, `<stem>.outcomes` and, where there are hospitals,
        `<stem>.survey`, with the suffix of the output.

    Raises
    ------
    ValueError
        If `output` has another suffix.
    IsADirectoryError
        If a folder stands there.
    """
    output = Path(output)
    if output.suffix not in _WRITERS:
        raise ValueError(f"The output must end in .csv or .parquet; found {output.name!r}. Rename it.")
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    true = truth(simulated)
    known = {"coefficients": true.coefficients, "scores": true.scores, "joined": beside.facts(simulated)}
    facts = json.dumps(known, indent=2, allow_nan=False)
    tables = {"outcomes": beside.outcomes(simulated), "survey": beside.survey(simulated)}
    joined = {output.with_suffix(f".{name}{output.suffix}"): table for name, table in tables.items() if len(table)}
    expectation = pa.Table.from_pandas(true.expectation, preserve_index=False)
    paths = [output, output.with_suffix(".truth.json"), output.with_suffix(".truth.parquet")]
    with ExitStack() as whole:  # the table, entered first, appears last
        table_part, facts_part, expectation_part = (whole.enter_context(atomic(path)) for path in paths)
        _WRITERS[output.suffix](simulated.table, table_part)
        facts_part.write_text(facts + "\n", encoding="utf-8")
        pq.write_table(expectation, expectation_part)
        for path, table in joined.items():
            _WRITERS[output.suffix](table, whole.enter_context(atomic(path)))
    return [*paths, *joined]


def coefficients(simulated: Simulated) -> dict[str, Any]:
    """Return every coefficient by name: shares, and days, USD or log-odds for each level.

    `claims` holds, by claim, the true size of what it estimates.
    """
    process, hospitals = simulated.process, simulated.hospitals
    stay, bill, result = process.stay, process.bill, process.result
    return {
        "scenario": process.scenario,
        "rows": simulated.table.num_rows,
        "copies": simulated.table.num_rows - len(simulated.admissions),
        "seed": simulated.seed,
        "effect": process.effect,
        "advanced_medications": list(ADVANCED_MEDICATIONS),
        "claims": claims(process.effect),
        "condition_shares": _by_name((f"under_{OLDER}", f"from_{OLDER}"), process.condition, CONDITIONS),
        "admission_type_shares": _by_name(INSURERS, process.admission_type, ADMISSION_TYPES),
        "readmission_shares": _by_name(MEDICATIONS, process.readmission),
        "length_of_stay": {
            "mean": CENTRE_STAY,
            "concentration": stay.concentration,
            "centre_age": CENTRE_AGE,
            "per_year": stay.per_year,
            "condition": _by_name(CONDITIONS, stay.condition),
            "admission_type": _by_name(ADMISSION_TYPES, stay.admission_type),
            "medication": _by_name(MEDICATIONS, stay.medication),
        },
        "billing": {
            "mean": CENTRE_BILL,
            "insurer": _by_name(INSURERS, bill.insurer),
            "per_day": bill.per_day,
            "uniform_half_width": bill.half_width,
            "noise_sd": bill.noise,
            "hospital_sd": float(bill.hospital_sd),
            "hospital": _by_name(hospitals, bill.hospital),
            "hospital_share_of_admissions": _by_name(hospitals, process.volume),
        },
        "test_results": {
            "centre_age": CENTRE_AGE,
            "centre_stay": CENTRE_STAY,
            "intercept": _by_name(TEST_RESULTS, result.intercept),
            "per_year": _by_name(TEST_RESULTS, result.per_year),
            "per_day": _by_name(TEST_RESULTS, result.per_day),
            "condition": _by_name(CONDITIONS, result.condition, TEST_RESULTS),
        },
        **_interactions(process),
    }


def _interactions(process: DataGeneratingProcess) -> dict[str, Any]:
    """Return what turns at an age; nothing where nothing does."""
    heavy, sides = process.heavy, (f"under_{TURN}", f"from_{TURN}")
    if heavy is None:
        return {}
    together = {
        side: _by_name(CONDITIONS, days, ADMISSION_TYPES)
        for side, days in zip(sides, process.stay.together, strict=True)
    }
    return {
        "interactions": {
            "length_of_stay": together,
            "log_billing": {
                "centre": heavy.centre,
                "condition": _by_name(sides, heavy.condition, CONDITIONS),
                "per_day": heavy.per_day,
                "noise_sd": heavy.noise,
            },
            f"test_results_from_{TURN}": _by_name(CONDITIONS, process.result.older, TEST_RESULTS),
            "missing_admission_type": _by_name(CONDITIONS, process.untyped),
        }
    }


def _by_name(names: tuple[str, ...], values: Floats, inner: tuple[str, ...] = ()) -> dict[str, Any]:
    cells = [_by_name(inner, row) for row in values] if inner else values.tolist()
    return dict(zip(names, cells, strict=True))


def _compared_with_constant(
    horizons: Mapping[str, Information], score: Callable[[Floats, Floats], Scores]
) -> dict[str, dict[str, Scores]]:
    """Score what is known at each horizon, and nothing."""
    compared = {}
    for horizon, information in horizons.items():
        constant = score(information.margin, np.ones(1))
        # So few coefficients decide stays and results that learning them costs nothing to speak of.
        optimal = score(information.chances, information.weights)
        compared[horizon] = {"constant": constant, "optimal": optimal, "attainable": optimal}
    return compared


def _expectations(
    simulated: Simulated, stays: Mapping[str, Information], results: Mapping[str, Information]
) -> Expectations:
    admissions = simulated.admissions
    hospital, insurer = admissions["hospital"].to_numpy(), admissions["insurer"].to_numpy()
    days = {horizon: (stay.chances @ DAYS)[stay.cell] for horizon, stay in stays.items()}
    discharge = {"discharge": admissions["stay"].to_numpy(np.float64)}
    bills = {
        horizon: simulated.process.bill.mean(hospital, insurer, stay) for horizon, stay in (days | discharge).items()
    }
    if heavy := simulated.process.heavy:
        bills = expected_heavy_bills(heavy, admissions, stays)
    return {
        **{("length_of_stay", horizon, ""): values for horizon, values in days.items()},
        **{("billing", horizon, ""): values for horizon, values in bills.items()},
        **{
            ("test_results", horizon, level): result.chances[result.cell, index]
            for horizon, result in results.items()
            for index, level in enumerate(TEST_RESULTS)
        },
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
