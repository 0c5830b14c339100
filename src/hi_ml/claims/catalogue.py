"""Which claims are there, and what becomes of them on one table?"""

from collections.abc import Mapping
from typing import Any

import hi_ml.claims
from hi_ml.app.config import build, named_in, plain
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import DistinctAdmissions
from hi_ml.claims.finding import Finding
from hi_ml.claims.verdicts import decide


def catalogue() -> dict[str, Claim]:
    """Find the claims, by name in the order of reports: a module of this package is one if it has a `CLAIM`.

    Their number is that of the family over which p-values are adjusted.
    """
    claims: list[Claim] = named_in(hi_ml.claims, "CLAIM")
    return {claim.name: claim for claim in sorted(claims, key=lambda claim: (claim.position, claim.name))}


def settings_of(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the `findings` node of a configuration into settings, one object per finding asked for.

    Parameters
    ----------
    nodes : mapping of str to node
        As composed from `conf/finding/<name>.yaml`.

    Raises
    ------
    ConfigurationInvalid
        If a name is no finding.
    pydantic.ValidationError
        If a key is unknown, missing or of another type.
    """
    claims = catalogue()
    for name in nodes:
        if name not in claims:
            raise ConfigurationInvalid.not_one_of("finding", name, list(claims))
    return {name: build(claim.settings, plain(nodes[name])) for name, claim in claims.items() if name in nodes}


def state(admissions: DistinctAdmissions, settings: Mapping[str, Any]) -> list[Finding]:
    """Draft the findings that have settings, and give each its verdict.

    Parameters
    ----------
    settings : mapping of str to settings
        By finding, from `settings_of`. Those left out still count in the family.

    Returns
    -------
    list of Finding
        In the order of reports.
    """
    claims = catalogue()
    drafts = {name: claim.draft(admissions, settings[name]) for name, claim in claims.items() if name in settings}
    return decide(drafts, family=len(claims))
