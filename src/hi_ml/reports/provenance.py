"""What was run, by which code, on which rows, and when? What ``run.json`` says of any run, in one place."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from hi_ml.app.launch import Invocation
from hi_ml.app.references import as_written
from hi_ml.app.text import counted
from hi_ml.data.read import Admissions
from hi_ml.data.sql.table import SqlTable
from hi_ml.evaluation.assessment import FittedRun, catalogue
from hi_ml.modeling import splits
from hi_ml.modeling.models import Model
from hi_ml.modeling.problem import Problem
from hi_ml.scorer.serving import UNSEEN

_DIGITS = 12  # of a digest, enough to tell two apart


def provenance(here: Invocation, facts: Mapping[str, Any], *, started: float) -> dict[str, Any]:
    """Say what was called and what is known of it, until now.

    Parameters
    ----------
    started : float
        Seconds since 1970.
    """
    return {**here.provenance(), **facts, "started": started, "finished": time.time()}


def of_table(admissions: Admissions | SqlTable) -> dict[str, Any]:
    """Say which table was read."""
    return {"dataset": admissions.dataset.name, "source": as_written(admissions.origin)}


def place(source: str) -> str:
    """Name a source on a page, which goes to others: of a path of this machine, only the last part.

    Examples
    --------
    >>> place("/home/ann/export.csv"), place("data/raw/export.csv"), place("sqlite:////home/ann/ward.db#table=stays")
    ('export.csv', 'data/raw/export.csv', 'sqlite:///ward.db#table=stays')
    """
    scheme, file, path = source.rpartition(":///")
    if not path.startswith(("/", "~")):
        return source
    folders, mark, rest = path.partition("#") if scheme else (path, "", "")  # a database says which table after it
    return f"{scheme}{file}{folders.rstrip('/').rpartition('/')[2]}{mark}{rest}"


def tables_in_words(data: Mapping[str, Any]) -> dict[str, str]:
    """Name every source and every joined table of ``data.json``, with its digest and what it knew of the rows."""
    read = [
        f"{place(one['source'])}, SHA-256 {one['sha256'][:_DIGITS]}" for one in data.get("sources", ())
    ]  # older: none
    words = {"read from": "; ".join(read)} if read else {}
    for name, join in data.get("joins", {}).items():
        files = "; ".join(f"{place(one['file'])}, SHA-256 {one['sha256'][:_DIGITS]}" for one in join["files"])
        level = f", of the {join['level']}" if join["level"] else ""
        words[f"joined as {name}{level}"] = (
            f"{files}, which knows {counted(join['rows_matched'])} of {counted(join['rows'])} rows and "
            f"{counted(join['keys_matched'])} of {counted(join['keys'])} keys"
        )
    return words


def of_problem(problem: Problem, admissions: Admissions, *, model: Model, seed: int) -> dict[str, Any]:
    """Say what was predicted, from which columns and rows, by which model."""
    return {
        **of_table(admissions),
        "task": problem.task.name,
        "kind": problem.task.kind,
        "unit": problem.task.unit,
        "horizon": problem.task.horizon,
        "model": model.name,
        "scale": "log" if problem.scale.is_log else "raw",
        "features": len(problem.features.frame.columns),
        "seed": seed,
        "rows": len(problem.target),
        "parts": {part: int(problem.where(part).sum()) for part in splits.PARTS},
        "split_sha256": problem.split_digest(),
    }


def of_run(run: FittedRun, admissions: Admissions) -> dict[str, Any]:
    """Say what was predicted by which model, how it was judged and explained, and what to know before reading that."""
    explanation, conformal = run.results.get("explanation"), run.results.get("intervals")
    return {
        **of_problem(run.problem, admissions, model=run.method.model, seed=run.method.seed),
        "split": run.method.split.name,
        "unseen_in_test": _unseen(run.problem),
        "explained_rows": len(explanation.index) if explanation else 0,
        "explanation": explanation.method if explanation else None,
        "interval": f"{conformal.sentence} {conformal.note}" if conformal else None,
        "notes": list(_notes(run)),
        "sentences": {
            name: catalogue()[name].sentence(result) for name, result in run.results.items() if result is not None
        },
    }


def _notes(run: FittedRun) -> Iterator[str]:
    method, model, classes = run.method, run.method.model, bool(run.problem.labels)
    yield from run.problem.remarks
    asks = run.problem.task.asks
    if model.predicts != asks and not classes:
        yield (
            f"{model.name} predicts the {model.predicts}, and the score asks for the {asks}: on skewed targets it "
            f"starts behind."
        )
    if run.fitted.recalibration:
        yield (
            "The class shares are recalibrated inside the training part, and explained as they are served. The leak of "
            "a random split and the permutation test are of the learner before recalibration."
        )
    assessments = catalogue()
    for name, settings in method.assessments.items():
        yield from assessments[name].notes(run, settings)


def _unseen(problem: Problem) -> dict[str, int]:
    """Count, per category column, the test rows whose level no training row has, or too few patients of them."""
    counts = {}
    for name, role in problem.features.role.items():
        if problem.features.levels(name) is not None:
            counts[role] = int((problem.features.frame.loc[problem.where("test"), name] == UNSEEN).sum())
    return counts
