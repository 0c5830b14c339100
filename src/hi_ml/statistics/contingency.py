"""Do two categories go together, within strata and overall?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2, chi2_contingency

from hi_ml.statistics.estimates import Effect, Floats, Margin
from hi_ml.statistics.noncentral import chi_square_effect


@dataclass(frozen=True)
class Association:
    """What a set of r x c tables, one per stratum, says."""

    w: Effect  # Cohen's w given the strata, from the generalised Cochran-Mantel-Haenszel statistic
    # sum of the strata's own chi-squares: far above its degrees of freedom where an association changes sign
    sum_of_strata: float
    sum_df: float  # its degrees of freedom
    p_sum: float  # its p-value
    expected: Floats  # float64, shape (r, c); counts if rows and columns were independent within each stratum, added up
    # float64, shape (r, c); adjusted residuals given the strata: standard normal where there is no association;
    # 0 where nothing can vary
    residuals: Floats


def can_vary(tables: ArrayLike) -> bool:
    """Say whether some stratum has two rows and two columns that are not empty.

    Parameters
    ----------
    tables : array of numbers, shape (k, r, c)
    """
    counts = np.asarray(tables)
    rows, columns = ((counts.sum(axis=axis) > 0).sum(axis=1) for axis in (2, 1))
    return bool(((rows > 1) & (columns > 1)).any())


def association(tables: ArrayLike, *, margin: Margin) -> Association:
    """Test nominal x nominal association given strata (generalised Cochran-Mantel-Haenszel).

    Parameters
    ----------
    tables : array of numbers, shape (k, r, c)
        Counts that `can_vary`; a stratum of fewer than two observations tells nothing and is left out.
    margin : Margin
        As w.

    References
    ----------
    Landis, Heyman & Koch (1978), International Statistical Review 46, 237. Agresti (2013), Categorical Data
    Analysis, 3rd ed.
    """
    counts = np.asarray(tables, dtype=np.float64)
    counts = counts[counts.sum(axis=(1, 2)) > 1]
    rows, columns, n = counts.sum(axis=2), counts.sum(axis=1), counts.sum(axis=(1, 2))
    excess = (counts - rows[:, :, None] * columns[:, None, :] / n[:, None, None]).sum(axis=0)
    row_part, column_part = _multinomial(rows, n), _multinomial(columns, n)
    covariance = np.einsum("k,kij,kab->iajb", 1 / (n - 1), row_part, column_part)
    size = excess[:-1, :-1].size
    deviation = excess[:-1, :-1].ravel()
    dispersion = covariance[:-1, :-1, :-1, :-1].reshape(size, size)
    statistic = float(deviation @ np.linalg.pinv(dispersion, hermitian=True) @ deviation)
    df = int(np.linalg.matrix_rank(dispersion, hermitian=True))
    variance = np.einsum("iaia->ia", covariance)
    residuals = np.divide(excess, np.sqrt(variance), out=np.zeros_like(excess), where=variance > 0)
    total, total_df = _sum_of_chi_squares(counts)
    return Association(
        w=chi_square_effect(statistic, df, round(float(n.sum())), margin=margin),
        sum_of_strata=total,
        sum_df=total_df,
        p_sum=float(chi2.sf(total, total_df)),
        expected=counts.sum(axis=0) - excess,
        residuals=residuals,
    )


def cramers_v(table: ArrayLike) -> float:
    """Estimate Cramer's V without the bias that inflates it in small tables.

    Parameters
    ----------
    table : array of numbers, shape (r, c)
        Counts, with at least two rows and columns that are not empty.

    References
    ----------
    Bergsma (2013), Journal of the Korean Statistical Society 42, 323. https://doi.org/10.1016/j.jkss.2012.10.002
    """
    counts = _without_empty(np.asarray(table, dtype=np.float64))
    n = counts.sum()
    spare = np.array(counts.shape) - 1
    phi_squared = max(0.0, chi2_contingency(counts, correction=False).statistic / n - float(spare.prod()) / (n - 1))
    levels = spare - spare**2 / (n - 1)
    return float(np.sqrt(phi_squared / levels.min())) if phi_squared > 0 else 0.0


def largest_share_gap(table: ArrayLike) -> tuple[int, int, int, float]:
    """Find the two rows and the column between which a share differs most.

    Parameters
    ----------
    table : array of numbers, shape (r, c)
        Counts; no row may be empty.

    Returns
    -------
    higher, lower, column : int
    gap : float
        Share of the column in the higher row less that in the lower.
    """
    counts = np.asarray(table, dtype=np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    column = int(np.argmax(np.ptp(shares, axis=0)))
    higher, lower = int(np.argmax(shares[:, column])), int(np.argmin(shares[:, column]))
    return higher, lower, column, float(shares[higher, column] - shares[lower, column])


def _multinomial(margins: Floats, n: Floats) -> Floats:
    """Return diag(m) - m m' / n of each stratum, shape (k, levels, levels)."""
    diagonal = margins[:, :, None] * np.eye(margins.shape[1])
    return diagonal - margins[:, :, None] * margins[:, None, :] / n[:, None, None]


def _sum_of_chi_squares(tables: Floats) -> tuple[float, float]:
    smaller = [_without_empty(table) for table in tables]
    tests = [chi2_contingency(table, correction=False) for table in smaller if min(table.shape) > 1]
    return float(sum(test.statistic for test in tests)), float(max(sum(test.dof for test in tests), 1))


def _without_empty(table: Floats) -> Floats:
    filled: Floats = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    return filled
