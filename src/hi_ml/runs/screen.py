"""What a run says on the screen: one table per task, the verdict in a sentence, where the rest is."""

from pathlib import Path

import pandas as pd

from hi_ml.runs import sentences
from hi_ml.training import Trained
from hi_ml.wording import number


def summary(trained: Trained, folder: Path) -> str:
    """Write the table of scores, the verdict, the leak and the folder, as lines of text."""
    task, model = trained.problem.task, trained.verdict.sentence.split(" ")[0]
    head = f"{task.name} at {task.horizon}, {model}, {int(trained.problem.where('test').sum()):,} test rows"
    lines = [
        "",
        head,
        _aligned(trained.scores),
        trained.verdict.sentence,
        trained.gap.sentence,
        f"{trained.interval.sentence} {trained.interval.note}" if trained.interval else None,
        sentences.calibrated(trained),
        sentences.compared(trained),
        trained.significance.sentence if trained.significance else None,
        *(f"Probe of {probe.name}: {probe.detail}" for probe in trained.probes if not probe.passed),
        f"Run folder: {folder}",
    ]
    return "\n".join(line for line in lines if line is not None)


def _aligned(scores: pd.DataFrame) -> str:
    table = pd.DataFrame(
        {
            "score": scores["score"],
            "value": scores["value"].map(number),
            "95 % interval": [
                f"{number(low)} to {number(high)}" for low, high in zip(scores["low"], scores["high"], strict=True)
            ],
            "baseline": scores["baseline"].map(number),
            "unit": scores["unit"],
        }
    )
    return table.to_string(index=False)
