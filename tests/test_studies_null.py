"""The null calendar (`make studies`), on a few small tables: it cannot prove 5 %, it catches a broken method."""

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import binom

FOLDER = Path(__file__).parents[1] / "experiments"
TABLES = 8
MOST = int(binom.isf(0.001, TABLES, 0.05))  # hits; a method of 5 % has more in one test of a thousand


@pytest.fixture(scope="module")
def calendar():
    sys.path.insert(0, str(FOLDER))  # the studies share null_tables
    spec = importlib.util.spec_from_file_location("null_calendar", FOLDER / "null_calendar.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["null_calendar"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    del sys.modules["null_calendar"]


def test_the_calendar_has_its_cells(calendar):
    cells = calendar.cells()
    assert len(cells) == 38
    assert len(set(cells.values())) == 38
    table = calendar.table_of(calendar.Cell(admissions=2_000, prevalence=0.05, giant=0.5), 1)
    assert len(table) == 2_000
    assert table["patient_id"].value_counts().max() == 1_000
    assert (table["test_result"] == "result 0").mean() == pytest.approx(0.05, abs=0.04)


def test_a_cell_that_goes_on_where_it_ended_is_added_up(calendar):
    parts = [
        pd.DataFrame({"question": ["claim", "drift"], "tables": [20, 20], "hits": hits, "cell": "base"})
        for hits in ([1, 0], [2, 5])
    ]
    nothing = pd.DataFrame({"cell": [], "tables": []})  # of a calendar that begins anew
    first = calendar.added_up(pd.concat([nothing, parts[0]]))
    found = calendar.added_up(pd.concat([first, parts[1]])).set_index("question")
    assert found[["tables", "hits", "most"]].to_numpy().tolist() == [[40, 3, 8], [40, 5, 8]]
    assert found.loc["claim", ["share", "low", "high"]].tolist() == pytest.approx([0.075, 0.0157, 0.2039], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"per_patient": 5, "kept": 1.0}, {"tail": "lognormal 2", "tiny": 20}])
def test_no_claim_is_supported_where_none_holds(calendar, change):
    cell = calendar.Cell(admissions=1_500, **change)
    hits = [dict([next(calendar.answers(cell, seed))])["claim"] for seed in range(TABLES)]
    assert sum(hits) <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"per_patient": 3, "prevalence": 0.05}, {"giant": 0.5}])
def test_nothing_is_found_by_a_model_where_there_is_nothing(calendar, change):
    cell = calendar.Cell(admissions=1_000, **change)
    answers = [dict(calendar.answers(cell, seed)) for seed in range(TABLES)]
    drift = [] if "giant" in change else ["drift"]  # rows without the patient who made most of training do differ
    for question in ("claim", "amount", "classes", "subgroup", "probe", "promotion", *drift):
        assert sum(bool(answer[question]) for answer in answers) <= MOST, question
