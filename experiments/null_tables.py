"""Tables of patients who come again: on them no claim holds, or all five by a multiple of what matters.

    from null_tables import admissions_of, distinct, null_table, settings, state
    state(distinct(null_table(seed=1)), settings())

Labels are drawn without a look at the outcomes. A patient has a label of each kind and keeps it at an admission with
the probability ``kept``, or else gets another at random; what he is billed and how long he stays go together over his
admissions by ``icc``.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import yaml
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

import hi_ml
from hi_ml.app.config import conf_dir
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import DistinctAdmissions, one_row_each
from hi_ml.data.duplicates import BY_ID, Twins
from hi_ml.data.read import Admissions

__all__ = ["DECLARED", "TAILS", "admissions_of", "distinct", "null_table", "settings", "state"]

CONDITIONS = ("Arthritis", "Asthma", "Cancer", "Diabetes", "Hypertension", "Obesity")
INSURERS = ("Aetna", "Cigna", "Humana", "Medicare")
KINDS = ("Elective", "Emergency", "Urgent")
OLD_DRUGS, NEW_DRUGS = ("Aspirin", "Ibuprofen"), ("Lipitor", "Penicillin")
DECLARED = {"acute_conditions": ["Asthma"], "severe_conditions": ["Cancer"], "advanced_medications": list(NEW_DRUGS)}
TAILS = {
    "uniform": norm.cdf,
    "normal": lambda z: z,
    "lognormal 1": np.exp,
    "lognormal 2": lambda z: np.exp(2 * z),
    "zeros": lambda z: np.exp(np.maximum(z, 0)) - 1,  # one half is 0
    "cauchy": lambda z: np.tan(np.pi * (norm.cdf(z) - 0.5)),
}
"""What becomes of a standard normal value."""
_SHARE, _DAYS, _COHEN, _RETURN = 0.03, 1.0, 0.05, 0.02  # the smallest effects that matter, as in conf/finding
_BILL, _STAY = (1_000.0, 49_000.0), 30  # of uniform bills their lowest and their span; of uniform stays the longest

_CENTURY = 36_500  # days: longer stays end beyond what a date can be


def null_table(  # noqa: PLR0913 -- the axes of a calendar
    seed: int,
    *,
    admissions: int = 5_000,
    per_patient: int = 5,
    kept: float = 0.7,
    icc: float = 0.3,
    bills: str = "uniform",
    stays: str = "uniform",
    hospitals: int = 40,
    tiny: int = 0,
    giant: float = 0.0,
    effect: float = 0.0,
) -> pd.DataFrame:
    """Draw a table, by role.

    Parameters
    ----------
    seed : int
    admissions : int
        Rows.
    per_patient : int
        Admissions of each patient.
    kept : float
        Chance that a patient has his own label at an admission: hospital, insurer, condition, admission type,
        medication, test result.
    icc : float
        Correlation of two admissions of one patient, before the tail, of bills and of stays.
    bills, stays : str
        A name of `TAILS`.
    tiny : int
        Admissions to expect of a fifth insurer; 0 leaves it out.
    giant : float
        Share of the rows that one more patient has.
    effect : float
        Of every claim, in multiples of the smallest effect that matters; needs uniform bills and stays.
    """
    rng = np.random.default_rng(seed)
    many = round(giant * admissions)
    patient = np.append(np.zeros(many, np.int64), 1 + np.arange(admissions - many) // per_patient)
    n, people = len(patient), int(patient[-1]) + 1
    first_age = rng.integers(18, 86, people)
    age = (first_age + rng.random(people))[patient] // 1
    old = age >= 50  # noqa: PLR2004 -- where conf/finding/age_condition.yaml splits

    def own(levels: int, probabilities: ArrayLike, fixed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Draw a label for each row: the patient's own one, which his first row has, or another."""
        drawn = _draw(rng, np.broadcast_to(np.asarray(probabilities, dtype=np.float64), (n, levels)))
        keeps = rng.random(n) < kept
        return np.where(keeps if fixed is None else keeps & fixed, drawn[_first(patient)], drawn)

    gain = _SHARE * effect
    aged = np.full(6, 1 / 6) + np.outer(old, gain * np.array([0, -2, 0, 1, 1, 0]))
    condition = own(6, np.clip(aged, 0, 1), old == old[_first(patient)])
    hospital = own(hospitals, np.full(hospitals, 1 / hospitals))
    insured = np.append(np.full(4, 1.0), tiny / n * 4)
    insurer = own(5, insured / insured.sum())
    leaning = _COHEN * effect / np.sqrt(4.5) * np.array([1.0, 1, -1, -1, 0])[insurer]
    kind = own(3, 1 / 3 + np.outer(leaning, [-0.5, 1, -0.5]), insurer == insurer[_first(patient)])
    drug = own(4, np.full(4, 1 / 4))

    def outcome(tail: str) -> NDArray[np.float64]:
        normal = np.sqrt(icc) * rng.normal(size=people)[patient] + np.sqrt(1 - icc) * rng.normal(size=n)
        return np.asarray(TAILS[tail](normal), dtype=np.float64)

    older_drug, emergency, cancer = drug < len(OLD_DRUGS), kind == 1, condition == CONDITIONS.index("Cancer")
    days = 1 + np.minimum(np.abs(outcome(stays)) * (_STAY if stays == "uniform" else 5.0), _CENTURY) // 1
    days = days + _random_days(rng, effect * _DAYS * (older_drug + emergency * (1.0 + cancer)))
    billed = _BILL[0] + outcome(bills) * _BILL[1]
    spread = _BILL[1] / np.sqrt(12)
    between = 0.1 * (_BILL[0] + _BILL[1] / 2) * np.sqrt(np.pi) / 2  # two hospitals differ by a tenth of the mean bill
    billed += effect * (rng.normal(0, between, hospitals)[hospital] + _COHEN * spread * np.where(insurer < 2, 1, -1))  # noqa: PLR2004 -- two of four
    admitted = _admitted(rng, patient, days, 0.1 + effect * _RETURN * older_drug, many)
    start = pd.Timestamp("2019-01-01") + pd.to_timedelta(admitted, unit="D")
    return pd.DataFrame(
        {
            "patient_id": patient,
            "age": age,
            "sex": np.array(["Female", "Male"])[rng.integers(0, 2, people)[patient]],
            "blood_type": np.array(["A+", "A-", "B+", "B-", "O+", "O-"])[rng.integers(0, 6, people)[patient]],
            "condition": np.array(CONDITIONS)[condition],
            "hospital": np.char.add("House ", hospital.astype(str)),
            "hospital_as_written": hospital,
            "insurer": np.array([*INSURERS, "Tiny"])[insurer],
            "admission_type": np.array(KINDS)[kind],
            "medication": np.array([*OLD_DRUGS, *NEW_DRUGS])[drug],
            "test_result": np.array(["Abnormal", "Inconclusive", "Normal"])[own(3, np.full(3, 1 / 3))],
            "admitted_on": start,
            "discharged_on": start + pd.to_timedelta(days, unit="D"),
            "length_of_stay": days,
            "billed": billed,
        }
    )


def _draw(rng: np.random.Generator, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw a level for each row from its own probabilities, shape (n, levels)."""
    drawn: NDArray[np.int64] = (rng.random(len(probabilities))[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    return np.minimum(drawn, probabilities.shape[1] - 1)


def _first(patient: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the position of each row's patient's first row; patients stand together."""
    return np.searchsorted(patient, patient)


def _random_days(rng: np.random.Generator, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to whole days so that the mean stays."""
    return np.floor(mean + rng.random(len(mean)))


def _admitted(
    rng: np.random.Generator, patient: NDArray[np.int64], days: ArrayLike, returns: ArrayLike, many: int
) -> NDArray[np.float64]:
    """Let admissions follow each other: within 30 days with the chance that the stay before gives, or else later."""
    n, stay = len(patient), np.minimum(np.asarray(days, dtype=np.float64), 365.0)
    gap = np.where(rng.random(n) < returns, rng.integers(1, 31, n), 31 + rng.exponential(300, n) // 1)
    since = np.append(0.0, np.cumsum(stay + gap)[:-1])
    admitted = rng.integers(0, 700, n)[_first(patient)] + since - since[_first(patient)]
    admitted[:many] = np.sort(rng.integers(0, 1_800, many))
    return admitted


def settings(*, permutations: int = 249, resamples: int = 1) -> dict[str, object]:
    """Read the settings of the claims, with the numbers of draws that a calendar can afford.

    From 200 permutations on, a part of a claim alone can be significant after Holm; a test holds at any number.
    """
    nodes = {name: yaml.safe_load((conf_dir() / "finding" / f"{name}.yaml").read_text("utf-8")) for name in catalogue()}
    nodes["billing_variation"]["permutations"] = permutations
    nodes["medication_recovery"]["resamples"] = resamples
    return settings_of(nodes)


def distinct(table: pd.DataFrame, seed: int = 0) -> DistinctAdmissions:
    """Make a table ready for the claims: no row is a copy of another."""
    return one_row_each(table, np.arange(len(table)), declarations=DECLARED, seed=seed)


def admissions_of(table: pd.DataFrame, declarations: Mapping[str, list[str]] = DECLARED) -> Admissions:
    """Make a table what `hi_ml.read` would return, without a file: for `hi_ml.fit` and `hi_ml.state_claims`."""
    number = {"from": "patient_id", "kind": "identifier", "known": "admission", "private": True}
    absent = {role: {"from": None} for role in ("patient_name", "doctor", "room")}
    dataset = hi_ml.declare(
        "kaggle", name="null", declarations=dict(declarations), columns={"patient_id": number} | absent
    )
    private = ["patient_id", "hospital_as_written"]
    texts = table.columns[[pd.api.types.is_string_dtype(dtype) for dtype in table.dtypes]]
    n, patient = len(table), table["patient_id"].to_numpy()
    return Admissions(
        dataset=dataset,
        table=table.drop(columns=private).astype(dict.fromkeys(texts, "category")),
        row=np.arange(1, n + 1),
        content=np.arange(n, dtype=np.uint64),
        twins=Twins(np.arange(n), {}, ()),
        group=patient,
        identity=BY_ID,
        coded={role: table[role].to_numpy() for role in private},
        rejected=pd.DataFrame(columns=["row", "column", "value", "rule"]),
        counts={"rows_read": n, "rows_rejected": 0},
        column_sha256={},
        private=frozenset(),
        public=frozenset(),
    )
