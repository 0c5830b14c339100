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
SOURCE = """
# %% [markdown]
# What does a table of hospital admissions really say?

Five claims that people make about such tables, each stated so that it can be false, tested, and given a verdict; then a
model of the length of stay, and what a careless split would have claimed of it. The numbers are those of
`python -m hi_ml.findings` and `python -m hi_ml.train`; `make notebook` writes and runs these cells. This table is
simulated, and all five claims hold in it. Another is read as well:
`hi_ml.read("kaggle", source="../data/raw/healthcare_dataset.csv")`.

# %%
import hi_ml.reports.notebook

show, assessed = hi_ml.reports.notebook.show, hi_ml.reports.notebook.assessed
admissions = hi_ml.read("simulated")
admissions.counts

# %% [markdown]
## The claims

Of near-copies one is kept, before anything is tested. Grey is what would be too small to matter: a claim is supported
where the estimate lies beyond it, and refuted where the whole interval lies inside.

# %%
age, bills, emergency, medication, access = hi_ml.state_claims(admissions)
show(age)

# %%
show(bills)

# %%
show(emergency)

# %%
show(medication)

# %%
show(access)

# %% [markdown]
## A model of the length of stay

It is fitted to one part of the table and judged on another, which no patient shares with the first, against the
constant that is best for it. Is it any good, for whom not, and what drives it?

# %%
run = hi_ml.fit(admissions, "length_of_stay", "lgbm")
run = assessed(run, hi_ml.assess(run))
show(run, "charts/scores", "charts/subgroups", "explanation/importance", "explanation/dependence")

# %% [markdown]
## The leak

Split at random, copies of a row, and other admissions of a patient, stand in training and in test. A model that
memorises seems to predict; this one learns, and gains little by it. The page of a trained model (`report.html`) says
it with all the rest: `python -m hi_ml.train task=length_of_stay`.

# %%
show(run, "charts/leakage")
"""


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
