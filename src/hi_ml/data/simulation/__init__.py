"""Simulated tables of admissions, with the truth they were drawn from."""

from hi_ml.data.simulation.simulate import Simulated, simulate
from hi_ml.data.simulation.stream import Stream, stream, write_stream
from hi_ml.data.simulation.truth import Truth, truth, write

__all__ = ["Simulated", "Stream", "Truth", "simulate", "stream", "truth", "write", "write_stream"]
