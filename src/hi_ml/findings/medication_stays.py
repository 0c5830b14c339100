"""Do stays differ between medications, whichever they are?"""

from collections.abc import Iterator

import pandas as pd

from hi_ml.findings.aggregates import completed, moments_of, sums
from hi_ml.findings.evidence import Estimand, Evidence, estimated
from hi_ml.findings.gates import lacking
from hi_ml.statistics.effect import Margin
from hi_ml.statistics.means import one_way
from hi_ml.statistics.regression import within_strata


def between_medications(rows: pd.DataFrame, smallest: float) -> Iterator[Evidence]:
    """Compare the stays of all medications, overall and within conditions.

    It answers no claim about advanced medications, and stands in where none is declared: exploratory.

    Parameters
    ----------
    rows : DataFrame
        One row per admission, with `medication`, `length_of_stay` in days and perhaps `condition`.
    smallest : float
        Cohen's f that matters.
    """
    words, unit = "spread of the mean stays of medications over the spread of stays", "Cohen's f"
    groups, margin = moments_of(sums(rows, ["medication"], "length_of_stay")), Margin(smallest)
    if groups.n.size > 1 and groups.within.all():
        estimand = Estimand("any medication", words, unit)
        yield estimated(estimand, one_way(groups, margin=margin), smallest, role="exploratory")
    if lacking(rows, ["condition"], "") is None:
        table = completed(sums(rows, ["condition", "medication"], "length_of_stay"), ["medication"])
        levels = table.index.get_level_values("medication").nunique()
        effect = within_strata(moments_of(table), levels, margin=margin)
        if effect:
            estimand = Estimand("any medication (within conditions)", f"{words}, within conditions", unit)
            yield estimated(estimand, effect, smallest, role="exploratory")
