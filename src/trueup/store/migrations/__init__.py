"""Migrations of the state, in order under `versions/`."""
