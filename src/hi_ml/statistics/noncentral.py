"""How large can an effect be that cannot be negative? Noncentral chi-square and F distributions, inverted."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, f, ncf, ncx2

from hi_ml.statistics.estimates import LEVEL, POWER, Effect, Margin, rounded_up

Distribution = Callable[[float], float]


def chi_square_effect(statistic: float, df: float, n: int, *, margin: Margin) -> Effect:
    """Turn a chi-square statistic into Cohen's w, or a Wald statistic into Cohen's f.

    The estimate sqrt(max(0, Q - df) / n) removes what chance alone adds. The limits are those noncentralities under
    which the statistic is a quantile (Steiger 2004), so both may be 0.

    Parameters
    ----------
    statistic, df : float
        The statistic Q and its degrees of freedom.
    n : int
        Observations behind it; noncentrality = n * effect^2.
    margin : Margin
        As w or f.

    References
    ----------
    Steiger (2004), Psychological Methods 9, 164. https://doi.org/10.1037/1082-989X.9.2.164

    Examples
    --------
    >>> effect = chi_square_effect(12.7, 8, 50_000, margin=Margin(0.05))
    >>> round(effect.estimate, 4), effect.low, round(effect.high, 4)
    (0.0097, 0.0, 0.0208)
    """
    return _effect(
        lambda noncentrality: _chi_square_below(statistic, df, noncentrality),
        statistic=statistic,
        df=df,
        p_zero=float(chi2.sf(statistic, df)),
        n=n,
        margin=margin,
    )


def f_effect(statistic: float, df: tuple[float, float], n: int, *, margin: Margin) -> Effect:
    """Turn an F statistic into Cohen's f, as `chi_square_effect` does with w.

    Parameters
    ----------
    df : tuple of float
        Degrees of freedom of numerator and denominator.
    n : int
        Observations; noncentrality = n * f^2.
    margin : Margin
        As f; `n_needed` takes the denominator as large.
    """
    effect = _effect(
        lambda noncentrality: _f_below(statistic, df, noncentrality),
        statistic=statistic * df[0],
        df=df[0],
        p_zero=float(f.sf(statistic, *df)),
        n=n,
        margin=margin,
    )
    return replace(effect, statistic=statistic)


def noncentrality_needed(df: float, *, power: float = POWER) -> float:
    """Give the noncentrality that a statistic of `df` degrees of freedom must rule out at 5 % with this power.

    Examples
    --------
    >>> round(noncentrality_needed(8) / 0.05**2)  # observations that rule out w = 0.05
    7822
    """
    critical = float(chi2.ppf(power, df))
    return _solve(lambda noncentrality: _chi_square_below(critical, df, noncentrality), LEVEL)


def _effect(below: Distribution, *, statistic: float, df: float, p_zero: float, n: int, margin: Margin) -> Effect:
    low, low90, high90, high = (
        float(np.sqrt(_solve(below, 1 - tail if lower else tail) / n))
        for tail, lower in ((LEVEL / 2, True), (LEVEL, True), (LEVEL, False), (LEVEL / 2, False))
    )
    p_above = below(n * margin.size**2)
    return Effect(
        estimate=float(np.sqrt(max(0.0, statistic - df) / n)),
        low=low,
        high=high,
        low90=low90,
        high90=high90,
        p_zero=p_zero,
        p_above=p_above,
        p_outside=p_above,
        n=n,
        n_needed=rounded_up(noncentrality_needed(df, power=margin.power) / margin.size**2),
        statistic=statistic,
        df=df,
    )


def _solve(below: Distribution, probability: float) -> float:
    """Find the noncentrality at which `below`, which falls from its value at 0, is `probability`; 0 if it never is."""
    if below(0.0) <= probability:
        return 0.0
    upper = 1.0
    while below(upper) > probability:
        upper *= 2.0
    return float(brentq(lambda value: below(value) - probability, 0.0, upper, xtol=1e-12, rtol=1e-12))


def _chi_square_below(statistic: float, df: float, noncentrality: float) -> float:
    return float(ncx2.cdf(statistic, df, noncentrality) if noncentrality > 0 else chi2.cdf(statistic, df))


def _f_below(statistic: float, df: tuple[float, float], noncentrality: float) -> float:
    return float(ncf.cdf(statistic, *df, noncentrality) if noncentrality > 0 else f.cdf(statistic, *df))
