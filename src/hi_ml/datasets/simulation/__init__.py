"""Simulated tables of admissions, with the truth they were drawn from."""

from hi_ml.datasets.simulation.files import write
from hi_ml.datasets.simulation.simulated import Simulated, simulate
from hi_ml.datasets.simulation.truth import Truth, truth

__all__ = ["Simulated", "Truth", "simulate", "truth", "write"]
