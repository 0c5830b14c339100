"""What would have been claimed with near-duplicates kept?"""

from collections.abc import Sequence

from hi_ml.findings.finding import Finding


def difference(findings: Sequence[Finding], with_copies: Sequence[Finding]) -> str | None:
    """Name the claims whose verdict the copies would have turned, in a sentence; None where there are none.

    Parameters
    ----------
    findings, with_copies : sequence of Finding
        The same claims, on one row per admission and on every row.
    """
    turned = [
        f"'{kept.finding}' would have been {kept.verdict.replace('_', ' ')} instead of {own.verdict.replace('_', ' ')}"
        for own, kept in zip(findings, with_copies, strict=True)
        if own.verdict != kept.verdict
    ]
    if not turned:
        return None
    return f"With near-duplicate rows kept, {' and '.join(turned)}: that is how such claims get made."
