"""A session of Spark with the settings that our answers need, and its tables; only who asks needs pyspark and Java."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from hi_ml.app.errors import SparkFailed
from hi_ml.data.location import Database, Location

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Settings = list[Annotated[str, Field(pattern=r"^spark\.[^=]+=")]]
SCHEME = "spark://"  # of the url of a table that Spark knows by its name
_PANDAS = "PySpark does not yet fully support pandas"  # it says so of all of pandas 3, at every call
_OWN = {  # of the process that is started
    "spark.ui.enabled": "false",  # a page that all of the network may read
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.executorEnv.OMP_NUM_THREADS": "1",  # a task is one thread: so many run at once as there are processors
}
_HERE = {  # on this machine alone
    "spark.master": "local[*,4]",  # as anywhere else, a task is tried four times
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}
_SUBMITTED = "PYSPARK_GATEWAY_PORT"  # spark-submit has started Java, and knows where
_SQL = {
    "spark.sql.session.timeZone": "UTC",  # instants are those of the files
    "spark.sql.caseSensitive": "true",  # so are names
}


def session(settings: Sequence[str]) -> "SparkSession":
    """Take the Spark that runs in this process, else start one, and begin a session in it.

    Parameters
    ----------
    settings : sequence of str
        By Spark's names, such as ``spark.master=yarn``; of no effect on a Spark that runs.

    Raises
    ------
    SparkFailed
        If pyspark or Java is absent, or Spark does not start.
    """
    warnings.filterwarnings("ignore", _PANDAS, FutureWarning)
    logging.getLogger().addFilter(_is_not_of_py4j)  # which prints, as the root, where an interrupt met it
    try:
        sql = import_module("pyspark.sql")
    except ImportError as error:
        raise SparkFailed.no_package(error.name or "pyspark") from error
    running = sql.SparkSession.getActiveSession() or _start(dict(one.split("=", 1) for one in settings))
    own: SparkSession = running.newSession()
    for name, value in _SQL.items():
        own.conf.set(name, value)
    return own


def frame(spark: "SparkSession", location: Location) -> "DataFrame":
    """Open a file, a folder or a glob of Parquet, or a table that Spark knows.

    Raises
    ------
    SparkFailed
        If there is none.
    """
    if isinstance(location, Database) and (location.table is None or not location.url.startswith(SCHEME)):
        raise SparkFailed.no_table(location.shown)
    try:
        if isinstance(location, Database):
            return spark.table(str(location.table))
        return spark.read.parquet(uri(Path(location)))
    except Exception as error:
        name = location.shown if isinstance(location, Database) else location
        raise SparkFailed.to_read(name, reason(error)) from error


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in Path(record.pathname).parts


def uri(path: Path) -> str:
    """Name a path as Spark takes it, whatever its own file system is."""
    return f"file://{path.expanduser().absolute()}"


def reason(error: Exception) -> str:
    """Return the first line of what Spark says: behind it stands where it came from, in Java."""
    return str(error).strip().split("\n")[0]


def _start(settings: dict[str, str]) -> Any:
    pyspark, gateway = import_module("pyspark"), import_module("pyspark.java_gateway")
    elsewhere = _SUBMITTED in os.environ or not settings.get("spark.master", "local").startswith("local")
    chosen = _OWN | ({} if elsewhere else _HERE) | settings
    if not elsewhere:  # workers are this Python, not the first of PATH: pyspark asks the environment alone
        os.environ.setdefault("PYSPARK_PYTHON", settings.get("spark.pyspark.python", sys.executable))
    conf = pyspark.SparkConf().setAppName("hi_ml").setAll(chosen.items())
    with tempfile.TemporaryFile() as said:  # what Java prints is of use only where it does not start
        try:
            java = gateway.launch_gateway(conf, {"stderr": said})
        except Exception as error:
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
            raise SparkFailed.no_java(next((one for one in lines if not one.startswith("WARN")), str(error))) from error
    try:
        return pyspark.sql.SparkSession(pyspark.SparkContext(conf=conf, gateway=java))
    except Exception as error:
        raise SparkFailed.to_start(reason(error)) from error
