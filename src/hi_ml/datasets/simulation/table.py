"""How admissions are written down as the fifteen columns, and which rows are written twice."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from hi_ml.datasets.simulation.names import draw_people, scatter_hospitals, scramble_case, write_people
from hi_ml.datasets.simulation.vocabulary import (
    ADMISSION_TYPES,
    BLOOD_TYPES,
    CONDITIONS,
    GENDERS,
    INSURERS,
    MEDICATIONS,
    TEST_RESULTS,
)

FIRST_DAY = date(2019, 5, 8)
ROOMS = (101, 500)
"""Lowest and highest room number."""
AGE_OFFSETS = (-5, 4)
"""Smallest and largest change of Age in a copy, in years."""


def write_table(admissions: pd.DataFrame, hospitals: tuple[str, ...], seed: SeedSequence) -> pa.Table:
    """Write admissions as the fifteen columns, under their source names and in their order.

    Parameters
    ----------
    admissions : DataFrame
        As `draw_admissions` returns it.
    hospitals : tuple of str
        Names of the hospital codes. If empty, each row gets a scattered name of its own.
    seed : SeedSequence
        Source of names, gender, blood type, doctor and room, which have no effect on anything.

    Returns
    -------
    Table
        One row per admission: strings, int64, double and date32.
    """
    people, case, doctors, places, rooms = (default_rng(child) for child in seed.spawn(5))
    count = len(admissions)
    names, genders, blood_types = _people(admissions["patient"].to_numpy(), people)
    admitted = np.datetime64(FIRST_DAY) + admissions["admitted"].to_numpy().astype("timedelta64[D]")
    discharged = admitted + admissions["stay"].to_numpy().astype("timedelta64[D]")
    return pa.table(
        {
            "Name": scramble_case(names, case),
            "Age": pa.array(admissions["age"].to_numpy(), pa.int64()),
            "Gender": genders,
            "Blood Type": blood_types,
            "Medical Condition": _words(CONDITIONS, admissions["condition"]),
            "Date of Admission": pa.array(admitted, pa.date32()),
            "Doctor": write_people(*draw_people(count, doctors)),
            "Hospital": _words(hospitals, admissions["hospital"]) if hospitals else scatter_hospitals(count, places),
            "Insurance Provider": _words(INSURERS, admissions["insurer"]),
            "Billing Amount": pa.array(admissions["bill"].to_numpy(), pa.float64()),
            "Room Number": pa.array(rooms.integers(ROOMS[0], ROOMS[1] + 1, count), pa.int64()),
            "Admission Type": _words(ADMISSION_TYPES, admissions["admission_type"]),
            "Discharge Date": pa.array(discharged, pa.date32()),
            "Medication": _words(MEDICATIONS, admissions["medication"]),
            "Test Results": _words(TEST_RESULTS, admissions["result"]),
        }
    )


def append_copies(originals: pa.Table, count: int, rng: Generator) -> tuple[pa.Table, NDArray[np.int64]]:
    """Append copies of random rows, no row copied twice, equal to them but for Age.

    Parameters
    ----------
    originals : Table
        The rows to copy from, at least `count`.
    count : int
        Number of copies.
    rng : Generator
        Draws the rows, and the change of age: -5 to 4 years, so that a tenth of the copies is exact.

    Returns
    -------
    table : Table
        The originals and, after them, the copies.
    original : ndarray of int64, shape (rows,)
        Index of the row that each row copies; of the row itself where it is an original.
    """
    copied = rng.permutation(len(originals))[:count]
    age = originals["Age"].to_numpy()[copied] + rng.integers(AGE_OFFSETS[0], AGE_OFFSETS[1] + 1, count)
    position = originals.column_names.index("Age")
    copies = originals.take(pa.array(copied)).set_column(position, "Age", pa.array(age, pa.int64()))
    table = pa.concat_tables([originals, copies]).combine_chunks()
    return table, np.concatenate([np.arange(len(originals)), copied])


def _people(patient: NDArray[np.int64], rng: Generator) -> tuple[pa.StringArray, pa.StringArray, pa.StringArray]:
    """Write name, gender and blood type: the same at every admission of a patient."""
    patients = int(patient.max()) + 1
    first, last = draw_people(patients, rng)
    gender, blood_type = rng.integers(0, len(GENDERS), patients), rng.integers(0, len(BLOOD_TYPES), patients)
    names = write_people(first[patient], last[patient])
    return names, _words(GENDERS, gender[patient]), _words(BLOOD_TYPES, blood_type[patient])


def _words(words: tuple[str, ...], codes: NDArray[np.integer] | pd.Series) -> pa.StringArray:
    return pa.array(words, pa.string()).take(pa.array(np.asarray(codes)))
