"""What did the encoding gain on admissions with diabetes over the code of before, on the same rows?

    git worktree add <folder> 79163c6
    python experiments/diabetes130_before.py --before <folder> --output experiments/diabetes130_before.csv

Each line of the output is a task at discharge on one split of conf/dataset/diabetes130.yaml: what the default model of
that code scores on the columns as the table has them, what a model of today scores, and the paired difference with its
95 % interval by patient; lines that are there are not made again. Then their means over the splits.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import hi_ml
from hi_ml.data.read import Admissions
from hi_ml.modeling.scores.score import Predictions, scores_of
from hi_ml.statistics.groups import mean_interval

TARGETS = {"readmission_30d": ["readmitted"], "length_of_stay": ["readmitted", "length_of_stay"]}  # no features
CASES = [("readmission_30d", "lgbm"), ("length_of_stay", "lgbm"), ("readmission_30d", "lgbm_bagged")]


def main() -> None:
    """Fit both on every split, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of 79163c6")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    asked = parser.parse_args()
    admissions = hi_ml.read("diabetes130")
    made = pd.read_csv(asked.output) if asked.output.exists() else pd.DataFrame(columns=["task", "model", "seed"])
    done = set(made[["task", "model", "seed"]].itertuples(index=False, name=None))
    for task, model in CASES:
        for seed in asked.seeds:
            if (task, model, seed) not in done:
                line = compare(admissions, task, model, seed, asked.before)
                made = pd.concat([made, pd.DataFrame([line])], ignore_index=True)
                made.to_csv(asked.output, index=False, float_format="%.5f")
    print(means(made).to_string(index=False))


def compare(admissions: Admissions, task: str, model: str, seed: int, before: Path) -> dict[str, object]:
    """Fit a model of today and the default of before on the same training rows, and judge both on the same others."""
    run = hi_ml.fit(admissions, task, model, seed=seed, overrides=["horizon=discharge"])
    problem = run.problem
    columns = [name for name in problem.table if name not in TARGETS[task] and not name.endswith(("_group", "_band"))]
    with tempfile.TemporaryDirectory() as folder:
        problem.table[columns].to_parquet(Path(folder) / "table.parquet")
        arrays = {"target": problem.target, "parts": problem.parts, "group": problem.group}
        np.savez(Path(folder) / "rows.npz", labels=len(problem.labels), **arrays)
        command = [sys.executable, str(Path(__file__).resolve().with_name("fit_before.py")), folder, task, str(seed)]
        code = os.environ | {"PYTHONPATH": str(before.resolve() / "src")}
        subprocess.run(command, env=code, cwd=before, check=True)  # noqa: S603 -- this Python, and a file beside this one
        predicted = np.load(Path(folder) / "predicted.npy")
    primary = next(score for score in scores_of(problem.task) if score.name == problem.task.score)
    today = Predictions(problem.task, run.target, run.predicted, run.units, seed)
    old = replace(today, predicted=predicted)
    values = [primary.values(one) for one in (today, old)]
    gap = primary.difference(today, *values)
    scores = [primary.reduce.point(one) for one in values]
    return {"task": task, "model": model, "seed": seed, "score": primary.name, "before": scores[1], "today": scores[0],
            "difference": gap.value, "low": gap.low, "high": gap.high, "p": gap.p}  # fmt: skip


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Average over the splits; of the differences, how many exclude 0, and a 95 % t interval over the splits."""
    lines = []
    for (task, model, score), one in table.groupby(["task", "model", "score"], sort=False):
        spread = mean_interval(one["difference"].to_numpy())
        sure = int(((one["low"] > 0) | (one["high"] < 0)).sum())
        averages = one[["before", "today", "difference"]].mean()
        lines.append({"task": task, "model": model, "score": score, "splits": len(one), **averages, "low": spread.low,
                      "high": spread.high, "sure": sure})  # fmt: skip
    return pd.DataFrame(lines).round(4)


if __name__ == "__main__":
    main()
