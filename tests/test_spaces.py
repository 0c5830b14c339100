import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hi_ml.app.config import build, compose, conf_dir
from hi_ml.modeling.models import Model
from hi_ml.modeling.spaces import Choices, Range, Space

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))


def of(node):
    return build(Space, {"depth": node})["depth"]


@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_default_lies_in_its_space(name):
    model = build(Model, compose("train", f"model={name}")["model"])
    for key, dimension in model.space.items():
        for learner in (model.regression, model.classification):
            assert key not in learner or dimension.holds(learner[key]), key
    assert bool(model.space) == (name != "baseline")


def test_a_node_becomes_a_range_or_choices():
    assert of({"low": 1, "high": 10, "log": True, "integer": True}) == Range(1, 10, log=True, integer=True)
    chosen = of({"choices": [0.5, "sqrt", None, True, 3]})
    assert chosen == Choices([0.5, "sqrt", None, True, 3])
    assert [type(choice) for choice in chosen.choices] == [float, str, type(None), bool, int]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"low": 2, "high": 1}, "low below high, found low=2 and high=1"),
        ({"low": 1, "high": 1}, "low below high"),
        ({"low": 0, "high": 1, "log": True}, "starts above 0, found low=0"),
        ({"low": 0.5, "high": 4, "integer": True}, "whole ends, found 0.5 and 4"),
        ({"low": 1, "high": float("inf")}, "finite"),
        ({"low": 1}, "high"),
        ({"low": 1, "high": 2, "step": 1}, "step"),
        ({"choices": [1]}, "at least 2"),
        ({"choices": [1, 2], "low": 1}, "low"),
        (3, "dictionary"),
    ],
)
def test_a_wrong_space_is_refused_in_words_and_once(node, words):
    with pytest.raises(ValidationError, match=words) as found:
        of(node)
    assert len(found.value.errors()) == 1


@given(st.floats(-5, 5) | st.integers(-5, 5) | st.none() | st.booleans() | st.text(max_size=2))
def test_a_range_holds_numbers_between_its_ends(value):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    assert Range(-1, 2).holds(value) == (number and -1 <= value <= 2)
    assert Range(-1, 2, integer=True).holds(value) == (number and value in (-1, 0, 1, 2))


def test_choices_hold_what_they_list():
    assert [Choices([0.5, None]).holds(value) for value in (0.5, None, 0.4)] == [True, True, False]
    assert [str(Choices([0.5, None])), str(Range(0.01, 100))] == ["one of 0.5, null", "0.01 to 100"]


def test_a_space_speaks_only_of_arguments_that_a_learner_names():
    node = {**compose("train", "model=linear")["model"], "space": {"alhpa": {"low": 1, "high": 2}}}
    with pytest.raises(ValidationError, match=r"space names alhpa, .* these have C, alpha, max_iter"):
        build(Model, node)
