"""A session of Spark with the settings that our answers need; only who asks for one needs pyspark and Java."""

import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hi_ml.app.errors import SparkFailed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PANDAS = "PySpark does not yet fully support pandas"  # it says so of all of pandas 3, at every call
_OWN = {  # of the process that is started
    "spark.ui.enabled": "false",  # a page that all of the network may read
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.executorEnv.OMP_NUM_THREADS": "1",  # a task is one thread: so many run at once as there are processors
}
_HERE = {  # on this machine alone
    "spark.master": "local[*]",
    "spark.pyspark.python": sys.executable,
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}
_SUBMITTED = "PYSPARK_GATEWAY_PORT"  # spark-submit has started Java, and knows where
_SQL = {"spark.sql.session.timeZone": "UTC"}  # instants are those of the files


def session(settings: Mapping[str, str]) -> "SparkSession":
    """Take the Spark that runs in this process, else start one, and begin a session in it.

    Parameters
    ----------
    settings : mapping of str to str
        By Spark's names, such as ``spark.master``; of no effect on a Spark that runs.

    Raises
    ------
    SparkFailed
        If pyspark or Java is absent, or Spark does not start.
    """
    try:
        sql = import_module("pyspark.sql")
    except ImportError as error:
        raise SparkFailed.no_package(error.name or "pyspark") from error
    warnings.filterwarnings("ignore", _PANDAS, FutureWarning)
    running = sql.SparkSession.getActiveSession() or _start(settings)
    own: SparkSession = running.newSession()
    for name, value in _SQL.items():
        own.conf.set(name, value)
    return own


def _start(settings: Mapping[str, str]) -> Any:
    pyspark, gateway = import_module("pyspark"), import_module("pyspark.java_gateway")
    elsewhere = _SUBMITTED in os.environ or not settings.get("spark.master", "local").startswith("local")
    conf = (
        pyspark.SparkConf().setAppName("hi_ml").setAll((_OWN | ({} if elsewhere else _HERE) | dict(settings)).items())
    )
    with tempfile.TemporaryFile() as said:  # what Java prints is of use only where it does not start
        try:
            java = gateway.launch_gateway(conf, {"stderr": said})
        except Exception as error:
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            raise SparkFailed.no_java(next((line for line in reversed(lines) if line), str(error))) from error
    try:
        return pyspark.sql.SparkSession(pyspark.SparkContext(conf=conf, gateway=java))
    except Exception as error:
        raise SparkFailed.to_start(str(error)) from error
