"""How large can an effect be that cannot be negative? Noncentral chi-square and F distributions, inverted."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, f, ncf, ncx2

from hi_ml.statistics.estimates import LEVEL, POWER, Effect, Floats, Margin, rounded_up

Distribution = Callable[[float], float]
_NO_VARIANCE = 1e-9
"""Design effect below which a variance is what rounding leaves of zero."""


def chi_square_effect(
    statistic: float, df: float, n: int, *, margin: Margin, design_effect: float = 1.0, units: int | None = None
) -> Effect:
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
    design_effect : float
        Variance of what is tested over what it would be if all observations were independent: mean over its `df`
        directions. The statistic and n are divided by it (Rao & Scott 1981), so that the estimate is
        sqrt(max(0, Q - design_effect df) / n).
    units : int, optional
        Patients behind the observations.

    References
    ----------
    Steiger (2004), Psychological Methods 9, 164. https://doi.org/10.1037/1082-989X.9.2.164. Rao & Scott (1981),
    Journal of the American Statistical Association 76, 221. https://doi.org/10.1080/01621459.1981.10477633

    Examples
    --------
    >>> effect = chi_square_effect(12.7, 8, 50_000, margin=Margin(0.05))
    >>> round(effect.estimate, 4), effect.low, round(effect.high, 4)
    (0.0097, 0.0, 0.0208)
    """
    thinned = statistic / design_effect
    effect = _effect(
        lambda noncentrality: _chi_square_below(thinned, df, noncentrality),
        statistic=thinned,
        df=df,
        p_zero=float(chi2.sf(thinned, df)),
        n=n / design_effect,
        margin=margin,
    )
    return _of_patients(effect, n, design_effect, units)


def f_effect(
    statistic: float,
    df: tuple[float, float],
    n: int,
    *,
    margin: Margin,
    design_effect: float = 1.0,
    units: int | None = None,
) -> Effect:
    """Turn an F statistic into Cohen's f, as `chi_square_effect` does with w.

    Parameters
    ----------
    df : tuple of float
        Degrees of freedom of numerator and denominator.
    n : int
        Observations; noncentrality = n * f^2.
    margin : Margin
        As f; `n_needed` takes the denominator as large.
    design_effect, units
        As there.
    """
    thinned = statistic / design_effect
    effect = _effect(
        lambda noncentrality: _f_below(thinned, df, noncentrality),
        statistic=thinned * df[0],
        df=df[0],
        p_zero=float(f.sf(thinned, *df)),
        n=n / design_effect,
        margin=margin,
    )
    return _of_patients(replace(effect, statistic=thinned), n, design_effect, units)


def wald_effect(
    deviation: Floats, independent: Floats, clustered: Floats, n: int, *, units: int, margin: Margin
) -> Effect:
    """Turn what several directions deviate into Cohen's w or f, where patients have several observations.

    Parameters
    ----------
    deviation : array of float64, shape (d,)
        Zero if there is no effect.
    independent, clustered : array of float64, shape (d, d)
        Its covariance V0 if all observations were independent, and Vc that adds them up by patient first.
    n, units : int
        Observations, and patients K behind them.

    Returns
    -------
    Effect
        `p_zero` from the robust statistic, u' Vc^-1 u / d, as F(d, K - d); estimate, limits and the tests of the margin
        from u' V0^-1 u with the design effect tr(V0^-1 Vc) / d, see `chi_square_effect`.
    """
    df, statistic, design_effect = _in_all_directions(deviation, independent, clustered)
    effect = chi_square_effect(statistic, df, n, margin=margin, design_effect=design_effect, units=units)
    robust = float(deviation @ np.linalg.pinv(clustered, hermitian=True) @ deviation)
    p_zero = float(f.sf(robust / df, df, units - df)) if units > df else 1.0
    return replace(effect, p_zero=p_zero, statistic=robust)


def _in_all_directions(deviation: Floats, independent: Floats, clustered: Floats) -> tuple[int, float, float]:
    inverse = np.linalg.pinv(independent, hermitian=True)
    df = max(int(np.linalg.matrix_rank(independent, hermitian=True)), 1)
    return df, float(deviation @ inverse @ deviation), max(float(np.trace(inverse @ clustered)) / df, _NO_VARIANCE)


def _of_patients(effect: Effect, n: int, design_effect: float, units: int | None) -> Effect:
    needed = rounded_up(effect.n_needed * design_effect) if design_effect != 1.0 else effect.n_needed
    return replace(effect, n=n, n_needed=needed, units=units, design_effect=design_effect)


def noncentrality_needed(df: float, *, power: float = POWER) -> float:
    """Give the noncentrality that a statistic of `df` degrees of freedom must rule out at 5 % with this power.

    Examples
    --------
    >>> round(noncentrality_needed(8) / 0.05**2)  # observations that rule out w = 0.05
    7822
    """
    critical = float(chi2.ppf(power, df))
    return _solve(lambda noncentrality: _chi_square_below(critical, df, noncentrality), LEVEL)


def _effect(below: Distribution, *, statistic: float, df: float, p_zero: float, n: float, margin: Margin) -> Effect:
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
        n=round(n),
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
