"""Spark gives what one machine gives, to the bit, whatever happens to its workers; or one sentence, and nothing."""

import sys

import pytest

from hi_ml.app.errors import SparkFailed
from hi_ml.data.sources.spark import session


def test_without_pyspark_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(SparkFailed, match=r"Python package pyspark.* pip install 'hi_ml\[spark\]'"):
        session({})


@pytest.mark.slow
def test_a_session_answers(spark):
    assert spark.range(3).count() == 3
