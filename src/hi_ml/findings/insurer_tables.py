"""Which care do the patients of each insurer get more or less of? The tables of the charts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hi_ml.findings.aggregates import completed, counts, crosstab, cube, moments_of, sums
from hi_ml.statistics.contingency import association, can_vary
from hi_ml.statistics.effect import Margin
from hi_ml.statistics.means import Moments, standardised_difference
from hi_ml.statistics.multiplicity import discoveries
from scipy.stats import norm


def care_residuals(rows: pd.DataFrame, roles: Sequence[str]) -> pd.DataFrame:
    """Set the care of each insurer's patients against what insurance-blind care would give within each stratum.

    Parameters
    ----------
    rows : DataFrame
        With `insurer` and `stratum`.
    roles : sequence of str
        Categories of care that vary.

    Returns
    -------
    DataFrame
        `outcome, insurer, level, n` (admissions of the insurer), `count, share, expected` (share, given the strata),
        `residual` (adjusted, standard normal without any association), `p_value, discovery` (Benjamini-Hochberg over
        all cells).
    """
