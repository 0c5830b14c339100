"""What a run says on the screen: the verdict, the scores, a short line per assessment, and where the rest is."""

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hi_ml.app.text import number
from hi_ml.evaluation.assessment import FittedRun, catalogue
from hi_ml.evaluation.coverage import SCORES
from hi_ml.modeling.scores.score import is_worse
from hi_ml.modeling.scores.score import title as score_title

_WIDE = 120  # letters of a line, where no terminal says otherwise


def summary(run: FittedRun) -> str:
    """Write the verdict, the table of scores and what each assessment came to, wrapped at the terminal's width."""
    task, verdict = run.problem.task, run.results.get("verdict")
    word = f": {verdict.verdict.replace('_', ' ').upper()}" if verdict else ""
    lines = [
        "",
        f"{task.title} at {task.horizon}, {run.method.model.name}{word}",
        *([wrapped(verdict.sentence)] if verdict else []),
        "",
        _align(run.results["scores"]),
        "",
        *(wrapped(line) for line in [*run.problem.remarks, *_briefs(run)]),
    ]
    return "\n".join(lines)


def where(folder: Path) -> str:
    """Say where a run stands, with all that is known of it."""
    return f"Run folder: {folder} (its page: report.html)"


def line(run: FittedRun) -> dict[str, str]:
    """Say of a task what `closing` sets beside that of others: the verdict, and the score that it stands on."""
    first, verdict = run.results["scores"].iloc[0], run.results.get("verdict")
    return {
        "task": run.problem.task.title,
        "verdict": verdict.verdict.replace("_", " ") if verdict else "",
        "score": score_title(first["score"]),
        "value": number(first["value"]),
        "95 % interval": _reach(first["low"], first["high"]),
        "baseline": number(first["baseline"]),
        "unit": first["unit"],
    }


def closing(lines: Sequence[dict[str, str]]) -> str:
    """Write the tasks of a command in one table."""
    return "\n" + pd.DataFrame(lines).to_string(index=False)


def _briefs(run: FittedRun) -> list[str]:
    """Say what each assessment but the verdict came to."""
    every = catalogue()
    results = {name: result for name, result in run.results.items() if result is not None and name != "verdict"}
    said = [(every[name].brief or every[name].sentence)(result) for name, result in results.items()]
    return [line for line in said if line]


def wrapped(text: str) -> str:
    """Break a line at the terminal's width."""
    width = shutil.get_terminal_size((_WIDE, 24)).columns
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _reach(low: float, high: float) -> str:
    return "too few to tell" if pd.isna(low) else f"{number(low)} to {number(high)}"


def _align(scores: pd.DataFrame) -> str:
    worse = [
        row["score"] not in SCORES and is_worse(row["score"], row["value"], row["baseline"])
        for row in scores.to_dict("records")
    ]
    table = pd.DataFrame(
        {
            "score": scores["score"].map(score_title),
            "value": scores["value"].map(number),
            "95 % interval": list(map(_reach, scores["low"], scores["high"])),
            "baseline": scores["baseline"].map(number),
            "unit": scores["unit"],
        }
    )
    if any(worse):
        apart = (scores["low"] > scores["baseline"]) | (scores["high"] < scores["baseline"])
        words = np.where(apart, "< worse than knowing nothing".ljust(32), "< no better than knowing nothing")
        table[""] = np.where(worse, words, "")
    return "\n".join(line.rstrip() for line in table.to_string(index=False).splitlines())
