"""Areas under the ROC curve: against brute force, an independent DeLong, and simulations."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from hi_ml.statistics.groups import Units
from hi_ml.statistics.ranking import area, area_difference, area_interval


def alone(rows):
    return Units.of(np.arange(rows))


def two(share):
    """Probabilities of both classes."""
    return np.column_stack([1 - share, share])


def delong(truth, *shares):
    """DeLong as written in 1988: areas and their covariance, from the kernel of every pair."""
    placed = []
    for share in shares:
        kernel = np.sign(share[truth == 1][:, None] - share[truth == 0][None, :]) / 2 + 0.5
        placed.append((kernel.mean(), kernel.mean(axis=1), kernel.mean(axis=0)))
    ups, downs = (np.cov([one[side] for one in placed], ddof=1).reshape(len(shares), -1) for side in (1, 2))
    return [one[0] for one in placed], ups / (truth == 1).sum() + downs / (truth == 0).sum()


def ranked(seed, *, rows=120, steps=None):
    rng = np.random.default_rng(seed)
    truth = (rng.random(rows) < 0.3).astype(int)
    shares = [1 / (1 + np.exp(-rng.normal(truth * shift, 1))) for shift in (1.0, 0.5)]
    return truth, [np.ceil(steps * share) / (steps + 1) if steps else share for share in shares]


@pytest.mark.parametrize("steps", [None, 4], ids=["no ties", "many ties"])
def test_area_and_errors_are_those_of_delong(steps):
    truth, shares = ranked(0, steps=steps)
    values, covariance = delong(truth, *shares)
    found = [area(truth, two(share), alone(len(truth))) for share in shares]
    assert [one.value for one in found] == pytest.approx(values, abs=1e-12)
    assert [one.error**2 for one in found] == pytest.approx(np.diag(covariance))
    apart, events = area_difference(*found), int(truth.sum())
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert apart.p == pytest.approx(2 * stats.t.sf(abs(values[0] - values[1]) / error, events - 1))
    assert apart.high - apart.low == pytest.approx(2 * stats.t.ppf(0.975, events - 1) * error)
    interval = area_interval(found[0])
    reach = stats.t.ppf(0.975, events - 1) * covariance[0, 0] ** 0.5 / (values[0] * (1 - values[0]))
    odds = values[0] / (1 - values[0]) * np.exp([-reach, reach])
    assert (interval.low, interval.high) == pytest.approx(tuple(odds / (1 + odds)))


def test_copies_share_a_vote_and_patients_are_clusters():
    """Against the sums over all pairs of admissions, and the jackknife over patients."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(80), rng.integers(1, 5, 80))
    truth = (rng.random(len(patient)) < 0.4).astype(int)
    share = 1 / (1 + np.exp(-rng.normal(truth + rng.normal(size=80)[patient], 1)))
    copied = np.append(np.arange(len(patient)), rng.integers(len(patient), size=40))
    share = share[copied] + rng.normal(0, 0.01, len(copied))

    def by_pairs(kept):
        units = Units.of(copied[kept], patient[copied][kept])
        side, other = truth[copied][kept] == 1, truth[copied][kept] == 0
        votes = units.votes[side][:, None] * units.votes[other][None, :]
        values = share[kept]
        return float((votes * (values[side][:, None] > values[other][None, :])).sum() / votes.sum())

    found = area(truth[copied], two(share), Units.of(copied, patient[copied]))
    assert found.value == pytest.approx(by_pairs(np.full(len(copied), fill_value=True)), abs=1e-12)
    left = np.array([by_pairs(patient[copied] != one) for one in range(80)])
    assert found.error == pytest.approx(np.sqrt(79 / 80 * ((left - left.mean()) ** 2).sum()), rel=0.03)


@pytest.mark.parametrize("steps", [None, 2], ids=["no ties", "many ties"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_area_is_that_of_scikit_learn(classes, steps):
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=90)
    share = rng.gamma(1.0, size=(90, classes)) + np.eye(classes)[truth]
    share = np.ceil(steps * share) if steps else share
    share = share / share.sum(axis=1, keepdims=True)
    shown = share[:, 1] if classes == 2 else share
    expected = metrics.roc_auc_score(truth, shown, multi_class="ovr", average="macro")
    assert area(truth, share, alone(90)).value == pytest.approx(expected, abs=1e-12)


def test_a_class_that_does_not_occur_is_left_out_and_one_alone_has_no_area():
    truth, (share, _) = ranked(2)
    three = np.column_stack([two(share), np.zeros(len(truth))])
    assert area(truth, three, alone(len(truth))).value == pytest.approx(metrics.roc_auc_score(truth, share))
    assert area(np.zeros(4, dtype=int), np.full((4, 2), 0.5), alone(4)) is None


def test_constant_shares_have_an_area_of_one_half_for_sure():
    truth, _ = ranked(3)
    found = area_interval(area(truth, np.full((len(truth), 2), 0.5), alone(len(truth))))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_a_perfect_ranking_is_no_certainty():
    truth = np.repeat([0, 1], 30)
    perfect, reversed_ = (area(truth, two(np.linspace(*ends, 60)), alone(60)) for ends in ((0, 1), (1, 0)))
    found = area_interval(perfect)
    assert (found.value, found.low, found.high) == (1, pytest.approx(0.025 ** (1 / 30)), 1)
    assert found.low == pytest.approx(stats.binomtest(30, 30).proportion_ci().low)
    found = area_interval(reversed_)
    assert (found.value, found.low, found.high) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 30)))


def test_identical_models_differ_by_nothing_and_the_order_turns_the_sign():
    truth, shares = ranked(4)
    one, other = (area(truth, two(share), alone(len(truth))) for share in shares)
    same, apart, turned = area_difference(one, one), area_difference(one, other), area_difference(other, one)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert (apart.value, apart.low, apart.p) == pytest.approx((-turned.value, -turned.high, turned.p))


def simulated(rng, *, patients, prevalence, auc, repeat):
    """An outcome that recurs and who has it comes more often; scores share an effect of the patient."""
    often = np.ones(patients, dtype=int)
    prone = rng.random(patients) < 2 * prevalence
    if repeat:
        often = rng.integers(1, 4, patients) + 2 * prone
    patient = np.repeat(np.arange(patients), often)
    truth = (prone[patient] & (rng.random(len(patient)) < 0.5)).astype(int)
    apart = np.sqrt(2) * stats.norm.ppf(auc)
    shared = 0.4 if repeat else 0.0
    noise = np.sqrt(shared) * rng.normal(size=patients)[patient] + np.sqrt(1 - shared) * rng.normal(size=len(patient))
    return truth, stats.norm.cdf(apart * truth + noise), Units.of(np.arange(len(patient)), patient)


@pytest.mark.parametrize(
    ("tables", "allowed"), [(150, 1e-4), pytest.param(1500, 1e-3, marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.parametrize("repeat", [False, True], ids=["once", "again"])
def test_the_interval_covers_where_events_are_rare(tables, allowed, repeat):
    rng, held = np.random.default_rng(5), []
    while len(held) < tables:
        truth, share, units = simulated(rng, patients=400, prevalence=0.05, auc=0.8, repeat=repeat)
        found = area(truth, two(share), units)
        if found.fewest >= 10:
            interval = area_interval(found)
            held.append(interval.low <= 0.8 <= interval.high)
    assert stats.binomtest(sum(held), tables, 0.945).pvalue > allowed
