"""Admissions as they happen: received, kept, folded into visits, scored, shown."""
