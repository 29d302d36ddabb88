"""The systems: one file per kind, each knowing one remote system and nothing else."""
