"""What is a claim? A sentence that can be false, with how it is set, drafted and drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hi_ml.claims.chart import Chart
from hi_ml.claims.distinct import DistinctAdmissions
from hi_ml.claims.finding import Draft


@dataclass(frozen=True)
class Claim:
    """How a claim is set, drafted and drawn; a module of this package is a claim if it calls one `CLAIM`."""

    name: str  # of the module and of its YAML
    settings: type  # what the YAML says
    draft: Callable[[DistinctAdmissions, Any], Draft]  # takes the settings, too
    charts: tuple[Chart, ...] = ()  # beside the forest plot of its evidence, in the order of the report
    position: int = 100  # in reports; equal ones are sorted by name
