"""Which slope and intercepts would have made the probabilities of several classes right?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from hi_ml.statistics.calibration import LEAST_SHARE

Floats = NDArray[np.float64]
_PRECISE = {"ftol": 1e-15, "gtol": 1e-10}


@dataclass(frozen=True)
class Recalibration:
    """A multinomial logistic recalibration: shares become proportional to share ** slope * exp(intercept).

    Attributes
    ----------
    slope : float
        Common to all classes, not negative; below 1 it draws the shares together.
    intercepts : tuple of float, length k
        One per class; the first class that occurs has 0.
    """

    slope: float
    intercepts: tuple[float, ...]

    @classmethod
    def of(cls, truth: NDArray[np.int64], shares: Floats, weights: Floats) -> "Recalibration":
        """Fit by maximum likelihood to predictions of rows that the model was not taught.

        Parameters
        ----------
        truth : array of int64, shape (n,)
            Class numbers.
        shares : array of float64, shape (n, k)
            Predicted probabilities; one of 0 is taken for one in a million.
        weights : array of float64, shape (n,)
            One over the size of a row's group, so that a group counts once.

        Notes
        -----
        With two classes it is Cox's logistic recalibration. A slope below 0, which only predictions worse than
        guessing ask for, becomes 0: the class shares. A class that never occurs keeps the intercept 0.

        References
        ----------
        Van Hoorde et al. (2014), Statistics in Medicine 33, 2585. https://doi.org/10.1002/sim.6114
        """
        logs = np.log(np.maximum(shares, LEAST_SHARE))
        occurred = np.eye(shares.shape[1])[truth]
        free = np.flatnonzero(occurred.any(axis=0))[1:]
        share = weights[:, None] / weights.sum()

        def loss(unknown: Floats) -> tuple[float, Floats]:
            found = log_softmax(unknown[0] * logs + _spread(unknown[1:], free, shares.shape[1]), axis=1)
            missed = share * (np.exp(found) - occurred)
            return -float((share * occurred * found).sum()), np.append((missed * logs).sum(), missed.sum(axis=0)[free])

        bounds = [(0.0, None), *[(None, None)] * len(free)]
        start = np.append(1.0, np.zeros(len(free)))
        best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_PRECISE).x
        return cls(float(best[0]), tuple(_spread(best[1:], free, shares.shape[1]).tolist()))


def _spread(intercepts: Floats, free: NDArray[np.int64], classes: int) -> Floats:
    """Put the intercepts of the free classes in their places, 0 in the others; shape (classes,)."""
    everywhere = np.zeros(classes)
    everywhere[free] = intercepts
    return everywhere
