"""How long do the findings take, and how long their closed forms over ten million admissions?

    python benchmarks/findings.py [--admissions 50000] [--rows 10000000] [--rounds 3] [--threads 1]

First all five findings on a table in memory. Then the closed-form evidence of a folder of Parquet files, one row per
admission: DuckDB adds the rows up in two small tables, from which the estimates are finished; what a permutation or a
name needs is left out. On the first million rows the estimates must equal those of the findings. Each step runs in a
process of its own; the peak of memory is read from /proc, so this needs Linux.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hi_ml.data.simulation.outcomes import planted_law
from hydra import compose, initialize_config_dir

from hi_ml.app.config import build, conf_dir
from hi_ml.claims.age_condition import YEARS_A_DECADE, difference
from hi_ml.claims.aggregates import completed, cube, moments_of, over
from hi_ml.claims.billing_variation import compare_hospitals
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.claims.distinct import Declarations, among, one_row_each
from hi_ml.claims.subgroup_screen import age_band
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.data.simulation import vocabulary
from hi_ml.data.simulation.admissions import draw_admissions
from hi_ml.statistics.contingency import association
from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.means import contrast, one_way
from hi_ml.statistics.regression import within_strata

CHUNK = 1_000_000
"""Rows of a file, and of the comparison."""
HOSPITALS = 2_000
TINY = 1e-3
"""Of an estimate: an absolute difference counts below it, relative ones above."""
SAME = 1e-9
"""Largest difference between the two ways that rounding explains."""
LEVELS = {
    "condition": vocabulary.CONDITIONS,
    "insurer": vocabulary.INSURERS,
    "admission_type": vocabulary.ADMISSION_TYPES,
    "medication": vocabulary.MEDICATIONS,
    "test_result": vocabulary.TEST_RESULTS,
    "hospital": tuple(f"Hospital {number}" for number in range(HOSPITALS)),
}
ADVANCED = vocabulary.ADVANCED_MEDICATIONS
CARE = ("admission_type", "medication", "test_result")
YEARS = 5
"""All ages at which a decade, a band or the older begin are multiples of it, so rows of one such span may be added."""
CUBE = """
    SELECT floor(age / $years)::TINYINT AS span, condition, insurer, admission_type, medication, test_result,
        count(*) AS rows, count(length_of_stay) AS n, sum(length_of_stay) AS total,
        sum(length_of_stay * length_of_stay) AS squares,
        count(billed) AS bills, sum(billed) AS billed, sum(billed * billed) AS billed_squares
    FROM read_parquet($files) GROUP BY ALL
"""
HOSPITAL_SUMS = """
    SELECT hospital, count(billed)::DOUBLE AS n, sum(billed) AS total, sum(billed * billed) AS squares
    FROM read_parquet($files) WHERE hospital IS NOT NULL AND billed IS NOT NULL GROUP BY hospital ORDER BY hospital
"""
Limits = dict[str, tuple[float, float, float]]
Taken = tuple[float, float]


def main() -> None:
    """Measure both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admissions", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=10 * CHUNK)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of DuckDB")
    asked = parser.parse_args()
    taken = alone(all_findings, asked.admissions, asked.rounds)
    print(f"five findings, {asked.admissions:,} admissions, 999 permutations: {said(taken)}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        alone(write_parquet, place, asked.rows)
        for threads in sorted({1, asked.threads}):
            found = [alone(closed_form, f"{place}/*.parquet", threads) for _ in range(asked.rounds)]
            peak = max(one["peak_mib"] for one in found)
            print(f"closed forms, {asked.rows:,} rows of Parquet, threads {threads}: ", end="")
            print(f"{said([one['taken'] for one in found])}; peak {peak:.0f} MiB, {found[0]['cells']:,} cells")
        first = f"{place}/0.parquet"
        worst = farthest(alone(closed_form, first, 1)["limits"], alone(by_findings, first))
    print(f"estimates and 95 % limits on {min(asked.rows, CHUNK):,} rows equal those of the findings to {worst:.1e}")
    if worst > SAME:
        raise ValueError(f"The two ways must agree to {SAME:g}; they differ by {worst:g}.")


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def started() -> Taken:
    """Read the clocks."""
    return time.perf_counter(), time.process_time()


def since(clock: Taken) -> Taken:
    """Give the seconds that have passed, and those that a core worked for this process."""
    return time.perf_counter() - clock[0], time.process_time() - clock[1]


def said(taken: list[Taken]) -> str:
    """Give the medians and all they come from."""
    wall, core = (sorted(seconds) for seconds in zip(*taken, strict=True))
    every = ", ".join(f"{one:.2f}" for one in wall)
    return f"median {statistics.median(wall):.2f} s of {every}; {statistics.median(core):.2f} s of a core"


def composed(*overrides: str) -> Any:
    """Compose the configuration of the findings."""
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return compose("findings", list(overrides))


def all_findings(admissions: int, rounds: int) -> list[Taken]:
    """Time the findings, from distinct rows to verdicts, on a simulated table that has been read."""
    cfg = composed(f"dataset.rows={round(admissions * 1.11)}")
    found = read(build(Dataset, cfg.dataset), lambda _: Path())
    frame, settings = found.table.assign(**found.coded), settings_of(cfg.findings)
    taken = []
    for _ in range(rounds):
        clock = started()
        distinct = one_row_each(frame, found.twins.group, declarations=Declarations(advanced_medications=ADVANCED))
        state(distinct, settings)
        taken.append(since(clock))
    return taken


def write_parquet(place: str, rows: int) -> None:
    """Write admissions of the planted world, columns by role, a file a chunk."""
    law = planted_law(2.0, HOSPITALS, np.random.default_rng(0))
    for number, seed in enumerate(np.random.SeedSequence(0).spawn(-(-rows // CHUNK))):
        drawn = draw_admissions(law, min(CHUNK, rows - number * CHUNK), seed).rename(columns={"result": "test_result"})
        words = {
            role: pa.DictionaryArray.from_arrays(pa.array(drawn[role].to_numpy()), pa.array(levels, pa.string()))
            for role, levels in LEVELS.items()
        }
        numbers = {"age": drawn["age"], "length_of_stay": drawn["stay"], "billed": drawn["bill"]}
        numbers = {role: pa.array(values.to_numpy(), pa.float64()) for role, values in numbers.items()}
        pq.write_table(pa.table(words | numbers), Path(place) / f"{number}.parquet")


def closed_form(files: str, threads: int) -> dict[str, Any]:
    """Add the rows up and finish the evidence."""
    settings = settings_of(composed().findings)
    clock = started()
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute("SET enable_progress_bar = false")
        cells = connection.execute(CUBE, {"files": files, "years": YEARS}).df()
        hospitals = connection.execute(HOSPITAL_SUMS, {"files": files}).df().set_index("hospital")
    limits = finished(cells, hospitals, settings)
    return {
        "taken": since(clock),
        "peak_mib": peak_mib(),
        "cells": len(cells) + len(hospitals),
        "limits": limits,
    }


def finished(cells: pd.DataFrame, hospitals: pd.DataFrame, settings: dict[str, Any]) -> Limits:
    """Finish estimate and 95 % limits of each primary part from the two tables."""
    age, bills, emergency, medication, access = settings.values()
    margins = {"emergency": Margin(emergency.smallest_effect), "advanced": Margin(medication.smallest_stay)}
    years = cells["span"] * float(YEARS)
    cells = cells.assign(
        older=years >= age.split_age,
        decade=years // YEARS_A_DECADE,
        stratum=cells["condition"] + ", " + age_band(years, access.age_bands),
        emergency=among(cells["admission_type"], [emergency.emergency]),
        advanced=among(cells["medication"], ADVANCED),
    )
    shares = rolled_up(cells, ["older", "decade", "condition"], n="rows")
    effects = {word.casefold(): difference(shares, [word], age.smallest_effect) for word in age.conditions}
    effects["hospitals"] = compare_hospitals(hospitals, bills.smallest_gap)[0].icc
    insurers = rolled_up(cells, ["insurer"], n="bills", total="billed", squares="billed_squares")
    effects["insurers"] = one_way(moments_of(insurers), margin=Margin(bills.smallest_f))
    for part, mark, first in (("emergency", "emergency", True), ("stay", "advanced", False)):
        sides = moments_of(stays(cells, [mark]).reindex([first, not first]))
        effects[part] = contrast(sides, [1, -1], margin=margins[mark])
    margin = Margin(access.smallest_effect)
    for role in CARE:
        table = rolled_up(cells, ["stratum", "insurer", role], n="rows")
        effects[role] = association(cube(table, ("insurer", role)), margin=margin).w
    table = completed(stays(cells, ["stratum", "insurer"]), ["insurer"])
    effects["length_of_stay"] = within_strata(moments_of(table), len(insurers), margin=margin)
    return {part: (effect.estimate, effect.low, effect.high) for part, effect in effects.items()}


def stays(cells: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Count and sum the stays by some keys."""
    return rolled_up(cells, keys, n="n", total="total", squares="squares")


def rolled_up(cells: pd.DataFrame, keys: list[str], **columns: str) -> pd.DataFrame:
    """Add cells up by some keys, and give the sums the names that the statistics know."""
    named = cells[[*keys, *columns.values()]].rename(columns={old: new for new, old in columns.items()})
    return over(named.set_index(keys), keys)


def by_findings(file: str) -> Limits:
    """Give the same from the findings themselves."""
    settings = settings_of(composed("findings.billing_variation.permutations=1").findings)
    rows = pd.read_parquet(file)
    alone_each = np.full(len(rows), -1)
    distinct = one_row_each(rows, alone_each, declarations=Declarations(advanced_medications=ADVANCED))
    parts = [part for finding in state(distinct, settings) for part in finding.evidence if part.role == "primary"]
    return {part.part: (part.estimate, part.low, part.high) for part in parts}


def farthest(ours: Limits, theirs: Limits) -> float:
    """Give the largest difference, relative to the figure; a part that one side lacks is an error."""
    if set(ours) != set(theirs):
        raise ValueError(f"Only one side has {sorted(set(ours) ^ set(theirs))}.")
    pairs = [np.abs(np.subtract(ours[part], theirs[part])) / np.maximum(np.abs(theirs[part]), TINY) for part in ours]
    return float(np.max(pairs))


def peak_mib() -> float:
    """Give the peak resident memory of this process, imports and all."""
    line = next(line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
