"""Does the pipeline find anything where there is nothing to find?"""

from collections.abc import Sequence

import numpy as np

from hi_ml.app.text import percent
from hi_ml.evaluation.probes.probe import Probe
from hi_ml.statistics.groups import mean_interval

_LEVEL = 0.999  # so that one honest run in two thousand is suspected
_FEWEST = 2  # refits that have a spread


def probe(skills: Sequence[float]) -> Probe:
    """Judge the skills of a pipeline that was refitted on targets exchanged between groups.

    Parameters
    ----------
    skills : sequence of float
        Of each refit, see `hi_ml.evaluation.significance`.

    Returns
    -------
    Probe
        Passed unless the interval of their mean lies above zero: only what knows the targets it is tested on has skill
        then. An interval below zero is no leak, but noise that was learned.
    """
    if len(skills) < _FEWEST or np.ptp(skills) == 0:
        return Probe("refits", passed=True, detail="Too few different refits to tell whether targets leak.")
    found = mean_interval(np.array(skills), level=_LEVEL)
    measured = (
        f"{len(skills)} refits on targets exchanged between groups remove {percent(found.value)} % of the baseline's "
        f"error on average ({100 * _LEVEL:g} % interval {percent(found.low)} to {percent(found.high)})"
    )
    if found.low > 0:
        return Probe("refits", passed=False, detail=f"{measured}: targets leak into what predicts them.")
    return Probe("refits", passed=True, detail=f"{measured}: no targets leak.")
