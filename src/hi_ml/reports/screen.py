"""What the calibration and the subgroups of a trained task come to, each in a sentence.

What a run says on the screen: one table per task, the verdict in a sentence, where the rest is.
"""

from pathlib import Path

import pandas as pd

from hi_ml.app.text import number
from hi_ml.evaluation.subgroups import DIFFERENT, INCONCLUSIVE
from hi_ml.evaluation.training import Trained

_NAMED = 5  # levels that differ


def calibrated(trained: Trained) -> str:
    """Say each measure of calibration, over the classes if there are some, and whether the ideal is inside."""
    found = trained.calibration[trained.calibration["value"].notna()]
    judged = found[found["ideal"].notna()]
    missed = int(((judged["ideal"] < judged["low"]) | (judged["ideal"] > judged["high"])).sum())
    words = [_measure(str(name), part) for name, part in found.groupby("measure", sort=False)]
    without = len(trained.calibration) - len(found)
    ends = [f"{missed} of {len(judged)} intervals miss the ideal"] if len(judged) else []
    ends += [f"{without} not estimable"] if without else []
    return f"Calibration: {'; '.join([*words, *ends])}."


def compared(trained: Trained) -> str | None:
    """Say which levels differ from the rest by what matters, and how many comparisons tell nothing."""
    found = trained.subgroups
    if found.empty:
        return None
    different = found[found["verdict"] == DIFFERENT]
    unsure = int((found["verdict"] == INCONCLUSIVE).sum())
    head = f"Subgroups: {len(different)} of {len(found)} differences matter, {unsure} inconclusive"
    if different.empty:
        return f"{head}."
    named = [f"{row.role} {row.level} ({row.score})" for row in different.head(_NAMED).itertuples()]
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return f"{head}: {', '.join(named)}{more}."


def _measure(name: str, part: pd.DataFrame) -> str:
    name = name.replace("_", " ")
    if len(part) == 1:
        value, low, high = (number(float(part[end].iloc[0]), digits=3) for end in ("value", "low", "high"))
        return f"{name} {value} ({low} to {high})"
    low, high = (number(float(end), digits=3) for end in (part["value"].min(), part["value"].max()))
    return f"{name} between {low} and {high} over {len(part)} classes"


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
        calibrated(trained),
        compared(trained),
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
