"""The findings become a run folder: JSON, a flat table, charts and a page, complete without MLflow.

Findings and facts of the table become one plain dict: every text and number of the page, ready to be read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hi_ml.app.errors import Untestable
from hi_ml.app.launch import Invocation
from hi_ml.app.text import in_unit, interval, number, p_statement, p_value, scale_of, with_unit
from hi_ml.app.timing import round_seconds
from hi_ml.claims.catalogue import family
from hi_ml.claims.finding import FACT, Evidence, Finding, record
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.read import Admissions
from hi_ml.data.sql.table import SqlTable
from hi_ml.reports import findings_charts, page
from hi_ml.reports.drawing import save
from hi_ml.reports.provenance import of_table, place, provenance, tables_in_words
from hi_ml.statistics.estimates import LEVEL
from hi_ml.tracking.folder import RunFolder, keep_rejected
from hi_ml.tracking.leaving import mask_few

_FLAT = (
    "part", "role", "estimand", "estimate", "low", "high", "unit", "n", "smallest_effect", "p_support", "p_absence",
    "units", "units_are", "design_effect", "keeps_level",
)  # fmt: skip


@dataclass(frozen=True)
class FindingsRun:
    """The claims of one table."""

    findings: Sequence[Finding]
    with_copies: str | None  # what would have been claimed with near-duplicates kept
    admissions: Admissions | SqlTable
    distinct: int  # admissions once near-duplicates are left out
    copies: int  # near-duplicates that are left out
    seed: int
    keep_duplicates: bool
    smallest_cell: int


def write(stated: FindingsRun, folder: RunFolder, *, here: Invocation, words: PrivateWords, started: float) -> None:
    """Write every file of a run of the findings.

    Parameters
    ----------
    folder : RunFolder
        An empty folder that exists.
    words : PrivateWords
        None of them may stand in any file.
    started : float
        When the run began, seconds since 1970.

    Raises
    ------
    PrivateValueFound
        If one does.
    """
    folder.write(config=here.config, overrides=here.overrides)
    findings = [record(finding) for finding in stated.findings]
    folder.write(findings=findings, evidence=_evidence(stated.findings))
    if len(stated.admissions.rejected):
        keep_rejected(folder.path, stated.admissions.rejected)
    pictures = {
        finding.finding: [
            (chart.shows, save(chart.figure, chart.table, folder.charts / chart.name)[0])
            for chart in findings_charts.of_finding(finding, smallest_cell=stated.smallest_cell)
        ]
        for finding in stated.findings
    }
    facts = _facts(stated)
    summary = summarize(
        stated.findings,
        facts=mask_few(facts | {"source": place(facts["source"])}, stated.smallest_cell),
        with_copies=stated.with_copies,
        family=family(finding.finding for finding in stated.findings),
    )
    folder.write(report=page.render(summary, pictures))
    facts |= {"keep_duplicates": stated.keep_duplicates, "rows": stated.distinct, "with_copies": stated.with_copies}
    run = provenance(here, facts, started=started)
    seconds = {"all": run["finished"] - started}
    folder.write(
        run=run,
        data=stated.admissions.provenance() | {"names_of_organisations_too": words.excused},
        timings=round_seconds(seconds),
    )
    words.refuse(folder.path)


def _facts(stated: FindingsRun) -> dict[str, Any]:
    admissions = stated.admissions
    return {
        **of_table(admissions),
        "rows_read": admissions.counts["rows_read"],
        "rows_rejected": admissions.counts["rows_rejected"],
        **({f"left out: {why}": n for why, n in admissions.left_out.rows().items()} if admissions.left_out else {}),
        "near_duplicates": stated.copies,
        "admissions": stated.distinct,
        **_digest(admissions),
        **tables_in_words(admissions.provenance()),
        "seed": stated.seed,
    }


def _digest(admissions: Admissions | SqlTable) -> Mapping[str, str]:
    """Give the digest of all cells; of a table that was added up elsewhere that of its counts, and who did it."""
    if isinstance(admissions, SqlTable):
        return {
            "added_up_by": f"engine={admissions.engine}",
            "values_that_can_be_read_in_two_ways": "not looked for by this engine",
            "sha256_of_counts": admissions.sha256,
        }
    return {"sha256": admissions.sha256}


def _evidence(findings: Sequence[Finding]) -> pd.DataFrame:
    rows = [
        {"finding": finding.finding, "verdict": finding.verdict} | {name: getattr(part, name) for name in _FLAT}
        for finding in findings
        for part in finding.evidence
    ]
    return pd.DataFrame(rows, columns=["finding", "verdict", *_FLAT])


SIGNS = {"supported": "✓", "not_supported": "✗", "inconclusive": "?", "not_testable": "–"}
VERDICTS = {
    "supported": "Supported",
    "not_supported": "Not supported",
    "inconclusive": "Inconclusive",
    "not_testable": "Not testable",
}
ROLES = {
    "primary": "Decides the verdict",
    "secondary": "Shown beside it; cannot change the verdict",
    "exploratory": "Exploratory; cannot change the verdict",
}
RULES = {
    "all": "The claim holds if all of its parts hold.",
    "any": "The claim holds if at least one of its parts does.",
}
_NOTHING = "–"
_PERCENT = 100


def summarize(
    findings: Sequence[Finding], *, facts: Mapping[str, Any], with_copies: str | None, family: int
) -> dict[str, Any]:
    """Collect what the report says.

    Parameters
    ----------
    findings : sequence of Finding
        In the order of the report.
    facts : mapping of str to value
        Of the table: ``dataset`` (its name) and ``admissions`` (how many, copies counted once) open the report; all
        others, such as ``rows``, ``copies``, ``rejected``, ``sha256`` or ``seed``, are listed by name in this order.
    with_copies : str or None
        What would have been claimed with near-duplicates kept, in one line.
    family : int
        How many claims there are, asked for or not.

    Returns
    -------
    dict
        Text, lists and dicts only, ready for JSON and for `hi_ml.reports.page.render`.
    """
    dataset = _fact(facts.get("dataset", "this table"))
    return {
        "title": f"Findings: {dataset}",
        "dataset": dataset,
        "admissions": _fact(facts.get("admissions")),
        "lead": _lead(findings),
        "facts": [
            {"name": name.replace("_", " "), "value": _fact(value)}
            for name, value in facts.items()
            if name not in ("dataset", "admissions")
        ],
        "findings": [_finding(finding) for finding in findings],
        "with_copies": with_copies,
        "family": str(family),
        "level": f"{_PERCENT * LEVEL:g} %",
    }


def _lead(findings: Sequence[Finding]) -> str:
    """Count the verdicts."""
    counts: Counter[str] = Counter(finding.verdict for finding in findings)
    counted = [f"{counts[verdict]} {words.lower()}" for verdict, words in VERDICTS.items() if counts[verdict]]
    return f"{len(findings)} claim{'s' * (len(findings) != 1)}: {', '.join(counted) or 'none was asked for'}."


def _finding(finding: Finding) -> dict[str, Any]:
    verdict, *statements = finding.sentences
    return {
        "finding": finding.finding,
        "name": finding.finding.replace("_", " "),
        "claim": finding.claim,
        "verdict": finding.verdict,
        "verdict_words": VERDICTS[finding.verdict] + finding.as_far,
        "sentence": verdict,
        "statements": statements,
        "sign": SIGNS[finding.verdict],
        "number": _number(finding),
        "rule": RULES[finding.rule] if finding.parts > 1 else "",
        "parts": f"{finding.parts_testable} of {finding.parts}",
        "p_support": p_value(finding.p_support),
        "p_absence": p_value(finding.p_absence),
        "ruled_out": list(_ruled_out(finding)),
        "gaps": [_gap(gap) for gap in finding.gaps],
        "evidence": [
            {"role": words, "rows": [_row(item) for item in finding.evidence if item.role == role]}
            for role, words in ROLES.items()
            if any(item.role == role for item in finding.evidence)
        ],
        "notes": list(finding.notes),
    }


def in_short(findings: Sequence[Finding]) -> str:
    """Write the claims of a command in one table: the verdict, and the number that it stands on."""
    rows = []
    for finding in findings:
        number = _number(finding)
        verdict = VERDICTS[finding.verdict] + finding.as_far
        rows.append((finding.finding.replace("_", " "), verdict, number.get("value", ""), number.get("tested", "")))
    return pd.DataFrame(rows, columns=["claim", "verdict", "number", ""]).to_string(index=False)


def _number(finding: Finding) -> dict[str, str]:
    """Choose the one number of a card: of the parts that must all hold the weakest, else the strongest."""
    parts = [item for item in finding.evidence if item.role == "primary"]
    if not parts:
        return {}
    every = finding.rule == "all"  # then the weakest part decides, else the strongest
    item = (min if every else max)(parts, key=lambda part: part.size / (part.smallest_effect or 1.0))
    fact = str(item.detail.get(FACT, ""))
    estimate, reach = with_unit(item.estimate, item.unit), f"95 % interval {interval(item.low, item.high, item.unit)}"
    return {
        "value": fact or estimate,
        "what": f"{item.estimand}{': ' + estimate if fact else ''}",
        "reach": reach,
        "tested": f"{estimate}, {reach}" if fact else reach,
        "matters": "" if item.smallest_effect is None else in_unit(item.smallest_effect, item.unit, signed=False),
    }


def _gap(gap: Untestable) -> dict[str, Any]:
    return {"part": gap.part.replace("_", " "), "words": gap.words, "key": gap.key}


def _row(item: Evidence) -> dict[str, Any]:
    smallest = item.smallest_effect
    return {
        "what": item.estimand[:1].upper() + item.estimand[1:],
        "remarks": list(_remarks(item)),
        "estimate": in_unit(item.estimate, item.unit),
        "interval": interval(item.low, item.high, item.unit),
        "unit": scale_of(item.unit).words,
        "n": item.counted,
        "smallest_effect": _NOTHING if smallest is None else in_unit(smallest, item.unit, signed=False),
        "p_support": p_value(item.p_support),
        "p_absence": p_value(item.p_absence),
    }


def _remarks(item: Evidence) -> Iterator[str]:
    """Say which details a reader needs to understand the estimate."""
    if not item.keeps_level:
        yield "tails so heavy that the interval does not keep its level"
    for name, value in item.detail.items():
        if name == FACT:
            yield str(value)
        elif isinstance(value, str):
            yield f"{name.replace('_', ' ')}: {value.replace('_', ' ') if name == 'verdict' else value}"
    if "p_value" in item.detail:
        yield f"{p_statement(float(item.detail['p_value']))}, not adjusted"
    if "discovery" in item.detail:
        stands = "stands" if item.detail["discovery"] else "does not stand"
        yield f"{stands} at a false discovery rate of {_PERCENT * LEVEL:g} %"


def _ruled_out(finding: Finding) -> Iterator[str]:
    """Say, part by part, which effects the table excludes, whatever the verdict."""
    units = {item.part: item.unit for item in finding.evidence}
    for part, high in finding.excludes_effects_above.items():
        yield f"{part.replace('_', ' ')}: above {with_unit(high, units[part])}"


def _fact(value: Any) -> str:
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else str(value)
