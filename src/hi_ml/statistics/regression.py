"""What is left of a difference once other columns are held fixed?"""

import numpy as np

from hi_ml.statistics.effect import Effect, Floats, Margin
from hi_ml.statistics.means import Moments
from hi_ml.statistics.noncentral import chi_square_effect


def residuals(values: Floats, covariates: Floats) -> Floats:
    """Remove what a linear model of the covariates explains (ordinary least squares).

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    covariates : ndarray of float64, shape (n, p)
        The constant included; columns may depend on each other.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    scale = np.linalg.norm(covariates, axis=0)
    scaled = covariates / np.where(scale > 0, scale, 1.0)
    # The normal equations of p columns are small, and pinv takes the dependent columns out.
    coefficients = np.linalg.pinv(scaled.T @ scaled, hermitian=True) @ (scaled.T @ values)
    return np.asarray(values - scaled @ coefficients, dtype=np.float64)


def comparable_within(cells: Moments, groups: int) -> bool:
    """Say whether some stratum holds two groups, and values vary within cells with degrees of freedom to spare.

    Parameters
    ----------
    cells : Moments
        Of k strata x g groups, stratum by stratum.
    groups : int
        g.
    """
    filled = cells.n.reshape(-1, groups) > 0
    parameters = filled.any(axis=1).sum() + filled.any(axis=0).sum() - 1
    return bool((filled.sum(axis=1) > 1).any() and cells.within.any() and cells.n.sum() > parameters)


def within_strata(cells: Moments, groups: int, *, margin: Margin) -> Effect:
    """Test that group means are equal within strata: fixed effects of the strata, robust (HC1) Wald.

    Group indicators and values less their stratum means give the coefficients of the full regression (Frisch, Waugh &
    Lovell). Both are constant within a cell but for the values, so counts, sums and sums of squares suffice.

    Parameters
    ----------
    cells : Moments
        Of k strata x g groups, stratum by stratum, that are `comparable_within`; cells may be empty, strata too.
    groups : int
        g.
    margin : Margin
        As Cohen's f given the strata.

    Returns
    -------
    Effect
        Cohen's f from the Wald statistic and its noncentral chi-square.
    """
    n, total, squares = (values.reshape(-1, groups) for values in (cells.n, cells.total, cells.squares))
    columns, strata = n.sum(axis=0) > 0, n.sum(axis=1) > 0
    n, total, squares = (values[strata][:, columns] for values in (n, total, squares))
    design = _centred_indicators(n)
    mean = total.sum(axis=1, keepdims=True) / n.sum(axis=1, keepdims=True)
    bread = np.linalg.pinv(np.einsum("kg,kgi,kgj->ij", n, design, design), hermitian=True)
    coefficients = bread @ np.einsum("kg,kgi->i", total - n * mean, design)
    fitted = mean + design @ coefficients
    squared_errors = squares - 2 * fitted * total + n * fitted**2
    df, observations = int(np.linalg.matrix_rank(bread, hermitian=True)), float(n.sum())
    hc1 = observations / (observations - n.shape[0] - df)
    meat = np.einsum("kg,kgi,kgj->ij", squared_errors, design, design) * hc1
    wald = float(coefficients @ np.linalg.pinv(bread @ meat @ bread, hermitian=True) @ coefficients)
    return chi_square_effect(wald, df, round(observations), margin=margin)


def _centred_indicators(n: Floats) -> Floats:
    """Make indicators of all groups but the last, less their share in the stratum: shape (k, g, g - 1)."""
    share = n / n.sum(axis=1, keepdims=True)
    centred: Floats = (np.eye(n.shape[1])[None, :, :] - share[:, None, :])[:, :, :-1]
    return centred
