"""The part of diabetes130_before.py that runs in the code at 79163c6, whose modules these are.

    python fit_before.py <folder> <task> <seed>

Fits the default model to the training rows of a table, and predicts the tested ones.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from hi_ml.encoding import usable
from hi_ml.features import Features
from hi_ml.models import Model
from hi_ml.problems import Problem, fit_rows
from hi_ml.tasks import Task


def main(folder: Path, task: str, seed: int) -> None:
    """Read ``table.parquet`` and ``rows.npz``, and write ``predicted.npy``."""
    table, rows = pd.read_parquet(folder / "table.parquet"), np.load(folder / "rows.npz")
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


def _codes(values: pd.Series) -> np.ndarray:
    if not hasattr(values, "cat"):
        return values.to_numpy(dtype=float)
    return np.where(values.cat.codes < 0, np.nan, values.cat.codes).astype(float)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
