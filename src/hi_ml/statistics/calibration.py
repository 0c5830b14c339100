"""Do predictions agree with what occurs, on the whole and in their spread, and what would make them agree?

Arrays have shape (n,), one entry a row: whether the event occurred and its predicted ``probability``, or ``target`` and
``prediction`` in one unit. An admission counts once, however many copies its ``units`` have of it, and intervals are
robust to dependence inside a unit: the covariance is clustered by unit, and bounds are Student's t with one degree of
freedom less than units.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize
from scipy.special import log_softmax

from hi_ml.statistics.estimates import Floats
from hi_ml.statistics.groups import Units

LEAST_SHARE = 1e-6
"""A probability of 0 or 1 has no logit: nearer than this to them, it is taken for this."""
LEAST_SPREAD = 0.05
"""Standard deviation of logits below which a slope on them is not estimable."""
_LEAST_LINEAR = 0.01  # standard deviation of predicted amounts, as a share of that of the targets: the same
_FEWEST = 10  # units in which a class occurs, and in which it does not
_LEVEL = 0.95


@dataclass(frozen=True)
class Agreement:
    """One measure of calibration."""

    value: float  # with its 95 % limits; NaN where not estimable
    low: float
    high: float
    note: str = ""  # why it is not estimable, or how to read it; else empty

    @classmethod
    def missing(cls, why: str) -> "Agreement":
        """Say why there is no estimate."""
        return cls(np.nan, np.nan, np.nan, f"not estimable: {why}")

    def noted(self, note: str) -> "Agreement":
        """Say how to read the estimate, where there is one."""
        return replace(self, note=self.note or note)


def in_the_large(occurred: NDArray[np.bool_], probability: Floats, units: Units) -> Agreement:
    """Estimate by how much all logits are too low: the intercept of a logistic model with the logit as offset.

    Returns
    -------
    Agreement
        In log-odds; 0 is ideal. Needs 10 units with and 10 without the event.

    References
    ----------
    Van Calster et al. (2019), BMC Medicine 17, 230. https://doi.org/10.1186/s12916-019-1466-7
    """
    if why := _too_few(occurred, units):
        return Agreement.missing(why)
    return _fitted(occurred, np.ones((len(occurred), 1)), units, offset=logits(probability))


def slope(occurred: NDArray[np.bool_], probability: Floats, units: Units) -> Agreement:
    """Estimate the slope of the event's log-odds on the predicted ones (Cox 1958).

    Returns
    -------
    Agreement
        1 is ideal; below it, the probabilities are too extreme. Not estimable where the standard deviation of the
        logits is below 0.05, or one probability separates the events from the rest.

    References
    ----------
    Cox (1958), Biometrika 45, 562. https://doi.org/10.1093/biomet/45.3-4.562
    """
    if why := _too_few(occurred, units):
        return Agreement.missing(why)
    predicted = logits(probability)
    spread = _deviation(predicted, units)
    if spread < LEAST_SPREAD:
        return Agreement.missing(f"the predictions hardly vary (standard deviation of the logits {spread:.2g})")
    return _fitted(occurred, np.column_stack([predicted, np.ones(len(predicted))]), units)


def share_above(target: Floats, prediction: Floats, units: Units, *, within: float = 0.0) -> Agreement:
    """Estimate the share of targets above their prediction, met ones counting half: 0.5 is ideal for a median.

    The interval spans what ties allow, for a median has half of the targets at most on either side: from that of the
    targets above to that of those above or met.
    """
    middle, ties = above(target, prediction, within=within), meets(target, prediction, within=within) / 2
    least, most = (units.ratio(middle + by * ties, level=_LEVEL) for by in (-1, 1))
    return Agreement(units.mean(above(target, prediction)), least.low, most.high)


def above(target: Floats, prediction: Floats, *, within: float = 0.0) -> Floats:
    """Mark with 1 the rows whose target lies above the prediction, with 0.5 those where it meets it; shape (n,)."""
    return np.where(meets(target, prediction, within=within), 0.5, target > prediction)


def meets(target: Floats, prediction: Floats, *, within: float = 0.0) -> NDArray[np.bool_]:
    """Mark the rows whose target lies no farther from the prediction; shape (n,)."""
    return np.asarray(np.abs(target - prediction) <= within)


def linear_slope(target: Floats, prediction: Floats, units: Units) -> Agreement:
    """Estimate the slope of target on prediction by least squares: 1 is ideal; below it, predictions differ too much.

    Returns
    -------
    Agreement
        Not estimable where predictions vary by less than 1 % of what targets vary by.
    """
    if len(units) < _FEWEST:
        return Agreement.missing(f"fewer than {_FEWEST} units")
    spread = _deviation(prediction, units)
    if spread < _LEAST_LINEAR * _deviation(target, units) or spread == 0:
        return Agreement.missing(f"the predictions hardly vary (standard deviation {spread:.2g})")
    return _fitted(target, np.column_stack([prediction, np.ones(len(prediction))]), units, linear=True)


def logits(probability: Floats) -> Floats:
    """Return log-odds, those of probabilities next to 0 and 1 bounded; shape (n,)."""
    inside = np.clip(probability, LEAST_SHARE, 1 - LEAST_SHARE)
    return np.asarray(np.log(inside / (1 - inside)))


def _too_few(occurred: NDArray[np.bool_], units: Units) -> str:
    with_it, without = (len(np.unique(units.unit[rows])) for rows in (occurred, ~occurred))
    if min(with_it, without) >= _FEWEST:
        return ""
    return f"the class occurs, or does not, in fewer than {_FEWEST} units"


def _deviation(values: Floats, units: Units) -> float:
    centre = np.average(values, weights=units.votes)
    return float(np.average((values - centre) ** 2, weights=units.votes) ** 0.5)


def _fitted(
    outcome: NDArray[np.bool_] | Floats,
    design: Floats,
    units: Units,
    *,
    offset: Floats | None = None,
    linear: bool = False,
) -> Agreement:
    """Fit a generalised linear model and return its first coefficient."""
    from statsmodels.genmod.families import Binomial, Gaussian  # noqa: PLC0415 -- a tenth of a second for training only
    from statsmodels.genmod.generalized_linear_model import GLM  # noqa: PLC0415 -- as above
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning, SpecificationWarning  # noqa: PLC0415

    family = Gaussian() if linear else Binomial()
    model = GLM(np.asarray(outcome, dtype=float), design, family=family, offset=offset, var_weights=units.votes)
    with warnings.catch_warnings(), np.errstate(over="ignore"):  # exp of the logits of separated classes
        # "not fully supported with weights": the tests hold it against the sandwich written out
        warnings.simplefilter("ignore", SpecificationWarning)
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": units.unit})
        except PerfectSeparationWarning:
            return Agreement.missing("the predictions separate the classes perfectly")
    value, error = float(fit.params[0]), float(fit.bse[0])
    reach = float(stats.t.ppf(0.5 + _LEVEL / 2, len(units) - 1)) * error
    return Agreement(value, value - reach, value + reach)


_LEAST_SLOPE = 1e-6
_PRECISE = {"ftol": 1e-15, "gtol": 1e-10}


@dataclass(frozen=True)
class Recalibration:
    """A multinomial logistic recalibration: shares become proportional to share ** slope * exp(intercept)."""

    slope: float  # common to all classes, positive; below 1 it draws the shares together
    intercepts: tuple[float, ...]  # one per class; the first class that occurs has 0

    @classmethod
    def of(
        cls, truth: NDArray[np.int64], shares: Floats, weights: Floats, *, slope: float | None = None
    ) -> "Recalibration":
        """Fit by maximum likelihood to predictions of rows that the model was not taught.

        Parameters
        ----------
        truth : array of int64, shape (n,)
            Class numbers.
        shares : array of float64, shape (n, k)
            Predicted probabilities; one of 0 is taken for one in a million.
        weights : array of float64, shape (n,)
            Votes of the rows, see `hi_ml.statistics.groups.Units`.
        slope : float, optional
            Keeps it, and fits intercepts alone.

        Notes
        -----
        With two classes it is Cox's logistic recalibration. A slope of 0 or below, which only predictions worse than
        guessing ask for, becomes one in a million: the class shares, but for the order of the rows, without which no
        curve could be drawn, and sets of labels would hold all labels. A class that never occurs keeps the intercept 0.

        References
        ----------
        Van Hoorde et al. (2014), Statistics in Medicine 33, 2585. https://doi.org/10.1002/sim.6114
        """
        logs = np.log(np.maximum(shares, LEAST_SHARE))
        occurred = np.eye(shares.shape[1])[truth]
        free = np.flatnonzero(occurred.any(axis=0))[1:]
        share = weights[:, None] / weights.sum()

        def loss(unknown: Floats) -> tuple[float, Floats]:
            fitted = log_softmax(unknown[0] * logs + _spread(unknown[1:], free, shares.shape[1]), axis=1)
            missed = share * (np.exp(fitted) - occurred)
            return -float((share * occurred * fitted).sum()), np.append((missed * logs).sum(), missed.sum(axis=0)[free])

        bounds = [(_LEAST_SLOPE, None) if slope is None else (slope, slope), *[(None, None)] * len(free)]
        start = np.append(1.0 if slope is None else slope, np.zeros(len(free)))
        best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_PRECISE).x
        return cls(float(best[0]), tuple(_spread(best[1:], free, shares.shape[1]).tolist()))


def _spread(intercepts: Floats, free: NDArray[np.int64], classes: int) -> Floats:
    """Put the intercepts of the free classes in their places, 0 in the others; shape (classes,)."""
    everywhere = np.zeros(classes)
    everywhere[free] = intercepts
    return everywhere
