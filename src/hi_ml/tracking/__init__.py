"""The run folder, and its place in MLflow."""
