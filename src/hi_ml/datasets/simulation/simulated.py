"""A table simulated from arguments, and everything that decided it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.random import SeedSequence, default_rng
from numpy.typing import NDArray

from hi_ml.datasets.simulation.admissions import draw_admissions
from hi_ml.datasets.simulation.law import Law, noise_law
from hi_ml.datasets.simulation.names import MOST_HOSPITALS, hospital_names
from hi_ml.datasets.simulation.planted import planted_law
from hi_ml.datasets.simulation.table import append_copies, write_table

SCENARIOS = ("planted", "noise")
HOSPITALS = 200
"""Hospitals of the planted scenario, unless told otherwise."""
LARGEST_EFFECT = 5.0
"""Beyond five smallest effects of interest, expected stays come close to 1 and to 30 days."""
COPIES = 5_500 / 55_500
"""Share of the rows, the last ones, that copy an earlier row in all but Age: as in the Kaggle table."""


@dataclass(frozen=True)
class Simulated:
    """A table and everything that decided it.

    Attributes
    ----------
    table : Table
        The fifteen columns under their source names: strings, int64, double and date32.
    original : ndarray of int64, shape (rows,)
        Index of the row that each row copies; of the row itself where it is an original.
    patient : ndarray of int64, shape (rows,)
        Number of the true patient.
    admissions : DataFrame
        Codes and numbers of the originals, which are the first rows of the table: see `draw_admissions`.
    hospitals : tuple of str
        Name of each hospital code; empty where names are scattered at random.
    law : Law
        What all was drawn from.
    seed : int
        What all was drawn with.
    """

    table: pa.Table
    original: NDArray[np.int64]
    patient: NDArray[np.int64]
    admissions: pd.DataFrame
    hospitals: tuple[str, ...]
    law: Law
    seed: int


def simulate(
    scenario: str = "planted", rows: int = 55_500, *, seed: int = 0, effect: float = 2.0, hospitals: int | None = None
) -> Simulated:
    """Simulate a table of hospital admissions whose truth is known.

    Parameters
    ----------
    scenario : {"planted", "noise"}
        `planted`: all five claims hold. `noise`: the Kaggle table's margins and quirks, and no relation at all.
    rows : int
        Rows of the table, readmissions and near-copies included. At least 1.
    seed : int
        Source of everything random, hospital effects included: another seed is another world.
    effect : float
        Size of the planted effects in units of the smallest effect of interest, 0 to 5. Unused in noise.
    hospitals : int, optional
        Number of hospitals of the planted scenario, 200 if not given.

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
    law = noise_law() if scenario == "noise" else planted_law(effect, number, default_rng(effects))
    names = tuple(hospital_names(number, default_rng(naming)))
    copies = round(rows * COPIES)
    admissions = draw_admissions(law, rows - copies, admitting)
    table, original = append_copies(write_table(admissions, names, writing), copies, default_rng(copying))
    return Simulated(table, original, admissions["patient"].to_numpy()[original], admissions, names, law, seed)


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
