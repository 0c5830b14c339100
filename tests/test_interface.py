"""What `import hi_ml` gives a notebook, and what it leaves alone."""

import os
import subprocess
import sys

ALONE = """
import os, signal, sys
before = dict(os.environ), signal.getsignal(signal.SIGINT)
import hi_ml
assert before == (dict(os.environ), signal.getsignal(signal.SIGINT))
assert not {"numpy", "pandas", "pyarrow", "hydra", "mlflow"} & set(sys.modules)
"""


def test_to_import_it_changes_nothing_and_takes_no_time():
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    subprocess.run([sys.executable, "-c", ALONE], check=True, env=environment)
