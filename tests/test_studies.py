"""The study of the verdicts (`make studies`), on a few tables."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[1] / "experiments" / "operating_characteristics.py"
SPEC = importlib.util.spec_from_file_location("operating_characteristics", SCRIPT)
oc = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(oc)
TABLES, ADMISSIONS = 8, 5_000
NOISE, SMALLEST, TWICE = oc.WORLDS


def shares(world):
    """Share of the tables in which each question had a hit, by question and subject."""
    found = oc.summary(oc.study(world, ADMISSIONS, range(1_000, 1_000 + TABLES)))
    assert set(found["tables"]) == {TABLES}
    return found.set_index(["question", "subject"])["share"]


def covered(found):
    return found.loc["interval covers the truth"]


def test_hits_are_counted_with_exact_limits():
    answers = pd.DataFrame(
        [(5_000, "twice", "supported", "emergency_stay", seed, seed != 3) for seed in range(20)],
        columns=[*oc.ASKED, "seed", "hit"],
    )
    (row,) = oc.summary(answers).to_dict("records")
    assert (row["tables"], row["hits"], row["share"], row["promise"]) == (20, 19, 0.95, "at least 90 %")
    assert (row["low"], row["high"]) == (0.7513, 0.9987)  # Clopper & Pearson


def test_the_truth_is_what_was_planted():
    simulated = oc.simulate("planted", 30_000, effect=1.0)
    truth, bill = oc.true_values(simulated), simulated.process.bill
    within = (simulated.admissions["bill"] - bill.hospital[simulated.admissions["hospital"]]).var()
    assert truth["hospitals"] == pytest.approx(bill.hospital_sd**2 / (bill.hospital_sd**2 + within), rel=0.03)
    assert truth["hypertension"] == 0.03
    assert truth["readmission"] == 0.02
    assert set(oc.true_values(oc.simulate("noise", 50)).values()) == {0.0}


@pytest.mark.slow
def test_noise_supports_nothing_but_with_the_copies_kept():
    found = shares(NOISE)
    assert found["any claim supported", "all five"] <= 0.25  # of 5 %, 2 of 8 are exceeded once in 170
    assert found["supported, one row each", "billing_variation"] <= 0.04
    assert found["supported, copies kept", "billing_variation"] >= 0.9
    assert found["names taken for persons", "identity"] == 0
    # 5,000 admissions are too few to rule small effects between insurers or hospitals out: undecided is right.
    for name in ("billing_variation", "insurance_access"):
        assert found["shown to be absent", name] <= 0.25
    assert 0.93 <= covered(found).mean() <= 0.995


@pytest.mark.slow
def test_effects_at_the_smallest_that_matters_are_not_ruled_out():
    found = shares(SMALLEST)
    assert found["any claim not supported", "all five"] <= 0.25
    assert 0.92 <= covered(found).mean() <= 0.99
    assert covered(found).min() >= 0.62


@pytest.mark.slow
def test_effects_twice_as_large_are_found():
    found = shares(TWICE)
    assert found.loc["supported"].min() >= 0.75
    assert set(found.loc["supported"].index) == set(oc.CLAIMS)
    assert found["names trusted", "identity"] == 1
    assert 0.92 <= covered(found).mean() <= 0.99
