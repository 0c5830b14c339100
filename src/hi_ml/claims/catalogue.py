"""Which claims are there, and what becomes of them on one table?"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import hi_ml.claims
from hi_ml.app.config import build, named_in
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.references import plain
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import DistinctAdmissions
from hi_ml.claims.finding import Finding
from hi_ml.claims.stated import stated_claim
from hi_ml.claims.verdicts import decide


def catalogue() -> dict[str, Claim]:
    """Find the claims, by name in the order of reports: a module of this package is one if it has a `CLAIM`.

    Their number is that of the family over which p-values are adjusted.
    """
    claims: list[Claim] = named_in(hi_ml.claims, "CLAIM")
    return {claim.name: claim for claim in sorted(claims, key=lambda claim: (claim.position, claim.name))}


def family(names: Iterable[str]) -> int:
    """Count the claims over which p-values are adjusted: all of the package, and those that their owner adds."""
    return len({*catalogue(), *names})


def settings_of(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the `findings` node of a configuration into settings, one object per finding asked for.

    Parameters
    ----------
    nodes : mapping of str to node
        As composed from `conf/finding/<name>.yaml`.

    Raises
    ------
    ConfigurationInvalid
        If a name is no finding, and what stands there does not say of which kind it is.
    pydantic.ValidationError
        If a key is unknown, missing or of another type.
    """
    claims = catalogue()
    own = {name: plain(node) for name, node in nodes.items() if name not in claims}
    for name, node in own.items():
        if not isinstance(node, Mapping) or "kind" not in node:
            raise ConfigurationInvalid.no_claim(name, list(claims))
    kinds = {name: claim.settings for name, claim in claims.items() if name in nodes}
    kinds |= {name: stated_claim(name).settings for name in own}
    return {name: _settings(kind, name, plain(nodes[name])) for name, kind in kinds.items()}


def _settings(kind: type, name: str, node: Any) -> Any:
    place = f"findings.{name}"
    return build(dict[str, kind], {place: node})[place]  # type: ignore[valid-type]  # known when it runs


def state(admissions: DistinctAdmissions, settings: Mapping[str, Any]) -> list[Finding]:
    """Draft the findings that have settings, and give each its verdict.

    Parameters
    ----------
    settings : mapping of str to settings
        By finding, from `settings_of`. Those left out still count in the family.

    Returns
    -------
    list of Finding
        In the order of reports, the owner's behind those of the package.
    """
    claims = catalogue()
    claims |= {name: stated_claim(name) for name in settings if name not in claims}
    drafts = {
        name: dataclasses.replace(draft, charts=draft.charts or claim.charts)
        for name, claim in claims.items()
        if name in settings
        for draft in [claim.draft(admissions, settings[name])]
    }
    return decide(drafts, family=len(claims))
