import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest

from hi_ml.claims.aggregates import add_up, sums
from hi_ml.claims.billing_variation import compare_hospitals, hospital_tables


@pytest.fixture
def state(stated):
    return partial(stated, "billing_variation")


def test_hospitals_that_differ_support_the_claim_alone(drawn, state, evidence):
    found = state(drawn(10_000, hospital=6_000))
    assert (found.verdict, found.reason) == ("supported", "STRONG")
    assert evidence(found, "insurers").p_support > 0.05
    assert found.p_support == pytest.approx(5 * 2 / 1000)


def test_insurers_that_differ_support_the_claim_alone(drawn, state, evidence):
    found = state(drawn(20_000, insurer=5_000))
    assert found.verdict == "supported"
    assert evidence(found, "hospitals").p_support > 0.05
    assert evidence(found, "insurers (largest gap)").detail["higher"] == "Aetna"


def test_few_pairs_leave_the_hospitals_undecided(drawn, state, evidence):
    found = state(drawn(500, hospitals=300))
    assert found.verdict == "inconclusive"
    hospitals = evidence(found, "hospitals")
    assert hospitals.p_absence == hospitals.p_support == 1.0
    assert hospitals.detail["pairs"] < 1000
    assert any("pairs of admissions" in note for note in found.notes)


def test_near_copies_of_single_admissions_make_hospitals_differ_falsely(drawn, state):
    singles = drawn(6_000, hospitals=4_000).head(6_000)
    frame = pd.concat([singles, singles.tail(1_500)], ignore_index=True)
    twins = np.append(np.arange(6_000), np.arange(4_500, 6_000))
    assert state(frame, twins, keep_duplicates=True).verdict == "supported"
    assert state(frame, twins).verdict != "supported"


@pytest.mark.parametrize(
    ("column", "level", "gap"),
    [("hospital", "house", ("hospitals", "TOO_FEW")), ("insurer", "Aetna", ("insurers", "CONSTANT"))],
)
def test_one_hospital_or_insurer_leaves_the_other_part(column, level, gap, drawn, state):
    found = state(drawn(9_000).assign(**{column: level}))
    assert [(one.part, one.reason) for one in found.gaps] == [gap]
    assert (found.parts, found.parts_testable, found.verdict) == (2, 1, "not_supported")


def test_too_few_permutations_are_said_and_cannot_support(drawn, state):
    found = state(drawn(10_000, hospital=6_000), permutations=99)
    assert found.verdict == "inconclusive"
    assert any("too few" in note for note in found.notes)


def test_the_seed_decides_the_permutations_and_nothing_else(drawn, state, evidence):
    frame = drawn(5_000)
    first, again, other = (evidence(state(frame, seed=seed), "hospitals") for seed in (0, 0, 1))
    assert first == again
    assert first.p_support != other.p_support
    assert dataclasses.replace(other, p_support=first.p_support, detail=first.detail) == first


def test_adjusting_removes_what_the_patients_explain(drawn, state, evidence):
    frame = drawn(20_000)
    age = np.where(frame["hospital"].isin(sorted(frame["hospital"].unique())[:100]), 80.0, 20.0)
    found = state(frame.assign(age=age, billed=frame["billed"] + 200 * age))
    assert evidence(found, "hospitals").estimate > 0.1
    adjusted = evidence(found, "hospitals (adjusted")
    assert (adjusted.role, adjusted.estimate < 0.01) == ("secondary", True)


def test_a_logarithm_that_fits_better_is_said_beside_the_bills(drawn, state, evidence):
    rng = np.random.default_rng(0)
    frame = drawn(5_000)
    house, dearer = pd.factorize(frame["hospital"])[0], rng.normal(0, 0.5, 200)
    normal = rng.normal(0, 1.0, len(frame)) + dearer[house]
    found = state(frame.assign(billed=1_000 * np.exp(normal)))
    of_logarithm = evidence(found, "hospitals (on the logarithm)")
    assert (of_logarithm.role, of_logarithm.estimate) == ("secondary", pytest.approx(0.2, abs=0.04))
    assert of_logarithm.smallest_effect == pytest.approx(
        (np.log(1.1) * np.sqrt(np.pi) / 2) ** 2 / normal.var(), rel=0.01
    )
    assert sum(note.startswith("A logarithm fits the bills better") for note in found.notes) == 1
    plain = state(frame.assign(billed=50_000 + 1_000 * normal))
    assert not any("logarithm" in text for text in (*plain.notes, *(part.part for part in plain.evidence)))


def test_the_sums_of_parts_give_the_same_evidence(drawn):
    frame = drawn(5_000, hospital=3_000)
    parts = add_up(sums(frame.iloc[part::10], ["hospital"], "billed") for part in range(10))
    (_, whole), (_, summed) = (compare_hospitals(table, 0.10) for table in (sums(frame, ["hospital"], "billed"), parts))
    for name in ("estimate", "low", "high", "low90", "high90", "p_absence", "n", "smallest_effect"):
        assert getattr(summed, name) == pytest.approx(getattr(whole, name), rel=1e-9)


def test_the_tables_of_its_charts(drawn, state):
    tables = state(drawn(10_000, hospital=6_000)).tables
    layers = tables["hospital_funnel"].groupby("layer")
    funnel, limits = layers.get_group("hospital"), layers.get_group("limit")
    assert (funnel["n"] >= 30).all()
    outside = ~funnel["mean"].between(funnel["low95"], funnel["high95"])
    assert (funnel["outside95"] == outside).all()
    assert outside.mean() > 0.2
    assert not (funnel["outside998"].astype(bool) & ~outside).any()
    assert limits["n"].is_monotonic_increasing
    assert tables["hospital_effects"]["effect"].is_monotonic_increasing
    assert tables["insurer_means"]["insurer"].tolist() == ["Aetna", "Cigna", "Medicare"]


def test_without_large_hospitals_the_tables_are_empty_and_stand(drawn, state):
    tables = state(drawn(2_000, hospitals=600)).tables
    assert len(tables["hospital_funnel"]) == len(tables["hospital_effects"]) == 0


@pytest.mark.parametrize(
    ("large", "small"),
    [((10, 300, 120_000), (40, 40, 38_000)), ((3, 900, 20_000), (80, 35, 60_000)), ((1, 5_000, -9_000), (60, 30, 500))],
)
def test_each_shrunken_mean_lies_between_the_recorded_one_and_the_mean_of_all(large, small):
    """Where volume goes with price, the mean of all admissions is far from that of the hospitals."""
    rng, bills = np.random.default_rng(1), []
    for hospitals, admissions, price in (large, small):
        means = rng.normal(price, 0.1 * abs(price), hospitals)
        bills += [(f"H{price}_{i}", rng.normal(mean, 10_000, admissions)) for i, mean in enumerate(means)]
    rows = pd.concat([pd.DataFrame({"hospital": name, "billed": values}) for name, values in bills])
    table = sums(rows, ["hospital"], "billed")
    effects = hospital_tables(table, compare_hospitals(table, 0.10)[0], 30)["hospital_effects"]
    of_all = rows["billed"].mean()
    shrunken = of_all + effects["effect"]
    assert len(effects) == table.index.size
    np.testing.assert_allclose(effects["centre"], of_all)
    np.testing.assert_allclose(shrunken, (of_all + effects["low"] + of_all + effects["high"]) / 2)
    assert shrunken.between(np.minimum(of_all, effects["mean"]), np.maximum(of_all, effects["mean"])).all()
    assert (effects["mean"].between(of_all + effects["low"], of_all + effects["high"])).mean() > 0.9
