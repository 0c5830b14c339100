"""Findings become a plain dict, a dict becomes a page; nothing is computed here."""
