"""Cleaning steps for a proposed field, from what its columns hold in each system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.clean import STEPS
from trueup.model import ColumnInfo
from trueup.setup.profile.columns import measure_column
from trueup.setup.profile.proposals import propose_clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trueup.setup.kinds import Column

_ORDER = list(STEPS)


def proposed_cleaning(columns: Mapping[str, Column], kind: str, *, usual: Sequence[str] = ()) -> tuple[tuple[str, ...], str]:
    """The steps that the field's columns (by system) need, and why; `usual` are taken whatever they hold. `kind` is the field's type.

    A step that would be read differently in two systems (a phone number's country, the order of a date) is left out: a person has to say.
    """
    found: dict[str, list[str]] = {step: [] for step in usual}
    why = []
    for system, column in columns.items():
        proposal = propose_clean(measure_column(ColumnInfo(name=column.name, type="text"), pl.Series(column.texts, dtype=pl.String)))
        if proposal is None or column.info.type != "text":
            continue
        steps = [step for step in proposal.clean if kind in STEPS[_name(step)].applies_to and not (column.format and _name(step) == "date")]
        for step in steps:
            found.setdefault(step, []).append(system)
        if steps:
            why.append(f"{proposal.why} in {system}")
    return tuple(sorted(_agreed(found), key=_place)), "; ".join(why)


def _agreed(steps: Iterable[str]) -> list[str]:
    """Steps of which no other one has the same name and another argument; words for nothing are put together."""
    words = [step for step in steps if _name(step) == "null_if"]
    names = [_name(step) for step in steps if _name(step) != "null_if"]
    kept = [step for step in steps if _name(step) != "null_if" and names.count(_name(step)) == 1]
    if not words:
        return kept
    inside = [step.partition("[")[2].rpartition("]")[0] for step in words]
    return [*kept, f"{{null_if: [{', '.join(dict.fromkeys(word for part in inside for word in part.split(', ')))}]}}"]


def _name(step: str) -> str:
    return step.strip("{").partition(":")[0]


def _place(step: str) -> int:
    """What nobody sees goes first, words for nothing next to the other general steps, what knows what a value means last."""
    name = _name(step)
    return -1 if name == "visible" else _ORDER.index("collapse") if name == "null_if" else _ORDER.index(name)
