"""A first look at a table: months, ages, missing values, and nothing of few patients."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from hi_ml.evaluation.first_look import AGE, MISSING, MONTH, measure, sentence


def look(table, group=None, smallest=5):
    group = np.arange(len(table)) if group is None else group
    return measure(SimpleNamespace(problem=SimpleNamespace(table=table, group=group, smallest_cell=smallest)))


def counts(found, part):
    return found[found["part"] == part].set_index("label")["n"].to_dict()


def test_months_decades_and_missing_values_are_counted():
    day = pd.Series(pd.to_datetime(["2024-01-05"] * 6 + ["2024-02-07"] * 8))
    age = pd.Series([41.0] * 7 + [58.0] * 7)
    found = look(pd.DataFrame({"admitted_on": day, "age": age, "ward": [None] * 5 + ["A"] * 9}))
    assert counts(found, MONTH) == {"2024-01": 6, "2024-02": 8}
    assert counts(found, AGE) == {"40 to 49": 7, "50 to 59": 7}
    assert counts(found, MISSING) == {"admitted_on": 0, "age": 0, "ward": 5}
    assert sentence(found) == "1 column lacks values: most of all ward, 35.7 % of the rows."


def test_nothing_is_told_of_few_patients_nor_of_what_would_tell_of_them():
    age = pd.Series([41.0] * 6 + [58.0] * 20 + [95.0] * 4)
    table = pd.DataFrame({"age": age, "ward": [None] * 4 + ["A"] * 26})
    found = look(table)
    assert counts(found, AGE) == {"50 to 59": 20}  # the others' sum would tell of the four
    assert "ward" not in counts(found, MISSING)
    assert counts(look(table, group=np.zeros(30, dtype=int)), AGE) == {}


def test_a_table_of_many_years_is_counted_by_year():
    day = pd.Series(pd.date_range("2000-01-01", periods=192, freq="MS"))
    assert counts(look(pd.DataFrame({"admitted_on": day})), MONTH) == {str(year): 12 for year in range(2000, 2016)}
