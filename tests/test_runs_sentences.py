from types import SimpleNamespace

import numpy as np
import pandas as pd

from hi_ml.reports.screen import calibrated, compared


def with_calibration(*rows):
    columns = ["class", "measure", "value", "low", "high", "ideal"]
    return SimpleNamespace(calibration=pd.DataFrame(rows, columns=columns))


def with_subgroups(*verdicts):
    rows = [("age", f"band {i}", "mae", verdict) for i, verdict in enumerate(verdicts)]
    return SimpleNamespace(subgroups=pd.DataFrame(rows, columns=["role", "level", "score", "verdict"]))


def test_each_measure_is_said_with_its_interval_and_judged_where_there_is_an_ideal():
    trained = with_calibration(("", "share_above", 0.51, 0.505, 0.515, 0.5), ("", "slope", 0.97, 0.9, 1.04, np.nan))
    assert calibrated(trained) == (
        "Calibration: share above 0.510 (0.505 to 0.515); slope 0.970 (0.900 to 1.04); 1 of 1 intervals miss the ideal."
    )


def test_measures_of_classes_are_said_as_a_range_and_what_is_missing_is_counted():
    trained = with_calibration(
        ("a", "in_the_large", -0.1, -0.2, 0.1, 0.0),
        ("a", "slope", np.nan, np.nan, np.nan, 1.0),
        ("b", "in_the_large", 0.2, 0.1, 0.3, 0.0),
        ("b", "slope", 1.2, 0.8, 1.6, 1.0),
    )
    assert calibrated(trained) == (
        "Calibration: in the large between -0.100 and 0.200 over 2 classes; slope 1.20 (0.800 to 1.60); "
        "1 of 3 intervals miss the ideal; 1 not estimable."
    )


def test_levels_that_differ_are_named_up_to_five():
    assert compared(with_subgroups("inconclusive", "no difference that matters")) == (
        "Subgroups: 0 of 2 differences matter, 1 inconclusive."
    )
    assert compared(with_subgroups("inconclusive", "different")) == (
        "Subgroups: 1 of 2 differences matter, 1 inconclusive: age band 1 (mae)."
    )
    assert compared(with_subgroups(*["different"] * 7)).endswith("age band 4 (mae) and 2 more.")


def test_nothing_compared_is_nothing_said():
    assert compared(with_subgroups()) is None
