"""What `hi_ml`, and each command's --help, say to a person."""

from importlib import import_module

import pytest

import hi_ml
from hi_ml.__main__ import main
from hi_ml.app import manual

COMMANDS = manual.commands()


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_a_command_every_one_is_listed_with_an_example(inside, words):
    code, out, _ = inside(main, *words)
    assert code == 0
    for name in COMMANDS:
        assert f"\n{name}: " in out
        assert f"  python -m hi_ml.{name} " in out


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_commands_yaml_without_what_only_hydra_needs(inside, name, flag):
    code, out, _ = inside(import_module(f"hi_ml.{name}").main, flag)
    assert (code, out.startswith(f"hi_ml {name}: ")) == (0, True)
    assert f"For example\n  python -m hi_ml.{name} " in out
    assert "Keys, as key=value" in out
    assert not any(word in out for word in ("job_logging", "_self_", "hydra:", "house"))


def test_help_lists_the_options_of_the_package_and_of_ones_own_folder(inside, tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "falls.yaml").write_text("target: falls\n")
    words = ["--help", "--config-dir", str(tmp_path)]
    _, out, _ = inside(import_module("hi_ml.train").main, *words)
    assert "billing, complication, falls, length_of_stay" in out
    assert "(default: lgbm)" in out


def test_tune_has_the_keys_of_train_too():
    assert {"trials: 30", "seed: 0"} <= {line.split("  #")[0].strip() for line in manual.page("tune").splitlines()}


def test_a_misspelt_command_is_told_its_neighbour(inside):
    code, _, said = inside(main, "trian")
    assert code == 1
    assert said.endswith("Did you mean train?\n")


def test_a_command_runs_by_its_name(inside, tmp_path):
    assert inside(main, "simulate", "output=table.csv", "rows=30")[0] == 0
    assert (tmp_path / "table.csv").exists()


def test_the_version_is_that_of_the_package(inside):
    assert inside(main, "--version")[1] == f"{hi_ml.__version__}\n"


@pytest.mark.parametrize("words", [["--glossary"], ["train", "--glossary"]])
def test_the_words_of_screen_and_page_are_explained(inside, words):
    ended = inside(main, *words)
    assert ended.code == 0
    for word in ("signal", "negligible", "no signal", "worse", "inconclusive", "mean absolute error", "net benefit"):
        assert f"\n{word}: " in f"\n{ended.stdout}"
