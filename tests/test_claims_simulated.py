"""The promises on large tables whose truth is known; those on many small ones stand in test_studies.py."""

import pytest

import hi_ml
from hi_ml.claims.catalogue import catalogue

CLAIMS = list(catalogue())
ADVANCED = ["Lipitor", "Penicillin"]


def findings(scenario, rows, seed, effect=2.0):
    admissions = hi_ml.read(
        "simulated", scenario=scenario, rows=rows, seed=seed, effect=effect, advanced_medications=ADVANCED
    )
    quick = ["findings.billing_variation.permutations=249", f"seed={seed}"]
    return {finding.finding: finding for finding in hi_ml.state_claims(admissions, overrides=quick)}


def test_the_planted_world_is_recognised():
    found = findings("planted", 20_000, seed=1)
    assert {name: finding.verdict for name, finding in found.items()} == dict.fromkeys(CLAIMS, "supported")
    assert found["medication_recovery"].parts_testable == 2
    assert "persons" in found["medication_recovery"].notes[1]


def test_noise_supports_nothing():
    found = findings("noise", 20_000, seed=1)
    assert "supported" not in {finding.verdict for finding in found.values()}
    assert found["medication_recovery"].parts_testable == 1


@pytest.mark.slow
def test_twice_the_smallest_effect_is_found_on_large_tables():
    verdicts = [findings("planted", 55_500, seed=seed) for seed in range(2)]
    assert {found[name].verdict for found in verdicts for name in CLAIMS} == {"supported"}


@pytest.mark.slow
def test_absence_is_shown_on_a_large_table_of_noise():
    verdicts = [findings("noise", 55_500, seed=seed) for seed in range(2)]
    assert {found[name].verdict for found in verdicts for name in CLAIMS} == {"not_supported"}
