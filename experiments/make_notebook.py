"""Make the notebook of the findings: the cells stand below, their outputs come from running them.

    python experiments/make_notebook.py [--output experiments/healthinsights.ipynb]

The notebook shows what `python -m hi_ml.findings` computes, with the charts inline.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from traitlets.config import Config

SECONDS = 600
"""A cell may take this long."""
BETWEEN = "\n# %%"
"""What parts the cells; one that begins with ` [markdown]` is text."""
SOURCE = '''
# %% [markdown]
# What does a table of hospital admissions really say?

Five claims that people make about such tables, each stated so that it can be false, tested, and given a verdict. The
numbers are those of `python -m hi_ml.findings`; `make notebook` writes and runs these cells. Another table is read as
well: `hi_ml.read("kaggle", source="../data/raw/healthcare_dataset.csv")`.

# %%
from io import BytesIO

import pandas as pd
from IPython.display import Image
from PIL import Image as Picture

import hi_ml
from hi_ml.claims.verdicts import difference
from hi_ml.reports.charts.style import house_style
from hi_ml.reports.findings_charts import of_finding

# %%
# Of near-duplicate rows one is kept, before anything is tested.
admissions = hi_ml.read("simulated")
distinct = len(set(admissions.twins.group))
counts = {"near_duplicates": len(admissions.table) - distinct, "admissions": distinct}
pd.Series(admissions.counts | counts, name="rows")

# %%
findings = {finding.finding: finding for finding in hi_ml.state_claims(admissions)}
for finding in findings.values():
    print(finding.claim, *finding.sentences, sep="\\n    ", end="\\n\\n")

# %%
columns = ["part", "role", "estimate", "low", "high", "unit", "n", "smallest_effect", "p_support", "p_absence"]
parts = [(name, *(getattr(part, key) for key in columns)) for name in findings for part in findings[name].evidence]
evidence = pd.DataFrame(parts, columns=["finding", *columns]).set_index(["finding", "part"])
evidence[evidence["role"] == "primary"].drop(columns="role").round(4)  # what else was estimated decides nothing


# %%
def draw(name: str, dpi: int = 75, colours: int = 255) -> None:
    """Show the charts of a finding, small enough for a notebook."""
    for chart in of_finding(findings[name]):
        drawn, small = BytesIO(), BytesIO()
        with house_style():
            chart.figure.savefig(drawn, dpi=dpi)
        Picture.open(drawn).convert("RGB").quantize(colours).save(small, "png", optimize=True)
        display(Image(small.getvalue(), alt=chart.shows))


# %%
draw("age_condition")

# %%
draw("billing_variation")

# %%
draw("emergency_stay")

# %%
draw("medication_recovery")

# %%
draw("insurance_access")

# %%
# What would have been claimed with the near-duplicates kept, which is no result.
with_copies = hi_ml.state_claims(admissions, keep_duplicates=True)
print(difference(list(findings.values()), with_copies) or "No verdict would have been another one.")
'''


def main() -> None:
    """Write and run the notebook."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("healthinsights.ipynb"))
    output = parser.parse_args().output
    nbformat.write(executed(built()), output)
    print(f"{output.name}: {output.stat().st_size / 1e3:,.0f} kB")


def built() -> NotebookNode:
    """Turn the source into cells that have not been run."""
    notebook = new_notebook(
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    for number, text in enumerate(SOURCE.split(BETWEEN)[1:]):
        kind, _, content = text.partition("\n")
        make = new_markdown_cell if "markdown" in kind else new_code_cell
        notebook.cells.append(make(content.strip(), id=f"cell-{number}"))
    return notebook


def executed(notebook: NotebookNode) -> NotebookNode:
    """Run the cells, and keep of the run what they put out.

    Parameters
    ----------
    notebook : NotebookNode

    Returns
    -------
    NotebookNode
        The same, without the traces of the machine and the hour.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    metadata = dict(notebook.metadata)
    with TemporaryDirectory() as folder:
        # sockets in a folder of its own: nobody else on the machine can talk to the kernel, and none is left behind
        private = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        NotebookClient(notebook, config=private, timeout=SECONDS, record_timing=False).execute()
    notebook.metadata.clear()
    notebook.metadata.update(metadata)
    return notebook


if __name__ == "__main__":
    main()
