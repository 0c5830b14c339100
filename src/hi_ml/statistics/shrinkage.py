"""How far is a group from the rest, once its size is taken into account?"""

import numpy as np
from scipy.stats import norm

from hi_ml.statistics.effect import LEVEL, Floats
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.variance_components import BetweenGroups


def shrunken(groups: Moments, between: BetweenGroups) -> tuple[Floats, Floats, Floats]:
    """Shrink each group's deviation towards 0 by how little it tells: B_i (m_i - m), B_i = n_i gamma / (1 + n_i gamma).

    Parameters
    ----------
    groups : Moments
    between : BetweenGroups
        Estimated from these groups, or from all that could tell.

    Returns
    -------
    effect, low, high : ndarray of float64, shape (k,)
        In the unit of the values; 95 % limits from the variance tau^2 (1 - B_i), gamma taken as known.
    """
    weight = groups.n * between.gamma / (1 + groups.n * between.gamma)
    effect = weight * (groups.mean - between.centre) + 0.0  # so that no effect reads as -0
    half = norm.isf(LEVEL / 2) * np.sqrt(between.gamma * between.within * (1 - weight))
    return effect, effect - half, effect + half


def funnel(sizes: Floats, *, centre: float, within: float, level: float) -> tuple[Floats, Floats]:
    """Give the limits between which a group mean falls if no group differs.

    Parameters
    ----------
    sizes : ndarray of float64, shape (k,)
        Observations per group.
    centre, within : float
        Mean of all observations, and their variance within groups.
    level : float
        Probability that a group falls inside: 0.95 and 0.998 by custom.

    References
    ----------
    Spiegelhalter (2005), Statistics in Medicine 24, 1185. https://doi.org/10.1002/sim.1970
    """
    half = norm.isf((1 - level) / 2) * np.sqrt(within / sizes)
    return centre - half, centre + half
