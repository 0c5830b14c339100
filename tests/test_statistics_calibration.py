import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from statsmodels.regression.linear_model import OLS

from hi_ml.scorer.serving import recalibrate
from hi_ml.statistics import calibration
from hi_ml.statistics.calibration import Recalibration
from hi_ml.statistics.groups import Units


def of_copies(measure):
    """A measure that takes the number of each row's admission."""
    return lambda outcome, prediction, group: measure(outcome, prediction, Units.of(group))


in_the_large, slope = of_copies(calibration.in_the_large), of_copies(calibration.slope)
share_above, linear_slope = of_copies(calibration.share_above), of_copies(calibration.linear_slope)


def binary(n=4000, *, shift=0.0, steep=1.0, seed=0):
    """Outcomes, and probabilities whose log-odds are too low by ``shift`` and must be multiplied by ``steep``."""
    rng = np.random.default_rng(seed)
    predicted = rng.normal(-0.5, 1, n)
    return rng.random(n) < expit(shift + steep * predicted), expit(predicted)


def copied(values, times):
    """Each row as often as ``times`` says, and its group."""
    return np.repeat(values, times), np.repeat(np.arange(len(values)), times)


def sandwich(outcome, design, group, weights, offset):
    """A weighted logistic fit and its clustered covariance, written out."""
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = expit(design @ beta + offset)
        bread = np.linalg.inv((design * (weights * p * (1 - p))[:, None]).T @ design)
        beta = beta + bread @ design.T @ (weights * (outcome - p))
    scores = design * (weights * (outcome - p))[:, None]
    sums = np.array([scores[group == g].sum(axis=0) for g in np.unique(group)])
    n, k, groups = len(outcome), design.shape[1], len(sums)
    correction = groups / (groups - 1) * (n - 1) / (n - k)
    return beta, np.sqrt(np.diag(correction * bread @ sums.T @ sums @ bread)), groups


@pytest.mark.parametrize("measure", [in_the_large, slope])
def test_estimate_and_interval_are_those_written_out(measure):
    occurred, probability = binary(300, shift=0.3, steep=0.7)
    times = np.random.default_rng(1).integers(1, 4, 300)
    (occurred, group), (probability, _) = copied(occurred, times), copied(probability, times)
    occurred[1::7] = ~occurred[1::7]  # the rows of a group need not agree
    log_odds = np.log(probability / (1 - probability))
    weights, one, zero = 1 / np.repeat(times, times), np.ones(len(group)), np.zeros(len(group))
    if measure is in_the_large:
        beta, error, groups = sandwich(occurred, one[:, None], group, weights, log_odds)
    else:
        beta, error, groups = sandwich(occurred, np.column_stack([log_odds, one]), group, weights, zero)
    reach = stats.t.ppf(0.975, groups - 1) * error[0]
    found = measure(occurred, probability, group)
    np.testing.assert_allclose([found.value, found.low, found.high], beta[0] + reach * np.array([0, -1, 1]), rtol=1e-6)


def test_the_slope_is_that_of_sklearn():
    occurred, probability = binary(steep=0.5)
    log_odds = np.log(probability / (1 - probability))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(log_odds, occurred)
    assert slope(occurred, probability, np.arange(4000)).value == pytest.approx(fitted.coef_[0, 0], rel=1e-4)


@pytest.mark.parametrize("steep", [0.5, 2.0])
def test_a_planted_slope_is_found(steep):
    found = slope(*binary(steep=steep), np.arange(4000))
    assert found.low < steep < found.high
    assert not found.low < 1 < found.high


def test_a_planted_shift_is_found():
    found = in_the_large(*binary(shift=0.4), np.arange(4000))
    assert found.low < 0.4 < found.high
    assert found.low > 0


def test_right_probabilities_are_called_right():
    occurred, probability = binary()
    assert in_the_large(occurred, probability, np.arange(4000)).low < 0
    found = slope(occurred, probability, np.arange(4000))
    assert found.low < 1 < found.high
    assert found.note == ""


def test_a_patients_admissions_count_each_and_the_intervals_are_clustered_by_patient():
    """Held against the sandwich written out with a weight of 1 a row, and against least squares clustered."""
    occurred, probability = binary(600, shift=0.3, steep=0.7)
    patient = np.sort(np.random.default_rng(2).integers(0, 150, 600))
    units, log_odds = Units.of(np.arange(600), patient), np.log(probability / (1 - probability))
    design = np.column_stack([log_odds, np.ones(600)])
    beta, error, groups = sandwich(occurred, design, patient, np.ones(600), np.zeros(600))
    reach = stats.t.ppf(0.975, groups - 1) * error[0]
    found = calibration.slope(occurred, probability, units)
    np.testing.assert_allclose([found.value, found.low, found.high], beta[0] + reach * np.array([0, -1, 1]), rtol=1e-6)
    above = calibration.share_above(log_odds, np.zeros(600), units)
    assert above.value == pytest.approx((log_odds > 0).mean())
    target = log_odds + np.random.default_rng(3).normal(size=150)[patient]
    line = calibration.linear_slope(target, log_odds, units)
    oracle = OLS(target, design).fit(cov_type="cluster", cov_kwds={"groups": patient})
    assert line.value == pytest.approx(oracle.params[0])
    reach = stats.t.ppf(0.975, groups - 1) * oracle.bse[0]
    assert line.high - line.value == pytest.approx(reach, rel=1e-6)


@pytest.mark.parametrize("measure", [in_the_large, slope])
def test_copies_of_every_row_tell_nothing_new(measure):
    occurred, probability = binary(500)
    once = measure(occurred, probability, np.arange(500))
    thrice = measure(np.repeat(occurred, 3), np.repeat(probability, 3), np.repeat(np.arange(500), 3))
    assert thrice.value == pytest.approx(once.value, rel=1e-6)
    # alike but for the small-sample factor (n - 1) / (n - k), which knows rows only
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.005)


def test_constant_probabilities_have_no_slope_but_a_place():
    occurred = np.arange(200) % 4 == 0
    found = slope(occurred, np.full(200, 0.3), np.arange(200))
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.note.startswith("not estimable: the predictions hardly vary")
    expected = np.log(0.25 / 0.75) - np.log(0.3 / 0.7)
    assert in_the_large(occurred, np.full(200, 0.3), np.arange(200)).value == pytest.approx(expected)


def test_the_least_spread_of_logits_decides():
    occurred, _ = binary(2000)
    wobble = np.tile([-1.0, 1.0], 1000)
    narrow, wide = (slope(occurred, expit(spread * wobble), np.arange(2000)) for spread in (0.049, 0.051))
    assert np.isnan(narrow.value)
    assert np.isfinite(wide.value)


@pytest.mark.parametrize("measure", [in_the_large, slope])
@pytest.mark.parametrize("events", [0, 9, 191, 200])
def test_a_class_that_hardly_ever_occurs_or_nearly_always_is_not_judged(measure, events):
    found = measure(np.arange(200) < events, np.linspace(0.1, 0.9, 200), np.arange(200))
    assert np.isnan(found.value)
    assert "in fewer than 10 units" in found.note


def test_copies_of_few_groups_do_not_make_them_many():
    occurred, group = copied(np.arange(18) < 9, np.full(18, 50))
    assert (
        "the class occurs, or does not, in fewer than 10 units"
        in slope(occurred, np.linspace(0.1, 0.9, 900), group).note
    )


def test_classes_separated_perfectly_have_no_slope():
    probability = np.linspace(0.01, 0.99, 100)
    found = slope(probability > 0.5, probability, np.arange(100))
    assert found.note == "not estimable: the predictions separate the classes perfectly"


def test_probabilities_of_0_and_1_are_bounded():
    occurred, probability = binary(1000)
    found = slope(occurred, np.round(probability), np.arange(1000))
    assert np.isfinite([found.value, found.low, found.high]).all()
    assert found.value < 0.2
    assert calibration.logits(np.array([0.0, 0.5, 1.0])) == pytest.approx([-13.8155, 0, 13.8155], abs=1e-4)


def test_the_share_above_counts_ties_half_and_groups_once():
    target, prediction = np.array([1.0, 2, 3, 3, 3, 3]), np.full(6, 2.0)
    found = share_above(target, prediction, np.array([0, 1, 2, 2, 2, 2]))
    assert found.value == pytest.approx((0 + 0.5 + 1) / 3)
    assert share_above(target, prediction, np.arange(6)).value == pytest.approx(4.5 / 6)


def test_the_linear_slope_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    prediction = rng.normal(15, 3, 400)
    target = 0.5 * prediction + rng.normal(0, 2, 400)
    found, oracle = linear_slope(target, prediction, np.arange(400)), stats.linregress(prediction, target)
    assert found.value == pytest.approx(oracle.slope)
    assert found.high - found.value == pytest.approx(1.97 * oracle.stderr, rel=0.1)
    assert found.low < 0.5 < found.high < 1


def test_copies_tell_nothing_new_about_a_linear_slope():
    rng = np.random.default_rng(0)
    prediction = rng.normal(size=300)
    target = prediction + rng.normal(size=300)
    once = linear_slope(target, prediction, np.arange(300))
    often = linear_slope(*(np.repeat(values, 4) for values in (target, prediction)), np.repeat(np.arange(300), 4))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.01)


def test_constant_amounts_have_no_slope():
    target = np.random.default_rng(0).normal(size=100)
    assert "hardly vary" in linear_slope(target, np.full(100, 2.0), np.arange(100)).note
    assert "hardly vary" in linear_slope(np.full(100, 2.0), np.full(100, 2.0), np.arange(100)).note
    assert "fewer than 10 units" in linear_slope(target, target, np.arange(100) % 9).note


def test_a_note_never_hides_why_there_is_no_estimate():
    missing = calibration.Agreement.missing("a reason")
    assert missing.noted("how to read it").note == "not estimable: a reason"
    assert calibration.Agreement(1.0, 0.9, 1.1).noted("how to read it").note == "how to read it"


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    """On groups of one to three rows that share their outcome; 95 % of 400, less three standard errors and a half."""
    hits = np.zeros(2)
    for seed in range(400):
        occurred, probability = binary(600, shift=0.2, steep=0.6, seed=seed)
        times = np.random.default_rng(seed).integers(1, 4, 600)
        (occurred, group), (probability, _) = copied(occurred, times), copied(probability, times)
        steep = slope(occurred, probability, group)
        right = recalibrate(np.column_stack([1 - probability, probability]), 0.6, [0, 0.2])[:, 1]
        large = in_the_large(occurred, right, group)
        hits += [steep.low < 0.6 < steep.high, large.low < 0 < large.high]
    assert (np.abs(hits / 400 - 0.95) < 0.038).all()


def three_classes(n=6000, *, seed=0):
    """Outcomes of three classes, and probabilities that are twice too steep and lean to the second class."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 3))
    right = softmax(scores, axis=1)
    truth = (right.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return truth, softmax(2 * scores + [0, 0.6, -0.4], axis=1), right


def test_a_recalibration_undoes_what_was_done():
    truth, shares, right = three_classes(60_000)
    found = Recalibration.of(truth, shares, np.ones(60_000))
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.intercepts == pytest.approx([0, -0.3, 0.2], abs=0.04)
    np.testing.assert_allclose(recalibrate(shares, found.slope, found.intercepts), right, atol=0.02)


def test_no_other_slope_or_intercept_is_likelier():
    truth, shares, _ = three_classes()
    weights = np.random.default_rng(0).uniform(0.3, 1, len(truth))
    found = Recalibration.of(truth, shares, weights)

    def loss(steep, intercepts):
        made = recalibrate(shares, steep, intercepts)
        return -np.average(np.log(made[np.arange(len(truth)), truth]), weights=weights)

    best = loss(found.slope, found.intercepts)
    for step in (-0.01, 0.01):
        assert loss(found.slope + step, found.intercepts) > best
        for place in (1, 2):
            moved = np.array(found.intercepts)
            moved[place] += step
            assert loss(found.slope, moved) > best


def test_of_two_classes_it_is_the_logistic_recalibration_of_cox():
    occurred, probability = binary(shift=0.3, steep=0.5)
    log_odds = np.log(probability / (1 - probability))[:, None]
    cox = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(log_odds, occurred)
    shares = np.column_stack([1 - probability, probability])
    found = Recalibration.of(occurred.astype(int), shares, np.ones(4000))
    assert found.slope == pytest.approx(cox.coef_[0, 0], rel=1e-3)
    assert found.intercepts == pytest.approx([0, cox.intercept_[0]], abs=1e-3)


def test_after_recalibration_every_class_is_right_in_the_large():
    truth, shares, _ = three_classes()
    found = Recalibration.of(truth, shares, np.ones(len(truth)))
    made = recalibrate(shares, found.slope, found.intercepts)
    np.testing.assert_allclose(made.mean(axis=0), np.bincount(truth) / len(truth), atol=1e-6)


def test_predictions_worse_than_guessing_become_the_class_shares():
    truth, shares, _ = three_classes()
    found = Recalibration.of(truth, shares[:, [1, 2, 0]] ** 0 + 1 / (1 + 9 * shares), np.ones(len(truth)))
    assert found.slope == pytest.approx(0, abs=1e-5)
    made = recalibrate(shares, found.slope, found.intercepts)
    assert len(np.unique(made[:, 0])) > 0.99 * len(truth)  # the order of the rows is kept
    np.testing.assert_allclose(made, np.tile(np.bincount(truth) / len(truth), (len(truth), 1)), atol=1e-5)


def test_a_class_that_never_occurs_and_shares_of_0_do_no_harm():
    truth, shares, _ = three_classes()
    wide = np.column_stack([shares, np.zeros(len(truth))])
    wide[0] = [0.0, 0.0, 0.0, 1.0]
    found = Recalibration.of(truth, wide, np.ones(len(truth)))
    assert found.intercepts[3] == 0
    assert np.isfinite([found.slope, *found.intercepts]).all()
    np.testing.assert_array_equal(recalibrate(wide, found.slope, found.intercepts)[1:, 3], 0)


def test_copies_of_every_row_change_no_recalibration():
    truth, shares, _ = three_classes(500)
    once = Recalibration.of(truth, shares, np.ones(500))
    twice = Recalibration.of(np.repeat(truth, 2), np.repeat(shares, 2, axis=0), np.full(1000, 0.5))
    assert twice.slope == pytest.approx(once.slope, abs=1e-6)
    assert twice.intercepts == pytest.approx(once.intercepts, abs=1e-6)


def test_a_median_among_many_equal_targets_is_right_on_whichever_side_of_them_it_stands():
    target = np.maximum(np.random.default_rng(0).normal(size=2000), 0)
    units = Units.of(np.arange(2000))
    for prediction in (-1e-6, 0.0, 1e-6):
        found = calibration.share_above(target, np.full(2000, prediction), units, within=0.01)
        assert found.low < 0.5 < found.high
    assert calibration.share_above(target, np.full(2000, -0.1), units, within=0.01).low > 0.9
    assert calibration.share_above(target, np.full(2000, 0.5), units, within=0.01).high < 0.4
