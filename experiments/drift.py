"""How often do batches from the training distribution raise an alarm, and how often do batches that moved?

    python experiments/drift.py [--tables 20] [--batches 50] [--sizes 1 10 40 200 1000 10000] [--seed 0]
        [--output <csv>]

Simulates training tables, keeps the profile of each as a model would, draws fresh rows from the same law and reads them
as `hi_ml.predict` would. Then changes the fresh rows and counts again.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.random import Generator, SeedSequence, default_rng
from scipy.stats import binomtest
from tqdm import tqdm

from hi_ml.app.config import build, conf_dir
from hi_ml.data.schema import Dataset
from hi_ml.data.simulation import Simulated, simulate
from hi_ml.data.simulation.admissions import draw_admissions
from hi_ml.data.simulation.simulate import write_table
from hi_ml.prediction import drift
from hi_ml.scorer import serving

ROLES = ("age", "sex", "blood_type", "condition", "admitted_on", "hospital", "insurer", "admission_type")
"""What is known at admission; in noise, nearly every hospital is new."""
POWER_SIZES = (40, 200, 1_000)
MOVED = 20
"""Batches of each table and size that are changed too, at most, in each way."""
OLDER = 10
"""Years."""
SOME = 0.2
"""Share of rows that get a new insurer, or lose their age."""
ASKED = ["world", "training_rows", "rows", "change", "column"]
Change = Callable[[pa.Table, Generator], pa.Table]


@dataclass(frozen=True)
class World:
    """A law of tables, and how many rows of it a model was taught.

    Attributes
    ----------
    scenario : str
    training : int
        Rows, a tenth of them near-copies.
    """

    scenario: str
    training: int


WORLDS = (World("planted", 33_000), World("noise", 33_000), World("planted", 500), World("noise", 500))


def _older(table: pa.Table, rng: Generator) -> pa.Table:
    del rng
    return _replaced(table, "Age", pc.add(table["Age"], OLDER))


def _new_insurer(table: pa.Table, rng: Generator) -> pa.Table:
    name = "Insurance Provider"
    return _replaced(table, name, pc.if_else(_some(table, rng), "Newcomer", table[name]))


def _age_missing(table: pa.Table, rng: Generator) -> pa.Table:
    return _replaced(table, "Age", pc.if_else(_some(table, rng), None, table["Age"]))


def _one_hospital(table: pa.Table, rng: Generator) -> pa.Table:
    del rng
    return _replaced(table, "Hospital", pa.array([table["Hospital"][0].as_py()] * len(table)))


CHANGES: dict[str, tuple[str, Change]] = {
    "10 years older": ("Age", _older),
    "a new insurer in 20 % of the rows": ("Insurance Provider", _new_insurer),
    "missing in 20 % of the rows": ("Age", _age_missing),
    "all from one hospital": ("Hospital", _one_hospital),
}


def main() -> None:
    """Run the study and write its table, again after every world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=20, help="training tables of each world")
    parser.add_argument("--batches", type=int, default=50, help="of each table and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 40, 200, 1_000, 10_000], help="rows of a batch")
    parser.add_argument("--seed", type=int, default=0, help="of the first table")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    parts = []
    for world in WORLDS:
        seeds = range(asked.seed, asked.seed + asked.tables)
        parts.append(summary(study(world, seeds, asked.sizes, asked.batches)))
        pd.concat(parts).to_csv(asked.output, index=False)
    print(pd.concat(parts).to_string(index=False))


def study(world: World, seeds: range, sizes: list[int], batches: int) -> pd.DataFrame:
    """Draw batches beside every training table, and say which raised an alarm.

    Parameters
    ----------
    world : World
    seeds : range
        One per training table.
    sizes : list of int
        Rows of a batch.
    batches : int
        Of each table and size.

    Returns
    -------
    DataFrame
        `world, training_rows, rows, change, column, alarm` (bool).
    """
    answers = []
    for seed in tqdm(seeds, desc=f"{world.scenario}, {world.training:,} training rows", disable=None):
        taught = simulate(world.scenario, world.training, seed=seed)
        known = profile(taught)
        for change, column, rows, batch in _batches(taught, world, sizes, batches):
            numbers = serving.numbers(typed(batch), known["columns"])
            report = drift.compare(known, drift.count_rows(known, numbers))
            alarm = bool(drift.alarms(report)) if column == "any" else report[column]["alarm"]
            answers.append((world.scenario, world.training, rows, change, column, alarm))
    return pd.DataFrame(answers, columns=[*ASKED, "alarm"])


def summary(answers: pd.DataFrame) -> pd.DataFrame:
    """Count the alarms, with exact binomial 95 % limits of their share.

    Parameters
    ----------
    answers : DataFrame
        From `study`.
    """
    counted = answers.groupby(ASKED, sort=False)["alarm"].agg(batches="size", alarms="sum").reset_index()
    limits = [binomtest(int(row.alarms), int(row.batches)).proportion_ci() for row in counted.itertuples()]
    low, high = np.round([(limit.low, limit.high) for limit in limits], 4).T
    return counted.assign(share=(counted["alarms"] / counted["batches"]).round(4), low=low, high=high)


def profile(taught: Simulated) -> dict[str, Any]:
    """Make the profile of a training table, as a run of `train` does.

    Parameters
    ----------
    taught : Simulated
    """
    read = typed(taught.table)
    specs = []
    for spec in _specs():
        levels = {"levels": sorted(read[spec["role"]].dictionary.to_pylist())} if spec["kind"] == "category" else {}
        specs.append(spec | levels)
    return drift.profile(serving.features(read, specs), specs, taught.patient)


def typed(table: pa.Table) -> dict[str, pa.Array]:
    """Read the columns as a scorer does.

    Parameters
    ----------
    table : Table
    """
    return {spec["role"]: serving.convert(table[spec["source"]].combine_chunks(), spec)[0] for spec in _specs()}


@cache
def _specs() -> list[dict[str, object]]:
    node = yaml.safe_load((conf_dir() / "dataset" / "kaggle.yaml").read_text("utf-8"))
    dataset = build(Dataset, node)
    return [dataset.spec(role) for role in ROLES]


def _batches(
    taught: Simulated, world: World, sizes: list[int], batches: int
) -> Iterator[tuple[str, str, int, pa.Table]]:
    """Yield what was changed, the column that should tell, the rows of the batch and the batch."""
    for rows in sizes:
        drawing, changing = SeedSequence([taught.seed, rows]).spawn(2)
        fresh, rng = _fresh(taught, rows * batches, drawing), default_rng(changing)
        for place in range(batches):
            batch = fresh.slice(place * rows, rows)
            yield "none", "any", rows, batch
            if world == WORLDS[0] and rows in POWER_SIZES and place < MOVED:
                yield from ((name, column, rows, change(batch, rng)) for name, (column, change) in CHANGES.items())


def _fresh(taught: Simulated, rows: int, seed: SeedSequence) -> pa.Table:
    """Draw new admissions from the law of a training table, to the same hospitals."""
    admitting, writing = seed.spawn(2)
    return write_table(draw_admissions(taught.process, rows, admitting), taught.hospitals, writing)


def _some(table: pa.Table, rng: Generator) -> pa.Array:
    return pa.array(rng.random(len(table)) < SOME)


def _replaced(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


if __name__ == "__main__":
    main()
