"""How long does it take to make admissions of events in the MEDS standard?

    python benchmarks/readers.py [--events 5000000] [--codes 2000] [--rounds 3]

Writes a folder of events, four files, and prints the CPU seconds of the fastest round, from these files to a table of
admissions, and the memory.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hi_ml.app.config import build
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.table import open_source

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name, default in (("events", 5_000_000), ("codes", 2_000), ("rounds", 3)):
    parser.add_argument(f"--{name}", type=int, default=default)
asked = parser.parse_args()
rng = np.random.default_rng(0)
subjects, shards = asked.events // 50, 4
names = np.array(
    ["HOSPITAL_ADMISSION//EMERGENCY", "HOSPITAL_DISCHARGE//HOME", *(f"LAB//{n}" for n in range(asked.codes))]
)

with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "data").mkdir()
    for shard in range(shards):
        count = asked.events // shards
        subject = np.sort(rng.integers(subjects // shards * shard, subjects // shards * (shard + 1), count))
        moment = rng.integers(0, 86_400_000_000 * 3_650, count)
        order = np.lexsort((moment, subject))
        code = np.minimum(rng.geometric(0.004, count) + 1, len(names) - 1)
        code[rng.random(count) < 0.04] = 0
        code[rng.random(count) < 0.04] = 1
        table = pa.table({
            "subject_id": subject,
            "time": pa.array(moment[order]).cast(pa.timestamp("us")),
            "code": names[code],
            "numeric_value": rng.normal(size=count).astype(np.float32),
        })  # fmt: skip
        pq.write_table(table, Path(folder) / "data" / f"{shard}.parquet")
    source = {"reader": "meds", "path": folder, "cut": "before"}
    dataset = build(Dataset, {"name": "events", "source": source, "columns": {"age": {"kind": "number"}}})
    seconds = []
    for _ in range(asked.rounds):
        begin = time.process_time()
        admissions = open_source(dataset.origin, dataset).table
        seconds.append(time.process_time() - begin)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(
    f"{asked.events:,} events: {admissions.num_rows:,} admissions x {admissions.num_columns} columns in "
    f"{min(seconds):.1f} CPU s, {memory:.1f} GB at the most"
)
