"""What does it cost to join a survey of 5,000 hospitals to a million admissions?

    python benchmarks/joins.py [--rows 1000000] [--keys 5000] [--rounds 3]

Prints the CPU seconds of the fastest round, by how the keys of the admissions are kept and whether of several surveys
the newest from before the admission is taken.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from hi_ml.app.config import build
from hi_ml.data.joins import Lookup
from hi_ml.data.schema import Dataset

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name, default in (("rows", 1_000_000), ("keys", 5_000), ("rounds", 3)):
    parser.add_argument(f"--{name}", type=int, default=default)
asked = parser.parse_args()
rng = np.random.default_rng(0)
ids = np.array([f"{number:06d}" for number in range(asked.keys)])
day = np.datetime64("2024-01-01")
admissions = {
    "plain text": pa.table(
        {
            "hospital": ids[rng.integers(0, asked.keys, asked.rows)],
            "admitted": day + rng.integers(0, 700, asked.rows).astype("timedelta64[D]"),
        }
    )
}
text = admissions["plain text"]["hospital"].dictionary_encode()
admissions["codes"] = admissions["plain text"].set_column(0, "hospital", text)
survey = pa.table({"id": ids, "score": rng.random(asked.keys), "ended": np.full(asked.keys, day)})
columns = {"hospital": {"kind": "category"}, "admitted_on": {"from": "admitted", "kind": "date"}}

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "survey.csv"
    pa.csv.write_csv(survey, path)
    for dated in (False, True):
        join = {"source": str(path), "on": {"hospital": "id"}, "columns": {"score": {"kind": "number"}}}
        join |= {"latest_before": {"admitted_on": "ended"}} if dated else {}
        dataset = build(Dataset, {"name": "joined", "source": "-", "columns": columns, "joins": {"survey": join}})
        for kept, table in admissions.items():
            seconds = []
            for _ in range(asked.rounds):
                begin = time.process_time()
                whole, matches = Lookup.open(dataset.joined("survey"), dataset).add(table)
                seconds.append(time.process_time() - begin)
            how = "newest before the admission" if dated else "unique key"
            print(
                f"{how}, keys as {kept}: {min(seconds):.2f} CPU s, {matches.matched:,} of {whole.num_rows:,} rows known"
            )
