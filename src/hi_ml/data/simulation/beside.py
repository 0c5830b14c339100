"""What lies beside a simulated table: a survey of each hospital and what became of each admission, to be joined.

The chance of a complication falls with the quality of the hospital, which its survey measures with an error, and rises
with age: both by the scenario's multiple of a smallest effect, so that a world without effects has none here either.
"""

from datetime import timedelta

import numpy as np
import pyarrow as pa
from numpy.random import SeedSequence, default_rng

from hi_ml.data.simulation.process import CENTRE_AGE
from hi_ml.data.simulation.simulate import FIRST_DAY, Simulated

SMALLEST = 0.03  # share of complications that matters, of a standard deviation of quality, and of two decades of age
SHARE = 0.3  # of admissions with a complication, at mean age and quality
_LEAST, _MOST = 0.02, 0.98
_POINTS, _POINTS_A_SD, _ERROR = 70.0, 8.0, 2.0  # of the survey: mean, of a standard deviation of quality, of the error
_TWO_DECADES = 20.0
_STREAM = 7  # apart from those of the table, which keeps its cells
KEYS = ["Name", "Date of Admission"]


def survey(simulated: Simulated) -> pa.Table:
    """Return what patients of each hospital said in the year before the first admission, shape (n_hospitals, 4)."""
    names, rng = simulated.hospitals, default_rng(_seed(simulated, 1))
    points = _POINTS + _POINTS_A_SD * _quality(simulated) + rng.normal(0, _ERROR, len(names))
    day = FIRST_DAY - timedelta(days=90)
    return pa.table(
        {
            "Provider ID": pa.array([f"{number:06d}" for number in range(10_001, 10_001 + len(names))], pa.string()),
            "Facility": pa.array(names, pa.string()),
            "Survey Ended": pa.array([day] * len(names), pa.date32()),
            "Patient Survey": pa.array(np.round(points, 1)),
        }
    )


def outcomes(simulated: Simulated) -> pa.Table:
    """Return whether each admission, copies apart, had a complication, shape (n, 3); by name and day of admission."""
    admissions, rng = simulated.admissions, default_rng(_seed(simulated, 2))
    quality = np.append(_quality(simulated), 0.0)  # of a name of one admission alone
    house = admissions["hospital"].to_numpy() if simulated.hospitals else np.full(len(admissions), -1)
    size = simulated.process.effect * SMALLEST
    years = (admissions["age"].to_numpy() - CENTRE_AGE) / _TWO_DECADES
    chance = np.clip(SHARE - size * quality[house] + size * years, _LEAST, _MOST)
    complication = pa.array(np.where(rng.random(len(admissions)) < chance, "Yes", "No"))
    keys = simulated.table.slice(0, len(admissions)).select(KEYS)
    table = keys.append_column("Complication", complication)
    return (
        table.group_by(KEYS, use_threads=False)
        .aggregate([("Complication", "first")])
        .rename_columns([*KEYS, "Complication"])
    )


def facts(simulated: Simulated) -> dict[str, float]:
    """Return what is true of the two tables."""
    size = simulated.process.effect * SMALLEST
    return {
        "share": SHARE,
        "share_per_survey_point": -size / _POINTS_A_SD if simulated.hospitals else 0.0,
        "share_per_year_of_age": size / _TWO_DECADES,
        "survey_error_sd": _ERROR,
    }


def _quality(simulated: Simulated) -> np.ndarray:
    return default_rng(_seed(simulated, 0)).normal(size=len(simulated.hospitals))


def _seed(simulated: Simulated, stream: int) -> SeedSequence:
    return SeedSequence(simulated.seed, spawn_key=(_STREAM, stream))
