"""A search on disk and on screen: its trials, its charts, what is best; nothing here is measured."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hi_ml import splits
from hi_ml.artifacts import RunFolder
from hi_ml.charts import explanations, tuning
from hi_ml.charts.style import caption, save
from hi_ml.datasets.reading import Admissions
from hi_ml.launch import Here
from hi_ml.runs.experiments import command_to_train, experiment, experiment_name
from hi_ml.runs.making import Prepared
from hi_ml.training import timed
from hi_ml.tuning import trials
from hi_ml.tuning.searched import Searched
from hi_ml.wording import number

Chart = tuple[str, Figure, pd.DataFrame]


def write(searched: Searched, folder: RunFolder, *, table: Prepared, here: Here, seconds: dict[str, float]) -> None:
    """Write every file of a search.

    Parameters
    ----------
    searched : Searched
    folder : RunFolder
        An empty folder that exists.
    table : Prepared
        None of its private words may stand in any file.
    here : Here
    seconds : dict of str to float
        What earlier steps took; this function adds its own.

    Raises
    ------
    PrivateValueFound
        If one does.
    """
    admissions = table.admissions
    folder.write_request(here.config, here.overrides)
    with timed(seconds, "draw"):
        for name, figure, drawn in _charts(searched):
            save(figure, drawn, folder.charts / name)
    folder.write_search(_summary(searched), trials.table(searched.trials, folds=_folds(searched)))
    folder.write_experiment(experiment_name(searched), experiment(searched, here))
    folder.write_provenance(_run(searched, admissions, here, seconds), admissions.provenance(), seconds)
    table.words.refuse(folder.path)


def summary(searched: Searched, here: Here) -> str:
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


def _run(searched: Searched, admissions: Admissions, here: Here, seconds: dict[str, float]) -> dict[str, Any]:
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
