"""A comparison becomes a plain dict, ready for a page and for the screen, and a chart with its table."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.app.launch import Invocation
from hi_ml.app.text import number, p_value, percent, signed_interval
from hi_ml.evaluation.comparison import Comparison
from hi_ml.modeling.scores.score import DRAWS
from hi_ml.modeling.scores.score import title as score_title
from hi_ml.reports import page
from hi_ml.reports.charts.scores import differences_from_best
from hi_ml.reports.drawing import caption, save
from hi_ml.reports.model import ANSWERS
from hi_ml.reports.screen import wrapped
from hi_ml.statistics.estimates import LEVEL
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.history import Listed

_CHART = "differences"
_SPACE = "model.space."  # how settings begin that only a search reads
_ON_SCREEN = ("run", "value", "interval", "baseline", "unit", "skill", "verdict")
_MOST_LINES = 20  # of differences and of settings on the screen; the files have all
_MOST_COLUMNS = 3  # of settings, likewise
_LONGEST = 32  # letters of a setting, likewise
_SHOWS = "Forest plot: paired differences of the primary score from the best run"


def summarize(comparison: Comparison, *, title: str, facts: Mapping[str, Any]) -> dict[str, Any]:
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
        "lead": sentence(comparison),
        "best": comparison.labels[0],
        "primary": score_title(comparison.score),
        "notes": [
            f"{', '.join(labels)} made identical predictions: their differences are exactly 0."
            for labels in comparison.identical
        ],
        "runs": _runs(comparison.runs[comparison.runs["score"] == comparison.score].to_dict("records")),
        "others": [],
        "scores": [_score(comparison, score) for score in dict.fromkeys(comparison.differences["score"])],
        "configuration": {
            "runs": list(comparison.configuration.columns[1:]),
            "rows": [row for row in comparison.configuration.to_numpy().tolist() if not row[0].startswith(_SPACE)],
        },
        "facts": [
            {"name": name.replace("_", " "), "value": f"{value:,}" if isinstance(value, int) else str(value)}
            for name, value in facts.items()
        ],
        "pairs": f"{len(comparison.labels) * (len(comparison.labels) - 1) // 2:,}",
        "draws": str(DRAWS),
        "tested": comparison.tested,
    }


def summarize_listed(
    listed: Sequence[Listed], *, title: str, comparison: Comparison | None, why: str
) -> dict[str, Any]:
    """Collect what a page says of all finished runs of a task, and of the pairs of those that can be paired.

    Parameters
    ----------
    listed : sequence of Listed
        At least one.
    comparison : Comparison or None
        Of those on the same rows whose files are here.
    why : str
        Why there is none, in a sentence.
    """
    score = next((one.score for one in listed if one.score), "")
    facts = {"runs": len(listed)}
    if comparison is None:
        pairs: dict[str, Any] = {"lead": why, "notes": [], "runs": [], "best": "", "primary": score_title(score)}
        summary = pairs | {"title": title, "facts": [{"name": "runs", "value": str(len(listed))}]}
    else:
        summary = summarize(comparison, title=title, facts=facts)
    paired = {row["run_id"] for row in summary["runs"]}
    others = [vars(one) | {"run": one.name, "run_id": one.id, "unit": ""} for one in listed if one.id not in paired]
    return summary | {"others": _runs(others)}


def _runs(rows: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Write runs, each with the place of its interval and baseline between the ends of all: a picture in the table."""
    places = ("low", "high", "value", "baseline")
    every = [float(row[name]) for row in rows for name in places if math.isfinite(row[name])]
    low, high = min(every, default=0.0), max(every, default=0.0)
    runs = []
    for row in rows:
        known = low < high and all(math.isfinite(row[name]) for name in places)
        at = {name: 100 * (float(row[name]) - low) / (high - low) for name in places} if known else {}
        strip = {name: f"{place:.1f}" for name, place in at.items()} | (
            {"width": f"{at['high'] - at['low']:.1f}"} if known else {}
        )
        runs.append(_run(row) | {"strip": strip})
    return runs


def sentence(comparison: Comparison) -> str:
    """Say from how many of the others the best run can be told apart."""
    decides = _primary(comparison)
    apart_from, others = int((decides["p_holm"] < LEVEL).sum()), len(decides)
    best, score = comparison.labels[0], score_title(comparison.score)
    which_way, most = ("larger", "largest") if decides["better"].iloc[0] == "more" else ("smaller", "least")
    if not apart_from:
        return f"No run can be told apart from {best}, which has the {most} {score}."
    which = f"{apart_from} of {others} others" if others > 1 else str(decides["run_a"].iloc[0])
    matter = int((decides.loc[decides["p_holm"] < LEVEL, "difference"].abs() >= comparison.smallest).sum())
    smallest = f"{number(comparison.smallest, digits=3)} {comparison.unit}"
    how_far = f"in {matter} of {apart_from} by {smallest} or more" if matter else f"by less than {smallest}"
    sure = f"(p < {LEVEL:g}, Holm over all pairs)"
    return f"{best} has a {which_way} {score} than {which} {sure}, {how_far}, which would matter."


def _draw(comparison: Comparison, rows: int) -> tuple[Figure, pd.DataFrame]:
    """Draw the differences of the primary score from the best run; return the table too."""
    columns = ["run", "score", "difference", "low", "high", "p_holm", "unit", "better"]
    table = _primary(comparison).rename(columns={"run_a": "run"})[columns].assign(smallest=comparison.smallest)
    note = (
        f"Test part, {comparison.tested}, the same for all runs; 95 % intervals of the paired differences. "
        f"Grey: less than what would matter, {number(comparison.smallest, digits=3)} {comparison.unit}."
    )
    figure = differences_from_best(
        table,
        title=f"How far is each run from the best one?\n{sentence(comparison)}",
        caption=caption(rows, note, noun="rows"),
        best=comparison.labels[0],
    )
    return figure, table


def _primary(comparison: Comparison) -> pd.DataFrame:
    table = comparison.from_best()
    return table[table["score"] == comparison.score]


def _run(row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "word": row["verdict"],
        "sign": ANSWERS.get(row["verdict"], ANSWERS["inconclusive"])[0],
        "run": row["run"],
        "run_id": row["run_id"],
        "value": number(row["value"]),
        "interval": f"{number(row['low'])} to {number(row['high'])}",
        "baseline": number(row["baseline"]),
        "unit": row["unit"],
        "skill": f"{percent(row['skill'])} %",
        "verdict": row["verdict"].replace("_", " ") + (f" ({row['reason']})" if row["reason"] else ""),
    }


def _score(comparison: Comparison, score: str) -> dict[str, Any]:
    table = comparison.from_best()
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
        for difference, interval in [signed_interval(row["difference"], row["low"], row["high"])]
    ]
    unit, better = table[["unit", "better"]].iloc[0]
    return {"score": score, "name": score_title(score), "unit": unit, "better": better, "rows": rows}


def write(
    comparison: Comparison, summary: dict[str, Any], folder: RunFolder, *, here: Invocation, about: Mapping[str, Any]
) -> None:
    """Write every file of a comparison; ``about`` is what its ``run.json`` says."""
    folder.write(config=here.config, overrides=here.overrides)
    folder.write(differences=comparison.differences, runs=comparison.runs, configuration=comparison.configuration)
    write_page(summary, folder, draw(comparison, folder, about["test_rows"]))
    folder.write(run=about)


def write_page(summary: dict[str, Any], folder: RunFolder, picture: Path | None) -> None:
    """Write the page of runs side by side."""
    pictures = {_CHART: [(_SHOWS, picture)]} if picture else {}
    folder.write(report=page.render(summary, pictures, template=page.COMPARISON))


def draw(comparison: Comparison, folder: RunFolder, rows: int) -> Path:
    """Draw the differences from the best run, and return the picture."""
    return save(*_draw(comparison, rows), folder.charts / _CHART)[0]


def screen(summary: Mapping[str, Any], *, elsewhere: int, silent: int) -> str:
    """Write what the screen says, as lines of text.

    Parameters
    ----------
    elsewhere, silent : int
        Runs that were left out: on other data or splits, and those whose predictions are not here.
    """
    lines = ["", summary["title"]]
    if elsewhere:
        lines.append(f"{elsewhere} others left out: they have another data or split digest.")
    if silent:
        lines.append(
            f"{silent} others left out: their predictions are not here (run folders gone, or on another machine: train "
            "there with share_rows=true, which sends them along)."
        )
    runs = pd.DataFrame(summary["runs"])[list(_ON_SCREEN)].rename(columns={"interval": "95 % interval"})
    lines += ["", runs.to_string(index=False)]
    scores = summary["scores"]
    if sum(len(score["rows"]) for score in scores) > _MOST_LINES:
        scores = scores[:1]
    for score in scores:
        lines += ["", f"{score['name']}, {score['unit']}, {score['better']} is better: run less {summary['best']}"]
        rows = pd.DataFrame(score["rows"]).rename(columns={"interval": "95 % interval", "p_holm": "p adjusted"})
        lines.append(rows.to_string(index=False))
    for text in [summary["lead"], *summary["notes"]]:
        lines += ["", wrapped(text)]
    return "\n".join([*lines, "", *_settings(summary["configuration"])])


def _settings(configuration: Mapping[str, Any]) -> list[str]:
    rows = configuration["rows"]
    if not rows:
        return ["All settings are the same."]
    table = pd.DataFrame(rows[:_MOST_LINES], columns=["key", *configuration["runs"]])
    if len(configuration["runs"]) > _MOST_COLUMNS:
        listed = "\n".join(table["key"])
    else:
        listed = table.set_index("key").map(_shortened).reset_index().to_string(index=False)
    more = [f"and {len(rows) - _MOST_LINES} more"] if len(rows) > _MOST_LINES else []
    return ["Settings that differ (all of them, with their values, in configuration.csv):", listed, *more]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
