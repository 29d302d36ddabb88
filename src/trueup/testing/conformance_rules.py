"""All conformance rules in one list, and the table of which connector keeps which. Nothing here needs pytest."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.testing.conformance_looking import look_rule
from trueup.testing.conformance_marks import mark_rule
from trueup.testing.conformance_parts import part_rule
from trueup.testing.conformance_reading import read_rule
from trueup.testing.conformance_tools import Rule, RuleBrokenError, abilities
from trueup.testing.conformance_values import value_rule
from trueup.testing.conformance_watch import watch_rule
from trueup.testing.conformance_whole import whole_rule
from trueup.testing.conformance_world import Traits
from trueup.testing.conformance_writing import write_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.testing.conformance_world import World

_GROUPS = (value_rule, read_rule, mark_rule, part_rule, look_rule, write_rule, watch_rule, whole_rule)
RULES: list[Rule] = [rule for group in _GROUPS for rule in group.all]

UNDECLARED = "undeclared:"
"""How the reason of a skip begins where a connector does not declare what a rule needs."""


def notices(rule: Rule, world: World) -> bool:
    """Whether the rule, or an error of the connector on the way, shows that something is wrong; how a mutant is judged."""
    try:
        rule.check(world)
    except (RuleBrokenError, TrueupError):
        return True
    return False


@dataclass(frozen=True, slots=True)
class CapsRow:
    """One line of the generated table: a rule, an ability or a limit, and what each connector says to it.

    `cells` is connector -> `yes`, `-` (not declared), or a value for a limit.
    """

    kind: str
    name: str
    cells: Mapping[str, str]


def caps_table(worlds: Mapping[str, World]) -> list[CapsRow]:
    """What connectors declare and which rules they are held to; `worlds` is connector name -> a world of it.

    Rows come in the order: abilities of the connector, traits of the system, rules.
    """
    caps = {name: _caps(world) for name, world in worlds.items()}
    table = [
        CapsRow("ability", ability, {name: found[ability] for name, found in caps.items()})
        for ability in (next(iter(caps.values())) if caps else {})
    ]
    table += [
        CapsRow("trait", trait.name, {name: _cell(getattr(world.traits, trait.name)) for name, world in worlds.items()})
        for trait in fields(Traits)
    ]
    declared = {name: abilities(world) for name, world in worlds.items()}
    table += [
        CapsRow("rule", rule.name, {name: "yes" if set(rule.needs) <= found else "-" for name, found in declared.items()}) for rule in RULES
    ]
    return table


def _caps(world: World) -> dict[str, str]:
    connector = world.open_plainly(world.settings())
    try:
        caps = connector.caps
    finally:
        connector.close()
    return {fact.name: _cell(getattr(caps, fact.name)) for fact in fields(caps)}


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value))) or "-"
    return str(value)
