"""Honest machine learning on hospital admissions."""
