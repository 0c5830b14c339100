"""Simulated tables of admissions, with the truth they were drawn from."""

from hi_ml.datasets.simulation.simulated import Simulated, simulate

__all__ = ["Simulated", "simulate"]
