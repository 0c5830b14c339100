"""No cell of a few patients is told, in itself or as a difference."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hi_ml.statistics import curves
from hi_ml.statistics.disclosure import Disclosure, withheld

SMALLEST = 5
TABLES = arrays.arrays(np.int64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 12))


@given(TABLES, st.booleans())
def test_what_is_hidden_of_a_sum_is_nothing_or_enough_and_never_one_cell(table, margins):
    sizes, keys = table.ravel(), [index.ravel() for index in np.indices(table.shape)] if margins else []
    hidden = withheld(sizes, SMALLEST, *keys)
    assert hidden[(sizes > 0) & (sizes < SMALLEST)].all()
    assert not hidden[sizes == 0].any()
    for line in [key == value for key in keys for value in np.unique(key)] or [np.ones(len(sizes), dtype=bool)]:
        out = hidden & line
        enough = out.sum() > 1 and sizes[out].sum() >= SMALLEST
        assert not out.any() or enough or hidden[line & (sizes > 0)].all()


def test_nothing_is_hidden_where_every_cell_is_large():
    assert not withheld(np.array([5, 900, 7, 0]), SMALLEST).any()


@pytest.fixture(scope="module")
def rows():
    """Observations and predictions of patients who come again, of whom few have the third class."""
    rng, n = np.random.default_rng(0), 700
    patient = np.sort(rng.integers(0, 420, n))
    code = rng.choice(3, n, p=[0.6, 0.38, 0.02])
    probabilities = rng.dirichlet([2, 2, 1], n)
    return patient, code, probabilities, rng.gamma(2, 5, n).round(), rng.normal(10, 3, n)


def test_no_cell_of_a_chart_of_amounts_is_of_a_few_patients(rows):
    patient, _, _, target, predicted = rows
    rule = Disclosure(patient, SMALLEST)
    values = {"prediction": predicted, "target": target, "residual": target - predicted}
    for trace, name in ((curves.predicted_observed_table, "target"), (curves.residual_table, "residual")):
        table = trace(target, predicted, rule=rule)
        assert {"cell", "band"} <= set(table["layer"])
        for layer in ("cell", "histogram"):
            cells = table[table["layer"] == layer]
            names = [name] if layer == "histogram" else ["prediction", name]
            ends = {one: (cells[f"{one}_low"].min(), cells[f"{one}_high"].max()) for one in names}
            for cell in cells.to_dict("records"):
                if any(cell[f"{one}_low"] == low or cell[f"{one}_high"] == high for one, (low, high) in ends.items()):
                    continue  # an outermost cell holds what lies beyond
                inside = np.all([between(values[one], cell, one) for one in names], axis=0)
                assert inside.sum() == cell["n"]
                assert len(np.unique(patient[inside])) >= SMALLEST
        assert not table["n"].between(1, SMALLEST - 1).any()
        assert (table.loc[table["layer"] == "band", "n"] >= 10 * SMALLEST).all()  # so that a tenth is a cell


def between(values, cell, name):
    return (values >= cell[f"{name}_low"]) & (values < cell[f"{name}_high"])


def test_no_cell_of_a_confusion_matrix_is_of_a_few_patients_or_told_by_its_margins(rows):
    patient, code, probabilities, *_ = rows
    table = curves.confusion_table(
        code, probabilities.argmax(axis=1), labels=range(3), rule=Disclosure(patient, SMALLEST)
    )
    hidden = table["n"].isna().to_numpy().reshape(3, 3)
    assert hidden.any()
    assert not hidden.all()
    assert not ((table["n"] > 0) & (table["n"] < SMALLEST)).any()
    assert set(hidden.sum(axis=0)) | set(hidden.sum(axis=1)) <= {0, 2, 3}
    assert (table["share"].isna() == table["n"].isna()).all()


@pytest.mark.parametrize("trace", [curves.roc_table, curves.precision_recall_table])
def test_between_two_points_of_a_curve_lie_enough_patients_of_each_kind_or_none(rows, trace):
    patient, code, probabilities, *_ = rows
    table = trace(code, probabilities, labels=range(3), rule=Disclosure(patient, SMALLEST))
    full = trace(code, probabilities, labels=range(3))
    for label, part in table.groupby("class"):
        score, ends = probabilities[:, label], np.sort(part["threshold"].to_numpy())[::-1]
        assert len(part) > 2
        assert part["area"].iloc[0] == pytest.approx(full.loc[full["class"] == label, "area"].iloc[0])
        for high, low in pairwise(ends):
            band = (score < high) & (score >= low) if np.isfinite(high) else score >= low
            for kind in (band & (code == label), band & (code != label)):
                assert not 0 < len(np.unique(patient[kind])) < SMALLEST


def test_a_class_of_a_few_patients_has_no_curve():
    code = np.r_[np.zeros(50), np.ones(4)].astype(int)
    table = curves.roc_table(code, np.full((54, 2), 0.5), labels=range(2), rule=Disclosure(np.arange(54), SMALLEST))
    assert table.empty


def test_no_bin_of_a_reliability_chart_has_a_few_patients_with_the_class_or_without(rows):
    patient, code, probabilities, *_ = rows
    table = curves.reliability_table(code, probabilities, labels=range(3), rule=Disclosure(patient, SMALLEST))
    assert set(table["class"]) == {0, 1, 2}
    for bin_ in table.to_dict("records"):
        score = probabilities[:, bin_["class"]]
        inside = (score >= bin_["probability_low"]) & (score <= bin_["probability_high"])
        for kind in (inside & (code == bin_["class"]), inside & (code != bin_["class"])):
            assert not 0 < len(np.unique(patient[kind])) < SMALLEST
    assert table.groupby("class")["n"].sum().eq(len(patient)).all()
