"""Tables of predictions against the truth: against brute force and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from hi_ml.statistics import curves
from hi_ml.statistics import curves as binned

LABELS = ["Normal", "Abnormal", "Inconclusive"]


@pytest.fixture
def numbers():
    rng = np.random.default_rng(1)
    prediction = rng.uniform(2, 28, 3000)
    target = np.clip(np.round(prediction + rng.normal(0, 5, 3000)), 1, 30)
    return target, prediction, rng.choice([1.0, 0.5, 1 / 3], 3000)


@pytest.fixture
def classes():
    rng = np.random.default_rng(2)
    shares = rng.dirichlet([1, 2, 3], 4000)
    target = np.array(LABELS)[[rng.choice(3, p=row) for row in shares]]
    return target, shares, rng.choice([1.0, 0.5], 4000)


def test_cells_count_every_row_in_its_own_cell(numbers):
    target, prediction, _ = numbers
    table = binned.cell_counts(prediction, target)
    assert table["n"].sum() == target.size
    inner = table[(table["target_low"] > 3) & (table["target_high"] < 28) & (table["prediction_low"] > 4)]
    for cell in inner.sample(20, random_state=0).itertuples():
        across = (prediction >= cell.prediction_low) & (prediction < cell.prediction_high)
        assert cell.n == (across & (target >= cell.target_low) & (target < cell.target_high)).sum()


def test_whole_numbers_get_whole_cells(numbers):
    target, prediction, _ = numbers
    cells = binned.cell_counts(prediction, target)
    assert set(cells["target_high"] - cells["target_low"]) == {1.0}
    assert set(cells["target_low"] % 1) == {0.5}
    layers = binned.residual_table(target, prediction)
    bars = layers[layers["layer"] == "histogram"]
    assert set(bars["residual_high"] - bars["residual_low"]) == {1.0}


def test_outliers_are_counted_in_the_outermost_cells():
    values = np.r_[np.linspace(0, 1, 999), 1e6]
    table = curves.residual_table(values, np.zeros(1000))
    table = table[table["layer"] == "histogram"]
    assert table["n"].sum() == 1000
    assert table["residual_high"].max() < 2


def test_quantiles_are_those_of_each_bin(numbers):
    target, prediction, weights = numbers
    table = binned.quantiles_by_prediction(prediction, target, bins=10)
    assert table["n"].tolist() == [300] * 10
    order = np.argsort(prediction)
    for i, part in enumerate(np.array_split(target[order], 10)):
        expected = np.quantile(part, [0.1, 0.5, 0.9], method="inverted_cdf")
        np.testing.assert_array_equal(table.loc[i, ["q10", "q50", "q90"]].to_numpy(float), expected)
    weights = weights / target  # short stays count more
    weighted = binned.quantiles_by_prediction(prediction, target, weights, bins=1)
    assert weighted.loc[0, "q50"] < np.median(target) - 3
    by_value = pd.Series(weights).groupby(target).sum().cumsum() / weights.sum()
    assert weighted.loc[0, "q50"] == by_value.index[by_value >= 0.5][0]
    assert weighted.loc[0, "prediction"] == pytest.approx(np.average(prediction, weights=weights))


def test_half_weight_twice_is_weight_once(numbers):
    target, prediction, _ = numbers
    once = binned.quantiles_by_prediction(prediction, target, bins=7)
    twice = binned.quantiles_by_prediction(prediction.repeat(2), target.repeat(2), np.full(6000, 0.5), bins=7)
    pd.testing.assert_frame_equal(once.drop(columns="n"), twice.drop(columns="n"))


def test_equal_predictions_stay_together_and_bins_hold_20_rows():
    values = np.repeat([1.0, 2.0, 3.0], [50, 5, 945])
    masks = list(binned.equal_count_bins(values, 12))
    assert sum(mask.sum() for mask in masks) == 1000
    assert all(np.unique(values[mask]).size < 3 for mask in masks)
    assert not any(((values[mask] == 3).any() and (values == 3)[mask].sum() != 945) for mask in masks)
    assert len(list(binned.equal_count_bins(np.arange(5.0), 12))) == 1
    assert len(list(binned.equal_count_bins(np.zeros(500), 12))) == 1


def test_residual_shares_are_weighted_and_sum_to_one(numbers):
    target, prediction, weights = numbers
    table = binned.residual_table(target, prediction, weights)
    bars = table[table["layer"] == "histogram"]
    assert bars["share"].sum() == pytest.approx(1)
    assert bars["n"].sum() == target.size
    bar = bars.iloc[len(bars) // 2]
    inside = (target - prediction >= bar["residual_low"]) & (target - prediction < bar["residual_high"])
    assert bar["share"] == pytest.approx(weights[inside].sum() / weights.sum())


def test_predictions_that_hardly_differ_get_few_bands(numbers):
    target, _, _ = numbers
    narrow = 15 + np.random.default_rng(0).normal(0, 0.1, target.size)
    table = binned.predicted_observed_table(target, narrow)
    assert (table["layer"] == "band").sum() == 1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_rows_gives_tables(n):
    target, prediction = np.arange(n) + 1.0, np.full(n, 3.25)
    for table in (binned.predicted_observed_table(target, prediction), binned.residual_table(target, prediction)):
        assert table.loc[table["layer"] == "cell", "n"].sum() == n
        assert table.loc[table["layer"] == "band", "n"].sum() == n


def test_confusion_is_that_of_sklearn(classes):
    target, shares, weights = classes
    made = np.array(LABELS)[shares.argmax(axis=1)]
    table = curves.confusion_table(target, made, weights, labels=LABELS)
    expected = metrics.confusion_matrix(target, made, labels=LABELS)
    np.testing.assert_array_equal(table["n"].to_numpy().reshape(3, 3), expected)
    expected = metrics.confusion_matrix(target, made, labels=LABELS, sample_weight=weights, normalize="true")
    np.testing.assert_allclose(table["share"].to_numpy().reshape(3, 3), expected)


def test_confusion_keeps_a_class_nobody_has():
    table = curves.confusion_table(["a", "b"], ["a", "a"], labels=["a", "b", "c"])
    assert table.loc[table["target"] == "c", "n"].eq(0).all()
    assert table.loc[table["target"] == "c", "share"].isna().all()


def test_a_class_outside_the_labels_is_named():
    with pytest.raises(ValueError, match=r"'c'.*one of the labels"):
        curves.confusion_table(["a", "c"], ["a", "a"], labels=["a", "b"])


def test_reliability_counts_each_bin(classes):
    target, shares, weights = classes
    table = curves.reliability_table(target, shares, weights, labels=LABELS)
    assert table.groupby("class")["n"].sum().eq(target.size).all()
    row = table[table["class"] == "Abnormal"].iloc[3]
    inside = (shares[:, 1] >= row["probability_low"]) & (shares[:, 1] <= row["probability_high"])
    assert row["n"] == inside.sum()
    assert row["probability"] == pytest.approx(np.average(shares[inside, 1], weights=weights[inside]))
    assert row["observed"] == pytest.approx(np.average(target[inside] == "Abnormal", weights=weights[inside]))


def test_consistency_band_holds_right_probabilities_and_not_wrong_ones():
    rng = np.random.default_rng(3)
    inside, outside = [], []
    for _ in range(60):
        p = rng.uniform(0, 1, 1000)
        y = np.where(rng.uniform(size=1000) < p, "yes", "no")
        for claimed, found in ((p, inside), (p**2, outside)):
            table = curves.reliability_table(y, np.c_[1 - claimed, claimed], labels=["no", "yes"])
            table = table[table["class"] == "yes"]
            found.append(table["observed"].between(table["low"] - 1e-12, table["high"] + 1e-12).mean())
    assert 0.94 <= np.mean(inside) <= 0.99  # 95 % and what discreteness adds
    assert np.mean(outside) < 0.5


def test_consistency_band_agrees_with_resampling():
    p = np.linspace(0.2, 0.3, 100)
    row = curves.reliability_table(np.full(100, "yes"), p[:, None], labels=["yes"], bins=1).iloc[0]
    drawn = (np.random.default_rng(0).uniform(size=(4000, 100)) < p).mean(axis=1)
    np.testing.assert_allclose(row[["low", "high"]].to_numpy(float), np.quantile(drawn, [0.025, 0.975]), atol=0.0101)


def test_a_group_counts_as_one_trial():
    p = np.full((100, 1), 0.3)
    once = curves.reliability_table(np.full(100, "a"), p, labels=["a"])
    halves = curves.reliability_table(np.full(200, "a"), p.repeat(2, axis=0), np.full(200, 0.5), labels=["a"])
    pd.testing.assert_frame_equal(once.drop(columns="n"), halves.drop(columns="n"))


def test_roc_is_that_of_sklearn_in_at_most_200_points(classes):
    target, shares, weights = classes
    table = curves.roc_table(target, shares, weights, labels=LABELS)
    for code, label in enumerate(LABELS):
        part = table[table["class"] == label]
        assert 100 < len(part) <= 200
        is_label = target == label
        area = metrics.roc_auc_score(is_label, shares[:, code], sample_weight=weights)
        assert part["area"].iloc[0] == pytest.approx(area)
        assert metrics.auc(part["false_positive_rate"], part["true_positive_rate"]) == pytest.approx(area, abs=0.002)
        row = part.iloc[len(part) // 2]
        above = shares[:, code] >= row["threshold"]
        rate = np.average(above[is_label], weights=weights[is_label])
        assert row["true_positive_rate"] == pytest.approx(rate)
        assert part[["n", "n_positive"]].drop_duplicates().to_numpy().tolist() == [[4000, is_label.sum()]]
        assert part.iloc[[0, -1]][["false_positive_rate", "true_positive_rate"]].to_numpy().tolist() == [[0, 0], [1, 1]]


def test_precision_recall_is_that_of_sklearn_in_at_most_200_points(classes):
    target, shares, weights = classes
    table = curves.precision_recall_table(target, shares, weights, labels=LABELS)
    for code, label in enumerate(LABELS):
        part = table[table["class"] == label]
        assert 100 < len(part) <= 200
        is_label = target == label
        expected = metrics.average_precision_score(is_label, shares[:, code], sample_weight=weights)
        assert part["area"].iloc[0] == pytest.approx(expected)
        assert part["chance"].iloc[0] == pytest.approx(np.average(is_label, weights=weights))
        row = part.iloc[len(part) // 2]
        above = shares[:, code] >= row["threshold"]
        assert row["precision"] == pytest.approx(np.average(is_label[above], weights=weights[above]))


@pytest.mark.parametrize("table", [curves.roc_table, curves.precision_recall_table])
def test_an_absent_class_has_one_row_without_a_curve(table):
    found = table(["a", "b", "a"], np.full((3, 3), 1 / 3), labels=["a", "b", "c"])
    absent = found[found["class"] == "c"]
    assert len(absent) == 1
    assert absent["area"].isna().all()
    assert absent["n_positive"].tolist() == [0]


def test_the_tables_are_the_same_every_time(classes):
    target, shares, _ = classes
    for table in (curves.reliability_table, curves.roc_table, curves.precision_recall_table):
        pd.testing.assert_frame_equal(table(target, shares, labels=LABELS), table(target, shares, labels=LABELS))
