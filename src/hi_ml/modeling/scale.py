"""On which scale is an amount learned: its own, or the logarithm that a long tail asks for?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.modeling.tasks import Task
from hi_ml.scorer.serving import from_log

Floats = NDArray[np.float64]
_TAIL = 2.0  # how much farther the 95 % quantile lies above the median than the 5 % quantile below, in a long tail


@dataclass(frozen=True)
class TargetScale:
    """What a regression learner is taught, and how its answers become amounts again.

    A learner of the median, or of another quantile, answers with the exponential of what it predicts, exactly: a
    quantile of the logarithm is the logarithm of the quantile. The mean of a logarithm is not, and the answer of a
    learner of means is multiplied by ``factor``.
    """

    is_log: bool = False
    shift: float = 0.0  # added before the logarithm is taken: 1 for counts, some of which are 0
    # mean of true over predicted amount, of rows that were not fitted (smearing); 1 for a median
    factor: float = 1.0
    reason: str = ""  # in a sentence; empty where nothing was to be chosen

    def learned(self, target: Floats) -> Floats:
        """Return what the learner is taught, shape (n,)."""
        return np.log(target + self.shift) if self.is_log else target

    def amounts(self, predicted: Floats) -> Floats:
        """Turn predictions of the learner into amounts, shape (n,), as `hi_ml.scorer.serving` does."""
        return from_log(predicted, self.shift, self.factor) if self.is_log else predicted

    def quantiles(self, predicted: Floats) -> Floats:
        """Turn predicted quantiles into amounts, shape (n,)."""
        return from_log(predicted, self.shift) if self.is_log else predicted

    def describe(self) -> dict[str, float] | None:
        """Lay out for JSON, as `hi_ml.scorer.serving` reads it."""
        return {"shift": self.shift, "factor": self.factor} if self.is_log else None

    def unit(self, unit: str) -> str:
        """Name the unit of what the learner adds up: contributions to a logarithm are no amounts."""
        if not self.is_log:
            return unit
        return f"log ({unit} + {self.shift:g})" if self.shift else f"log {unit}"


RAW = TargetScale()


def log_of(task: Task, target: Floats) -> TargetScale | None:
    """Return the logarithm that a target has: its own, or of one more where it counts and may be 0.

    Parameters
    ----------
    target : array of float64, shape (n,)
        Of all rows: whether a logarithm exists is a property of the column, not of the rows that train.

    Returns
    -------
    TargetScale or None
        None where an amount is negative, or is 0 and the amounts do not come whole.

    Raises
    ------
    ConfigurationInvalid
        If the task declares the scale, and there is none.
    """
    if target.min() > 0:
        return TargetScale(is_log=True)
    if target.min() >= 0 and (target == np.rint(target)).all():
        return TargetScale(is_log=True, shift=1.0)
    if task.scale == "log":
        raise ConfigurationInvalid.no_log(task.name, int((target <= 0).sum()), len(target))
    return None


def is_long_tailed(target: Floats) -> bool:
    """Tell whether the upper tail reaches more than twice as far from the median as the lower.

    Parameters
    ----------
    target : array of float64, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> is_long_tailed(np.arange(30.0)), is_long_tailed(np.exp(np.linspace(-2, 2, 30)))
    (False, True)
    """
    low, middle, high = np.quantile(target, [0.05, 0.5, 0.95])
    return bool(high - middle > _TAIL * (middle - low))
