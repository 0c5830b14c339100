"""What does the evidence allow us to say of each claim, given how many were made, and how does that read?"""

from collections.abc import Mapping, Sequence

from hi_ml.app.errors import Untestable
from hi_ml.app.text import in_unit, interval, with_unit
from hi_ml.claims.finding import FACT, Draft, Evidence, Finding, Reason, Verdict, as_far
from hi_ml.statistics.estimates import LEVEL
from hi_ml.statistics.multiplicity import all_of, any_of, holm, holm_in_family

VERDICTS = {
    "STRONG": "Supported, and strongly: the whole interval lies above the smallest effect that matters.",
    "SUFFICIENT": "Supported: the effect is there, and its estimate is at least the smallest that matters.",
    "ABSENT": "Not supported: an effect as large as the smallest that matters is ruled out.",
    "NEGLIGIBLE": "Not supported: there is an effect, but it is smaller than the smallest that matters.",
    "OPPOSITE": "Not supported: the effect goes the other way.",
    "UNCERTAIN": "Undecided: the data neither show an effect that matters nor rule one out.",
}
UNTESTABLE = "Not testable on this table."


def decide(drafts: Mapping[str, Draft], *, family: int) -> list[Finding]:
    """Give every draft its verdict.

    Support and absence are adjusted separately, each over the family of claims, which never shrinks: claims that
    cannot be tested, or were not asked for, count with p = 1. A claim of which all parts must hold is supported by its
    weakest part (intersection-union) and refuted by one absent part; a claim of which any part may hold the other way
    round.

    Parameters
    ----------
    drafts : mapping of str to Draft
        By the name of the claim.
    family : int
        How many claims there are, asked for or not.

    References
    ----------
    Berger (1982), Technometrics 24, 295. Holm (1979), Scandinavian Journal of Statistics 6, 65. Goeman, Solari &
    Stijnen (2010), Statistics in Medicine 29, 2117.
    """
    support = holm_in_family([_p_support(draft) for draft in drafts.values()], size=family)
    absence = holm_in_family([_p_absence(draft) for draft in drafts.values()], size=family)
    return [
        _finding(name, draft, p_support, p_absence, family)
        for (name, draft), p_support, p_absence in zip(drafts.items(), support, absence, strict=True)
    ]


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


def _finding(name: str, draft: Draft, p_support: float, p_absence: float, family: int) -> Finding:
    verdict, reason = _verdict(draft, p_support, p_absence, family)
    n_needed = _n_needed(draft) if verdict == "inconclusive" else None
    covered = _covered(draft, verdict)
    return Finding(
        finding=name,
        claim=draft.claim,
        rule=draft.rule,
        verdict=verdict,
        reason=reason,
        p_support=p_support,
        p_absence=p_absence,
        evidence=draft.evidence,
        gaps=draft.gaps,
        parts=draft.asked,
        parts_testable=draft.asked - len(draft.gaps),
        excludes_effects_above={part.part: part.excluded for part in draft.parts if part.excluded is not None},
        n_needed=n_needed,
        sentences=sentences(draft, reason, n_needed, covered),
        covered=covered,
        notes=draft.notes,
        tables=draft.tables,
        facts=draft.facts,
        charts=draft.charts,
    )


def _verdict(draft: Draft, p_support: float, p_absence: float, family: int) -> tuple[Verdict, Reason]:
    if not draft.parts:
        return "not_testable", draft.gaps[0].reason
    if p_support < LEVEL and (carrying := _carrying(draft)):
        strong = [part.keeps_level and part.is_beyond for part in carrying]
        whole = draft.shown == draft.claim
        return "supported", "STRONG" if whole and (all if draft.rule == "all" else any)(strong) else "SUFFICIENT"
    if p_absence < LEVEL:
        if any(_opposite(part, len(draft.parts) * family) for part in draft.parts):
            return "not_supported", "OPPOSITE"
        return "not_supported", "NEGLIGIBLE" if p_support < LEVEL else "ABSENT"
    return "inconclusive", "UNCERTAIN"


def _covered(draft: Draft, verdict: Verdict) -> str:
    """Say the claim as the verdict covers it: one absent part refutes a claim of which all must hold as a whole."""
    whole = verdict != "supported" and (verdict != "not_supported" or draft.rule == "all")
    return draft.claim if whole else draft.shown


def _carrying(draft: Draft) -> list[Evidence]:
    """Return the parts that carry the claim: all, if each is large enough; or those that are, after Holm within."""
    large = [part.size >= _smallest(part) for part in draft.parts]
    if draft.rule == "all":
        return list(draft.parts) if all(large) else []
    sure = holm([_p(part.p_support) for part in draft.parts]) < LEVEL
    return [part for part, is_large, is_sure in zip(draft.parts, large, sure, strict=True) if is_large and is_sure]


def _opposite(part: Evidence, tests: int) -> bool:
    """Say whether a part surely has the sign that was not claimed (Bonferroni over parts and claims)."""
    return part.estimate < 0 and float(part.detail.get("p_two_sided", 1.0)) * tests < LEVEL


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


def sentences(draft: Draft, reason: Reason, n_needed: int | None, covered: str) -> tuple[str, ...]:
    """Say the verdict, then each estimate that decided, then what could not be tested.

    Parameters
    ----------
    n_needed : int or None
        Admissions that would settle an undecided claim.
    covered : str
        The claim, as far as the verdict covers it.
    """
    verdict = VERDICTS.get(reason, UNTESTABLE)
    if covered != draft.claim:
        word, _, why = verdict.partition(": ")
        verdict = f"{word}{as_far(draft.gaps)}: {covered[:1].lower()}{covered[1:]} {why[:1].upper()}{why[1:]}"
    testable = draft.asked - len(draft.gaps)
    if 0 < testable < draft.asked:
        verdict = f"{verdict} {testable} of {draft.asked} parts could be tested."
    if n_needed:
        verdict = f"{verdict} About {n_needed:,} admissions would rule it out, if it is not there."
    return (verdict, *(_estimate(part) for part in draft.parts), *(_reason(gap) for gap in draft.gaps))


def _estimate(part: Evidence) -> str:
    figures = [f"n = {part.counted}"]
    if not part.keeps_level:
        figures.append("its tails are so heavy that the interval does not keep its level")
    if part.low is not None and part.high is not None:
        figures.insert(0, f"95 % interval {interval(part.low, part.high, part.unit)}")
    if part.smallest_effect is not None:
        figures.append(f"it matters from {in_unit(part.smallest_effect, part.unit, signed=False)} on")
    words = part.estimand[:1].upper() + part.estimand[1:]
    fact = f"{part.detail[FACT]}. " if FACT in part.detail else ""
    return f"{fact}{words}: {with_unit(part.estimate, part.unit)} ({'; '.join(figures)})."


def _reason(gap: Untestable) -> str:
    return f"{gap.part.replace('_', ' ')}: not testable, because {gap.words}.{_remedy(gap.key)}"


def _remedy(key: str | None) -> str:
    """The setting that would make a part testable, as a shell takes it."""
    if key is None or key.startswith("findings."):
        return f" Set {key}." if key else ""
    return f" Say it: '++dataset.{key}={'<column>' if key.startswith('columns.') else '[<word>,<word>]'}'."


def difference(findings: Sequence[Finding], with_copies: Sequence[Finding]) -> str | None:
    """Name the claims whose verdict near-duplicates would have turned, in a sentence; None where there are none.

    Parameters
    ----------
    findings, with_copies : sequence of Finding
        The same claims, on one row per admission and on every row.
    """
    turned = [
        f"'{own.finding}' would have been {every.verdict} instead of {own.verdict}".replace("_", " ")
        for own, every in zip(findings, with_copies, strict=True)
        if own.verdict != every.verdict
    ]
    if not turned:
        return None
    return f"With near-duplicate rows kept, {' and '.join(turned)}: that is how such claims get made."
