"""What does the evidence allow us to say of each claim, given that five were made?"""

from collections.abc import Sequence

from hi_ml.findings.evidence import Evidence
from hi_ml.findings.finding import Draft, Finding, Reason, Verdict
from hi_ml.findings.sentences import sentences
from hi_ml.statistics.effect import LEVEL
from hi_ml.statistics.multiplicity import FAMILY, all_of, any_of, holm, holm_in_family


def decide(drafts: Sequence[Draft]) -> list[Finding]:
    """Give every draft its verdict.

    Support and absence are adjusted separately, each over the family of five claims, which never shrinks: claims that
    cannot be tested, or were not asked for, count with p = 1. A claim of which all parts must hold is supported by its
    weakest part (intersection-union) and refuted by one absent part; a claim of which any part may hold the other way
    round.

    Parameters
    ----------
    drafts : sequence of Draft
        Of different findings, at most five.

    References
    ----------
    Berger (1982), Technometrics 24, 295. Holm (1979), Scandinavian Journal of Statistics 6, 65. Goeman, Solari &
    Stijnen (2010), Statistics in Medicine 29, 2117.
    """
    support = holm_in_family([_p_support(draft) for draft in drafts])
    absence = holm_in_family([_p_absence(draft) for draft in drafts])
    return [_finding(draft, *p_values) for draft, *p_values in zip(drafts, support, absence, strict=True)]


def _p_support(draft: Draft) -> float:
    p_values = [_p(part.p_support) for part in draft.parts]
    if not p_values:
        return 1.0
    return all_of(p_values) if draft.rule == "all" else any_of(p_values)


def _p_absence(draft: Draft) -> float:
    p_values = [_p(part.p_absence) for part in draft.parts]
    if not p_values:
        return 1.0
    return any_of(p_values) if draft.rule == "all" else all_of(p_values)


def _finding(draft: Draft, p_support: float, p_absence: float) -> Finding:
    verdict, reason = _verdict(draft, p_support, p_absence)
    n_needed = _n_needed(draft) if verdict == "inconclusive" else None
    testable = draft.asked - len(draft.gaps)
    return Finding(
        finding=draft.finding,
        claim=draft.claim,
        rule=draft.rule,
        verdict=verdict,
        reason=reason,
        p_support=p_support,
        p_absence=p_absence,
        evidence=draft.evidence,
        gaps=draft.gaps,
        parts=draft.asked,
        parts_testable=testable,
        excludes_effects_above={part.part: part.high90 for part in draft.parts if part.high90 is not None},
        n_needed=n_needed,
        sentences=sentences(draft, reason, n_needed),
        notes=draft.notes,
        tables=draft.tables,
    )


def _verdict(draft: Draft, p_support: float, p_absence: float) -> tuple[Verdict, Reason]:
    if not draft.parts:
        return "not_testable", draft.gaps[0].reason
    if p_support < LEVEL and (carrying := _carrying(draft)):
        strong = [part.low is not None and part.low > _smallest(part) for part in carrying]
        return "supported", "STRONG" if (all if draft.rule == "all" else any)(strong) else "SUFFICIENT"
    if p_absence < LEVEL:
        if any(_opposite(part, len(draft.parts)) for part in draft.parts):
            return "not_supported", "OPPOSITE"
        return "not_supported", "NEGLIGIBLE" if p_support < LEVEL else "ABSENT"
    return "inconclusive", "UNCERTAIN"


def _carrying(draft: Draft) -> list[Evidence]:
    """Return the parts that carry the claim: all, if each is large enough; or those that are, after Holm within."""
    large = [part.estimate >= _smallest(part) for part in draft.parts]
    if draft.rule == "all":
        return list(draft.parts) if all(large) else []
    sure = holm([_p(part.p_support) for part in draft.parts]) < LEVEL
    return [part for part, is_large, is_sure in zip(draft.parts, large, sure, strict=True) if is_large and is_sure]


def _opposite(part: Evidence, parts: int) -> bool:
    """Say whether a part surely has the sign that was not claimed (Bonferroni over parts and claims)."""
    p_two_sided = float(part.detail.get("p_two_sided", 1.0))
    return part.estimate < 0 and p_two_sided * parts * FAMILY < LEVEL


def _n_needed(draft: Draft) -> int | None:
    """Say how many admissions would settle the matter, where their number is what is lacking."""
    needed = [part.n_needed for part in draft.parts if part.n_needed]
    if not needed:
        return None
    # One absent part refutes a claim of which all must hold; else every part must be shown to be absent.
    enough = (min if draft.rule == "all" else max)(needed)
    return enough if enough > max(part.n for part in draft.parts) else None


def _smallest(part: Evidence) -> float:
    return 0.0 if part.smallest_effect is None else part.smallest_effect


def _p(p_value: float | None) -> float:
    return 1.0 if p_value is None else p_value
