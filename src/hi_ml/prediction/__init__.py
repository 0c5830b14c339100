"""A model at work on new rows, proven afterwards."""
