"""How an outcome is distributed, given the columns it depends on.

Stays depend on age, condition, admission type and medication, test results on age, condition and stay. So few
combinations exist that every distribution is one table over all of them: axes `age, condition, admission_type,
medication` and then days or classes.

The coefficients that make all five claims true, each at a chosen multiple of its smallest effect of interest.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln, softmax

from hi_ml.data.simulation.process import (
    AGES,
    CENTRE_AGE,
    CENTRE_BILL,
    CENTRE_STAY,
    LONGEST_STAY,
    OLDER,
    BillLaw,
    DataGeneratingProcess,
    Floats,
    ResultLaw,
    StayLaw,
)
from hi_ml.data.simulation.vocabulary import ADMISSION_TYPES, ADVANCED_MEDICATIONS, CONDITIONS, MEDICATIONS

DAYS = np.arange(1, LONGEST_STAY + 1)
"""Every possible length of stay, in days."""


def mean_stay(stay: StayLaw, ages: NDArray[np.integer]) -> Floats:
    """Return the mean stay in days, shape (ages, 6, 3, 5), for each age in years, condition, type and medication."""
    age = stay.per_year * (np.asarray(ages) - CENTRE_AGE)
    return np.asarray(
        CENTRE_STAY
        + age[:, None, None, None]
        + stay.condition[:, None, None]
        + stay.admission_type[:, None]
        + stay.medication,
        dtype=np.float64,
    )


def stay_variance(stay: StayLaw, mean: Floats) -> Floats:
    """Return the variance of stays in days^2, 29 q (1 - q) (s + 29) / (s + 1), for each mean in days."""
    trials, share = LONGEST_STAY - 1, (mean - 1) / (LONGEST_STAY - 1)
    return trials * share * (1 - share) * (stay.concentration + trials) / (stay.concentration + 1)


def stay_chances(stay: StayLaw, mean: Floats) -> Floats:
    """Return the chances of 1 to 30 days, shape (..., 30), for each mean in days."""
    trials, drawn = LONGEST_STAY - 1, DAYS - 1
    yes = (np.asarray(mean)[..., None] - 1) / trials * stay.concentration
    no = stay.concentration - yes
    choose = gammaln(trials + 1) - gammaln(drawn + 1) - gammaln(trials - drawn + 1)
    return np.asarray(np.exp(choose + betaln(drawn + yes, trials - drawn + no) - betaln(yes, no)), dtype=np.float64)


def result_chances(
    result: ResultLaw, age: NDArray[np.integer], condition: NDArray[np.integer], stay: NDArray[np.integer]
) -> Floats:
    """Return the chances of the three classes, shape (..., 3), for ages, condition codes and stays that broadcast."""
    logits = (
        result.intercept
        + result.per_year * (np.asarray(age)[..., None] - CENTRE_AGE)
        + result.condition[condition]
        + result.per_day * (np.asarray(stay)[..., None] - CENTRE_STAY)
    )
    return np.asarray(softmax(logits, axis=-1), dtype=np.float64)


def result_table(law: DataGeneratingProcess, ages: NDArray[np.integer]) -> Floats:
    """Return the chances of the classes for every age, condition and stay, shape (ages, 6, 30, 3)."""
    conditions = np.arange(len(law.result.condition))
    return result_chances(law.result, np.asarray(ages)[:, None, None], conditions[:, None], DAYS)


# The smallest effects of interest, as the findings define them.
SHARE_GAP = 0.03
"""Hypertension and Diabetes: share of admissions from 50 years on less the share before."""
BILL_GAP = 0.10
"""Mean absolute difference of two random hospitals, as a share of the mean bill."""
COHEN = 0.05
"""Cohen's f of bills by insurer; Cohen's w of admission type by insurer."""
STAY_GAP = 1.0
"""Days: Emergency less the other types; other medications less the advanced ones."""
READMISSION_GAP = 0.02
"""Share of discharges: other medications less the advanced ones."""

ADVANCED_READMISSION = 0.10
_ADVANCED = np.isin(MEDICATIONS, ADVANCED_MEDICATIONS)
# Contrasts over the five insurers and three types, scaled below. Emergency has none: an insurer with more emergencies
# would have longer stays and so larger bills, and the effects would no longer hold in the margin.
_INSURER_BILLS = np.array([-2.0, 1.0, 0.0, -1.0, 2.0])
_INSURER_TYPES = np.array([1.0, -2.0, 0.0, 2.0, -1.0])
_TYPES = np.array([1.0, 0.0, -1.0])


def planted_law(effect: float, hospitals: int, rng: np.random.Generator) -> DataGeneratingProcess:
    """Return the law in which every claim holds at `effect` times its smallest effect of interest.

    Nothing but outcomes depends on the medication, and the insurer moves patients between Elective and Urgent only;
    so each effect holds in the margin, as the findings estimate it, and not merely given the other columns.

    Parameters
    ----------
    effect : float
        Multiple of the smallest effects of interest.
    hospitals : int
        Number of hospitals.
    rng : Generator
        Draws the hospital effects, N(0, sd^2), and which hospitals are large.

    Returns
    -------
    Law
    """
    # Two draws of N(0, sd^2) differ by 2 sd / sqrt(pi) in the mean.
    hospital_sd = effect * BILL_GAP * CENTRE_BILL * np.sqrt(np.pi) / 2
    law = DataGeneratingProcess(
        scenario="planted",
        effect=effect,
        condition=_conditions(effect),
        admission_type=_admission_types(effect),
        readmission=np.where(_ADVANCED, ADVANCED_READMISSION, ADVANCED_READMISSION + READMISSION_GAP * effect),
        volume=_volumes(hospitals, rng),
        stay=_stay(effect),
        bill=BillLaw(hospital_sd, rng.normal(0.0, hospital_sd, hospitals), np.zeros(5), 300.0, 0.0, 8_000.0),
        result=_result(),
    )
    insurer = COHEN * effect * _within_insurer_sd(law) * _standard(_INSURER_BILLS)
    return replace(law, bill=replace(law.bill, insurer=insurer))


def claims(effect: float) -> dict[str, dict[str, float]]:
    """Return the true size of what each finding estimates, by finding: shares, days, Cohen's f and w."""
    return {
        "age_condition": {"hypertension_share_gap": SHARE_GAP * effect, "diabetes_share_gap": SHARE_GAP * effect},
        "billing_variation": {"hospital_gap_share_of_mean": BILL_GAP * effect, "insurer_cohen_f": COHEN * effect},
        "emergency_stay": {"emergency_extra_days": STAY_GAP * effect},
        "medication_recovery": {
            "other_extra_days": STAY_GAP * effect,
            "other_extra_readmission_share": READMISSION_GAP * effect,
        },
        "insurance_access": {"admission_type_cohen_w": COHEN * effect},
    }


def _standard(contrast: Floats) -> Floats:
    return np.asarray(contrast / np.sqrt((contrast**2).mean()), dtype=np.float64)


def _conditions(effect: float) -> Floats:
    """Older patients have more Hypertension and Diabetes, and half as much less of each of the other four."""
    gains = np.isin(CONDITIONS, ("Diabetes", "Hypertension"))
    gap = SHARE_GAP * effect * np.where(gains, 1.0, -0.5)
    return np.asarray(1 / len(CONDITIONS) + np.array([[-0.5], [0.5]]) * gap, dtype=np.float64)


def _admission_types(effect: float) -> Floats:
    """Shares 1/3 + k a b, where a has mean square 1 and b sum of squares 1, so that w^2 = 3 k^2; margins are equal."""
    types = _TYPES / np.sqrt((_TYPES**2).sum())
    scale = COHEN * effect / np.sqrt(len(ADMISSION_TYPES))
    return np.asarray(1 / len(ADMISSION_TYPES) + scale * _standard(_INSURER_TYPES)[:, None] * types, dtype=np.float64)


def _volumes(hospitals: int, rng: np.random.Generator) -> Floats:
    # The largest hospital has three times the admissions of the smallest, so that a funnel plot has a shape.
    volumes = rng.permutation(np.linspace(0.5, 1.5, hospitals))
    return np.asarray(volumes / volumes.sum(), dtype=np.float64)


def _stay(effect: float) -> StayLaw:
    gap = STAY_GAP * effect
    emergency = np.array([kind == "Emergency" for kind in ADMISSION_TYPES])
    return StayLaw(
        concentration=8.0,
        per_year=0.11,
        condition=np.array([-1.5, -2.0, 2.5, 0.5, -0.5, 1.0]),
        # Centred, so that the mean stay is 15.5 days at any effect.
        admission_type=gap * (emergency - emergency.mean()),
        medication=gap * (_ADVANCED.mean() - _ADVANCED),
    )


def _result() -> ResultLaw:
    # Of two classes each condition favours one and disfavours the other; years and days favour Abnormal over Normal.
    favours = np.array([[-1, 1, 0], [0, -1, 1], [1, 0, -1], [1, -1, 0], [0, 1, -1], [-1, 0, 1]])
    slope = np.array([1.0, 0.0, -1.0])
    return ResultLaw(intercept=np.zeros(3), per_year=0.015 * slope, condition=0.6 * favours, per_day=0.05 * slope)


def _within_insurer_sd(law: DataGeneratingProcess) -> float:
    """Return the standard deviation of bills inside an insurer: the same for all, for stays do not depend on it."""
    ages = np.arange(AGES[0], AGES[1] + 1)
    means = mean_stay(law.stay, ages)
    shares = law.condition[(ages >= OLDER).astype(int)][:, :, None, None] * np.ones_like(means)
    mean = np.average(means, weights=shares)
    stays = np.average(stay_variance(law.stay, means) + (means - mean) ** 2, weights=shares)
    return float(np.sqrt(law.bill.noise**2 + law.bill.hospital_sd**2 + law.bill.per_day**2 * stays))
