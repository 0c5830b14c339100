"""Honest machine learning on hospital admissions.

>>> import hi_ml
>>> admissions = hi_ml.read("simulated", rows=1100)
>>> run = hi_ml.fit(admissions, "length_of_stay", "linear")
>>> hi_ml.assess(run, "verdict")["verdict"].verdict
'signal'

What is called here stands in `hi_ml.interface`, which is imported when it is first asked for.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hi_ml.interface import assess, declare, fit, load_model, pose, read, state_claims

__all__ = ["assess", "declare", "fit", "load_model", "pose", "read", "state_claims"]

if sys.argv[:1] == ["-m"]:  # as long as Python looks for the module of `python -m hi_ml.<command>`
    from hi_ml.app.begin import begin

    begin()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("hi_ml")
    if name in __all__:
        return getattr(import_module("hi_ml.interface"), name)
    raise AttributeError(f"module 'hi_ml' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
