import numpy as np
import pytest
from scipy import stats

from hi_ml.evaluation import conformal
from hi_ml.evaluation.conformal import Checked, Slices

HELD = np.array([1.0] * 180 + [0.0] * 20)
DAYS = Checked(HELD, np.linspace(1, 3, 200), (0.92, 4.0), level=0.9, unit="days")
SLICES = Slices("sex", np.array([0] * 120 + [1] * 79 + [-1]), ["f", "m", "x"], [500, 40, 500])


def test_scores_are_means_with_t_intervals_over_groups():
    found = conformal.scores(DAYS).set_index("score")
    for name, values in (("coverage", HELD), ("width", DAYS.size)):
        low, high = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
        assert found.loc[name, ["value", "low", "high"]].tolist() == pytest.approx([values.mean(), low, high])
    assert found["baseline"].tolist() == [0.92, 4.0]
    assert found["unit"].tolist() == ["share", "days"]
    assert set(found["part"]) == {"test"}
    assert set(found.index) <= set(conformal.SCORES)


def test_the_size_of_a_set_is_a_score_of_its_own():
    made = conformal.scores(Checked(HELD, np.full(200, 2.0), (0.9, 2.7), level=0.9, unit=conformal.LABELS))
    assert made["score"].tolist() == ["coverage", "set_size"]
    assert set(made["score"]) <= set(conformal.SCORES)


def test_the_table_holds_all_groups_and_each_slice_that_has_some():
    found = conformal.table(DAYS, SLICES, calibrated=500)
    assert found["by"].tolist() == ["", "sex", "sex"]
    assert found["slice"].tolist() == ["all", "f", "m"]
    assert found["n"].tolist() == [200, 120, 79]
    assert found["coverage"].tolist() == pytest.approx([0.9, 1.0, 60 / 79])
    assert found["size"].tolist() == pytest.approx(
        [DAYS.size.mean(), DAYS.size[:120].mean(), DAYS.size[120:199].mean()]
    )
    assert set(found["baseline_size"]) == {4.0}
    for place, (n, beyond, calibrated) in enumerate([(200, 50, 500), (120, 50, 500), (79, 4, 40)]):
        band = stats.betabinom(n, calibrated + 1 - beyond, beyond).ppf([0.025, 0.975]) / n
        assert found.loc[place, ["low", "high"]].tolist() == pytest.approx(band.tolist())


@pytest.mark.parametrize(
    ("unit", "words"), [("days", "they are 2.00 days wide"), (conformal.LABELS, "they hold 2.00 labels")]
)
def test_the_sentence_says_coverage_and_size_against_knowing_nothing(unit, words):
    made = conformal.sentence(Checked(HELD, DAYS.size, (0.92, 4.0), level=0.9, unit=unit))
    assert "cover 90.0 % of the test groups (95 % interval 85.8 to 94.2)" in made
    assert words in made
    assert made.endswith("knowing nothing takes 4.00 to cover 92.0 %.")
