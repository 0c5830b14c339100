"""A comparison becomes a plain dict, ready for a page and for the screen, and a chart with its table."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.app.text import apart, number, p_value, percent
from hi_ml.evaluation.comparison import Comparison
from hi_ml.modeling.judgement import DRAWS
from hi_ml.modeling.scores.score import title as score_title
from hi_ml.reports.charts.comparison import differences_from_best
from hi_ml.reports.charts.style import caption
from hi_ml.statistics.estimates import LEVEL

SHOWS = "Forest plot: paired differences of the primary score from the best run"


def summarize(found: Comparison, *, title: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what the page and the screen say.

    Parameters
    ----------
    title : str
        What was compared.
    facts : mapping of str to value
        Listed by name in this order.

    Returns
    -------
    dict
        Text, lists and dicts only.
    """
    return {
        "title": title,
        "lead": sentence(found),
        "best": found.labels[0],
        "primary": score_title(found.score),
        "notes": [
            f"{', '.join(labels)} made identical predictions: their differences are exactly 0."
            for labels in found.identical
        ],
        "runs": [_run(row) for row in found.runs[found.runs["score"] == found.score].to_dict("records")],
        "scores": [_score(found, score) for score in dict.fromkeys(found.differences["score"])],
        "configuration": {
            "runs": list(found.configuration.columns[1:]),
            "rows": found.configuration.to_numpy().tolist(),
        },
        "facts": [
            {"name": name.replace("_", " "), "value": f"{value:,}" if isinstance(value, int) else str(value)}
            for name, value in facts.items()
        ],
        "pairs": f"{len(found.labels) * (len(found.labels) - 1) // 2:,}",
        "draws": str(DRAWS),
        "groups": f"{found.groups:,}",
    }


def sentence(found: Comparison) -> str:
    """Say from how many of the others the best run can be told apart."""
    decides = _primary(found)
    apart_from, others = int((decides["p_holm"] < LEVEL).sum()), len(decides)
    best, score = found.labels[0], score_title(found.score)
    if not apart_from:
        return f"No run can be told apart from {best}, which has the least {score}."
    which = f"{apart_from} of {others} others" if others > 1 else str(decides["run_a"].iloc[0])
    matter = int((decides.loc[decides["p_holm"] < LEVEL, "difference"] >= found.smallest).sum())
    return (
        f"{best} has a smaller {score} than {which} (p < {LEVEL:g}, Holm over all pairs), in {matter} of {apart_from} "
        f"by {number(found.smallest, digits=3)} {found.unit} or more, which would matter."
    )


def drawn(found: Comparison, rows: int) -> tuple[Figure, pd.DataFrame]:
    """Draw the differences of the primary score from the best run; return the table too."""
    columns = ["run", "score", "difference", "low", "high", "p_holm", "unit", "better"]
    table = _primary(found).rename(columns={"run_a": "run"})[columns].assign(smallest=found.smallest)
    note = (
        f"Test part, {found.groups:,} groups, the same for all runs; 95 % intervals of the paired differences. "
        f"Grey: less than what would matter, {number(found.smallest, digits=3)} {found.unit}."
    )
    figure = differences_from_best(table, title=sentence(found), caption=caption(rows, note), best=found.labels[0])
    return figure, table


def _primary(found: Comparison) -> pd.DataFrame:
    table = found.from_best()
    return table[table["score"] == found.score]


def _run(row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "run": row["run"],
        "run_id": row["run_id"],
        "value": number(row["value"]),
        "interval": f"{number(row['low'])} to {number(row['high'])}",
        "baseline": number(row["baseline"]),
        "unit": row["unit"],
        "skill": f"{percent(row['skill'])} %",
        "verdict": row["verdict"].replace("_", " "),
    }


def _score(found: Comparison, score: str) -> dict[str, Any]:
    table = found.from_best()
    table = table[table["score"] == score]
    rows = [
        {
            "run": row["run_a"],
            "difference": difference,
            "interval": interval,
            "p": p_value(row["p"]),
            "p_holm": p_value(row["p_holm"]),
        }
        for row in table.to_dict("records")
        for difference, interval in [apart(row["difference"], row["low"], row["high"])]
    ]
    unit, better = table[["unit", "better"]].iloc[0]
    return {"score": score, "name": score_title(score), "unit": unit, "better": better, "rows": rows}
