"""Commands stopped at random moments: nothing is lost, done twice or left. ``experiments/kills.py`` stops many."""

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.slow
def test_whatever_stops_a_command_the_next_call_makes_it_good(tmp_path):
    spec = importlib.util.spec_from_file_location("kills", Path(__file__).parents[1] / "experiments" / "kills.py")
    kills = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kills)
    names = ("train", "track", "predict")
    ends, wrong = kills.kill(tmp_path, 3, names, seed=1)
    assert wrong == []
    assert [name for name, *_ in ends] == list(names)
