"""Programs of the project's own upkeep."""
