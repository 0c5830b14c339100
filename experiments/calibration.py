"""Are the probabilities of test results right, on planted tables, with and without recalibration?

    python experiments/calibration.py [--tables 100] [--rows 20000] [--model lgbm] [--output <csv>]

Simulates tables with planted effects, fits the model of test results as it is configured and once more with
``recalibrate=true``, and counts how often the 95 % intervals of calibration in the large and of the slope hold their
ideals, 0 and 1, per class. The class shares of the training part stand beside them: no model can know those better.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest
from tqdm import tqdm

import hi_ml
from hi_ml.evaluation import calibration
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.statistics.groups import group_means

TASK = "test_results"
FITS = {"as configured": "recalibrate=false", "recalibrated": "recalibrate=true"}
ASKED = ["model", "rows", "predictions", "class", "measure"]
PROMISE = 0.90
"""Share of the tables in which an interval must hold its ideal."""


def main() -> None:
    """Run the study and write its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000], help="of a table, near-duplicates included")
    parser.add_argument("--model", default="lgbm")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    parts = []
    for rows in asked.rows:
        parts.append(summary(study(asked.model, rows, range(asked.tables))))
        pd.concat(parts).to_csv(asked.output, index=False)
    print(pd.concat(parts).to_string(index=False))


def study(model: str, rows: int, seeds: Sequence[int]) -> pd.DataFrame:
    """Measure the calibration of both fits, and of the training part's class shares, on one table per seed.

    Parameters
    ----------
    model : str
        An option of ``conf/model``.
    rows : int
        Of each table.
    seeds : sequence of int

    Returns
    -------
    DataFrame
        ``model, rows, predictions, class, measure, seed, value, low, high, ideal``; ``log_loss`` (in ``value``, of the
        class ``all``) among the measures.
    """
    found = []
    for seed in tqdm(seeds, desc=f"{model}, {rows:,} rows", disable=None):
        for name, run in runs(model, rows, seed):
            found.append(measured(run).assign(model=model, rows=rows, predictions=name, seed=seed))
    return pd.concat(found)[[*ASKED, "seed", "value", "low", "high", "ideal"]]


def runs(model: str, rows: int, seed: int) -> Iterator[tuple[str, FittedRun]]:
    """Simulate a table, learn from its training part, and yield what says something of the test part."""
    admissions = hi_ml.read("simulated", rows=rows, seed=seed)
    for name, override in FITS.items():
        run = hi_ml.fit(admissions, TASK, model, seed=seed, overrides=[override])
        yield name, run
    yield "class shares", replace(run, predicted=run.constant())


def measured(run: FittedRun) -> pd.DataFrame:
    """Measure calibration and log loss on the test part."""
    measures = calibration.measure(run).dropna(subset="value")
    loss = group_means(run.losses(), run.group).mean()
    return pd.concat([measures, pd.DataFrame([{"class": "all", "measure": "log_loss", "value": loss}])])


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Count the intervals that hold their ideal.

    Parameters
    ----------
    found : DataFrame
        From `study`.

    Returns
    -------
    DataFrame
        ``model, rows, predictions, class, measure, tables, mean`` (of the estimates), ``hits, share, low, high`` (exact
        binomial 95 % limits), ``promise``; no hits of a measure without an ideal.
    """
    lines = []
    for key, part in found.groupby(ASKED, sort=False):
        line = dict(zip(ASKED, key, strict=True)) | {"tables": len(part), "mean": round(part["value"].mean(), 4)}
        if part["ideal"].notna().all():
            hits = int(((part["low"] <= part["ideal"]) & (part["ideal"] <= part["high"])).sum())
            limit = binomtest(hits, len(part)).proportion_ci()
            line |= {"hits": hits, "share": round(hits / len(part), 4), "promise": PROMISE}
            line |= {"low": round(limit.low, 4), "high": round(limit.high, 4)}
        lines.append(line)
    columns = [*ASKED, "tables", "mean", "hits", "share", "low", "high", "promise"]
    return pd.DataFrame(lines, columns=columns).astype({"hits": "Int64"})


if __name__ == "__main__":
    main()
