"""The findings become a run folder: JSON, a flat table, charts and a page, complete without MLflow."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hi_ml.artifacts import RunFolder, keep_rejected
from hi_ml.charts.style import save
from hi_ml.datasets.reading import Admissions
from hi_ml.findings.finding import Finding, record
from hi_ml.launch import Here
from hi_ml.privacy import PrivateWords
from hi_ml.report import page, pictures
from hi_ml.report.summary import summarize

_FLAT = (
    "part", "role", "estimand", "estimate", "low", "high", "unit", "n", "smallest_effect", "p_support", "p_absence",
)  # fmt: skip


@dataclass(frozen=True)
class Stated:
    """The claims of one table.

    Attributes
    ----------
    findings : sequence of Finding
    with_copies : str or None
        What would have been claimed with near-duplicates kept.
    admissions : Admissions
    distinct : int
        Admissions once near-duplicates are left out.
    seed : int
    keep_duplicates : bool
    """

    findings: Sequence[Finding]
    with_copies: str | None
    admissions: Admissions
    distinct: int
    seed: int
    keep_duplicates: bool


def write(stated: Stated, folder: RunFolder, *, here: Here, words: PrivateWords, started: float) -> None:
    """Write every file of a run of the findings.

    Parameters
    ----------
    stated : Stated
    folder : RunFolder
        An empty folder that exists.
    here : Here
    words : PrivateWords
        None of them may stand in any file.
    started : float
        When the run began, seconds since 1970.

    Raises
    ------
    PrivateValueFound
        If one does.
    """
    folder.write_request(here.config, here.overrides)
    folder.write_findings([record(finding) for finding in stated.findings], _evidence(stated.findings))
    if len(stated.admissions.rejected):
        keep_rejected(folder.path, stated.admissions.rejected)
    drawn = {}
    for finding in stated.findings:
        files = []
        for name, figure, table in pictures.of_finding(finding):
            picture, _ = save(figure, table, folder.charts / name)
            files.append((pictures.shows(name), picture))
        drawn[finding.finding] = files
    summary = summarize(stated.findings, facts=_facts(stated), with_copies=stated.with_copies)
    folder.write_report(page.render(summary, drawn))
    finished = time.time()
    run = {**here.provenance(), **_facts(stated), "keep_duplicates": stated.keep_duplicates, "rows": stated.distinct}
    run |= {"with_copies": stated.with_copies, "started": started, "finished": finished}
    folder.write_provenance(run, stated.admissions.provenance(), {"all": finished - started})
    words.refuse(folder.path)


def _facts(stated: Stated) -> Mapping[str, Any]:
    admissions = stated.admissions
    return {
        "dataset": admissions.dataset.name,
        "source": admissions.origin,
        "rows_read": admissions.counts["rows_read"],
        "rows_rejected": admissions.counts["rows_rejected"],
        "near_duplicates": len(admissions.row) - stated.distinct,
        "admissions": stated.distinct,
        "sha256": admissions.sha256,
        "seed": stated.seed,
    }


def _evidence(findings: Sequence[Finding]) -> pd.DataFrame:
    rows = [
        {"finding": finding.finding, "verdict": finding.verdict} | {name: getattr(part, name) for name in _FLAT}
        for finding in findings
        for part in finding.evidence
    ]
    return pd.DataFrame(rows, columns=["finding", "verdict", *_FLAT])
