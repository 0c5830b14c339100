"""What is said of a setting of the wrong type: our words, at the key that was written, with what would do."""

from copy import deepcopy
from importlib import import_module

import pytest
from pydantic import ValidationError

from hi_ml import compare, findings, train
from hi_ml.app.config import build, compose
from hi_ml.app.errors.values import problems
from hi_ml.app.manual import commands

ASKED = [
    (compare, "runs=nothing", "runs: expected a list, as [nothing] (found 'nothing')"),
    (compare, 'runs="a b"', "runs: expected a list, as '[\"a b\"]' (found 'a b')"),
    (compare, "tracking_seconds=soon", "tracking_seconds: expected a number (found 'soon')"),
    (compare, "files=mine", "files: expected 'private' or 'umask' (found 'mine')"),
    (train, "dataset.name=3", "dataset.name: expected text, as '\"3\"' (found 3)"),
    (train, "dataset.columns.age.from={a: 1}", "dataset.columns.age.from: expected text or a list. See"),
    (train, "split=grouped split.train=half", "split.train: expected a number (found 'half')"),
    (train, "leakage.repeats=0", "leakage.repeats: expected at least 1 (found 0)"),
    (train, "leakage.repeats=1.5", "leakage.repeats: expected a whole number (found 1.5)"),
    (train, "share_rows=perhaps", "share_rows: expected true or false (found 'perhaps')"),
    (train, "assessments.verdict=3", "expected keys of its own, as assessments.verdict.<key>=<value> (found 3)"),
    (
        findings, "findings.emergency_stay.smallest_group=few",
        "findings.emergency_stay.smallest_group: expected a whole number (found 'few')",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("module", "words", "said"), ASKED)
def test_a_value_of_the_wrong_type_is_told_with_its_key_and_what_would_do(inside, module, words, said):
    asked = words.split() if words.startswith("split") else [words]
    ended = inside(module.main, *asked)
    assert ended.code == 1
    assert ended.stderr.startswith("ConfigurationInvalid: The configuration is wrong: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def keys_of(node, *above):
    for name, value in node.items():
        yield (*above, name)
        if isinstance(value, dict) and len(above) < 2 and name != "columns":
            yield from keys_of(value, *above, name)


@pytest.mark.parametrize("command", commands())
def test_no_setting_of_any_command_is_refused_in_the_words_of_pydantic(command):
    node = compose(command)
    kind = getattr(import_module(f"hi_ml.{command}"), f"{command.capitalize()}Settings")
    refused = 0
    for *above, last in list(keys_of(node)):
        for wrong in ("nothing", [1, "x"], {"a": 1}, -3.5):
            changed = deepcopy(node)
            place = changed
            for key in above:
                place = place[key]
            place[last] = wrong
            try:
                build(kind, changed)
            except ValidationError as error:
                refused += 1
                for where, what, _ in problems(error.errors(), changed):
                    assert not {"Input", "valid", "instance"} & set(what.split()), (where, what)
                    assert ".".join([*above, last]).startswith(where) or where.startswith(".".join(above)), where
                    assert "[" not in where
    assert refused


def test_of_several_types_only_what_the_keys_inside_say_is_told():
    several = [
        {"type": "string_type", "loc": ("input", "str"), "msg": "", "input": {"url": 1}},
        {"type": "string_type", "loc": ("input", "Database", "url"), "msg": "", "input": 1},
    ]
    assert problems(several, {"input": {"url": 1}}) == [("input.url", "expected text, as '\"1\"'", 1)]
