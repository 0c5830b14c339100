"""A visit is the fold of its events: nothing depends on when they came, or how often."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import get_args, get_type_hints
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hi_ml.data.sources.events import Event
from hi_ml.prediction.feed.visits import fold

ZONE = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 1, 8, tzinfo=ZONE)


def told(*kinds, **changes):
    """Events of one visit, an hour apart."""
    return [
        Event(kind, START + timedelta(hours=i), START + timedelta(hours=i), "ADT", str(i + 1), visit="v", **changes)
        for i, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ("admit", "in"),
        ("plan", "planned"),
        ("plan admit", "in"),
        ("plan cancel_plan", "cancelled"),
        ("plan admit cancel_admit", "planned"),
        ("admit cancel_admit", "cancelled"),
        ("admit transfer update cancel_admit", "cancelled"),
        ("admit cancel_admit update", "cancelled"),
        ("admit cancel_admit transfer", "cancelled"),
        ("admit cancel_admit admit", "in"),
        ("cancel_admit", "cancelled"),
        ("transfer cancel_admit", "cancelled"),
        ("plan cancel_admit", "planned"),
        ("class class cancel_admit", "in"),
        ("admit discharge discharge cancel_discharge", "in"),
        ("admit discharge admit discharge cancel_discharge", "in"),
        ("admit discharge admit cancel_discharge", "in"),
        ("plan plan cancel_plan", "cancelled"),
        ("admit admit update admit cancel_admit", "cancelled"),
        ("admit class cancel_admit", "in"),
        ("admit discharge admit cancel_admit", "out"),
        ("admit discharge", "out"),
        ("admit discharge update", "out"),
        ("admit discharge transfer", "out"),
        ("admit discharge cancel_discharge", "in"),
        ("admit discharge cancel_discharge discharge", "out"),
        ("admit discharge admit", "in"),
        ("discharge", "out"),
        ("transfer", "in"),
        ("cancel_discharge", "in"),
        ("update", "unheard"),
        ("class", "in"),
        ("admit class", "in"),
        ("admit discharge cancel_admit", "cancelled"),
    ],
)
def test_the_events_of_a_visit_say_whether_somebody_is_there(kinds, status):
    assert fold("v", told(*kinds.split())).status == status


def test_an_update_of_an_unheard_visit_shows_presence_only_with_an_admission_and_no_end():
    (update,) = told("update")
    assert fold("v", [replace(update, admitted=START)]).status == "in"
    assert fold("v", [replace(update, admitted=START, discharged=START)]).status == "unheard"
    assert fold("v", [replace(update, admitted=START, visit="")]).status == "unheard"


def test_a_discharge_date_elsewhere_than_in_a_discharge_ends_nothing():
    admit, update = told("admit", "update")
    visit = fold("v", [admit, replace(update, discharged=START)])
    assert (visit.status, visit.discharged) == ("in", None)


def test_a_correction_replaces_and_an_admission_written_down_late_reopens_nothing():
    admit, discharge, late, update = told("admit", "discharge", "admit", "update", features={"sex": "Male"})
    earlier = START - timedelta(days=2)
    late, update = replace(late, happened=earlier), replace(update, features={"sex": "Female", "age": ""}, unit="B")
    visit = fold("v", [admit, discharge, late, update])
    assert (visit.status, visit.admitted, visit.unit) == ("out", earlier, "B")
    assert visit.features == {"sex": "Female", "admitted_on": "2026-02-27"}


def test_a_cancelled_transfer_leaves_the_unit_before():
    admit, transfer, cancel = told("admit", "transfer", "cancel_transfer")
    events = [replace(admit, unit="A"), replace(transfer, unit="B"), cancel]
    assert fold("v", events).unit == "A"
    assert fold("v", events[:2]).unit == "B"
    again = replace(events[1], control="again")
    further = replace(again, control="further", recorded=START + timedelta(hours=1, minutes=30), unit="C")
    assert fold("v", [*events, again]).unit == "A"
    assert fold("v", [*events, again, further]).unit == "B"


EVENTS = st.lists(
    st.builds(
        Event,
        kind=st.sampled_from(get_args(get_type_hints(Event)["kind"])),
        recorded=st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours)),
        happened=st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours)),
        sender=st.sampled_from(["A", "B"]),
        control=st.sampled_from(["9", "10", "MSG1"]),
        visit=st.just("v"),
        unit=st.sampled_from(["", "A", "B"]),
        admitted=st.none() | st.just(START),
        features=st.dictionaries(st.sampled_from(["age", "sex"]), st.sampled_from(["", "1", "2"])),
    ),
    max_size=5,
)


@given(EVENTS)
def test_every_order_with_any_repeat_gives_the_same_visit(events):
    folded = fold("v", events)
    assert all(fold("v", [*order, *order[:2]]) == folded for order in list(permutations(events))[:120])


def test_numbers_of_one_second_count_as_numbers():
    admit, discharge = (replace(event, recorded=START, happened=START) for event in told("admit", "discharge"))
    assert fold("v", [replace(discharge, control="10"), replace(admit, control="9")]).status == "out"


def test_days_stayed_count_hours_that_passed_over_a_change_of_the_clock():
    visit = fold("v", [replace(event, admitted=datetime(2026, 3, 28, 12, tzinfo=ZONE)) for event in told("admit")])
    assert visit.days(datetime(2026, 3, 29, 12, tzinfo=ZONE)) == pytest.approx(23 / 24)
    assert visit.days(datetime(2026, 3, 27, tzinfo=ZONE)) == 0
