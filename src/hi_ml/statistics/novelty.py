"""What do the levels that few rows hold say of the rows to come?"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def expected_new(rows: int, once: int, twice: int) -> tuple[int, int]:
    """Expect so many new levels among rows as among those seen: counts like two samples', for `chance_gap`.

    The share of rows whose level is new is about the share of training rows whose level no other row holds (Good).
    How sure that is depends on the levels that two rows hold (Esty): the rows are made fewer until their number says
    it, so that the gap to new rows can be tested as that of two shares.

    Parameters
    ----------
    rows : int
        Training rows, missing values aside.
    once, twice : int
        Levels that one row holds, and that two rows hold.

    Returns
    -------
    having, lacking : int

    References
    ----------
    Good (1953), Biometrika 40, 237. https://doi.org/10.1093/biomet/40.3-4.237
    Esty (1983), Annals of Statistics 11, 905. https://doi.org/10.1214/aos/1176346256
    """
    fewer = (once + 1) / (once + 1 + 2 * twice)
    having = round(once * fewer)
    return having, max(round(rows * fewer) - having, 1)


def held_again(counts: ArrayLike, pairs: int) -> NDArray[np.int64]:
    """Make the counts of levels that are held more than once so few that they vary like counts of single rows.

    A level that two rows hold counts two rows at once. Where the rows of each level follow a Poisson law, the variance
    of the counts is their sum and two more for each pair.

    Parameters
    ----------
    counts : array of int, shape (n_cells,)
        Rows of levels that at least two rows hold.
    pairs : int
        Levels that exactly two rows hold.

    Returns
    -------
    ndarray of int64, shape (n_cells,)

    Examples
    --------
    >>> held_again([2, 2, 4], 2)
    array([1, 1, 3])
    """
    found = np.asarray(counts, dtype=np.int64)
    total = found.sum()
    return np.rint(found * (total / (total + 2 * pairs))).astype(np.int64) if total else found
