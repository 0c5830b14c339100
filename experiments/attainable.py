"""What share of the attainable skill does each model reach, on tables whose truth is known?

    python experiments/attainable.py [--models lgbm hist_gbm ...] [--seeds 0 1 2 3 4] [--rows 55500]
        [--set model.regression.num_leaves=31 ...] [--output <csv>]

Per planted table, task and model: fit on the training part, score on the test part, and divide the loss removed by what
the best possible model removes, which the simulator knows by formula (hospital effects learned from as many rows). The
share of one table is uncertain, since its test rows are a sample; the table of means says by how much.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir

from hi_ml.app.config import build, conf_dir
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.data.simulation import simulate
from hi_ml.data.simulation.truth import truth
from hi_ml.evaluation import training
from hi_ml.evaluation.assessment import Method
from hi_ml.modeling import problem as problems
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Model
from hi_ml.modeling.splits import Split
from hi_ml.modeling.tasks import Task, select
from hi_ml.statistics.groups import group_means, mean_interval

ZOO = ["lgbm", "hist_gbm", "random_forest", "linear", "baseline"]


def main() -> None:
    """Measure, print the means, write the rows if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=ZOO)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--rows", type=int, default=55_500)
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], help="changes to the configuration")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    found = pd.DataFrame(
        [row for seed in asked.seeds for row in shares(seed, asked.rows, asked.models, asked.overrides)]
    )
    if asked.output:
        found.to_csv(asked.output, index=False, float_format="%.5f", lineterminator="\n")
    print(means(found).to_string(index=False))


def shares(seed: int, rows: int, models: list[str], overrides: list[str]) -> Iterator[dict[str, object]]:
    """Yield the share that each model reaches on one table, by task."""
    table = [f"dataset.rows={rows}", f"dataset.seed={seed}", f"seed={seed}"]
    cfg = _composed([*table, *overrides])
    dataset = build(Dataset, cfg.dataset)
    admissions = read(dataset, _refuse_rejects)
    known = truth(simulate(dataset.scenario, rows, seed=seed, effect=dataset.effect, hospitals=dataset.hospitals))
    tasks = build(dict[str, Task], cfg.tasks).values()
    columns = problems.available(admissions)
    features = Features.of(admissions, dict.fromkeys(role for task in tasks for role in select(task, columns)[0]))
    for task, name in product(tasks, models):
        model = build(Model, _composed([*table, f"model={name}", *overrides]).model)
        split = build(Split, cfg.split)
        problem = problems.pose(admissions, task, features=features, model=model, split=split, seed=seed)
        removed, constant = _removed(problem, model, split, seed)
        best = known.scores[task.name][task.horizon]
        attainable = best["constant"][task.score] - best["attainable"][task.score]
        yield {
            "seed": seed,
            "task": task.name,
            "model": name,
            "removed": removed,
            "attainable": attainable,
            "share": removed / attainable,
            "baseline": constant,
        }


def means(found: pd.DataFrame) -> pd.DataFrame:
    """Average the shares over the tables, with a 95 % t interval where there are several."""
    lines = []
    for (task, model), one in found.groupby(["task", "model"], sort=False):
        values = one["share"].to_numpy()
        spread = mean_interval(values) if len(values) > 1 else None
        low, high = (spread.low, spread.high) if spread else (np.nan, np.nan)
        lines.append((task, model, len(values), values.mean().round(3), round(low, 3), round(high, 3)))
    return pd.DataFrame(lines, columns=["task", "model", "tables", "share", "low", "high"])


def _removed(problem: problems.Problem, model: Model, split: Split, seed: int) -> tuple[float, float]:
    """The loss that a model removes on the test part, and that of the constant; means over groups."""
    run = training.fit(problem, Method(model, split, seed))
    model_loss, constant_loss = (
        float(group_means(run.losses(predicted), run.group).mean()) for predicted in (run.predicted, run.constant())
    )
    return constant_loss - model_loss, constant_loss


def _composed(overrides: list[str]):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return compose("train", overrides)


def _refuse_rejects(cells: pd.DataFrame) -> Path:
    raise RuntimeError(f"the simulated table has {len(cells)} unreadable cells")


if __name__ == "__main__":
    main()
