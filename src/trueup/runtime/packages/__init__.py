"""Packages at work: exported from the golden records, imported through an ordinary pass."""
