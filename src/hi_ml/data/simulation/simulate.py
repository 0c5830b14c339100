"""A table simulated from arguments: admissions written down as fifteen columns, some of them twice."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from hi_ml.data.simulation.admissions import draw_admissions
from hi_ml.data.simulation.process import (
    DataGeneratingProcess,
    interactions_process,
    noise_process,
    planted_process,
)
from hi_ml.data.simulation.vocabulary import (
    ADMISSION_TYPES,
    BLOOD_TYPES,
    CONDITIONS,
    GENDERS,
    INSURERS,
    MEDICATIONS,
    MOST_HOSPITALS,
    TEST_RESULTS,
    draw_people,
    hospital_names,
    scatter_hospitals,
    scramble_case,
    write_people,
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
    admissions : DataFrame, shape (n, n_columns)
        As `draw_admissions` returns it.
    hospitals : tuple of str
        Names of the hospital codes. If empty, each row gets a scattered name of its own.
    seed : SeedSequence
        Source of names, gender, blood type, doctor and room, which have no effect on anything.

    Returns
    -------
    pyarrow.Table, shape (n, 15)
        Strings, int64, double and date32.
    """
    people, case, doctors, houses, rooms = (default_rng(child) for child in seed.spawn(5))
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
            "Hospital": _words(hospitals, admissions["hospital"]) if hospitals else scatter_hospitals(count, houses),
            "Insurance Provider": _words(INSURERS, admissions["insurer"]),
            "Billing Amount": pa.array(admissions["bill"].to_numpy(), pa.float64()),
            "Room Number": pa.array(rooms.integers(ROOMS[0], ROOMS[1] + 1, count), pa.int64()),
            "Admission Type": _words(ADMISSION_TYPES, admissions["admission_type"], missing=~admissions["typed"]),
            "Discharge Date": pa.array(discharged, pa.date32()),
            "Medication": _words(MEDICATIONS, admissions["medication"]),
            "Test Results": _words(TEST_RESULTS, admissions["result"]),
        }
    )


def append_copies(originals: pa.Table, count: int, rng: Generator) -> tuple[pa.Table, NDArray[np.int64]]:
    """Append copies of random rows, no row copied twice, equal to them but for Age.

    Parameters
    ----------
    originals : pyarrow.Table
        The rows to copy from, at least `count`.
    rng : Generator
        Draws the rows, and the change of age: -5 to 4 years, so that a tenth of the copies is exact.

    Returns
    -------
    table : pyarrow.Table
        The originals and, after them, the copies.
    original : array of int64, shape (rows,)
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


def _words(
    words: tuple[str, ...], codes: NDArray[np.integer] | pd.Series, missing: "pd.Series[bool] | None" = None
) -> pa.StringArray:
    mask = None if missing is None else missing.to_numpy()
    return pa.array(words, pa.string()).take(pa.array(np.asarray(codes), mask=mask))


SCENARIOS = ("interactions", "planted", "noise")
HOSPITALS = 200
"""Hospitals of the scenarios that have some, unless told otherwise."""
LARGEST_EFFECT = 5.0
"""Beyond five smallest effects of interest, expected stays come close to 1 and to 30 days."""
COPIES = 5_500 / 55_500
"""Share of the rows, the last ones, that copy an earlier row in all but Age: as in the Kaggle table."""


@dataclass(frozen=True)
class Simulated:
    """A table and everything that decided it."""

    table: pa.Table  # the fifteen columns under their source names: strings, int64, double and date32
    # int64, shape (rows,); index of the row that each row copies; of the row itself where it is an original
    original: NDArray[np.int64]
    patient: NDArray[np.int64]  # int64, shape (rows,); number of the true patient
    # codes and numbers of the originals, which are the first rows of the table: see `draw_admissions`
    admissions: pd.DataFrame
    hospitals: tuple[str, ...]  # name of each hospital code; empty where names are scattered at random
    process: DataGeneratingProcess  # what all was drawn from
    seed: int  # what all was drawn with


def simulate(
    scenario: str = "planted", rows: int = 55_500, *, seed: int = 0, effect: float = 2.0, hospitals: int | None = None
) -> Simulated:
    """Simulate a table of hospital admissions whose truth is known.

    Parameters
    ----------
    scenario : {"planted", "noise", "interactions"}
        `planted`: all five claims hold. `noise`: the Kaggle table's margins and quirks, and no relation at all.
        `interactions`: no claim holds; outcomes depend on columns together, with thresholds, bills have a heavy tail,
        and some admission types are missing.
    rows : int
        Rows of the table, readmissions and near-copies included. At least 1.
    seed : int
        Source of everything random, hospital effects included: another seed is another world.
    effect : float
        Size of the planted effects in units of the smallest effect of interest, 0 to 5. Used where they are planted.
    hospitals : int, optional
        Number of hospitals, 200 if not given; noise has none.

    Returns
    -------
    Simulated
        Equal for equal arguments.

    Raises
    ------
    ValueError
        If an argument is outside its range, or `hospitals` is given for noise.

    Examples
    --------
    A tenth of the rows, at the end, are copies of others:

    >>> simulated = simulate("noise", 30, seed=1)
    >>> simulated.table.shape
    (30, 15)
    >>> int((simulated.original != range(30)).sum())
    3
    """
    _check(scenario, rows, seed, effect)
    number = _number_of_hospitals(scenario, hospitals)
    effects, naming, admitting, writing, copying = SeedSequence(seed).spawn(5)
    drawn: dict[str, Callable[[], DataGeneratingProcess]] = {
        "planted": lambda: planted_process(effect, number, default_rng(effects)),
        "noise": noise_process,
        "interactions": lambda: interactions_process(number, default_rng(effects)),
    }
    process = drawn[scenario]()
    names = tuple(hospital_names(number, default_rng(naming)))
    copies = round(rows * COPIES)
    admissions = draw_admissions(process, rows - copies, admitting)
    table, original = append_copies(write_table(admissions, names, writing), copies, default_rng(copying))
    return Simulated(table, original, admissions["patient"].to_numpy()[original], admissions, names, process, seed)


def _check(scenario: str, rows: int, seed: int, effect: float) -> None:
    if scenario not in SCENARIOS:
        raise ValueError(f"Scenario must be one of {', '.join(SCENARIOS)}; found {scenario!r}. Choose one of them.")
    if rows < 1:
        raise ValueError(f"The number of rows must be at least 1; found {rows}. Ask for at least one row.")
    if seed < 0:
        raise ValueError(f"The seed must be 0 or larger; found {seed}. Choose a seed without a minus sign.")
    if not 0 <= effect <= LARGEST_EFFECT:
        raise ValueError(
            f"The effect must lie between 0 and {LARGEST_EFFECT:g} smallest effects of interest; found {effect}. "
            "Choose one in that range."
        )


def _number_of_hospitals(scenario: str, hospitals: int | None) -> int:
    if scenario == "noise":
        if hospitals is not None:
            raise ValueError(
                f"The noise scenario scatters hospital names and takes no number of hospitals; found {hospitals}. "
                "Leave hospitals out, or choose scenario planted."
            )
        return 0
    number = HOSPITALS if hospitals is None else hospitals
    if not 1 <= number <= MOST_HOSPITALS:
        raise ValueError(f"Hospitals must number 1 to {MOST_HOSPITALS}; found {number}. Choose a number in between.")
    return number
