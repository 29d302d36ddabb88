"""A connector whose calls fail on purpose, for tests: see `trueup.connectors.faulty`, where rehearsals find it as well."""

from trueup.connectors.faulty import Call, Fault, FaultyConnector, by_chance, hit_counts, read_only, timed_out, wrong_password

__all__ = ["Call", "Fault", "FaultyConnector", "by_chance", "hit_counts", "read_only", "timed_out", "wrong_password"]
