"""A search on disk and on screen: its trials, its charts, and what is best, as an experiment that `train` runs."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd
import yaml
from matplotlib.figure import Figure

from hi_ml.app.called import printed
from hi_ml.app.errors import quoted
from hi_ml.app.launch import Invocation
from hi_ml.app.text import number
from hi_ml.app.timing import round_seconds, stopwatch
from hi_ml.modeling.scores.score import title
from hi_ml.modeling.tuning import search
from hi_ml.modeling.tuning.result import SearchResult
from hi_ml.reports.charts import explanations, tuning
from hi_ml.reports.drawing import caption, save
from hi_ml.reports.provenance import of_problem, provenance
from hi_ml.reports.screen import wrapped
from hi_ml.reports.train import Prepared
from hi_ml.tracking.folder import RunFolder

_SEARCH_ONLY = ("trials", "folds", "trees", "resume")  # keys that train does not have


def experiment_name(result: SearchResult) -> str:
    """Name the experiment that a search writes."""
    return f"{result.model.name}_{result.problem.task.name}"


def experiment(result: SearchResult, here: Invocation) -> str:
    """Write the settings that were chosen as named overrides, with the sentence on them."""
    settings = {"model": {result.problem.task.kind: result.chosen.settings}}
    head = [
        "# @package _global_",
        f"# {result.gain.sentence}",
        f"# Found by: {here.itself()}",
        f"# Train it: {command_to_train(result, here, '<the folder above this one>')}",
    ]
    return "\n".join([*head, yaml.safe_dump(settings, sort_keys=False)])


def config_to_train(result: SearchResult, config: dict[str, Any]) -> dict[str, Any]:
    """Make the configuration of a search that of a training of what was chosen."""
    model, kind = config["model"], result.problem.task.kind
    shared = {key: value for key, value in config.items() if key not in _SEARCH_ONLY}
    return {**shared, "model": {**model, kind: {**model[kind], **result.chosen.settings}}}


def command_to_train(result: SearchResult, here: Invocation, folder: str) -> str:
    """Return the command that trains the experiment of a search, as it was asked for.

    Parameters
    ----------
    here : Invocation
        Of the search: its arguments are those of the training, less what only a search has or what the experiment sets.
    folder : str
        Where the folder ``experiment`` stands.
    """
    task = result.problem.task
    own = {*_SEARCH_ONLY, *(f"model.{task.kind}.{setting}" for setting in result.chosen.settings)}
    experiments, overrides = [], []
    for override in here.overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "experiment":
            experiments += value.strip("[]").split(",")
        elif key not in own and not key.startswith("hydra."):
            overrides.append(override)
    keys = {override.partition("=")[0] for override in overrides}
    names = {"model": result.model.name, "task": task.name}
    first = [f"{key}={name}" for key, name in names.items() if key not in keys]
    chosen = ",".join([*experiments, experiment_name(result)])
    last = f"+experiment={f'[{chosen}]' if experiments else chosen}"
    words = [*first, *overrides, last]
    if here.options:  # they come first, and Hydra finds the experiment besides
        return printed("train", f"hydra.searchpath=[{quoted(folder)}]", *words, options=here.options)
    return printed("train", *words, options=[folder])


Chart = tuple[str, Figure, pd.DataFrame]


def write(
    result: SearchResult, folder: RunFolder, *, table: Prepared, here: Invocation, seconds: dict[str, float]
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
    folder.write(config=here.config, overrides=here.overrides)
    with stopwatch(seconds, "draw"):
        for name, figure, behind in _charts(result):
            save(figure, behind, folder.charts / name)
    folder.write(search=_summary(result), trials=search.table(result.trials, folds=_folds(result)))
    folder.experiments.mkdir()
    (folder.experiments / f"{experiment_name(result)}.yaml").write_text(experiment(result, here), encoding="utf-8")
    facts = of_problem(result.problem, admissions, model=result.model, seed=result.plan.seed)
    run = provenance(here, facts, started=time.time() - sum(seconds.values()))
    folder.write(run=run, data=admissions.provenance(), timings=round_seconds(seconds))
    table.words.refuse(folder.path)


def summary(result: SearchResult, here: Invocation) -> str:
    """Write what came of a search, as lines of text."""
    first, best, task, gain = result.trials[0], result.best, result.problem.task, result.gain
    states = ", ".join(f"{count} {state}" for state, count in result.counts().items())
    rows = [("trial", str(first.number), str(best.number))]
    rows += [(setting, _written(first.settings[setting]), _written(value)) for setting, value in best.settings.items()]
    rows += [
        (f"{title(gain.score)} ({gain.unit})", number(first.loss or 0.0, digits=5), number(best.loss or 0.0, digits=5))
    ]
    lines = pd.DataFrame(rows, columns=["", "defaults", "best"]).to_string(index=False)
    end = "" if result.chosen.number else " The defaults are kept."
    return "\n".join(
        [
            "",
            f"{task.title} at {task.horizon}, {result.model.name}, {len(result.trials)} trials ({states}) in "
            f"{_folds(result)} folds of {_rows(result):,} training rows",
            lines,
            wrapped(f"{gain.sentence}{end}"),
            f"To train it again: {command_to_train(result, here, str(here.folder))}",
            f"Run folder: {here.folder}",
        ]
    )


def _charts(result: SearchResult) -> Iterator[Chart]:
    """Yield name, figure and table."""
    gain, folds = result.gain, _folds(result)
    method = f"{folds} folds of the training part, {_rows(result):,} admissions, groups kept together"
    method += f", {result.light}" if result.light else ""
    trials = search.history(result.trials, ratio=1 / (folds - 1))
    note = caption(
        len(trials),
        f"{method}. Bars: 95 % intervals of the difference from the defaults. Pruned: given up after some folds, drawn "
        f"by its difference on these; at the upper edge: farther off.",
        noun="trials",
    )
    yield (
        "history",
        tuning.history(trials, title=gain.sentence, caption=note, score=title(gain.score), unit=gain.unit),
        trials,
    )
    ranking = result.importances
    if not len(ranking):
        return
    note = caption(
        int(ranking["n"].iloc[0]), f"fANOVA; {method}. Lines: 95 % intervals over resampled trials.", noun="trials"
    )
    look = {"title": f"Which settings of {result.model.name} move its loss on {result.problem.task.title}"}
    look |= {"caption": note, "unit": "share", "measure": "Variance between trials"}
    yield "importance", explanations.importance(ranking, **look), ranking


def _summary(result: SearchResult) -> dict[str, Any]:
    first, best = result.trials[0], result.best
    return {
        "trials": {"finished": len(result.trials), **result.counts()},
        "folds": _folds(result),
        "lighter": result.light,
        "defaults": {"trial": first.number, "loss": first.loss, "settings": first.settings},
        "best": {"trial": best.number, "loss": best.loss, "settings": best.settings},
        "chosen": "best" if result.chosen.number else "defaults",
        "gain": asdict(result.gain),
        "importance": "fANOVA" if len(result.importances) else "too few trials, or no differences between them",
        "experiment": experiment_name(result),
    }


def _folds(result: SearchResult) -> int:
    return len(result.trials[0].losses)


def _rows(result: SearchResult) -> int:
    return int(result.problem.where("train").sum())


def _written(value: Any) -> str:
    return number(value, digits=3) if isinstance(value, float) else str(value)
