"""Data packages out and in: golden records of one entity as files that say themselves what they must hold (docs/packages.md)."""
