"""What a run says on the screen: one table per task, then a sentence per assessment, and where the rest is."""

from pathlib import Path

import pandas as pd

from hi_ml.app.text import number
from hi_ml.evaluation.assessment import FittedRun, catalogue


def summary(run: FittedRun, folder: Path) -> str:
    """Write the table of scores, what each assessment came to, and the folder, as lines of text."""
    task, assessments = run.problem.task, catalogue()
    sentences = [assessments[name].sentence(result) for name, result in run.results.items() if result is not None]
    lines = [
        "",
        f"{task.name} at {task.horizon}, {run.method.model.name}, {len(run.predicted):,} test rows",
        _align(run.results["scores"]),
        *run.problem.remarks,
        *(sentence for sentence in sentences if sentence is not None),
        f"Run folder: {folder}",
    ]
    return "\n".join(lines)


def _align(scores: pd.DataFrame) -> str:
    table = pd.DataFrame(
        {
            "score": scores["score"],
            "value": scores["value"].map(number),
            "95 % interval": [
                "too few to tell" if pd.isna(low) else f"{number(low)} to {number(high)}"
                for low, high in zip(scores["low"], scores["high"], strict=True)
            ],
            "baseline": scores["baseline"].map(number),
            "unit": scores["unit"],
        }
    )
    return table.to_string(index=False)
