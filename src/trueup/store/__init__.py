"""The state: rows and transactions."""
