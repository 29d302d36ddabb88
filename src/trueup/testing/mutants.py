"""All lies, each with the rule that must notice it: see `mutants_base.py` for how a lie is told."""

from __future__ import annotations

from trueup.testing import mutants_looking, mutants_marks, mutants_parts, mutants_reading, mutants_values, mutants_watch, mutants_writing
from trueup.testing.mutants_base import MUTANTS, Lie, Mutant

__all__ = [
    "MUTANTS",
    "Lie",
    "Mutant",
    "mutants_looking",
    "mutants_marks",
    "mutants_parts",
    "mutants_reading",
    "mutants_values",
    "mutants_watch",
    "mutants_writing",
]
