"""When does Spark pay? The same rows scored by `predict` and by `predict engine=spark`, on the same processors.

    python benchmarks/spark.py [--rows 111000 2000000 10000000] [--reasons 2] [--udf] [--cluster]

Each is a process of its own; seconds are those of the whole command, and those of the work that its manifest states.
Memory is the highest sum of what its processes hold (proportional set size), and of the driver: Python and Java, whose
heap is spark.driver.memory=1g. Answers, intervals and reasons are compared row by row, to the bit. With --udf what
`mlflow.pyfunc.spark_udf` answers to the first of the sizes is compared too. With
--cluster Spark is a stand-alone master and two workers of one processor each, processes of their own, of which an
executor is killed at work in every run: memory is then the driver's alone, whose heap is 512 MB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hi_ml.data.simulation import simulate

ONCE = 100_000  # rows that are simulated, and written again under new keys until there are enough
PER_FILE = 500_000
KILLED_AFTER = 5  # seconds of work
UDF = """
import sys, mlflow, pyarrow.parquet as pq
from hi_ml.data.sources.spark import frame, session
spark = session(["spark.master=local[2]", "spark.driver.memory=1g"])
rows = frame(spark, sys.argv[2])
from pyspark.sql.functions import struct
answer = mlflow.pyfunc.spark_udf(spark, sys.argv[1], env_manager="local", result_type="double")
needed = mlflow.models.get_model_info(sys.argv[1]).signature.inputs.input_names()
found = rows.select("key", answer(struct(*(f"`{name}`" for name in needed))).alias("prediction")).toArrow()
one = pq.read_table(sys.argv[3], columns=["key", "prediction"])
same = found.sort_by("key")["prediction"].combine_chunks() == one.sort_by("key")["prediction"].combine_chunks()
print(f"spark_udf: {len(found):,} rows, equal to the bit: {same}")
"""


def main() -> None:
    """Measure every size, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[111_000, 2_000_000, 10_000_000])
    parser.add_argument("--reasons", type=int, default=2, help="per row of the first size; the others have none")
    parser.add_argument("--udf", action="store_true")
    parser.add_argument("--cluster", action="store_true")
    asked = parser.parse_args()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings, meanwhile = 'spark=["spark.master=local[2]", "spark.driver.memory=1g"]', nothing
        if asked.cluster:
            address, meanwhile = stack.enter_context(cluster(place))
            memory = '"spark.driver.memory=512m", "spark.executor.memory=1g"'
            settings = f'spark=["spark.master={address}", {memory}]'
        train = ["hi_ml.train", "task=length_of_stay", "tracking=none", f"hydra.run.dir={place / 'run'}"]
        subprocess.run([sys.executable, "-m", *train], check=True, cwd=place, stdout=subprocess.DEVNULL)
        model = place / "run" / "length_of_stay"
        for rows in asked.rows:
            folder = written(place, rows)
            first = rows == asked.rows[0]
            words = ["hi_ml.predict", f"model_uri={model}", f"reasons={asked.reasons * first}"]
            here = [f"input={folder}/*.parquet", "keep=[key]", f"output={folder}.parquet"]
            there = [f"input={folder}", "key=key", f"output={folder}.spark", "engine=spark"]
            show(rows, "predict", *measured([*words, *here], place), manifest(folder, "parquet"))
            took = measured([*words, *there, settings], place, meanwhile)
            show(rows, "engine=spark", *took, manifest(folder, "spark"))
            print(f"{rows:>11,} rows equal to the bit: {equal(folder)}", flush=True)
            if asked.udf and first:
                files = [str(next(model.rglob("MLmodel")).parent), str(folder), f"{folder}.parquet"]
                subprocess.run([sys.executable, "-c", UDF, *files], check=True, cwd=place, stderr=subprocess.DEVNULL)


def written(place: Path, rows: int) -> Path:
    """Write a folder of so many rows, each with a key of its own."""
    folder, table = place / f"rows{rows}", simulate("planted", min(rows, ONCE), seed=5).table
    folder.mkdir()
    for first in range(0, rows, PER_FILE):
        last = min(first + PER_FILE, rows)
        parts = [table.slice(0, min(ONCE, last - start)) for start in range(first, last, ONCE)]
        whole = pa.concat_tables(parts).append_column("key", pa.array(range(first, last)))
        pq.write_table(whole, folder / f"{first:09}.parquet", row_group_size=ONCE)
    return folder


@contextmanager
def cluster(place: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Start a master and two workers: the address of the master, and what kills an executor of theirs once."""
    home, at = Path(str(find_spec("pyspark").origin)).parent, ["--host", "127.0.0.1", "--webui-port", "0"]
    own = {"SPARK_HOME": str(home), "SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1"}
    address, work = "spark://127.0.0.1:17077", ["--cores", "1", "--memory", "1g", "--work-dir", str(place / "work")]
    master, worker = ["master.Master", *at, "--port", "17077"], ["worker.Worker", *at, *work, address]
    with (place / "cluster.log").open("w") as log, ExitStack() as stack:
        processes = []
        for first, *words in (master, worker, worker):
            java = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{first}", *words]
            processes.append(stack.enter_context(subprocess.Popen(java, env=os.environ | own, stdout=log, stderr=log)))
            stack.callback(processes[-1].terminate)
        while (place / "cluster.log").read_text().count("Registering worker") < len(processes) - 1:
            time.sleep(1)

        begun: list[float] = []

        def kill() -> bool:
            executors = [one for process in processes[1:] for one in psutil.Process(process.pid).children()]
            working = [one for one in executors if one.children()]  # which have Python at work
            begun.extend([time.perf_counter()] * bool(working))
            if not working or time.perf_counter() - begun[0] < KILLED_AFTER:
                return False
            for one in (*working[0].children(recursive=True), working[0]):
                one.kill()
            print("killed an executor at work", flush=True)
            begun.clear()
            return True

        yield address, kill


def nothing() -> bool:
    """Let the work go on as it is."""
    return True


def measured(words: list[str], place: Path, meanwhile: Callable[[], bool] = nothing) -> tuple[float, dict[str, float]]:
    """Run a command; return its seconds and the highest gigabytes of its driver, of Java in it, and of all."""
    started, most = time.perf_counter(), defaultdict[str, float](float)
    with subprocess.Popen([sys.executable, "-m", *words], cwd=place, stdout=subprocess.DEVNULL) as process:
        driver = psutil.Process(process.pid)
        done = False
        while process.poll() is None:
            done = done or meanwhile()
            held = defaultdict[str, float](float)
            with suppress(psutil.Error):
                for one in (driver, *driver.children(recursive=True)):
                    held["java" if one.name() == "java" else "python" if one == driver else "workers"] += (
                        one.memory_full_info().pss / 1e9
                    )
                held["all"] = sum(held.values())
            most |= {name: max(most[name], value) for name, value in held.items()}
            time.sleep(0.5)
    if process.returncode:
        sys.exit(f"{' '.join(words)} failed")
    return time.perf_counter() - started, most


def manifest(folder: Path, suffix: str) -> float:
    """Return the seconds of the work alone."""
    return float(json.loads(Path(f"{folder}.{suffix}.manifest.json").read_text())["seconds"])


def show(rows: int, what: str, seconds: float, most: dict[str, float], work: float) -> None:
    """Print one line."""
    held = ", ".join(f"{name} {value:.2f}" for name, value in sorted(most.items()))
    print(f"{rows:>11,} rows, {what}: {seconds:.1f} s, of which work {work:.1f} s; GB: {held}", flush=True)


def equal(folder: Path) -> bool:
    """Tell whether all columns are the same, row by row."""
    many, one = pq.read_table(f"{folder}.spark"), pq.read_table(f"{folder}.parquet")
    one = one.drop_columns([name for name in ("row", "file") if name in one.column_names])
    if many.column_names != one.column_names or len(many) != len(one):
        return False
    order = pc.sort_indices(many["key"])
    return all(many[name].combine_chunks().take(order).equals(one[name].combine_chunks()) for name in one.column_names)


if __name__ == "__main__":
    main()
