"""Simulated tables of admissions, with the truth they were drawn from."""

from hi_ml.data.simulation.simulate import Simulated, simulate
from hi_ml.data.simulation.truth import Truth, truth, write

__all__ = ["Simulated", "Truth", "simulate", "truth", "write"]
