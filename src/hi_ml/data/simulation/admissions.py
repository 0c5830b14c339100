"""Who is admitted, when and with what, and what comes of it."""

import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from hi_ml.data.simulation.outcomes import result_chances
from hi_ml.data.simulation.process import (
    AGES,
    CENTRE_AGE,
    CENTRE_BILL,
    CENTRE_STAY,
    LONGEST_STAY,
    OLDER,
    DataGeneratingProcess,
    Floats,
)

WINDOW = 1_827
"""Days on which patients are admitted: five years with two leap days."""
READMITTED_WITHIN = 30
"""Days from a discharge to the next admission of the same patient, at most."""
DAYS_PER_YEAR = 365.25


def draw_admissions(law: DataGeneratingProcess, count: int, seed: SeedSequence) -> pd.DataFrame:
    """Draw admissions in random order, later admissions of the same patients among them.

    Parameters
    ----------
    law : DataGeneratingProcess
        The law of one admission.
    count : int
        Number of admissions.
    seed : SeedSequence
        Source of everything random.

    Returns
    -------
    DataFrame
        `count` rows with columns `patient` (number), `age` (years), `admitted` (days from the first day), `stay`
        (days), `bill` (USD), and the codes `condition`, `insurer`, `admission_type`, `medication`, `hospital` (-1
        where hospitals are scattered) and `result`.
    """
    courses, outcomes, order = (default_rng(child) for child in seed.spawn(3))
    frame = _courses(law, count, courses).iloc[order.permutation(count)].reset_index(drop=True)
    frame["hospital"] = _hospitals(law, count, outcomes)
    chances = result_chances(
        law.result, frame["age"].to_numpy(), frame["condition"].to_numpy(), frame["stay"].to_numpy()
    )
    frame["result"] = _pick(chances, outcomes)
    frame["bill"] = _bills(law, frame, outcomes)
    return frame


def _courses(law: DataGeneratingProcess, count: int, rng: Generator) -> pd.DataFrame:
    """Spawn readmissions of readmissions until none is left, then keep whole patients up to `count` admissions."""
    # As many patients as admissions are always enough; readmissions make the last patients superfluous.
    patients = np.arange(count)
    generation = pd.DataFrame(
        {
            "patient": patients,
            "years": rng.integers(AGES[0], AGES[1] + 1, count) + rng.random(count),
            "admitted": rng.integers(0, WINDOW, count),
        }
    )
    generations = []
    while len(generation):
        generation = _treat(law, generation, rng)
        generations.append(generation)
        generation = _readmit(law, generation, rng)
    courses = pd.concat(generations, ignore_index=True).sort_values("patient", kind="stable")
    kept: pd.DataFrame = courses.head(count).drop(columns="years")
    return kept


def _treat(law: DataGeneratingProcess, arrivals: pd.DataFrame, rng: Generator) -> pd.DataFrame:
    """Add what is decided on and after the admission, up to the length of stay."""
    count = len(arrivals)
    age = arrivals["years"].to_numpy().astype(np.int64)
    condition = _pick(law.condition[(age >= OLDER).astype(int)], rng)
    insurer = rng.integers(0, len(law.admission_type), count, dtype=np.int8)
    admission_type = _pick(law.admission_type[insurer], rng)
    medication = rng.integers(0, len(law.readmission), count, dtype=np.int8)
    mean = (
        CENTRE_STAY
        + law.stay.per_year * (age - CENTRE_AGE)
        + law.stay.condition[condition]
        + law.stay.admission_type[admission_type]
        + law.stay.medication[medication]
    )
    return arrivals.assign(
        age=age,
        condition=condition,
        insurer=insurer,
        admission_type=admission_type,
        medication=medication,
        stay=_stays(law, mean, rng),
    )


def _readmit(law: DataGeneratingProcess, treated: pd.DataFrame, rng: Generator) -> pd.DataFrame:
    """Return the next arrivals of those who come again inside the window: same patient, older by the days between."""
    again = rng.random(len(treated)) < law.readmission[treated["medication"]]
    wait = treated["stay"].to_numpy() + rng.integers(1, READMITTED_WITHIN + 1, len(treated))
    admitted = treated["admitted"].to_numpy() + wait
    arrive = again & (admitted < WINDOW)
    years = treated["years"].to_numpy() + wait / DAYS_PER_YEAR
    return pd.DataFrame(
        {"patient": treated["patient"].to_numpy()[arrive], "years": years[arrive], "admitted": admitted[arrive]}
    )


def _stays(law: DataGeneratingProcess, mean: Floats, rng: Generator) -> NDArray[np.int64]:
    share = (mean - 1) / (LONGEST_STAY - 1)
    chance = rng.beta(share * law.stay.concentration, (1 - share) * law.stay.concentration)
    return np.asarray(1 + rng.binomial(LONGEST_STAY - 1, chance), dtype=np.int64)


def _hospitals(law: DataGeneratingProcess, count: int, rng: Generator) -> NDArray[np.int32]:
    if not len(law.volume):
        return np.full(count, -1, dtype=np.int32)
    return np.searchsorted(np.cumsum(law.volume)[:-1], rng.random(count), side="right").astype(np.int32)


def _bills(law: DataGeneratingProcess, frame: pd.DataFrame, rng: Generator) -> Floats:
    bill = law.bill
    hospital = bill.hospital[frame["hospital"]] if len(bill.hospital) else 0.0
    noise = rng.uniform(-bill.half_width, bill.half_width, len(frame)) + rng.normal(0.0, bill.noise, len(frame))
    stay = bill.per_day * (frame["stay"].to_numpy() - CENTRE_STAY)
    return np.asarray(CENTRE_BILL + hospital + bill.insurer[frame["insurer"]] + stay + noise, dtype=np.float64)


def _pick(chances: Floats, rng: Generator) -> NDArray[np.int8]:
    """Draw one code for each row of chances."""
    passed = rng.random(len(chances))[:, None] > np.cumsum(chances[:, :-1], axis=1)
    return np.asarray(passed.sum(axis=1), dtype=np.int8)
