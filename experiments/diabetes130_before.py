"""What did the encoding gain on admissions with diabetes over the code of before, on the same rows?

    git worktree add <folder> 79163c6
    python experiments/diabetes130_before.py --before <folder> --output experiments/diabetes130_before.csv

Each line of the output is a task at discharge on one split of conf/dataset/diabetes130.yaml: what the default model of
that code scores on the columns as the table has them, what today's scores, and the paired difference with its 95 %
interval by patient. Then their means over the splits.
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

TASKS = {"readmission_30d": ["readmitted"], "length_of_stay": ["readmitted", "length_of_stay"]}  # and what is no feature


def main() -> None:
    """Fit both on every split, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of 79163c6")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--fit", nargs=3, help=argparse.SUPPRESS)  # folder, task, seed: in the code of before
    asked = parser.parse_args()
    if asked.fit:
        fit_before(Path(asked.fit[0]), asked.fit[1], int(asked.fit[2]))
        return
    import hi_ml

    admissions = hi_ml.read("diabetes130")
    lines = [compare(admissions, task, seed, asked.before) for task in TASKS for seed in asked.seeds]
    table = pd.DataFrame(lines)
    table.to_csv(asked.output, index=False, float_format="%.5f")
    print(means(table).to_string(index=False))


def compare(admissions, task: str, seed: int, before: Path) -> dict[str, object]:
    """Fit today's default model and that of before on the same training rows, and judge both on the same others."""
    import hi_ml
    from hi_ml.modeling.scores.score import Predictions, scores_of

    run = hi_ml.fit(admissions, task, "lgbm", seed=seed, overrides=["horizon=discharge"])
    problem = run.problem
    columns = [name for name in problem.table if name not in TASKS[task] and not name.endswith(("_group", "_band"))]
    with tempfile.TemporaryDirectory() as folder:
        problem.table[columns].to_pickle(Path(folder) / "table.pkl")
        arrays = {"target": problem.target, "parts": problem.parts, "group": problem.group}
        np.savez(Path(folder) / "rows.npz", labels=len(problem.labels), **arrays)
        command = [sys.executable, __file__, "--fit", folder, task, str(seed)]
        paths = {"PYTHONPATH": str(before / "src"), "HI_ML_CONF": str(before / "conf")}
        subprocess.run(command, env=os.environ | paths, cwd=before, check=True)
        predicted = np.load(Path(folder) / "predicted.npy")
    primary = next(score for score in scores_of(problem.task) if score.name == problem.task.score)
    today = Predictions(problem.task, run.target, run.predicted, run.units, seed)
    old = replace(today, predicted=predicted)
    values = [primary.values(one) for one in (today, old)]
    gap = primary.difference(today, *values)
    scores = [primary.reduce.point(one) for one in values]
    return {"task": task, "seed": seed, "score": primary.name, "before": scores[1], "today": scores[0],
            "difference": gap.value, "low": gap.low, "high": gap.high, "p": gap.p}  # fmt: skip


def fit_before(folder: Path, task: str, seed: int) -> None:
    """Fit the default model of 79163c6, whose modules these are, on the training rows, and predict the tested ones."""
    import yaml
    from hi_ml.encoding import usable
    from hi_ml.features import Features
    from hi_ml.models import Model
    from hi_ml.problems import Problem, fit_rows
    from hi_ml.tasks import Task

    table, rows = pd.read_pickle(folder / "table.pkl"), np.load(folder / "rows.npz")
    model = Model(**yaml.safe_load(Path("conf/model/lgbm.yaml").read_text()))
    coded = {name: _codes(table[name]) for name in table}
    specs = {
        name: {"levels": list(table[name].cat.categories)} if hasattr(table[name], "cat") else {} for name in table
    }
    every = Features(pd.DataFrame(coded), specs, {name: name for name in table})
    kept, _ = usable(model.encoding, every, rows["parts"] == 0)
    classes = int(rows["labels"])
    kind, score = ("classification", "log_loss") if classes else ("regression", "mae")
    problem = Problem(
        Task(task, "target", kind, "", "discharge", score),
        every.part(np.arange(len(table)), kept),
        rows["target"],
        [str(label) for label in range(classes)],
        table,
        rows["parts"],
        np.arange(len(table)),
        rows["group"],
        np.arange(len(table)),
        {},
        {},
    )
    fitted = fit_rows(problem, model, np.flatnonzero(problem.where("train")), seed=seed)
    np.save(folder / "predicted.npy", fitted.predict(problem.features.frame[problem.where("test")]))
    print(task, seed, "left out:", sorted(set(table) - set(kept)))


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Average over the splits; of the differences, how many exclude 0, and a 95 % t interval over the splits."""
    from hi_ml.statistics.groups import mean_interval

    lines = []
    for (task, score), one in table.groupby(["task", "score"], sort=False):
        spread = mean_interval(one["difference"].to_numpy())
        sure = int(((one["low"] > 0) | (one["high"] < 0)).sum())
        averages = one[["before", "today", "difference"]].mean()
        lines.append({"task": task, "score": score, "splits": len(one), **averages, "low": spread.low,
                      "high": spread.high, "sure": sure})  # fmt: skip
    return pd.DataFrame(lines).round(4)


def _codes(values: pd.Series) -> np.ndarray:
    if not hasattr(values, "cat"):
        return values.to_numpy(dtype=float)
    return np.where(values.cat.codes < 0, np.nan, values.cat.codes).astype(float)


if __name__ == "__main__":
    main()
