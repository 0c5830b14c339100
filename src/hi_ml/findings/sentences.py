"""How do the verdict and its evidence read to someone who runs a hospital?"""

from hi_ml.findings.evidence import Evidence, Gap
from hi_ml.findings.finding import Draft

VERDICTS = {
    "STRONG": "Supported, and strongly: the whole interval lies above the smallest effect that matters.",
    "SUFFICIENT": "Supported: the effect is there, and its estimate is at least the smallest that matters.",
    "ABSENT": "Not supported: an effect as large as the smallest that matters is ruled out.",
    "NEGLIGIBLE": "Not supported: there is an effect, but it is smaller than the smallest that matters.",
    "OPPOSITE": "Not supported: the effect goes the other way.",
    "UNCERTAIN": "Undecided: the data neither show an effect that matters nor rule one out.",
}
PERCENT = 100
UNTESTABLE = "Not testable on this table."


def sentences(draft: Draft, reason: str, n_needed: int | None) -> tuple[str, ...]:
    """Say the verdict, then each estimate that decided, then what could not be tested.

    Parameters
    ----------
    draft : Draft
    reason : str
        Reason code of the verdict.
    n_needed : int or None
        Admissions that would settle an undecided claim.
    """
    verdict = VERDICTS.get(reason, UNTESTABLE)
    testable = draft.asked - len(draft.gaps)
    if 0 < testable < draft.asked:
        verdict = f"{verdict} {testable} of {draft.asked} parts could be tested."
    if n_needed:
        verdict = f"{verdict} About {n_needed:,} admissions would rule it out, if it is not there."
    return (verdict, *(statement(part) for part in draft.parts), *(lament(gap) for gap in draft.gaps))


def statement(evidence: Evidence) -> str:
    """Say one estimate with its interval.

    Examples
    --------
    >>> stay = Evidence("stay", "mean stay of A less that of B", "days", 0.14, -0.02, 0.3, 0.0, 0.28, 50_000, 1.0)
    >>> statement(stay)
    'Mean stay of A less that of B: +0.14 days (95 % interval -0.02 to +0.30; n = 50,000; it matters from 1.00 on).'
    """
    style, scale, unit = _style(evidence.unit)
    figures = [f"n = {evidence.n:,}"]
    if evidence.low is not None and evidence.high is not None:
        figures.insert(0, f"95 % interval {evidence.low * scale:{style}} to {evidence.high * scale:{style}}")
    if evidence.smallest_effect is not None:
        figures.append(f"it matters from {evidence.smallest_effect * scale:{style.lstrip('+')}} on")
    words = evidence.estimand[:1].upper() + evidence.estimand[1:]
    return f"{words}: {evidence.estimate * scale:{style}} {unit} ({'; '.join(figures)})."


def lament(gap: Gap) -> str:
    """Say what could not be tested, why, and which key would change that.

    Examples
    --------
    >>> lament(Gap("acute", "NO_MAPPING", "no condition is declared acute", "acute_conditions"))
    'acute: not testable (NO_MAPPING), because no condition is declared acute. Set acute_conditions.'
    """
    remedy = f" Set {gap.key}." if gap.key else ""
    return f"{gap.part}: not testable ({gap.reason}), because {gap.words}.{remedy}"


def _style(unit: str) -> tuple[str, int, str]:
    """Choose the format, the factor and the word of a unit."""
    if unit == "share of variance":
        return ".1f", PERCENT, "% of the variance"
    if unit.startswith("share"):
        return "+.1f", PERCENT, "percentage points"
    return ("+.2f", 1, unit) if unit == "days" else (".3f", 1, f"({unit})")
