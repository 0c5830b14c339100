"""How often are the verdicts of the findings right, on tables whose truth is known?

    python experiments/operating_characteristics.py [--tables 200] [--sizes 5000 50000] [--worlds <names>] [--seed 0]
        [--output <csv>]

Simulates three worlds: noise, effects exactly at the smallest that matters, and effects twice as large. States the five
findings on every table, with one row per near-duplicate group as the simulator made them, and counts what was promised:
false support, false absence, power, shown absence, coverage of the intervals, names taken for persons.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import yaml
from scipy.stats import binomtest
from tqdm import tqdm

from hi_ml.app.config import conf_dir
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import one_row_each
from hi_ml.claims.finding import Finding
from hi_ml.data.clean import one_spelling
from hi_ml.data.simulation import Simulated, simulate
from hi_ml.data.simulation.process import COHEN, claims
from hi_ml.data.simulation.simulate import COPIES
from hi_ml.data.simulation.vocabulary import ADVANCED_MEDICATIONS

PERMUTATIONS = 249
"""Of the bills; a run takes 999. From 200 on the hospitals can be significant after Holm; any number is valid."""
RESAMPLES = 1
"""Of the names; their interval decides nothing."""
TRUSTED = 0.90
"""What the lower limit of the names' predictive value must reach."""
LARGE = 50_000
"""Admissions from which absence must be shown, and power be nearly complete."""
CLAIMS = list(catalogue())
DECLARED = {"advanced_medications": ADVANCED_MEDICATIONS}
ROLES = {
    "Age": "age",
    "Gender": "sex",
    "Blood Type": "blood_type",
    "Medical Condition": "condition",
    "Insurance Provider": "insurer",
    "Admission Type": "admission_type",
    "Medication": "medication",
    "Test Results": "test_result",
    "Billing Amount": "billed",
    "Date of Admission": "admitted_on",
    "Discharge Date": "discharged_on",
}
ASKED = ["admissions", "world", "question", "subject"]


@dataclass(frozen=True)
class World:
    """A law of tables.

    Attributes
    ----------
    name, scenario : str
    effect : float
        Of each claim, in multiples of the smallest effect that matters.
    """

    name: str
    scenario: str
    effect: float


WORLDS = (World("noise", "noise", 0.0), World("at the smallest", "planted", 1.0), World("twice", "planted", 2.0))
PROMISES = {
    "any claim supported": "at most 5 %",
    "any claim not supported": "at most 5 %",
    "names taken for persons": "never",
    "names trusted": "always",
    "supported, copies kept": "as a warning",
    "supported, one row each": "at most 5 %",
}


def main() -> None:
    """Run the study and write its table, again after every world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, nargs="+", default=[200], help="of each world; one number, or one a size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 50_000], help="admissions of a table")
    names = [world.name for world in WORLDS]
    parser.add_argument("--worlds", nargs="+", choices=names, default=names, help="which of them")
    parser.add_argument("--seed", type=int, default=0, help="of the first table")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    tables = asked.tables * len(asked.sizes) if len(asked.tables) == 1 else asked.tables
    parts = []
    for size, number in zip(asked.sizes, tables, strict=True):
        for world in (world for world in WORLDS if world.name in asked.worlds):
            parts.append(summary(study(world, size, range(asked.seed, asked.seed + number))))
            pd.concat(parts).to_csv(asked.output, index=False)
    print(pd.concat(parts).to_string(index=False))


def study(world: World, admissions: int, seeds: Sequence[int]) -> pd.DataFrame:
    """Answer every question on one table per seed.

    Parameters
    ----------
    world : World
    admissions : int
        Of each table, its near-duplicates aside.
    seeds : sequence of int

    Returns
    -------
    DataFrame
        `admissions, world, question, subject, seed, hit` (bool).
    """
    answers = []
    for seed in tqdm(seeds, desc=f"{world.name}, {admissions:,} admissions", disable=None):
        rows = round(admissions / (1 - COPIES))
        simulated = simulate(world.scenario, rows, seed=seed, effect=world.effect or 1.0)
        for question, subject, hit in _answers(simulated, world, seed):
            answers.append((admissions, world.name, question, subject, seed, bool(hit)))
    return pd.DataFrame(answers, columns=[*ASKED, "seed", "hit"])


def summary(answers: pd.DataFrame) -> pd.DataFrame:
    """Count the hits of each question.

    Parameters
    ----------
    answers : DataFrame
        From `study`.

    Returns
    -------
    DataFrame
        `admissions, world, question, subject, tables, hits, share, low, high` (exact binomial 95 % limits), `promise`.
    """
    counted = answers.groupby(ASKED, sort=False)["hit"].agg(tables="size", hits="sum").reset_index()
    limits = [binomtest(int(row.hits), int(row.tables)).proportion_ci() for row in counted.itertuples()]
    promise = [_promise(row.question, row.subject, row.world, row.admissions) for row in counted.itertuples()]
    share = (counted["hits"] / counted["tables"]).round(4)
    low, high = np.round([(limit.low, limit.high) for limit in limits], 4).T
    return counted.assign(share=share, low=low, high=high, promise=promise)


def by_role(simulated: Simulated) -> pd.DataFrame:
    """Name the columns of a simulated table by role, as the reader would, private ones as numbers.

    Parameters
    ----------
    simulated : Simulated
    """
    table = simulated.table
    frame = pd.DataFrame({role: table[name].to_pandas() for name, role in ROLES.items()})
    days = {role: pd.to_datetime(frame[role]) for role in ("admitted_on", "discharged_on")}
    written = table["Hospital"].combine_chunks().dictionary_encode()
    hospital, _ = one_spelling(written, "words")
    return frame.assign(
        **days,
        age=frame["age"].astype("float64"),
        length_of_stay=(days["discharged_on"] - days["admitted_on"]).dt.days.astype("float64"),
        hospital=hospital.to_pandas(),
        hospital_as_written=written.indices.to_numpy().astype("int64"),
        patient_name=pd.factorize(pc.utf8_lower(table["Name"]).to_numpy())[0].astype("int64"),
    )


def settings() -> dict[str, object]:
    """Read the settings of the findings, with the numbers of draws that a study can afford."""
    nodes = {name: yaml.safe_load((conf_dir() / "finding" / f"{name}.yaml").read_text("utf-8")) for name in CLAIMS}
    nodes["billing_variation"]["permutations"] = PERMUTATIONS
    nodes["medication_recovery"]["resamples"] = RESAMPLES
    return settings_of(nodes)


def true_values(simulated: Simulated) -> dict[str, float]:
    """Give the true value of what each primary part estimates, from the coefficients that decided the table.

    Parameters
    ----------
    simulated : Simulated

    Returns
    -------
    dict of str to float
        By part. Hospitals are drawn anew for each table, so theirs is the share of variance of the law that they are
        drawn from.
    """
    process = simulated.process
    planted = claims(process.effect)
    bills_of_insurers = float(process.bill.insurer.var())
    # The planted spread between insurers is f times the spread of bills inside one, hospitals included.
    inside = bills_of_insurers / (COHEN * process.effect) ** 2 if process.effect else 1.0
    return {
        "hypertension": planted["age_condition"]["hypertension_share_gap"],
        "diabetes": planted["age_condition"]["diabetes_share_gap"],
        "hospitals": process.bill.hospital_sd**2 / (inside + bills_of_insurers),
        "insurers": planted["billing_variation"]["insurer_cohen_f"],
        "emergency": planted["emergency_stay"]["emergency_extra_days"],
        "stay": planted["medication_recovery"]["other_extra_days"],
        "readmission": planted["medication_recovery"]["other_extra_readmission_share"],
        "admission_type": planted["insurance_access"]["admission_type_cohen_w"],
        "medication": 0.0,
        "test_result": 0.0,
        "length_of_stay": 0.0,
    }


NOT_NEGATIVE = {"hospitals", "insurers", "admission_type", "medication", "test_result", "length_of_stay"}
"""Parts whose estimate and limits cannot lie below 0, so that an interval misses a true 0 on one side only."""


def _answers(simulated: Simulated, world: World, seed: int) -> Iterator[tuple[str, str, bool]]:
    frame, asked = by_role(simulated), settings()
    distinct = one_row_each(frame, simulated.original, declarations=DECLARED, seed=seed)
    found = state(distinct, asked)
    verdicts = {finding.finding: finding.verdict for finding in found}
    if world.name == "noise":
        yield "any claim supported", "all five", "supported" in verdicts.values()
        yield from (("shown to be absent", name, verdict == "not_supported") for name, verdict in verdicts.items())
        kept = one_row_each(frame, simulated.original, declarations=DECLARED, seed=seed, keep_duplicates=True)
        (raw,) = state(kept, {"billing_variation": asked["billing_variation"]})
        yield "supported, one row each", "billing_variation", verdicts["billing_variation"] == "supported"
        yield "supported, copies kept", "billing_variation", raw.verdict == "supported"
    elif world.effect == 1.0:
        yield "any claim not supported", "all five", "not_supported" in verdicts.values()
    else:
        yield from (("supported", name, verdict == "supported") for name, verdict in verdicts.items())
    yield from _names(found, world)
    yield from _coverage(found, true_values(simulated))


def _names(found: Sequence[Finding], world: World) -> Iterator[tuple[str, str, bool]]:
    names = next(part for finding in found for part in finding.evidence if part.part == "names (predictive value)")
    if world.scenario == "noise":
        yield "names taken for persons", "identity", names.detail["verdict"] == "linkable"
    else:
        yield "names trusted", "identity", names.low is not None and names.low >= TRUSTED


def _coverage(found: Sequence[Finding], truth: dict[str, float]) -> Iterator[tuple[str, str, bool]]:
    for finding in found:
        for part in finding.evidence:
            if part.role == "primary" and part.low is not None and part.high is not None:
                yield "interval covers the truth", part.part, part.low <= truth[part.part] <= part.high


def _promise(question: str, subject: str, world: str, admissions: int) -> str:
    large = admissions >= LARGE
    if question == "supported":
        return "at least 99 %" if large else "at least 90 %"
    if question == "shown to be absent":
        return "at least 90 %" if large else "none: too few admissions"
    if question == "interval covers the truth":
        planted = {"hospitals", "insurers", "admission_type"} if world != "noise" else set()
        return "96.5 to 98.5 %" if subject in NOT_NEGATIVE - planted else "94 to 96 %"
    return PROMISES[question]


if __name__ == "__main__":
    main()
