"""How often is an admission with the event ranked above one without, and how sure is that?

The area under the ROC curve with the variance of DeLong, DeLong & Clarke-Pearson (1988), doi:10.2307/2531595, whose
contributions are summed inside units as by Obuchowski (1997), doi:10.2307/2533958, with m / (m - 1) on the side of the
m units that have the event, and of those that lack it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from hi_ml.statistics.bootstrap import Difference
from hi_ml.statistics.estimates import Floats, Interval
from hi_ml.statistics.groups import Units


@dataclass(frozen=True, eq=False)
class Area:
    """An area under the ROC curve, of one class against the rest, averaged over the classes."""

    value: float
    deviations: Floats  # float64, shape (n_units,); what each unit adds: the sum of their squares is the variance
    fewest: int  # units that have an event, or that have none: the fewest over the classes

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(np.sum(self.deviations**2)))


def area(truth: NDArray[np.int64], share: Floats, units: Units) -> Area | None:
    """Average the areas of the classes that can be ranked; None where no class occurs beside another.

    Parameters
    ----------
    truth : array of int64, shape (n,)
        Class numbers.
    share : array of float64, shape (n, classes)
        Predicted probabilities; of equal ones each counts as half ranked above the other.
    """
    some = [k for k in range(share.shape[1]) if 0 < np.count_nonzero(truth == k) < len(truth)]
    if not some:
        return None
    each = [_one_against_rest(truth == k, share[:, k], units) for k in some]
    return Area(
        float(np.mean([one.value for one in each])),
        np.mean([one.deviations for one in each], axis=0),
        min(one.fewest for one in each),
    )


def area_interval(found: Area, *, level: float = 0.95) -> Interval:
    """Bound an area: Student's t on the log-odds, with one degree of freedom less than units with events.

    Notes
    -----
    Where all are ranked rightly, or all wrongly, nothing varies. Then as many independent pairs as there are units of
    the rarer side went one way, and the bound is that of Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404.
    """
    if not 0 < found.value < 1:
        bound = float(((1 - level) / 2) ** (1 / found.fewest))
        return Interval(1.0, bound, 1.0) if found.value else Interval(0.0, 0.0, 1 - bound)
    reach = _quantile(found.fewest, level) * found.error / (found.value * (1 - found.value))
    low, high = (float(expit(logit(found.value) + way * reach)) for way in (-1, 1))
    return Interval(found.value, low, high)


def area_difference(first: Area, second: Area, *, level: float = 0.95) -> Difference:
    """Compare the areas of two models on the same admissions by the paired test of DeLong, with Student's t."""
    value = first.value - second.value
    error = float(np.sqrt(np.sum((first.deviations - second.deviations) ** 2)))
    if not error:
        return Difference(value, value, value, 0.0 if value else 1.0)
    reach, df = _quantile(first.fewest, level) * error, max(first.fewest - 1, 1)
    return Difference(value, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / error, df)))


def _quantile(fewest: int, level: float) -> float:
    return float(stats.t.ppf(0.5 + level / 2, max(fewest - 1, 1)))


def _one_against_rest(positive: NDArray[np.bool_], score: Floats, units: Units) -> Area:
    """Rank those of a class above the others; both occur."""
    _, position = np.unique(score, return_inverse=True)
    up, down = (np.bincount(position, weights=units.votes * side) for side in (positive, ~positive))
    below, above = np.cumsum(down) - down / 2, up.sum() - np.cumsum(up) + up / 2  # of the other side, ties half
    sides = {True: (below / down.sum())[position], False: (above / up.sum())[position]}
    value = float(np.average(sides[True], weights=units.votes * positive))
    deviations, fewest = np.zeros(len(units)), len(units)
    for having, placement in sides.items():
        rows = positive == having
        weights = units.votes * rows
        members = len(np.unique(units.unit[rows]))
        added = np.bincount(units.unit, weights=weights * (placement - value)) / weights.sum()
        deviations += added * np.sqrt(members / max(members - 1, 1))
        fewest = min(fewest, members)
    return Area(value, deviations, fewest)
