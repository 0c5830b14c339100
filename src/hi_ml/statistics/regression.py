"""What is left of a difference once other columns are held fixed?"""

from dataclasses import replace

import numpy as np

from hi_ml.statistics.estimates import Effect, Floats, Integers, Margin, difference_effect
from hi_ml.statistics.means import contrast
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.noncentral import chi_square_effect, wald_effect

_NO_VARIANCE = 1e-9
"""Smallest over largest variance of the coefficients below which the smallest is what rounding leaves of zero."""


def residuals(values: Floats, covariates: Floats) -> Floats:
    """Remove what a linear model of the covariates explains (ordinary least squares); shape (n,).

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    covariates : ndarray of float64, shape (n, p)
        The constant included; columns may depend on each other.
    """
    coefficients, *_ = np.linalg.lstsq(covariates, values)
    return np.asarray(values - covariates @ coefficients, dtype=np.float64)


def within_strata(cells: Moments, groups: int, *, margin: Margin) -> Effect | None:
    """Test that group means are equal within strata: fixed effects of the strata, robust (HC1) Wald.

    Group indicators and values less their stratum means give the coefficients of the full regression (Frisch, Waugh &
    Lovell). Both are constant within a cell but for the values, so counts, sums and sums of squares suffice.

    Parameters
    ----------
    cells : Moments
        Of k strata x g groups, stratum by stratum; cells may be empty, strata too. Where patients have several values,
        the covariance adds up by patient (CR1).
    groups : int
        g.
    margin : Margin
        As Cohen's f given the strata.

    Returns
    -------
    Effect or None
        Cohen's f from the Wald statistic and its noncentral chi-square; None where no stratum holds two groups, or
        the values do not vary enough to give every coefficient a variance.
    """
    shape = (cells.n.size // max(groups, 1), groups)
    n = cells.n.reshape(shape)
    columns, strata = n.sum(axis=0) > 0, n.sum(axis=1) > 0
    used = np.outer(strata, columns).ravel()
    cells, shape = cells.at(used), (int(strata.sum()), int(columns.sum()))
    n, total, within = (values.reshape(shape) for values in (cells.n, cells.total, cells.within))
    if not ((n > 0).sum(axis=1) > 1).any():
        return None
    design = _centred_indicators(n)
    mean = total.sum(axis=1, keepdims=True) / n.sum(axis=1, keepdims=True)
    bread = np.linalg.pinv(np.einsum("kg,kgi,kgj->ij", n, design, design), hermitian=True)
    coefficients = bread @ np.einsum("kg,kgi->i", total - n * mean, design)
    missed = np.divide(total, n, out=np.zeros_like(total), where=n > 0) - mean - design @ coefficients
    df, observations = int(np.linalg.matrix_rank(bread, hermitian=True)), float(n.sum())
    spare = observations - n.shape[0] - df
    few = observations / max(spare, 1.0)
    meat = np.einsum("kg,kgi,kgj->ij", within + n * missed**2, design, design) * few
    covariance = bread @ meat @ bread
    spread = np.linalg.eigvalsh(covariance)[-df:]
    if spare < 1 or spread[0] <= _NO_VARIANCE * spread[-1]:
        return None
    if cells.clusters is None:
        wald = float(coefficients @ np.linalg.pinv(covariance, hermitian=True) @ coefficients)
        return chi_square_effect(wald, df, round(observations), margin=margin)
    units = cells.clusters.units
    fitted = mean + design @ coefficients
    scores = cells.clusters.deviations(fitted.ravel()) @ design.reshape(-1, design.shape[-1])
    meat = scores.T @ scores * few * (1 - 1 / observations) / (1 - 1 / max(units, 2))
    return wald_effect(coefficients, covariance, bread @ meat @ bread, round(observations), units=units, margin=margin)


def difference_within(cells: Moments, *, margin: Margin) -> Effect | None:
    """Compare two groups within strata: the strata's differences of means, weighted as Mantel and Haenszel do.

    Parameters
    ----------
    cells : Moments
        Of k strata x 2 groups, stratum by stratum; cells may be empty.

    Returns
    -------
    Effect or None
        Second group less first; None where no stratum holds two units of each, or nothing varies.

    References
    ----------
    Greenland & Robins (1985), Biometrics 41, 55: weights n1 n0 / (n1 + n0) give the common difference.
    """
    several = (cells.free > 0).reshape(-1, 2).all(axis=1)
    used = cells.at(np.repeat(several, 2))
    if not used.within.any():
        return None
    n = used.n.reshape(-1, 2)
    weight = n.prod(axis=1) / n.sum(axis=1)
    return contrast(used, np.outer(weight / weight.sum(), [-1, 1]).ravel(), margin=margin)


def slope(x: Floats, y: Floats, strata: Integers, units: Integers | None, *, margin: Margin) -> Effect | None:
    """Fit one straight line within all strata, its error robust to unequal variances and to patients who come again.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n,)
    strata : ndarray of int64, shape (n,)
        Codes from 0; each has a level of its own (fixed effects).
    units : ndarray of int64, shape (n,), optional
        Codes of the patients; left out where none has two values.
    margin : Margin
        Of y per unit of x.

    Returns
    -------
    Effect or None
        With HC1 errors, or CR1 by patient; None where x or y does not vary within strata.
    """
    n, k = x.size, len(np.unique(strata))
    inner, residual = (values - _stratum_means(values, strata)[strata] for values in (x, y))
    spread = float(inner @ inner)
    if n - k <= 1 or spread <= _NO_VARIANCE * float(x @ x):
        return None
    line = float(inner @ residual) / spread
    added = inner * (residual - line * inner) / spread * np.sqrt(n / (n - k - 1))
    independent = float(added @ added)
    if independent <= _NO_VARIANCE**2 * line**2:
        return None
    if units is None:
        return difference_effect(line, independent**0.5, n, margin=margin, df=n - k - 1)
    people, unit = np.unique(units, return_inverse=True)
    together = np.bincount(unit, weights=added)
    ratio = float(together @ together) / independent * people.size / (people.size - 1)
    effect = difference_effect(line, (ratio * independent) ** 0.5, n, margin=margin, df=people.size - 1)
    return replace(effect, units=people.size, design_effect=ratio)


def _stratum_means(values: Floats, strata: Integers) -> Floats:
    sizes = np.bincount(strata)
    means: Floats = np.bincount(strata, weights=values) / np.maximum(sizes, 1)
    return means


def wald_statistic(n: Floats, total: Floats, squares: Floats, *, groups: int) -> Floats:
    """Compute the Wald statistic of `within_strata` for each of b layouts, such as permutations; shape (b,).

    Parameters
    ----------
    n, total, squares : ndarray of float64, shape (b, k * groups)
        Counts, sums and sums of squares of the cells, stratum by stratum.
    """
    n, total, squares = (values.reshape(len(values), -1, groups) for values in (n, total, squares))
    each = np.maximum(n.sum(axis=2, keepdims=True), 1.0)
    mean = total.sum(axis=2, keepdims=True) / each
    design = (np.eye(groups) - (n / each)[:, :, None, :])[..., :-1]
    bread = np.linalg.pinv(np.einsum("bkg,bkgi,bkgj->bij", n, design, design, optimize=True), hermitian=True)
    coefficients = np.einsum("bij,bkg,bkgi->bj", bread, total - n * mean, design, optimize=True)
    fitted = mean + np.einsum("bkgi,bi->bkg", design, coefficients)
    missed = squares - 2 * fitted * total + n * fitted**2
    meat = np.einsum("bkg,bkgi,bkgj->bij", missed, design, design, optimize=True)
    inverse = np.linalg.pinv(bread @ meat @ bread, hermitian=True)
    return np.asarray(np.einsum("bi,bij,bj->b", coefficients, inverse, coefficients), dtype=np.float64)


def _centred_indicators(n: Floats) -> Floats:
    """Make indicators of all groups but the last, less their share in the stratum: shape (k, g, g - 1)."""
    share = n / n.sum(axis=1, keepdims=True)
    centred: Floats = (np.eye(n.shape[1])[None, :, :] - share[:, None, :])[:, :, :-1]
    return centred
