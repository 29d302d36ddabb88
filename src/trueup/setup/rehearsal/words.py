"""A rehearsal in words: what a move of the script was, and what to do before switching on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.reports.table import counted, duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.model import Config
    from trueup.reports.rehearsal_facts import Rehearsal
    from trueup.setup.rehearsal.script import Move

LONG_LOAD_S = 600.0


def said(move: Move, systems: Sequence[str]) -> str:  # noqa: C901 - one line per move
    """A move as a person would tell it."""
    places = " and ".join(systems) if len(systems) < 3 else ", ".join(systems)
    what = f"{move.entity}.{move.field}" if move.field else move.entity
    match move.do:
        case "edit" if move.to is not None:
            return f"{what} typed in {places}"
        case "edit" if len(systems) > 1:
            return f"{what} edited differently in {places}"
        case "edit":
            return f"{what} edited in {places}" + (", of the same records" if move.same else "")
        case "blank":
            return f"{what} emptied in {places}"
        case "count":
            return f"{what} moved by {move.by:+} in each of {places}"
        case "add":
            return f"{what}: new records entered in {places}"
        case "delete":
            return f"{what} deleted in {places}"
        case "touch":
            return f"{what} saved without a change in {places}"
        case "invalid":
            return f"{what}: a value that cannot be, in {places}"
        case "overlong":
            return f"{what}: a text too long for another system, in {places}"
        case _:
            return "trueup killed in the middle of a run"


def advice(found: Rehearsal, config: Config) -> list[str]:
    """What to look at before switching on, the worst first; empty where there is nothing."""
    return [*_broken(found), *_first_run(found), *_configured(found, config), *_slow(found)]


def _broken(found: Rehearsal) -> Iterator[str]:
    """Promises that were broken, and systems that took no part."""
    for number, words in (
        (found.lost, f"{counted(found.lost, 'edit')} lost"),
        (found.duplicates, f"{counted(found.duplicates, 'row')} made twice"),
    ):
        if number:
            yield f"{words}: this must not be. Please report it, with --seed {found.seed} and the configuration"
    for system, why in found.left_out.items():
        yield f"{system} could not be read, and took no part: {why}"
    if not found.agrees and found.agreement is not None:
        yield "the copies did not agree at the end: --json says where"


def _first_run(found: Rehearsal) -> Iterator[str]:
    """What the first run would leave to people."""
    for held in found.held:
        if held.when == "first":
            yield f"the first run would be held: {held.count:,} {held.kind} of {held.entity} in {held.system}; see its `guard`"
    for reject in found.rejected:
        if reject.when == "first":
            what = f"{reject.entity}.{reject.field}" if reject.field else reject.entity
            yield f"{counted(reject.count, 'row')} of {reject.system} would be set aside by the first run ({what}): {reject.reason}"
    if found.first_conflicts:
        yield (
            f"{counted(found.first_conflicts, 'value')} would wait for a person after the first run: give these fields a `source_of_truth`,"
            " a `conflict` rule, or the entity a `precedence`; `trueup drift` shows them"
        )
    if found.first_parked:
        yield f"{counted(found.first_parked, 'row')} could be one of several records: `trueup dedupe`, or a sharper `match`"


def _configured(found: Rehearsal, config: Config) -> Iterator[str]:
    """What the configuration does not say."""
    for one in found.settled:
        if one.waiting and one.asks is None:
            yield f"conflicts about {one.entity}.{one.field} wait for a person, and nobody is named: give it an `owner` or a rule"
    for name, entity in config.entities.items():
        if entity.deletes is None and len(entity.mappings) > 1:
            yield f"a row of {name} that is deleted somewhere is reported, and deleted nowhere else: say `deletes:` if it is to be"
        if entity.guard is None:
            yield f"nothing stops an accident with {name}: `guard: off`"


def _slow(found: Rehearsal) -> Iterator[str]:
    """How long a first load would take where a system is to be spared."""
    for load in found.loads:
        if load.first_load_s is not None and load.first_load_s > LONG_LOAD_S:
            yield (
                f"a first load of {load.system} would take {duration(load.first_load_s)} at {load.rows_per_s:g} rows a second:"
                " begin in the evening, or raise `limits`"
            )
