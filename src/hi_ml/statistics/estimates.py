"""An estimate and how sure it is; an effect, with the tests that there is none and that there is one that matters."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t


@dataclass(frozen=True)
class Interval:
    """An estimate between its limits."""

    value: float  # in the unit, and at the level, of the function that returns it
    low: float
    high: float


Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Decision = Literal["present", "absent", "inconclusive"]

LEVEL = 0.05
"""Error rate of every test and, as 1 - LEVEL, the level of the wider interval."""
POWER = 0.90
"""Chance of an absence verdict, where there is no effect, that `n_needed` buys."""
LARGEST_N = 10**12
"""What `n_needed` says where no realistic number of admissions would do."""


@dataclass(frozen=True)
class Effect:
    """One estimated effect."""

    estimate: float  # in the unit of the function that returns it
    low: float  # limits of the 95 % interval
    high: float  # limits of the 95 % interval
    low90: float  # limits of the 90 % interval, the one that belongs to tests of one side at 5 %
    high90: float
    p_zero: float  # p-value of "there is no effect": two-sided, or the upper tail where the effect cannot be negative
    p_above: float  # p-value of "the effect is at least the margin": small means that such an effect is ruled out
    # p-value of "the effect is at least the margin in either direction" (two one-sided tests, Schuirmann 1987).
    # Equal to `p_above` where the effect cannot be negative
    p_outside: float
    n: int  # number of observations
    n_needed: int  # observations at which a true zero is shown to be smaller than the margin with the power asked for
    statistic: float  # the test statistic behind `p_zero`
    df: float  # its degrees of freedom (of the numerator, where it has two); infinite for a normal statistic
    units: int | None = None  # patients behind the observations; None where every observation is a unit of its own
    design_effect: float = 1.0  # variance of the estimate over what it would be if all observations were independent


@dataclass(frozen=True)
class Margin:
    """The smallest effect that matters, and the power that `n_needed` should buy."""

    size: float  # in the unit of the effect; positive
    power: float = POWER  # chance of ruling the margin out where there is no effect


def decide(wide: Interval, narrow: Interval, margin: float) -> Decision:
    """Decide whether an effect that can only help by being positive is there.

    Parameters
    ----------
    wide, narrow : Interval
        The estimate with its 95 % and its 90 % limits.
    margin : float
        The smallest effect that matters.

    Returns
    -------
    {"present", "absent", "inconclusive"}
        Present if the 95 % interval lies above 0 and the estimate reaches the margin; absent if the 90 % interval lies
        below the margin.

    Examples
    --------
    >>> decide(Interval(0.1, 0.05, 0.15), Interval(0.1, 0.06, 0.14), 0.02)
    'present'
    """
    if wide.low > 0 and wide.value >= margin:
        return "present"
    return "absent" if narrow.high < margin else "inconclusive"


def difference_effect(estimate: float, error: float, n: int, *, margin: Margin, df: float = np.inf) -> Effect:
    """Complete an estimate that has a standard error: t intervals (normal at infinite df) and tests.

    Parameters
    ----------
    estimate, error : float
        The difference and its standard error, in the unit of the margin; the error is positive.
    n : int
        Observations behind them.
    df : float
        Degrees of freedom of the standard error.
    """
    half, half90 = (float(t.isf(tail, df)) * error for tail in (LEVEL / 2, LEVEL))
    p_above = float(t.cdf((estimate - margin.size) / error, df))
    p_below = float(t.sf((estimate + margin.size) / error, df))
    return Effect(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        low90=estimate - half90,
        high90=estimate + half90,
        p_zero=float(2 * t.sf(abs(estimate) / error, df)),
        p_above=p_above,
        p_outside=max(p_above, p_below),
        n=n,
        n_needed=n_for_difference(n, error, margin),
        statistic=estimate / error,
        df=df,
    )


def joint_power(parts: int) -> float:
    """Give the power that each of several parts needs so that all show absence with `POWER`."""
    return float(POWER ** (1 / parts))


def n_for_difference(n: float, error: float, margin: Margin) -> int:
    """Say how many observations would show that a difference stays below the margin, if it is zero.

    The one-sided test at 5 % needs a standard error of margin / (z(.95) + z(power)); it falls with the root of n.

    Parameters
    ----------
    n : float
        Observations that gave the standard error.
    error : float
        The standard error, in the unit of the margin.

    Examples
    --------
    >>> n_for_difference(50_000, 0.0825, Margin(1.0))
    2915
    """
    wanted = margin.size / (norm.isf(LEVEL) + norm.ppf(margin.power))
    return rounded_up(n * (error / wanted) ** 2)


def rounded_up(n: float) -> int:
    """Round a number of observations up, and cap what is beyond reach."""
    return int(np.ceil(n)) if n < LARGEST_N else LARGEST_N
