"""Do two categories go together, within strata and overall?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.stats import chi2, chi2_contingency

from hi_ml.statistics.estimates import Effect, Floats, Integers, Margin
from hi_ml.statistics.moments import Clusters
from hi_ml.statistics.noncentral import chi_square_effect, wald_effect

_AT_ONCE = 4_000_000  # numbers of a table that is held at once
DENSE = 500
"""Degrees of freedom up to which the covariance of all cells is written out; of one stratum, none beyond needs it."""


@dataclass(frozen=True)
class Association:
    """What a set of r x c tables, one per stratum, says."""

    w: Effect  # Cohen's w given the strata, from the generalised Cochran-Mantel-Haenszel statistic
    # sum of the strata's own chi-squares: far above its degrees of freedom where an association changes sign
    sum_of_strata: float
    sum_df: float  # its degrees of freedom
    p_sum: float  # its p-value, the sum divided by the design effect
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


def association(tables: ArrayLike, *, margin: Margin, clusters: Clusters | None = None) -> Association:
    """Test nominal x nominal association given strata (generalised Cochran-Mantel-Haenszel).

    Parameters
    ----------
    tables : array of numbers, shape (k, r, c)
        Counts that `can_vary`; a stratum of fewer than two observations tells nothing and is left out.
    margin : Margin
        As w.
    clusters : Clusters, optional
        Where patients have several observations: the observations of each in the k r c cells, in their order. Then the
        test is the cluster-robust score test: an observation in row i and column j of stratum k adds
        sqrt(K_k / (K_k - 1)) (1[i] - p_ki) (1[j] - q_kj), with the K_k patients of the stratum and its margins p and q;
        what a patient adds in all is multiplied with itself. A stratum of one patient is left out.

    Notes
    -----
    Of one stratum the covariance is R x C / (n - 1), whose generalised inverse on sums of zero is that of the margins'
    diagonals: Pearson's chi-square times (n - 1) / n. Beyond `DENSE` degrees of freedom that takes its place, in memory
    of the table's own size, and the clustered test is Rao and Scott's first order, with the same design effect.

    References
    ----------
    Landis, Heyman & Koch (1978), International Statistical Review 46, 237. Agresti (2013), Categorical Data
    Analysis, 3rd ed.
    """
    counts = np.asarray(tables, dtype=np.float64)
    telling = counts.sum(axis=(1, 2)) > 1
    people = np.full(len(counts), np.inf)
    if clusters is not None:
        cells = [np.arange(counts[0].size) + first for first in range(0, counts.size, counts[0].size)]
        people = clusters.pooled(cells).per_group
        telling = people > 1
        clusters = clusters.at(np.repeat(telling, counts[0].size))
    counts, people = counts[telling], people[telling]
    rows, columns, n = counts.sum(axis=2), counts.sum(axis=1), counts.sum(axis=(1, 2))
    excess = (counts - rows[:, :, None] * columns[:, None, :] / n[:, None, None]).sum(axis=0)
    total, total_df = _sum_of_chi_squares(counts)
    if len(counts) == 1 and (excess.shape[0] - 1) * (excess.shape[1] - 1) > DENSE:
        effect, variance = _of_one_stratum(counts[0], clusters, margin)
    else:
        effect, variance = _of_strata(excess, (rows, columns, n), clusters, people, margin)
    return Association(
        w=effect,
        sum_of_strata=total,
        sum_df=total_df,
        p_sum=float(chi2.sf(total / effect.design_effect, total_df)),
        expected=counts.sum(axis=0) - excess,
        residuals=np.divide(excess, np.sqrt(variance), out=np.zeros_like(excess), where=variance > 0),
    )


def _of_strata(
    excess: Floats, margins: tuple[Floats, Floats, Floats], clusters: Clusters | None, people: Floats, margin: Margin
) -> tuple[Effect, Floats]:
    """Test the excess over all strata, and give the variance of each cell's."""
    rows, columns, n = margins
    step = max(_AT_ONCE // columns.shape[1] ** 2, 1)
    r, c = rows.shape[1], columns.shape[1]
    products = np.zeros((r * r, c * c))
    for few in (slice(first, first + step) for first in range(0, len(n), step)):
        row_part = _multinomial(rows[few], n[few]) / (n[few] - 1)[:, None, None]
        products += row_part.reshape(-1, r * r).T @ _multinomial(columns[few], n[few]).reshape(-1, c * c)
    covariance = products.reshape(r, r, c, c).transpose(0, 2, 1, 3)
    deviation, dispersion = excess[:-1, :-1].ravel(), _without_last(covariance)
    if clusters is None:
        statistic = float(deviation @ np.linalg.pinv(dispersion, hermitian=True) @ deviation)
        df = int(np.linalg.matrix_rank(dispersion, hermitian=True))
        effect = chi_square_effect(statistic, df, round(float(n.sum())), margin=margin)
    else:
        covariance = _clustered_covariance(clusters, margins, people)
        together = _without_last(covariance)
        effect = wald_effect(
            deviation, dispersion, together, round(float(n.sum())), units=clusters.units, margin=margin
        )
    return effect, np.einsum("iaia->ia", covariance)


def _of_one_stratum(counts: Floats, clusters: Clusters | None, margin: Margin) -> tuple[Effect, Floats]:
    """Do what `_of_strata` does for one stratum, without the covariance of all cells."""
    rows, columns, n = counts.sum(axis=1), counts.sum(axis=0), float(counts.sum())
    expected = np.outer(rows, columns) / n
    df = int((np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1))
    distance = np.divide((counts - expected) ** 2, expected, out=np.zeros_like(counts), where=expected > 0)
    statistic = float(distance.sum()) * (n - 1) / n
    if clusters is None:
        variance = np.outer(rows * (1 - rows / n), columns * (1 - columns / n)) / (n - 1)
        return chi_square_effect(statistic, df, round(n), margin=margin), variance
    variance = _patients_variance(clusters, rows / n, columns / n)
    scaled = np.divide(variance, expected, out=np.zeros_like(variance), where=expected > 0)
    ratio = float(scaled.sum()) * (n - 1) / n / df
    return chi_square_effect(
        statistic, df, round(n), margin=margin, design_effect=ratio, units=clusters.units
    ), variance


def _patients_variance(clusters: Clusters, p: Floats, q: Floats) -> Floats:
    """Add up the squares of what patients add to each cell's excess: a - p b - q d + p q N; shape (r, c).

    A patient has a observations in the cell, d in its row, b in its column, and N in all.
    """
    shape = p.size, q.size
    entries = clusters.sizes.tocoo()
    unit, cell, a = entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data
    i, j = cell // shape[1], cell % shape[1]
    d, b, all_of = (_sum_by(key, a) for key in (unit * shape[0] + i, unit * shape[1] + j, unit))
    a_a, a_d, a_b, a_n = (np.bincount(cell, a * of, p.size * q.size).reshape(shape) for of in (a, d, b, all_of))
    d_d, d_n = (np.bincount(i, a * of, p.size)[:, None] for of in (d, all_of))
    b_b, b_n = (np.bincount(j, a * of, q.size)[None, :] for of in (b, all_of))
    d_b = (
        coo_array((a, (i, unit)), shape=(p.size, unit.max() + 1)).tocsr()
        @ coo_array((a, (unit, j)), shape=(unit.max() + 1, q.size))
    ).toarray()
    p, q = p[:, None], q[None, :]
    squares = a_a + p**2 * b_b + q**2 * d_d + (p * q) ** 2 * float(a @ all_of)
    crossed = p * q * (a_n + d_b) - p * a_b - q * a_d - p * q * (p * b_n + q * d_n)
    people = len(np.unique(unit))
    return np.asarray(np.maximum(squares + 2 * crossed, 0.0) * people / (people - 1), dtype=np.float64)


def _sum_by(key: Integers, values: Floats) -> Floats:
    """Add up the values that share a key, for each of them."""
    _, code = np.unique(key, return_inverse=True)
    return np.asarray(np.bincount(code, values)[code], dtype=np.float64)


def _without_last(covariance: Floats) -> Floats:
    """Leave out the last row and column, which the others determine; shape (size, size)."""
    inner = covariance[:-1, :-1, :-1, :-1]
    size = inner.shape[0] * inner.shape[1]
    return inner.reshape(size, size)


def _clustered_covariance(clusters: Clusters, margins: tuple[Floats, Floats, Floats], people: Floats) -> Floats:
    """Add up by patient what observations add to each cell's excess, and multiply; shape (r, c, r, c)."""
    rows, columns, n = margins
    r, c = rows.shape[1], columns.shape[1]
    scale, entries = np.sqrt(people / (people - 1)), clusters.sizes.tocsr()
    covariance = np.zeros((r * c, r * c))
    step = max(_AT_ONCE // (r * c), 1)
    for few in (entries[first : first + step] for first in range(0, entries.shape[0], step)):
        cells = few.indices.astype(np.int64)
        k, i, j = cells // (r * c), cells // c % r, cells % c
        left = np.eye(r)[i] - rows[k] / n[k, None]  # by observation, row of the excess
        right = np.eye(c)[j] - columns[k] / n[k, None]
        added = ((few.data * scale[k])[:, None, None] * left[:, :, None] * right[:, None, :]).reshape(-1, r * c)
        unit = np.repeat(np.arange(few.shape[0]), np.diff(few.indptr))
        scores = coo_array((np.ones(unit.size), (unit, np.arange(unit.size)))).tocsr() @ added
        covariance += scores.T @ scores
    return covariance.reshape(r, c, r, c)


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


def largest_share_gap(table: ArrayLike, among: ArrayLike | None = None) -> tuple[int, int, int, float]:
    """Find the two rows and the column between which a share differs most.

    Parameters
    ----------
    table : array of numbers, shape (r, c)
        Counts; no row may be empty.
    among : array of bool, shape (c,), optional
        The columns to look at; all by default.

    Returns
    -------
    higher, lower, column : int
    gap : float
        Share of the column in the higher row less that in the lower.
    """
    counts = np.asarray(table, dtype=np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    gaps = np.ptp(shares, axis=0)
    column = int(np.argmax(gaps if among is None else np.where(among, gaps, -1.0)))
    higher, lower = int(np.argmax(shares[:, column])), int(np.argmin(shares[:, column]))
    return higher, lower, column, float(shares[higher, column] - shares[lower, column])


def _multinomial(margins: Floats, n: Floats) -> Floats:
    """Return diag(m) - m m' / n of each stratum, shape (k, levels, levels)."""
    diagonal = margins[:, :, None] * np.eye(margins.shape[1])
    return diagonal - margins[:, :, None] * margins[:, None, :] / n[:, None, None]


def _sum_of_chi_squares(tables: Floats) -> tuple[float, float]:
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    expected = rows[:, :, None] * columns[:, None, :] / rows.sum(axis=1)[:, None, None]
    distance = np.divide((tables - expected) ** 2, expected, out=np.zeros_like(tables), where=expected > 0)
    df = ((rows > 0).sum(axis=1) - 1) * ((columns > 0).sum(axis=1) - 1)
    return float(distance.sum()), float(max(df.sum(), 1))


def _without_empty(table: Floats) -> Floats:
    filled: Floats = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    return filled
