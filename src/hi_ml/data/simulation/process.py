"""What decides a simulated admission: every probability and coefficient, each world's in its own values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AGES = (18, 85)
"""Youngest and oldest age at the first admission, in years."""
CENTRE_AGE = (AGES[0] + AGES[1]) / 2
OLDER = 50
"""Age, in years, from which a patient counts as older."""
LONGEST_STAY = 30
CENTRE_STAY = (1 + LONGEST_STAY) / 2
"""Mean length of stay, in days, of every world."""
CENTRE_BILL = 25_500.0
"""Mean bill, in USD, of every world: the centre of 1,000 and 50,000."""


@dataclass(frozen=True)
class StayLaw:
    """Length of stay in days: 1 + BetaBinomial(29, q s, (1 - q) s), its mean 15.5 plus one term for each column."""

    concentration: float  # the s above
    per_year: float  # days for each year of age over 51.5
    condition: Floats  # ndarray, shapes (6,), (3,), (5,); days for each level, in the order of the vocabulary
    admission_type: Floats
    medication: Floats


@dataclass(frozen=True)
class BillLaw:
    """Bill in USD: 25,500 + hospital + insurer + per_day (stay - 15.5) + U(-half_width, half_width) + N(0, noise^2)."""

    hospital_sd: float  # standard deviation of the law that the hospital effects are drawn from
    hospital: Floats  # ndarray, shapes (hospitals,), (5,); uSD for each level
    insurer: Floats
    per_day: float  # USD
    half_width: float  # USD
    noise: float  # USD


@dataclass(frozen=True)
class ResultLaw:
    """Test result: softmax of intercept + per_year (age - 51.5) + condition + per_day (stay - 15.5)."""

    intercept: Floats  # ndarray, shape (3,); log-odds for each class
    per_year: Floats
    condition: Floats  # ndarray, shape (6, 3); log-odds for each condition and class
    per_day: Floats


@dataclass(frozen=True)
class DataGeneratingProcess:
    """The whole law of one admission."""

    scenario: str  # `planted` or `noise`
    effect: float  # planted effects in units of the smallest effect of interest; 0 in noise
    condition: Floats  # ndarray, shape (2, 6); shares of the conditions before and from 50 years
    admission_type: Floats  # ndarray, shape (5, 3); shares of the admission types of each insurer
    # ndarray, shape (5,); chance, by medication, that the patient is admitted again within 30 days of the
    # discharge
    readmission: Floats
    # ndarray, shape (hospitals,); share of the admissions that each hospital has; empty where hospital names
    # are scattered at random
    volume: Floats
    stay: StayLaw
    bill: BillLaw
    result: ResultLaw


def noise_law() -> DataGeneratingProcess:
    """Return the law under which no column tells anything of another, fitted to the margins of the Kaggle table."""
    # s = 2 and q = 1/2 make the beta-binomial uniform on 1 to 30; the bill is U(1000, 50000) + N(0, 1000^2).
    return DataGeneratingProcess(
        scenario="noise",
        effect=0.0,
        condition=np.full((2, 6), 1 / 6),
        admission_type=np.full((5, 3), 1 / 3),
        readmission=np.zeros(5),
        volume=np.zeros(0),
        stay=StayLaw(2.0, 0.0, np.zeros(6), np.zeros(3), np.zeros(5)),
        bill=BillLaw(0.0, np.zeros(0), np.zeros(5), 0.0, 24_500.0, 1_000.0),
        result=ResultLaw(np.zeros(3), np.zeros(3), np.zeros((6, 3)), np.zeros(3)),
    )
