"""What a search found, as an experiment: named overrides that `train` runs."""

import shlex
from typing import Any

import yaml

from hi_ml.launch import Here
from hi_ml.tuning.searched import Searched
from hi_ml.tuning.validation import kind

_SEARCH_ONLY = ("trials", "folds", "trees", "smallest_gain", "resume")  # keys that train does not have


def experiment_name(searched: Searched) -> str:
    """Name the experiment that a search writes."""
    return f"{searched.model.name}_{searched.problem.task.name}"


def experiment(searched: Searched, here: Here) -> str:
    """Write the settings that were chosen as overrides, with what is known of them."""
    settings = {"model": {kind(searched.problem): searched.chosen.settings}}
    head = [
        "# @package _global_",
        f"# {searched.gain.sentence}",
        f"# Found by: python -m {here.command} {shlex.join(here.overrides)}".rstrip(),
        f"# Train it: {command_to_train(searched, here, '<the folder above this one>')}",
    ]
    return "\n".join([*head, yaml.safe_dump(settings, sort_keys=False)])


def config_to_train(searched: Searched, config: dict[str, Any]) -> dict[str, Any]:
    """Make the configuration of a search that of a training of what was chosen."""
    model, learner = config["model"], kind(searched.problem)
    shared = {key: value for key, value in config.items() if key not in _SEARCH_ONLY}
    return {**shared, "model": {**model, learner: {**model[learner], **searched.chosen.settings}}}


def command_to_train(searched: Searched, here: Here, folder: str) -> str:
    """Return the command that trains the experiment of a search, as it was asked for.

    Parameters
    ----------
    searched : Searched
    here : Here
        Of the search: its arguments are those of the training, less what only a search has or what the experiment sets.
    folder : str
        Where the folder ``experiment`` stands.
    """
    set_here = {f"model.{kind(searched.problem)}.{setting}" for setting in searched.chosen.settings}
    experiments, kept = [], []
    for override in here.overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "experiment":
            experiments += value.strip("[]").split(",")
        elif key not in {*_SEARCH_ONLY, *set_here} and not key.startswith("hydra."):
            kept.append(override)
    asked = {override.partition("=")[0] for override in kept}
    task = searched.problem.task.name
    first = [f"{key}={value}" for key, value in (("model", searched.model.name), ("task", task)) if key not in asked]
    chosen = ",".join([*experiments, experiment_name(searched)])
    last = f"+experiment={f'[{chosen}]' if experiments else chosen}"
    return shlex.join(["python", "-m", "hi_ml.train", "--config-dir", folder, *first, *kept, last])
