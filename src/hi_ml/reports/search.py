"""What a search found, as an experiment: named overrides that `train` runs.

A search on disk and on screen: its trials, its charts, what is best; nothing here is measured.
"""

import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd
import yaml
from matplotlib.figure import Figure

from hi_ml.app.launch import Invocation
from hi_ml.app.text import number
from hi_ml.app.timing import stopwatch
from hi_ml.data.read import Admissions
from hi_ml.modeling import splits
from hi_ml.modeling.tuning import trials
from hi_ml.modeling.tuning.result import Searched
from hi_ml.modeling.tuning.validation import kind
from hi_ml.reports.charts import explanations, tuning
from hi_ml.reports.charts.style import caption, save
from hi_ml.reports.train import Prepared
from hi_ml.tracking.folder import RunFolder

_SEARCH_ONLY = ("trials", "folds", "trees", "smallest_gain", "resume")  # keys that train does not have


def experiment_name(searched: Searched) -> str:
    """Name the experiment that a search writes."""
    return f"{searched.model.name}_{searched.problem.task.name}"


def experiment(searched: Searched, here: Invocation) -> str:
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


def command_to_train(searched: Searched, here: Invocation, folder: str) -> str:
    """Return the command that trains the experiment of a search, as it was asked for.

    Parameters
    ----------
    here : Invocation
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


Chart = tuple[str, Figure, pd.DataFrame]


def write(
    searched: Searched, folder: RunFolder, *, table: Prepared, here: Invocation, seconds: dict[str, float]
) -> None:
    """Write every file of a search.

    Parameters
    ----------
    folder : RunFolder
        An empty folder that exists.
    table : Prepared
        None of its private words may stand in any file.
    seconds : dict of str to float
        What earlier steps took; this function adds its own.

    Raises
    ------
    PrivateValueFound
        If one does.
    """
    admissions = table.admissions
    folder.write_request(here.config, here.overrides)
    with stopwatch(seconds, "draw"):
        for name, figure, drawn in _charts(searched):
            save(figure, drawn, folder.charts / name)
    folder.write_search(_summary(searched), trials.table(searched.trials, folds=_folds(searched)))
    folder.write_experiment(experiment_name(searched), experiment(searched, here))
    folder.write_provenance(_run(searched, admissions, here, seconds), admissions.provenance(), seconds)
    table.words.refuse(folder.path)


def summary(searched: Searched, here: Invocation) -> str:
    """Write what came of a search, as lines of text."""
    first, best, task = searched.trials[0], searched.best, searched.problem.task
    gain = searched.gain
    states = ", ".join(f"{searched.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    rows = [("trial", str(first.number), str(best.number))]
    rows += [(setting, _written(first.settings[setting]), _written(value)) for setting, value in best.settings.items()]
    rows += [(f"{gain.score} ({gain.unit})", number(first.loss or 0.0, digits=5), number(best.loss or 0.0, digits=5))]
    lines = pd.DataFrame(rows, columns=["", "defaults", "best"]).to_string(index=False)
    kept = "" if searched.chosen.number else " The defaults are kept."
    return "\n".join(
        [
            "",
            f"{task.name} at {task.horizon}, {searched.model.name}, {len(searched.trials)} trials ({states}) in "
            f"{_folds(searched)} folds of {_rows(searched):,} training rows",
            lines,
            f"{gain.sentence}{kept}",
            f"To train it again: {command_to_train(searched, here, str(here.folder))}",
            f"Run folder: {here.folder}",
        ]
    )


def _charts(searched: Searched) -> Iterator[Chart]:
    """Yield name, figure and table."""
    gain, folds = searched.gain, _folds(searched)
    method = f"{folds} folds of the training part, {_rows(searched):,} admissions, groups kept together"
    method += f", {searched.light}" if searched.light else ""
    drawn = trials.history(searched.trials, ratio=1 / (folds - 1))
    note = caption(
        len(drawn),
        f"{method}. Bars: 95 % intervals of the difference from the defaults. Pruned: given up after some folds, drawn "
        f"by its difference on these; at the upper edge: farther off.",
        noun="trials",
    )
    yield "history", tuning.history(drawn, title=gain.sentence, caption=note, score=gain.score, unit=gain.unit), drawn
    ranking = searched.importances
    if not len(ranking):
        return
    note = caption(
        int(ranking["n"].iloc[0]), f"fANOVA; {method}. Lines: 95 % intervals over resampled trials.", noun="trials"
    )
    look = {"title": f"Which settings of {searched.model.name} move its loss on {searched.problem.task.name}"}
    look |= {"caption": note, "unit": "share", "measure": "Variance between trials"}
    yield "importance", explanations.importance(ranking, **look), ranking


def _summary(searched: Searched) -> dict[str, Any]:
    first, best, gain = searched.trials[0], searched.best, searched.gain
    states = {state: searched.count(state) for state in ("complete", "pruned", "failed")}
    told = {"trial": best.number, "loss": best.loss, "settings": best.settings}
    return {
        "trials": {"finished": len(searched.trials), **states},
        "folds": _folds(searched),
        "lighter": searched.light,
        "defaults": {"trial": first.number, "loss": first.loss, "settings": first.settings},
        "best": told,
        "chosen": "best" if searched.chosen.number else "defaults",
        "gain": asdict(gain),
        "importance": "fANOVA" if len(searched.importances) else "too few trials, or no differences between them",
        "experiment": experiment_name(searched),
    }


def _run(searched: Searched, admissions: Admissions, here: Invocation, seconds: dict[str, float]) -> dict[str, Any]:
    problem = searched.problem
    return {
        **here.provenance(),
        "dataset": admissions.dataset.name,
        "source": admissions.origin,
        "task": problem.task.name,
        "kind": problem.task.kind,
        "unit": problem.task.unit,
        "horizon": problem.task.horizon,
        "model": searched.model.name,
        "features": len(problem.features.frame.columns),
        "seed": searched.plan.seed,
        "rows": len(problem.target),
        "parts": {part: int(problem.where(part).sum()) for part in splits.PARTS},
        "split_sha256": splits.digest(problem.parts, problem.row),
        "started": time.time() - sum(seconds.values()),
        "finished": time.time(),
    }


def _folds(searched: Searched) -> int:
    return len(searched.trials[0].losses)


def _rows(searched: Searched) -> int:
    return int(searched.problem.where("train").sum())


def _written(value: Any) -> str:
    return number(value, digits=3) if isinstance(value, float) else str(value)
