"""How an outcome is distributed, given the columns it depends on.

Stays depend on age, condition, admission type and medication, test results on age, condition and stay. So few
combinations exist that every distribution is one table over all of them: axes `age, condition, admission_type,
medication` and then days or classes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln, softmax

from hi_ml.datasets.simulation.law import CENTRE_AGE, CENTRE_STAY, LONGEST_STAY, Floats, Law, ResultLaw, StayLaw

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


def result_table(law: Law, ages: NDArray[np.integer]) -> Floats:
    """Return the chances of the classes for every age, condition and stay, shape (ages, 6, 30, 3)."""
    conditions = np.arange(len(law.result.condition))
    return result_chances(law.result, np.asarray(ages)[:, None, None], conditions[:, None], DAYS)
