"""Tables, YAML, manifests, run folders and models, damaged in a few ways; ``python tests/fuzz.py 2000`` tries many."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).with_name("fuzz.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_damaged_input_ends_in_a_result_or_a_sentence(fuzz, tmp_path):
    counts, wrong, slowest = fuzz.fuzz(tmp_path, range(24))
    assert wrong == {}
    assert sum(counts.values()) == 24
    assert slowest < fuzz.SECONDS
    assert {kind for kind, _ in counts} == set(fuzz.KINDS)


def test_what_is_neither_is_listed(fuzz, tmp_path, monkeypatch):
    def stumble(*_):
        raise KeyError("an input that nobody foresaw")

    monkeypatch.setattr(fuzz, "KINDS", {"csv": lambda *_: stumble, "yaml": lambda *_: lambda: fuzz.time.sleep(9)})
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    monkeypatch.setattr(fuzz, "Base", lambda folder: SimpleNamespace(folder=folder))
    assert list(fuzz.fuzz(tmp_path, range(2))[1].values()) == [
        "csv: KeyError: 'an input that nobody foresaw' ()",
        "yaml: longer than 0.1 s",
    ]
