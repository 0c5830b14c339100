"""Who is admitted, when and with what, and what comes of it."""

import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from hi_ml.data.simulation.process import AGES, LONGEST_STAY, OLDER, DataGeneratingProcess
from hi_ml.statistics.estimates import Floats

WINDOW = 1_827
"""Days on which patients are admitted: five years with two leap days."""
READMITTED_WITHIN = 30
"""Days from a discharge to the next admission of the same patient, at most."""
DAYS_PER_YEAR = 365.25


def draw_admissions(process: DataGeneratingProcess, count: int, seed: SeedSequence) -> pd.DataFrame:
    """Draw admissions in random order, later admissions of the same patients among them.

    Parameters
    ----------
    count : int
        How many.
    seed : SeedSequence
        Source of everything random.

    Returns
    -------
    DataFrame
        `count` rows with columns `patient` (number), `age` (years), `admitted` (days from the first day), `stay`
        (days), `bill` (USD), and the codes `condition`, `insurer`, `admission_type`, `medication`, `hospital` (-1
        where hospitals are scattered) and `result`; `typed`, whether somebody wrote the admission type down.
    """
    courses, outcomes, order, writing = (default_rng(child) for child in seed.spawn(4))
    frame = _courses(process, count, courses).iloc[order.permutation(count)].reset_index(drop=True)
    frame["hospital"] = _hospitals(process, count, outcomes)
    age, condition, stay = (frame[column].to_numpy() for column in ("age", "condition", "stay"))
    frame["result"] = _pick(process.result.chances(age, condition, stay), outcomes)
    frame["bill"] = _bills(process, frame, outcomes)
    frame["typed"] = writing.random(count) >= process.untyped[condition]
    return frame


def _courses(process: DataGeneratingProcess, count: int, rng: Generator) -> pd.DataFrame:
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
        generation = _treat(process, generation, rng)
        generations.append(generation)
        generation = _readmit(process, generation, rng)
    courses = pd.concat(generations, ignore_index=True).sort_values("patient", kind="stable")
    first: pd.DataFrame = courses.head(count).drop(columns="years")
    return first


def _treat(process: DataGeneratingProcess, arrivals: pd.DataFrame, rng: Generator) -> pd.DataFrame:
    """Add what is decided on and after the admission, up to the length of stay."""
    count = len(arrivals)
    age = arrivals["years"].to_numpy().astype(np.int64)
    condition = _pick(process.condition[(age >= OLDER).astype(int)], rng)
    insurer = rng.integers(0, len(process.admission_type), count, dtype=np.int8)
    admission_type = _pick(process.admission_type[insurer], rng)
    medication = rng.integers(0, len(process.readmission), count, dtype=np.int8)
    stay = _stays(process, process.stay.mean(age, condition, admission_type, medication), rng)
    return arrivals.assign(
        age=age, condition=condition, insurer=insurer, admission_type=admission_type, medication=medication, stay=stay
    )


def _readmit(process: DataGeneratingProcess, treated: pd.DataFrame, rng: Generator) -> pd.DataFrame:
    """Return the next arrivals of those who come again inside the window: same patient, older by the days between."""
    again = rng.random(len(treated)) < process.readmission[treated["medication"]]
    wait = treated["stay"].to_numpy() + rng.integers(1, READMITTED_WITHIN + 1, len(treated))
    admitted = treated["admitted"].to_numpy() + wait
    arrive = again & (admitted < WINDOW)
    years = treated["years"].to_numpy() + wait / DAYS_PER_YEAR
    return pd.DataFrame(
        {"patient": treated["patient"].to_numpy()[arrive], "years": years[arrive], "admitted": admitted[arrive]}
    )


def _stays(process: DataGeneratingProcess, mean: Floats, rng: Generator) -> NDArray[np.int64]:
    share = (mean - 1) / (LONGEST_STAY - 1)
    chance = rng.beta(share * process.stay.concentration, (1 - share) * process.stay.concentration)
    return np.asarray(1 + rng.binomial(LONGEST_STAY - 1, chance), dtype=np.int64)


def _hospitals(process: DataGeneratingProcess, count: int, rng: Generator) -> NDArray[np.int32]:
    if not len(process.volume):
        return np.full(count, -1, dtype=np.int32)
    return np.searchsorted(np.cumsum(process.volume)[:-1], rng.random(count), side="right").astype(np.int32)


def _bills(process: DataGeneratingProcess, frame: pd.DataFrame, rng: Generator) -> Floats:
    hospital, insurer, stay = (frame[column].to_numpy() for column in ("hospital", "insurer", "stay"))
    if heavy := process.heavy:
        age, condition = (frame[column].to_numpy() for column in ("age", "condition"))
        return np.exp(heavy.log_mean(age, condition, stay) + rng.normal(0.0, heavy.noise, len(frame)))
    width, sd = process.bill.half_width, process.bill.noise
    noise = rng.uniform(-width, width, len(frame)) + rng.normal(0.0, sd, len(frame))
    return np.asarray(process.bill.mean(hospital, insurer, stay) + noise, dtype=np.float64)


def _pick(chances: Floats, rng: Generator) -> NDArray[np.int8]:
    """Draw one code for each row of chances."""
    passed = rng.random(len(chances))[:, None] > np.cumsum(chances[:, :-1], axis=1)
    return np.asarray(passed.sum(axis=1), dtype=np.int8)
