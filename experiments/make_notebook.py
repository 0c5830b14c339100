"""Make the notebook of the findings: its cells stand here, its outputs come from running them.

    python experiments/make_notebook.py [--output experiments/healthinsights.ipynb]

The notebook shows what `python -m hi_ml.findings` computes, by the same functions, with the charts inline.
"""

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SECONDS = 600
"""A cell may take this long."""
CELLS = (
    """\
# What does a table of hospital admissions really say?

Five claims that people make about such tables, each stated so that it can be false, tested, and given a verdict. The
code is that of `python -m hi_ml.findings`. `make notebook` writes and runs this file; change `DATASET` to any option of
`conf/dataset` to ask another table.
""",
    """\
DATASET = "simulated"
""",
    """\
from io import BytesIO
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir
from IPython.display import Image, display

from hi_ml.charts.style import house_style
from hi_ml.config import build, conf_dir
from hi_ml.datasets.reading import read
from hi_ml.datasets.schema import Dataset
from hi_ml.findings.claims import settings_of, state
from hi_ml.findings.copies import difference
from hi_ml.findings.distinct import Declarations, one_row_each
from hi_ml.report.folder import evidence_of
from hi_ml.report.pictures import of_finding, shows
""",
    """\
## The table

One row per admission: near-duplicates are found, and one of each is kept, before anything is tested.
""",
    """\
with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
    cfg = compose("findings", [f"dataset={DATASET}"])
dataset = build(Dataset, cfg.dataset)
admissions = read(dataset, lambda cells: Path("rejected.csv"))
declared = Declarations(dataset.acute_conditions, dataset.severe_conditions, dataset.advanced_medications)
frame, twins = admissions.table.assign(**admissions.coded), admissions.twins.group
distinct = one_row_each(frame, twins, declarations=declared, seed=cfg.seed)
pd.Series({**admissions.counts, "near-duplicates": distinct.copies, "admissions": len(distinct.rows)}, name="rows")
""",
    """\
## The claims and their verdicts
""",
    """\
settings = settings_of(cfg.findings)
findings = {finding.finding: finding for finding in state(distinct, settings)}
with pd.option_context("display.max_colwidth", None):
    display(pd.DataFrame([(f.claim, f.verdict, f.reason) for f in findings.values()], columns=["claim", "verdict", "reason"]))
""",
    """\
for name, finding in findings.items():
    print(name.replace("_", " "), *finding.sentences, sep="\\n  ", end="\\n\\n")
""",
    """\
## The evidence

Only what is `primary` decides.
""",
    """\
columns = ["part", "role", "estimate", "low", "high", "unit", "n", "smallest_effect", "p_support", "p_absence"]
rows = [(name, *(getattr(part, column) for column in columns)) for name in findings for part in findings[name].evidence]
evidence = pd.DataFrame(rows, columns=["finding", *columns])
evidence[evidence["role"] == "primary"].drop(columns="role").set_index(["finding", "part"]).style.format(precision=3)
""",
)
