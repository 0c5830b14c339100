"""Is one row scored by itself as it is among others, and what does it cost?

``python benchmarks/row_path.py``: 5,000 rows with missing cells and levels that no training row held, of models that
are trained first. Prints the largest difference and the CPU of a row, of the row path and of a table of one row.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hi_ml.data import simulation
from hi_ml.prediction.load import load_model

MODELS = ("lgbm", "linear")
ROWS, WHOLE = 5_000, 50  # rows; of them that are scored as tables of one row each
MISSING, UNSEEN = 0.1, 0.02


def main() -> None:
    """Train, score one by one and all at once, compare."""
    drawn = simulation.simulate("planted", ROWS, seed=9).table.to_pandas().astype(object)
    draw = np.random.default_rng(0)
    for name in ("Age", "Gender", "Medical Condition", "Insurance Provider", "Admission Type", "Hospital"):
        drawn.loc[draw.random(ROWS) < MISSING, name] = None
    for name in ("Medical Condition", "Hospital"):
        drawn.loc[draw.random(ROWS) < UNSEEN, name] = "never seen"
    rows = drawn.to_dict("records")
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            words = ["task=length_of_stay", f"model={model}", "dataset.rows=8000", "tracking=none", "explain.rows=0"]
            command = [sys.executable, "-m", "hi_ml.train", *words, f"hydra.run.dir={folder}/run"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            scorer = load_model(Path(folder) / "run" / "length_of_stay").scorer
        together = scorer.predict(drawn)[["prediction", "low", "high"]].to_numpy()
        began = time.process_time()
        alone = [scorer.predict_row(row) for row in rows]
        took = time.process_time() - began
        apart = np.array([[one["prediction"], one["low"], one["high"]] for one in alone])
        began = time.process_time()
        for i in range(WHOLE):
            scorer.predict(drawn.iloc[[i]])
        whole = time.process_time() - began
        most = float(np.abs(apart - together).max())
        print(f"{model}: apart by {most:g} days at most; {1000 * took / ROWS:.2f} ms CPU a row, "
              f"{1000 * whole / WHOLE:.2f} as a table of one row", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
