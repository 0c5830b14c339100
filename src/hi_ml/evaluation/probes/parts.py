"""Does the split keep together what belongs together?"""

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.errors import GroupsTorn
from hi_ml.evaluation.probes.probe import Probe
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.splits import LEFT_OUT, PARTS


def probe(problem: Problem, rule: str) -> Probe:
    """Count the groups and twins of which a row stands in one part and a row in another.

    Parameters
    ----------
    rule : str
        Of the split.

    Raises
    ------
    GroupsTorn
        If there are any, unless the rule is ``random``, which exists to show what that leaks.
    """
    kept = problem.parts != LEFT_OUT
    groups, twins = (_torn(group[kept], problem.parts[kept]) for group in (problem.group, problem.twin))
    if not groups and not twins:
        return Probe("parts", passed=True, detail=f"split={rule} keeps every group of rows in one part.")
    found = f"split={rule} tears {groups:,} groups of rows apart, {twins:,} of near-duplicates"
    if rule != "random":
        raise GroupsTorn.of(problem.task.name, [found])
    return Probe("parts", passed=False, detail=f"{found}, as asked: the scores flatter the model, see leakage.json.")


def _torn(group: NDArray[np.int64], part: NDArray[np.int8]) -> int:
    """Count the groups that stand in more than one part."""
    _, place = np.unique(group, return_inverse=True)
    stood_in = np.unique(place * len(PARTS) + part) // len(PARTS)
    return int((np.bincount(stood_in) > 1).sum())
