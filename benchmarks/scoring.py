"""How close does scoring a file come to the learner alone, on numbers that are already in memory?

    python benchmarks/scoring.py [--rounds 5] [--threads 1] [--processors 1] [--only parquet-30 reasons-30 ...]

Both sides of a ratio run in turns, each in a process of its own on the same processors and with as many threads:
`Booster.predict` on a matrix of floats, and `hi_ml.prediction.batch.score` from file to file, with the parts that it
keeps, counts for drift, digests of what it writes, and manifest. A ratio is the seconds of the first over those of the
second (1.0: the file costs nothing): of the fastest rounds, of the medians, and the lowest and highest of one round,
which say how still the machine was. Then the start of a process that loads a registered model and, beside it, takes the
digest of a table of 5 million rows, as the command does, against `mlflow.pyfunc.load_model` (below 1.0: sooner ready).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow.csv as pv
import pyarrow.parquet as pq

from hi_ml.data.simulation import simulate

CASES = {  # trees, rows, format, reasons
    "parquet-500": (500, 1_000_000, "parquet", 0),
    "parquet-30": (30, 5_000_000, "parquet", 0),
    "csv-500": (500, 1_000_000, "csv", 0),
    "reasons-30": (30, 1_000_000, "parquet", 3),
    "reasons-500": (500, 20_000, "parquet", 3),
}
ONCE = 500_000  # rows that are simulated, and written again, a row group at a time, until there are enough
HEAD = """
import gc, json, re, sys, time
from pathlib import Path
from hi_ml.prediction import batch
from hi_ml.prediction.load import load_model
model, threads, source, trees = load_model(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
gc.freeze()  # as the command does

def told(started, **more):
    seconds = time.perf_counter() - started
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, **more}))
"""
IN_MEMORY = """
import numpy as np, pyarrow.parquet as pq
parts = []
for rows in pq.ParquetFile(source).iter_batches(100_000):
    typed, _ = model.scorer.read({name: rows.column(name) for name in rows.schema.names})
    parts.append(model.scorer.encode(model.scorer.numbers(typed)))
matrix = np.ascontiguousarray(np.concatenate(parts))  # row after row, which LightGBM reads soonest
del parts
booster = model.scorer.pipeline[-1].booster_
if booster.num_trees() != trees:
    sys.exit(f"expected {trees} trees, found {booster.num_trees()}")
started = time.perf_counter()
booster.predict(matrix, pred_contrib=bool(int(sys.argv[5])), num_threads=threads)
told(started)
"""
FROM_FILE = """
from hydra import compose, initialize_config_dir
from hi_ml.app.config import build, conf_dir
from hi_ml.data.schema import Dataset
with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
    cfg = compose("predict")
dataset = build(Dataset, cfg.dataset)
files = batch.fingerprints(source, dataset)  # the command takes them while it loads the model
request = batch.BatchRequest(
    input=source, output=Path(sys.argv[6]), dataset=dataset, reasons=int(sys.argv[5]),
    chunk_rows=cfg.chunk_rows, threads=threads,
)
started = time.perf_counter()
made = batch.score(request, model, files=files, say=print, stage=lambda text, done: None)
told(started, steps=made.seconds, rows=made.manifest["rows_scored"])
"""
STARTS = {
    "hi_ml.predict": """
import sys
from concurrent.futures import ThreadPoolExecutor
from hi_ml.data.schema import Dataset
from hi_ml.prediction import batch
from hi_ml.prediction.load import load_model
age = {"from": "Age", "kind": "number", "known": "admission"}
with ThreadPoolExecutor(1) as beside:
    beside.submit(batch.fingerprints, sys.argv[2], Dataset("table", {"age": age}, source=sys.argv[2]))
    load_model(sys.argv[1])
""",
    "mlflow.pyfunc.load_model": "import sys, mlflow; mlflow.pyfunc.load_model(sys.argv[1])",
}


def main() -> None:
    """Measure every case, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the learner on either side")
    parser.add_argument("--processors", type=int, default=1, help="that either side may use")
    parser.add_argument("--only", nargs="*", choices=[*CASES, "start"], default=[*CASES, "start"])
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-asked.processors :])
    with tempfile.TemporaryDirectory() as place:
        cases = {name: CASES[name] for name in asked.only if name in CASES}
        models = {trees: trained(Path(place), trees) for trees in {30, *(case[0] for case in cases.values())}}
        for name, (trees, rows, kind, reasons) in cases.items():
            files = [written(Path(place), rows, suffix) for suffix in ("parquet", kind)]
            words = [[str(models[trees]), str(asked.threads), str(file), str(trees), str(reasons)] for file in files]
            output = str(Path(place) / f"scored.{kind}")
            found = in_turns(
                {"memory": [HEAD + IN_MEMORY, *words[0]], "file": [HEAD + FROM_FILE, *words[1], output]},
                asked.rounds,
                place,
            )
            show(name, found)
        if "start" in asked.only:
            words = ["models:/simulated.length_of_stay@champion", str(written(Path(place), 5_000_000, "parquet"))]
            found = in_turns({side: [TIMED.format(code), *words] for side, code in STARTS.items()}, asked.rounds, place)
            print(f"start: {ratios(found, STARTS)} of mlflow.pyfunc.load_model")


TIMED = """
import json, os, time
{}
started = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
print(json.dumps({{"seconds": time.clock_gettime(time.CLOCK_BOOTTIME) - started}}))
"""


def trained(place: Path, trees: int) -> Path:
    """Train and register a model of so many trees on the simulated table; return its run folder."""
    folder = place / f"trees{trees}"
    command = [
        sys.executable, "-m", "hi_ml.train", "task=length_of_stay", f"model.regression.n_estimators={trees}",
        "model.early_stopping=null", "interval=null", "explain.rows=100", f"hydra.run.dir={folder}",
    ]  # fmt: skip
    run(command, str(place))
    return folder / "length_of_stay"


def written(place: Path, rows: int, kind: str) -> Path:
    """Write a table of so many rows, unless it stands."""
    path = place / f"table{rows}.{kind}"
    if not path.exists():
        table = simulate("planted", min(rows, ONCE), seed=5).table
        schema = table.schema
        with pq.ParquetWriter(path, schema) if kind == "parquet" else pv.CSVWriter(path, schema) as writer:
            for _ in range(max(rows // ONCE, 1)):
                writer.write_table(table)
    return path


def in_turns(sides: dict[str, list[str]], rounds: int, place: str) -> dict[str, list[dict[str, float]]]:
    """Run both sides in turns and return what each told of every round; a first round only warms up the disk."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, (code, *words) in sides.items():
            told = json.loads(run([sys.executable, "-c", code, *words], place).splitlines()[-1])
            found[side] += [told] if turn else []
    return found


def show(name: str, found: dict[str, list[dict[str, float]]]) -> None:
    """Print the ratios of the medians, where the time of the file went, and its memory."""
    last = found["file"][-1]
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in last["steps"].items())  # type: ignore[attr-defined]
    peak = max(one["peak"] for one in found["file"])
    alone, whole = (" ".join(f"{one['seconds']:.2f}" for one in found[side]) for side in ("memory", "file"))
    print(f"{name}: {ratios(found, ('memory', 'file'))}; {last['rows']:,} rows; peak {peak:,.0f} MiB")
    print(f"  in memory {alone} s, from file to file {whole} s; of the last file: {steps}", flush=True)


def ratios(found: dict[str, list[dict[str, float]]], sides: Iterable[str]) -> str:
    """Divide the times of one side by those of the other."""
    one, other = ([turn["seconds"] for turn in found[side]] for side in sides)
    rounds = sorted(a / b for a, b in zip(one, other, strict=True))
    fastest, median = min(one) / min(other), statistics.median(one) / statistics.median(other)
    return f"fastest {fastest:.2f}, median {median:.2f}, rounds {rounds[0]:.2f} to {rounds[-1]:.2f}"


def run(command: list[str], place: str) -> str:
    """Run a command in a folder and return what it printed."""
    known = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
    done = subprocess.run(command, cwd=place, check=True, stdout=subprocess.PIPE, text=True, env=known)
    return done.stdout


if __name__ == "__main__":
    main()
