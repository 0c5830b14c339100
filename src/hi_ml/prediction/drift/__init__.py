"""Do the admissions to be scored look like those that the model was taught?

A column drifts in its values, in its missing cells or in levels that no training row held. Each has a distance, a share
of rows, and a threshold: what chance can do at this number of rows, and at least the smallest distance that matters.
All columns together raise an alarm in at most 5 % of the batches that come from the training distribution.

Of a date only the missing cells count: tonight is always later than training, in one month and on one weekday.
Rows of one patient that come together are not independent: a batch of few patients may alarm for no other reason.
"""

from hi_ml.prediction.drift.profile import FILE, count_rows, load, profile, without_few
from hi_ml.prediction.drift.report import Sensitivity, alarms, another_table, compare

__all__ = ["FILE", "Sensitivity", "alarms", "another_table", "compare", "count_rows", "load", "profile", "without_few"]
