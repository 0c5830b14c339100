"""What decides a simulated admission: every probability and coefficient of a world.

In the world of noise no column tells anything of another. In the planted one all five claims are true, each at a chosen
multiple of its smallest effect of interest. In the one of interactions no claim is true, and what a column does turns
with others: a line through it sees little.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln, softmax

from hi_ml.data.simulation.vocabulary import ADMISSION_TYPES, ADVANCED_MEDICATIONS, CONDITIONS, MEDICATIONS
from hi_ml.statistics.estimates import Floats

Codes = NDArray[np.integer]

AGES = (18, 85)
"""Youngest and oldest age at the first admission, in years."""
CENTRE_AGE = (AGES[0] + AGES[1]) / 2
OLDER = 50
"""Age, in years, from which a patient counts as older."""
TURN = 60
"""Age, in years, from which conditions act the other way round in the world of interactions."""
LONGEST_STAY = 30
DAYS = np.arange(1, LONGEST_STAY + 1)
"""Every possible length of stay, in days."""
CENTRE_STAY = (1 + LONGEST_STAY) / 2
"""Mean length of stay, in days, of every world."""
HEAVY_SPREAD = 0.8
"""Standard deviation of the logarithms of heavy-tailed bills, of those of one kind."""
CENTRE_BILL = 25_500.0
"""Mean bill, in USD, of every world: the centre of 1,000 and 50,000."""


@dataclass(frozen=True)
class StayDistribution:
    """Length of stay in days: 1 + BetaBinomial(29, q s, (1 - q) s), its mean 15.5 plus one term for each column.

    And one for what condition and admission type do together, before and from 60 years.
    """

    concentration: float  # the s above
    per_year: float  # days for each year of age over 51.5
    condition: Floats  # shapes (6,), (3,), (5,); days for each level, in the order of the vocabulary
    admission_type: Floats
    medication: Floats
    # shape (2, 6, 3); days before and from 60 years, for each condition and admission type
    together: Floats = field(default_factory=lambda: np.zeros((2, 6, 3)))

    def mean(self, age: Codes, condition: Codes, admission_type: Codes, medication: Codes) -> Floats:
        """Return the mean stay in days, for ages in years and codes that broadcast."""
        return np.asarray(
            CENTRE_STAY
            + self.per_year * (age - CENTRE_AGE)
            + self.condition[condition]
            + self.admission_type[admission_type]
            + self.medication[medication]
            + self.together[_turned(age), condition, admission_type],
            dtype=np.float64,
        )

    def mean_of_all(self, ages: Codes) -> Floats:
        """Return the mean stay in days for every age given, condition, type and medication, shape (ages, 6, 3, 5)."""
        levels = map(len, (ages, self.condition, self.admission_type, self.medication))
        axes = np.ogrid[tuple(slice(count) for count in levels)]
        return self.mean(ages[axes[0]], *axes[1:])

    def variance(self, mean: Floats) -> Floats:
        """Return the variance of stays in days^2, 29 q (1 - q) (s + 29) / (s + 1), for each mean in days."""
        trials, share = LONGEST_STAY - 1, (mean - 1) / (LONGEST_STAY - 1)
        return trials * share * (1 - share) * (self.concentration + trials) / (self.concentration + 1)

    def chances(self, mean: Floats) -> Floats:
        """Return the chances of 1 to 30 days, shape (..., 30), for each mean in days."""
        # scipy.stats.betabinom.pmf agrees to 14 digits; with these formulas the truth of old tables stays to the bit
        trials, drawn = LONGEST_STAY - 1, DAYS - 1
        yes = (np.asarray(mean)[..., None] - 1) / trials * self.concentration
        no = self.concentration - yes
        choose = gammaln(trials + 1) - gammaln(drawn + 1) - gammaln(trials - drawn + 1)
        return np.asarray(np.exp(choose + betaln(drawn + yes, trials - drawn + no) - betaln(yes, no)), dtype=np.float64)


@dataclass(frozen=True)
class BillDistribution:
    """Bill in USD: 25,500 + hospital + insurer + per_day (stay - 15.5) + U(-half_width, half_width) + N(0, noise^2)."""

    hospital_sd: float  # standard deviation of the distribution that the hospital effects are drawn from
    hospital: Floats  # shapes (hospitals,), (5,); USD for each level
    insurer: Floats
    per_day: float  # USD
    half_width: float  # USD
    noise: float  # USD

    def mean(self, hospital: Codes, insurer: Codes, stay: Floats) -> Floats:
        """Return the mean bill for codes of hospitals and insurers, and for stays in days."""
        house = self.hospital[hospital] if len(self.hospital) else 0.0
        return np.asarray(CENTRE_BILL + house + self.insurer[insurer] + self.per_day * (stay - CENTRE_STAY))


@dataclass(frozen=True)
class HeavyBillDistribution:
    """Bill in USD, with a heavy tail: exp(centre + condition + per_day (stay - 15.5) + N(0, noise^2))."""

    centre: float  # of the logarithms of bills, all of which are of USD
    condition: Floats  # shape (2, 6); before and from 60 years, for each condition
    per_day: float
    noise: float

    def log_mean(self, age: Codes, condition: Codes, stay: Floats) -> Floats:
        """Return the mean logarithm of bills for ages in years, codes of conditions and stays in days."""
        turned = self.condition[_turned(age), condition]
        return np.asarray(self.centre + turned + self.per_day * (stay - CENTRE_STAY), dtype=np.float64)


@dataclass(frozen=True)
class ResultDistribution:
    """Test result: softmax of intercept + per_year (age - 51.5) + condition + per_day (stay - 15.5).

    And, from 60 years, another term for the condition.
    """

    intercept: Floats  # shape (3,); log-odds for each class
    per_year: Floats
    condition: Floats  # shape (6, 3); log-odds for each condition and class
    per_day: Floats
    older: Floats = field(default_factory=lambda: np.zeros((6, 3)))  # log-odds from 60 years, as those of conditions

    def chances(self, age: ArrayLike, condition: Codes, stay: ArrayLike) -> Floats:
        """Return the chances of the three classes, shape (..., 3), for ages, codes and stays that broadcast."""
        logits = (
            self.intercept
            + self.per_year * (np.asarray(age)[..., None] - CENTRE_AGE)
            + self.condition[condition]
            + self.per_day * (np.asarray(stay)[..., None] - CENTRE_STAY)
            + _turned(age)[..., None] * self.older[condition]
        )
        return np.asarray(softmax(logits, axis=-1), dtype=np.float64)


@dataclass(frozen=True)
class DataGeneratingProcess:
    """All that one admission is drawn from."""

    scenario: str  # `planted`, `noise` or `interactions`
    effect: float  # planted effects in units of the smallest effect of interest; 0 where none is planted
    condition: Floats  # shape (2, 6); shares of the conditions before and from 50 years
    admission_type: Floats  # shape (5, 3); shares of the admission types of each insurer
    readmission: Floats  # shape (5,); chance, by medication, of another admission within 30 days of the discharge
    # shape (hospitals,); share of the admissions that each hospital has; empty where names are scattered at random
    volume: Floats
    stay: StayDistribution
    bill: BillDistribution
    result: ResultDistribution
    heavy: HeavyBillDistribution | None = None  # of the bills, where they are not additive
    # shape (6,); share of the admissions of each condition whose type nobody wrote down
    untyped: Floats = field(default_factory=lambda: np.zeros(6))


def noise_process() -> DataGeneratingProcess:
    """Return the process under which no column tells anything of another, fitted to the margins of the Kaggle table."""
    # s = 2 and q = 1/2 make the beta-binomial uniform on 1 to 30; the bill is U(1000, 50000) + N(0, 1000^2).
    return DataGeneratingProcess(
        scenario="noise",
        effect=0.0,
        condition=np.full((2, 6), 1 / 6),
        admission_type=np.full((5, 3), 1 / 3),
        readmission=np.zeros(5),
        volume=np.zeros(0),
        stay=StayDistribution(2.0, 0.0, np.zeros(6), np.zeros(3), np.zeros(5)),
        bill=BillDistribution(0.0, np.zeros(0), np.zeros(5), 0.0, 24_500.0, 1_000.0),
        result=ResultDistribution(np.zeros(3), np.zeros(3), np.zeros((6, 3)), np.zeros(3)),
    )


def interactions_process(hospitals: int, rng: Generator) -> DataGeneratingProcess:
    """Return the process of interactions, thresholds, a heavy tail and missing cells, in which no claim holds.

    What condition and admission type do to a stay adds up to nothing over either, and turns at 60 years, as does what
    the condition does to bills and results: each column alone tells little, and each claim's effect is 0 in the margin.

    Parameters
    ----------
    hospitals : int
        How many there are; none differs from another.
    rng : Generator
        Draws which hospitals are large.
    """
    quiet, sides = noise_process(), np.array([1.0, -1.0])
    types = np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1]] * 2)
    halves = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    stay = StayDistribution(
        8.0, 0.06, 1.5 * halves, np.zeros(3), np.zeros(5), np.array([2.0, -6.0])[:, None, None] * types
    )
    favours = 1.2 * _FAVOURS
    return replace(
        quiet,
        scenario="interactions",
        readmission=np.full(5, ADVANCED_READMISSION),
        volume=_volumes(hospitals, rng),
        stay=stay,
        bill=replace(quiet.bill, hospital=np.zeros(hospitals)),
        heavy=HeavyBillDistribution(
            np.log(CENTRE_BILL) - HEAVY_SPREAD**2 / 2, 0.6 * sides[:, None] * halves, 0.03, HEAVY_SPREAD
        ),
        result=ResultDistribution(
            np.zeros(3), np.zeros(3), favours, 0.03 * np.array([1.0, 0.0, -1.0]), older=-2 * favours
        ),
        untyped=np.array([0.1, 0.4, 0.25, 0.1, 0.4, 0.25]),
    )


def _turned(age: ArrayLike) -> Codes:
    return np.asarray(np.asarray(age) >= TURN, dtype=np.int64)


# The smallest effects of interest, as the claims define them.
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
# Of two classes each condition favours one and disfavours the other.
_FAVOURS = np.array([[-1, 1, 0], [0, -1, 1], [1, 0, -1], [1, -1, 0], [0, 1, -1], [-1, 0, 1]])


def planted_process(effect: float, hospitals: int, rng: Generator) -> DataGeneratingProcess:
    """Return the process in which every claim holds at `effect` times its smallest effect of interest.

    Nothing but outcomes depends on the medication, and the insurer moves patients between Elective and Urgent only;
    so each effect holds in the margin, as the claims estimate it, and not merely given the other columns.

    Parameters
    ----------
    hospitals : int
        How many there are.
    rng : Generator
        Draws the hospital effects, N(0, sd^2), and which hospitals are large.
    """
    # Two draws of N(0, sd^2) differ by 2 sd / sqrt(pi) in the mean.
    hospital_sd = effect * BILL_GAP * CENTRE_BILL * np.sqrt(np.pi) / 2
    process = DataGeneratingProcess(
        scenario="planted",
        effect=effect,
        condition=_conditions(effect),
        admission_type=_admission_types(effect),
        readmission=np.where(_ADVANCED, ADVANCED_READMISSION, ADVANCED_READMISSION + READMISSION_GAP * effect),
        volume=_volumes(hospitals, rng),
        stay=_stays(effect),
        bill=BillDistribution(hospital_sd, rng.normal(0.0, hospital_sd, hospitals), np.zeros(5), 300.0, 0.0, 8_000.0),
        result=_results(),
    )
    insurer = COHEN * effect * _within_insurer_sd(process) * _standard(_INSURER_BILLS)
    return replace(process, bill=replace(process.bill, insurer=insurer))


def claims(effect: float) -> dict[str, dict[str, float]]:
    """Return the true size of what each claim estimates, by claim: shares, days, Cohen's f and w."""
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


def _volumes(hospitals: int, rng: Generator) -> Floats:
    # The largest hospital has three times the admissions of the smallest, so that a funnel plot has a shape.
    volumes = rng.permutation(np.linspace(0.5, 1.5, hospitals))
    return np.asarray(volumes / volumes.sum(), dtype=np.float64)


def _stays(effect: float) -> StayDistribution:
    gap = STAY_GAP * effect
    emergency = np.array([kind == "Emergency" for kind in ADMISSION_TYPES])
    return StayDistribution(
        concentration=8.0,
        per_year=0.11,
        condition=np.array([-1.5, -2.0, 2.5, 0.5, -0.5, 1.0]),
        # Centred, so that the mean stay is 15.5 days at any effect.
        admission_type=gap * (emergency - emergency.mean()),
        medication=gap * (_ADVANCED.mean() - _ADVANCED),
    )


def _results() -> ResultDistribution:
    # Years and days favour Abnormal over Normal.
    slope = np.array([1.0, 0.0, -1.0])
    return ResultDistribution(
        intercept=np.zeros(3), per_year=0.015 * slope, condition=0.6 * _FAVOURS, per_day=0.05 * slope
    )


def _within_insurer_sd(process: DataGeneratingProcess) -> float:
    """Return the standard deviation of bills inside an insurer: the same for all, for stays do not depend on it."""
    ages = np.arange(AGES[0], AGES[1] + 1)
    means = process.stay.mean_of_all(ages)
    shares = process.condition[(ages >= OLDER).astype(int)][:, :, None, None] * np.ones_like(means)
    mean = np.average(means, weights=shares)
    stays = np.average(process.stay.variance(means) + (means - mean) ** 2, weights=shares)
    return float(np.sqrt(process.bill.noise**2 + process.bill.hospital_sd**2 + process.bill.per_day**2 * stays))
