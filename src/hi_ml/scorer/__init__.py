"""Raw rows to predictions, and why: the one file that leaves the house, and what explains it."""
