"""The page of a table that was looked at: a picture of each column, and how the columns hang together."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hi_ml.app.text import percent, short
from hi_ml.data.guess import ColumnGuess
from hi_ml.data.relations import Relations
from hi_ml.reports import page
from hi_ml.reports.draft import Drafted, evidence

TEMPLATE = "description.html.jinja"
_BINS = 20  # of the picture of a number or a date
_ENDS = (0.01, 0.99)  # quantiles between which they lie: an extreme value could be told from the ends


def describe_page(drafted: Drafted, relations: Relations, commands: Sequence[str]) -> str:
    """Write the page as HTML."""
    rows = drafted.guesses[0].rows
    summary = {
        "title": f"The table {drafted.name}",
        "rows": f"{rows:,}",
        "columns": [
            *(_column(guess, drafted.smallest) for guess in drafted.guesses),
            *(
                _column(guess, drafted.smallest, join.name)
                for join in drafted.joins
                for guess in join.guesses
            ),
        ],
        "lead": _lead(drafted.guesses),
        "copies": f"{relations.copies:,}",
        "copied_share": percent(relations.copies / max(rows, 1)),
        "differ": [
            {"column": name, "pairs": f"{pairs:,}"}
            for name, pairs in sorted(relations.differ.items(), key=lambda pair: -pair[1])
        ],
        "identifiers": list(relations.identifiers),
        "private": [guess.name for guess in drafted.guesses if guess.private],
        "reproduced": [
            {"target": target, "column": name, "share": percent(share)}
            for target, columns in relations.reproduced.items()
            for name, share in columns.items()
        ],
        "targets": list(relations.reproduced),
        "months": _bars([(month, n) for month, n in relations.months], drafted.smallest),
        "mixed": [
            {"column": guess.name, "day": f"{day:,}", "month": f"{month:,}", "either": f"{either:,}",
             "format": guess.keys.get("format", "not guessed")}
            for guess in drafted.guesses if guess.orders is not None for day, month, either in [guess.orders]
        ],
        "candidates": [
            {"column": name, "table": table, "other": other, "share": percent(share), "unique": unique}
            for name, table, other, share, unique in relations.keys
        ],
        "smallest": str(drafted.smallest),
        "central": str(round(100 * (_ENDS[1] - _ENDS[0]))),
        "commands": list(commands),
    }  # fmt: skip
    return page.render(summary, {}, template=TEMPLATE)


def _lead(guesses: Sequence[ColumnGuess]) -> str:
    kinds = [guess.kind for guess in guesses]
    counted = [f"{kinds.count(kind)} of kind {kind}" for kind in dict.fromkeys(kinds)]
    return f"{len(guesses)} columns: {', '.join(counted)}; {sum(guess.private for guess in guesses)} private."


def _column(guess: ColumnGuess, smallest: int, joined: str = "") -> dict[str, Any]:
    return {
        "name": guess.name,
        "role": guess.role,
        "kind": "not guessed" if guess.is_mixed else guess.kind,
        "private": guess.private,
        "joined": joined,
        "missing": percent(1 - guess.known / max(guess.rows, 1)),
        "levels": f"{len(guess.levels):,}",
        "evidence": evidence(guess, smallest) if guess.orders is not None else "",
        "bars": _picture(guess, smallest),
        "upright": guess.numbers is not None,
    }


def _picture(guess: ColumnGuess, smallest: int) -> list[dict[str, Any]]:
    """Count the commonest levels of a category, or the bins of a number or a date; nothing of a private column."""
    if guess.private or guess.is_mixed:
        return []
    if guess.numbers is None:
        return _bars(guess.shown(smallest), smallest)
    return _bars(list(_binned(guess)), smallest)


def _binned(guess: ColumnGuess) -> Iterator[tuple[str, int]]:
    numbers = np.asarray(guess.numbers)[np.isfinite(np.asarray(guess.numbers))]
    if not numbers.size:
        return
    each, rows = np.unique(numbers, return_counts=True)
    if guess.kind == "number" and len(each) <= _BINS:
        yield from zip(map(short, each.tolist()), rows.tolist(), strict=True)
        return
    low, high = np.quantile(numbers, _ENDS)
    if low == high:
        yield short(low) if guess.kind == "number" else str(np.datetime64(int(low), "D")), numbers.size
        return
    rows, edges = np.histogram(numbers, bins=_BINS, range=(low, high))
    for n, first in zip(rows.tolist(), edges[:-1], strict=True):
        yield short(first) if guess.kind == "number" else str(np.datetime64(int(first), "D")), n


def _bars(counts: Sequence[tuple[str, int]], smallest: int) -> list[dict[str, Any]]:
    most = max((n for _, n in counts), default=1)
    return [
        {
            "label": label,
            "n": f"{n:,}" if n >= smallest else f"under {smallest}",
            "width": f"{100 * n / most if n >= smallest else 0:.1f}",
        }
        for label, n in counts
    ]
