"""Honest machine learning on hospital admissions."""

import sys

if sys.argv[:1] == ["-m"]:  # as long as Python looks for the module of `python -m hi_ml.<command>`
    from hi_ml.app.begin import begin

    begin()
